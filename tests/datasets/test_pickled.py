"""Formats that are pickles: refused with the reason, read when trusted."""

import pickle
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from data_samples import frames
from torch_geometric.data import Data, InMemoryDataset

import zoo.datasets as zd
from zoo.errors import ConfigError, DataError, UnitsRequiredError, UnsafeFileError

UNITS = {"energy": "eV", "length": "angstrom"}
TRUSTED: dict[str, Any] = {"units": UNITS, "domain": "atoms", "trust_pickle": True}


def samples(count: int = 5) -> list[Data]:
    return [
        Data(
            z=torch.tensor(atoms.numbers),
            pos=torch.tensor(atoms.positions),
            y=torch.tensor([[atoms.get_potential_energy()]], dtype=torch.float64),
            force=torch.tensor(atoms.get_forces()),
            edge_index=torch.zeros(2, 3, dtype=torch.long),
        )
        for atoms in frames(count)
    ]


@pytest.mark.parametrize("form", ["list", "tuple", "class"])
def test_what_pyg_stores(tmp_path: Path, form: str) -> None:
    path, made = tmp_path / "a.pt", samples()
    data, slices = InMemoryDataset.collate(made)
    forms = {"list": made, "tuple": (data, slices), "class": (data.to_dict(), slices, Data)}
    torch.save(forms[form], path)
    with pytest.raises(UnsafeFileError, match="can run any code.*trust_pickle=True"):
        zd.open(path, units=UNITS)
    with pytest.raises(UnitsRequiredError, match="kcal/mol"):
        zd.open(path, trust_pickle=True)  # its arrays say that it holds atoms
    dataset = zd.open(path, units=UNITS, trust_pickle=True)
    assert dataset.labels == {"energy", "forces"}
    for sample, atoms in zip(dataset, frames(5), strict=True):
        assert np.array_equal(sample.pos, atoms.positions)
        assert sample.energy.item() == atoms.get_potential_energy()
        assert np.array_equal(sample.forces, atoms.get_forces())
    told = zd.open(path, units={"energy": "meV", "length": "nm"}, trust_pickle=True)
    assert torch.allclose(told[1].pos, dataset[1].pos * 10)


def test_keys_and_what_is_no_structure(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save([Data(charges_of=torch.tensor([1, 8]), xyz=torch.zeros(2, 3))], path)
    with pytest.raises(DataError, match=r"sample 0 has no numbers: .*it has charges_of, xyz.*keys"):
        zd.open(path, **TRUSTED)
    keys = {"numbers": "charges_of", "positions": "xyz"}
    assert zd.open(path, **TRUSTED, keys=keys).elements == {1: 1, 8: 1}
    with pytest.raises(ConfigError, match="did you mean 'numbers'"):
        zd.open(path, **TRUSTED, keys={"number": "a"})
    for content in ({"a": 1}, [1, 2], []):
        torch.save(content, path)
        with pytest.raises(DataError, match="holds no samples"):
            zd.open(path, **TRUSTED)
    path.write_bytes(b"\x80\x02nonsense")
    with pytest.raises(DataError, match="can't be read"):
        zd.open(path, **TRUSTED)


def oc20(path: Path, count: int) -> Path:
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24) as environment:
        with environment.begin(write=True) as transaction:
            for number in range(count):
                sample = Data(
                    pos=torch.rand(3, 3),
                    cell=torch.eye(3)[None] * 9,
                    atomic_numbers=torch.tensor([29.0, 8.0, 1.0]),
                    natoms=3,
                    y=-1.0 * number,
                    force=torch.ones(3, 3) * number,
                    tags=torch.tensor([0, 1, 2]),
                    sid=number,
                )
                transaction.put(str(number).encode(), pickle.dumps(sample))
            transaction.put(b"length", pickle.dumps(count))
    return path


def test_pickled_lmdb(tmp_path: Path) -> None:
    path = oc20(tmp_path / "data.0000.lmdb", 12)
    with pytest.raises(UnsafeFileError, match="OC20.*pickles.*trust_pickle=True.*save_lmdb"):
        zd.open(path)
    dataset = zd.open(path, trust_pickle=True)
    assert dataset.labels == {"energy", "forces"} and dataset.elements == {1: 12, 8: 12, 29: 12}
    assert dataset.label("energy").tolist() == [-1.0 * k for k in range(12)]
    assert dataset[11].forces.tolist() == [[11.0] * 3] * 3
    assert dataset[0].pbc.all() and dataset[0].cell[0, 0, 0] == 9
    assert dataset.columns["sid"].tolist() == list(range(12))
    oc20(tmp_path / "data.0001.lmdb", 3)
    both = zd.open(tmp_path, trust_pickle=True)
    assert len(both) == 15
    plain = zd.open(zd.save_lmdb(tmp_path / "plain", both))
    assert plain.hash == both.hash
    assert pickle.loads(pickle.dumps(both)).hash == both.hash
    assert zd.open(path, trust_pickle=True, keys={"energy": "sid"})[2].energy.item() == 2.0


def test_damaged_samples_are_named(tmp_path: Path) -> None:
    path = oc20(tmp_path / "a.lmdb", 3)
    with lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24) as environment:
        with environment.begin(write=True) as transaction:
            transaction.put(b"1", b"\x80\x04nonsense")
    with pytest.raises(DataError, match="frame 1 can't be read"):
        zd.open(path, trust_pickle=True)
