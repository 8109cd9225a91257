"""Running a suite: which model, which reference, which systems, what is done already."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.data import atomic_numbers, chemical_symbols

from zoo import hub
from zoo._files import write_atomic
from zoo.apps.physics import _metals, _molecules, _organic
from zoo.apps.physics._metals import Metals, MetalSettings
from zoo.apps.physics._molecules import Molecules, MoleculeSettings
from zoo.apps.physics._organic import Organic, OrganicSettings
from zoo.apps.physics._result import Failure, Measured, MeasurementError, PhysicsReport, merged
from zoo.apps.physics._simulate import Progress
from zoo.apps.physics._store import Store
from zoo.apps.physics._suite import Pair, Reference, Suite, Unit, chosen
from zoo.apps.physics.plots import write_plots
from zoo.datasets import emt, gfn2
from zoo.datasets._molecules import MD17
from zoo.datasets._starts import starting_structures
from zoo.errors import (
    CapabilityError,
    ConfigError,
    UnsupportedElementError,
    UnsupportedInputError,
    nearest,
)
from zoo.models._atomistic import AtomisticModel

FILE = "physics.json"
GROUPS = {
    "molecules": _molecules.GROUPS,
    "organic": _organic.GROUPS,
    "metals": _metals.GROUPS,
}
#: what a potential can do wrong; anything else is no result
_FAILURES = (MeasurementError, UnsupportedInputError, CalculationFailed, np.linalg.LinAlgError)
#: of the starting geometries made from SMILES; that of the generated data sets
SEED = 1
#: of a quick run
FEW: dict[str, tuple[str, ...]] = {
    "molecules": ("ethanol", "malonaldehyde", "benzene"),
    "organic": ("g2/CH3OH", "s22/Water_dimer", "conformers/ethanolamine", "torsions/acrolein"),
    "metals": ("Cu", "Ni"),
}
_DEFAULTS: dict[str, tuple[Reference, str]] = {
    "molecules": (gfn2.calculator, gfn2.LEVEL_OF_THEORY),
    "organic": (gfn2.calculator, gfn2.LEVEL_OF_THEORY),
    "metals": (emt.calculator, emt.LEVEL_OF_THEORY),
}
_SETTINGS: Mapping[str, type[MoleculeSettings | OrganicSettings | MetalSettings]] = {
    "molecules": MoleculeSettings,
    "organic": OrganicSettings,
    "metals": MetalSettings,
}
Settings = MoleculeSettings | OrganicSettings | MetalSettings
Systems = Mapping[str, Atoms] | Sequence[str]


def measure(
    model: AtomisticModel | str | Path,
    suite: str,
    *,
    reference: Reference | None = None,
    systems: Systems | None = None,
    only: Sequence[str] | None = None,
    quick: bool = False,
    settings: Settings | None = None,
    folder: str | Path | None = None,
    progress: Progress | None = None,
) -> PhysicsReport:
    """Measures physical properties of a potential beside those of its reference.

    Args:
        model: a model, the name of a checkpoint, or the folder of saved weights.
        suite: "molecules" (frequencies, energy conservation, stability of dynamics), "organic" (G2
            and S22 geometries, conformers, torsions) or "metals" (fcc crystals, elastic constants,
            vacancies, surfaces, ordered alloys).
        reference: makes the ASE calculator of the reference for a structure; None takes GFN2-xTB
            for molecules (extra `datagen`) and ASE's EMT for metals.
        systems: molecules as structures by name, or names, SMILES and files; metals as symbols.
            None takes the ten molecules of MD17, or the fcc metals that the model knows. Of the
            suite `organic`, names such as "s22/Water_dimer"; None takes all whose elements the
            model knows.
        only: groups of properties (`GROUPS[suite]`); all if None.
        quick: a short version on few systems.
        settings: `MoleculeSettings`, `OrganicSettings` or `MetalSettings`; the suite's own if None.
        folder: keeps what is done, so that a run that was stopped goes on there.
        progress: called with (work done, work in all), in arbitrary units.

    Returns:
        The report. What can't be measured is listed in its `failures`, and is no error.

    Raises:
        ConfigError: for an unknown suite, group or system, settings of another suite, a folder
            with results of another run, or a model trained on another level of theory than the
            suite's own reference.
        CapabilityError: for a model without forces.
        UnsupportedElementError: for systems of elements that the model doesn't know.
        MissingExtraError: if the reference is not installed.
    """
    groups = chosen(only, groups_of(suite), "group of properties")
    network = model if isinstance(model, AtomisticModel) else hub.load(model, domain="atoms")
    pair = _pair(network, suite, reference)
    settings = _settings(suite, settings, quick)
    place = None if folder is None else Path(folder)
    key = {"weights": _fingerprint(network), "reference": pair.title, "suite": suite}
    store = Store(place, key | {"settings": asdict(settings)})
    work = _suite(pair, settings, _systems(network, suite, systems, quick), place, store.tag)
    parts, seconds = _measured(work.units(groups), store, progress)
    return PhysicsReport(
        name=network.checkpoint_name or type(network).__name__,
        suite=suite,
        reference=pair.title,
        quick=quick,
        rows=[row for part in parts.values() for row in part.rows],
        failures=[failure for part in parts.values() for failure in part.failures],
        conditions=work.conditions,
        curves={name: part.curves for name, part in parts.items() if part.curves},
        settings=asdict(settings),
        seconds=seconds,
    )


def write_report(report: PhysicsReport, folder: str | Path) -> list[Path]:
    """Writes `physics.json` (every number) and the plots.

    Args:
        report: from `measure`.
        folder: made if it is missing.

    Returns:
        The files.

    Raises:
        OutputError: if they can't be written.
    """
    path = Path(folder) / FILE
    write_atomic(path, json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n")
    return [path, *write_plots(report, folder)]


def write_metrics(ref: str | Path, report: PhysicsReport) -> Path:
    """Adds what was measured to the manifest of saved weights, and to its card.

    Older results of the same properties are replaced.

    Args:
        ref: the checkpoint's name or folder.
        report: of a full run.

    Returns:
        The manifest's path.

    Raises:
        ConfigError: for the report of a quick run, or of another model.
    """
    if report.quick:
        raise ConfigError("a quick run belongs on no card; measure again without quick (--quick)")
    path = hub.find(ref)
    manifest = hub.read_manifest(path)
    if manifest.name != report.name:
        raise ConfigError(f"this is the report of {report.name}, and {path} is {manifest.name}")
    existing = [metric.model_dump(exclude_none=True) for metric in manifest.metrics]
    return hub.annotate(ref, metrics=merged(existing, report))


def groups_of(suite: str) -> tuple[str, ...]:
    """The groups of properties of a suite.

    Raises:
        ConfigError: for an unknown suite.
    """
    if suite not in GROUPS:
        raise ConfigError(f"there is no suite {suite!r}: {nearest(suite, GROUPS)}")
    return GROUPS[suite]


def _pair(model: AtomisticModel, suite: str, reference: Reference | None) -> Pair:
    wanted = ("forces", "stress") if suite == "metals" else ("forces",)
    for output in wanted:
        if output not in model.outputs:
            raise CapabilityError(f"the suite {suite} needs {output}, which this model has not")
    if reference is not None:
        module, name = getattr(reference, "__module__", ""), getattr(reference, "__qualname__", "")
        return Pair(model, reference, f"{module}.{name}" if name else repr(reference))
    default, level = _DEFAULTS[suite]
    energy = model.manifest.outputs.get("energy") if model.manifest is not None else None
    trained = energy.level_of_theory if energy is not None else None
    if trained is not None and trained != level:
        raise ConfigError(
            f"{model.checkpoint_name} was trained on {trained}, the suite {suite} compares with "
            f"{level}; give the calculator of {trained} with reference= (--reference)"
        )
    return Pair(model, default, level)


def _settings(suite: str, settings: Settings | None, quick: bool) -> Settings:
    kind = _SETTINGS[suite]
    if settings is None:
        return kind.short() if quick else kind()
    if not isinstance(settings, kind):
        raise ConfigError(f"the suite {suite} takes {kind.__name__}, not {type(settings).__name__}")
    return settings


def _systems(
    model: AtomisticModel, suite: str, systems: Systems | None, quick: bool
) -> dict[str, Atoms]:
    """Structures by name; of metals only the symbols matter."""
    if isinstance(systems, str):
        raise ConfigError(f"systems is the text {systems!r}; give a list, [{systems!r}]")
    if suite == "metals":
        found = {m: Atoms(m) for m in _metal_names(model, systems, quick)}
    elif suite == "organic":
        found = _organic_systems(model, systems, quick)
    elif isinstance(systems, Mapping):
        found = dict(systems)
    else:
        names = systems if systems is not None else FEW[suite] if quick else list(MD17)
        found = starting_structures(list(names), seed=SEED)
    if not found:
        raise ConfigError("there are no systems to measure; name at least one")
    for name, atoms in found.items():
        _check(model, suite, name, atoms)
    return found


def _check(model: AtomisticModel, suite: str, name: str, atoms: Atoms) -> None:
    """Refuses what the model doesn't know before any work is done."""
    numbers = np.unique(atoms.numbers)
    unseen = [chemical_symbols[z] for z in numbers if not bool(model.allowed[int(z)])]
    if unseen:
        known = ", ".join(chemical_symbols[z] for z in sorted(model.trained_elements or {}))
        raise UnsupportedElementError(
            f"{name}: the model was not trained on {', '.join(unseen)}; it knows {known}. Leave "
            "the system out, or load with allow_untrained_elements=True"
        )
    if suite == "molecules" and atoms.pbc.any():
        raise UnsupportedInputError(f"{name} is periodic; the suite molecules takes pbc=False")


