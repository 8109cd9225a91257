"""Outputs beside labels, row by row: what losses and metrics of every kind of task are taken over.

A row is a sample, a node, a pair of nodes or a step of a sequence; rows outside the split's mask,
and steps after the end of a padded sequence, are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo.errors import DataError
from zoo.models._inputs import SampleBatch, get
from zoo.training.tasks.kinds import Task


@dataclass(frozen=True)
class Rows:
    """Rows of one batch.

    Attributes:
        output: (rows, ...).
        target: (rows, ...).
        weight: of each row (rows,), or None for 1 each.
    """

    output: Tensor
    target: Tensor
    weight: Tensor | None = None

    def counted(self) -> "Rows":
        """The rows whose weight is not zero, each once."""
        if self.weight is None:
            return self
        keep = self.weight > 0
        return Rows(self.output[keep], self.target[keep])


def rows_of(out: Mapping[str, Tensor], batch: SampleBatch, task: Task) -> Rows:
    """Takes the rows of a batch.

    Args:
        out: of the model.
        batch: with the label, and perhaps `weight` (samples,), `rows` (nodes,) and `lengths`.
        task: what is learnt.

    Raises:
        DataError: the model lacks the output, the batch the label, or their shapes do not fit.
    """
    if task.kind.output not in out:
        raise DataError(
            f"a task of the kind {task.name!r} needs the output {task.kind.output!r}; the model "
            f"returns {', '.join(out)}"
        )
    output, weight = out[task.kind.output], get(batch, "weight")
    if task.name == "language_model":
        return _next_tokens(output, batch, weight)
    target = get(batch, task.label)
    if target is None:
        raise DataError(f"the batch has no label {task.label!r}")
    if task.name == "link_prediction":
        return Rows(_shaped(output, target, 0), target, _spread(weight, batch, target, task))
    if task.name == "regression":
        target = target.to(output.dtype)
    output = _shaped(output, target, int(task.classifies))
    per_row = _spread(weight, batch, target, task)
    keep = get(batch, "rows")
    if keep is not None and len(keep) == len(target):
        kept = None if per_row is None else per_row[keep]
        return Rows(output[keep], target[keep], kept)
    lengths = get(batch, "lengths")
    steps = lengths is not None and lengths.ndim == 1 and target.ndim > 1
    if task.classifies and target.ndim > 1:
        return _steps(output, target, lengths if steps else None, per_row)
    return Rows(output, target, per_row)


def _next_tokens(logits: Tensor, batch: SampleBatch, weight: Tensor | None) -> Rows:
    tokens = get(batch, "x")
    if tokens is None or logits.shape[:-1] != tokens.shape:
        found = None if tokens is None else tuple(tokens.shape)
        raise DataError(
            f"a language model must return logits (samples, steps, tokens) for x (samples, steps); "
            f"they are {tuple(logits.shape)} and {found}"
        )
    lengths = get(batch, "lengths")
    return _steps(logits[:, :-1], tokens[:, 1:], None if lengths is None else lengths - 1, weight)


def _steps(output: Tensor, target: Tensor, lengths: Tensor | None, weight: Tensor | None) -> Rows:
    """Steps of sequences one after another, without those after the end."""
    keep = torch.ones_like(target, dtype=torch.bool)
    if lengths is not None:
        steps = torch.arange(target.shape[1], device=target.device)
        keep = keep & (steps < lengths[:, None])
    per_step = None if weight is None else weight[:, None].expand(target.shape)[keep]
    return Rows(output[keep], target[keep], per_step)


def _shaped(output: Tensor, target: Tensor, classes: int) -> Tensor:
    """The output in the target's shape, but for the axis of the classes."""
    if output.shape[: output.ndim - classes] == target.shape:
        return output
    same_size = not classes and output.numel() == target.numel()
    if same_size and output.shape[:1] == target.shape[:1]:
        return output.reshape(target.shape)
    raise DataError(
        f"the model's output has the shape {tuple(output.shape)}, the labels {tuple(target.shape)}"
        + (" and should have one axis less" if classes else "; they must agree")
    )


def _spread(weight: Tensor | None, batch: SampleBatch, target: Tensor, task: Task) -> Tensor | None:
    """The weight of each row from that of its sample."""
    if weight is None or len(weight) == len(target) and task.name != "link_prediction":
        return weight
    if task.name == "link_prediction" or task.label == "edge_label":
        name = "edge_label_index" if get(batch, "edge_label_index") is not None else "edge_index"
        pairs = get(batch, name)
        assert pairs is not None and isinstance(batch, Data)
        return weight[_owner(batch)[pairs[0]]]
    assert isinstance(batch, Data)
    return weight[_owner(batch)]


def _owner(batch: Data) -> Tensor:
    """The graph of each node."""
    if isinstance(batch, Batch):
        owner: Tensor = batch.batch
        return owner
    return torch.zeros(int(batch.num_nodes or 0), dtype=torch.long)
