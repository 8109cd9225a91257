"""Which parameters fine-tuning changes."""

from typing import Any

from zoo.errors import ConfigError, nearest

METHODS = ("full", "head", "freeze:N")


def apply_method(model: Any, method: str) -> dict[str, Any]:
    """Freezes what a method leaves as it is.

    Args:
        model: an atomistic model, with `blocks()` from input to output and `head_parameters()`.
        method: `full` trains everything; `head` the output heads; `freeze:N` everything but the
            first N blocks, where a negative N counts from the end as in Python: `freeze:-1`
            leaves only the last block free.

    Returns:
        The method, the frozen blocks of all, the trained parameters of all.

    Raises:
        ConfigError: an unknown method, or N out of range.
    """
    frozen = _frozen_blocks(method, len(model.blocks()))
    heads = set(model.head_parameters())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(method != "head" or name in heads)
    for block in model.blocks()[:frozen]:
        for parameter in block.parameters():
            parameter.requires_grad_(False)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        "method": method,
        "frozen_blocks": frozen,
        "blocks": len(model.blocks()),
        "trained_parameters": trained,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def check_method(method: str) -> None:
    """Refuses what is no method, before any model is loaded.

    Raises:
        ConfigError: an unknown method.
    """
    kind, colon, number = method.partition(":")
    if method in ("full", "head"):
        return
    if kind == "freeze" and colon:
        try:
            int(number)
        except ValueError as error:
            raise ConfigError(
                f"method {method!r}: N must be a whole number, such as freeze:1 or freeze:-1"
            ) from error
        return
    raise ConfigError(f"no method {method!r}; {nearest(method, METHODS)}")


def _frozen_blocks(method: str, blocks: int) -> int:
    check_method(method)
    if not method.startswith("freeze:"):
        return 0
    number = int(method.partition(":")[2])
    count = number + blocks if number < 0 else number
    if not 0 < count < blocks:
        raise ConfigError(
            f"method {method!r}: the model has {blocks} blocks, so N must be 1 to {blocks - 1}, "
            f"or {1 - blocks} to -1 counted from the end"
        )
    return count
