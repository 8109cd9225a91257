"""The splits of a data set as training sees them: samples, or rows of the only sample."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from zoo.datasets.domains import DomainDataset
from zoo.errors import DataError, RecipeError, nearest
from zoo.training.tasks.kinds import Task, Where

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """One split.

    Attributes:
        data: its samples; of a single sample whose rows are divided, that sample.
        name: of the split.
        mask: name of the field that marks the rows of the split; None where all rows count.
        domains: number of the domain of each sample (samples,), where there are several.
        renumbered: the model's number of each class of the data (classes,), where they differ.
    """

    data: DomainDataset
    name: str
    mask: str | None = None
    domains: np.ndarray | None = None
    renumbered: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def source(self) -> str:
        """The file, for messages."""
        return self.data.source

    @property
    def labelled(self) -> int:
        """Number of labelled rows, where splits divide rows; else of samples."""
        if self.mask is None:
            return len(self.data)
        return int(self.data[0][self.mask].sum())

    def labels(self, name: str) -> np.ndarray:
        """The labels of the split, joined over its samples.

        Raises:
            DataError: it has none of that name.
        """
        if self.mask is not None:
            sample = self.data[0]
            if name not in sample:
                self.data.require(name)
            found: np.ndarray = sample[name][sample[self.mask]].numpy()
        elif name == "edge_label":
            found = np.concatenate([self.data[i][name].numpy() for i in range(len(self.data))])
        else:
            found = self.data.label(name)
        return found if self.renumbered is None else self.renumbered[found]

    def take(self, indices: np.ndarray) -> "Part":
        """Some of the samples."""
        domains = None if self.domains is None else self.domains[indices]
        data = self.data.take(indices)
        return Part(data, self.name, self.mask, domains, self.renumbered)


def make_parts(
    dataset: DomainDataset, task: Task, where: Where, *, hold_out: bool = False
) -> dict[str, Part]:
    """The splits train, val, and where there are such, test and adapt.

    Args:
        dataset: with splits.
        task: what is learnt.
        where: see `Where`.
        hold_out: where there is no split to validate on, take every tenth training sample.

    Raises:
        DataError: there is no split to train on or to validate on.
        RecipeError: the column of the domains is not there.
    """
    numbers, _ = domain_numbers(dataset, task.section.domain, where)
    if dataset.edge_splits:
        found = {name: Part(dataset.split(name), name) for name in dataset.edge_splits}
    elif dataset.row_splits:
        found = {n: Part(dataset, n, f"{n}_mask", numbers) for n in dataset.row_splits}
    elif dataset.splits:
        found = {
            name: Part(
                dataset.split(name), name, None, None if numbers is None else numbers[indices]
            )
            for name, indices in dataset.splits.items()
        }
    elif task.name == "own":  # such as the embedding of one graph: there is nothing to hold out
        return {name: Part(dataset, name, None, numbers) for name in ("train", "val")}
    else:
        found = {}
    if hold_out and "val" not in found and "train" in found and found["train"].mask is None:
        found |= _hold_out(found["train"])
    for name in ("train", "val"):
        if name not in found:
            raise DataError(
                f"{where('data.splits')}: {dataset.source} has no split {name!r} "
                f"({nearest(name, found)}); give splits, such as {{kind: random, fractions: "
                "{train: 0.8, val: 0.1, test: 0.1}, seed: 0}; those of kind leave_out take "
                "val_fraction: 0.1"
            )
    return found


def _hold_out(train: Part) -> dict[str, Part]:
    """Every tenth sample to validate on; the last one of fewer."""
    places = np.arange(len(train))
    held = places % 10 == 9 if len(train) >= 10 else places == len(train) - 1
    rest, val = train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
    return {"train": rest, "val": replace(val, name="val")} if len(rest) else {}


def domain_numbers(
    dataset: DomainDataset, column: str | None, where: Where
) -> tuple[np.ndarray | None, list[str]]:
    """Numbers the domains of the samples: sessions, subjects.

    Args:
        dataset: all samples.
        column: whose sorted values are numbered from 0; None leaves it to the data.
        where: see `Where`.

    Returns:
        The number of each sample, and the names; None and no names without a column.

    Raises:
        RecipeError: there is no such column.
    """
    if column is None:
        return None, []
    columns = dataset.columns
    if column not in columns:
        raise RecipeError(
            f"{where('task.domain')}: {dataset.source} has no column {column!r}; "
            f"{nearest(column, columns)}"
        )
    names, numbers = np.unique(columns[column].astype(str), return_inverse=True)
    return numbers.astype(np.int64), [str(name) for name in names]


def renumbering(model: Any, dataset: DomainDataset) -> np.ndarray | None:
    """The model's number of each class of a data set (classes,); None where they are the same.

    Raises:
        DataError: a class that the model does not know.
    """
    ours, theirs = dataset.classes, model.classes
    if ours is None or theirs is None or tuple(ours) == tuple(theirs):
        return None
    unknown = [name for name in ours if name not in theirs]
    if unknown:
        raise DataError(
            f"{dataset.source} has the class {unknown[0]!r}, which the model was not trained on; "
            f"{nearest(unknown[0], theirs)}"
        )
    return np.array([theirs.index(name) for name in ours])


def check_labels(parts: Mapping[str, Part], task: Task, model: Any, where: Where) -> None:
    """Refuses labels that the task or the model can't have, before anything is trained.

    Raises:
        DataError: a split is empty or has no such label.
        RecipeError: as many classes as the model has no outputs for.
    """
    for part in parts.values():
        if part.name in SPLITS and part.labelled == 0:
            raise DataError(f"{part.source}: the {part.name} split is empty; change data.splits")
    if not task.label:
        return
    highest = -1
    for part in parts.values():
        if part.name not in SPLITS:
            continue
        if not _has_label(part, task.label):
            raise DataError(
                f"{where('task')}: {part.source} has no label {task.label!r} in the {part.name} "
                f"split (labels: {', '.join(sorted(part.data.labels)) or 'none'}); give data.keys, "
                "or task.target"
            )
        if task.classifies:
            highest = max(highest, _highest_class(part, task, where))
    width = out_channels(model)
    if task.classifies and width is not None:
        _check_classes(parts["train"], highest, width, where)


def _has_label(part: Part, name: str) -> bool:
    return name in part.data.labels or (len(part) > 0 and name in part.data[0])


def _highest_class(part: Part, task: Task, where: Where) -> int:
    values = part.labels(task.label)
    if values.dtype.kind not in "iub":
        raise DataError(
            f"{where('task.kind')}: {part.source} has the label {task.label!r} in {values.dtype}; "
            "classes are whole numbers from 0, or words: for numbers to predict say "
            "kind: regression"
        )
    if int(values.min()) < 0:
        raise DataError(
            f"{part.source}: the label {task.label!r} is {int(values.min())} somewhere in the "
            f"{part.name} split; classes are counted from 0"
        )
    return int(values.max())


def _check_classes(train: Part, highest: int, width: int, where: Where) -> None:
    names = train.data.classes
    classes = max(highest + 1, len(names or ()))
    if train.renumbered is None and classes != width:
        words = f" ({', '.join(names[:10])})" if names else ""
        raise RecipeError(
            f"{where('model.config.out_channels')}: the model has {width} outputs, but "
            f"{train.source} has {classes} classes{words}; set out_channels to {classes}"
        )


def out_channels(model: Any) -> int | None:
    """Number of outputs of a model, where it says so."""
    width = getattr(model, "hparams", {}).get("out_channels")
    return width if isinstance(width, int) else None


def balanced_weights(train: Part, task: Task, classes: int) -> torch.Tensor:
    """Weight of each class: samples / (classes * samples of the class).

    Raises:
        DataError: a class without training samples.
    """
    counts = np.bincount(train.labels(task.label).reshape(-1), minlength=classes)
    if (counts == 0).any():
        raise DataError(
            f"{train.source}: class {int((counts == 0).argmax())} has no training sample, so "
            "class_weights can't be balanced; give a list"
        )
    return torch.from_numpy(counts.sum() / (classes * counts))
