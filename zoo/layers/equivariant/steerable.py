"""Linear maps that a steerable attribute turns: the layers of steerable perceptrons.

Brandstetter, Hesselink, van der Pol, Bekkers, Welling, Geometric and physical quantities improve
E(3) equivariant message passing, ICLR 2022, arXiv:2110.02905, equations 5 and 6.
"""

import itertools
import math
from collections import Counter
from typing import Any, cast

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.layers.equivariant._legs import Irrep, allowed, as_irreps
from zoo.layers.equivariant.linear import Linear
from zoo.layers.equivariant.tensor_product import TensorProduct


class SteerableLinear(nn.Module):
    r"""The most general equivariant map that is linear in features x and in an attribute a.

    The fully connected Clebsch-Gordan product with an attribute that has one channel of each irrep:

        z^k_c = b^k_c + sum over paths (i, j, k) and channels n of W_cn^(ijk) [x^i_n a^j]^k,

    with [ ]^k the coupling to k; components of z have the variance of those of x and a where
    weights have variance one. As the attribute has no channels, the weights can act before it
    does: `mix` is linear in x alone, and `couple` has no weights. Features of pairs can so be
    mixed node by node, forward(x, a) = couple(mix(x), a).

    What `mix` makes is sorted by the degree and parity of its source, degree 0 first
    (`irreps_mixed`).

    Args:
        irreps_in: of x.
        irreps_attr: of a, each irrep once.
        irreps_out: of z.
        bias: whether invariants (0e) get one, zero at first.

    Raises:
        ConfigError: unreadable irreps, several channels in the attribute, or an irrep that no
            path reaches.
    """

    def __init__(
        self,
        irreps_in: str | o3.Irreps,
        irreps_attr: str | o3.Irreps,
        irreps_out: str | o3.Irreps,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.irreps_in = as_irreps(irreps_in, "irreps_in")
        self.irreps_attr = as_irreps(irreps_attr, "irreps_attr")
        self.irreps_out = as_irreps(irreps_out, "irreps_out")
        _check_attribute(self.irreps_attr)
        starts = self.irreps_attr.slices()
        sources = sorted({_irrep(part) for part in self.irreps_in})
        mixed: list[Any] = []
        #: for each path the part of z, and where the attribute's irrep lies
        self.paths: list[tuple[int, slice]] = []
        products: list[nn.Module] = []
        for source, k, j in itertools.product(
            sources, range(len(self.irreps_out)), range(len(self.irreps_attr))
        ):
            out, part = self.irreps_out[k], self.irreps_attr[j]
            if allowed(source, _irrep(part), _irrep(out)):
                first = o3.Irreps([(out.mul, tuple(source))])
                second, third = o3.Irreps([(1, part.ir)]), o3.Irreps([out])
                products.append(
                    TensorProduct(first, second, third, weights="none")
                    if min(source.l, part.ir.l)
                    else _Scaled(out.mul)
                )
                mixed.append((out.mul, tuple(source)))
                self.paths.append((k, starts[j]))
        self._check_reached()
        self.irreps_mixed = o3.Irreps(mixed)
        self.products = nn.ModuleList(products)
        self.linear = Linear(self.irreps_in, self.irreps_mixed, bias=False)
        invariants = [part.mul for part in self.irreps_out if _irrep(part) == Irrep(0, 1)]
        self.bias = nn.Parameter(torch.zeros(sum(invariants))) if bias and invariants else None

    def mix(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch mixed"]:
        """The weights' part: channels for every path."""
        return cast(Tensor, self.linear(x))

    def couple(
        self, mixed: Float[Tensor, "*batch mixed"], attribute: Float[Tensor, "*batch attr"]
    ) -> Float[Tensor, "*batch out"]:
        """The attribute's part, and the bias."""
        parts = mixed.split([part.dim for part in self.irreps_mixed], dim=-1)
        found: list[list[Tensor]] = [[] for _ in self.irreps_out]
        counts = Counter(k for k, _ in self.paths)
        for (k, place), product, part in zip(self.paths, self.products, parts, strict=True):
            # scaled here, where it is smallest, for a sum of variance one
            found[k].append(product(part, attribute[..., place] / math.sqrt(counts[k])))
        sums = [sum(terms[1:], terms[0]) for terms in found]
        if self.bias is not None:
            sums = self._biased(sums)
        return torch.cat(sums, dim=-1)

    def forward(
        self, x: Float[Tensor, "*batch width"], attribute: Float[Tensor, "*batch attr"]
    ) -> Float[Tensor, "*batch out"]:
        """The mapped features.

        Args:
            x: features of `irreps_in`.
            attribute: of `irreps_attr`, one for each row of x.
        """
        return self.couple(self.mix(x), attribute)

    def _biased(self, sums: list[Tensor]) -> list[Tensor]:
        assert self.bias is not None
        start, found = 0, []
        for part, value in zip(self.irreps_out, sums, strict=True):
            if _irrep(part) == Irrep(0, 1):
                value = value + self.bias[start : start + part.mul]
                start += part.mul
            found.append(value)
        return found

    def _check_reached(self) -> None:
        reached = {k for k, _ in self.paths}
        missing = [str(part) for k, part in enumerate(self.irreps_out) if k not in reached]
        if missing:
            raise ConfigError(
                f"irreps_out={self.irreps_out}: {', '.join(missing)} is on no path of "
                f"{self.irreps_in} with the attribute {self.irreps_attr}: degrees obey |l1 - l2| "
                "<= l3 <= l1 + l2, parities multiply"
            )


class _Scaled(nn.Module):
    """The coupling with an irrep of degree 0, which is a product with a number.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor, attribute: Tensor) -> Tensor:
        """Channels times components, one of which has a single component."""
        channels: Tensor = x.unflatten(-1, (self.channels, -1))
        return (channels * attribute[..., None, :]).flatten(-2)


def _irrep(part: Any) -> Irrep:
    return Irrep(part.ir.l, part.ir.p)


def _check_attribute(irreps: o3.Irreps) -> None:
    kinds = [_irrep(part) for part in irreps]
    if any(part.mul != 1 for part in irreps) or len(set(kinds)) != len(kinds):
        raise ConfigError(
            f"irreps_attr={irreps}: an attribute has one channel of each irrep, such as "
            "'1x0e+1x1o'; channels belong into the features"
        )
