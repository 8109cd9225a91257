"""Conversion: everything comes through, or a refusal or a note says what doesn't."""

import os
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.db import connect
from data_samples import frames, md17, write
from whole_domains import DOMAINS, domain_arrays
from whole_files import Whole

import zoo.datasets as zd
from zoo.datasets._convert import writers
from zoo.errors import ConfigError, DataError, OutputError

FORMS = ["out.npz", "out.extxyz", "out.xyz", "out.db", "out"]


def metals() -> list[Atoms]:
    made = []
    for k in range(5):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=k)
        atoms.set_cell(atoms.cell.array * (1 + 0.01 * k), scale_atoms=True)
        atoms.pbc = [True, True, True]
        atoms.calc = EMT()
        atoms.get_stress(), atoms.get_potential_energy()
        atoms.info |= {"name": f"cu {k}", "step": k, "weight": 0.1 * k, "kept": k % 2 == 0}
        made.append(atoms)
    return made


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["molecules", "metals", "other units"])
def test_everything_comes_through(tmp_path: Path, form: str, kind: str) -> None:
    units = None
    if kind == "other units":
        source = write(tmp_path, **md17())
        units = {"energy": "kcal/mol", "length": "angstrom"}
    else:
        source = tmp_path / "a.traj"
        ase.io.write(source, frames(6) if kind == "molecules" else metals())
    before = zd.open(source, units=units)
    made = zd.convert(source, tmp_path / form, units=units)
    after = zd.open(made.path)
    assert after.hash == before.hash == made.hash
    assert after.labels == before.labels
    assert {n: c.tolist() for n, c in after.columns.items()} == {
        n: c.tolist() for n, c in before.columns.items()
    }
    assert made.written == len(before) and not made.skipped
    assert {p.name for p in tmp_path.iterdir()} == {source.name, form}


