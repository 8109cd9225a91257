r"""The layers of GrNet: full-rank maps, re-orthonormalisation, projectors, pooling, eigenvectors.

Huang, Wu, Van Gool, Building Deep Networks on Grassmann Manifolds, AAAI 2018, arXiv:1611.05742:

    FRMap   Y = W X                      (W of full row rank)
    ReOrth  Y = X R^{-1}, X = Q R        (hence Y = Q)
    ProjMap Y = X X^T
    ProjPooling: means over patches of the projection matrix
    OrthMap Y = the eigenvectors of the p largest eigenvalues

Forward is the authors'. Deviations: gradients are those of the formulas. The authors' pooling
passes a quarter of the gradient to one of the four entries of each patch and nothing to the others,
and their eigenvector map leaves out the coupling of degenerate eigenvalues; what is left out here
is only the turning of eigenvectors within their span, which no function of a subspace sees. W is a
free matrix: full rank is what almost all matrices have, and needs no manifold.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from zoo.errors import ConfigError
from zoo.functional import grassmann, polar
from zoo.functional.precision import check_precision


class FRMap(nn.Module):
    """Full-rank maps of bases, several filters per input channel: Y = W X.

    Args:
        in_size: rows of the bases that come in.
        out_size: rows of those that leave; not more.
        in_channels: bases per sample that come in.
        out_channels: bases per sample that leave, a multiple of `in_channels`; each input channel
            passes through out_channels / in_channels filters.

    Attributes:
        weight: (out_channels, out_size, in_size), with orthonormal rows at first.

    Raises:
        ConfigError: for sizes that don't fit.
    """

    def __init__(
        self, in_size: int, out_size: int, *, in_channels: int = 1, out_channels: int = 1
    ) -> None:
        super().__init__()
        if not 1 <= out_size <= in_size:
            raise ConfigError(
                f"FRMap takes {in_size} rows to at most as many, not to {out_size}: a map to more "
                "rows has no full row rank"
            )
        self.repeats = filters_per_channel("FRMap", in_channels, out_channels)
        start = grassmann.random((out_channels, in_size, out_size)).mT
        self.weight = nn.Parameter(start.contiguous())

    def forward(
        self, x: Float[Tensor, "batch in_channels n p"]
    ) -> Float[Tensor, "batch out_channels m p"]:
        """Maps every basis; the result isn't orthonormal.

        Raises:
            DeviceError: half precision.
        """
        check_precision("FRMap", x)
        return self.weight @ x.repeat_interleave(self.repeats, dim=1)

    def extra_repr(self) -> str:
        """Sizes."""
        channels, out_size, in_size = self.weight.shape
        return f"{in_size} -> {out_size}, channels={channels}"


def filters_per_channel(what: str, in_channels: int, out_channels: int) -> int:
    """How many outputs each input channel has.

    Args:
        what: names the layer in the message.
        in_channels: inputs.
        out_channels: outputs.

    Raises:
        ConfigError: unless the second is a multiple of the first.
    """
    if in_channels < 1 or out_channels < in_channels or out_channels % in_channels:
        raise ConfigError(
            f"{what} needs a number of output channels that is a multiple of the "
            f"{in_channels} input channels, not {out_channels}"
        )
    return out_channels // in_channels


class ReOrth(nn.Module):
    """The Q of the QR decomposition whose R has a positive diagonal."""

    def forward(self, x: Float[Tensor, "... n p"]) -> Float[Tensor, "... n p"]:
        """Orthonormal bases of the same subspaces."""
        return polar.orthonormalize(x)


class ProjMap(nn.Module):
    """The projector X X^T onto the subspace of an orthonormal basis."""

    def forward(self, x: Float[Tensor, "... n p"]) -> Float[Tensor, "... n n"]:
        """Projectors."""
        return grassmann.projector.from_basis(x)


class ProjPool(nn.Module):
    """Means over square patches of projection matrices; what leaves is symmetric.

    Args:
        size: of the patches; a rest of rows and columns is left out.

    Raises:
        ConfigError: for a size below one.
    """

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        if size < 1:
            raise ConfigError(f"patches of {size} rows can't be averaged; take 1 or more")
        self.size = size

    def forward(
        self, x: Float[Tensor, "batch channels n n"]
    ) -> Float[Tensor, "batch channels m m"]:
        """Means of patches.

        Raises:
            DeviceError: half precision.
        """
        check_precision("ProjPool", x)
        return nnf.avg_pool2d(x, self.size)

    def extra_repr(self) -> str:
        """Size of the patches."""
        return f"{self.size}"


class OrthMap(nn.Module):
    """Orthonormal bases of the leading eigenvectors of symmetric matrices.

    Args:
        rank: how many.
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank

    def forward(self, x: Float[Tensor, "... n n"]) -> Float[Tensor, "... n p"]:
        """Bases; the gradient is right for what depends on the subspace alone."""
        return polar.leading_subspace(x, self.rank)

    def extra_repr(self) -> str:
        """Dimension of the subspaces."""
        return f"rank={self.rank}"


class ProjectorLinear(nn.Module):
    """A linear map of projection matrices, all channels together: the last layer of GrNet.

    Args:
        size: n of the (n, n) matrices.
        channels: matrices per sample.
        out_channels: outputs.
    """

    def __init__(self, size: int, *, channels: int = 1, out_channels: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(channels * size)  # a projector's entries have the norm sqrt(p)
        self.weight = nn.Parameter(torch.empty(out_channels, channels, size, size))
        nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self, x: Float[Tensor, "batch channels n n"]
    ) -> Float[Tensor, "batch out_channels"]:
        """<W_k, X> + b_k for every output k.

        Raises:
            DeviceError: half precision.
        """
        check_precision("ProjectorLinear", x)
        return nnf.linear(x.flatten(1), self.weight.flatten(1), self.bias)
