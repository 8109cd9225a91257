"""Which pointwise activations commute with a group.

A pointwise function commutes with permutations of coordinates. Networks of pointwise activations
that are equivariant to a connected compact group can only be invariant (Pacini, Dong, Lepri,
Santin, ICLR 2024); tensors of O(n), SO(n) and Sp(n) therefore take gates, norms or products.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import tensor_power as tp
from zoo.functional.tensor_power import Group

#: f(-x) = -f(x), so that signs of coordinates pass as well
_ODD = (nn.Tanh, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.Hardshrink)
_EXACT = 1e-12


def check_pointwise_activation(
    group: Group | type[Group] | str,
    activation: type[nn.Module] | nn.Module | Callable[[Tensor], Tensor],
    order: int | None = None,
) -> None:
    """Refuses a pointwise activation that would break the equivariance.

    Args:
        group: see `zoo.functional.tensor_power.as_group`.
        activation: a module, its class, or a function, applied entry by entry.
        order: of the tensors; scalars (0) take any function.

    Raises:
        ConfigError: for groups of anything but permutations; signed permutations, given as
            matrices, take odd functions such as tanh.
    """
    of = tp.as_group(group)
    kind = activation if isinstance(activation, type) else type(activation)
    if of.permutes or order == 0 or kind is nn.Identity:
        return
    signs = _signs(of)
    if signs == "permutations" or (signs == "signed" and issubclass(kind, _ODD)):
        return
    name = kind.__name__ if issubclass(kind, nn.Module) else getattr(activation, "__name__", "it")
    why = " (signed permutations take odd functions only)" if signs == "signed" else ""
    raise ConfigError(
        f"the pointwise activation {name} breaks the equivariance to {of}{why}: use gates by "
        "scalars, norms, or products of tensors; pointwise activations are for scalars (order 0) "
        "and for S(n), A(n) and groups of permutations"
    )


def _signs(group: Group) -> str:
    """Whether given matrices are permutations, with signs or without, or anything else."""
    if not isinstance(group, tp.MatrixGroup) or len(group.lie_algebra(group.size or 0)):
        return "other"
    matrices = group.generators(group.size or 0)
    found: Any = "other"
    for name, entries in (("signed", matrices.abs()), ("permutations", matrices)):
        whole = ((entries - entries.round()).abs() < _EXACT).all() & (entries > -_EXACT).all()
        ones = torch.ones_like(entries[:, 0])
        sums = [(entries.sum(dim=axis) - ones).abs().max() < _EXACT for axis in (1, 2)]
        if bool(whole & sums[0] & sums[1]):
            found = name
    return str(found)
