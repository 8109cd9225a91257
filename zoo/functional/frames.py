r"""Frames of point clouds, and averages over them, which make any function equivariant.

Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, Frame averaging for invariant and equivariant
network design, ICLR 2022, arXiv:2110.03336. The frame of a cloud is the set of the matrices

    R = [± v_1, ..., ± v_d],    v_k the eigenvectors of sum_i (x_i - c)(x_i - c)^T,

c the centre: 2^d elements, or the 2^(d-1) of determinant 1 (equations 8 and 9). A rotated cloud has
the rotated frame, so that for any function f

    <f>(x) = mean over R of R f(R^T (x - c))

is equivariant, and the mean of f(R^T (x - c)) invariant, under O(d) or SO(d) and translations.

    found = frames(points, sample, samples)
    seen = to_frames(points, sample, found)      # (elements, points, d): what f is given
    moved = from_frames(f(seen), sample, found)  # (points, d)

Where an eigenvalue repeats, eigenvectors are arbitrary, and near it they turn quickly: frames have
a jump there, which no choice of them avoids. A repeated eigenvalue zero does no harm, as everything
that is seen lies across those directions. Others do: `Frames.undetermined` tells, and further
vectors (`extra`), such as velocities, decide for clouds whose own eigenvalues repeat.

Derivatives of eigenvectors are exact to any order where eigenvalues are apart; across gaps that
count as none they are left out, so that all are finite.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd import Function

from zoo.errors import ConfigError, UnsupportedInputError, nearest
from zoo.functional.precision import check_precision
from zoo.functional.scatter import scatter_mean, scatter_sum

FrameGroup = Literal["O(n)", "SO(n)"]
GROUPS = ("O(n)", "SO(n)")
#: eigenvalues closer than this, relative to the largest, count as repeated
GAP = {torch.float32: 1e-5, torch.float64: 1e-9}
#: dimensions beyond it have thousands of elements
LIMIT = 8


class Frames(NamedTuple):
    """The frames of some clouds."""

    #: (samples, elements, d, d), the axes of an element are its columns
    matrices: Tensor
    #: (samples, d)
    centres: Tensor
    #: whether a repeated eigenvalue, not zero, leaves axes to chance (samples,)
    undetermined: Tensor
    #: the largest ratio of neighbouring eigenvalues, none zero (samples,): 1 where one repeats
    ratio: Tensor | None = None
    #: how many axes have nothing along them (samples,): only their signs are averaged over
    empty: Tensor | None = None
    #: of each element (samples, elements), sum 1; None where all count alike
    weights: Tensor | None = None


def frames(
    points: Float[Tensor, "points dim"],
    sample: Int[Tensor, " points"],
    samples: int,
    *,
    group: FrameGroup = "O(n)",
    extra: Float[Tensor, "vectors dim"] | None = None,
    extra_sample: Int[Tensor, " vectors"] | None = None,
    centre: bool = True,
) -> Frames:
    """The frame of each cloud.

    Args:
        points: of all clouds.
        sample: the cloud of each point.
        samples: how many clouds there are.
        group: "O(n)", all signs of the axes; "SO(n)", those of determinant 1.
        extra: vectors whose second moments are added for clouds whose own eigenvalues repeat.
        extra_sample: the cloud of each of them; that of the points if None.
        centre: whether points are seen from the centre of their cloud; False for the groups
            without translations, whose `centres` are zero.

    Raises:
        ConfigError: for another group, or more than 8 dimensions.
        DeviceError: in a precision other than float32 and float64.
    """
    check_precision("frames", points)
    dim = points.shape[-1]
    check_frame(dim, group)
    signs = sign_table(dim, group).to(points)
    centres = scatter_mean(points, sample, samples) if centre else points.new_zeros(samples, dim)
    moments = _moments(points - centres.index_select(0, sample), sample, samples)
    if extra is not None:
        repeated = ~_apart(moments, points.dtype)[0]
        added = _moments(extra, sample if extra_sample is None else extra_sample, samples)
        moments = moments + torch.where(repeated[:, None, None], added, 0.0)
    axes = _eigenvectors(moments.double(), GAP[points.dtype]).to(points.dtype)
    if group == "SO(n)":  # the signs' product is 1, so the axes must be right-handed
        hand = torch.linalg.det(axes.detach()).sign()
        axes = torch.cat([axes[..., :1] * hand[:, None, None], axes[..., 1:]], dim=-1)
    undetermined = _apart(moments, points.dtype)[1]
    ratio, empty = _spectrum(moments, points.dtype)
    return Frames(axes[:, None] * signs[:, None], centres, undetermined, ratio, empty)


def to_frames(
    vectors: Float[Tensor, "points *channels dim"],
    sample: Int[Tensor, " points"],
    found: Frames,
    *,
    centre: bool = True,
) -> Float[Tensor, "elements points *channels dim"]:
    """R^T (x - c) for every element R of each point's frame.

    Args:
        vectors: positions, or vectors that don't move with the origin.
        sample: the cloud of each point.
        found: the frames.
        centre: whether the centre is subtracted.
    """
    if centre:
        middle = found.centres.index_select(0, sample)
        vectors = vectors - middle.reshape(len(middle), *[1] * (vectors.ndim - 2), middle.shape[1])
    matrices = found.matrices.index_select(0, sample).transpose(0, 1)  # (elements, points, d, d)
    channels = math.prod(vectors.shape[1:-1])
    flat = vectors.reshape(len(vectors), channels, vectors.shape[-1])
    return (flat @ matrices).reshape(len(matrices), *vectors.shape)


def from_frames(
    vectors: Float[Tensor, "elements points *channels dim"],
    sample: Int[Tensor, " points"],
    found: Frames,
    *,
    centre: bool = False,
) -> Float[Tensor, "points *channels dim"]:
    """The mean over the elements R of R y, weighted where they have weights: equivariant.

    Args:
        vectors: what a function made of the output of `to_frames`.
        sample: the cloud of each point.
        found: the frames.
        centre: whether the centre is added: for positions.

    Raises:
        UnsupportedInputError: for another number of elements.
    """
    matrices = found.matrices.index_select(0, sample).transpose(0, 1)
    if len(vectors) != len(matrices):
        raise UnsupportedInputError(
            f"from_frames: the frames have {len(matrices)} elements, the vectors {len(vectors)}: "
            f"{tuple(vectors.shape)}; give what was made of the output of to_frames"
        )
    flat = vectors.reshape(*vectors.shape[:2], math.prod(vectors.shape[2:-1]), vectors.shape[-1])
    turned = flat @ matrices.mT
    if found.weights is None:
        mean = turned.mean(0).reshape(vectors.shape[1:])
    else:
        weights = found.weights.index_select(0, sample).T[..., None, None]
        mean = (turned * weights).sum(0).reshape(vectors.shape[1:])
    if not centre:
        return mean
    middle = found.centres.index_select(0, sample)
    return mean + middle.reshape(len(middle), *[1] * (mean.ndim - 2), middle.shape[1])


@functools.cache
def _sign_table(dim: int, group: str) -> Tensor:
    table = torch.tensor(list(itertools.product((1.0, -1.0), repeat=dim)), dtype=torch.float64)
    return table if group == "O(n)" else table[table.prod(1) > 0]


def sign_table(dim: int, group: FrameGroup) -> Float[Tensor, "elements dim"]:
    """All signs of the axes, of product 1 for SO(n), float64; the first are all 1."""
    return _sign_table(dim, group).clone()


def check_frame(dim: int, group: str) -> None:
    """Refuses groups and dimensions that have no frames.

    Raises:
        ConfigError: naming them.
    """
    if group not in GROUPS:
        raise ConfigError(f"no frames for the group {group!r}: {nearest(group, GROUPS)}")
    if not 1 <= dim <= LIMIT:
        raise ConfigError(
            f"frames in {dim} dimensions have {2.0**dim:.3g} elements; they are made for 1 to "
            f"{LIMIT} dimensions"
        )


def _moments(vectors: Tensor, sample: Tensor, samples: int) -> Tensor:
    """sum x x^T of each sample (samples, d, d)."""
    return scatter_sum(vectors[:, :, None] * vectors[:, None, :], sample, samples)


def _apart(moments: Tensor, dtype: torch.dtype) -> tuple[Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """Whether all eigenvalues are apart; whether one that isn't zero repeats."""
    values = torch.linalg.eigvalsh(moments.detach().double())
    limit = GAP[dtype] * values[:, -1:].abs()
    close = values.diff(dim=1) <= limit
    return ~close.any(1), (close & (values[:, 1:] > limit)).any(1)


