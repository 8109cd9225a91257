r"""A classifier of vectors from the layers of "Hyperbolic Neural Networks++".

Shimizu, Mukuta, Harada, ICLR 2021, arXiv:2006.08210: linear layers whose outputs are distances to
hyperplanes (eq. 7) and the unidirectional multinomial logistic regression (eq. 6). All parameters
are Euclidean, so any optimiser trains them.

Deviations: the paper builds a convolutional translation model and set models from its layers, this
is the plain stack of them. Features enter as tangent vectors at the origin, divided by the square
root of their number, so that standardised features start at a distance of about two from the
origin whatever their number. The convolutions, beta-concatenation, gates and attention of the paper
are in `zoo.layers.hyperbolic`.
"""

from typing import Literal, cast

from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.hyperbolic.hnn import Activation, mobius_apply
from zoo.layers.hyperbolic.poincare_linear import PoincareLinear, PoincareLogits
from zoo.layers.hyperbolic.poincare_space import (
    FlatSpace,
    Geometry,
    PoincareSpace,
    borrow,
    make_space,
)
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register


class _Block(nn.Module):
    """A linear layer and what follows it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        space: PoincareSpace | FlatSpace,
        activation: Activation,
    ) -> None:
        super().__init__()
        self.linear = PoincareLinear(in_channels, out_channels, space)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return mobius_apply(self.activation, self.linear(x), self.linear.space)


@register("hnnpp")
class HNNPP(SampleModel):
    """Classifies vectors.

    Args:
        in_channels: features of a vector.
        hidden_channels: dimension of the points between layers.
        out_channels: classes.
        num_layers: linear layers before the logistic regression.
        activation: after each of them, on tangent vectors at the origin; the layers are not linear
            as they are, so none is needed.
        inputs: "features" are tangent vectors at the origin; "points" lie in the ball already.
        domain: "vector", or "image" for images whose values, all in a row, are the features.
        project: moves points outside of the ball into it, instead of refusing them.
        geometry: "poincare", or "euclidean" for the flat counterpart with the same parameters.
        c: the curvature of the ball is -c at first.
        margin: how close to the boundary points may come, in units of the ball's radius, in every
            precision: weights then mean the same in float32 and float64. geoopt's for float32.
        trainable_curvature: learns c.
    """

    domain = "vector"
    accepts = ("image",)

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int,
        out_channels: int,
        hidden_channels: int = 64,
        num_layers: int = 2,
        activation: Activation = "identity",
        inputs: Literal["features", "points"] = "features",
        domain: Literal["vector", "image"] = "vector",
        project: bool = False,
        geometry: Geometry = "poincare",
        c: float = 1.0,
        margin: float = 4e-3,
        trainable_curvature: bool = False,
    ) -> None:
        shape = (in_channels,) if domain == "vector" else (None, None, None)
        super().__init__(domain=domain, sample_shape=shape)
        self.in_channels = in_channels
        if num_layers < 0 or min(in_channels, hidden_channels) < 1:
            raise ConfigError(
                f"in_channels={in_channels}, hidden_channels={hidden_channels}, "
                f"num_layers={num_layers}: channels must be at least 1 and layers at least 0"
            )
        self.space = make_space(geometry, c, trainable=trainable_curvature, margin=margin)
        self.inputs, self.project = inputs, project
        sizes = [in_channels, *[hidden_channels] * num_layers]
        self.layers = nn.ModuleList(
            _Block(a, b, self.space, activation) for a, b in zip(sizes, sizes[1:], strict=False)
        )
        self.out_of = sizes[-1]
        self.head = self.make_head(out_channels)
        for block in self.layers:
            borrow(cast(_Block, block).linear)

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh regression for this many classes."""
        head = PoincareLogits(self.out_of, out_channels, self.space)
        borrow(head)
        return head

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        return [*self.layers, self.head]

    def check(self, batch: SampleBatch) -> None:
        """Refuses images of another size."""
        found = cast(dict[str, Tensor], batch)["x"][0].numel()
        if found != self.in_channels:
            raise UnsupportedInputError(
                f"HNNPP takes samples of {self.in_channels} values (in_channels), not {found}"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of a batch of vectors.

        Args:
            batch: `x` (samples, in_channels), or (samples, channels, rows, columns).

        Raises:
            ManifoldError: points outside of the ball, unless `project`.
        """
        x = cast(dict[str, Tensor], batch)["x"].flatten(1)
        if self.inputs == "points":
            x = self.space.check(x, where="HNNPP", project=self.project)
        else:
            x = self.space.exp0(x * x.shape[-1] ** -0.5)
        for layer in self.layers:
            x = layer(x)
        return {"logits": self.head(x)}
