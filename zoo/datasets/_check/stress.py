"""Sign and unit of stresses, from energies and volumes. (ASE: (1/V) dE/dε, positive in tension.)

Where consecutive frames have different cells, dE = -F dx + V stress : strain gives both sign and
unit. Else, frames of one composition at several volumes: expanded cells pull, so the mean stress
must rise with the volume, and its slope V d(stress)/dV is a bulk modulus (solids: 1 to 500 GPa).
"""

from collections import defaultdict
from collections.abc import Iterator
from math import log
from typing import Any

import numpy as np
from ase.units import Bohr, GPa, Hartree, Rydberg

from zoo.datasets._check.frame import Frame
from zoo.datasets._check.report import Finding, finding
from zoo.datasets._check.steps import CONSISTENT, Fit, Steps

UNITS = {
    "GPa": GPa,
    "kbar": 0.1 * GPa,
    "hartree/bohr^3": Hartree / Bohr**3,
    "rydberg/bohr^3": Rydberg / Bohr**3,
}
SPREAD = 2e-3  # relative spread of volumes from which a slope means something
ENOUGH = 5  # frames of one composition
CORRELATED = 0.5
MODULI = (0.5, 800.0)  # GPa, of anything solid
MEND = "stress = dE/dε / V in eV/Å^3, positive under tension; "


class Stresses:
    """Stresses against volumes and energies.

    Args:
        steps: the fit of energies along steps that change the cell.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._groups: dict[bytes, list[tuple[float, float]]] = defaultdict(list)
        self._seen = 0
        self._volumes: list[float] = []

    def see(self, index: int, sample: Frame) -> None:
        """Takes in one frame."""
        stress = sample.label("stress")
        if stress is None or sample.refusal or not sample.structure.pbc.all():
            return
        self._seen += 1
        volume = sample.structure.volume
        self._volumes.append(volume)
        kind = np.unique(sample.structure.numbers, return_counts=True)
        share = (kind[1] / kind[1].sum()).round(6)
        key = kind[0].tobytes() + share.tobytes()
        self._groups[key].append((volume / len(sample), float(np.trace(stress)) / 3))

    def _slope(self) -> tuple[float, float] | None:
        """Bulk modulus in GPa and correlation of mean stress with relative volume."""
        strain, pull = [], []
        for rows in self._groups.values():
            volume, mean = np.array(rows).T
            if len(rows) >= ENOUGH and volume.std() > SPREAD * volume.mean():
                strain.append(volume / volume.mean() - 1)
                pull.append(mean - mean.mean())
        if not strain:
            return None
        x, y = np.concatenate(strain), np.concatenate(pull)
        if not y.any():
            return None
        slope = float((x * y).sum() / (x * x).sum())
        return slope / GPa, float(np.corrcoef(x, y)[0, 1])

    def findings(self) -> Iterator[Finding]:
        """Whether sign and unit are right, or why that can't be told."""
        if not self._seen:
            return
        fit = self._steps.strain_fit
        trusted = (
            not self._steps.fit.tells or CONSISTENT[0] < self._steps.fit.factor < CONSISTENT[1]
        )
        if fit.tells and trusted:
            yield self._from_energies(fit)
            return
        slope = self._slope()
        if slope is None or abs(slope[1]) < CORRELATED:
            yield finding(
                "info",
                "stress",
                "the sign of the stress can't be told: no composition has frames at different "
                "volumes whose stresses follow them",
                mend="",
            )
            return
        yield self._from_volumes(*slope)

    def _from_energies(self, fit: Fit) -> Finding:
        text = f"along {fit.steps} steps that change the cell, dE + F dx = {fit.factor:.4g} x V "
        text += "stress : strain"
        if CONSISTENT[0] < fit.factor < CONSISTENT[1]:
            good = f"{text}: sign and unit of the stress are right"
            return finding("info", "stress", good, evidence=vars(fit))
        sign = "the sign is wrong (positive is tension)" if fit.factor < 0 else ""
        size = abs(fit.factor)
        candidates = dict(UNITS) | {"eV (a virial, V times stress)": 1 / np.median(self._volumes)}
        misses = {n: abs(log(size / u)) for n, u in candidates.items()}
        near = sorted((n for n in misses if misses[n] < 0.35), key=misses.__getitem__)
        unit = f"the stress looks like {' or '.join(near)}" if near else ""
        known = CONSISTENT[0] < size < CONSISTENT[1]
        parts = [p for p in (sign, unit) if p] or ["the stress is of another unit or method"]
        if sign and not near and not known:
            parts.append("and its size is not explained by a unit")
        return finding(
            "error",
            "stress",
            f"{text}: {'; '.join(parts)}",
            evidence=vars(fit),
            mend=_mend(fit.factor < 0, near[0] if near else None),
        )

    def _from_volumes(self, modulus: float, correlation: float) -> Finding:
        evidence = {"bulk modulus (GPa)": modulus, "correlation": correlation}
        text = (
            f"over frames at different volumes, V d(stress)/dV = {modulus:.4g} GPa (correlation "
            f"{correlation:.2f}), which should be a bulk modulus"
        )
        size = abs(modulus)
        flipped = modulus < 0
        if not flipped and MODULI[0] <= size <= MODULI[1]:
            return finding("info", "stress", f"{text}: plausible", evidence=evidence)
        unit = None
        if size > MODULI[1]:
            unit = next((n for n in ("GPa", "kbar") if size * UNITS[n] <= MODULI[1]), None)
        said = []
        if flipped:
            said.append("the sign looks wrong: positive must be tension")
        if unit:
            said.append(f"the numbers look like {unit} and not eV/Å^3")
        return finding(
            "warning",
            "stress",
            f"{text}: {'; '.join(said) or 'the unit looks wrong'}",
            evidence=evidence,
            mend=_mend(flipped, unit),
        )

    def summary(self) -> dict[str, Any]:
        """The measured modulus."""
        slope = self._slope()
        if slope is None:
            return {}
        return {"stress": {"V d(stress)/dV (GPa)": slope[0], "correlation": slope[1]}}


def _mend(flipped: bool, unit: str | None) -> str:
    how = []
    if unit in UNITS:
        how.append(f"multiply by {UNITS[unit]:.6g}")
    elif unit:
        how.append("divide by the volume, or read it as virial: keys={'virial': ...}")
    if flipped:
        how.append("change its sign")
    return MEND + " and ".join(how or ["compute it again"])
