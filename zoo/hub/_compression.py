"""Factorised layers of a model that was compressed: put in before its weights are loaded."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from zoo.errors import ConfigError
from zoo.hub._entries import CompressionEntry
from zoo.layers.tensor_network import FACTORIZED, blank, put
from zoo.models._ensemble import Ensemble


def install(model: Any, steps: Sequence[CompressionEntry]) -> None:
    """Replaces the layers that a manifest names, with fresh weights, and notes it on the model.

    Raises:
        StateMismatchError: for a layer that the model does not have.
        ConfigError: for ranks or shapes that don't fit it.
    """
    for step in steps:
        for layer in step.layers:
            values = layer.model_dump(exclude_none=True)
            put(model, layer.name, blank(_module(model, layer.name), values))
    if steps:
        model.compression = [step.model_dump(mode="json", exclude_none=True) for step in steps]


def entries(model: nn.Module) -> list[dict[str, Any]]:
    """What the manifest says of the layers that are factorised still; fresh heads are not.

    Raises:
        ConfigError: for an ensemble whose members were compressed in different ways.
    """
    if isinstance(model, Ensemble):
        found = [entries(member) for member in model.members]
        if any(each != found[0] for each in found):
            raise ConfigError("the members of an ensemble were compressed in different ways")
        return found[0]
    kept = []
    for step in getattr(model, "compression", []):
        modules = dict(model.named_modules())
        layers = [e for e in step["layers"] if isinstance(modules.get(e["name"]), FACTORIZED)]
        if layers:
            kept.append({**step, "layers": layers})
    return kept


def _module(model: nn.Module, name: str) -> nn.Module | None:
    return dict(model.named_modules()).get(name)
