"""Enumerated molecules: what is drawn, how it moves, and that a killed run goes on."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from rdkit import Chem

import zoo.datasets as zd
from zoo.datasets import gfn2, organic
from zoo.datasets.organic import _geometry, _shards
from zoo.datasets.organic._generate import HELD_OUT
from zoo.errors import ConfigError

FEW = {"relaxed": 1, "vibration": 1, "torsion": 1, "stretched": 1, "dimer": 1}


def test_molecules_are_drawn_by_the_seed() -> None:
    drawn = organic.enumerate_molecules(150, seed=1, largest=9)
    assert drawn[:50] == organic.enumerate_molecules(50, seed=1, largest=9)
    assert drawn[:50] != organic.enumerate_molecules(50, seed=2, largest=9)
    assert len(set(drawn)) == 150
    elements = set()
    for smiles in drawn:
        found = Chem.MolFromSmiles(smiles)
        assert Chem.MolToSmiles(found) == smiles and "." not in smiles
        assert Chem.GetFormalCharge(found) == 0
        assert not any(atom.GetNumRadicalElectrons() for atom in found.GetAtoms())
        # oxygens of sulfones and nitro groups come on top of the size that was drawn
        assert found.GetNumHeavyAtoms() <= 9 + 4
        elements |= {atom.GetSymbol() for atom in found.GetAtoms()}
    assert elements == {"C", "N", "O", "F", "S", "Cl"}
    assert any("c1" in smiles for smiles in drawn) and any("#" in smiles for smiles in drawn)


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ConfigError, match="1 to 12 atoms"):
        organic.enumerate_molecules(3, seed=0, largest=13)
    with pytest.raises(ConfigError, match="ask for fewer"):
        organic.enumerate_molecules(7, seed=0, largest=1)  # six hydrides are all there is


def test_vibrations_are_those_of_the_force_field() -> None:
    """Each mode holds kT/2, the molecule neither moves nor turns."""
    built = _geometry.build("CO", 1, 1)
    assert built is not None
    at, hessian = built.conformers[0], built.curvature(built.conformers[0])
    rng = np.random.default_rng(0)
    moved = np.array([_geometry.vibrate(at, hessian, 300.0, rng) - at for _ in range(800)])
    flat = moved.reshape(len(moved), -1)
    energies = 0.5 * np.einsum("ki,ij,kj->k", flat, hessian, flat)
    # the torsion is stiffer than in the force field, so that its share is below kT/2
    modes = 3 * len(at) - 6
    share = energies.mean() / (0.5 * modes * units.kB * 300)
    assert (modes - 1.4) / modes < share < 1.06
    assert np.abs(moved.sum(1)).max() < 1e-8
    assert np.abs(np.cross(at - at.mean(0), moved).sum(1)).max() < 1e-6


def test_the_hessian_is_that_of_the_energy() -> None:
    """rdkit's gradient goes by distances of its last call; that of methane has the symmetry."""
    built = _geometry.build("C", 1, 1)
    assert built is not None
    values = np.linalg.eigvalsh(built.curvature(built.conformers[0]))
    stiffest = values[-3:]  # three equal stretches of carbon and hydrogen
    assert np.ptp(stiffest) < 0.05 and 60 < stiffest[0] < 90  # eV/Å²
    assert np.abs(values[:6]).max() < 0.5


def test_turning_keeps_bonds_and_angles() -> None:
    built = _geometry.build("CCOC", 1, 1)
    assert built is not None and len(built.turning) == 3  # two of them turn a methyl group
    at, rng = built.conformers[0], np.random.default_rng(0)
    turned = [t for t in (_geometry.turn(built, at, rng) for _ in range(8)) if t is not None]
    assert turned
    pairs = np.array(sorted(built.bonds | _geometry.second_neighbours(built.bonds)))
    before = np.linalg.norm(at[pairs[:, 0]] - at[pairs[:, 1]], axis=1)
    for positions in turned:
        after = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        assert np.abs(after - before).max() < 1e-9
        assert np.abs(positions - at).max() > 0.1
        assert _geometry.bond_graph(Atoms(built.numbers, positions)) == built.bonds


def test_stretching_changes_one_bond() -> None:
    built = _geometry.build("CCO", 1, 1)
    assert built is not None
    at = built.conformers[0]
    moved = _geometry.stretch(built, at, np.random.default_rng(3))
    pairs = np.array(sorted(built.bonds))
    lengths = [np.linalg.norm(p[pairs[:, 0]] - p[pairs[:, 1]], axis=1) for p in (at, moved)]
    changed = np.abs(lengths[1] / lengths[0] - 1) > 1e-9
    assert changed.sum() == 1
    factor = (lengths[1] / lengths[0])[changed][0]
    assert _geometry.STRETCH[0] <= factor <= _geometry.STRETCH[1]


