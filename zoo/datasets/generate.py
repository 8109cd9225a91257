"""Making data sets: GFN2-xTB and EMT dynamics, and DFT labels for given structures.

Each function writes two files in the end, both in one step: the data (our .npz, or extxyz) and
beside it `<stem>.yaml`, which says how they were made: level of theory, measured temperatures,
seeds, versions, sha256. `zoo.datasets.open` reads either. What can be checked is checked before
anything is computed: inputs, settings, and that the output can be written. Dynamics run in
parallel processes, and a killed run goes on where it stood (`zoo.datasets._parts`).
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from zoo import _extras
from zoo.datasets import _parts, dft, emt, gfn2
from zoo.datasets._described import prepare, write
from zoo.datasets._dynamics import Dynamics, Progress, Trajectory
from zoo.datasets._open import open as open_dataset
from zoo.datasets._starts import spelled, starting_structures
from zoo.datasets.dataset import AtomsDataset
from zoo.errors import ConfigError, nearest

_MOLECULES = Dynamics()
_METALS = Dynamics(timestep=5.0, equilibration=60)


def generate_gfn2(
    molecules: Sequence[str],
    output: str | Path,
    *,
    frames: Mapping[str, int],
    trajectories: Mapping[str, int] | None = None,
    stride: int | Mapping[str, int] = 20,
    seed: int = 0,
    embed_seed: int = 1,
    dynamics: Dynamics = _MOLECULES,
    processes: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AtomsDataset:
    """Samples molecules by GFN2-xTB dynamics (needs the extra `datagen`).

    The labels are energy, forces, dipole, charges and the energies of the frontier orbitals.

    Args:
        molecules: each a name ("ethanol", or "md17" for all ten of that benchmark), a SMILES, or a
            file with starting structures (charges and spins in their `info` count).
        output: .npz or .extxyz. `<stem>.parts` beside it holds what is finished, until all is.
        frames: split -> frames of each molecule, such as {"train": 170, "test": 30}.
        trajectories: split -> independent trajectories that share its frames; one unless said.
        stride: steps between frames, for all splits or by split (20 unless said).
        seed: trajectory j of molecule k has the seed `seed + 1000 k + j`.
        embed_seed: of the starting geometries made from SMILES.
        dynamics: time step and thermostat; the measured temperature is recorded.
        processes: trajectories computed at once.
        overwrite: whether an existing output may be replaced.
        progress: called with (frames done, frames in all).

    Returns:
        The data set, opened from the output.

    Raises:
        OutputError: if the output can't be written, or is there already.
        ConfigError: for impossible settings, or parts of a run with other settings.
        DataError: for molecules that can't be read or calculated.
        MissingExtraError: without tblite (and rdkit, for names and SMILES).
    """
    path = prepare(output, overwrite=overwrite)
    names = _trajectories(frames, trajectories, stride)
    settings = {
        name: Trajectory(**counts, **asdict(dynamics), seed=seed + offset)
        for offset, (name, counts) in enumerate(names.items())
    }
    structures = starting_structures(molecules, seed=embed_seed)
    _extras.require("tblite.interface", extra="datagen", package="tblite")
    jobs = {
        f"{molecule}/{name}": _parts.Job(
            start=start, settings=replace(setting, seed=setting.seed + 1000 * offset)
        )
        for offset, (molecule, start) in enumerate(structures.items())
        for name, setting in settings.items()
    }
    for start in structures.values():
        gfn2.calculator(start)  # refuses what can't be calculated
    described = {
        "method": "Langevin dynamics",
        "molecules": spelled(molecules, structures),
        "embed_seed": embed_seed,
    }
    plan = _parts.Plan(engine="gfn2", jobs=jobs)
    return _sample(plan, path, described, frames, processes, progress)


def generate_emt(
    output: str | Path,
    *,
    metals: Sequence[str] = emt.METALS,
    frames: Mapping[str, int] | None = None,
    trajectories: Mapping[str, int] | None = None,
    stride: int | Mapping[str, int] = 8,
    seed: int = 0,
    temperatures: Sequence[float] = (50.0, 300.0, 800.0),
    strain: float = 0.05,
    dynamics: Dynamics = _METALS,
    processes: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AtomsDataset:
    """Samples fcc metals and their binary alloys with EMT: bulk, vacancies, slabs, with stress.

    Every trajectory has its own random strain, and the temperatures are taken in turn.

    Args:
        output: .npz or .extxyz; parts are kept beside it as in `generate_gfn2`.
        metals: of Ag, Al, Au, Cu, Ni, Pd, Pt; all pairs of them become alloys.
        frames: split -> frames of each structure (54, 4 and 6 unless said).
        trajectories: split -> independent trajectories that share its frames (9 for train).
        stride: steps between frames, for all splits or by split.
        seed: trajectory j of structure k has the seed `seed + 1000 k + j`.
        temperatures: K, of the thermostat; the trajectories of a split take them in turn.
        strain: see `zoo.datasets.emt.strained`.
        dynamics: time step and thermostat, whose temperature is not used.
        processes: trajectories computed at once.
        overwrite: whether an existing output may be replaced.
        progress: called with (frames done, frames in all).

    Returns:
        The data set, opened from the output.

    Raises:
        OutputError: if the output can't be written, or is there already.
        ConfigError: for impossible settings, or parts of a run with other settings.
    """
    path = prepare(output, overwrite=overwrite)
    for metal in metals:
        if metal not in emt.METALS:
            raise ConfigError(f"EMT has no {metal!r} here: {nearest(metal, emt.METALS)}")
    if not metals or len(set(metals)) != len(metals) or not temperatures:
        raise ConfigError("give at least one metal, each once, and at least one temperature")
    frames = {"train": 54, "val": 4, "test": 6} if frames is None else frames
    trajectories = (
        {"train": min(9, frames.get("train", 9))} if trajectories is None else trajectories
    )
    names = _trajectories(frames, trajectories, stride)
    jobs = {}
    for place, (structure, crystal) in enumerate(emt.structures(metals)):
        for offset, (name, counts) in enumerate(names.items()):
            split = next(split for split in frames if _of(name, split))
            turn = offset - next(k for k, other in enumerate(names) if _of(other, split))
            # with fewer trajectories than temperatures, structures begin at different ones
            turn += place if trajectories.get(split, 1) < len(temperatures) else 0
            thermostat = replace(dynamics, temperature=temperatures[turn % len(temperatures)])
            setting = Trajectory(**counts, **asdict(thermostat), seed=seed + 1000 * place + offset)
            rng = np.random.default_rng((setting.seed, 1))
            start = emt.strained(crystal, rng, strain)
            jobs[f"{structure}/{name}"] = _parts.Job(start=start, settings=setting)
    described = {
        "method": "Langevin dynamics of strained crystals",
        "metals": list(metals),
        "strain": strain,
    }
    plan = _parts.Plan(engine="emt", jobs=jobs)
    return _sample(plan, path, described, frames, processes, progress)


def generate_dft(
    structures: str | Path,
    output: str | Path,
    *,
    functional: str = "pbe",
    basis: str = "def2-SVP",
    grid: int = 3,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AtomsDataset:
    """Labels structures with DFT single points (needs the extra `datagen`).

    Args:
        structures: anything that `zoo.datasets.open` takes; names and trajectories are kept,
            labels replaced.
        output: .npz or .extxyz.
        functional: any functional that PySCF knows.
        basis: any basis that PySCF knows.
        grid: PySCF's integration grid level, 0 to 9.
        overwrite: whether an existing output may be replaced.
        progress: called with (frames done, frames in all).

    Returns:
        The data set, opened from the output.

    Raises:
        OutputError: if the output can't be written, or is there already.
        DataError: for structures that can't be read or calculated.
        MissingExtraError: without PySCF.
    """
    path = prepare(output, overwrite=overwrite)
    given = open_dataset(structures, domain="atoms")
    given.check()
    record = dft.record(functional=functional, basis=basis, grid=grid)
    frames = [given.atoms(index) for index in range(len(given))]
    labelled = list(
        dft.label(frames, functional=functional, basis=basis, grid=grid, progress=progress)
    )
    origin = given.metadata.get("generation", {"file": Path(structures).name})
    generation = record | {"structures": origin}
    return write(path, labelled, level_of_theory=record["level_of_theory"], generation=generation)


def _trajectories(
    frames: Mapping[str, int],
    trajectories: Mapping[str, int] | None,
    stride: int | Mapping[str, int],
) -> dict[str, dict[str, int]]:
    """Frames and stride of each trajectory: "train-1", "train-2", ..., "test"."""
    if not frames:
        raise ConfigError('frames must name at least one split, such as {"train": 100}')
    counts = dict(trajectories or {})
    strides = dict(stride) if isinstance(stride, Mapping) else {}
    for name in (*counts, *strides):
        if name not in frames:
            raise ConfigError(f"there are no frames of {name!r}: {nearest(name, frames)}")
    found = {}
    for name, total in frames.items():
        count = counts.get(name, 1)
        if count < 1 or total % count:
            raise ConfigError(
                f"{total} frames of {name!r} can't be shared by {count} trajectories; choose a "
                "multiple"
            )
        step = strides.get(name, 20) if isinstance(stride, Mapping) else stride
        for copy in range(1, count + 1):
            label = name if count == 1 else f"{name}-{copy}"
            found[label] = {"frames": total // count, "stride": step}
    return found


def _sample(
    plan: _parts.Plan,
    path: Path,
    described: Mapping[str, Any],
    splits: Mapping[str, int],
    processes: int,
    progress: Progress | None,
) -> AtomsDataset:
    """Computes a plan and writes the set."""
    if processes < 1:
        raise ConfigError(f"processes is {processes}; it must be at least 1")
    folder = path.with_name(f"{path.stem}.parts")
    computed = _parts.run(plan, folder, processes=processes, progress=progress)
    frames = []
    for key, sampled in computed.items():
        structure, _, trajectory = key.rpartition("/")
        for frame in sampled:
            frame.info |= {"name": structure, "trajectory": trajectory}
        frames += sampled
    names = dict.fromkeys(key.rpartition("/")[2] for key in plan.jobs)
    values = {split: [name for name in names if _of(name, split)] for split in splits}
    engine = gfn2 if plan.engine == "gfn2" else emt
    dataset = write(
        path,
        frames,
        level_of_theory=engine.LEVEL_OF_THEORY,
        generation={**described, "versions": engine.versions(), **_course(plan, computed)},
        splits={"kind": "assigned", "key": "trajectory", "values": values},
    )
    shutil.rmtree(folder)
    return dataset


def _of(trajectory: str, split: str) -> bool:
    """Whether "train-3" is of "train"."""
    return trajectory == split or trajectory.removeprefix(f"{split}-").isdigit()


def _course(plan: _parts.Plan, computed: Mapping[str, Sequence[Atoms]]) -> dict[str, Any]:
    """What the description says of the dynamics: settings, and measured temperatures (K).

    Temperatures are means over the frames of each structure; of each target, where the
    trajectories have several.
    """
    first = next(iter(plan.jobs)).rpartition("/")[0]
    settings = {
        trajectory: asdict(job.settings)
        for structure, _, trajectory, job in ((*k.rpartition("/"), j) for k, j in plan.jobs.items())
        if structure == first
    }
    several = len({job.settings.temperature for job in plan.jobs.values()}) > 1
    groups: dict[str, list[float]] = {}
    for key, frames in computed.items():
        target = plan.jobs[key].settings.temperature
        group = f"{target:g} K" if several else key.rpartition("/")[0]
        groups.setdefault(group, []).extend(f.info["temperature"] for f in frames)
    measured = {
        group: {"mean": round(float(np.mean(t)), 2), "std": round(float(np.std(t)), 2)}
        for group, t in groups.items()
    }
    return {
        "chunk": plan.chunk,
        "seeds": "plus 1000 for each further structure",
        "trajectories": settings,
        "measured_temperature": measured,
    }
