r"""Mixing of a sequence by the planes that pairs of its elements span.

Zhang, Attention Is Not What You Need, arXiv:2512.19428. With z = W_r h (r numbers per element),
the plane spanned by z_t and z_{t-D} is a point of Gr(2, r), given by its Plücker coordinates

    p_ij = z_{t,i} z_{t-D,j} - z_{t,j} z_{t-D,i}, i < j,    g = mean_D W_p p / |p|

over the offsets D that reach back within the sequence, and h' = a h + (1 - a) g with
a = sigmoid(W_g [h; g]). Deviation: p / sqrt(|p|^2 + eps), so that parallel vectors, which span no
plane, give zero and finite gradients, where the paper divides by max(|p|, eps).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from zoo.errors import ConfigError
from zoo.functional.precision import check_precision

#: the paper's offsets
OFFSETS = (1, 2, 4, 8, 12, 16)


def pluecker(a: Float[Tensor, "... r"], b: Float[Tensor, "... r"]) -> Float[Tensor, "... pairs"]:
    """Plücker coordinates a_i b_j - a_j b_i, i < j, of the plane of two vectors."""
    rows, columns = torch.triu_indices(a.shape[-1], a.shape[-1], 1, device=a.device).unbind(0)
    # index_select, whose backward adds in one pass, where a[..., rows] sorts first
    ai, aj = a.index_select(-1, rows), a.index_select(-1, columns)
    return ai * b.index_select(-1, columns) - aj * b.index_select(-1, rows)


class PluckerMixing(nn.Module):
    """Causal mixing: what leaves at t depends on elements up to t alone.

    Args:
        channels: of the sequence.
        reduced_channels: r; the planes lie in R^r.
        offsets: how far back the pairs reach, each at least 1.
        eps: under the root of the length of the coordinates.

    Raises:
        ConfigError: for r below 2, or offsets that are none, repeated, or not positive.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduced_channels: int = 32,
        offsets: Sequence[int] = OFFSETS,
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        if reduced_channels < 2:
            raise ConfigError(
                f"two vectors of {reduced_channels} numbers span no plane; take 2 or more"
            )
        if not offsets or min(offsets) < 1 or len(set(offsets)) != len(offsets):
            raise ConfigError(
                f"offsets must be different whole numbers from 1 up, not {list(offsets)}: an "
                "element is paired with earlier ones"
            )
        self.offsets = tuple(offsets)
        self.eps = eps
        self.reduce = nn.Linear(channels, reduced_channels, bias=False)
        pairs = reduced_channels * (reduced_channels - 1) // 2
        self.expand = nn.Linear(pairs, channels, bias=False)
        self.gate = nn.Linear(2 * channels, channels)

    def forward(
        self, h: Float[Tensor, "batch time channels"]
    ) -> Float[Tensor, "batch time channels"]:
        """The mixed sequence.

        Raises:
            DeviceError: half precision, in which directions of short coordinates are lost.
        """
        z = self.reduce(h)
        check_precision("PluckerMixing", z)
        g = self._planes(z)
        a = torch.sigmoid(self.gate(torch.cat([h, g], dim=-1)))
        return a * h + (1 - a) * g

    def _planes(self, z: Tensor) -> Tensor:
        """Mean over the offsets that reach back within the sequence; zero at the first element."""
        length = z.shape[1]
        total = z.new_zeros(*z.shape[:2], self.expand.in_features)
        for offset in self.offsets:
            if offset >= length:
                continue
            p = pluecker(z[:, offset:], z[:, :-offset])
            unit = p * torch.rsqrt(p.square().sum(-1, keepdim=True) + self.eps)
            total = total + nnf.pad(unit, (0, 0, offset, 0))
        time = torch.arange(length, device=z.device)
        reach = torch.tensor(self.offsets, device=z.device)
        count = (time[:, None] >= reach).sum(-1).clamp_min(1).to(z.dtype)
        return self.expand(total / count[:, None])  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Offsets."""
        return f"offsets={self.offsets}, eps={self.eps}"
