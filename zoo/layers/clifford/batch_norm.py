r"""Batch and group normalisation of multivectors: the components of each channel are whitened.

Brandstetter, van den Berg, Welling, Gupta, *Clifford neural layers for PDE modeling*, ICLR 2023
(arXiv:2209.04934), after Trabelsi et al., Deep complex networks: with mean m and covariance
C = L L^T of the blades' components over batch and grid, y = W L^-1 (x - m) + b.

Deviations. The authors' package (0.1.1) adds eps I to C, which is lost beside large features:
Cholesky then fails in float32. Here eps (1 + largest variance) I is added. Their code also solves
with L^T where L belongs, so that its results have a covariance other than I, and means groups of C
/ num_groups channels by `num_groups`. `whitening="authors"` does the first two as they do.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.clifford import Algebra
from zoo.layers.clifford._matrix import check_multivectors
from zoo.layers.clifford.linear import check_channels

Whitening = Literal["robust", "authors"]
Field = Float[Tensor, "batch channels *grid blades"]


class _Affine(nn.Module):
    """Shared: arguments, and the matrix and multivector after whitening."""

    def __init__(
        self, algebra: Algebra, channels: int, eps: float, affine: bool, whitening: Whitening
    ) -> None:
        super().__init__()
        check_channels(type(self).__name__, channels)
        if not eps > 0:
            raise ConfigError(f"{type(self).__name__}: eps is {eps}; it must be positive")
        if whitening not in ("robust", "authors"):
            raise ConfigError(
                f"{type(self).__name__}: whitening is {whitening!r}; one of 'robust', 'authors'"
            )
        self.algebra, self.channels, self.eps = algebra, channels, eps
        self.whitening: Whitening = whitening
        size = algebra.blades
        self.weight, self.bias = None, None
        if affine:
            self.weight = nn.Parameter(torch.eye(size)[:, :, None].repeat(1, 1, channels))
            self.bias = nn.Parameter(torch.zeros(size, channels))

    def _transformed(self, x: Field) -> Field:
        if self.weight is None or self.bias is None:
            return x
        last = x.movedim(1, -2)  # (batch, *grid, channels, blades)
        out = torch.einsum("jkc,...ck->...cj", self.weight, last) + self.bias.T
        return out.movedim(-2, 1)


class CliffordBatchNorm(_Affine):
    """Whitens each channel over batch and grid; running statistics serve in evaluation.

    Args:
        algebra: of the multivectors.
        channels: of the input.
        eps: added to variances, times one plus the largest of them.
        momentum: weight of a new batch in the running statistics.
        affine: learns a matrix and a multivector per channel.
        whitening: "robust" or "authors"; see the module.
    """

    running_mean: Tensor
    running_cov: Tensor

    def __init__(
        self,
        algebra: Algebra,
        channels: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        whitening: Whitening = "robust",
    ) -> None:
        super().__init__(algebra, channels, eps, affine, whitening)
        self.momentum = momentum
        size = algebra.blades
        self.register_buffer("running_mean", torch.zeros(size, channels))
        self.register_buffer("running_cov", torch.eye(size)[:, :, None].repeat(1, 1, channels))

    def forward(self, x: Field) -> Field:
        """Multivectors of mean zero and covariance I, transformed.

        Raises:
            UnsupportedInputError: for other channels or blades, or a single multivector in
                training, which has no covariance.
        """
        title = type(self).__name__
        check_multivectors(title, x, self.channels, self.algebra.blades, dims=-1)
        rows = x.movedim(1, 0).flatten(1, -2)  # (channels, places, blades)
        if self.training:
            if rows.shape[1] < 2:
                raise UnsupportedInputError(
                    f"{title}: one multivector per channel has no covariance; train on more "
                    "samples at once, or call .eval()"
                )
            mean, cov = moments(rows)
            with torch.no_grad():
                self.running_mean.lerp_(mean.T, self.momentum)
                self.running_cov.lerp_(cov.permute(1, 2, 0), self.momentum)
        else:
            mean, cov = self.running_mean.T, self.running_cov.permute(2, 0, 1)
        white = whiten(rows, mean, cov, eps=self.eps, whitening=self.whitening)
        shape = (x.shape[1], x.shape[0], *x.shape[2:])
        return self._transformed(white.reshape(shape).movedim(0, 1))


class CliffordGroupNorm(_Affine):
    """Whitens each sample over the grid and the channels of a group; no running statistics.

    Args:
        algebra: of the multivectors.
        channels: of the input.
        groups: of channels; 1 is layer norm, as many as channels instance norm.
        eps: added to variances, times one plus the largest of them.
        affine: learns a matrix and a multivector per channel.
        whitening: "robust" or "authors"; see the module.
    """

    def __init__(
        self,
        algebra: Algebra,
        channels: int,
        *,
        groups: int = 1,
        eps: float = 1e-5,
        affine: bool = True,
        whitening: Whitening = "robust",
    ) -> None:
        super().__init__(algebra, channels, eps, affine, whitening)
        check_groups(type(self).__name__, channels, groups)
        self.groups = groups

    def forward(self, x: Field) -> Field:
        """Multivectors of mean zero and covariance I over each group, transformed."""
        check_multivectors(type(self).__name__, x, self.channels, self.algebra.blades, dims=-1)
        rows = x.unflatten(1, (self.groups, -1)).flatten(0, 1).flatten(1, -2)
        white = whiten(rows, *moments(rows), eps=self.eps, whitening=self.whitening)
        return self._transformed(white.reshape(x.shape))


def moments(
    rows: Float[Tensor, "sets places blades"],
) -> tuple[Float[Tensor, "sets blades"], Float[Tensor, "sets blades blades"]]:
    """Mean and covariance (over all places, not one less)."""
    mean = rows.mean(1)
    centred = rows - mean[:, None]
    return mean, centred.mT @ centred / rows.shape[1]


def whiten(
    rows: Float[Tensor, "sets places blades"],
    mean: Float[Tensor, "sets blades"],
    cov: Float[Tensor, "sets blades blades"],
    *,
    eps: float,
    whitening: Whitening = "robust",
) -> Float[Tensor, "sets places blades"]:
    """L^-1 (x - m) with L L^T the covariance and a ridge.

    Args:
        rows: multivectors.
        mean: of each set.
        cov: of each set.
        eps: of the ridge.
        whitening: see the module.
    """
    eye = torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device)
    scale = cov.new_ones(len(cov))
    if whitening == "robust":
        # variances are never negative; the largest bounds every entry
        scale = 1 + cov.diagonal(dim1=-2, dim2=-1).amax(-1)
    factor = torch.linalg.cholesky(cov + (eps * scale)[:, None, None] * eye)
    columns = (rows - mean[:, None]).mT
    left, upper = (factor.mT, True) if whitening == "authors" else (factor, False)
    white: Tensor = torch.linalg.solve_triangular(left, columns, upper=upper)
    return white.mT


def check_groups(where: str, channels: int, groups: int) -> None:
    """Refuses groups that don't divide the channels.

    Raises:
        ConfigError: names both numbers.
    """
    if groups < 1 or channels % groups:
        raise ConfigError(
            f"{where}: {channels} channels don't divide into {groups} groups; take a divisor of "
            f"{channels}"
        )
