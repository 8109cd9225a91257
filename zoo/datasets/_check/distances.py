"""Nearest neighbours against covalent radii: lengths in the wrong unit, atoms in each other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from ase.units import Bohr

from zoo.datasets._check.frame import Frame
from zoo.datasets._check.report import Finding, finding

NOBLE = (2, 10, 18, 36, 54, 86)  # no covalent bonds
CLOSEST = 0.3  # Å, what no pair of nuclei comes to
CLOSE = 0.55  # of the sum of covalent radii; bonds in hot molecules stay above
# what the ratio is when positions are in another unit and read as Å
LENGTHS = {"bohr": 1 / Bohr, "nm": 0.1}
LIKELY = (0.8, 1.45)  # of the median ratio in Å: bonds and metals near 1, ionic crystals to 1.4


class Distances:
    """Nearest-neighbour distances of every frame; the median over frames tells the unit.

    Attributes:
        ratio: median over frames of each frame's median ratio, after the scan.
    """

    def __init__(self) -> None:
        self._medians: list[float] = []
        self._distances: list[float] = []
        self._overlapping: list[int] = []
        self._close: list[int] = []
        self._alone: list[int] = []
        self._crowded: list[int] = []
        self._closest = np.inf

    def see(self, index: int, sample: Frame) -> None:
        """Takes in one frame."""
        if sample.refusal:
            return
        if sample.structure.crowded(1.5):
            self._crowded.append(index)
            return
        distance, ratio = sample.structure.nearest
        near = float(distance.min())
        self._closest = min(self._closest, near)
        if near < CLOSEST:
            self._overlapping.append(index)
        elif ratio.min() < CLOSE:
            self._close.append(index)
        if len(sample) > 1 and np.isinf(distance).any():
            self._alone.append(index)
        bonded = np.isfinite(distance) & ~np.isin(sample.structure.numbers, NOBLE)
        if bonded.any():
            self._medians.append(float(np.median(ratio[bonded])))
            self._distances.append(float(np.median(distance[bonded])))

    @property
    def ratio(self) -> float | None:
        """Median nearest-neighbour distance over the sum of covalent radii."""
        return float(np.median(self._medians)) if self._medians else None

    @property
    def unit(self) -> str | None:
        """The unit that positions look like; None where it can't be told."""
        if self.ratio is None:
            return None
        if LIKELY[0] <= self.ratio <= LIKELY[1]:
            return "angstrom"
        for name, factor in LENGTHS.items():
            if LIKELY[0] <= self.ratio / factor <= LIKELY[1] - 0.15:
                return name
        return None

    def findings(self) -> Iterator[Finding]:
        """The unit of length, overlapping and lonely atoms."""
        yield from self._unit()
        if self._crowded:
            yield finding(
                "error",
                "distances",
                "the cell is far too small for its atoms",
                frames=self._crowded,
                mend="check the unit of the cell; it must be that of the positions",
            )
        # in another unit, each frame would be too close for that reason alone
        if self._overlapping and self.unit != "nm":
            yield finding(
                "error",
                "distances",
                f"atoms lie closer than {CLOSEST} Å (closest: {self._closest:.3f} Å), which "
                "models refuse",
                frames=self._overlapping,
                mend="remove these frames; twice the same atom is a common reason",
            )
        if self._close and self.unit == "angstrom":
            yield finding(
                "warning",
                "distances",
                f"atoms lie closer than {CLOSE} times the sum of their covalent radii",
                frames=self._close,
                mend="look at these frames: collisions, or a wrong cell",
            )
        if self._alone:
            yield finding(
                "info",
                "distances",
                "atoms without a neighbour within 12 Å",
                frames=self._alone,
                mend="if they belong to a periodic structure, its cell or pbc is lost",
            )

    def _unit(self) -> Iterator[Finding]:
        unit, ratio = self.unit, self.ratio
        if unit == "angstrom" or ratio is None:
            return
        evidence = {
            "median nearest neighbour (read as Å)": float(np.median(self._distances)),
            "relative to covalent radii": ratio,
        }
        base = (
            f"the median nearest-neighbour distance, {np.median(self._distances):.2f} read as Å, "
            f"is {ratio:.2f} times the sum of covalent radii"
        )
        if unit is None:
            text = f"{base}; no unit of length explains that (bonds and metals lie near 1)"
            yield finding("warning", "units", text, evidence=evidence)
            return
        yield finding(
            "warning",
            "units",
            f"positions look like {unit}: {base}; in {unit} it would be "
            f"{ratio / LENGTHS[unit]:.2f}",
            evidence=evidence,
            mend=f'units={{"length": "{unit}", ...}} or --unit length={unit}',
        )

    def summary(self) -> dict[str, Any]:
        """The distances."""
        if not self._medians:
            return {}
        return {
            "nearest neighbours": {
                "median (Å)": float(np.median(self._distances)),
                "over covalent radii": self.ratio,
                "closest (Å)": float(self._closest),
            }
        }