def _spectrum(moments: Tensor, dtype: torch.dtype) -> tuple[Float[Tensor, " n"], Int[Tensor, " n"]]:
    """The largest ratio of neighbouring eigenvalues that aren't zero; how many are zero."""
    values = torch.linalg.eigvalsh(moments.detach().double())
    there = values > GAP[dtype] * values[:, -1:].abs()
    pairs = there[:, :-1] & there[:, 1:]
    ratios = torch.where(pairs, values[:, :-1] / torch.where(pairs, values[:, 1:], 1.0), 0.0)
    return ratios.amax(1) if ratios.shape[1] else values.new_zeros(len(values)), (~there).sum(1)


class _Eigenvectors(Function):
    """Eigenvectors of symmetric matrices; dV = V K with K_kl = (V^T dA V)_kl / (a_l - a_k)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, gap: float) -> Any:
        values, vectors = torch.linalg.eigh(a)
        ctx.gap = gap
        ctx.save_for_backward(a, vectors)
        return vectors

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        a, vectors = ctx.saved_tensors
        values = (vectors * (a @ vectors)).sum(-2)  # with their own derivatives
        difference = values[..., None, :] - values[..., :, None]
        limit = ctx.gap * values.detach().abs().amax(-1)[..., None, None]
        apart = difference.abs() > limit
        inverse = torch.where(apart, 1 / torch.where(apart, difference, 1.0), 0.0)
        turned = vectors @ (inverse * (vectors.mT @ grad)) @ vectors.mT
        return (turned + turned.mT) / 2, None


_eigenvectors: Callable[[Tensor, float], Tensor] = _Eigenvectors.apply
