"""The data sets that ship with the package."""

import numpy as np
import pytest
from ase.data import atomic_numbers

import zoo.datasets as zd
from zoo import share
from zoo._files import read_yaml
from zoo.datasets import gfn2
from zoo.datasets._molecules import MD17

NAMES = [
    "emt-metals-test",
    "gfn2-md10",
    "gfn2-md10-5k-test",
    "gfn2-organic-test",
    "gfn2-props-test",
    "pbe-ethanol",
]
FOLDER = share.folder("datasets")
DESCRIBED = {name: read_yaml(FOLDER / f"{name}.yaml") for name in zd.shipped()}


def test_they_are_there() -> None:
    assert set(NAMES) <= set(zd.shipped())


#: computed when they are opened; here with few samples
MADE = {"o5-hulls", "csmpn-hulls", "burgers", "darcy"}


@pytest.mark.parametrize("name", zd.shipped())
def test_shipped_sets_are_whole(name: str) -> None:
    dataset = zd.open(f"{name}?train=9&val=5&test=5" if name in MADE else name)
    dataset.check()
    about = dataset.metadata
    assert len(dataset) == about.get("samples", about.get("frames")) and dataset.source == name
    for key in ("title", "licence", "source", "generation", "limits"):
        assert about[key], key
    assert dataset.domain == DESCRIBED[name].get("domain", "atoms")
    card = (FOLDER / f"{name}.md").read_text()
    assert card.startswith(f"# {name}\n") and "## Limits" in card
    assert not (FOLDER / "__init__.py").exists()
    if "made" not in about:
        assert (FOLDER / about["file"]).stat().st_size < 5_000_000
    joined = [index for indices in dataset.splits.values() for index in indices.tolist()]
    assert not joined or len(joined) == len(set(joined)) == len(dataset)


@pytest.mark.parametrize("name", [n for n, d in DESCRIBED.items() if "domain" not in d])
def test_shipped_structures_are_labelled(name: str) -> None:
    dataset = zd.open(name, domain="atoms")
    dataset.require("energy", "forces")
    about = dataset.metadata
    assert about["level_of_theory"]
    assert dataset.elements == {atomic_numbers[s]: n for s, n in about["elements"].items()}


def test_gfn2_md10() -> None:
    dataset = zd.open("gfn2-md10")
    names = dataset.columns["name"]
    assert list(dict.fromkeys(names.tolist())) == list(MD17)
    sizes = {name: len(indices) for name, indices in dataset.splits.items()}
    assert sizes == {"train": 1530, "val": 170, "test": 300}
    trajectory = dataset.columns["trajectory"]
    assert set(trajectory[dataset.splits["test"]]) == {"test"}
    assert set(trajectory[dataset.splits["val"]]) == {"train"}
    runs = dataset.metadata["generation"]["trajectories"]
    for molecule in MD17:
        val = names[dataset.splits["val"]] == molecule
        assert val.sum() == 17
        assert 300 < runs[f"{molecule}/train"]["measured_temperature"] < 700


def test_gfn2_labels_are_reproduced() -> None:
    dataset = zd.open("gfn2-md10")
    for index in (650, 1999):
        atoms = dataset.atoms(index)
        again = gfn2.label(atoms)
        # the stored values come from SCC cycles restarted during the dynamics
        assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        assert again.get_forces() == pytest.approx(atoms.get_forces(), abs=5e-3)


def test_pbe_ethanol() -> None:
    dataset = zd.open("pbe-ethanol")
    assert dataset.metadata["level_of_theory"] == "PBE/def2-SVP"
    sizes = {name: len(indices) for name, indices in dataset.splits.items()}
    assert sizes == {"train": 180, "val": 20, "test": 100}
    assert set(dataset.columns["trajectory"][dataset.splits["test"]]) == {"test"}
    numbers = dataset.numbers.reshape(300, 9)
    assert (numbers == numbers[0]).all()
    # forces on a free molecule add up to nearly nothing; what is left is the integration grid's
    net = dataset.label("forces").reshape(300, 9, 3).sum(axis=1)
    assert np.abs(net).max() < 0.01
    assert 1.0 < dataset.label("energy").std() * 10 < 10.0


def test_splits_of_a_shipped_set_can_be_replaced() -> None:
    spec = {"kind": "group", "key": "name", "fractions": {"train": 0.8, "test": 0.2}}
    dataset = zd.open("gfn2-md10", splits=spec)
    assert set(dataset.splits) == {"train", "test"}
    assert dataset.split_hash != zd.open("gfn2-md10").split_hash
