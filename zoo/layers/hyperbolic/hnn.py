r"""Layers of "Hyperbolic Neural Networks" (Ganea, Bécigneul, Hofmann, arXiv:1805.09112).

    linear   h = f((W x) + b)
    RNN      h' = f((W h) + (U x) + b)
    GRU      r = sigmoid(log0((W_r h) + (U_r x) + b_r)), z in the same way,
             g = f((W diag(r) h) + (U x) + b),  h' = h + diag(z) (-h + g)
    MLR      (eq. 25), with the normal a_k transported from the origin to its point p_k

Products and sums are Möbius operations, associated from left to right, and f acts on log0. Points
(biases and p_k) are held as tangent vectors at the origin, or as geoopt's parameters.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

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
    """(W h) + (U x) + b."""

    def __init__(
        self, in_channels: int, channels: int, space: PoincareSpace | FlatSpace, points: PointKind
    ) -> None:
        super().__init__()
        self.hidden = _weight(channels, channels)
        self.input = _weight(channels, in_channels)
        self.bias = BallPoints(torch.zeros(channels), space, points)

    def forward(
        self, space: PoincareSpace | FlatSpace, h: Tensor, fed: Tensor, hidden: Tensor | None = None
    ) -> Tensor:
        """With U x given as `fed`, and W as `hidden` if it differs from the gate's own."""
        weight = self.hidden if hidden is None else hidden
        return space.add(space.add(space.matvec(weight, h), fed), self.bias(space))


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

    def feed(self, x: Tensor) -> list[Tensor]:
        """U x of all steps at once."""
        return [self.space.matvec(self.gate.input, x)]

    def step(self, h: Tensor, fed: list[Tensor]) -> Tensor:
        """The next state."""
        return mobius_apply(self.activation, self.gate(self.space, h, fed[0]), self.space)

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

    def feed(self, x: Tensor) -> list[Tensor]:
        """U x of all steps at once, for each gate."""
        gates = (self.reset, self.update, self.candidate)
        return [self.space.matvec(gate.input, x) for gate in gates]

    def step(self, h: Tensor, fed: list[Tensor]) -> Tensor:
        """The next state."""
        space = self.space
        r, z = (
            torch.sigmoid(space.log0(gate(space, h, term)))
            for gate, term in zip((self.reset, self.update), fed[:2], strict=True)
        )
        # W diag(r) acts on log0(h), so diag(r) is a Möbius product of its own
        kept = space.exp0(r * space.log0(h))
        g = mobius_apply(self.activation, self.candidate(space, kept, fed[2]), space)
        return space.add(h, space.exp0(z * space.log0(space.add(-h, g))))

    def forward(
        self, x: Float[Tensor, "batch steps inputs"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels"]:
        """The last state of each sequence, which ends after `lengths` steps."""
        return _run(self, x, lengths)


def _run(cell: MobiusRNN | MobiusGRU, x: Tensor, lengths: Tensor | None) -> Tensor:
    """Steps through the sequences from the origin; those that have ended keep their state."""
    fed = cell.feed(x)
    h = x.new_zeros(len(x), cell.channels)
    steps = x.shape[1] if lengths is None or not len(x) else min(x.shape[1], int(lengths.max()))
    for t in range(steps):
        following = cell.step(h, [term[:, t] for term in fed])
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
