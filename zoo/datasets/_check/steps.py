"""Steps from one frame to the next: do forces, energies and stresses belong together?

Along a step of the same atoms, the trapezoid rule says dE = -(F_a + F_b)/2 . dx, which is exact
for any quadratic energy however long the step; in molecular dynamics at 500 K with 10 fs between
frames it holds to a few percent. The measured factor k in dE = k W says in which units energies and
forces were written, or that a sign is wrong. The secant stiffness -(dF . dx)/|dx|^2, a few eV/Å^2
in molecules and metals alike, tells the unit of forces when k can't (all in the same wrong unit).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.datasets._check.frame import Frame
from zoo.datasets._check.geometry import near_image
from zoo.datasets._check.report import Finding, finding

LONGEST = 0.8  # Å, root mean square of a step; longer ones join different trajectories
ENOUGH = 8  # steps for a verdict
CONSISTENT = (0.75, 1.3)  # of dE / W where units agree; anharmonic steps move it a little
AGREEING = 0.8  # correlation of dE and W for a verdict


@dataclass(frozen=True)
class Fit:
    """dE = factor * W over the steps: factor, correlation, how many steps."""

    factor: float
    correlation: float
    steps: int

    @property
    def tells(self) -> bool:
        """Whether the two are related at all."""
        return self.steps >= ENOUGH and abs(self.correlation) >= AGREEING


class Steps:
    """Consecutive frames of one trajectory: energies against forces and stress, and splits.

    Args:
        splits: split of each frame by number, "" where it is in none.
        groups: what tells trajectories apart, one value per frame, or None.
    """

    def __init__(self, splits: np.ndarray, groups: np.ndarray | None = None) -> None:
        self._splits = splits
        self._groups = groups
        self._before: tuple[int, Frame] | None = None
        self._rows: list[tuple[float, float, float, float]] = []  # dE, W, strain work, dx^2
        self._stiffness: list[float] = []
        self._pairs = 0
        self._across: list[int] = []

    def see(self, index: int, sample: Frame) -> None:
        """Takes in one frame."""
        before, self._before = self._before, None if sample.refusal else (index, sample)
        if before is None or sample.refusal or before[0] != index - 1:
            return
        if self._groups is not None and self._groups[index] != self._groups[index - 1]:
            return
        a, b = before[1], sample
        if not np.array_equal(a.structure.numbers, b.structure.numbers):
            return
        step, strain = _step(a, b)
        length = float(np.sqrt((step**2).sum(axis=1).mean()))
        if length > LONGEST:
            return
        self._pairs += 1
        one, other = str(self._splits[index - 1]), str(self._splits[index])
        if one != other and one and other:
            self._across.append(index)
        if length > 0 or np.abs(strain).max() > 0:
            self._measure(a, b, step, strain)

    def _measure(self, a: Frame, b: Frame, step: np.ndarray, strain: np.ndarray) -> None:
        forces, energies = _both(a, b, "forces"), _both(a, b, "energy")
        stress = _both(a, b, "stress")
        work = 0.0
        square = float((step**2).sum())
        if forces is not None:
            work = -0.5 * float(((forces[0] + forces[1]) * step).sum())
            if square > 0:
                self._stiffness.append(-float(((forces[1] - forces[0]) * step).sum()) / square)
        if energies is None:
            return
        strained = 0.0
        if stress is not None:
            volumes = (a.structure.volume, b.structure.volume)
            total = volumes[0] * stress[0] + volumes[1] * stress[1]
            strained = 0.5 * float((total * strain).sum())
        self._rows.append((float(energies[1] - energies[0]), work, strained, square))

    @property
    def fit(self) -> Fit:
        """Energies against forces; steps that change the cell are left out."""
        rows = np.array(self._rows).reshape(-1, 4)
        rows = rows[(rows[:, 2] == 0) & (rows[:, 1] != 0)]
        return regress(rows[:, 0], rows[:, 1])

    @property
    def strain_fit(self) -> Fit:
        """What forces leave of the energies against V stress : strain."""
        rows = np.array(self._rows).reshape(-1, 4)
        rows = rows[rows[:, 2] != 0]
        return regress(rows[:, 0] - rows[:, 1], rows[:, 2])

    @property
    def stiffness(self) -> float | None:
        """Median secant stiffness, eV/Å^2 as the numbers are read."""
        return float(np.median(self._stiffness)) if len(self._stiffness) >= ENOUGH else None

    def findings(self) -> Iterator[Finding]:
        """Neighbouring frames in different splits. (What units follow, `units` says.)"""
        if not self._across:
            return
        share = len(self._across) / self._pairs
        text = (
            f"{len(self._across)} of {self._pairs} pairs of consecutive frames of a trajectory lie "
            f"in different splits"
        )
        if share > 0.02 and len(self._across) > 3:
            yield finding(
                "warning",
                "leakage",
                f"{text}: they are nearly the same structure, so errors on them flatter a model",
                frames=self._across,
                evidence={"share of pairs": share},
                mend='splits={"kind": "time", ...} or {"kind": "group", "key": ...}; zoo data '
                "split IN --kind time",
            )
        else:
            yield finding("info", "leakage", f"{text}, where the splits meet", frames=self._across)

    def summary(self) -> dict[str, Any]:
        """How many steps there are and how well energies follow forces."""
        if not self._pairs:
            return {}
        found: dict[str, Any] = {"steps": self._pairs}
        if self.fit.tells:
            found["dE / (-F dx)"] = self.fit.factor
            found["correlation"] = self.fit.correlation
        if self.stiffness is not None:
            found["stiffness (eV/Å^2)"] = self.stiffness
        return {"trajectory": found}


def regress(change: np.ndarray, work: np.ndarray) -> Fit:
    """Slope through the origin and correlation, the largest tenth of misfits left out."""
    if len(change) < ENOUGH or not work.any() or not change.any():
        return Fit(0.0, 0.0, len(change))
    keep = np.ones(len(change), dtype=bool)
    for _ in range(3):
        factor = float((change[keep] * work[keep]).sum() / (work[keep] ** 2).sum())
        misfit = np.abs(change - factor * work)
        keep = misfit <= np.quantile(misfit, 0.9)
    a, b = change[keep], work[keep]
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return Fit(factor, float((a * b).sum()) / scale if scale > 0 else 0.0, len(change))


def _step(a: Frame, b: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Displacements (n, 3) beyond what the change of the cell does, and that change as a strain."""
    before, after = a.structure, b.structure
    strain = np.zeros((3, 3))
    moved = before.positions
    if before.pbc.all() and not np.array_equal(before.cell, after.cell):
        full = np.linalg.solve(before.cell, after.cell) - np.eye(3)
        strain = 0.5 * (full + full.T)
        moved = before.positions @ (np.eye(3) + full)
    return near_image(after.positions - moved, after.cell, after.pbc), strain


def _both(a: Frame, b: Frame, label: str) -> tuple[np.ndarray, np.ndarray] | None:
    one, other = a.label(label), b.label(label)
    return None if one is None or other is None else (one, other)
