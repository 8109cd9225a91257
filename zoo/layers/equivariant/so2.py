"""SO(2)-equivariant linear maps in the frames of edges, and the convolution made of them."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional.irreps import check_degrees
from zoo.functional.order_scale import scale_orders
from zoo.functional.rotate import EdgeRotation
from zoo.functional.so2 import OrderSizes, order_linear
from zoo.functional.so2_paths import Path, paths_from_so2, so2_from_paths


class SO2Linear(nn.Module):
    """A linear map of order-major features that commutes with rotations about the edge.

    out_0 = W_0 x_0, out_+m = W^r x_+m - W^i x_-m, out_-m = W^i x_+m + W^r x_-m, over all degrees
    and channels of an order (eSCN, arXiv:2302.03655). Weights lie as in `zoo.functional.so2`:
    `weight[0]` is (extra_scalars + n_0 out_channels, n_0 in_channels), `weight[m]` is
    (2 n_m out_channels, n_m in_channels). They start uniform in +-1 / sqrt(inputs), those of
    m > 0 smaller by sqrt(2), which gives every Clebsch-Gordan path the same variance.

    Args:
        lmax: highest degree.
        mmax: highest order.
        in_channels: channels.
        out_channels: channels.
        extra_scalars: invariants to compute besides, from m = 0.
        bias: whether the m = 0 outputs and the extra scalars have one.
        parity: leaves W^i out, so that reflections commute too and a feature of degree l keeps
            the parity (-1)^l.

    Raises:
        ConfigError: `mmax` beyond `lmax`.
    """

    def __init__(
        self,
        lmax: int,
        mmax: int,
        in_channels: int,
        out_channels: int,
        *,
        extra_scalars: int = 0,
        bias: bool = True,
        parity: bool = False,
    ) -> None:
        super().__init__()
        check_degrees(lmax, mmax)
        self.sizes = OrderSizes(lmax, mmax, in_channels, out_channels, extra_scalars)
        rows = [extra_scalars + (lmax + 1) * out_channels]
        rows += [
            (1 if parity else 2) * self.sizes.degrees(m) * out_channels for m in range(1, mmax + 1)
        ]
        self.weight = nn.ParameterList(
            torch.empty(height, self.sizes.degrees(m) * in_channels)
            for m, height in enumerate(rows)
        )
        self.bias = nn.Parameter(torch.empty(rows[0])) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights; biases are zero."""
        for m, weight in enumerate(self.weight):
            bound = weight.shape[1] ** -0.5 * (math.sqrt(0.5) if m else 1.0)
            nn.init.uniform_(weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def radial_width(self) -> int:
        """Weights per edge that `forward` takes: one per order m >= 0, degree and channel."""
        orders = range(self.sizes.mmax + 1)
        return sum(self.sizes.degrees(m) for m in orders) * self.sizes.inputs

    def extra_repr(self) -> str:
        """Shown in the module's repr."""
        return ", ".join(f"{key}={value}" for key, value in vars(self.sizes).items())

    def forward(
        self,
        x: Tensor | tuple[Tensor, ...],
        weights: Float[Tensor, "edges radial"] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The mapped features.

        Args:
            x: order-major features (edges, kept, in_channels), or several of them, such as those
                of source and target, to be joined along the channels.
            weights: multiply the features first, the same for +m and -m; m = 0, 1, ..., within an
                order degree by degree.

        Returns:
            Order-major features (edges, kept, out_channels); with extra scalars, a pair of them
            and the scalars (edges, extra_scalars).

        Raises:
            ConfigError: features or weights of another size.
        """
        features = x if isinstance(x, tuple) else (x,)
        self._check(features)
        if weights is not None:
            joined = scale_orders(features, weights, self.sizes)
        else:
            joined = features[0] if len(features) == 1 else torch.cat(features, dim=2)
        extra, out = order_linear(joined, list(self.weight), self.bias, self.sizes)
        return (out, extra) if self.sizes.extra else out

    def _check(self, features: tuple[Tensor, ...]) -> None:
        rows = {x.shape[1] for x in features}
        channels = [x.shape[2] for x in features]
        if rows != {self.sizes.kept} or sum(channels) != self.sizes.inputs:
            raise ConfigError(
                f"features of {' and '.join(map(str, sorted(rows)))} rows and "
                f"{' + '.join(map(str, channels))} channels, expected {self.sizes.kept} and "
                f"{self.sizes.inputs} for lmax={self.sizes.lmax}, mmax={self.sizes.mmax}"
            )


class SO2Convolution(nn.Module):
    """The eSCN convolution: into the frame of each edge, `SO2Linear`, back, sum at the target.

    With mmax = lmax this is the convolution with spherical harmonics,

        z_i = sum_j sum_{l1, l2, l3} w_{l1 l2 l3} C^{l1 l2 l3} x_j Y_l2(r_ij),

    in O(L^3) instead of O(L^6) operations per edge, and `paths` and `set_paths` go from its
    weights to w and back exactly. Smaller mmax drop the high orders in the frame.

    Args:
        lmax: highest degree.
        mmax: highest order in the frames; None for `lmax`.
        in_channels: channels of the features.
        out_channels: channels of the result.
        parity: only paths with even l1 + l2 + l3: equivariant under O(3), with features of
            degree l of parity (-1)^l. Otherwise under SO(3).

    Raises:
        ConfigError: `mmax` beyond `lmax`.
    """

    def __init__(
        self,
        lmax: int,
        mmax: int | None = None,
        *,
        in_channels: int,
        out_channels: int,
        parity: bool = False,
    ) -> None:
        super().__init__()
        self.parity = parity
        mmax = check_degrees(lmax, mmax)
        self.linear = SO2Linear(lmax, mmax, in_channels, out_channels, bias=False, parity=parity)

    def forward(
        self,
        x: Float[Tensor, "nodes coefficients in_channels"],
        rotation: EdgeRotation,
        weights: Float[Tensor, "edges radial"] | None = None,
    ) -> Float[Tensor, "nodes coefficients out_channels"]:
        """Messages summed over the edges of each target.

        Args:
            x: features of the nodes, degree-major.
            rotation: of the edges, from `EdgeFrames.rotation` with the same lmax and mmax.
            weights: per edge, see `SO2Linear`.
        """
        return rotation.scatter(self.linear(rotation.gather(x, 0), weights), 1)

    def paths(self) -> dict[Path, Tensor]:
        """The weight (in_channels, out_channels) of each path (l1, l2, l3).

        Raises:
            ConfigError: mmax < lmax.
        """
        weights = [weight.detach() for weight in self.linear.weight]
        return paths_from_so2(weights, self.linear.sizes, parity=self.parity)

    def set_paths(self, paths: Mapping[Path, Tensor]) -> None:
        """Takes the weights of paths over; orders beyond mmax are dropped.

        Args:
            paths: (in_channels, out_channels) for each path of `convolution_paths`.

        Raises:
            ConfigError: paths that are missing or don't exist.
        """
        found = so2_from_paths(paths, self.linear.sizes, parity=self.parity)
        with torch.no_grad():
            for weight, value in zip(self.linear.weight, found, strict=True):
                weight.copy_(value)
