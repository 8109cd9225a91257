"""What becomes of a structure that is relaxed."""

from collections.abc import Sequence
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
    """The result, and the same in `info` of a copy without old labels."""
    atoms = frame.copy()
    atoms.calc = frame.calc if status in ("converged", "steps") else None
    said: dict[str, Any] = {"relax_status": status, "relax_steps": steps}
    said |= {"relax_fmax": fmax} if np.isfinite(fmax) else {}
    said |= {"relax_reason": reason} if reason else {}
    atoms.info |= said
    return Relaxed(atoms, status, steps, fmax, reason)


def read(atoms: Atoms) -> Relaxed:
    """What `outcome` wrote into `info`."""
    info = atoms.info
    return Relaxed(
        atoms,
        str(info["relax_status"]),
        int(info["relax_steps"]),
        float(info.get("relax_fmax", np.nan)),
        str(info.get("relax_reason", "")),
    )


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
