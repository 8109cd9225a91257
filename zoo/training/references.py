"""Reference energies of the elements by ridge regression, in float64 on the host.

The total energy of a structure is dominated by its composition: E = sum_z n_z e_z + (bonding).
The e_z solve min |N e - E|^2 + l2 s^2 |e|^2, where N counts the atoms of each element (structures,
elements) and s^2 is the mean of N's squared singular values, so that `l2` has no unit. With few or
a single composition the problem is rank deficient; the ridge then gives the solution of least
norm, which is why energies (thousands of eV) are fitted as they are, without centring.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zoo.errors import DataError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class References:
    """Fitted reference energies and how much of the energies they explain.

    Attributes:
        values: atomic number -> energy, eV.
        rank: number of independent compositions seen.
        mae_before: mean absolute value of the fitted energies, eV.
        mae_after: mean absolute residual, eV.
        explained: 1 - residual sum of squares / sum of squares of the fitted energies.
        explained_variance: the same about the mean, so that a common constant does not count;
            None where the energies do not vary.
    """

    values: dict[int, float]
    rank: int
    mae_before: float
    mae_after: float
    explained: float
    explained_variance: float | None

    def summary(self) -> dict[str, object]:
        """The fit as plain data, atomic numbers as keys."""
        return {
            "values_eV": dict(self.values),
            "rank": self.rank,
            "mae_before_eV": self.mae_before,
            "mae_after_eV": self.mae_after,
            "explained": self.explained,
            "explained_variance": self.explained_variance,
        }


def compositions(numbers: Iterable[npt.ArrayLike]) -> tuple[Array, list[int]]:
    """Counts the atoms of each element.

    Args:
        numbers: atomic numbers of each structure.

    Returns:
        Counts (structures, elements) and the elements, ascending.
    """
    rows = [np.bincount(np.asarray(z, dtype=np.int64), minlength=120) for z in numbers]
    table = np.asarray(rows, dtype=np.float64).reshape(len(rows), 120)
    elements = np.flatnonzero(table.any(axis=0))
    return table[:, elements], [int(z) for z in elements]


def fit_references(
    numbers: Iterable[npt.ArrayLike], energies: npt.ArrayLike, *, l2: float = 1e-6
) -> References:
    """Fits reference energies.

    Args:
        numbers: atomic numbers of each structure.
        energies: total energies, or residuals of a model, eV (structures,).
        l2: ridge strength relative to the mean squared singular value of the counts.

    Returns:
        The fit.

    Raises:
        DataError: no structures, or an energy that is not finite.
    """
    counts, elements = compositions(numbers)
    target = np.asarray(energies, dtype=np.float64).reshape(-1)
    if len(target) == 0 or len(target) != len(counts):
        raise DataError(
            f"reference energies: {len(counts)} structures and {len(target)} energies; "
            "one energy for each of at least one structure is needed"
        )
    if not np.isfinite(target).all():
        bad = int(np.flatnonzero(~np.isfinite(target))[0])
        raise DataError(f"reference energies: the energy of structure {bad} is {target[bad]}")
    solution, rank = _ridge(counts, target, l2)
    residual = target - counts @ solution
    return References(
        values=dict(zip(elements, solution.tolist(), strict=True)),
        rank=rank,
        mae_before=float(np.abs(target).mean()),
        mae_after=float(np.abs(residual).mean()),
        explained=_explained(residual, target) or 0.0,
        explained_variance=_explained(residual, target - target.mean()),
    )


def _ridge(counts: Array, target: Array, l2: float) -> tuple[Array, int]:
    """Solves by singular values, so that a rank-deficient problem costs no accuracy."""
    left, sizes, right = np.linalg.svd(counts, full_matrices=False)
    keep = sizes > sizes.max(initial=0.0) * max(counts.shape) * np.finfo(np.float64).eps
    left, sizes, right = left[:, keep], sizes[keep], right[keep]
    damping = l2 * float((sizes**2).mean()) if len(sizes) else 0.0
    solution: Array = right.T @ (sizes / (sizes**2 + damping) * (left.T @ target))
    return solution, int(keep.sum())


def _explained(residual: Array, target: Array) -> float | None:
    """1 - |residual|^2 / |target|^2, or None for a target without extent."""
    total = float(target @ target)
    scale = float(np.abs(target).max(initial=0.0))
    if total <= (1e-12 * max(scale, 1.0)) ** 2 * max(len(target), 1):
        return None
    return 1.0 - float(residual @ residual) / total