def _organic_systems(
    model: AtomisticModel, systems: Systems | None, quick: bool
) -> dict[str, Atoms]:
    if isinstance(systems, Mapping):
        raise ConfigError(
            "the suite organic has structures of its own; name some of them, such as "
            "s22/Water_dimer, or leave systems out"
        )
    every = _organic.structures()
    if systems is None and quick:
        systems = FEW["organic"]
    if systems is not None:
        return {name: every[name] for name in chosen(systems, list(every), "system")}
    return {
        name: atoms
        for name, atoms in every.items()
        if all(bool(model.allowed[int(z)]) for z in atoms.numbers)
    }


def _metal_names(model: AtomisticModel, systems: Systems | None, quick: bool) -> list[str]:
    if systems is None:
        usual = FEW["metals"] if quick else emt.METALS
        known = [m for m in usual if bool(model.allowed[atomic_numbers[m]])]
        if not known:
            raise UnsupportedElementError(
                f"the model knows none of {', '.join(usual)}; name its metals with systems="
            )
        return known
    names = list(systems)
    for name in names:
        if name not in atomic_numbers or not atomic_numbers[name]:
            raise ConfigError(f"{name!r} is no chemical symbol; metals are named Cu, Ni, ...")
    if len(set(names)) != len(names):
        raise ConfigError(f"a metal comes up twice in {names}; name each once")
    return names


