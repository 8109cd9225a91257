"""Reference energies by ridge regression."""

import numpy as np
import pytest

from zoo.errors import DataError
from zoo.training.references import fit_references

WATER, METHANE, AMMONIA, METHANOL = [8, 1, 1], [6, 1, 1, 1, 1], [7, 1, 1, 1], [6, 8, 1, 1, 1, 1]
TRUE = {1: -13.6, 6: -1030.1, 7: -1485.2, 8: -2042.3}


def apply_references(numbers: list[list[int]], values: dict[int, float]) -> np.ndarray:
    return np.array([sum(values[z] for z in structure) for structure in numbers])


def test_recovers_constants_to_double_precision() -> None:
    numbers = [WATER, METHANE, AMMONIA, METHANOL]
    fitted = fit_references(numbers, apply_references(numbers, TRUE), l2=0.0)
    assert fitted.rank == 4
    assert fitted.values.keys() == TRUE.keys()
    for z, value in TRUE.items():
        assert fitted.values[z] == pytest.approx(value, rel=1e-12)
    assert fitted.mae_after < 1e-9
    assert fitted.explained == pytest.approx(1.0)
    assert fitted.explained_variance == pytest.approx(1.0)


def test_a_single_composition_gets_the_solution_of_least_norm() -> None:
    numbers = [METHANOL] * 5
    energies = -100.0 + np.linspace(-0.1, 0.1, 5)
    fitted = fit_references(numbers, energies, l2=0.0)
    counts = np.array([4.0, 1.0, 1.0])  # H, C, O
    expected = counts * (-100.0 / (counts @ counts))
    assert fitted.rank == 1
    assert list(fitted.values.values()) == pytest.approx(expected, rel=1e-12)
    # the constant explains the mean and nothing of the variance
    assert fitted.mae_after == pytest.approx(np.abs(energies + 100.0).mean())
    assert fitted.explained_variance == pytest.approx(0.0, abs=1e-12)
    assert fitted.explained > 0.999999


def test_the_ridge_shrinks_and_keeps_the_problem_finite() -> None:
    numbers = [WATER, METHANOL]  # two compositions, three elements
    energies = apply_references(numbers, TRUE)
    weak = fit_references(numbers, energies, l2=1e-9)
    strong = fit_references(numbers, energies, l2=1.0)
    assert weak.rank == 2
    assert weak.mae_after < 1e-4
    assert sum(v * v for v in strong.values.values()) < sum(v * v for v in weak.values.values())


def test_constant_energies_have_no_variance_to_explain() -> None:
    assert fit_references([WATER] * 3, [-5.0] * 3).explained_variance is None


def test_bad_energies_are_refused() -> None:
    with pytest.raises(DataError, match="structure 1 is nan"):
        fit_references([WATER, WATER], [1.0, np.nan])
    with pytest.raises(DataError, match="2 structures and 1 energies"):
        fit_references([WATER, WATER], [1.0])
    with pytest.raises(DataError, match="0 structures"):
        fit_references([], [])
