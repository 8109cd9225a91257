"""Losses of the kinds of task, as sums over rows that add up over batches and processes."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from zoo.errors import DataError
from zoo.functional.rotations import so3
from zoo.training._task_section import TaskLoss
from zoo.training.losses import Sums, penalty, weighted_sums
from zoo.training.recipe import Term
from zoo.training.tasks.rows import Rows

#: values of the loss, one row each, and the weights of the rows
Values = tuple[Tensor, Tensor | None]


def task_sums(
    rows: Rows,
    loss: str,
    options: TaskLoss,
    *,
    class_weights: Float[Tensor, " classes"] | None = None,
    scale: Tensor | None = None,
) -> Sums:
    """The sum of weight * loss over the rows of this process, and the sum of the weights.

    Args:
        rows: outputs and labels.
        loss: its name.
        options: its settings.
        class_weights: multiplies the weights of the rows by class.
        scale: of regression targets, by which errors are divided; 1 if None.
    """
    if scale is not None:
        rows = Rows(rows.output / scale, rows.target / scale, rows.weight)
    values, weight = LOSSES[loss](rows, options)
    if class_weights is not None:
        by_class = class_weights.to(values.dtype)[rows.target]
        weight = by_class if weight is None else weight * by_class
    if not len(values):
        zero = rows.output.sum() * 0.0
        return zero.reshape(1), torch.zeros_like(zero).detach().reshape(1)
    return weighted_sums(values, weight)


def _cross_entropy(rows: Rows, options: TaskLoss) -> Values:
    smoothing = options.label_smoothing
    values = cross_entropy(rows.output, rows.target, reduction="none", label_smoothing=smoothing)
    return values, rows.weight


def margin_classes(
    scores: Float[Tensor, "rows classes"], target: Int[Tensor, " rows"], margin: float
) -> Float[Tensor, " rows"]:
    """Mean over the classes k other than the right one y of max(0, margin - s_y + s_k)."""
    right = scores.gather(1, target[:, None])
    hinge = (margin - right + scores).clamp(min=0.0)
    others = torch.ones_like(scores).scatter(1, target[:, None], 0.0)
    return (hinge * others).sum(1) / max(scores.shape[1] - 1, 1)


def margin_pairs(
    scores: Float[Tensor, " pairs"], target: Tensor, margin: float
) -> Float[Tensor, " negatives"]:
    """max(0, margin - s+ + s-) for each non-edge and the edge that it stands against.

    The k-th non-edge stands against the k-th edge, counted round.
    """
    positive, negative = scores[target > 0], scores[target <= 0]
    if not len(positive) or not len(negative):
        return scores[:0]
    place = torch.arange(len(negative), device=scores.device) % len(positive)
    return (margin - positive[place] + negative).clamp(min=0.0)


def _margin(rows: Rows, options: TaskLoss) -> Values:
    if rows.output.ndim == 2:
        return margin_classes(rows.output, rows.target, options.margin), rows.weight
    values = margin_pairs(rows.output, rows.target, options.margin)
    return values, None if rows.weight is None else rows.weight[rows.target <= 0][: len(values)]


def _binary(rows: Rows, options: TaskLoss) -> Values:
    target = rows.target.to(rows.output.dtype)
    return binary_cross_entropy_with_logits(rows.output, target, reduction="none"), rows.weight


def _power(kind: str) -> Callable[[Rows, TaskLoss], Values]:
    def values(rows: Rows, options: TaskLoss) -> Values:
        term = Term.model_validate({"kind": kind, "delta": options.delta})
        return penalty(rows.output - rows.target, term), rows.weight

    return values


def rotation_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle between rotations, rad.

    Args:
        first: (rows, 3, 3), or flat.
        second: likewise.

    Returns:
        (rows,), in [0, pi]; its square is smooth at zero.

    Raises:
        DataError: for anything but 3 x 3 matrices.
    """
    return so3.dist(_matrices(first), _matrices(second))


def _matrices(value: Tensor) -> Tensor:
    if math.prod(value.shape[1:]) != 9:
        raise DataError(
            f"the geodesic loss needs rotation matrices (rows, 3, 3), not {tuple(value.shape)}"
        )
    return value.reshape(len(value), 3, 3)


def _geodesic(rows: Rows, options: TaskLoss) -> Values:
    return rotation_angle(rows.output, rows.target).square(), rows.weight


def _relative_l2(rows: Rows, options: TaskLoss) -> Values:
    error = torch.linalg.vector_norm((rows.output - rows.target).flatten(1), dim=1)
    size = torch.linalg.vector_norm(rows.target.flatten(1), dim=1)
    return error / size.clamp(min=torch.finfo(size.dtype).tiny), rows.weight


LOSSES: dict[str, Callable[[Rows, TaskLoss], Values]] = {
    "cross_entropy": _cross_entropy,
    "margin": _margin,
    "binary_cross_entropy": _binary,
    "mse": _power("mse"),
    "mae": _power("mae"),
    "huber": _power("huber"),
    "geodesic": _geodesic,
    "relative_l2": _relative_l2,
}
