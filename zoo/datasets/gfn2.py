"""Molecular dynamics with GFN2-xTB: frames with energies, forces, dipoles and charges.

GFN2-xTB (Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652, 2019) through tblite, the
dynamics through ASE: Langevin without the centre-of-mass constraint (with it ASE does not sample
the canonical ensemble), velocities from a Maxwell-Boltzmann distribution. The temperature that is
recorded is the measured one, since thermostats miss their target in short runs. The labels are
semi-empirical: a model trained on them reproduces GFN2-xTB, not DFT.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary

from zoo import _extras
from zoo.errors import ConfigError, DataError

LEVEL_OF_THEORY = "GFN2-xTB"


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One trajectory's settings.

    `frames` are saved every `stride` steps of `timestep` (fs) at a target `temperature` (K) after
    `equilibration` steps; `friction` is in 1/fs.
    """

    frames: int
    stride: int = 20
    timestep: float = 0.5
    temperature: float = 500.0
    equilibration: int = 1000
    friction: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name in ("equilibration", "seed") else 1e-12
            if not value >= least:
                raise ConfigError(f"{name} of a trajectory must be above zero, not {value!r}")


def run(
    atoms: Atoms, settings: Trajectory, *, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Atoms], dict[str, Any]]:
    """Runs one trajectory.

    Args:
        atoms: starting structure (Å); `info["charge"]` is the total charge (e, default 0).
        settings: length, temperature, seed.
        progress: called with (frames done, frames in all).

    Returns:
        The frames, each with energy (eV), forces (eV/Å), dipole (e Å) as calculator results and
        `initial_charges` left alone, and a record: settings, measured temperature (K) with its
        standard deviation, level of theory, versions.

    Raises:
        DataError: for a periodic structure.
    """
    if atoms.pbc.any():
        raise DataError("the dynamics are for molecules; set atoms.pbc = False")
    ase_module = _extras.require("tblite.ase", extra="datagen", package="tblite")
    rng = np.random.default_rng(settings.seed)
    atoms = atoms.copy()
    charge = float(atoms.info.get("charge", 0.0))
    atoms.calc = ase_module.TBLite(method=LEVEL_OF_THEORY, charge=charge, verbosity=0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=settings.temperature, rng=rng)
    Stationary(atoms)
    dynamics = Langevin(
        atoms,
        settings.timestep * units.fs,
        temperature_K=settings.temperature,
        friction=settings.friction / units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(settings.equilibration)
    frames, temperatures = [], []
    for index in range(settings.frames):
        dynamics.run(settings.stride)
        frames.append(_snapshot(atoms))
        temperatures.append(atoms.get_temperature())
        if progress is not None:
            progress(index + 1, settings.frames)
    record = asdict(settings) | {
        "level_of_theory": LEVEL_OF_THEORY,
        "measured_temperature": float(np.mean(temperatures)),
        "measured_temperature_std": float(np.std(temperatures)),
        "versions": versions(),
    }
    return frames, record


def versions() -> dict[str, str]:
    """Versions of the packages that decide the numbers."""
    return _extras.versions("tblite", "ase", "rdkit", "numpy")


def label(atoms: Atoms) -> Atoms:
    """A copy of `atoms` with GFN2-xTB energy (eV), forces (eV/Å) and dipole (e Å)."""
    ase_module = _extras.require("tblite.ase", extra="datagen", package="tblite")
    labelled = atoms.copy()
    charge = float(atoms.info.get("charge", 0.0))
    labelled.calc = ase_module.TBLite(method=LEVEL_OF_THEORY, charge=charge, verbosity=0)
    return _snapshot(labelled)


def _snapshot(atoms: Atoms) -> Atoms:
    """A detached copy with the calculator's results, without momenta."""
    frame = Atoms(numbers=atoms.numbers, positions=atoms.positions)
    frame.info = dict(atoms.info)
    frame.calc = SinglePointCalculator(
        frame,
        energy=float(atoms.get_potential_energy()),
        forces=atoms.get_forces(apply_constraint=False).copy(),
        dipole=np.asarray(atoms.get_dipole_moment()).copy(),
    )
    return frame


def molecules(
    structures: Mapping[str, Atoms],
    settings: Mapping[str, Trajectory],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Atoms], dict[str, Any]]:
    """Frames of several molecules, several trajectories each.

    Args:
        structures: starting structure by molecule name.
        settings: trajectory settings by trajectory name (such as "train" and "test").
        progress: called with (frames done, frames in all).

    Returns:
        The frames, with `info["name"]` the molecule and `info["trajectory"]` the trajectory, and
        the records by "molecule/trajectory".
    """
    frames: list[Atoms] = []
    records: dict[str, Any] = {}
    total = len(structures) * sum(s.frames for s in settings.values())
    for offset, (name, structure) in enumerate(structures.items()):
        for trajectory, base in settings.items():
            # each molecule has noise of its own: seeds differ by more than the number of molecules
            setting = Trajectory(**asdict(base) | {"seed": base.seed + 1000 * offset})
            new, record = run(structure, setting, progress=_shift(progress, len(frames), total))
            for frame in new:
                frame.info |= {"name": name, "trajectory": trajectory}
            frames += new
            records[f"{name}/{trajectory}"] = record
    return frames, records


def _shift(
    progress: Callable[[int, int], None] | None, done: int, total: int
) -> Callable[[int, int], None] | None:
    """Reports one trajectory's progress as part of the whole."""
    if progress is None:
        return None
    return lambda count, _: progress(done + count, total)
