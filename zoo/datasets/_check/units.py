"""In which units energies, forces and stresses were written, from what they must obey."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from ase.units import Hartree

from zoo.datasets._check.distances import Distances
from zoo.datasets._check.frame import Frame
from zoo.datasets._check.report import Finding, finding
from zoo.datasets._check.steps import CONSISTENT, Fit, Steps
from zoo.datasets._units import ENERGY, LENGTH

CLOSE = (
    0.12  # |ln| by which a measured factor may miss a unit's: kcal/mol and hartree are 0.17 apart
)
STIFF = (0.8, 40.0)  # eV/Å^2, of the secant stiffness
ENOUGH_STEPS = 20  # before silence about energies and forces is worth a note
TOTAL = 0.06  # relative difference from the total energy of neutral atoms


@dataclass(frozen=True)
class Guess:
    """Units of energy, forces and positions, and the factor dE / (-F dx) they would cause."""

    energy: str
    force: tuple[str, str]
    length: str

    @property
    def factor(self) -> float:
        """What dE / (-F dx) is when all are read as eV and Å."""
        per = ENERGY[self.force[0]] / LENGTH[self.force[1]]
        return float(per * LENGTH[self.length] / ENERGY[self.energy])

    @property
    def oddness(self) -> int:
        """How far from common practice; the least odd guess is reported."""
        named = {self.energy, self.force[0]}
        mixed = (self.energy != self.force[0]) + (self.length != self.force[1])
        rare = 2 * len(named & {"meV", "rydberg"}) + len(named & {"kJ/mol"})
        rare += (self.force[1] == "nm") + (self.length == "nm")
        both = self.energy != "eV" and self.force[0] != "eV" and self.energy != self.force[0]
        return mixed + rare + 2 * both

    @property
    def mend(self) -> str:
        """What turns these numbers into eV and Å."""
        energy, (force, per) = self.energy, self.force
        if energy == force and self.length == per:
            return _options(energy, self.length)
        factors = {
            "energies": ENERGY[energy],
            "forces": ENERGY[force] / LENGTH[per],
            "positions": LENGTH[self.length],
        }
        wrong = [f"{name} by {f:.8g}" for name, f in factors.items() if f != 1.0]
        return f"multiply {', '.join(wrong)} and write the file again"

    def __str__(self) -> str:
        return (
            f"energies in {self.energy}, forces in {self.force[0]}/{self.force[1]}, positions in "
            f"{self.length}"
        )


def guesses(factor: float, length: str | None, total: str | None = None) -> list[Guess]:
    """Units that would cause a factor, the most common practice first.

    Args:
        factor: the measured dE / (-F dx).
        length: the unit that positions look like, or None.
        total: the unit that energies look like, or None.
    """
    lengths = [length] if length else ["angstrom", "bohr"]
    every = [
        Guess(energy, (force, per), where)
        for where in lengths
        for energy in ([total] if total else ENERGY)
        for force in ENERGY
        for per in LENGTH
    ]
    close = [g for g in every if abs(log(factor / g.factor)) < CLOSE]
    return sorted(close, key=lambda g: (g.oddness, abs(log(factor / g.factor))))


def atom_energy(numbers: np.ndarray) -> np.ndarray:
    """Total energy of neutral atoms (n,) in eV, to 1 % (hydrogen: 8 %).

    The statistical theory of atoms, E = -0.7687 Z^(7/3) + Z^2 / 2 - 0.2699 Z^(5/3) hartree
    (Thomas and Fermi, with the corrections of Scott and Schwinger).
    """
    z = numbers.astype(np.float64)
    hartree = -0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)
    return np.asarray(hartree * Hartree)


class Energies:
    """Energies against the total energies of atoms, which the statistical theory gives."""

    def __init__(self) -> None:
        self._ratios: list[float] = []
        self._per_atom: list[float] = []

    def see(self, index: int, sample: Frame) -> None:
        """Takes in one frame."""
        energy = sample.label("energy")
        if energy is None or sample.refusal:
            return
        self._per_atom.append(float(energy) / len(sample))
        self._ratios.append(float(energy) / float(atom_energy(sample.structure.numbers).sum()))

    @property
    def total(self) -> str | None:
        """The unit in which these are total energies of all electrons; None if in none."""
        if not self._ratios:
            return None
        ratio = float(np.median(self._ratios))
        for name, factor in ENERGY.items():
            if abs(ratio * factor - 1) < TOTAL:
                return name
        return None

    def findings(self) -> Iterator[Finding]:
        """The unit, where energies are total ones."""
        unit = self.total
        if unit in (None, "eV"):
            return
        ratio = float(np.median(self._ratios))
        yield finding(
            "warning",
            "units",
            f"energies look like {unit}: they are {ratio:.4g} times the total energy of the "
            f"neutral atoms in eV, which {unit} explains ({1 / ENERGY[str(unit)]:.4g})",
            evidence={"energy over that of atoms": ratio},
            mend=f'units={{"energy": "{unit}", ...}} or --unit energy={unit}',
        )

    def summary(self) -> dict[str, Any]:
        """Energy per atom."""
        if not self._per_atom:
            return {}
        low, middle, high = np.quantile(self._per_atom, [0, 0.5, 1])
        found = {"smallest": float(low), "median": float(middle), "largest": float(high)}
        return {"energy per atom (eV)": found}


class Consistency:
    """Puts the evidence of the other checks together; sees no samples itself.

    Args:
        distances: the unit of length.
        energies: the unit of total energies.
        steps: energies against forces.
    """

    def __init__(self, distances: Distances, energies: Energies, steps: Steps) -> None:
        self._distances = distances
        self._energies = energies
        self._steps = steps

    def see(self, index: int, sample: Frame) -> None:
        """Nothing."""

    def summary(self) -> dict[str, Any]:
        """Nothing beyond what the other checks say."""
        return {}

    def findings(self) -> Iterator[Finding]:
        """Forces against energies, and the size of forces."""
        fit = self._steps.fit
        if fit.tells:
            yield self._verdict(fit)
        elif fit.steps >= ENOUGH_STEPS:
            yield finding(
                "info",
                "units",
                f"energies don't follow forces along {fit.steps} steps (correlation "
                f"{fit.correlation:.2f}): steps too long, forces of another method, or no "
                "trajectory",
                evidence=vars(fit),
            )
        yield from self._size(fit)

    def _verdict(self, fit: Fit) -> Finding:
        text = f"along {fit.steps} steps dE = {fit.factor:.4g} x (-F dx)"
        evidence = vars(fit)
        if CONSISTENT[0] <= fit.factor <= CONSISTENT[1]:
            return finding(
                "info", "units", f"{text}: energies and forces belong together", evidence=evidence
            )
        mend = "write forces = -gradient, in the energies' unit per unit of length"
        if fit.factor < 0:
            sign = f"{text}: the sign is wrong, these are gradients and not forces"
            return finding("error", "units", sign, evidence=evidence, mend=mend)
        known = guesses(fit.factor, self._distances.unit, self._energies.total)
        if not known:
            odd = f"{text}: energies and forces don't belong together, and no unit explains it"
            return finding("error", "units", odd, evidence=evidence, mend=mend)
        likely = [str(g) for g in known[:2]]
        return finding(
            "error",
            "units",
            f"{text}, which means {' or '.join(likely)} ({known[0].factor:.4g})",
            evidence=evidence | {"guesses": likely},
            mend=known[0].mend,
        )

    def _size(self, fit: Fit) -> Iterator[Finding]:
        """The stiffness, where energies and forces agree with each other or there is no fit."""
        stiffness = self._steps.stiffness
        if stiffness is None or stiffness <= 0 or STIFF[0] <= stiffness <= STIFF[1]:
            return
        if fit.tells and not CONSISTENT[0] <= fit.factor <= CONSISTENT[1]:
            return
        length = self._distances.unit or "angstrom"
        typical = 6.0  # eV/Å^2, within a factor of two in molecules and metals
        likely = min(
            (n for n in ENERGY if n not in ("meV", "rydberg")),
            key=lambda n: abs(log(stiffness * ENERGY[n] / LENGTH[length] ** 2 / typical)),
        )
        yield finding(
            "warning",
            "units",
            f"forces change by {stiffness:.3g} eV/Å per Å of motion (median along the trajectory); "
            f"{STIFF[0]:g} to {STIFF[1]:g} is usual, and {likely} and {length} would explain it",
            evidence={"stiffness (eV/Å^2)": stiffness},
            mend=_options(likely, length),
        )


def _options(energy: str, length: str) -> str:
    return (
        f'units={{"energy": "{energy}", "length": "{length}"}} or --unit energy={energy} '
        f"--unit length={length}"
    )
