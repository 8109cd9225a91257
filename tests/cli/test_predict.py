"""`zoo predict` and `zoo eval`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

import zoo

Cli = Callable[..., tuple[int, str, str]]


def test_extxyz_out(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.extxyz"
    code, out, err = cli("predict", weights, frames, "-o", target, "--batch-size", 5)
    assert (code, out) == (0, "")
    assert "wrote 12 structures" in err
    written, given = read(target, ":"), read(frames, ":")
    model = zoo.load(weights)
    for atoms, source in zip(written, given, strict=True):
        np.testing.assert_allclose(atoms.positions, source.positions, atol=1e-7)
        source.calc = None
        expected = model(source)
        assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-6)
    assert [p.name for p in target.parent.iterdir()] == ["out.extxyz"]


def test_json_out_and_on_screen(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    assert cli("predict", weights, frames, "-o", target)[0] == 0
    stored = json.loads(target.read_text())
    shown = json.loads(cli("predict", weights, frames, "--json")[1])
    assert stored == shown
    assert len(shown["results"]) == 12
    assert set(shown["results"][0]) == {"energy", "forces"}
    table = cli("predict", weights, frames, "--index", "0:2")[1]
    assert table.count("C2H6O") == 2


def test_crystals_and_molecules_in_one_file(cli: Cli, weights: Path, tmp_path: Path) -> None:
    cell = bulk("C", "diamond", a=3.57)
    write(tmp_path / "in.extxyz", [cell, Atoms("CO", [[0, 0, 0], [0, 0, 1.1]])])
    results = json.loads(cli("predict", weights, tmp_path / "in.extxyz", "--json")[1])["results"]
    assert np.shape(results[0]["stress"]) == (3, 3)
    assert "stress" not in results[1]


def test_unseen_elements_need_permission(cli: Cli, weights: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "n2.xyz", tmp_path / "out.extxyz"
    Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]).write(source)
    code, _, err = cli("predict", weights, source, "-o", target)
    assert code == 1
    assert "N" in err
    assert not target.exists()
    assert cli("predict", weights, source, "-o", target, "--allow-untrained-elements")[0] == 0


@pytest.mark.parametrize("text", [None, "nonsense", ""])
def test_unreadable_structures(cli: Cli, weights: Path, tmp_path: Path, text: str | None) -> None:
    source = tmp_path / "in.xyz"
    if text is not None:
        source.write_text(text)
    code, out, err = cli("predict", weights, source)
    assert (code, out) == (1, "")
    assert str(source) in err


@pytest.mark.parametrize(
    ("name", "index", "said"),
    [("in.txt", ":", "no format"), ("folder", ":", "is a folder"), ("w.xyz", "5", "no frames at")],
)
def test_what_is_no_structure_is_said(
    cli: Cli, weights: Path, tmp_path: Path, name: str, index: str, said: str
) -> None:
    (tmp_path / "in.txt").write_text("hello\nworld\n")
    (tmp_path / "folder").mkdir()
    Atoms("H2", [[0, 0, 0], [0, 0, 1.1]]).write(tmp_path / "w.xyz")
    code, out, err = cli("predict", weights, tmp_path / name, "--index", index)
    assert (code, out) == (1, "")
    assert said in err and err.count("\n") == 1


@pytest.mark.parametrize("verb", ["predict", "relax"])
def test_the_file_that_is_read_is_not_replaced(
    cli: Cli, weights: Path, tmp_path: Path, verb: str
) -> None:
    source = tmp_path / "h2.extxyz"
    Atoms("H2", [[0, 0, 0], [0, 0, 1.1]]).write(source)
    before = source.read_bytes()
    code, _, err = cli(verb, weights, source, "-o", tmp_path / "." / "h2.extxyz")
    assert code == 1 and "is the file that is read" in err
    assert source.read_bytes() == before


def test_no_such_weights(cli: Cli, frames: Path) -> None:
    code, _, err = cli("predict", "tensornet-s.gfn2-md11.r1", frames)
    assert code == 1
    assert err.startswith("error: ")


def test_no_such_device(cli: Cli, weights: Path, frames: Path) -> None:
    code, _, err = cli("predict", weights, frames, "--device", "cuda:99")
    assert code == 1
    assert "cuda" in err


def test_eval(cli: Cli, weights: Path, frames: Path, tmp_path: Path) -> None:
    target = tmp_path / "metrics.json"
    code, out, _ = cli("eval", weights, frames, "-o", target, "--json")
    assert code == 0
    result = json.loads(out)
    assert result == json.loads(target.read_text())
    dataset = zoo.datasets.open(frames)
    assert result["metrics"] == pytest.approx(zoo.evaluate(zoo.load(weights), dataset))
    table = cli("eval", weights, frames)[1]
    assert "forces_mae" in table
    assert "meV/Å" in table


def test_eval_with_missing_labels(cli: Cli, weights: Path, frames: Path) -> None:
    code, _, err = cli("eval", weights, frames, "--key", "energy=REF_energy")
    assert code == 1
    assert "REF_energy" in err
    code, _, err = cli("eval", weights, frames, "--key", "energy")
    assert code == 2
    code, _, err = cli("eval", weights, frames, "--split", "test")
    assert code == 1
    assert "split" in err


def test_eval_refuses_labels_in_other_units(cli: Cli, weights: Path, tmp_path: Path) -> None:
    model, rng, structures = zoo.load(weights), np.random.default_rng(0), []
    for _ in range(6):
        atoms = molecule("CH3CH2OH")
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        out = model(atoms)
        forces = 23.06 * out["forces"].detach().numpy()
        energy = 23.06 * float(out["energy"])
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        structures.append(atoms)
    write(tmp_path / "kcal.extxyz", structures)
    words = ["eval", weights, tmp_path / "kcal.extxyz"]
    code, out, err = cli(*words)
    assert (code, out) == (1, "")
    assert "look like kcal/mol" in err and "--unit energy=kcal/mol" in err
    assert cli(*words, "--any-units")[0] == 0
    code, _, err = cli(*words, "--unit", "energy=kcal/mol")
    assert code == 0, err
