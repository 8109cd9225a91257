r"""Layers of "Hyperbolic Neural Networks" (Ganea, Bécigneul, Hofmann, arXiv:1805.09112).

    linear   h = f((W x) + b)
    RNN      h' = f((W h) + (U x) + b)
    GRU      r = sigmoid(log0((W_r h) + (U_r x) + b_r)), z in the same way,
             g = f((W diag(r) h) + (U x) + b),  h' = h + diag(z) (-h + g)
    MLR      (eq. 25), with the normal a_k transported from the origin to its point p_k

Products and sums are Möbius operations, associated from left to right, and f acts on log0. Points
(biases and p_k) are held as tangent vectors at the origin, or as geoopt's parameters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from zoo.errors import ConfigError
from zoo.layers.hyperbolic.poincare_space import BallPoints, FlatSpace, PoincareSpace, PointKind

Activation = Literal["identity", "tanh", "relu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "relu": torch.relu,
}


def _weight(out_channels: int, in_channels: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(out_channels, in_channels)))


class MobiusLinear(nn.Module):
    """f((W x) + b) on the ball.

    Args:
        in_channels: of the points.
        out_channels: of the new points.
        space: where they live.
        bias: adds a point.
        activation: f, applied to log0 of the sum.
        points: how the bias is held.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        bias: bool = True,
        activation: Activation = "identity",
        points: PointKind = "tangent",
    ) -> None:
        super().__init__()
        self.space = space
        self.activation = activation
        self.weight = _weight(out_channels, in_channels)
        self.bias = BallPoints(torch.zeros(out_channels), space, points) if bias else None

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """New points."""
        out = self.space.matvec(self.weight, x)
        if self.bias is not None:
            out = self.space.add(out, self.bias(self.space))
        return mobius_apply(self.activation, out, self.space)


def mobius_apply(activation: Activation, x: Tensor, space: PoincareSpace | FlatSpace) -> Tensor:
    """exp0(f(log0(x)))."""
    if activation == "identity":
        return x
    return space.exp0(ACTIVATIONS[activation](space.log0(x)))


class _Gate(nn.Module):
    """The parameters of (W h) + (U x) + b."""

    def __init__(
        self, in_channels: int, channels: int, space: PoincareSpace | FlatSpace, points: PointKind
    ) -> None:
        super().__init__()
        self.hidden = _weight(channels, channels)
        self.input = _weight(channels, in_channels)
        self.bias = BallPoints(torch.zeros(channels), space, points)


@dataclass(frozen=True)
class Reading:
    """What of a recurrent step does not depend on the state.

    Attributes:
        weight: W of the gates that read the state, one below the other.
        fed: U x of the same gates, (batch, steps, gates, channels).
        bias: their points (gates, channels).
        last: the same three of the gate that reads the state reset by another; None without one.
    """

    weight: Tensor
    fed: Tensor
    bias: Tensor
    last: tuple[Tensor, Tensor, Tensor] | None = None


def _reading(
    gates: Sequence[_Gate], x: Tensor, space: PoincareSpace | FlatSpace
) -> tuple[Tensor, Tensor, Tensor]:
    """The weights, fed points and biases of some gates."""
    weight = torch.cat([gate.hidden for gate in gates])
    logs = linear(space.log0(x), torch.cat([gate.input for gate in gates]))
    fed = space.exp0(logs.unflatten(-1, (len(gates), -1)))
    return weight, fed, torch.stack([gate.bias(space) for gate in gates])


def _summed(
    space: PoincareSpace | FlatSpace, logs: Tensor, weight: Tensor, fed: Tensor, bias: Tensor
) -> Tensor:
    """(W h) + (U x) + b of several gates, with `logs` = log0(h)."""
    image = space.exp0(linear(logs, weight).unflatten(-1, (len(bias), -1)))
    return space.add(space.add(image, fed), bias)


