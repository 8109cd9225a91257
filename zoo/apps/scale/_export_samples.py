"""Models on anything but atoms as functions of tensors, one for each field of a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from zoo.apps.scale._export_trace import trace
from zoo.datasets.domains import DOMAINS
from zoo.errors import UnsupportedInputError
from zoo.models import _inputs
from zoo.models._inputs import SampleBatch, graph_like
from zoo.models._sample import SampleModel
from zoo.testing import samples

#: what is no input: answers, and where each graph begins, which follows from `COUNTS`
_LEFT_OUT = ("y", "target", "ptr")
#: of graphs and clouds: the nodes of each
COUNTS = "counts"


class TracedSamples(nn.Module):
    """A model as a function of tensors alone.

    Args:
        model: on samples of any domain but atoms.
        names: of the fields, in the order of the arguments.
    """

    def __init__(self, model: SampleModel, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, tuple(names)

    def forward(self, *fields: Tensor) -> dict[str, Tensor]:
        """Outputs by name, scaled back."""
        given = dict(zip(self.names, fields, strict=True))
        batch = _joined(given, self.model.domain)
        found = self.model.forward(self.model._standardised(batch))
        return {name: self.model._scaled_back(name, value) for name, value in found.items()}


def _joined(fields: Mapping[str, Tensor], domain: str) -> SampleBatch:
    container = DOMAINS[domain].container
    if container is None:
        return dict(fields)
    counts = fields[COUNTS]
    own = {name: value for name, value in fields.items() if name != COUNTS}
    own["ptr"] = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return Batch(_base_cls=container, **own)


def examples(model: SampleModel, count: int) -> list[Any]:
    """Small random samples."""
    rng = np.random.default_rng(count)
    own = getattr(model, "examples", None)
    if own is not None:
        return list(own(rng, count))
    shape = (model.domain, model.sample_shape, model.tokens, model.bases)
    found = samples.make(samples.Wanted(*shape), rng, count)
    relations = int(model.hparams.get("num_relations", 0))
    for sample in found if relations else ():  # what is left out of a trace can't be asked for
        pairs = sample.edge_label_index.shape[1]
        sample["edge_label_type"] = torch.as_tensor(rng.integers(relations, size=pairs))
    return found


def groups(model: SampleModel, given: Sequence[Any]) -> list[list[Any]]:
    """Batches of other sizes than the one that is traced, if the model takes them."""
    if model.transductive:
        return [examples(model, 1)[:1], *([sample] for sample in given)]
    found = [examples(model, 1)[:1], examples(model, 9)]
    return [*found, *([list(given)] if given else [])]


def program(model: SampleModel) -> tuple[Any, dict[str, Any]]:
    """The exported program, and what it takes: kind and shape of each input, None where free.

    Raises:
        CapabilityError: if torch can't trace it.
    """
    counts = (1, 1) if model.transductive else (5, 7)
    first, second = (model.prepare(examples(model, count)[:count]) for count in counts)
    if model.transductive:  # what is asked for, of a graph that stays what it is
        asked = {n: _inputs.get(first, n) for n in ("edge_label_index", "edge_label_type")}
        twice = {n: torch.cat([v, v], dim=-1) for n, v in asked.items() if v is not None}
        second = _inputs.replaced(second, twice)
    model(first)  # tables that are made on first use are made of numbers
    names = _names(model, first)
    fields, free = [], []
    for name in names:
        value, other = _field(first, name), _field(second, name)
        assert value is not None and other is not None  # both have what the first has
        fields.append(value)
        free.append([k for k, s in enumerate(value.shape) if s != other.shape[k]])
    sizes = tuple(dict.fromkeys(axes, torch.export.Dim.DYNAMIC) for axes in free)
    title = type(model).__name__
    found = trace(TracedSamples(model, names), tuple(fields), (sizes,), title, derives=False)
    kinds = {
        name: {
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": [None if k in axes else s for k, s in enumerate(value.shape)],
        }
        for name, value, axes in zip(names, fields, free, strict=True)
    }
    return found, kinds


def _names(model: SampleModel, batch: SampleBatch) -> list[str]:
    names = sorted(name for name, _ in _inputs.items(batch) if name not in _LEFT_OUT)
    if graph_like(model.domain):
        names.append(COUNTS)
    if not getattr(model, "pairwise", True):
        names = [name for name in names if name != "edge_label_index"]
    return names


def _field(batch: SampleBatch, name: str) -> Tensor | None:
    if name != COUNTS:
        return _inputs.get(batch, name)
    ptr = _inputs.get(batch, "ptr")
    return None if ptr is None else ptr.diff()


def inputs(batch: SampleBatch, kinds: Mapping[str, Any], title: str) -> tuple[Tensor, ...]:
    """What an artefact takes.

    Raises:
        UnsupportedInputError: for a field that is missing or has another shape.
    """
    found = []
    for name, kind in kinds.items():
        value = _field(batch, name)
        if value is None:
            have = ", ".join(key for key, _ in _inputs.items(batch))
            raise UnsupportedInputError(f"{title} needs the field {name}; the samples have {have}")
        shape = kind["shape"]
        same = value.ndim == len(shape)
        if not same or any(w not in (None, s) for w, s in zip(shape, value.shape, strict=True)):
            spelled = ", ".join("any" if axis is None else str(axis) for axis in shape)
            raise UnsupportedInputError(
                f"{title} takes batches whose {name} has the shape ({spelled}), not "
                f"{tuple(value.shape)}"
            )
        found.append(value.to(getattr(torch, kind["dtype"])))
    return tuple(found)


def describe(model: SampleModel, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the file about a model on samples."""
    return {
        "inputs": dict(kinds),
        "outputs": list(model.outputs),
        "rank": model._rank(),
        "tokens": model.tokens,
        "classes": model.classes,
    }


def check(batch: SampleBatch, info: Mapping[str, Any], title: str) -> None:
    """Refuses numbers that an artefact can't look at: nodes and tokens that don't exist.

    Raises:
        UnsupportedInputError: names the worst values.
    """
    if info["domain"] == "graph" and not isinstance(batch, dict):
        _inputs.check_indices(batch, title)
    tokens, x = info["tokens"], _inputs.get(batch, "x")
    if tokens is not None and x is not None and x.numel():
        low, high = int(x.min()), int(x.max())
        if low < 0 or high >= tokens:
            raise UnsupportedInputError(
                f"the tokens lie in {low}..{high}; {title} knows 0..{tokens - 1}"
            )
