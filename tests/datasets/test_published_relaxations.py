"""PubChemQCR, from a small file in its raw format."""

import gzip
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import raw_relaxations as raw
from ase import units
from ase.data import atomic_numbers
from raw_atoms import opened

import zoo.datasets as zd
from zoo.datasets.published import pubchemqcr
from zoo.errors import ConfigError, DataError, UnsafeFileError

pytest.importorskip("lmdb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw.pubchemqcr(tmp_path_factory.mktemp("cache") / "datasets" / "pubchemqcr")


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(folder.parent.parent))
    monkeypatch.delenv("ZOO_CACHE_RO", raising=False)


def test_steps_in_ev_and_angstrom() -> None:
    dataset = opened("pubchemqcr")
    steps = [
        (cid, k, step)
        for cid, record in sorted(raw.records(10).items())
        for k, step in enumerate([s for s in record["DFT_1st"] or () if "gradient" in s])
    ]
    assert len(dataset) == len(steps) == 26
    assert dataset.metadata["left_out"] == {
        "steps without energy, gradient or all atoms": 1, "molecules without such steps": 1,
    }  # fmt: skip
    for index in (25, 0, 3, 11):
        cid, number, step = steps[index]
        sample = dataset[index]
        numbers = [atomic_numbers[atom["atom"]] for atom in step["coordinates"]]
        free = sum(pubchemqcr.ATOMS[z] for z in numbers)
        assert float(sample["energy"]) == pytest.approx((step["energy"] - free) * units.Hartree)
        slope = np.array([[g["dx"], g["dy"], g["dz"]] for g in step["gradient"]])
        assert sample["forces"].numpy() == pytest.approx(-slope * units.Hartree / units.Bohr)
        positions = [[a["x"], a["y"], a["z"]] for a in step["coordinates"]]
        assert sample["pos"].numpy() == pytest.approx(np.array(positions), abs=1e-12)
        assert sample["atomic_numbers"].tolist() == numbers and not sample["pbc"].any()
        assert (dataset.columns["cid"][index], dataset.columns["step"][index]) == (cid, number)
    whole = opened("pubchemqcr?energy=total")
    assert float(whole[0]["energy"]) == pytest.approx(-100.0 * units.Hartree)


def test_the_authors_draw() -> None:
    """As they write it: random.seed(42), random.shuffle(trajectories), cut."""
    for query, shares, molecules in (
        ("pubchemqcr", (0.6, 0.2), 9),
        ("pubchemqcr?part=full", (0.8, 0.1), 11),
    ):
        dataset = opened(query)
        cids = list(dict.fromkeys(dataset.columns["cid"]))
        assert len(cids) == molecules
        order = list(range(molecules))
        random.Random(42).shuffle(order)
        train, val = (int(share * molecules) for share in shares)
        for name, part in (
            ("train", order[:train]), ("val", order[train : train + val]),
            ("test", order[train + val :]),
        ):  # fmt: skip
            found = set(dataset.columns["cid"][dataset.splits[name]])
            assert found == {cids[k] for k in part}, name
        assert sum(map(len, dataset.splits.values())) == len(dataset)


@pytest.mark.parametrize(
    ("stage", "count"), [("2nd", 20), ("mixing", 46), ("1st_smash", 14), ("hf", 20), ("pm3", 20)]
)
def test_stages(stage: str, count: int) -> None:
    if stage in ("hf", "pm3"):
        with pytest.raises(ConfigError, match="open it with energy=total"):
            zd.open(f"pubchemqcr?stage={stage}")
    assert len(opened(f"pubchemqcr?stage={stage}&energy=total")) == count


def test_by_path_chunks_workers_and_shards(folder: Path, tmp_path: Path) -> None:
    dataset = opened("pubchemqcr")
    assert opened(folder / "Data06.lmdb").hash == dataset.hash
    assert len(opened(folder)) == len(opened("pubchemqcr?part=full"))
    order = np.array([17, 0, 25, 1])
    assert dataset.take(order).label("energy").tolist() == dataset.label("energy")[order].tolist()
    assert pickle.loads(pickle.dumps(dataset))[9]["energy"] == dataset[9]["energy"]
    zd.save_lmdb(tmp_path / "shards", dataset)
    kept = zd.open(tmp_path / "shards")
    assert kept.hash == dataset.hash and kept.columns["cid"].tolist() == [*dataset.columns["cid"]]
    assert set(opened("pubchemqcr", keys={"forces": None}).labels) == {"energy"}


class Trap:
    def __reduce__(self) -> Any:
        return print, ("run",)


def _odd(change: str) -> Any:
    record = next(iter(raw.records(1).values()))
    if change == "iodine":
        for step in record["DFT_1st"]:
            step["coordinates"][0]["atom"] = "I"
    elif change == "words":
        record["DFT_1st"][0]["coordinates"][0]["x"] = "far"
    elif change == "element":
        record["DFT_1st"][0]["coordinates"][0]["atom"] = "Xx"
    return {"list": [1, 2], "trap": Trap()}.get(change, record)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("iodine", "free atom of element 53 is not known; open it with energy=total"),
        ("words", "000000984 can't be read: ValueError"),
        ("element", "000000984 can't be read: KeyError"),
        ("list", "holds list, not the steps of a molecule"),
        ("trap", "names builtins.print, which is more than plain data need"),
    ],
)
def test_records_that_are_refused(tmp_path: Path, change: str, words: str) -> None:
    path = raw.write(tmp_path / "Data06.lmdb", {"000000984": _odd(change)})
    with pytest.raises((DataError, UnsafeFileError), match=words):
        zd.open(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(pickle.dumps({"DFT_1st": None}))[:-3], "is cut off"),
        (b"\x1f\x8b\x08 and no more", "can't be unpacked"),
        (gzip.compress(b"no pickle"), "can't be read"),
        (gzip.compress(pickle.dumps({"DFT_1st": None})), "has no structures"),
    ],
)
def test_damaged_values(tmp_path: Path, data: bytes, words: str) -> None:
    import lmdb

    path = tmp_path / "Data06.lmdb"
    environment = lmdb.open(str(path), subdir=False, map_size=1 << 20, lock=False)
    with environment.begin(write=True) as transaction:
        transaction.put(b"000000984", data)
    environment.close()
    with pytest.raises(DataError, match=words):
        zd.open(path)


def test_a_molecule_that_unpacks_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubchemqcr, "_INFLATED", 1000)
    path = raw.write(tmp_path / "Data06.lmdb", {"000000984": {"DFT_1st": [], "x": "a" * 5000}})
    with pytest.raises(DataError, match="more than 1000 bytes"):
        zd.open(path)


def test_other_lmdb_files_are_not_taken_for_it(tmp_path: Path) -> None:
    import lmdb

    path = tmp_path / "other.lmdb"
    environment = lmdb.open(str(path), subdir=False, map_size=1 << 20, lock=False)
    with environment.begin(write=True) as transaction:
        transaction.put(b"0", pickle.dumps([1]))
    environment.close()
    with pytest.raises(UnsafeFileError, match="trust_pickle"):
        zd.open(path)
