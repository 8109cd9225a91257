r"""Multivector neurons: invariant scalars beside multivectors (Liu, Ruhe, Forré, 2024).

arXiv:2406.04052. Every particle has scalars s, which know no direction, and multivectors v of
Cl(3): most of the work is done by ordinary layers on the scalars, while the multivectors carry the
geometry and are multiplied without weights. For a pair i, j with linear maps of channels L,

    u_ij = L [v_i, v_j]
    s_ij = MLP [s_i, s_j, |u_ij|^2]
    v_ij = G(s_ij) N(u_ij),

G a number per channel and grade from a perceptron, N linear maps with the activation below between
them. Messages are normalised, summed, and divided by the root of their number; then

    s_i <- s_i + LayerNorm(MLP(s)),    v_i <- v_i + MVLayerNorm(L [L'(v) L''(v), v]).

L' v L'' v is the plain geometric product of two linear maps. The activation of multivectors is that
of vector neurons (Deng et al., ICCV 2021): with q and k two linear maps of x it gives q, without
its part along k where <q, k> is negative.

Deviations from the authors' code: the last map's vector is the step that a particle makes from
where it is (theirs starts at the centre); the maps L of pairs act on nodes before these are paired
(the same numbers); SiLU in place of ReLU in the perceptrons of scalars, so that they are smooth.
"""

import math
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from zoo.errors import ConfigError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra
from zoo.functional.scatter import scatter_sum
from zoo.layers.clifford import MVLayerNorm, MVLinear, per_blade
from zoo.models._inputs import SampleBatch
from zoo.models._particles import charged, check_charged
from zoo.models._sample import SampleModel
from zoo.registry import register

_SPACE = 3
#: added to |k|^2, which the activation divides by
EPS = 1e-8

Scalars = Float[Tensor, "nodes scalars"]
Multivectors = Float[Tensor, "nodes channels blades"]


class MVReLU(nn.Module):
    """Vector neurons' activation of whole multivectors.

    Args:
        algebra: of the multivectors.
        channels: of input and output.
    """

    def __init__(self, algebra: Algebra, channels: int) -> None:
        super().__init__()
        self.maps = MVLinear(algebra, channels, 2 * channels, bias=False, by_grade=False)

    def forward(self, x: Float[Tensor, "rows channels blades"]) -> Tensor:
        """q where <q, k> >= 0, else q without its part along k."""
        q, k = self.maps(x).chunk(2, dim=-2)
        both = (q * k).sum(-1, keepdim=True)
        away = both.clamp(max=0) / (k.square().sum(-1, keepdim=True) + EPS)
        return cast(Tensor, q - away * k)


class PlainProduct(nn.Module):
    """L [L' x L'' x, x], normalised: a geometric product without weights between linear maps.

    Args:
        algebra: of the multivectors.
        channels: of input and output.
    """

    def __init__(self, algebra: Algebra, channels: int) -> None:
        super().__init__()
        self.algebra = algebra
        self.factors = MVLinear(algebra, channels, 2 * channels, by_grade=False)
        self.out = MVLinear(algebra, 2 * channels, channels, by_grade=False)
        self.norm = MVLayerNorm(algebra, channels)

    def forward(self, x: Multivectors) -> Multivectors:
        """Multivectors of degree two in x."""
        left, right = self.factors(x).chunk(2, dim=-2)
        product = clifford.geometric_product(left, right, self.algebra)
        out: Tensor = self.norm(self.out(torch.cat([product, x], dim=-2)))
        return out


