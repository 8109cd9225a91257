"""What training and fine-tuning do before the first step and after the last."""

import copy
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from ase.data import atomic_numbers, chemical_symbols
from lightning.fabric.utilities.rank_zero import rank_zero_only

from zoo import datasets, hub, registry
from zoo._files import write_atomic
from zoo.datasets import AtomsDataset
from zoo.errors import (
    ConfigError,
    DataError,
    IntegrityError,
    OutputError,
    RecipeError,
    ZooError,
    nearest,
)
from zoo.hub.manifest import NAME
from zoo.models import _trust_fit as trust
from zoo.training import adapters
from zoo.training.losses import targets
from zoo.training.metrics import Evaluation
from zoo.training.page import machine, write_page
from zoo.training.plots import learning_curve, parity_plot
from zoo.training.recipe import Recipe
from zoo.training.references import References, fit_references
from zoo.training.report import Report, dataset_name, golden_structures, inputs_entry
from zoo.training.saving import BEST, LAST

#: frames that the training domain is fitted to after a run, a few seconds' work
TRUST_FRAMES = 5000
STATE, LOGS, RECIPE, FINETUNE = "state", "logs", "recipe.yaml", "finetune.yaml"
# a resumed run may be longer, and on other hardware, but not another experiment
_FREE = {"max_epochs", "max_steps", "max_time", "devices", "num_nodes", "strategy", "accelerator"}
_FREE |= {"num_workers", "cache_mb"}  # nor do these change a result


def open_run(
    folder: Path, name: str, settings: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> None:
    """Makes the output folder ready and stores all settings there.

    Args:
        folder: the output folder.
        name: of the file with the settings.
        settings: everything that decides the result.
        resume: go on with what the folder holds.
        overwrite: forget what the folder holds.

    Raises:
        OutputError: the folder holds a run already, and neither is asked for.
        RecipeError: resuming with other settings.
        IntegrityError: resuming from a state that was cut short.
    """
    state = folder / STATE / LAST
    goes_on = resume and state.is_file()
    # every process checks, so that all of them end where one would; the first one writes
    if goes_on:
        _check_whole(state)
        _same_settings(folder / name, settings)
    elif not overwrite and ((folder / "manifest.yaml").exists() or state.exists()):
        raise OutputError(
            f"output folder {folder}: holds a run already; choose another folder, or say "
            "resume (go on) or overwrite (start again)"
        )
    if not is_first_process():
        return
    if not goes_on:
        state.unlink(missing_ok=True)
        (folder / STATE / BEST).unlink(missing_ok=True)
    write_atomic(folder / name, yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))


def is_first_process() -> bool:
    """Whether this process writes files; the trainer starts the others as copies of this one."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0


def _check_whole(state: Path) -> None:
    """Refuses a state that was cut short; the directory of such an archive stands at its end."""
    if not zipfile.is_zipfile(state):
        raise IntegrityError(
            f"{state}: the state of the run is damaged or was cut short, so it can't go on; put "
            "back a copy, or start again (overwrite)"
        )


def _same_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Refuses to go on with another experiment."""
    if not path.is_file():
        return
    before, now = yaml.safe_load(path.read_text()), copy.deepcopy(dict(settings))
    for key in _FREE:
        before.get("trainer", {}).pop(key, None)
        now.get("trainer", {}).pop(key, None)
    changed = sorted(key for key in now if now[key] != before.get(key))
    if changed:
        raise RecipeError(
            f"{path}: can't resume, the settings have changed in {', '.join(changed)}; "
            "resume with the same ones, or start again in another folder"
        )


def data_source(recipe: Recipe, beside: Path) -> str | Path:
    """What `zoo.datasets.open` is given: a path, also one that is relative to the recipe, or the
    name of a set with its settings.

    Raises:
        RecipeError: settings of a file.
    """
    options = recipe.data
    own, near = Path(options.source), beside / options.source
    if not options.settings:
        return near if not own.exists() and near.exists() else options.source
    if options.source not in datasets.shipped() and (own.exists() or near.exists()):
        raise RecipeError(
            f"data.settings are for sets that are computed when they are opened, and "
            f"{options.source} is a file; leave settings out"
        )
    return options.name