def test_dimers_touch_and_keep_their_shape() -> None:
    at = molecule("H2O").positions
    kinds = [np.array([8, 1, 1])] * 2
    for seed in range(5):
        both = _geometry.pair_up(at, at, kinds, np.random.default_rng(seed))
        apart = np.linalg.norm(both[:3, None] - both[None, 3:], axis=-1)
        assert 1.4 < apart.min() < 4.5
        for part in (both[:3], both[3:]):
            inside = np.linalg.norm(part[:, None] - part, axis=-1)
            assert np.abs(inside - np.linalg.norm(at[:, None] - at, axis=-1)).max() < 1e-9


def test_frames_of_one_molecule() -> None:
    frames = organic.conformations("CO", organic.Settings(frames=FEW, seed=3))
    assert [frame.info["kind"] for frame in frames] == list(organic.KINDS)
    forces = [np.abs(frame.calc.results["forces"]).max() for frame in frames]
    assert forces[0] < 0.02 < min(forces[1:])
    assert len(frames[-1]) > 6 and all(len(frame) == 6 for frame in frames[:-1])
    again = organic.conformations("CO", organic.Settings(frames=FEW, seed=3))
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(frames, again, strict=True))
    other = organic.conformations("CO", organic.Settings(frames=FEW, seed=4))
    assert not np.array_equal(frames[1].positions, other[1].positions)
    for frame in frames:
        check = gfn2.label(frame)
        assert check.get_potential_energy() == pytest.approx(frame.get_potential_energy(), abs=1e-4)
        assert frame.info["gap"] == pytest.approx(frame.info["lumo"] - frame.info["homo"])
    with pytest.raises(ConfigError, match="relaxed"):
        organic.Settings(frames={"vibration": 1})
    with pytest.raises(ConfigError, match="vibration"):
        organic.Settings(frames={"relaxed": 1, "vibrations": 1})


def test_polarizability_is_the_curvature_of_the_energy() -> None:
    """alpha = -d²E/dF², which no dipole enters; the fields are those of the module."""
    atoms = molecule("H2O")
    found = gfn2.polarizability(atoms)
    assert np.array_equal(found, found.T) and np.linalg.eigvalsh(found).min() > 0
    for k, axis in enumerate(np.eye(3)):
        energies = []
        for size in (-5e-3, 0.0, 5e-3):
            single = gfn2.calculator(atoms)
            single.field = size * axis
            single.calculate(atoms)
            energies.append(float(single.result["energy"]))
        curvature = -(energies[0] - 2 * energies[1] + energies[2]) / 5e-3**2
        expected = curvature * units.Bohr**3
        assert found[k, k] == pytest.approx(expected, rel=0.02)


def test_splits_are_by_molecule() -> None:
    splits = [organic.split_of("C" * count) for count in range(20, 1020)]
    assert 0.85 < splits.count("train") / 1000 < 0.95
    assert {"train", "val", "test"} == set(splits)
    assert {organic.split_of(smiles) for smiles in HELD_OUT} == {"test"}
    assert organic.split_of("O") == "train"


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that are there are kept, the rest gives the set of an uninterrupted run."""
    monkeypatch.setattr(_shards, "MOLECULES", 2)
    options = {"molecules": 4, "largest": 3, "frames": {"relaxed": 1, "vibration": 1}, "seed": 5}
    whole = organic.generate_organic(tmp_path / "whole.npz", **options)  # type: ignore[arg-type]
    assert whole.labels >= {"energy", "forces", "dipole", "charges", "homo", "lumo"}
    assert whole.metadata["generation"]["kept"] == 4
    assert {"name", "kind", "split"} <= set(whole.atoms(0).info)
    computed: list[str] = []
    real = _shards.compute

    def killed(plan: _shards.Plan, folder: Path, key: str) -> object:
        if computed:
            raise KeyboardInterrupt
        computed.append(key)
        return real(plan, folder, key)

    monkeypatch.setattr(_shards, "compute", killed)
    path = tmp_path / "part.npz"
    with pytest.raises(KeyboardInterrupt):
        organic.generate_organic(path, **options)  # type: ignore[arg-type]
    assert not path.exists() and len(list((tmp_path / "part.parts").glob("shard-*"))) == 1
    with pytest.raises(ConfigError, match="other molecules, settings or versions"):
        organic.generate_organic(path, **(options | {"seed": 6}))  # type: ignore[arg-type]
    monkeypatch.setattr(_shards, "compute", real)
    seen: list[tuple[int, int]] = []
    again = organic.generate_organic(
        path,
        **options,  # type: ignore[arg-type]
        progress=lambda *at: seen.append(at),
    )
    assert seen == [(4, 4)] and again.hash == whole.hash
    assert not (tmp_path / "part.parts").exists()
    assert zd.open(path.with_suffix(".yaml")).splits.keys() <= {"train", "val", "test"}
