r"""Hyperbolic support vector machine, in the Euclidean parametrisation.

Cho, DeMeo, Peng, Berger, "Large-margin classification in hyperbolic space", AISTATS 2019,
arXiv:1806.00437, one against the rest; the parametrisation is that of Mishne, Wan, Wang, Yang,
"The numerical stability of hyperbolic representation learning", ICML 2023, arXiv:2211.00181. With
curvature -1 and <x, y>_L = -x_0 y_0 + x_s . y_s,

    minimise  lambda/2 <w, w>_L + mean_i max(0, asinh(1) - asinh(y_i <w, x_i>_L)),

over spacelike w. Every w = (sinh(a) |z|, cosh(a) z) is one, <w, w>_L = |z|^2, and a, z are free: no
constraint is left, and any optimiser trains it. The papers write C sum_i instead of the mean:
lambda = 1 / (C N). For other curvatures points are scaled to the unit hyperboloid.

`geometry="euclidean"` is the linear support vector machine with hinge loss, z x + a, of as many
parameters.
"""

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import lorentz, poincare
from zoo.functional.squares import safe_norm
from zoo.layers.hyperbolic.lorentz_linear import hyperplane_products
from zoo.models._inputs import SampleBatch, check_labels
from zoo.models._sample import SampleModel
from zoo.registry import register

Coordinates = Literal["tangent", "poincare", "lorentz"]
Geometry = Literal["lorentz", "euclidean"]


class SVMHead(nn.Module):
    """<w_k, x>_L for each class, or z_k x + a_k.

    Args:
        features: dimension of the space.
        classes: how many.
        flat: Euclidean space.
    """

    def __init__(self, features: int, classes: int, *, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        bound = 1.0 / math.sqrt(features)
        self.normal = nn.Parameter(torch.empty(classes, features).uniform_(-bound, bound))
        self.offset = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        """Products (batch, classes) with points (batch, features + 1), or vectors if flat."""
        if self.flat:
            return nn.functional.linear(x, self.normal, self.offset)
        side = hyperplane_products(x, self.normal, self.offset)
        return side * safe_norm(self.normal)


@register("hyperbolic_svm")
class HyperbolicSVM(SampleModel):
    """Classifies points of hyperbolic space.

    Args:
        in_channels: dimension of the space.
        out_channels: classes, each against the rest.
        penalty: lambda.
        coordinates: of the points: "tangent" vectors at the origin (any vectors), points of the
            "poincare" ball, or of the hyperboloid ("lorentz", one number more, time first).
        c: absolute curvature of the space that the points are in.
        geometry: "lorentz", or "euclidean" for the linear machine.
        project: whether points off the hyperboloid or outside the ball are moved into the space
            instead of refused.
        domain: "vector", or "image" for images whose values, all in a row, are the numbers.

    Raises:
        ConfigError: a penalty below zero; Euclidean geometry of anything but vectors.
    """

    domain = "vector"
    accepts = ("image",)

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        penalty: float = 1e-3,
        coordinates: Coordinates = "tangent",
        c: float = 1.0,
        geometry: Geometry = "lorentz",
        project: bool = False,
        domain: Literal["vector", "image"] = "vector",
    ) -> None:
        self.numbers = in_channels + (coordinates == "lorentz")
        shape = (self.numbers,) if domain == "vector" else (None, None, None)
        super().__init__(domain=domain, sample_shape=shape)
        flat = geometry == "euclidean"
        if penalty < 0 or not c > 0 or (flat and coordinates != "tangent"):
            raise ConfigError(
                f"penalty={penalty}, c={c}, geometry={geometry!r}, coordinates={coordinates!r}: "
                "the penalty is not negative, c is positive, Euclidean geometry takes "
                "coordinates='tangent'"
            )
        self.in_channels, self.penalty, self.coordinates = in_channels, penalty, coordinates
        self.c, self.flat, self.project = c, flat, project
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """The hyperplanes."""
        return SVMHead(self.in_channels, out_channels, flat=self.flat)

    def check(self, batch: SampleBatch) -> None:
        """Refuses points off the hyperboloid, and images of another size."""
        x = cast(dict[str, Tensor], batch)["x"].flatten(1)
        if x.shape[1] != self.numbers:
            raise UnsupportedInputError(
                f"the images have {x.shape[1]} values; {self._title()} takes {self.numbers}"
            )
        if self.coordinates == "lorentz" and not self.project:
            lorentz.check(x, where="HyperbolicSVM: x", c=self.c)

    def points(self, x: Tensor) -> Tensor:
        """The points on the unit hyperboloid; vectors as they are if flat.

        Raises:
            ManifoldError: a point outside the ball.
        """
        if self.flat:
            return x
        root = math.sqrt(self.c)
        if self.coordinates == "tangent":
            return lorentz.exp0(root * x)
        if self.coordinates == "poincare":
            inside = poincare.project(x, c=self.c) if self.project else x
            return root * lorentz.from_poincare(inside, c=self.c)
        return lorentz.lift(root * x[..., 1:])

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of each sample.

        Args:
            batch: `x` (batch, numbers of a point).

        Returns:
            `logits` (batch, classes): asinh(<w, x>_L), or z x + a.
        """
        side = self.head(self.points(cast(dict[str, Tensor], batch)["x"].flatten(1)))
        return {"logits": side if self.flat else torch.asinh(side)}

    def objective(self, outputs: dict[str, Tensor], batch: SampleBatch) -> Tensor:
        """The mean over the batch of the loss above, summed over classes.

        Args:
            outputs: of `forward`.
            batch: with `y` (batch,), numbers of classes.

        Raises:
            UnsupportedInputError: labels beyond the classes.
        """
        logits = outputs["logits"]
        sign = -torch.ones_like(logits)
        target = check_labels(cast(dict[str, Tensor], batch)["y"], logits.shape[1], self._title())
        sign = sign.scatter(1, target[:, None], 1.0)
        margin = 1.0 if self.flat else math.asinh(1.0)
        hinge = (margin - sign * logits).clamp(min=0.0).mean(0).sum()
        return hinge + 0.5 * self.penalty * cast(SVMHead, self.head).normal.square().sum()

    def measures(
        self, outputs: dict[str, Tensor], batch: SampleBatch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of what tells how good the model is.

        Args:
            outputs: of `forward`.
            batch: with `y`.

        Returns:
            `accuracy`.
        """
        target = cast(dict[str, Tensor], batch)["y"].long()
        right = outputs["logits"].argmax(1) == target
        return {"accuracy": (right.sum(), torch.ones_like(target).sum())}
