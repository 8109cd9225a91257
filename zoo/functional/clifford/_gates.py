"""Norms and gates of multivectors: each group of blades times a factor made of its own invariant.

Groups are the grades, or several of them joined; their invariant is the quadratic form.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.clifford import _native
from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._functions import (
    Multivectors,
    blade_major,
    channels_first,
    check,
    smooth_root,
)
from zoo.functional.clifford._mode import compiles

#: added to norms that something is divided by
EPS = 1e-6
#: the group of each blade
Groups = tuple[int, ...]


def normalise(
    x: Multivectors,
    share: Float[Tensor, "groups channels"],
    of: Algebra,
    *,
    least: float,
    groups: Groups | None = None,
) -> Multivectors:
    """x / max(share (|x| - 1) + 1, least), group by group.

    Args:
        x: multivectors.
        share: 0 changes nothing, 1 divides by the norm.
        of: the algebra.
        least: of the divisors.
        groups: the group of each blade; None for its grade.
    """
    return _run(norm_of(of, least, groups), x, (share,))


def norm_of(of: Algebra, least: float, groups: Groups | None = None) -> _native.Made:
    """The norm that `normalise` takes."""
    groups = of.grades if groups is None else groups
    return _native.Made("norm", partial(_normalised, of, groups, least), of, groups, least)


def gate(
    x: Multivectors,
    slope: Float[Tensor, "grades channels"],
    shift: Float[Tensor, "grades channels"],
    of: Algebra,
) -> Multivectors:
    """x sigmoid(slope q(x) + shift), grade by grade; in the place of its form the scalar itself."""
    made = _native.Made("silu", partial(_gated, of), of, of.grades, 0.0)
    return _run(made, x, (slope, shift))


def level(
    x: Multivectors, scale: Float[Tensor, "1 channels"], of: Algebra, *, least: float
) -> Multivectors:
    """x scale / max(mean over the channels of |x|, least); least = 0 for no limit."""
    made = _native.Made("level", partial(_levelled, of, least), of, of.grades, least)
    return _run(made, x, (scale,))


def _run(made: _native.Made, x: Tensor, parameters: tuple[Tensor, ...]) -> Tensor:
    check(made.kind, made.of, x)
    flat = x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
    if compiles(x, made.of):
        out = _native.gate(made, flat, parameters)
    else:
        out = channels_first(made.plain(blade_major(flat), *parameters))
    return out.reshape(x.shape)


def _normalised(of: Algebra, groups: Groups, least: float, x: Tensor, share: Tensor) -> Tensor:
    """`normalise`, of blade-major tensors."""
    factors = [
        1 / ((weight * (smooth_root(form) - 1) + 1).clamp(min=least) + EPS)
        for weight, form in zip(share.unbind(), _forms(of, groups, x), strict=True)
    ]
    return _times(groups, x, factors)


def _gated(of: Algebra, x: Tensor, slope: Tensor, shift: Tensor) -> Tensor:
    """`gate`, likewise."""
    invariants = [x[0], *_forms(of, of.grades, x)[1:]]
    rows = zip(slope.unbind(), shift.unbind(), invariants, strict=True)
    return _times(of.grades, x, [torch.sigmoid(a * form + b) for a, b, form in rows])


def _levelled(of: Algebra, least: float, x: Tensor, scale: Tensor) -> Tensor:
    """`level`, likewise."""
    mean = smooth_root(sum(_forms(of, of.grades, x), start=torch.zeros_like(x[0])))
    mean = mean.mean(-1, keepdim=True) + EPS
    factor = scale / (mean.clamp(min=least) if least else mean)
    return _times(of.grades, x, [factor] * len(of.sizes))


def _forms(of: Algebra, groups: Groups, x: Tensor) -> list[Tensor]:
    """The quadratic form of each group, from (blades, batch, channels)."""
    parts = x.unbind()
    forms = [torch.zeros_like(parts[0]) for _ in range(max(groups) + 1)]
    for group, square, part in zip(groups, of.squares, parts, strict=True):
        if square:
            forms[group] = torch.addcmul(forms[group], part, part, value=square)
    return forms


def _times(groups: Groups, x: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Each group times its factor."""
    return torch.stack([x * factors[g] for x, g in zip(x.unbind(), groups, strict=True)])
