"""What becomes of a structure that is relaxed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from torch import Tensor

from zoo.apps.scale._pool import Values


@dataclass(frozen=True)
class Relaxed:
    """What became of one structure.

    Attributes:
        atoms: the last geometry, with its energy and forces (and, where the cell relaxed, stress)
            as calculator results; `info` says the same as the attributes below.
        status: "converged"; "steps", not converged within the steps allowed; "failed", no longer
            anything the model can take, or not finite; "refused", never that.
        steps: moves made.
        fmax: the largest force at the end (eV/Å), of the cell's too where it relaxed; NaN where
            there is none.
        reason: what failed.
    """

    atoms: Atoms
    status: str
    steps: int
    fmax: float
    reason: str = ""

    @property
    def converged(self) -> bool:
        """Whether the forces are below the limit."""
        return self.status == "converged"


def label(frame: Atoms, values: Values, forces: Tensor, graph: int) -> None:
    """Puts the values of one structure of a pool on it, as results of a calculator."""
    results: dict[str, Any] = {"energy": float(values.energy[graph]), "forces": forces.numpy()}
    if values.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(values.stress[graph].numpy())
    frame.calc = SinglePointCalculator(frame, **results)


def outcome(frame: Atoms, status: str, steps: int, fmax: float, reason: str) -> Relaxed:
    """The result, and the same in `info` of the frame, which loses labels that are not its own."""
    if status not in ("converged", "steps"):
        frame.calc = None
    said: dict[str, Any] = {"relax_status": status, "relax_steps": steps}
    said |= {"relax_fmax": fmax} if np.isfinite(fmax) else {}
    said |= {"relax_reason": reason} if reason else {}
    frame.info |= said
    return Relaxed(frame, status, steps, fmax, reason)


def pack(results: Mapping[int, Relaxed]) -> dict[str, np.ndarray]:
    """Results as arrays, nothing rounded: `place`, `status`, `steps`, `fmax`, `reason`, `energy`,
    `cell`, `stress` of each (s,), and `pos` and `forces` of all their atoms (n,).

    Args:
        results: at least one, by number of the structure.
    """
    frames = [result.atoms for result in results.values()]
    values = [{} if frame.calc is None else frame.calc.results for frame in frames]
    nothing = np.full(6, np.nan)
    return {
        "place": np.array(list(results)),
        "energy": np.array([found.get("energy", np.nan) for found in values]),
        "cell": np.stack([frame.cell.array for frame in frames]),
        "stress": np.stack([found.get("stress", nothing) for found in values]),
        "pos": np.concatenate([frame.positions for frame in frames]),
        "forces": np.concatenate(
            [
                found.get("forces", np.full((len(frame), 3), np.nan))
                for frame, found in zip(frames, values, strict=True)
            ]
        ),
    } | {
        name: np.array([getattr(result, name) for result in results.values()])
        for name in ("status", "steps", "fmax", "reason")
    }


def unpack(arrays: Mapping[str, np.ndarray], structures: Sequence[Atoms]) -> dict[int, Relaxed]:
    """What `pack` was given.

    Args:
        arrays: what it returned.
        structures: all structures of the run, as they were before.
    """
    found = {}
    start = 0
    for k, place in enumerate(arrays["place"].tolist()):
        frame = structures[place].copy()
        rows = slice(start, start + len(frame))
        start += len(frame)
        frame.positions, frame.cell = arrays["pos"][rows], arrays["cell"][k]
        results: dict[str, Any] = {"energy": float(arrays["energy"][k])}
        results["forces"] = arrays["forces"][rows]
        if not np.isnan(arrays["stress"][k]).any():
            results["stress"] = arrays["stress"][k]
        frame.calc = SinglePointCalculator(frame, **results)
        found[place] = outcome(
            frame,
            str(arrays["status"][k]),
            int(arrays["steps"][k]),
            float(arrays["fmax"][k]),
            str(arrays["reason"][k]),
        )
    return found


def counts(results: Sequence[Relaxed]) -> dict[str, int]:
    """How many structures have each status."""
    names = ("converged", "steps", "failed", "refused")
    return {name: sum(result.status == name for result in results) for name in names}


def to_json(results: Sequence[Relaxed]) -> list[dict[str, Any]]:
    """The statuses, plain."""
    return [
        {
            "status": r.status,
            "steps": r.steps,
            "fmax": r.fmax if np.isfinite(r.fmax) else None,
            "energy": None if r.atoms.calc is None else r.atoms.get_potential_energy(),
            "reason": r.reason,
        }
        for r in results
    ]
