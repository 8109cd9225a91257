"""Units, levels of theory and inputs that do not go together."""

from typing import Any

import numpy as np
import pytest

from zoo.datasets._units import parse
from zoo.errors import DataError
from zoo.training import clash
from zoo.training.evidence import guess_units, slope


@pytest.mark.parametrize(
    ("slopes", "expected"),
    [
        ({"forces": 23.06, "energy": 23.06}, ("kcal/mol", "angstrom", True)),
        ({"forces": 24.0}, ("kcal/mol", "angstrom", True)),
        ({"energy": 0.0367}, ("hartree", "angstrom", True)),
        ({"forces": 0.01945, "energy": 0.0367}, ("hartree", "bohr", True)),
        ({"forces": 0.01945}, ("hartree", "bohr", True)),
        ({"forces": 0.0389, "energy": 0.0735}, ("rydberg", "bohr", True)),
        ({"forces": 96.5, "energy": 96.5}, ("kJ/mol", "angstrom", True)),
        ({"forces": 1000.0, "energy": 1000.0}, ("meV", "angstrom", True)),
        ({"forces": 0.53, "energy": 1.02}, ("eV", "bohr", True)),
        ({"forces": 1.05, "energy": 23.1}, ("kcal/mol", "angstrom", False)),
        ({"forces": 23.1, "energy": 0.95}, ("kcal/mol", "angstrom", False)),
        ({"forces": 1.1, "energy": 0.9}, None),
        ({"forces": 0.53}, None),
        ({"forces": 3.0, "energy": 3.0}, None),
        ({}, None),
    ],
)
def test_units_are_guessed_from_factors(slopes: dict[str, float], expected: Any) -> None:
    guess = guess_units(slopes)
    found = None if guess is None else (guess.energy, guess.length, guess.whole)
    assert found == expected


def test_units_that_were_stated_count() -> None:
    kilojoule = parse({"energy": "kJ/mol"})
    guess = guess_units({"forces": 0.239, "energy": 0.239}, kilojoule)
    assert guess is not None and guess.energy == "kcal/mol"
    assert guess_units({"forces": 1.0, "energy": 1.0}, kilojoule) is None
    atomic = parse({"energy": "hartree", "length": "bohr"})
    guess = guess_units({"forces": 1.89, "energy": 1.0}, atomic)
    assert guess is not None and (guess.energy, guess.length) == ("hartree", "angstrom")


def test_a_factor_needs_agreement() -> None:
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=300), rng.normal(size=300)
    good = slope(signal, 23.06 * (signal + 0.2 * noise))
    assert good.trusted and good.value == pytest.approx(23.06, rel=0.1)
    assert not slope(signal, 23.06 * noise).trusted
    assert not slope(signal, -signal).trusted
    assert not slope(np.zeros(9), np.ones(9)).trusted
    assert not slope(np.zeros(0), np.zeros(0)).trusted


def test_levels_of_theory() -> None:
    def check(old: str, new: str, references: str = "fit", replay: bool = False) -> None:
        clash.check_levels(old, new, references=references, replay=replay, source="x.extxyz")

    check("GFN2-xTB", "PBE")
    check("GFN2-xTB", "gfn2-xtb", replay=True, references="keep")
    check("", "same", replay=True)
    check("GFN2-xTB", "", references="keep")
    with pytest.raises(DataError, match="labels are PBE, the weights GFN2-xTB.*references='fit'"):
        check("GFN2-xTB", "PBE", references="keep")
    with pytest.raises(DataError, match="one head can't learn both.*--head new:NAME"):
        check("GFN2-xTB", "PBE", replay=True)
    with pytest.raises(DataError, match="level of theory of the new labels is not stated.*=same"):
        check("GFN2-xTB", "", replay=True)
    with pytest.raises(DataError, match="level of theory of the weights is not stated"):
        check("", "PBE", replay=True)
