"""Layers of torch in a model replaced by factorised ones, and what was replaced as plain values."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from zoo.errors import StateMismatchError
from zoo.layers.tensor_network.conv import FactorizedConv1d, FactorizedConv2d, FactorizedConv3d
from zoo.layers.tensor_network.linear import FactorizedLinear

Factorized = FactorizedLinear | FactorizedConv1d | FactorizedConv2d | FactorizedConv3d
#: the classes of it
FACTORIZED = (FactorizedLinear, FactorizedConv1d, FactorizedConv2d, FactorizedConv3d)
_CONVS: dict[type[nn.Module], Any] = {
    c.plain: c for c in (FactorizedConv1d, FactorizedConv2d, FactorizedConv3d)
}


def replaceable(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Linear and convolution layers whose parameters belong to no other module, by name.

    Only the classes themselves: a subclass may use its weight in its own way.
    """
    uses: dict[int, int] = {}
    for _, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for name, module in model.named_modules():
        plain = type(module) is nn.Linear or type(module) in _CONVS
        # a parametrised layer has another class, a hook may read the weight
        hooked = bool(module._forward_hooks or module._forward_pre_hooks)
        alone = all(uses[id(p)] == 1 for p in module.parameters(recurse=False))
        if plain and alone and not hooked and name:
            yield name, module


def factorize(module: nn.Module, **options: Any) -> Factorized:
    """The nearest factorised layer; options are those of `from_linear` and `from_conv`."""
    if isinstance(module, nn.Linear):
        return FactorizedLinear.from_linear(module, **options)
    made: Factorized = _CONVS[type(module)].from_conv(module, **options)
    return made


def describe(name: str, layer: Factorized) -> dict[str, Any]:
    """Plain values from which `blank` makes the layer."""
    rank = list(layer.weight.rank)
    values: dict[str, Any] = {"name": name, "format": layer.weight.format, "rank": rank}
    if isinstance(layer, FactorizedLinear):
        values["format"] = layer.weight.format.removeprefix("block_")
        values["in_shape"] = list(layer.weight.in_shape)
        values["out_shape"] = list(layer.weight.out_shape)
    return values


def blank(module: nn.Module | None, values: Mapping[str, Any]) -> Factorized:
    """A fresh factorised layer in the place of a plain or factorised one.

    Args:
        module: what is to be replaced.
        values: from `describe`.

    Raises:
        StateMismatchError: if there is none, or it is no linear or convolution layer.
        ConfigError: for shapes and ranks that don't fit it.
    """
    options = {"format": values["format"], "rank": tuple(values["rank"])}
    if isinstance(module, (nn.Linear, FactorizedLinear)):
        return FactorizedLinear(
            module.in_features,
            module.out_features,
            in_shape=values["in_shape"],
            out_shape=values["out_shape"],
            bias=module.bias is not None,
            **options,
        )
    if module is None or type(module) not in _CONVS:
        raise StateMismatchError(
            f"{values['name']} is a {type(module).__name__}, which no factorised layer can "
            "replace; the weights belong to another configuration or release"
        )
    made: Factorized = _CONVS[type(module)].like_conv(module, **options)
    return made


def put(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Puts a module in the place of another of this name."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)
