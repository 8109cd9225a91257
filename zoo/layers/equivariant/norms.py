"""Layer norms of spherical features, as EquiformerV2 uses them (arXiv:2306.12059).

Three kinds differ in which coefficients share a scale; all subtract the mean over channels from
the scalars, scale every degree by weights per channel, and add a bias to the scalars:

    layer_norm      every degree l has its own scale, the mean square of its components
    layer_norm_sh   the scalars have one, all degrees above share another
    rms_norm_sh     all degrees share one scale

Within a shared scale each degree counts equally, whatever its number of components. With x_lm the
(centred) features, S the degrees that share a scale and c the channels,

    out_lm = w_l x_lm / sqrt(eps + mean_{l in S} mean_m mean_c x_lmc^2) + b delta_l0

`layer_norm_sh` is what the published weights have.
"""

import functools
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.irreps import coefficient_degrees
from zoo.layers.constants import ConstantModule

NormKind = Literal["layer_norm", "layer_norm_sh", "rms_norm_sh"]
NORM_KINDS: tuple[str, ...] = get_args(NormKind)


class EquivariantLayerNorm(ConstantModule):
    """A layer norm that commutes with rotations.

    Args:
        lmax: highest degree.
        channels: of every degree.
        kind: which degrees share a scale, see the module.
        eps: added to the mean squares.

    Raises:
        ConfigError: an unknown kind.
    """

    averages: Tensor
    degree: Tensor

    def __init__(
        self, lmax: int, channels: int, kind: NormKind = "layer_norm_sh", *, eps: float = 1e-5
    ) -> None:
        super().__init__()
        if kind not in NORM_KINDS:
            raise ConfigError(f"unknown norm {kind!r}: {nearest(kind, NORM_KINDS)}")
        self.lmax = lmax
        self.kind = kind
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(lmax + 1, channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_constant("averages", lambda: _averages(lmax, kind).clone())
        self.register_buffer("degree", coefficient_degrees(lmax), persistent=False)

    def extra_repr(self) -> str:
        """Shown in the module's repr."""
        return f"{self.kind}, lmax={self.lmax}, channels={len(self.bias)}, eps={self.eps}"

    def forward(
        self, x: Float[Tensor, "nodes coefficients channels"]
    ) -> Float[Tensor, "nodes coefficients channels"]:
        """Normalised features.

        Args:
            x: features, degree-major.
        """
        scalars = x[:, :1]
        x = torch.cat([scalars - scalars.mean(dim=-1, keepdim=True), x[:, 1:]], dim=1)
        squares = x.square().mean(dim=-1)  # (nodes, coefficients)
        scale = torch.rsqrt(squares @ self.averages + self.eps)  # (nodes, coefficients)
        x = x * scale[:, :, None] * self.weight.index_select(0, self.degree)
        return torch.cat([x[:, :1] + self.bias, x[:, 1:]], dim=1)


@functools.cache
def _averages(lmax: int, kind: NormKind) -> Tensor:
    """Entry (i, j): how much the square of coefficient i counts in the scale of coefficient j."""
    degree = coefficient_degrees(lmax)
    if kind == "layer_norm":
        group = degree
    else:
        group = (degree > 0).long() if kind == "layer_norm_sh" else torch.zeros_like(degree)
    same = (group[:, None] == group).double()
    # each degree of a group counts once in all
    share = same / (2 * degree + 1)[:, None]
    return share / share.sum(dim=0)
