"""Linear maps of irreps, which mix channels and leave components alone."""

import math
from typing import Any

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.layers.equivariant._legs import Irrep, as_irreps


class Linear(nn.Module):
    """The most general equivariant linear map: by Schur, one matrix per irrep.

    z^k = sum_i W_ki x^i / sqrt(n) over the n channels of the same degree and parity, which keeps
    the variance where weights have variance one. Features lie as in e3nn, irrep after irrep,
    channels times components; weights are those of e3nn's Linear with one instruction per pair of
    equal irreps, grouped by irrep.

    Args:
        irreps_in: of the features.
        irreps_out: of the result; each irrep must occur among those of the features.
        bias: whether invariants (0e) get one, zero at first.

    Raises:
        ConfigError: unreadable irreps, or an irrep that the features don't hold.
    """

    def __init__(
        self, irreps_in: str | o3.Irreps, irreps_out: str | o3.Irreps, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.irreps_in = as_irreps(irreps_in, "irreps_in")
        self.irreps_out = as_irreps(irreps_out, "irreps_out")
        self._in, self._out = _places(self.irreps_in), _places(self.irreps_out)
        missing = [str(ir) for ir in self._out if ir not in self._in]
        if missing:
            raise ConfigError(
                f"irreps_out={self.irreps_out} holds {', '.join(missing)}, which no linear map "
                f"makes of {self.irreps_in}; a tensor product does"
            )
        self.weights = nn.ParameterDict(
            {
                str(ir): nn.Parameter(torch.randn(_count(self._in[ir]), _count(places)))
                for ir, places in self._out.items()
            }
        )
        invariants = _count(self._out.get(Irrep(0, 1), []))
        self.bias = nn.Parameter(torch.zeros(invariants)) if bias and invariants else None

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch out"]:
        """The mapped features.

        Raises:
            ConfigError: a width other than that of `irreps_in`.
        """
        if x.shape[-1] != self.irreps_in.dim:
            raise ConfigError(
                f"x has rows of {x.shape[-1]} numbers; {self.irreps_in} has {self.irreps_in.dim}"
            )
        parts = x.split([part.dim for part in self.irreps_in], dim=-1)
        out: list[Any] = [None] * len(self.irreps_out)
        for ir, places in self._out.items():
            blocks = [parts[n].unflatten(-1, (mul, ir.dim)) for n, mul in self._in[ir]]
            weight = self.weights[str(ir)] / math.sqrt(_count(self._in[ir]))
            joined = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-2)
            # one large product; weight.T @ joined is one small product per row without gradients
            mixed = (joined.mT @ weight).mT
            if self.bias is not None and ir == Irrep(0, 1):
                mixed = mixed + self.bias[:, None]
            split = mixed.split([mul for _, mul in places], dim=-2)
            for (n, _), block in zip(places, split, strict=True):
                out[n] = block.flatten(-2)
        return torch.cat(out, dim=-1)

    def extra_repr(self) -> str:
        """For `repr`."""
        return f"{self.irreps_in} -> {self.irreps_out}, bias={self.bias is not None}"


def _places(irreps: o3.Irreps) -> dict[Irrep, list[tuple[int, int]]]:
    """Where each irrep stands: position in the list, multiplicity."""
    out: dict[Irrep, list[tuple[int, int]]] = {}
    for n, part in enumerate(irreps):
        out.setdefault(Irrep(part.ir.l, part.ir.p), []).append((n, part.mul))
    return out


def _count(places: list[tuple[int, int]]) -> int:
    return sum(mul for _, mul in places)
