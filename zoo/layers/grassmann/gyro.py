r"""Gyrovector layers on subspaces: translations, batch norm, multinomial logistic regression.

Nguyen, Yang, Building Neural Networks on Matrix Manifolds, ICML 2023, arXiv:2305.04560
(translations, hyperplanes). All of them act on orthonormal bases (batch, channels, n, p), depend on
the subspaces alone, and hold their own points as free coordinates B (n - p, p) of tangent vectors
[0; B] at the origin.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional import grassmann
from zoo.functional.grassmann import METHODS, Method
from zoo.layers.grassmann.maps import filters_per_channel


def check_method(method: str) -> None:
    """Refuses a map that does not exist.

    Raises:
        ConfigError: offers the nearest names.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown method {method!r}: {nearest(method, METHODS)}")


def check_sizes(what: str, size: int, rank: int) -> None:
    """Refuses subspaces without free coordinates.

    Raises:
        ConfigError: unless 1 <= rank < size.
    """
    if not 1 <= rank < size:
        raise ConfigError(
            f"{what} needs subspaces of R^{size} of 1 to {size - 1} dimensions, not {rank}"
        )


def origin_like(v: Float[Tensor, "... n p"]) -> Float[Tensor, "n p"]:
    """The origin, in the precision of v."""
    return grassmann.origin(v.shape[-2:], dtype=v.dtype, device=v.device)


class GyroTranslation(nn.Module):
    """Turns subspaces by learnable points: W (+) X, several per input channel.

    Args:
        size: n.
        rank: p.
        in_channels: bases per sample that come in.
        out_channels: bases per sample that leave, a multiple of `in_channels`.
        method: "exp", or "cayley" or "legacy" (see `zoo.functional.grassmann.turn`).

    Attributes:
        weight: (out_channels, n - p, p), coordinates of the points W.

    Raises:
        ConfigError: for sizes or a method that don't fit.
    """

    def __init__(
        self,
        size: int,
        rank: int,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        method: Method = "exp",
    ) -> None:
        super().__init__()
        check_method(method)
        check_sizes("GyroTranslation", size, rank)
        self.repeats = filters_per_channel("GyroTranslation", in_channels, out_channels)
        self.method: Method = method
        self.weight = nn.Parameter(torch.empty(out_channels, size - rank, rank))
        # a tangent vector of about unit length: channels that differ, and no angle beyond pi / 2
        nn.init.normal_(self.weight, std=1 / math.sqrt((size - rank) * rank))

    def forward(
        self, x: Float[Tensor, "batch in_channels n p"]
    ) -> Float[Tensor, "batch out_channels n p"]:
        """The translated subspaces."""
        v = grassmann.from_coordinates(self.weight)
        many = x.repeat_interleave(self.repeats, dim=1)
        return grassmann.turn(origin_like(v), v, many, method=self.method)

    def extra_repr(self) -> str:
        """Sizes and method."""
        channels, rest, rank = self.weight.shape
        return f"size={rest + rank}, rank={rank}, channels={channels}, method={self.method!r}"


class GyroMLR(nn.Module):
    """Logits from gyro hyperplanes: <log((-) P_k (+) X), A_k>, all channels added up.

    A hyperplane passes through the point P_k, and A_k is its normal vector at the origin. The
    logarithm jumps where a principal angle between X and P_k passes pi / 2, and the logits with
    it; `ProjectorMLR` is smooth.

    Args:
        size: n.
        rank: p.
        channels: bases per sample.
        out_channels: how many logits.

    Raises:
        ConfigError: for sizes that don't fit.
    """

    def __init__(self, size: int, rank: int, *, channels: int = 1, out_channels: int) -> None:
        super().__init__()
        check_sizes("GyroMLR", size, rank)
        shape = (out_channels, channels, size - rank, rank)
        self.points = nn.Parameter(torch.zeros(shape))
        self.normals = nn.Parameter(torch.empty(shape))
        nn.init.normal_(self.normals, std=1 / math.sqrt(channels * (size - rank) * rank))

    def forward(
        self, x: Float[Tensor, "batch channels n p"]
    ) -> Float[Tensor, "batch out_channels"]:
        """Logits."""
        v = grassmann.from_coordinates(self.points)
        base = origin_like(v)
        moved = grassmann.rotate(base, -v, x[:, None])  # (batch, classes, channels, n, p)
        log = grassmann.to_coordinates(grassmann.log(base.expand_as(moved), moved))
        return (log * self.normals).sum((-3, -2, -1))


class ProjectorMLR(nn.Module):
    """Logits from hyperplanes of projectors: <A_k, X X^T - P_k P_k^T>, all channels added up.

    The hyperplane k passes through the subspace P_k and is normal to the symmetric part of A_k.
    Smooth everywhere.

    Args:
        size: n.
        rank: p.
        channels: bases per sample.
        out_channels: how many logits.

    Raises:
        ConfigError: for sizes that don't fit.
    """

    def __init__(self, size: int, rank: int, *, channels: int = 1, out_channels: int) -> None:
        super().__init__()
        check_sizes("ProjectorMLR", size, rank)
        self.points = nn.Parameter(torch.empty(out_channels, channels, size - rank, rank))
        nn.init.normal_(self.points, std=1 / math.sqrt((size - rank) * rank))
        self.normals = nn.Parameter(torch.empty(out_channels, channels, size, size))
        nn.init.normal_(self.normals, std=1 / math.sqrt(channels * rank))

    def forward(
        self, x: Float[Tensor, "batch channels n p"]
    ) -> Float[Tensor, "batch out_channels"]:
        """Logits."""
        v = grassmann.from_coordinates(self.points)
        base = origin_like(v)
        point = grassmann.exp(base.expand_as(v), v)
        own = (self.normals * (point @ point.mT)).sum((-3, -2, -1))
        seen = (x @ x.mT).flatten(1) @ self.normals.flatten(1).mT
        return seen - own