def _suite(
    pair: Pair, settings: Settings, systems: Mapping[str, Atoms], folder: Path | None, tag: str
) -> Suite:
    if isinstance(settings, OrganicSettings):
        return Organic(pair, systems, settings)
    if isinstance(settings, MetalSettings):
        return Metals(pair, list(systems), settings)
    return Molecules(pair, systems, settings, folder, tag)


def _measured(
    units: Sequence[Unit], store: Store, progress: Progress | None
) -> tuple[dict[str, Measured], float]:
    """The results of all pieces of work, measured now or before."""
    total, done, spent = sum(unit.weight for unit in units), 0, 0.0
    found: dict[str, Measured] = {}
    for unit in units:
        name = f"{unit.group}/{unit.system}/{unit.key}"
        before = store.get(name)
        if before is None:
            began = time.perf_counter()
            before = _one(unit, _share(progress, done, unit.weight, total)), 0.0
            before = before[0], time.perf_counter() - began
            store.put(name, *before)
            if unit.scratch is not None:
                unit.scratch.unlink(missing_ok=True)
        found[f"{unit.group}/{unit.system}"] = before[0]
        spent += before[1]
        done += unit.weight
        if progress is not None:
            progress(done, total)
    return found, spent


def _one(unit: Unit, progress: Progress) -> Measured:
    """One piece of work; what can't be measured becomes a failure."""
    try:
        return unit.measure(progress)
    except _FAILURES as problem:
        return Measured(
            failures=[Failure(group=unit.group, system=unit.system, reason=str(problem))]
        )


def _share(progress: Progress | None, start: int, weight: int, total: int) -> Progress:
    """The progress of one piece of work within the whole."""

    def report(done: int, of: int) -> None:
        if progress is not None:
            progress(start + weight * done // max(of, 1), total)

    return report


def _fingerprint(model: AtomisticModel) -> str:
    """Tells weights and precision apart."""
    state = hashlib.sha256()
    values: dict[str, Any] = model.state_dict()
    for name, tensor in sorted(values.items()):
        state.update(f"{name} {tensor.dtype}".encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()