class MVNLayer(nn.Module):
    """One step of messages.

    Args:
        algebra: of the multivectors.
        scalars: invariant features of a node.
        channels: its multivectors.
    """

    def __init__(self, algebra: Algebra, scalars: int, channels: int) -> None:
        super().__init__()
        self.algebra = algebra
        self.own = MVLinear(algebra, channels, channels)
        self.other = MVLinear(algebra, channels, channels, bias=False)
        for part in (self.own, self.other):  # one map of both
            nn.init.normal_(part.weight, std=1 / math.sqrt(2 * channels))
        self.vectors = nn.Sequential(
            MVLinear(algebra, channels, channels, by_grade=False),
            MVReLU(algebra, channels),
            MVLinear(algebra, channels, channels, by_grade=False),
            MVReLU(algebra, channels),
            MVLinear(algebra, channels, channels),
        )
        self.pair_first = nn.Linear(2 * scalars + channels, scalars)
        self.pair_second = nn.Linear(scalars, scalars)
        self.gates = _perceptron(scalars, scalars, channels * (algebra.dimension + 1))
        self.scalar_norm, self.vector_norm = nn.LayerNorm(scalars), MVLayerNorm(algebra, channels)
        self.scalar_update = nn.Sequential(
            _perceptron(scalars, scalars, scalars), nn.LayerNorm(scalars)
        )
        self.vector_update = PlainProduct(algebra, channels)

    def forward(
        self,
        s: Scalars,
        v: Multivectors,
        edge_index: Int[Tensor, "2 edges"],
    ) -> tuple[Scalars, Multivectors]:
        """New scalars and multivectors.

        Args:
            s: scalars of the nodes.
            v: their multivectors.
            edge_index: who is heard (row 0), and by whom (row 1).
        """
        of, to = edge_index
        u = self.own(v).index_select(0, to) + self.other(v).index_select(0, of)
        s_pair = self._pair(s, u, to, of)
        gates = self.gates(s_pair).unflatten(-1, (-1, self.algebra.dimension + 1))
        v_pair = self.vectors(u) * per_blade(gates, self.algebra)
        ones = torch.ones_like(to, dtype=s.dtype)
        share = scatter_sum(ones, to, s.shape[0]).clamp(min=1).rsqrt()
        s_sum = scatter_sum(self.scalar_norm(s_pair), to, s.shape[0]) * share[:, None]
        v_sum = scatter_sum(self.vector_norm(v_pair), to, s.shape[0]) * share[:, None, None]
        return s + self.scalar_update(s_sum), v + self.vector_update(v_sum)

    def _pair(self, s: Tensor, u: Tensor, to: Tensor, of: Tensor) -> Tensor:
        """Scalars of pairs; the first map is split into what each end and the pair contribute."""
        size, first = s.shape[1], self.pair_first
        own, other, square = first.weight.split([size, size, u.shape[1]], dim=1)
        ends = linear(s, own, first.bias).index_select(0, to) + linear(s, other).index_select(0, of)
        return cast(
            Tensor,
            self.pair_second(nn.functional.silu(ends + linear(u.square().sum(-1), square))),
        )


@register("mvn")
class MVN(SampleModel):
    """Predicts later positions of charged particles from scalars and multivectors.

    The graph is complete and made by the model.

    Args:
        scalar_channels: invariant features of a particle.
        hidden_channels: multivectors of a particle.
        num_layers: steps of messages.
    """

    domain = "particles"

    def __init__(
        self, *, scalar_channels: int = 64, hidden_channels: int = 16, num_layers: int = 4
    ) -> None:
        if min(scalar_channels, hidden_channels, num_layers) < 1:
            raise ConfigError(
                f"MVN: scalar_channels={scalar_channels}, hidden_channels={hidden_channels}, "
                f"num_layers={num_layers}; expected numbers >= 1"
            )
        super().__init__(sample_shape=(_SPACE,), outputs=("prediction",))
        self.algebra = clifford.algebra(_SPACE)
        #: how outputs answer group elements
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {"prediction": "equivariant"}
        self.scalar_embedding = nn.Linear(1, scalar_channels)
        self.embedding = MVLinear(self.algebra, 3, hidden_channels, by_grade=False)
        self.layers = nn.ModuleList(
            MVNLayer(self.algebra, scalar_channels, hidden_channels) for _ in range(num_layers)
        )
        self.projection = MVLinear(self.algebra, hidden_channels, 1, by_grade=False)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output."""
        return [self.scalar_embedding, self.embedding, *self.layers, self.projection]

    def check(self, batch: SampleBatch) -> None:
        """Refuses particles without velocities or charges."""
        check_charged(batch, self._title())

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Later positions, and the scalars of all particles.

        Args:
            batch: PyG's `Batch` with `pos`, `vel` (n, 3) and `charge` (n,).

        Returns:
            `prediction` (n, 3), and `embedding` (n, scalar_channels), which is invariant.
        """
        given, of = charged(batch), self.algebra
        charge = given.charge[:, None]
        vectors = (clifford.embed(x, 1, of) for x in (given.centred, given.vel))
        s = self.scalar_embedding(charge)
        v = self.embedding(torch.stack([*vectors, clifford.embed(charge, 0, of)], dim=1))
        for layer in self.layers:
            s, v = layer(s, v, given.edges)
        step: Tensor = self.projection(v)[:, 0, of.slice(1)]
        return {"prediction": given.pos + step, "embedding": s}


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
