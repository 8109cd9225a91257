"""The nonlinearities between maps of spherical features in EquiformerV2 (arXiv:2306.12059)."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.irreps import coefficient_degrees, order_major_index
from zoo.layers.equivariant.s2_activation import S2Activation, SeparableS2Activation
from zoo.layers.equivariant.sphere_grid import Layout, SphereGrid

ActivationKind = Literal["separable_s2", "s2", "gate"]
ACTIVATION_KINDS: tuple[str, ...] = get_args(ActivationKind)


class DegreeGate(nn.Module):
    """SiLU of the scalars; degree l times the sigmoid of a gate per channel. Exactly equivariant.

    Args:
        lmax: highest degree.
        mmax: highest order of the coefficients.
        layout: "order" in the frame of an edge, "degree" elsewhere.
    """

    degree: Tensor

    def __init__(self, lmax: int, mmax: int, *, layout: Layout) -> None:
        super().__init__()
        self.lmax = lmax
        kept = order_major_index(lmax, mmax)
        kept = kept if layout == "order" else kept.sort().values
        self.register_buffer("degree", coefficient_degrees(lmax)[kept], persistent=False)

    def forward(
        self,
        gates: Float[Tensor, "rows gates"],
        x: Float[Tensor, "rows coefficients channels"],
    ) -> Float[Tensor, "rows coefficients channels"]:
        """Gated features.

        Args:
            gates: one for each degree above 0 and channel, before the sigmoid.
            x: features.
        """
        # SiLU is the gate that is the scalar itself, so that one product does for all degrees
        rows = torch.cat([x[:, 0], gates], dim=1)
        rows = rows.unflatten(1, (self.lmax + 1, x.shape[2]))
        return x * torch.sigmoid(rows).index_select(1, self.degree)


class FeatureActivation(nn.Module):
    """A nonlinearity of features that may be fed with extra scalars.

    Args:
        kind: "separable_s2": SiLU on a grid of the sphere, degree 0 from the extra scalars; "s2":
            SiLU on the grid alone; "gate": `DegreeGate`, the one that is exactly equivariant.
        lmax: highest degree.
        mmax: highest order.
        channels: of the features.
        resolution: of the grid.
        layout: of the coefficients.

    Raises:
        ConfigError: an unknown kind, or a grid too coarse for the degrees.
    """

    def __init__(
        self,
        kind: ActivationKind,
        lmax: int,
        mmax: int,
        channels: int,
        *,
        resolution: tuple[int, int],
        layout: Layout,
    ) -> None:
        super().__init__()
        if kind not in ACTIVATION_KINDS:
            raise ConfigError(f"unknown activation {kind!r}: {nearest(kind, ACTIVATION_KINDS)}")
        self.kind = kind
        #: extra scalars that it takes
        self.scalars = {"gate": lmax * channels, "s2": 0, "separable_s2": channels}[kind]
        self.act: nn.Module
        if kind == "gate":
            self.act = DegreeGate(lmax, mmax, layout=layout)
            return
        grid = feature_grid(lmax, mmax, resolution=resolution, layout=layout)
        self.act = S2Activation(grid) if kind == "s2" else SeparableS2Activation(grid)

    def forward(
        self,
        scalars: Float[Tensor, "rows scalars"],
        x: Float[Tensor, "rows coefficients channels"],
    ) -> Float[Tensor, "rows coefficients channels"]:
        """Activated features."""
        activated: Tensor = self.act(x) if self.kind == "s2" else self.act(scalars, x)
        return activated


def feature_grid(
    lmax: int, mmax: int, *, resolution: tuple[int, int], layout: Layout
) -> SphereGrid:
    """The grid as EquiformerV2 has it: e3nn's rule, "component", missing orders made up for.

    Args:
        lmax: highest degree.
        mmax: highest order.
        resolution: polar angles and azimuths.
        layout: of the coefficients.

    Raises:
        ConfigError: a grid too coarse for the degrees.
    """
    return SphereGrid(
        lmax,
        mmax,
        resolution=resolution,
        layout=layout,
        normalization="component",
        rescale=True,
    )
