r"""GyroBN: batch norm of subspaces by gyrovector operations.

Chen et al., Gyrogroup Batch Normalization, ICLR 2025, Algorithm 1:

    out = B (+) (s / sqrt(v^2 + eps) (x) ((-) M (+) X)),

with M and v^2 the Fréchet mean and variance of the batch, B a learnable point and s a learnable
scale. With the exponential map (`method="exp"`, the default) centring and bias are isometries: what
leaves has the Fréchet mean B and the variance s^2 v^2 / (v^2 + eps), as long as no principal angle
of the scaled points passes pi / 2, where scaling leaves the domain of the logarithm.

`method="cayley"` approximates exp to third order. `legacy=True` reproduces the authors' code, whose
Cayley map has the wrong sign and factor (centring doesn't centre), whose mean is one Karcher step
from the first sample, and whose running variance is the average over all updates. Deviation of the
default from it, besides the map: the mean starts at the leading subspace of the mean projector,
running variances are averaged with the same momentum as the mean, and all statistics are buffers.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import grassmann
from zoo.functional.grassmann import Method
from zoo.layers.grassmann.gyro import check_method, check_sizes, origin_like
from zoo.layers.grassmann.parameter import HoldsBases


class GyroBatchNorm(HoldsBases):
    """Batch norm of bases (batch, channels, n, p), statistics per channel over the batch.

    Args:
        size: n.
        rank: p.
        channels: bases per sample.
        method: "exp", "cayley" or "legacy"; see the head of this module.
        mean_steps: of Karcher's iteration in training.
        momentum: weight of a batch in the running statistics; the first batch sets them.
        eps: added to the variance.
        legacy: reproduce the authors' code: `method`, `mean_steps` and the start of the mean are
            theirs.

    Attributes:
        bias: (channels, n - p, p), coordinates of B; zero (the origin) at first.
        scale: (channels,), s; one at first.
        running_mean, running_var, num_batches_tracked: buffers.

    Raises:
        ConfigError: for arguments that don't fit.
    """

    bases = ("running_mean",)
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        size: int,
        rank: int,
        *,
        channels: int = 1,
        method: Method = "exp",
        mean_steps: int = 1,
        momentum: float = 0.1,
        eps: float = 1e-5,
        legacy: bool = False,
    ) -> None:
        super().__init__()
        check_method(method)
        check_sizes("GyroBatchNorm", size, rank)
        if channels < 1 or mean_steps < 0 or not 0 <= momentum <= 1 or eps <= 0:
            raise ConfigError(
                "GyroBatchNorm needs channels >= 1, mean_steps >= 0, 0 <= momentum <= 1 and "
                f"eps > 0, not {channels}, {mean_steps}, {momentum} and {eps}"
            )
        self.method: Method = "legacy" if legacy else method
        self.mean_steps = 1 if legacy else mean_steps
        self.momentum, self.eps, self.legacy = momentum, eps, legacy
        self.bias = nn.Parameter(torch.zeros(channels, size - rank, rank))
        self.scale = nn.Parameter(torch.ones(channels))
        self.register_buffer("running_mean", grassmann.origin((channels, size, rank)))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(
        self, x: Float[Tensor, "batch channels n p"]
    ) -> Float[Tensor, "batch channels n p"]:
        """The normalised subspaces; in training mode the running statistics move."""
        mean = self._mean(x) if self.training else self.running_mean
        centred = self._centre(mean, x)
        base = origin_like(x)
        log = grassmann.log(base.expand_as(centred), centred)
        var = self._var(mean, x, log) if self.training else self.running_var
        if self.training:
            self._update(mean.detach(), var.detach())
        factor = (self.scale / torch.sqrt(var + self.eps))[:, None, None]
        scaled = grassmann.turn(base, factor * log, base, method=self.method)
        v = grassmann.from_coordinates(self.bias)
        return grassmann.turn(base, v, scaled, method=self.method)

    def _mean(self, x: Tensor) -> Tensor:
        start = x[0] if self.legacy else None
        return grassmann.mean(x, steps=self.mean_steps, start=start)

    def _centre(self, mean: Tensor, x: Tensor) -> Tensor:
        """(-) M (+) X."""
        if self.method == "exp":  # w of (-) M is minus that of M
            base = origin_like(mean)
            return grassmann.rotate(base, -grassmann.log(base.expand_as(mean), mean), x)
        back = grassmann.gyro_inverse(mean, method=self.method)
        return grassmann.gyro_add(back, x, method=self.method)

    def _var(self, mean: Tensor, x: Tensor, log: Tensor) -> Tensor:
        """Fréchet variance per channel."""
        if self.method != "exp":  # centring isn't an isometry that takes M to the origin
            log = grassmann.log(mean.expand_as(x), x)
        return log.square().sum((-2, -1)).mean(0)

    @torch.no_grad()
    def _update(self, mean: Tensor, var: Tensor) -> None:
        self.num_batches_tracked += 1
        count = int(self.num_batches_tracked)
        share = 1.0 if count == 1 else self.momentum
        self.running_mean.copy_(
            mean if count == 1 else grassmann.geodesic(self.running_mean, mean, share)
        )
        self.running_var.lerp_(var, 1 / count if self.legacy else share)

    def extra_repr(self) -> str:
        """Sizes and options."""
        channels, size, rank = self.running_mean.shape
        return (
            f"size={size}, rank={rank}, channels={channels}, method={self.method!r}, "
            f"mean_steps={self.mean_steps}, momentum={self.momentum}, eps={self.eps}"
        )
