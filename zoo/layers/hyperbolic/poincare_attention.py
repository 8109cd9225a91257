r"""Gates and attention of "Hyperbolic Neural Networks++" (Shimizu et al., arXiv:2006.08210)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from zoo.errors import ConfigError
from zoo.functional.poincare import beta_ratio
from zoo.layers.hyperbolic.poincare_linear import PoincareLinear
from zoo.layers.hyperbolic.poincare_space import FlatSpace, PoincareSpace


class PoincareGLU(nn.Module):
    """The gated linear unit on the ball, a sigmoid(b sqrt(n) e^s) of the halves a, b of log0.

    The halves have n coordinates each and are scaled by beta_n / beta_{2n}; s is learnt and
    starts at zero.

    Args:
        channels: 2n, of the points; an even number.
        space: where they live.

    Raises:
        ConfigError: an odd number of channels.
    """

    def __init__(self, channels: int, space: PoincareSpace | FlatSpace) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise ConfigError(f"channels={channels}: two halves need an even number, at least 2")
        self.space = space
        self.scale = nn.Parameter(torch.zeros(()))
        self.gated = channels // 2

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Points of half as many coordinates."""
        logs = self.space.log0(x) * beta_ratio(self.gated, 2 * self.gated)
        a, b = logs.split(self.gated, -1)
        gate = torch.sigmoid(b * (math.sqrt(self.gated) * torch.exp(self.scale)))
        return self.space.exp0(a * gate)


class PoincareAttention(nn.Module):
    """Multi-head attention whose values are averaged as gyro-midpoints (section 3.4).

    Queries, keys and values come from linear layers and are beta-split into heads. The weight of a
    key falls with its distance, exp(-tau d(q, k)), normalised over the keys, with tau > 0 learnt
    for each head; heads are beta-concatenated, and a last linear layer follows. A constant in the
    exponent would cancel, as midpoints don't depend on the scale of their weights.

    Args:
        channels: of the points.
        num_heads: a divisor of `channels`.
        space: where they live.

    Raises:
        ConfigError: heads that don't divide the channels.
    """

    def __init__(self, channels: int, num_heads: int, space: PoincareSpace | FlatSpace) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ConfigError(
                f"num_heads={num_heads} must divide the {channels} channels of the points"
            )
        self.space, self.num_heads = space, num_heads
        self.query, self.key, self.value = (
            PoincareLinear(channels, channels, space, parts=num_heads) for _ in range(3)
        )
        self.out = PoincareLinear(channels, channels, space)
        self.raw_rate = nn.Parameter(torch.full((num_heads,), math.log(math.e - 1)))  # tau = 1

    def forward(
        self,
        x: Float[Tensor, "batch queries channels"],
        memory: Float[Tensor, "batch keys channels"] | None = None,
        mask: Bool[Tensor, "batch #queries keys"] | None = None,
    ) -> Float[Tensor, "batch queries channels"]:
        """New points.

        Args:
            x: points that ask.
            memory: points that answer; x itself if left out.
            mask: which keys count; the values of a query without any are mixed to the origin.
        """
        source = x if memory is None else memory
        q, k, v = (
            torch.stack(self._heads(layer(points)), 1)  # (batch, heads, points, channels)
            for layer, points in ((self.query, x), (self.key, source), (self.value, source))
        )
        apart = self.space.dist(q[..., :, None, :], k[..., None, :, :])
        scores = -softplus(self.raw_rate)[:, None, None] * apart
        if mask is None:
            weights = torch.softmax(scores, -1)
        else:
            seen = mask[:, None]  # for all heads alike
            scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
            weights = torch.softmax(scores, -1) * seen
        mixed = self.space.mixed(v, weights)
        joined: Tensor = self.out(self.space.concat(mixed.unbind(1)))
        return joined

    def _heads(self, points: Tensor) -> list[Tensor]:
        size = points.shape[-1] // self.num_heads
        return self.space.split(points, [size] * self.num_heads)
