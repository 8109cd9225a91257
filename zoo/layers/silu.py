"""Linear layers with SiLU, run in turn by one function that is cheap to differentiate twice."""

import itertools
import math

from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional.activations import SiLU
from zoo.functional.silu_layers import silu_layers


class SiLULayers(nn.Sequential):
    """Linear layers, each followed by SiLU; weights lie at even numbers, "0.weight", "2.weight".

    Args:
        layers: in turn.
    """

    def __init__(self, *layers: nn.Linear) -> None:
        super().__init__(*itertools.chain.from_iterable((layer, SiLU()) for layer in layers))

    def __getitem__(self, index: slice | int) -> nn.Module:
        """One part; of a slice, which need not begin with a layer, a plain sequence."""
        parts = list(self)
        return nn.Sequential(*parts[index]) if isinstance(index, slice) else parts[index]

    def forward(
        self, x: Float[Tensor, "*rows inputs"], *, skip: bool = False
    ) -> Float[Tensor, "*rows outputs"]:
        """The last layer's activations.

        Args:
            x: what the first layer sees.
            skip: adds x to them.
        """
        return _run(x, list(self), skip=skip)


def in_turn(
    x: Float[Tensor, "*rows inputs"], *parts: SiLULayers, skip: bool = False
) -> Float[Tensor, "*rows outputs"]:
    """Several `SiLULayers`, as one function.

    Args:
        x: what the first layer sees.
        parts: in turn.
        skip: adds x to the result.
    """
    if all(_known(part, SiLULayers) for part in parts):
        return _run(x, [module for part in parts for module in part], skip=skip)
    h: Tensor = x
    for part in parts:  # somebody listens to one, or wrapped it
        h = part(h)
    return x + h if skip else h


def _run(x: Tensor, modules: list[nn.Module], *, skip: bool) -> Tensor:
    """What linear layers and activations make of x, taken together if they are no more than that.

    Somebody may have exchanged them, or listen to them.
    """
    layers = [module for module in modules[::2] if isinstance(module, nn.Linear)]
    kinds = itertools.cycle((nn.Linear, SiLU))
    known = all(map(_known, modules, kinds))
    if 2 * len(layers) == len(modules) and known:
        pairs = [(layer.weight, layer.bias) for layer in layers]
        if x.ndim == 2:
            return silu_layers(x, *pairs, skip=skip)
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        found = silu_layers(rows, *pairs, skip=skip)
        return found.reshape(*x.shape[:-1], found.shape[-1])
    h: Tensor = x
    for module in modules:
        h = module(h)
    return x + h if skip else h


def _known(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether calling a module runs the `forward` of that class and nothing else."""
    own = "forward" in vars(module)  # exchanged in this one instance
    return type(module).forward is kind.forward and not own and _unheard(module)


def _unheard(module: nn.Module) -> bool:
    """Whether nothing is called along with a module."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    back = (module._backward_hooks, module._backward_pre_hooks)
    return not any((*hooks, *back))
