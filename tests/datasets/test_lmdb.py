"""Sharded LMDB: exact, complete or absent, read without the library."""

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch
from data_samples import frames
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import zoo.datasets as zd
from zoo.apps._memory import peak_memory, reset_peak
from zoo.datasets import _lmdb
from zoo.datasets._pages import Pages
from zoo.errors import ConfigError, DataError, IntegrityError, OutputError, ZooError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lmdb") / "set"
    return zd.save_lmdb(path, frames(11), shard_frames=4, metadata={"level_of_theory": "none"})


def test_round_trip_is_exact(folder: Path) -> None:
    before, after = zd.AtomsDataset.from_atoms(frames(11)), zd.open(folder)
    assert after.hash == before.hash and after.labels == before.labels
    assert after.metadata == {"level_of_theory": "none"}
    assert after.columns["name"].tolist() == before.columns["name"].tolist()
    assert sorted(p.name for p in folder.iterdir()) == [
        "data.0000.lmdb",
        "data.0001.lmdb",
        "data.0002.lmdb",
        "index.npz",
        "meta.json",
    ]
    for index in range(11):
        one, other = before[index], after[index]
        for name in one.keys():  # noqa: SIM118  a Data is no mapping
            if isinstance(one[name], torch.Tensor):
                assert torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype
    after[3].pos.add_(1)
    after.check()
    assert after.take([9, 0]).hash == before.take([9, 0]).hash
    assert after.elements == before.elements
    spec = {"kind": "group", "key": "name", "fractions": {"a": 0.5, "b": 0.5}}
    assert zd.open(folder, splits=spec).splits.keys() == {"a", "b"}


def test_a_data_set_is_streamed_from_one_file_to_another(folder: Path, tmp_path: Path) -> None:
    source = zd.open(folder).take([10, 2, 5])
    told: list[str] = []
    copy = zd.open(zd.save_lmdb(tmp_path / "b", source, shard_frames=2, progress=told.append))
    assert copy.hash == source.hash and copy.metadata == source.metadata
    assert told == ["2 of 3 frames", "3 of 3 frames"]


def test_the_library_reads_the_shards(folder: Path) -> None:
    path = folder / "data.0001.lmdb"
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            held = {int.from_bytes(k, "big"): bytes(v) for k, v in transaction.cursor()}
    assert sorted(held) == [0, 1, 2, 3]
    positions = np.frombuffer(held[2], "<f8", 3 * 5, 8).reshape(5, 3)
    assert np.array_equal(positions, zd.open(folder)[6].pos)


def test_workers_by_fork_and_by_spawn(folder: Path) -> None:
    dataset = zd.open(folder)
    dataset[0]  # a handle that the workers must not share by accident
    expected = dataset.label("energy").tolist()
    assert pickle.loads(pickle.dumps(dataset)).label("energy").tolist() == expected
    loader = DataLoader(
        dataset, 3, collate_fn=zd.collate, num_workers=2, multiprocessing_context="fork"
    )
    for _ in range(2):
        assert torch.cat([batch.energy for batch in loader]).tolist() == expected


def test_memory_stays_flat(tmp_path: Path) -> None:
    path = zd.save_lmdb(
        tmp_path / "big", zd.AtomsDataset.from_atoms(frames(200)).take(np.tile(np.arange(200), 60))
    )  # 12 000 frames, some 5 MB
    dataset = zd.open(path)
    order = np.random.default_rng(0).permutation(len(dataset))
    for _ in range(3):
        zd.collate([dataset[index] for index in order[:100]])
    before = reset_peak()
    for first in range(0, len(order), 100):
        zd.collate([dataset[i] for i in order[first : first + 100]])
    assert peak_memory() - before < 2.5


def test_labels_can_be_left_out(folder: Path) -> None:
    dataset = zd.open(folder, keys={"forces": None})
    assert dataset.labels == {"energy", "dipole"} and "forces" not in dataset[0]
    with pytest.raises(ConfigError, match=r"has no 'E' to take as energy: its labels are dipole"):
        zd.open(folder, keys={"energy": "E"})
    with pytest.raises(ConfigError, match="drop units="):
        zd.open(folder, units={"energy": "hartree"})
    with pytest.raises(DataError, match="open its folder"):
        zd.open(folder / "data.0000.lmdb")