def sha256(path: Path) -> str:
    """Digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def split(dataset: AtomsDataset, name: str) -> AtomsDataset:
    """One split of a data set.

    Raises:
        DataError: it has none of that name.
    """
    if name not in dataset.splits:
        raise DataError(
            f"{dataset.source}: no split {name!r} ({nearest(name, dataset.splits)}); give splits, "
            "such as {kind: random, fractions: {train: 0.8, val: 0.1, test: 0.1}, seed: 0}"
        )
    return dataset.split(name)


def check_elements(train: AtomsDataset, dataset: AtomsDataset) -> None:
    """Refuses validation and test frames that the trained model would refuse hours later.

    Raises:
        DataError: they hold elements that no training frame has.
    """
    held_out = [name for name in ("val", "test") if name in dataset.splits]
    for name in held_out:
        unseen = sorted(set(dataset.split(name).elements) - set(train.elements))
        if unseen:
            words = ", ".join(chemical_symbols[z] for z in unseen)
            raise DataError(
                f"{dataset.source}: the {name} split holds {words}, which no training frame has; "
                "change data.splits so that every element is trained on"
            )


def energies(dataset: AtomsDataset) -> tuple[list[Any], np.ndarray]:
    """Atomic numbers of each structure, and the labelled energies (structures,), eV."""
    ends = np.cumsum(dataset.counts)[:-1]
    return np.split(dataset.numbers, ends), dataset.label("energy")


def forces_rms(dataset: AtomsDataset) -> float:
    """Root mean square of all force components, eV/Å; 1 where they vanish."""
    return label_rms(dataset, "forces")


def label_rms(dataset: AtomsDataset, label: str) -> float:
    """Root mean square of all components of a label; 1 where they vanish."""
    return float(np.sqrt(np.mean(dataset.label(label) ** 2))) or 1.0


def set_scales(model: Any, recipe: Recipe, train: AtomsDataset) -> References | None:
    """Sets reference energies and the scale of the output from the training frames.

    Returns:
        The fit, where one was made.

    Raises:
        RecipeError: references are given without values, or for an unknown element.
        DataError: the scale needs forces that the frames lack.
    """
    fitted = None
    options = recipe.references
    if not {"energy", "forces", "stress"} & set(targets(recipe.loss)):
        return None  # properties alone, which have scales of their own
    if options.kind == "given":
        model.set_references(_given(options.values))
    elif options.kind == "ridge" and "energy" in train.labels:
        fitted = fit_references(*energies(train), l2=options.l2)
        model.set_references(fitted.values)
    if recipe.normalise.scale == "forces_rms":
        if "forces" not in train.labels:
            raise DataError(
                f"{train.source}: normalise.scale is forces_rms but the frames have no forces; "
                "set it to none"
            )
        model.energy_scale.scale.fill_(forces_rms(train))
        for kind, scale in model.direct_scales.items():
            if kind in train.labels:
                scale.scale.fill_(label_rms(train, kind))
    return fitted


def _given(values: Mapping[str, float] | None) -> dict[int, float]:
    if not values:
        raise RecipeError("references: kind is given, so values must map elements to energies (eV)")
    unknown = [symbol for symbol in values if symbol not in atomic_numbers or symbol == "X"]
    if unknown:
        raise RecipeError(f"references.values: no element {unknown[0]!r}")
    return {atomic_numbers[symbol]: energy for symbol, energy in values.items()}


def check_name(name: str, architecture: str) -> None:
    """Refuses a checkpoint name that could not be saved, before training.

    Raises:
        ConfigError: it does not read `<architecture>-<size>.<dataset>.r<k>`.
    """
    if not NAME.fullmatch(name) or not name.startswith(f"{architecture}-"):
        raise ConfigError(
            f"the name {name!r} must read {architecture}-<size>.<dataset>.r<k>, such as "
            f"{architecture}-s.mydata.r1"
        )


def build(recipe: Recipe) -> Any:
    """Makes the model with fresh weights that depend on the seed alone.

    Raises:
        RecipeError: the architecture or an argument is unknown or ill-typed.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.trainer.seed)
        try:
            return registry.create(recipe.model.name, **recipe.model.config)
        except ZooError as error:
            raise RecipeError(f"model: {error}") from error


def publish(
    report: Report,
    *,
    name: str,
    train: AtomsDataset,
    after: Evaluation,
    before: Evaluation | None = None,
    title: str,
    domain: tuple[Any, Any] | None = None,
    settings: str = RECIPE,
    adapted: hub.Adapted | None = None,
    merge: bool = False,
    **manifest: Any,
) -> None:
    """Writes weights, manifest, card, plots, `report.md` and, last, `report.json`.

    Args:
        report: of the run; its path is the folder.
        name: of the checkpoint.
        train: training frames, for the manifest's inputs and the golden structures.
        after: evaluation for the parity plot.
        before: evaluation before training, if it means anything.
        title: of the parity plot.
        domain: training and validation samples that the training domain is fitted to.
        settings: name of the file with the run's settings, for the page.
        adapted: adapters that are stored instead of the weights.
        merge: store the merged weights as well.
        **manifest: further fields of the manifest.
    """
    folder, model = report.path, report.model
    if not is_first_process():
        return
    seen = inputs_entry(train, model.trained_elements or {})
    folders = adapters.save(
        model,
        folder,
        adapted=adapted,
        merge=merge,
        name=name,
        golden_inputs=golden_structures(train),
        **{"inputs": seen, **manifest},
    )
    model.trust = None  # that of the weights it started from
    if domain is not None and len(domain[1]):
        model.trust = trust.fit(model, *domain, max_frames=TRUST_FRAMES)
        for place in folders:
            hub.attach_trust(place, model.trust, data=dataset_name(train))
    parity_plot(folder / "parity.png", after, before, title=title)
    learning_curve(folder / "learning_curve.png", report.history, title=name)
    report.details["machine"] = machine()
    write_page(report, folder / settings, ("parity.png", "learning_curve.png"))
    report.save()
