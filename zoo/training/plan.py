"""What fine-tuning decides before it starts: the frames, the elements, the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from ase.data import chemical_symbols

from zoo import datasets, hub
from zoo.datasets import AtomsDataset
from zoo.errors import ConfigError, DataError, UnsupportedElementError
from zoo.training import prepare
from zoo.training.heads import check_weights
from zoo.training.methods import parse
from zoo.training.recipe import Recipe, resolve
from zoo.training.report import dataset_name

DEFAULT_SPLITS = {
    "kind": "random",
    "fractions": {"train": 0.8, "val": 0.1, "test": 0.1},
    "seed": 0,
}


class Options(TypedDict, total=False):
    """Optional arguments of `finetune`.

    Attributes:
        keys: names of the labels in the file; see `zoo.datasets.open`.
        units: of a file that does not state them.
        splits: how to split; by default the set's own, else 80/10/10 % at random.
        epochs: passes over the training frames; by default about 2500 steps, at least 20 passes.
        max_time: `HH:MM:SS`; whichever of the two is reached first ends the run.
        lr: peak learning rate; by default 1e-3, for `head` 3e-3, for `adapter` 1.5e-2, LoRA 5e-3.
        batch_size: frames per step.
        seed: of the order of the frames.
        energy_weight: of the squared energy error per atom; forces have weight 1.
        forces_weight: of the squared force errors.
        stress_weight: of the squared stress errors.
        head_weights: of the losses of energy heads, by name; 1 where nothing is said.
        layer_decay: learning rate of each block relative to the next one towards the output.
        level_of_theory: of the new labels, where the data do not state it; "same" means that of
            the weights.
        freeze: patterns of names of parameters that stay as they are, whatever the method.
        new_pbc: accept structures of another periodicity than the weights saw.
        new_charges: accept charged structures although the weights saw neutral ones only.
        any_units: accept labels that look as if they were in other units than stated.
        new_name: of the new checkpoint; by default from the parent's name and the data's.
        merge: with method `adapter`: store the merged weights as well, in the folder `merged`.
        task: outside atoms: entries of a recipe's section `task` that differ from those of the
            weights, such as {"metrics": ["auroc"]}.
    """

    keys: Mapping[str, str | None] | None
    units: Mapping[str, str] | None
    splits: Mapping[str, Any] | None
    epochs: int | None
    max_time: str | None
    lr: float | None
    batch_size: int | None
    seed: int | None
    energy_weight: float | None
    forces_weight: float | None
    stress_weight: float | None
    head_weights: Mapping[str, float] | None
    layer_decay: float | None
    level_of_theory: str | None
    freeze: str | Sequence[str] | None
    new_pbc: bool
    new_charges: bool
    any_units: bool
    new_name: str | None
    merge: bool
    task: Mapping[str, Any] | None


@dataclass(frozen=True)
class NewTask:
    """The new data, split.

    Attributes:
        data: all frames.
        train: frames to train on.
        val: frames that choose the weights.
        test: frames that errors are reported on; those of `val` if there are no others.
        shown: "test" or "val", which of the two `test` is.
    """

    data: AtomsDataset
    train: AtomsDataset
    val: AtomsDataset
    test: AtomsDataset
    shown: str


def open_task(data: str | Path | AtomsDataset, options: Options) -> NewTask:
    """Opens, checks and splits the data.

    Raises:
        DataError: labels that are not finite, a missing split, or fewer than two training frames.
        ConfigError: options of a file for a data set that is open already.
    """
    dataset = data if isinstance(data, AtomsDataset) else _open_file(data, options)
    given = [key for key in ("keys", "units", "splits") if options.get(key) is not None]
    if dataset is data and given:
        raise ConfigError(
            f"{', '.join(given)}: the data set is open already; give them to zoo.datasets.open"
        )
    dataset.check()
    train = prepare.split(dataset, "train")
    if "val" in dataset.splits:
        val = dataset.split("val")
    elif len(train) > 1:
        # every tenth frame, so that a trajectory is covered
        held = np.arange(len(train)) % 10 == 9 if len(train) >= 10 else _last(len(train))
        train, val = train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
    else:
        raise DataError(f"{dataset.source}: one training frame; at least two are needed")
    shown = "test" if "test" in dataset.splits else "val"
    test = dataset.split("test") if shown == "test" else val
    return NewTask(data=dataset, train=train, val=val, test=test, shown=shown)


def _open_file(data: str | Path, options: Options) -> AtomsDataset:
    keys, units, splits = options.get("keys"), options.get("units"), options.get("splits")
    dataset = datasets.open(data, keys=keys, units=units, splits=splits, domain="atoms")
    if dataset.splits:
        return dataset
    return datasets.open(data, keys=keys, units=units, splits=DEFAULT_SPLITS, domain="atoms")


def _last(count: int) -> Any:
    return np.arange(count) == count - 1


def admit_elements(model: Any, data: AtomsDataset, new_elements: bool) -> None:
    """Compares elements; new ones are embedded like the mean of the old ones.

    Raises:
        UnsupportedElementError: there are new ones, and they are not admitted.
    """
    known = model.trained_elements
    if known is None:
        return
    new = sorted(z for z in data.elements if known.get(z, 0) == 0)
    if new and not new_elements:
        words = ", ".join(f"{chemical_symbols[z]} ({data.elements[z]} atoms)" for z in new)
        have = ", ".join(chemical_symbols[z] for z in sorted(known) if known[z] > 0)
        raise UnsupportedElementError(
            f"{data.source}: holds {words}, which the model was not trained on (it knows {have}); "
            "to train them now, say new_elements=True (--new-elements)"
        )
    if new:
        model.add_elements(new)


def make_recipe(model: Any, task: NewTask, method: str, options: Options) -> Recipe:
    """The settings as a recipe: defaults by the size of the data, then the user's options.

    Raises:
        RecipeError: an option with a value that it can't have.
        DataError: no label to train on, or a weight for one that is missing.
    """
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    batch = given.get("batch_size", min(4, len(task.train)))
    steps = -(-len(task.train) // max(batch, 1))
    epochs = given.get("epochs", max(-(-2500 // steps), 20))
    base = model.checkpoint_name or model.architecture
    name = given.get("new_name", hub.derive_name(base, dataset_name(task.data)))
    values = {
        "recipe": 1,
        "name": name,
        "model": {"name": model.architecture, "config": dict(model.hparams)},
        "data": {"source": str(task.data.source)},
        "loss": (
            _loss(task.data, options) | _head_weights(model, options)
            if model.energy_heads
            else _properties(model, task.data)
        ),
        "references": {"kind": "none"},
        "normalise": {"scale": "none"},
        "optimizer": {
            "lr": given.get("lr", parse(method).rate),
            "layer_decay": given.get("layer_decay"),
        },
        "schedule": {"kind": "cosine", "warmup_steps": 50, "final": 0.001},
        "ema": {"decay": 0.99},
        "trainer": {
            "max_epochs": epochs,
            "max_time": given.get("max_time"),
            "batch_size": batch,
            "val_every": max(1, -(-50 // steps)),
            "precision": "64-true" if str(model.dtype) == "torch.float64" else "32-true",
            "seed": given.get("seed", 0),
        },
    }
    return resolve(values, where="finetune")


def _properties(model: Any, data: AtomsDataset) -> dict[str, Any]:
    """Terms for the labels of a model without energies, each in its own unit."""
    names = [name for name in model.outputs if name in data.labels]
    if not names:
        raise DataError(
            f"{data.source}: none of {', '.join(model.outputs)} to train on (labels: "
            f"{', '.join(sorted(data.labels)) or 'none'}); give keys"
        )
    return {"properties": {name: {"kind": "mae", "weight": 1.0} for name in names}}


def _head_weights(model: Any, options: Options) -> dict[str, Any]:
    weights = options.get("head_weights") or {}
    return {"heads": {k: float(v) for k, v in check_weights(model, weights).items()}}


def _loss(data: AtomsDataset, options: Options) -> dict[str, Any]:
    """Terms for the labels that the data hold; an explicit weight demands its label."""
    defaults = {"energy": 10.0, "forces": 1.0, "stress": 100.0}
    periodic = "stress" in data.labels and all(data[i].pbc.all() for i in range(len(data)))
    terms: dict[str, Any] = {}
    for label, default in defaults.items():
        weight: Any = options.get(f"{label}_weight")
        if weight is not None and label not in data.labels:
            raise DataError(
                f"{data.source}: {label}_weight is given but the frames have no {label} "
                f"(they have {', '.join(sorted(data.labels)) or 'no labels'}); give keys"
            )
        if label in data.labels and weight != 0 and (label != "stress" or periodic):
            terms[label] = {"kind": "mse", "weight": float(default if weight is None else weight)}
    if not {"energy", "forces"} & set(terms):
        raise DataError(
            f"{data.source}: no energies or forces to train on (labels: "
            f"{', '.join(sorted(data.labels)) or 'none'}); give keys, such as "
            "{'energy': 'my_energy'}"
        )
    return terms
