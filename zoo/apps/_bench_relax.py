"""Relaxation of many small molecules at once against one ASE calculator in a loop."""

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.optimize import LBFGS

from zoo import hub
from zoo.apps._timing import interleaved, machine
from zoo.apps.scale.relax import Relaxed, relax
from zoo.errors import ConfigError

Row = dict[str, Any]
#: shown after the molecules are moved off their published geometries by this much (Å)
RATTLE = 0.05
FMAX, STEPS = 0.05, 500
#: the loop takes turns with the batch after each quarter of the structures
TURNS = 4
#: energies that differ by less than this (eV) are those of one minimum, as sharp as FMAX allows
SAME = 0.005


def workload(size: int, elements: set[int] | None) -> list[Atoms]:
    """Molecules of G2 (Curtiss et al., J. Chem. Phys. 106, 1063 (1997)) with three atoms or more.

    Args:
        size: how many; they repeat with other displacements.
        elements: which atomic numbers may occur; all if None.
    """
    known = [molecule(name) for name in g2.names]
    fit = [m for m in known if len(m) > 2 and (not elements or set(m.numbers) <= elements)]
    if not fit:
        raise ConfigError("no molecule of G2 has only elements that this model knows")
    frames = [fit[k % len(fit)].copy() for k in range(size)]
    for k, frame in enumerate(frames):
        frame.rattle(RATTLE, seed=k)
    return frames


def measure(
    name: str = "tensornet-s.gfn2-md10.r2",
    *,
    structures: int = 256,
    repeats: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Seconds, evaluations and final energies of both.

    Args:
        name: a checkpoint.
        structures: how many molecules.
        repeats: rounds.
        progress: called with (turns done, turns in all).

    Returns:
        Rows with `what`, `ours`, `peer`, `ratio`, `target`; the last one is the machine.
    """
    model = hub.load(name).eval()
    frames = workload(structures, set(model.trained_elements or ()) or None)
    quarters = [frames[k::TURNS] for k in range(TURNS)]
    calculator = model.calculator()
    found: dict[str, Any] = {"turn": 0, "peer": {}}

    def ours() -> None:
        found["ours"] = relax(model, frames, fmax=FMAX, steps=STEPS)

    def peer() -> None:
        turn = found["turn"] % TURNS
        found["peer"] |= _loop(quarters[turn], calculator, turn)
        found["turn"] += 1
        if progress is not None:
            progress(found["turn"], TURNS * repeats)

    relax(model, frames[:2], fmax=FMAX, steps=2)  # what the first calls cost more
    seconds = interleaved({"ours": ours, "peer": peer}, repeats=TURNS * repeats, warmup=0)
    loop = np.array(seconds["peer"]).reshape(repeats, TURNS).sum(axis=1)
    batch = np.array(seconds["ours"]).reshape(repeats, TURNS).mean(axis=1)
    return [
        {
            "what": f"{structures} molecules to {FMAX} eV/Å, ASE's LBFGS as the peer (s)",
            "ours": float(np.median(batch)),
            "peer": float(np.median(loop)),
            "ratio": float(np.median(loop / batch)),
            "target": ">= 10",
        },
        *_compare(found["ours"], found["peer"]),
        {"what": "machine", **machine()},
    ]


def _loop(frames: list[Atoms], calculator: Any, turn: int) -> dict[int, tuple[float, int]]:
    """Energies and steps of structures one after the other, by their number."""
    done = {}
    for k, frame in enumerate(frames):
        atoms = frame.copy()
        atoms.calc = calculator
        optimizer = LBFGS(atoms, logfile=None)  # type: ignore[arg-type]
        optimizer.run(fmax=FMAX, steps=STEPS)
        done[turn + TURNS * k] = (atoms.get_potential_energy(), optimizer.nsteps)
    return done


def _compare(ours: list[Relaxed], peer: dict[int, tuple[float, int]]) -> list[Row]:
    """Steps, minima and energies of the two."""
    energies = np.array([result.atoms.get_potential_energy() for result in ours])
    others = np.array([peer[k][0] for k in range(len(ours))])
    difference = np.abs(energies - others)
    return [
        {
            "what": "steps a molecule",
            "ours": float(np.mean([result.steps for result in ours])),
            "peer": float(np.mean([peer[k][1] for k in range(len(ours))])),
        },
        {
            "what": f"energies within {1e3 * SAME:g} meV (share of the molecules)",
            "ours": float((difference < SAME).mean()),
        },
        {
            "what": "median difference of the energies (meV)",
            "ours": 1e3 * float(np.median(difference)),
        },
        {"what": "converged (share of the molecules)", "ours": _share(ours)},
    ]


def _share(results: list[Relaxed]) -> float:
    return sum(result.converged for result in results) / len(results)
