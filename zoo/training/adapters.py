"""Adapters in fine-tuning: put on before the first step, taken off and stored after the last."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from zoo import hub
from zoo.errors import ConfigError
from zoo.hub import Adapted
from zoo.layers import adapters
from zoo.layers.atomistic._names import entry_of
from zoo.training.methods import Method

#: folder of the merged weights beside the adapter
MERGED = "merged"


def check_wish(model: Any, method: Method, *, merge: bool) -> None:
    """Refuses what adapters can't be used for, before anything is trained.

    Raises:
        ConfigError: merging without adapters, or weights that adapters can't be stored for.
    """
    if method.adapter is None:
        if merge:
            raise ConfigError(
                f"merge is for method='adapter', which stores changes alone; {method.text!r} "
                "stores whole weights in any case"
            )
        return
    manifest = model.manifest
    if manifest is None or manifest.source != "zoo" or manifest.ensemble is not None:
        raise ConfigError(
            f"method {method.text!r} stores changes of weights that are found again by name and "
            f"digest, and {model.checkpoint_name} is no such weights; save it with zoo.save first, "
            "or take another method"
        )


def select(
    model: Any, method: Method, freeze: Sequence[str], *, whole: Collection[str], seed: int
) -> dict[str, Any]:
    """Puts adapters on, if there are none yet, and freezes everything else.

    Args:
        model: as loaded, its heads settled.
        method: with `adapter`.
        freeze: must be empty: what is adapted is named by `targets`.
        whole: names of parameters that are trained as they are: those of a fresh head.
        seed: of the factors.

    Returns:
        What the report says of it.

    Raises:
        ConfigError: patterns to freeze, patterns that match nothing, or nothing to adapt.
    """
    assert method.adapter is not None
    if freeze:
        raise ConfigError(
            f"freeze={list(freeze)}: with method {method.text!r} everything is frozen but what "
            "targets= names"
        )
    if not any(True for _ in adapters.adapters(model)):
        adapters.attach(model, method.adapter, seed=seed, whole=whole)
    found = list(adapters.adapters(model))
    model.requires_grad_(False)
    for *_, adapter in found:
        adapter.requires_grad_(True)
    for name, parameter in model.named_parameters():
        if name in whole:
            parameter.requires_grad_(True)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    inside = sum(p.numel() for *_, adapter in found for p in adapter.parameters())
    return {
        "method": method.text,
        "frozen_blocks": 0,
        "frozen_by_name": 0,
        "blocks": len(model.blocks()),
        "trained_parameters": trained,
        "parameters": sum(p.numel() for p in model.parameters()) - inside,
        "adapted": [name for name, *_ in found],
        "trained_whole": sorted(whole),
    }


def fresh_parameters(model: Any, head: str | None) -> list[str]:
    """Names of the parameters of a new head, which no base has.

    Args:
        model: with that head.
        head: its name on atoms; None elsewhere, where there is one head.
    """
    if head is None:
        return list(model.head_parameters())
    start = f"heads.{entry_of(head)}."
    return [name for name, _ in model.named_parameters() if name.startswith(start)]


def take_off(model: Any, method: Method, base: str | Path) -> Adapted | None:
    """Merges the adapters into the model and hands back what is to be stored.

    Args:
        model: trained.
        method: how it was.
        base: the weights it started from.
    """
    if method.adapter is None:
        return None
    adapted = Adapted(method.adapter, adapters.state(model), hub.find(base))
    adapters.merge(model)
    return adapted


def save(
    model: Any, folder: Path, *, adapted: Adapted | None, merge: bool, **fields: Any
) -> list[Path]:
    """Saves weights, or adapters alone and, where asked, the merged weights beside them.

    Returns:
        The folders, that of the run first.
    """
    hub.save(model, folder, adapted=adapted, **fields)
    if adapted is None or not merge:
        return [folder]
    return [folder, hub.save(model, folder / MERGED, **fields)]
