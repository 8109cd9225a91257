"""Activations that commute with rotations and inversions: gates, and functions of norms."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.layers.equivariant._legs import as_irreps

Activation = Callable[[Tensor], Tensor]


class Gate(nn.Module):
    """Scalars by a function of their own, everything else times a gate (Weiler et al., 2018).

    Invariants (0e) become f(x), pseudo-scalars (0o) tanh(x), which is odd as they are; each channel
    of a higher degree is multiplied by sigmoid of an invariant of its own. So the features that
    come in, `irreps_in`, are the gates' invariants followed by `irreps_out`. All three functions
    are scaled such that their square has the mean one for a standard normal variable.

    Args:
        irreps_out: of the result.
        activation: f, for invariants.

    Raises:
        ConfigError: unreadable irreps.
    """

    def __init__(
        self, irreps_out: str | o3.Irreps, *, activation: Activation = nn.functional.silu
    ) -> None:
        super().__init__()
        self.irreps_out = as_irreps(irreps_out, "irreps_out")
        self.gates = sum(part.mul for part in self.irreps_out if part.ir.l > 0)
        gates = o3.Irreps([(self.gates, (0, 1))] if self.gates else [])
        self.irreps_in = gates + self.irreps_out
        self.activation = activation
        self._scales = {f: second_moment(f) for f in (activation, torch.tanh, torch.sigmoid)}

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch out"]:
        """Features of `irreps_out`, from those of `irreps_in`.

        Raises:
            ConfigError: a width other than that of `irreps_in`.
        """
        if x.shape[-1] != self.irreps_in.dim:
            raise ConfigError(
                f"x has rows of {x.shape[-1]} numbers; the gate takes {self.irreps_in} "
                f"({self.gates} gates first), {self.irreps_in.dim} numbers"
            )
        gates, *parts = x.split([self.gates, *(part.dim for part in self.irreps_out)], dim=-1)
        opened = self._apply_scaled(torch.sigmoid, gates)
        out, start = [], 0
        for part, block in zip(self.irreps_out, parts, strict=True):
            if part.ir.l == 0:
                function = self.activation if part.ir.p > 0 else torch.tanh
                out.append(self._apply_scaled(function, block))
                continue
            gate = opened[..., start : start + part.mul, None]
            start += part.mul
            out.append((block.unflatten(-1, (part.mul, part.ir.dim)) * gate).flatten(-2))
        return torch.cat(out, dim=-1)

    def _apply_scaled(self, function: Activation, x: Tensor) -> Tensor:
        return function(x) * self._scales[function]


class NormActivation(nn.Module):
    """Each channel's components times f(|x| + b) / |x|, a function of their norm.

    The norm is sqrt(|x|^2 + epsilon^2), smooth at zero, where all derivatives are finite.

    Args:
        irreps: of the features and of the result.
        activation: f.
        bias: whether each channel has a b of its own, zero at first.
        epsilon: where the norm levels off.

    Raises:
        ConfigError: unreadable irreps, an epsilon that isn't positive.
    """

    def __init__(
        self,
        irreps: str | o3.Irreps,
        *,
        activation: Activation = nn.functional.silu,
        bias: bool = True,
        epsilon: float = 1e-4,
    ) -> None:
        super().__init__()
        if not epsilon > 0:
            raise ConfigError(f"epsilon={epsilon} must be positive: at zero the norm has a kink")
        self.irreps = as_irreps(irreps, "irreps")
        self.activation = activation
        self.epsilon = epsilon
        channels = sum(part.mul for part in self.irreps)
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Activated features.

        Raises:
            ConfigError: a width other than that of `irreps`.
        """
        if x.shape[-1] != self.irreps.dim:
            raise ConfigError(
                f"x has rows of {x.shape[-1]} numbers; {self.irreps} has {self.irreps.dim}"
            )
        parts = x.split([part.dim for part in self.irreps], dim=-1)
        blocks = [
            block.unflatten(-1, (part.mul, part.ir.dim))
            for part, block in zip(self.irreps, parts, strict=True)
        ]
        squares = torch.cat([block.square().sum(-1) for block in blocks], dim=-1)
        norms = torch.sqrt(squares + self.epsilon**2)  # (*batch, channels)
        argument = norms if self.bias is None else norms + self.bias
        factors = (self.activation(argument) / norms).split(
            [part.mul for part in self.irreps], dim=-1
        )
        scaled = [b * f[..., None] for b, f in zip(blocks, factors, strict=True)]
        return torch.cat([block.flatten(-2) for block in scaled], dim=-1)


def second_moment(function: Activation) -> float:
    """1 / sqrt(E f(z)^2) over a standard normal z, by quadrature.

    Args:
        function: f, applied element by element.

    Raises:
        ConfigError: a function that vanishes everywhere, which no factor can scale.
    """
    nodes, weights = _hermite()
    values = function(nodes).square()
    moment = float((values * weights).sum())
    if not moment > 0 or not math.isfinite(moment):
        raise ConfigError(
            f"the activation {function} has the second moment {moment}; it must be "
            "positive and finite"
        )
    return 1 / math.sqrt(moment)


def _hermite() -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss and Hermite for the standard normal density, float64."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    made: Any = torch.from_numpy
    return made(nodes), made(weights / weights.sum())
