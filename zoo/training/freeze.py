"""Which parameters fine-tuning changes."""

import fnmatch
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from zoo.errors import ConfigError, nearest
from zoo.layers.atomistic._names import energy_name
from zoo.training import adapters
from zoo.training.methods import METHODS as METHODS
from zoo.training.methods import Method, parse


def apply_method(
    model: Any,
    method: str,
    *,
    freeze: Sequence[str] = (),
    heads: Iterable[str] | None = None,
    whole: Collection[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Freezes what a method leaves as it is.

    Args:
        model: an atomistic model, with `blocks()` from input to output and `head_parameters()`.
        method: see `zoo.training.methods`. `head` trains the output heads alone; `freeze:N`
            everything but the first N blocks, where a negative N counts from the end as in
            Python: `freeze:-1` leaves only the last block free.
        freeze: patterns of names of further parameters to leave as they are.
        heads: the energy heads that are trained; the others are frozen. All if None.
        whole: names of parameters that `adapter` trains as they are.
        seed: of the factors of adapters.

    Returns:
        The method, the frozen blocks of all, the trained parameters of all.

    Raises:
        ConfigError: an unknown method, N out of range, a pattern that matches no name, or
            nothing left to train.
    """
    chosen = parse(method)
    if chosen.adapter is not None:
        return adapters.select(model, chosen, freeze, whole=whole, seed=seed)
    frozen = _frozen_blocks(chosen, len(model.blocks()))
    inside = set(model.head_parameters())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(chosen.kind != "head" or name in inside)
    for block in model.blocks()[:frozen]:
        for parameter in block.parameters():
            parameter.requires_grad_(False)
    matched = match([name for name, _ in model.named_parameters()], (*chosen.patterns, *freeze))
    for name, parameter in model.named_parameters():
        if name in matched:
            parameter.requires_grad_(False)
    if heads is not None:
        _only_heads(model, set(heads))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not trained:
        raise ConfigError(f"method {method!r} with freeze={list(freeze)}: nothing is left to train")
    return {
        "method": method,
        "frozen_blocks": frozen,
        "frozen_by_name": len(matched),
        "blocks": len(model.blocks()),
        "trained_parameters": trained,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def check_method(method: str) -> Method:
    """Refuses what is no method, before any model is loaded.

    Raises:
        ConfigError: an unknown method.
    """
    return parse(method)


def match(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """The names that fit any of the shell patterns.

    Raises:
        ConfigError: for a pattern that fits none; offers the nearest names.
    """
    found: set[str] = set()
    for pattern in patterns:
        fitting = {name for name in names if fnmatch.fnmatchcase(name, pattern)}
        if not fitting:
            parts = [name.split(".") for name in names]
            groups = {".".join(p[:k]) + ".*" for p in parts for k in range(1, len(p))}
            raise ConfigError(
                f"freeze {pattern!r} matches no parameter; {nearest(pattern, {*names, *groups})}"
            )
        found |= fitting
    return found


def _only_heads(model: Any, trained: set[str]) -> None:
    for entry, head in model.heads.items():
        name = energy_name(entry)
        if name is not None and name not in trained:
            head.requires_grad_(False)


def _frozen_blocks(method: Method, blocks: int) -> int:
    if method.blocks is None:
        return 0
    number = method.blocks
    count = number + blocks if number < 0 else number
    if not 0 < count < blocks:
        raise ConfigError(
            f"method {method.text!r}: the model has {blocks} blocks, so N must be 1 to "
            f"{blocks - 1}, or {1 - blocks} to -1 counted from the end"
        )
    return count
