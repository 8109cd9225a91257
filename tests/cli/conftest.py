"""A small saved model and labelled structures for the verbs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import zoo
from zoo.cli.main import run

Result = tuple[int, str, str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs one command in this process: exit code, standard output, standard error."""

    def call(*words: object) -> Result:
        capsys.readouterr()
        code = run([str(word) for word in words])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved TensorNet of eight channels that knows H, C and O."""
    torch.manual_seed(0)
    model = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=8).eval()
    model.restrict_elements({1: 60, 6: 20, 8: 10})
    folder = tmp_path_factory.mktemp("weights") / "small"
    return zoo.save(
        model,
        folder,
        name="tensornet-t.test.r1",
        golden_inputs=[molecule("CH3CH2OH")],
        certificate={"passed": True, "results": []},
    )


@pytest.fixture(scope="session")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve labelled frames of ethanol; the labels are an isotropic spring's."""
    rng = np.random.default_rng(0)
    structures = []
    for k in range(12):
        atoms = molecule("CH3CH2OH")
        shift = 0.05 * rng.normal(size=atoms.positions.shape)
        atoms.positions += shift
        atoms.info["trajectory"] = "train" if k < 8 else "test"
        energy = -154.0 + float((shift**2).sum())
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=-2 * shift)
        structures.append(atoms)
    path = tmp_path_factory.mktemp("frames") / "ethanol.extxyz"
    write(path, structures)
    return path


@pytest.fixture
def water() -> Atoms:
    """One structure without labels."""
    return molecule("H2O")