class MobiusRNN(nn.Module):
    """The plain recurrent network on the ball.

    Args:
        in_channels: of the points read.
        channels: of the state.
        space: where both live.
        activation: f.
        points: how biases are held.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        activation: Activation = "identity",
        points: PointKind = "tangent",
    ) -> None:
        super().__init__()
        self.channels, self.space, self.activation = channels, space, activation
        self.gate = _Gate(in_channels, channels, space, points)

    def read(self, x: Tensor) -> Reading:
        """What does not depend on the state, of all steps at once."""
        return Reading(*_reading([self.gate], x, self.space))

    def step(self, h: Tensor, reading: Reading, t: int) -> Tensor:
        """The state after step t."""
        logs, fed = self.space.log0(h), reading.fed[:, t]
        out = _summed(self.space, logs, reading.weight, fed, reading.bias)[:, 0]
        return mobius_apply(self.activation, out, self.space)

    def forward(
        self, x: Float[Tensor, "batch steps inputs"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels"]:
        """The last state of each sequence, which ends after `lengths` steps."""
        return _run(self, x, lengths)


class MobiusGRU(nn.Module):
    """The gated recurrent unit on the ball.

    Args:
        in_channels: of the points read.
        channels: of the state.
        space: where both live.
        activation: f.
        points: how biases are held.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        activation: Activation = "identity",
        points: PointKind = "tangent",
    ) -> None:
        super().__init__()
        self.channels, self.space, self.activation = channels, space, activation
        self.reset, self.update, self.candidate = (
            _Gate(in_channels, channels, space, points) for _ in range(3)
        )

    def read(self, x: Tensor) -> Reading:
        """What does not depend on the state, of all steps at once."""
        last = _reading([self.candidate], x, self.space)
        return Reading(*_reading([self.reset, self.update], x, self.space), last=last)

    def step(self, h: Tensor, reading: Reading, t: int) -> Tensor:
        """The state after step t."""
        assert reading.last is not None
        space, logs = self.space, self.space.log0(h)
        gates = _summed(space, logs, reading.weight, reading.fed[:, t], reading.bias)
        r, z = torch.sigmoid(space.log0(gates)).unbind(-2)
        weight, fed, bias = reading.last
        # W diag(r) acts on log0(h)
        g = _summed(space, r * logs, weight, fed[:, t], bias)[:, 0]
        g = mobius_apply(self.activation, g, space)
        return space.add(h, space.exp0(z * space.log0(space.add(-h, g))))

    def forward(
        self, x: Float[Tensor, "batch steps inputs"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels"]:
        """The last state of each sequence, which ends after `lengths` steps."""
        return _run(self, x, lengths)


def _run(cell: MobiusRNN | MobiusGRU, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Steps through the sequences from the origin; those that have ended keep their state."""
    reading = cell.read(x)
    h = x.new_zeros(x.shape[0], cell.channels)
    steps = x.shape[1] if lengths is None or not x.shape[0] else min(x.shape[1], int(lengths.max()))
    for t in range(steps):
        following = cell.step(h, reading, t)
        if lengths is None:
            h = following
        else:
            h = torch.where((lengths > t)[:, None], following, h)
    return h


class HyperplaneLogits(nn.Module):
    """HNN's multinomial logistic regression.

    Args:
        in_channels: of the points.
        out_channels: classes.
        space: where the points live.
        points: how the hyperplanes' points are held.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        points: PointKind = "tangent",
    ) -> None:
        super().__init__()
        if out_channels < 1:
            raise ConfigError(f"out_channels={out_channels}: at least one class is needed")
        self.space = space
        self.point = BallPoints(torch.zeros(out_channels, in_channels), space, points)
        self.normal = _weight(out_channels, in_channels)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Signed distances to the hyperplanes, scaled."""
        p = self.point(self.space)
        return self.space.hyperplane_logits(x, p, self.space.pull(p, self.normal))
