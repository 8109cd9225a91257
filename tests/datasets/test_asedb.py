"""ASE databases: SQLite, JSON, ASE-LMDB, single files and folders of shards."""

import json
import pickle
import sqlite3
import zlib
from pathlib import Path

import ase.db
import lmdb
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.constraints import FixAtoms
from data_samples import frames

import zoo.datasets as zd
from zoo.datasets import _asedb
from zoo.datasets._units import Units
from zoo.errors import DataError


def database(path: Path, made: list[Atoms]) -> Path:
    """Rows as a group would write them: total charge as a pair, orbital energies in `data`."""
    with ase.db.connect(path) as rows:
        for atoms in made:
            pairs = {"name": atoms.info["name"], "total_charge": atoms.info["charge"]}
            rows.write(atoms, key_value_pairs=pairs, data={"homo": -5.0, "note": {"a": [1, 2]}})
        rows.metadata = {"title": "test"}
    return path


@pytest.mark.parametrize("name", ["a.db", "a.json", "a.aselmdb"])
def test_rows_with_labels_pairs_and_data(tmp_path: Path, name: str) -> None:
    made = frames(5)
    made[0].set_constraint(FixAtoms([0, 1]))
    dataset = zd.open(database(tmp_path / name, made))
    assert dataset.labels == {"energy", "forces", "dipole", "homo"}
    assert dataset.columns.keys() == {"name"} and dataset.columns["name"][1] == "m1"
    assert dataset.metadata["database"] == {"title": "test"}
    for index, atoms in enumerate(made):
        sample = dataset[index]
        forces = atoms.get_forces(apply_constraint=False)
        assert np.abs(sample.forces.numpy() - forces).max() < 1e-12
        assert sample.energy.item() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
        assert sample.charge.item() == atoms.info["charge"]
    assert zd.open(tmp_path / name, keys={"energy": "homo"}).label("energy").tolist() == [-5.0] * 5


@pytest.mark.parametrize("name", ["a.db", "a.aselmdb"])
def test_the_same_from_memory_and_from_the_file(tmp_path: Path, name: str) -> None:
    path = database(tmp_path / name, frames(9))
    memory = zd.open(path)
    store, _ = _asedb.read(path, {}, Units(), stream=True)
    assert isinstance(store, _asedb.RowFrames)
    stream = zd.AtomsDataset(store)
    assert stream.hash == memory.hash and stream.labels == memory.labels
    assert torch.equal(stream[7].forces, memory[7].forces) and stream[7].name == memory[7].name
    again = pickle.loads(pickle.dumps(stream))
    assert again.hash == memory.hash
    again.check()


@pytest.mark.parametrize("kind", ["db", "aselmdb"])
def test_folders_of_shards(tmp_path: Path, kind: str) -> None:
    made = frames(7)
    folder = tmp_path / "set"
    folder.mkdir()
    for number, part in enumerate((made[:3], made[3:6], made[6:])):
        database(folder / f"data.{number:04d}.{kind}", part)
    dataset = zd.open(folder)
    whole = zd.open(database(tmp_path / f"all.{kind}", made))
    assert dataset.hash == whole.hash
    store, _ = _asedb.read(folder, {}, Units(), stream=True)
    assert zd.AtomsDataset(store).hash == whole.hash
    assert "row 0 of this file" in store.name(3) and "0001" in store.name(3)
    other = {"db": "aselmdb", "aselmdb": "db"}[kind]
    database(folder / f"x.{other}", made)
    with pytest.raises(DataError, match="both .aselmdb and .db"):
        zd.open(folder)


def test_deleted_rows_are_no_frames(tmp_path: Path) -> None:
    path = database(tmp_path / "a.aselmdb", frames(5))
    with ase.db.connect(path) as rows:
        rows.delete([2, 5])
    dataset = zd.open(path)
    assert len(dataset) == 3
    kept = [frames(5)[k].get_potential_energy() for k in (0, 2, 3)]
    assert dataset.label("energy").tolist() == kept


def put(path: Path, entries: dict[str, bytes | None]) -> None:
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in entries.items():
                if value is None:
                    transaction.delete(key.encode())
                else:
                    transaction.put(key.encode(), value)


def packed(row: object) -> bytes:
    return zlib.compress(json.dumps(row).encode())


ROW = {"numbers": [1], "positions": [[0.0, 0, 0]], "energy": 1.0, "forces": [[0.0, 0, 0]]}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"2": None}, r"has 4 rows but announces nextid=6"),
        ({"nextid": packed("x")}, "announces nextid='x'"),
        ({"strange": b"1"}, "no ASE database: it has the key b'strange'"),
        ({"3": b"\x80\x04K\x01."}, "row 3 can't be read"),
        ({"3": packed([1])}, "row 3 is no row"),
        ({"3": packed({"numbers": [1]})}, "row 3: positions"),
        ({"3": packed(ROW | {"positions": [[0.0, 0]]})}, r"row 3: positions has shape \(1, 2\)"),
        ({"3": packed(ROW | {"numbers": ["H"]})}, "row 3: numbers must be numbers"),
        ({"3": packed(ROW | {"data": [1]})}, "row 3: data must be a mapping"),
        ({"3": packed(ROW | {"pbc": {"__ndarray__": [[3], "O", [1, 1, 1]]}})}, "row 3 can't"),
        ({"3": packed(ROW | {"pbc": {"__ndarray__": [[9**9], "b", [1]]}})}, "row 3 can't"),
        ({"3": packed({"a": 1})[:-3]}, "row 3 can't be read: it is cut off"),
    ],
)
def test_wrong_rows_are_named(
    tmp_path: Path, entries: dict[str, bytes | None], message: str
) -> None:
    path = database(tmp_path / "a.aselmdb", frames(5))
    put(path, entries)
    for stream in (False, True):
        with pytest.raises(DataError, match=message):
            _asedb.read(path, {}, Units(), stream=stream)


def test_a_row_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = database(tmp_path / "a.aselmdb", frames(2))
    put(path, {"1": zlib.compress(b" " * (1 << 20))})
    monkeypatch.setattr(_asedb, "MAX_ROW", 1 << 16)
    with pytest.raises(DataError, match="longer than a row can be"):
        zd.open(path)


def test_sqlite_files_are_only_read(tmp_path: Path) -> None:
    foreign = tmp_path / "a.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table other (x int)")
    connection.close()
    before = foreign.read_bytes()
    with pytest.raises(DataError, match="a.db.*can't be read"):
        zd.open(foreign)
    assert foreign.read_bytes() == before
    (tmp_path / "b.db").write_bytes(b"SQLite format 3\0 and then nothing")
    (tmp_path / "c.db").write_bytes(b"")
    for name in ("b.db", "c.db"):
        with pytest.raises(DataError, match=name):
            zd.open(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.db", "b.db", "c.db"]
