"""Parameter groups of the optimiser: what is decayed, and how fast each depth learns.

Layer-wise learning rates (Howard, Ruder, arXiv:1801.06146, section 3.2, "discriminative
fine-tuning"): the last block learns at the full rate, each block before it at `layer_decay` times
the rate of the block after it, so that what lies nearest to the input changes least.
"""

import fnmatch
from collections.abc import Mapping
from typing import Any, Protocol

from geoopt import ManifoldParameter
from torch import nn

from zoo.errors import RecipeError, nearest


class Rates(Protocol):
    """What is read from the recipe's optimiser section."""

    @property
    def lr(self) -> float:
        """Learning rate of the last block."""

    @property
    def weight_decay(self) -> float:
        """Of matrices and higher tensors."""


def parameter_groups(model: nn.Module, options: Rates) -> list[dict[str, Any]]:
    """Divides the trained parameters by rate and by decay.

    Vectors and scalars (biases, norms) are never decayed, nor are points of a manifold, for which
    shrinking the coordinates means nothing.

    Args:
        model: with `blocks()` from input to output, where `options.layer_decay` is set.
        options: the optimiser section: `lr`, `weight_decay`, `layer_decay` (None: one rate),
            `lr_scale` (name pattern -> part of the rate).

    Returns:
        Groups for a torch optimiser; `lr_scale` is the group's part of the full rate, by which a
        schedule has to multiply.

    Raises:
        RecipeError: a pattern of `lr_scale` that fits no parameter.
    """
    factor = getattr(options, "layer_decay", None)
    scales = {} if factor is None else layer_scales(model, factor)
    named = named_scales(model, getattr(options, "lr_scale", {}))
    scales |= {key: scales.get(key, 1.0) * scale for key, scale in named.items()}
    live = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = []
    for scale in sorted({scales.get(id(p), 1.0) for p in live}, reverse=True):
        same = [p for p in live if scales.get(id(p), 1.0) == scale]
        for decayed in (True, False):
            chosen = [p for p in same if _decays(p) is decayed]
            if chosen:
                decay = options.weight_decay if decayed else 0.0
                groups.append({"params": chosen, "weight_decay": decay})
                if scales:
                    groups[-1] |= {"lr": options.lr * scale, "lr_scale": scale}
    return groups


def _decays(parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and not isinstance(parameter, ManifoldParameter)


def named_scales(model: nn.Module, patterns: Mapping[str, float]) -> dict[int, float]:
    """The part of the rate at which parameters of certain names learn.

    Args:
        model: whose parameters have the names.
        patterns: shell pattern -> part of the rate; the first that fits counts.

    Returns:
        id of a parameter -> part of the rate.

    Raises:
        RecipeError: a pattern that fits no parameter.
    """
    names = {name: id(p) for name, p in model.named_parameters()}
    scales: dict[int, float] = {}
    for pattern, scale in patterns.items():
        fitting = fnmatch.filter(names, pattern)
        if not fitting:
            raise RecipeError(
                f"optimizer.lr_scale: {pattern!r} fits no parameter; {nearest(pattern, names)}"
            )
        for name in fitting:
            scales.setdefault(names[name], scale)
    return scales


def layer_scales(model: Any, factor: float) -> dict[int, float]:
    """The part of the full rate at which each parameter learns.

    Args:
        model: with `blocks()`.
        factor: of one block relative to the next.

    Returns:
        id of a parameter -> factor to the power of its distance from the last block; parameters
        outside all blocks count as belonging to the first.
    """
    blocks = model.blocks()
    scales = {id(p): factor ** (len(blocks) - 1) for p in model.parameters()}
    for depth, block in enumerate(reversed(blocks)):
        scales |= {id(p): factor**depth for p in block.parameters()}
    return scales
