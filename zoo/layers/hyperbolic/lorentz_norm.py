r"""Batch norm of the Lorentz model.

Bdeir, Schwethelm, Landwehr, arXiv:2303.15919, section 4.2: points are moved from their mean mu to
the origin, v = PT_{mu -> 0} log_mu(x), scaled there, and moved to beta,

    out = exp_beta(PT_{0 -> beta}(gamma v / (s + eps))).

beta is kept as a tangent vector at the origin, so that any optimiser trains it (the authors train a
point by a Riemannian one). The authors' choices, which are the defaults:

- mu is the Lorentz centroid over the pixels of each image, and then that of the images. It is not
  the centroid of all pixels (`mean="centroid"`), and neither is the Fréchet mean
  (`mean="frechet"`), of which alone it is true that the outputs' mean is beta.
- s is the mean distance |v| (`dispersion="distance"`), which they call variance;
  `dispersion="variance"` divides by the root of the mean of |v|^2.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import lorentz
from zoo.functional.squares import safe_norm

Mean = Literal["two_stage", "centroid", "frechet"]
Dispersion = Literal["distance", "variance"]


class LorentzBatchNorm(nn.Module):
    """Batch norm of points, or of images of points.

    Args:
        features: dimension of the space.
        c: absolute curvature.
        mean: "two_stage" (the authors'), "centroid" or "frechet".
        dispersion: "distance" (the authors') or "variance".
        momentum: share of the batch in a new running statistic.
        eps: added to the dispersion.
        steps: of the Fréchet mean's iteration, at most.

    Raises:
        ConfigError: an unknown mean or dispersion.

    Attributes:
        running_mean: log0 of the running mean, a buffer.
        running_dispersion: a buffer.
    """

    def __init__(
        self,
        features: int,
        *,
        c: float = 1.0,
        mean: Mean = "two_stage",
        dispersion: Dispersion = "distance",
        momentum: float = 0.1,
        eps: float = 1e-5,
        steps: int = 64,
    ) -> None:
        super().__init__()
        if mean not in ("two_stage", "centroid", "frechet"):
            raise ConfigError(f"mean={mean!r}: one of 'two_stage', 'centroid', 'frechet'")
        if dispersion not in ("distance", "variance"):
            raise ConfigError(f"dispersion={dispersion!r}: 'distance' or 'variance'")
        self.c, self.mean, self.dispersion = c, mean, dispersion
        self.momentum, self.eps, self.steps = momentum, eps, steps
        self.beta = nn.Parameter(torch.zeros(features))
        self.gamma = nn.Parameter(torch.ones(()))
        self.running_mean: Tensor
        self.running_dispersion: Tensor
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_dispersion", torch.ones(()))

    def forward(self, x: Float[Tensor, "batch features *pixels"]) -> Tensor:
        """Space coordinates, of the shape of x.

        Args:
            x: space coordinates; the second axis are the features.
        """
        points = lorentz.lift(x.flatten(2).permute(2, 0, 1) if x.ndim > 2 else x[None], c=self.c)
        if self.training:
            centre = self._centre(points)
            moved = lorentz.frame(centre, lorentz.log(centre, points, c=self.c), c=self.c)
            spread = self._spread(moved)
            self._remember(centre.detach(), spread.detach())
        else:
            centre, spread = lorentz.exp0(self.running_mean, c=self.c), self.running_dispersion
            moved = lorentz.frame(centre, lorentz.log(centre, points, c=self.c), c=self.c)
        beta = lorentz.exp0(self.beta, c=self.c)
        step = lorentz.unframe(beta, self.gamma / (spread + self.eps) * moved, c=self.c)
        out = lorentz.exp(beta, step, c=self.c)[..., 1:]  # (pixels, batch, features)
        return out.permute(1, 2, 0).reshape(x.shape)

    def _centre(self, points: Tensor) -> Tensor:
        if self.mean == "two_stage":
            return lorentz.centroid(lorentz.centroid(points, c=self.c), c=self.c)
        flat = points.flatten(0, 1)
        if self.mean == "centroid":
            return lorentz.centroid(flat, c=self.c)
        return lorentz.mean(flat, steps=self.steps, c=self.c)

    def _spread(self, moved: Tensor) -> Tensor:
        if self.dispersion == "distance":
            return safe_norm(moved).mean()
        return torch.sqrt(moved.square().sum(-1).mean() + torch.finfo(moved.dtype).tiny)

    @torch.no_grad()
    def _remember(self, centre: Tensor, spread: Tensor) -> None:
        """The centroid of old and new mean, as the authors take it, and the mean of spreads."""
        m = self.momentum
        pair = torch.stack([lorentz.exp0(self.running_mean, c=self.c), centre])
        mixed = lorentz.centroid(pair, pair.new_tensor([1 - m, m]), c=self.c)
        self.running_mean.copy_(lorentz.log0(mixed, c=self.c))
        self.running_dispersion.mul_(1 - m).add_(m * spread)