def test_refusals_of_the_writer(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        zd.save_lmdb(folder, frames())
    with pytest.raises(ConfigError, match="shard_frames"):
        zd.save_lmdb(tmp_path / "a", frames(), shard_frames=0)
    with pytest.raises(ConfigError, match="metadata"):
        zd.save_lmdb(tmp_path / "a", frames(), metadata={"a": object()})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        zd.save_lmdb(tmp_path / "file" / "a", frames())
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


KILLED = """
import sys, os, signal
from data_samples import frames
import zoo.datasets as zd
done = []
def progress(text):
    done.append(text)
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
zd.save_lmdb(sys.argv[1], frames(9), shard_frames=3, progress=progress)
"""


def test_a_killed_writer_leaves_nothing_that_opens(tmp_path: Path) -> None:
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "set")],
        env=os.environ | {"PYTHONPATH": f"{support}:{Path.cwd()}"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    left = list(tmp_path.iterdir())
    assert len(left) == 1 and left[0].name.startswith(".set.")
    with pytest.raises(DataError, match="no file"):
        zd.open(tmp_path / "set")
    with pytest.raises(DataError, match="never finished"):
        zd.open(left[0])
    zd.save_lmdb(tmp_path / "set", frames(9))
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def copy(folder: Path, target: Path) -> Path:
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize("name", ["data.0001.lmdb", "index.npz"])
def test_changed_and_cut_files_are_noticed(folder: Path, tmp_path: Path, name: str) -> None:
    broken = copy(folder, tmp_path / "a")
    raw = bytearray((broken / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (broken / name).write_bytes(raw)
    with pytest.raises(IntegrityError, match=f"{name} has sha256"):
        zd.open(broken)
    (broken / name).write_bytes(raw[:-10])
    with pytest.raises(IntegrityError, match=f"{name} has .* bytes"):
        zd.open(broken)
    (broken / name).unlink()
    with pytest.raises(DataError, match=name):
        zd.open(broken)


def test_shards_too_large_to_hash_are_checked_record_by_record(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_lmdb, "VERIFIED_BYTES", 0)
    broken = copy(folder, tmp_path / "a")
    dataset = zd.open(broken)
    place, file = int(dataset._store._places[5]), broken / "data.0001.lmdb"  # type: ignore[attr-defined]
    raw = bytearray(file.read_bytes())
    raw[place + 40] ^= 1
    file.write_bytes(raw)
    dataset = zd.open(broken)
    dataset[4]
    with pytest.raises(DataError, match="frame 5 is damaged"):
        dataset[5]
    with pytest.raises(IntegrityError, match=r"data.0001.lmdb has sha256"):
        dataset.check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "geometric-zoo lmdb 2"}, "this release reads"),
        ({"labels": ["energy", "colour"]}, "labels must be"),
        ({"units": {"energy": "kcal/mol"}}, "units"),
        ({"frames": 12}, "frames is not the sum"),
        ({"shards": []}, "shards must be a list"),
        ({"shards": [{"file": "../a", "bytes": 1, "sha256": "", "frames": 11}]}, "every file"),
        ({"record": []}, "record"),
        ({"metadata": 3}, "metadata"),
    ],
)
def test_damaged_meta(
    folder: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    broken = copy(folder, tmp_path / "a")
    meta = json.loads((broken / "meta.json").read_text())
    (broken / "meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(DataError, match=message):
        zd.open(broken)
    (broken / "meta.json").write_text("{")
    with pytest.raises(DataError, match="can't be read"):
        zd.open(broken)


# --- the reader of LMDB files ----------------------------------------------------------------

_entries = st.dictionaries(
    st.binary(min_size=1, max_size=40),
    st.one_of(st.binary(max_size=300), st.integers(1, 20_000)),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(_entries, st.sets(st.integers(0, 59)))
def test_pages_are_read_as_the_library_reads_them(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[bytes, bytes | int], gone: set[int]
) -> None:
    path = tmp_path_factory.mktemp("pages") / "a.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 23) as environment:
        with environment.begin(write=True) as transaction:
            for key, held in entries.items():
                transaction.put(key, held if isinstance(held, bytes) else b"x" * held)
        with environment.begin(write=True) as transaction:
            for place in gone:
                if place < len(entries):
                    transaction.delete(list(entries)[place])
        with environment.begin() as transaction:
            expected = [(bytes(k), bytes(v)) for k, v in transaction.cursor()]
    pages = Pages(path)
    found = [(key, pages.file.read(place, size)) for key, place, size in pages.items()]
    assert found == expected and len(pages) == len(expected)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pages") / "a.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 23) as environment:
        with environment.begin(write=True) as transaction:
            for key in range(300):
                transaction.put(b"%d" % key, bytes([key % 256]) * (key * 17 % 6000))
    return path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_pages_end_in_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, shard: bytes, data: st.DataObject
) -> None:
    raw = bytearray(shard)
    for _ in range(data.draw(st.integers(1, 4))):
        # headers, node lists and the meta pages are hit more often than values
        page = 4096 * data.draw(st.integers(0, len(raw) // 4096 - 1))
        raw[page + data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("pages") / "a.lmdb"
    path.write_bytes(
        raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    )
    try:
        pages = Pages(path)
        for _, place, size in pages.items():
            pages.file.read(place, size)
    except ZooError:
        pass
