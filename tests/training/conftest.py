"""Tiny data sets with exact labels (EMT of ASE) and a tiny model, so that runs take seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

import zoo
from zoo.datasets import AtomsDataset
from zoo.training.recipe import Recipe, resolve

CONFIG = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 6, "cutoff": 3.0}
#: a constant per element, eV, of the size of real total energies
CONSTANTS = {1: -13.5, 6: -1030.0, 7: -1480.0, 8: -2041.0}
RANDOM = {"kind": "random", "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}, "seed": 0}


Labeller = Callable[..., list[Atoms]]


def make_labelled(
    name: str, count: int, *, seed: int = 0, shift: dict[int, float] | None = None
) -> list[Atoms]:
    """Distorted molecules with EMT labels, to which a constant per element is added."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = molecule(name)
        atoms.positions += rng.normal(0.0, 0.06, atoms.positions.shape)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        energy += sum((shift or CONSTANTS)[z] for z in atoms.numbers)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info["name"] = name
        frames.append(atoms)
    return frames


@pytest.fixture(scope="session")
def labelled() -> Labeller:
    """`labelled(name, count, seed=0, shift=None)` makes frames; see `make_labelled`."""
    return make_labelled


@pytest.fixture(scope="session")
def mixed() -> list[Atoms]:
    """Three molecules, 36 frames."""
    parts = (("CH3OH", 16), ("CH4", 10), ("H2O", 10))
    return [a for k, (name, n) in enumerate(parts) for a in make_labelled(name, n, seed=k)]


@pytest.fixture
def dataset(mixed: list[Atoms]) -> AtomsDataset:
    """The same, split at random."""
    return AtomsDataset.from_atoms(mixed, splits=RANDOM)


@pytest.fixture
def tiny() -> Callable[[], Any]:
    """Makes the same fresh model each time."""

    def make() -> Any:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return zoo.create("tensornet", **CONFIG)

    return make


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """Makes a small recipe; keyword arguments replace whole sections."""

    def make(**sections: Any) -> Recipe:
        values: dict[str, Any] = {
            "recipe": 1,
            "name": "tensornet-tiny.emt.r1",
            "model": {"name": "tensornet", "config": CONFIG},
            "data": {"source": "emt.extxyz", "splits": RANDOM},
            "loss": {"energy": {"weight": 10.0}, "forces": {}},
            "optimizer": {"lr": 5e-3},
            "schedule": {"kind": "cosine", "warmup_steps": 2},
            "ema": {"decay": 0.9},
            "trainer": {"max_epochs": 3, "batch_size": 4},
        }
        return resolve(values | sections, where="test")

    return make


@pytest.fixture(scope="session")
def pretrained(mixed: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a saved, barely trained model, made by `zoo.train`."""
    from ase.io import write

    folder = tmp_path_factory.mktemp("pretrained")
    write(folder / "emt.extxyz", mixed)
    text = f"""
recipe: 1
name: tensornet-tiny.emt.r1
model: {{name: tensornet, config: {CONFIG}}}
data: {{source: emt.extxyz, splits: {RANDOM}}}
loss: {{energy: {{weight: 10}}, forces: {{}}}}
optimizer: {{lr: 1e-2}}
trainer: {{max_epochs: 8, batch_size: 4}}
publish: {{limits: [a test]}}
"""
    (folder / "recipe.yaml").write_text(text)
    zoo.train(folder / "recipe.yaml", output=folder / "out", progress=lambda line: None)
    return folder / "out"