@pytest.mark.parametrize("form", FORMS)
def test_all_labels(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    made = metals()
    for atoms in made:
        atoms.info |= {"virial": np.eye(3) * rng.normal(), "homo": -5.0, "lumo": rng.normal()}
        atoms.info |= {"polarizability": np.eye(3), "spin": 3.0, "charge": -1.0}
        atoms.arrays["charges"] = rng.normal(size=len(atoms))
    before = zd.AtomsDataset.from_atoms(made)
    assert len(before.labels) == 8, before.labels
    zd.save_npz(tmp_path / "a.npz", made)
    made_path = zd.convert(tmp_path / "a.npz", tmp_path / form).path
    after = zd.open(made_path)
    assert after.hash == before.hash and after.labels == before.labels


@pytest.mark.parametrize("form", FORMS)
def test_splits_and_metadata(tmp_path: Path, form: str) -> None:
    made = zd.convert("pbe-ethanol", tmp_path / form)
    original = zd.open("pbe-ethanol")
    spec = {
        "kind": "assigned",
        "key": "split",
        "values": {name: [name] for name in original.splits},
    }
    assert any(str(spec["values"]) in note for note in made.notes)
    assert zd.open(made.path, splits=spec).split_hash == original.split_hash
    lost = [note for note in made.notes if "holds no metadata" in note]
    if form in ("out.npz", "out"):
        assert not lost
        assert zd.open(made.path).metadata["level_of_theory"] == "PBE/def2-SVP"
    else:
        assert "level_of_theory" in lost[0]


def test_words_that_look_like_numbers(tmp_path: Path) -> None:
    made = frames(4)
    for k, atoms in enumerate(made):
        atoms.info["tag"] = f"00{k}"
    source = zd.save_npz(tmp_path / "a.npz", made)
    (note,) = zd.convert(source, tmp_path / "b.extxyz").notes
    assert "'tag' is read back otherwise" in note
    for form in ("b.npz", "b.db", "b"):
        after = zd.open(zd.convert(source, tmp_path / form).path)
        assert after.columns["tag"].tolist() == ["000", "001", "002", "003"]


def damaged(tmp_path: Path) -> Path:
    """Ten frames: 2 lacks forces, 4 has a word among its numbers, 6 is NaN, 8 is cut short."""
    made = frames(10)
    del made[2].calc.results["forces"]
    path = tmp_path / "a.extxyz"
    texts = []
    for k, atoms in enumerate(made):
        ase.io.write(tmp_path / "one.extxyz", atoms)
        text = (tmp_path / "one.extxyz").read_text()
        lines = text.splitlines()
        if k == 4:
            lines[3] = lines[3].replace(".", ",", 1)
        elif k == 6:
            lines[2] = " ".join([lines[2].split()[0], "nan", *lines[2].split()[2:]])
        elif k == 8:
            lines.pop()
        texts.append("\n".join(lines) + "\n")
    (tmp_path / "one.extxyz").unlink()
    path.write_text("".join(texts))
    return path


def test_bad_frames_are_named(tmp_path: Path) -> None:
    source = damaged(tmp_path)
    with pytest.raises(DataError):
        zd.convert(source, tmp_path / "out.npz")
    with pytest.raises(DataError, match="4 bad frames, 3 allowed: frame 2: it has no forces; fr"):
        zd.convert(source, tmp_path / "out.npz", max_bad=3)
    assert {p.name for p in tmp_path.iterdir()} == {"a.extxyz"}
    made = zd.convert(source, tmp_path / "out.npz", max_bad=4)
    assert list(made.skipped) == [2, 4, 6, 8]
    assert made.written == 6 == len(zd.open(made.path))
    assert "no forces" in made.skipped[2] and "not finite" in made.skipped[6]
    assert "positions should be a number" in made.skipped[4]
    whole = zd.AtomsDataset.from_atoms(frames(10)).take([0, 1, 3, 5, 7, 9])
    after = zd.open(made.path)
    assert np.allclose(after.label("energy"), whole.label("energy"))
    assert np.allclose(after.label("forces"), whole.label("forces"), atol=1e-8)


def test_bad_rows_of_a_database(tmp_path: Path) -> None:
    made = frames(4)
    del made[1].calc.results["energy"]
    with connect(tmp_path / "a.db") as base:
        for atoms in made:
            base.write(atoms)
    result = zd.convert(tmp_path / "a.db", tmp_path / "out.npz", max_bad=1)
    assert result.skipped == {1: "it has no energy"} and result.written == 3


def test_nothing_is_replaced_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = zd.save_npz(tmp_path / "a.npz", frames(4))
    for form in ("b.npz", "b.extxyz", "b"):
        target = tmp_path / form
        zd.convert(source, target)
        with pytest.raises(OutputError, match="exists"):
            zd.convert(source, target)
        zd.convert(source, target, overwrite=True)
        assert len(zd.open(target)) == 4
    seen = {p.name for p in tmp_path.iterdir()}

    def fails(path: Path, rows: object) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setitem(writers.WRITERS, ".extxyz", fails)
    with pytest.raises(KeyboardInterrupt):
        zd.convert(source, tmp_path / "b.extxyz", overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == seen
    assert len(zd.open(tmp_path / "b.extxyz")) == 4

    def full(path: Path, rows: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setitem(writers.WRITERS, ".extxyz", full)
    with pytest.raises(OutputError, match="No space left"):
        zd.convert(source, tmp_path / "c.extxyz")
    assert {p.name for p in tmp_path.iterdir()} == seen


KILLED = """
import os, sys
from zoo.datasets._convert import convert, writers

def half(path, rows):
    frame, columns = next(rows)
    path.write_text(writers._xyz(frame, columns)[:40])
    os.kill(os.getpid(), 9)

writers.WRITERS[".extxyz"] = half
convert(sys.argv[1], sys.argv[2], overwrite=True)
"""


def test_a_kill_leaves_the_old_output(tmp_path: Path) -> None:
    source = zd.save_npz(tmp_path / "a.npz", frames(4))
    target = zd.convert(source, tmp_path / "b.extxyz").path
    before = target.read_bytes()
    ended = subprocess.run([sys.executable, "-P", "-c", KILLED, source, target])
    assert ended.returncode == -9
    assert target.read_bytes() == before
    shown = {p.name for p in tmp_path.iterdir() if not p.name.startswith(".")}
    assert shown == {"a.npz", "b.extxyz"}
    assert zd.convert(source, target, overwrite=True).written == 4


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    atoms = frames(2)
    source = zd.save_npz(tmp_path / "a.npz", atoms)
    with pytest.raises(ConfigError, match="write .npz, .extxyz"):
        zd.convert(source, tmp_path / "b.csv")
    with pytest.raises(ConfigError, match="max_bad"):
        zd.convert(source, tmp_path / "b.npz", max_bad=-1)
    skew = zd.AtomsDataset.from_atoms(metals())
    (table,) = skew.chunks()
    table.labels["stress"][0, 0, 1] += 1.0  # six numbers can't say that
    zd.save_npz(tmp_path / "skew.npz", table)
    with pytest.raises(DataError, match="can't hold this data set"):
        zd.convert(tmp_path / "skew.npz", tmp_path / "b.db")
    assert not (tmp_path / "b.db").exists()


@pytest.mark.parametrize("whole", DOMAINS, ids=lambda whole: whole.name)
def test_other_domains_become_archives(tmp_path: Path, whole: Whole) -> None:
    (tmp_path / "in").mkdir()
    path = whole.make(tmp_path / "in")
    domain = whole.name.split()[0]
    before = whole.read(path)
    made = zd.convert(path, tmp_path / "out.npz", domain=domain)
    after = zd.open(tmp_path / "out.npz", domain=domain)
    assert after.hash == before.hash == made.hash and after.labels == before.labels
    assert {n: c.tolist() for n, c in after.columns.items()} == {
        n: c.tolist() for n, c in before.columns.items()
    }
    assert after.split_hash == before.split_hash
    assert getattr(after, "classes", None) == getattr(before, "classes", None)
    with pytest.raises(ConfigError, match="written as .npz"):
        zd.convert(path, tmp_path / "out.db", domain=domain)


def test_bad_samples_of_other_domains(tmp_path: Path) -> None:
    arrays = domain_arrays("matrix")
    arrays["covs"][2] -= 100 * np.eye(3)
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 bad frames, 0 allowed: frame 2: .*positive definite"):
        zd.convert(tmp_path / "a.npz", tmp_path / "b.npz")
    made = zd.convert(tmp_path / "a.npz", tmp_path / "b.npz", max_bad=1)
    assert list(made.skipped) == [2] and len(zd.open(made.path)) == 5
