"""The head of a model and the labels of a foreign file: kept where they fit, else made anew."""

from typing import Any

import numpy as np
import torch

from zoo.datasets.domains import DomainDataset
from zoo.errors import DataError
from zoo.models._inputs import graph_like
from zoo.training._task_section import TaskSection
from zoo.training.tasks.kinds import DOMAINS
from zoo.training.tasks.parts import out_channels


def fit_head(
    model: Any, dataset: DomainDataset, section: TaskSection, *, heads: str | None, replays: bool
) -> str:
    """Makes the head anew where it does not fit the labels; says what was done.

    Args:
        model: whose head may be replaced.
        dataset: with labels.
        section: the task.
        heads: "new" for a fresh head in any case.
        replays: whether the old task is to be kept by replay.

    Raises:
        DataError: labels that no head could fit, or that there would be nothing to replay for.
        CapabilityError: a fresh head for a model that has none.
    """
    if section.kind not in ("classification", "regression"):
        return "kept"
    label = section.target or "y"
    dataset.require(label)
    if section.kind == "regression" and not hasattr(model, "head"):
        return _no_head(model, dataset, label, heads)
    width = out_channels(model)
    if section.kind == "regression":
        values = dataset.label(label)
        size = _width(model.domain, values.shape)
        same = heads is None and size == width
        wanted: int | tuple[str, ...] = size
    else:
        names = dataset.classes
        values = dataset.label(label)
        highest = int(values.max()) + 1 if values.dtype.kind in "iub" else 0
        wanted = names or highest
        same = heads is None and _same_classes(model, dataset, highest)
    if same:
        return "kept"
    if replays:
        raise DataError(
            f"{dataset.source} has other classes than {model.checkpoint_name} was trained on, so "
            "there is nothing to replay; leave method='replay' out, and the head is made anew"
        )
    model.replace_head(wanted)
    return f"new, {wanted if isinstance(wanted, int) else len(wanted)} outputs"


def _width(domain: str, shape: tuple[int, ...]) -> int:
    """Outputs for labels of a shape, samples first: channels, where labels are fields too."""
    fields = DOMAINS[domain].channels == 1 and len(shape) > 2
    return shape[1] if fields else int(np.prod(shape[1:]))


def _no_head(model: Any, dataset: DomainDataset, label: str, heads: str | None) -> str:
    """Models of geometric answers have no head to replace: labels must be of their shape."""
    if heads == "new":
        model.replace_head(1)  # says why not
    sample: Any = dataset[0]
    found = tuple(sample[label].shape)
    if model.domain == "particles":
        wanted = tuple(sample.pos.shape)
        fits = found == wanted
        what = "one vector for each particle, such as a later position"
        place = f"pos has {wanted}"
    else:
        wanted = _answer_shape(model, sample)
        fits = np.prod(found) == np.prod(wanted)  # a label may lack an axis of one
        what = "what its geometry says, and has no head for anything else"
        place = f"prediction has {wanted}"
    if not fits:
        raise DataError(
            f"{dataset.source}: {label} has the shape {found} in a sample whose {place}; "
            f"{model.checkpoint_name} predicts {what}: name an array of that shape with "
            f"keys={{{label!r}: ...}}"
        )
    return "kept"


def _answer_shape(model: Any, sample: Any) -> tuple[int, ...]:
    """The shape of the prediction of one sample."""
    with torch.no_grad():
        out = model([sample])["prediction"]
    return tuple(out.shape if graph_like(model.domain) else out.shape[1:])


def _same_classes(model: Any, dataset: DomainDataset, highest: int) -> bool:
    """Whether the data's classes are the model's: by name, or by number where none have names."""
    ours, theirs = dataset.classes, model.classes
    if _numbers(ours) and _numbers(theirs):
        return highest == out_channels(model)
    return not _numbers(ours) and not _numbers(theirs) and set(ours or ()) <= set(theirs or ())


def _numbers(names: tuple[str, ...] | None) -> bool:
    """Whether classes are called by their numbers."""
    return names is None or tuple(names) == tuple(str(k) for k in range(len(names)))
