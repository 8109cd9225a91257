r"""Hyperbolic neural networks on pairs of sentences (Ganea, Bécigneul, Hofmann, NeurIPS 2018).

arXiv:1805.09112, section 4: words are points of the Poincaré ball, each sentence is read by a
Möbius RNN or GRU, and the two states s_1, s_2 go through a feed-forward layer, to which the
squared distance of the states is given as a feature, and a multinomial logistic regression:

    h = f((W_1 s_1) + (W_2 s_2) + b + d(s_1, s_2)^2 b_d),   logits = MLR(h)

with Möbius sums and products throughout.

Deviations from the authors' code: points are held as tangent vectors at the origin (any optimiser
trains them; `points="geoopt"` holds the points); constants are not added to vectors before norms
are taken, as all maps are smooth at zero here; points stop at a distance of `margin` from the
boundary, where theirs stop at 1e-5.
"""

from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.hyperbolic.hnn import (
    Activation,
    HyperplaneLogits,
    MobiusGRU,
    MobiusLinear,
    MobiusRNN,
    mobius_apply,
)
from zoo.layers.hyperbolic.poincare_space import (
    BallPoints,
    FlatSpace,
    Geometry,
    PoincareSpace,
    PointKind,
    make_space,
)
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

_ENCODERS = {"gru": MobiusGRU, "rnn": MobiusRNN}
#: the embeddings of words start uniform in a cube of this expected scale (authors' code)
_WORD_SCALE = 0.001


class WordPoints(nn.Module):
    """A point for each word.

    Args:
        num_tokens: words, number 0 (padding) included.
        channels: of the points.
        space: where they live.
        points: how they are held.
    """

    def __init__(
        self, num_tokens: int, channels: int, space: PoincareSpace | FlatSpace, points: PointKind
    ) -> None:
        super().__init__()
        self.space = space
        side = (3 * _WORD_SCALE**2 / (2 * channels)) ** (1 / 3)
        self.table = BallPoints(
            torch.empty(num_tokens, channels).uniform_(-side, side), space, points
        )

    def forward(self, x: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch channels"]:
        """Points of the words."""
        table: Tensor = self.table(self.space)
        return table[x]


class SentencePair(nn.Module):
    """f((W_1 s_1) + (W_2 s_2) + b + d(s_1, s_2)^2 b_d).

    Args:
        channels: of the states.
        hidden_channels: of the result.
        space: where all live.
        activation: f.
        distance: gives the squared distance as a feature.
        points: how b and b_d are held.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        space: PoincareSpace | FlatSpace,
        *,
        activation: Activation,
        distance: bool,
        points: PointKind,
    ) -> None:
        super().__init__()
        self.space, self.activation = space, activation
        self.first, self.second = (
            MobiusLinear(channels, hidden_channels, space, bias=False) for _ in range(2)
        )
        self.bias = BallPoints(torch.zeros(hidden_channels), space, points)
        self.along = BallPoints(torch.zeros(hidden_channels), space, points) if distance else None

    def forward(
        self, first: Float[Tensor, "batch channels"], second: Float[Tensor, "batch channels"]
    ) -> Float[Tensor, "batch hidden"]:
        """Points of pairs."""
        space = self.space
        out = space.add(self.first(first), self.second(second))
        out = space.add(out, self.bias(space))
        if self.along is not None:
            apart = space.square_dist(first, second)[:, None]
            out = space.add(out, space.exp0(apart * self.along.tangent(space)))
        return mobius_apply(self.activation, out, space)


@register("hnn")
class HNN(SampleModel):
    """Classifies pairs of sentences.

    A sample is `x` (2, steps), numbers of words, and `lengths` (2,) where sentences end before the
    last step.

    Args:
        num_tokens: words, number 0 included, which pads.
        embedding_channels: dimension of the words' points.
        hidden_channels: dimension of the states and of the feed-forward layer.
        out_channels: classes.
        encoder: "gru" or "rnn".
        activation: of the recurrent network and the feed-forward layer, on tangent vectors at the
            origin.
        distance: gives the squared distance of the states to the feed-forward layer.
        geometry: "poincare", or "euclidean" for the flat counterpart with the same parameters.
        c: the curvature of the ball is -c.
        margin: how close to the boundary points may come, in units of the ball's radius, in every
            precision: weights then mean the same in float32 and float64. geoopt's for float32.
        points: "tangent" or "geoopt": how words and biases are held.
    """

    domain = "sequence"

    def __init__(
        self,
        *,
        num_tokens: int = 101,
        embedding_channels: int = 5,
        hidden_channels: int = 5,
        out_channels: int = 2,
        encoder: Literal["gru", "rnn"] = "gru",
        activation: Activation = "identity",
        distance: bool = True,
        geometry: Geometry = "poincare",
        c: float = 1.0,
        margin: float = 4e-3,
        points: PointKind = "tangent",
    ) -> None:
        super().__init__(sample_shape=(2, None), tokens=num_tokens)
        _check_sizes(num_tokens, embedding_channels, hidden_channels)
        self.hidden_channels, self.points = hidden_channels, points
        self.space = make_space(geometry, c, margin=margin)
        self.words = WordPoints(num_tokens, embedding_channels, self.space, points)
        self.encoder = _ENCODERS[encoder](
            embedding_channels, hidden_channels, self.space, activation=activation, points=points
        )
        self.pair = SentencePair(
            hidden_channels,
            hidden_channels,
            self.space,
            activation=activation,
            distance=distance,
            points=points,
        )
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh regression for this many classes."""
        return HyperplaneLogits(self.hidden_channels, out_channels, self.space, points=self.points)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        return [self.words, self.encoder, self.pair, self.head]

    def check(self, batch: SampleBatch) -> None:
        """Refuses lengths below zero or beyond the steps, or not one or two per sample."""
        inputs = cast(dict[str, Tensor], batch)
        samples, _, steps = inputs["x"].shape
        lengths = inputs.get("lengths")
        if lengths is None:
            return
        if lengths.shape not in ((samples,), (samples, 2)):
            raise UnsupportedInputError(
                f"{self._title()}: lengths have the shape {tuple(lengths.shape)}; expected "
                f"({samples}, 2), or ({samples},) for both sentences alike"
            )
        if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps:
            raise UnsupportedInputError(
                f"{self._title()}: lengths lie in {int(lengths.min())}..{int(lengths.max())}, but "
                f"x has {steps} steps; count steps up to the last one that is read, 0..{steps}"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of a batch of pairs.

        Args:
            batch: `x` (samples, 2, steps); `lengths` (samples, 2), or (samples,) for both
                sentences, or left out where every step counts.
        """
        inputs = cast(dict[str, Tensor], batch)
        x, lengths = inputs["x"], inputs.get("lengths")
        if lengths is not None:
            lengths = (lengths[:, None] if lengths.ndim == 1 else lengths).expand(x.shape[0], 2)
            lengths = lengths.flatten()
        # both sentences of all pairs in one run of the encoder
        states = self.encoder(self.words(x.flatten(0, 1)), lengths).unflatten(0, (x.shape[0], 2))
        return {"logits": self.head(self.pair(states[:, 0], states[:, 1]))}


def _check_sizes(num_tokens: int, embedding_channels: int, hidden_channels: int) -> None:
    sizes = (num_tokens, embedding_channels, hidden_channels)
    if min(sizes) < 1:
        raise ConfigError(
            f"num_tokens, embedding_channels, hidden_channels are {sizes}; all must be at least 1"
        )
