"""Dynamics of several molecules at once, at constant energy or temperature.

The integrator is BAOAB (Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34): half a kick,
half a drift, friction and noise, half a drift, half a kick. Without friction it is velocity Verlet.
The molecules do not meet: they only share the calls of the potential, which costs a model much
less than one call each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from zoo.datasets.atoms import to_batch
from zoo.models._atomistic import AtomisticModel

Array = npt.NDArray[np.float64]
#: positions (n, 3) Å of all molecules, joined -> energies (g,) eV and forces (n, 3) eV/Å
Forces = Callable[[Array], tuple[Array, Array]]
#: positions (n, 3) -> which molecules (g,) are no longer what they were
Watch = Callable[[Array], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Joined:
    """Several molecules as one set of atoms: `numbers`, `masses` (u), `owner` of each atom (n,)."""

    numbers: npt.NDArray[np.int64]
    masses: Array
    owner: npt.NDArray[np.int64]
    positions: Array

    @staticmethod
    def of(structures: Sequence[Atoms]) -> "Joined":
        """Joins molecules in order."""
        return Joined(
            np.concatenate([atoms.numbers for atoms in structures]),
            np.concatenate([atoms.get_masses() for atoms in structures]),
            np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures]),
            np.concatenate([atoms.positions for atoms in structures]),
        )

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Atoms of each molecule (g,)."""
        return np.bincount(self.owner)

    def per_molecule(self, values: Array) -> Array:
        """Sums (n,) over the atoms of each molecule (g,)."""
        sums = np.bincount(self.owner, weights=values, minlength=len(self.counts))
        return np.asarray(sums, dtype=np.float64)

    def centred(self, values: Array, weights: Array | None = None) -> Array:
        """(n, 3) less the mean over each molecule, weighted or not."""
        share = np.ones(len(self.owner)) if weights is None else weights
        total = self.per_molecule(share)
        mean = np.stack([self.per_molecule(share * x) / total for x in values.T], axis=1)
        return values - mean[self.owner]


def model_forces(model: AtomisticModel, structures: Sequence[Atoms]) -> Forces:
    """Energies and forces of molecules in one call of a model.

    Positions are taken relative to each molecule's centre, in float64, so that one that drifts
    away is not rounded any more coarsely.

    Args:
        model: in the precision and on the device to use.
        structures: the molecules; not periodic.
    """
    joined = Joined.of(structures)
    batch = to_batch(list(structures), dtype=model.dtype, labels=False).to(model.device)

    def forces(positions: Array) -> tuple[Array, Array]:
        centred = torch.from_numpy(joined.centred(positions))
        batch.pos = centred.to(dtype=model.dtype, device=model.device)
        out = model(batch, outputs=("energy", "forces"), create_graph=False)
        return _numpy(out["energy"]), _numpy(out["forces"])

    return forces


def calculator_forces(
    structures: Sequence[Atoms], calculator: Callable[[Atoms], Calculator]
) -> Forces:
    """Energies and forces of molecules, one calculator each.

    Args:
        structures: the molecules.
        calculator: makes the calculator of one of them.
    """
    copies = [atoms.copy() for atoms in structures]
    for atoms in copies:
        atoms.calc = calculator(atoms)
    bounds = np.cumsum([len(atoms) for atoms in copies])[:-1]

    def forces(positions: Array) -> tuple[Array, Array]:
        energies, found = [], []
        for atoms, part in zip(copies, np.split(positions, bounds), strict=True):
            atoms.positions = part
            found.append(atoms.get_forces())
            energies.append(atoms.get_potential_energy())
        return np.array(energies), np.concatenate(found)

    return forces


@dataclass
class State:
    """Where dynamics stand: with the forces' function these decide all that follows.

    `lost` holds the step (g,) at which a molecule was found broken, or -1; it is held still at its
    starting positions from there on.
    """

    step: int
    positions: Array
    velocities: Array
    random: dict[str, Any]
    lost: npt.NDArray[np.int64]


class Integrator:
    """Dynamics of joined molecules, step by step.

    Args:
        forces: of the potential.
        joined: the molecules; their positions are where broken ones are put.
        state: where to start, from `thermal` or an earlier run.
        timestep: fs.
        temperature: of the thermostat (K).
        friction: of the thermostat (1/fs); zero conserves the energy.
        watch: tells which molecules have broken, at every step.

    Attributes:
        potential: energies (g,) eV at the current positions.
        current: forces (n, 3) eV/Å there.
    """

    def __init__(
        self,
        forces: Forces,
        joined: Joined,
        state: State,
        *,
        timestep: float = 0.5,
        temperature: float = 0.0,
        friction: float = 0.0,
        watch: Watch | None = None,
    ) -> None:
        self._forces, self._joined, self._watch = forces, joined, watch
        self._step = timestep * units.fs
        self._masses = joined.masses[:, None]
        self._keep = float(np.exp(-friction * timestep))
        noise = units.kB * temperature * (1 - self._keep**2)
        self._noise = np.sqrt(noise / self._masses)
        self._rng = np.random.default_rng()
        self._rng.bit_generator.state = state.random
        self.step_count = state.step
        self.positions, self.velocities = state.positions.copy(), state.velocities.copy()
        self.lost = state.lost.copy()
        self.potential, self.current = forces(self.positions)

    def step(self) -> None:
        """One time step; one call of the forces."""
        half = 0.5 * self._step
        self.velocities += half * self.current / self._masses
        self.positions += half * self.velocities
        if self._keep < 1.0:
            kick = self._rng.standard_normal(self.velocities.shape)
            self.velocities = self._keep * self.velocities + self._noise * kick
        self.positions += half * self.velocities
        self.step_count += 1
        if self._watch is not None:
            broken = self._watch(self.positions) & (self.lost < 0)
            self.lost[broken] = self.step_count
        held = (self.lost >= 0)[self._joined.owner]
        self.positions[held] = self._joined.positions[held]
        self.potential, self.current = self._forces(self.positions)
        self.velocities += half * self.current / self._masses
        self.velocities[held] = 0.0

    @property
    def kinetic(self) -> Array:
        """Kinetic energies (g,) in eV."""
        return self._joined.per_molecule(
            0.5 * self._joined.masses * np.square(self.velocities).sum(axis=1)
        )

    @property
    def state(self) -> State:
        """A copy of where the dynamics stand."""
        return State(
            self.step_count,
            self.positions.copy(),
            self.velocities.copy(),
            dict(self._rng.bit_generator.state),
            self.lost.copy(),
        )


def thermal(joined: Joined, *, temperature: float, seed: int) -> State:
    """The start of dynamics: given positions, velocities drawn at a temperature.

    Args:
        joined: the molecules.
        temperature: K, of all degrees of freedom.
        seed: of the velocities and of a thermostat's noise after them.
    """
    rng = np.random.default_rng(seed)
    spread = np.sqrt(units.kB * temperature / joined.masses)[:, None]
    velocities = spread * rng.standard_normal(joined.positions.shape)
    lost = np.full(len(joined.counts), -1)
    start = joined.positions.copy()
    return State(0, start, velocities, dict(rng.bit_generator.state), lost)


def _numpy(value: torch.Tensor) -> Array:
    array: Array = value.detach().cpu().double().numpy()
    return array
