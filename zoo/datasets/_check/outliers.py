"""Frames whose energy or forces stand out, and labels that say nothing."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.datasets._check.frame import Frame
from zoo.datasets._check.report import Finding, finding

FAR = 12.0  # robust standard deviations from the median
ENOUGH = 10  # frames for a median absolute deviation
NET = 0.02  # of the root mean square force times sqrt(n): sums of forces above are not rounding
SCALE = 1.4826  # of the median absolute deviation to a normal distribution's standard deviation


class Outliers:
    """Energies per composition, largest forces, net forces, constant labels."""

    def __init__(self) -> None:
        self._energies: dict[bytes, list[tuple[int, float]]] = defaultdict(list)
        self._forces: list[tuple[int, float, float, float]] = []  # frame, largest, rms, net
        self._zero = 0
        self._atoms = 0

    def see(self, index: int, sample: Frame) -> None:
        """Takes in one frame."""
        if sample.refusal:
            return
        energy, forces = sample.label("energy"), sample.label("forces")
        if energy is not None:
            kind = np.sort(sample.structure.numbers).tobytes()
            self._energies[kind].append((index, float(energy) / len(sample)))
        if forces is not None:
            size = np.linalg.norm(forces, axis=1)
            rms = float(np.sqrt((forces**2).mean()))
            net = float(np.linalg.norm(forces.sum(axis=0)))
            self._forces.append((index, float(size.max()), rms, net / np.sqrt(len(sample))))
            self._zero += int((size == 0).sum())
            self._atoms += len(sample)

    def findings(self) -> Iterator[Finding]:
        """What stands out."""
        yield from self._far_energies()
        yield from self._far_forces()
        yield from self._constant()

    def _far_energies(self) -> Iterator[Finding]:
        far: list[tuple[float, int]] = []
        for rows in self._energies.values():
            if len(rows) >= ENOUGH:
                frames, values = np.array(rows).T
                score = robust(values)
                picked = np.abs(score) > FAR
                far += zip(np.abs(score[picked]).tolist(), frames[picked].astype(int), strict=True)
        if far:
            far.sort(reverse=True)
            yield finding(
                "warning",
                "outliers",
                f"energies of {len(far)} frames lie over {FAR:g} robust standard deviations from "
                f"the median of their composition (worst: frame {far[0][1]}, {far[0][0]:.3g})",
                frames=[frame for _, frame in far],
                evidence={"worst": far[0][0]},
                mend="look at these frames: calculations that didn't converge, broken molecules",
            )

    def _far_forces(self) -> Iterator[Finding]:
        if not self._forces:
            return
        frames, largest, rms, net = np.array(self._forces).T
        positive = largest > 0
        if positive.sum() >= ENOUGH:
            score = robust(np.log(largest[positive]))
            # a lower bound too: ten times the median is odd however wide the distribution
            picked = (score > FAR) | (largest[positive] > 30 * np.median(largest[positive]))
            if picked.any():
                index = frames[positive][picked].astype(int)
                worst = int(largest.argmax())
                yield finding(
                    "warning",
                    "outliers",
                    f"the largest force of {len(index)} frames stands out (worst: frame "
                    f"{int(frames[worst])}, {largest[worst]:.3g} eV/Å; median of all frames "
                    f"{np.median(largest):.3g})",
                    frames=index.tolist(),
                    evidence={"worst (eV/Å)": float(largest[worst])},
                    mend="look at these frames: calculations that didn't converge, collisions",
                )
        drifting = net > NET * np.maximum(rms, 1e-12)
        drifting &= net > 1e-3
        if drifting.any():
            yield finding(
                "info",
                "forces",
                f"forces don't add up to zero in {int(drifting.sum())} frames (median of all: "
                f"{np.median(net):.3g} eV/Å): fixed atoms, an outer field, or noise",
                frames=frames[drifting].astype(int).tolist(),
                evidence={"median net force over sqrt(atoms) (eV/Å)": float(np.median(net))},
            )
        if 0 < self._zero < self._atoms:
            yield finding(
                "info",
                "forces",
                f"{self._zero} of {self._atoms} atoms have forces of exactly zero: fixed atoms, "
                "or alone",
            )

    def _constant(self) -> Iterator[Finding]:
        for rows in self._energies.values():
            values = {value for _, value in rows}
            if len(rows) >= ENOUGH and len(values) == 1:
                yield finding(
                    "warning",
                    "labels",
                    f"all {len(rows)} frames of one composition have the same energy",
                    frames=[frame for frame, _ in rows],
                    mend="check which column energy was read from: keys={'energy': ...}",
                )
        if self._atoms and self._zero == self._atoms:
            yield finding(
                "warning",
                "labels",
                "all forces are exactly zero",
                mend="leave them out with keys={'forces': None}, or compute them",
            )

    def summary(self) -> dict[str, Any]:
        """Size of the forces."""
        if not self._forces:
            return {}
        _, largest, rms, _ = np.array(self._forces).T
        return {
            "forces (eV/Å)": {
                "root mean square": float(np.sqrt((rms**2).mean())),
                "largest": float(largest.max()),
            }
        }


def robust(values: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations; zero where there is no spread."""
    middle = np.median(values)
    spread = SCALE * float(np.median(np.abs(values - middle)))
    # rounding: a spread far below the values themselves is none
    if spread <= 1e-9 * max(abs(float(middle)), 1e-9):
        return np.zeros_like(values)
    return np.asarray((values - middle) / spread)
