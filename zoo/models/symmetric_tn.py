r"""Symmetric tensor network on moving particles (Zhang, Wang, Zhang, Dong, He, arXiv:2508.12596).

Every function of some vectors that a rotation leaves alone is one of their contractions with delta
and epsilon, and every vector that turns with them is a sum of contractions with one node taken out,
times such functions (`zoo.functional.symmetric_network`). Each particle holds features h and a few
vectors V, at the start multiples of its velocity. Of a pair the vectors x_i - x_j, V_i and V_j are
known: from their invariants s_ij and vectors e_ij

    m_ij = phi_m(h_i, h_j, s_ij, q_i q_j)
    V_i <- V_i + mean_j sum_k (A m_ij)_k e_ijk
    h_i <- h_i + phi_h(h_i, sum_j m_ij)

and the step of a particle is a sum of its V, weighted by a function of h. With deltas alone this is
equivariant under reflections, too, and includes EGNN; `reflections=False` adds the epsilons,
determinants and vector products.

The paper's abstract gives the construction of invariants and equivariants; the network around them
is ours.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional.scatter import scatter_mean, scatter_sum
from zoo.functional.symmetric_network import (
    Kind,
    contractions,
    equivariants,
    invariants,
    open_networks,
)
from zoo.models._inputs import SampleBatch
from zoo.models._particles import charged, check_charged
from zoo.models._sample import SampleModel
from zoo.registry import register

#: first steps are small: factor of the map to coefficients of vectors
_GAIN = 0.1


class SymmetricLayer(nn.Module):
    """One round of messages.

    Args:
        channels: features of a particle.
        vectors: vectors of a particle.
        edge_channels: of what is known of a pair beside.
        group: "O" or "SO".
        n: dimension of space.
    """

    def __init__(
        self, channels: int, vectors: int, edge_channels: int, *, group: Kind, n: int
    ) -> None:
        super().__init__()
        orders, degree = [1] * (2 * vectors + 1), max(n, 2) if group == "SO" else 2
        self.closed = contractions(orders, degree, group=group, n=n)
        self.opened = open_networks(orders, 1, degree - 1, group=group, n=n)
        known = 2 * channels + len(self.closed) + edge_channels
        self.message = _perceptron(known, channels)
        self.along = nn.Linear(channels, vectors * len(self.opened), bias=False)
        nn.init.normal_(self.along.weight, std=_GAIN / channels**0.5)
        self.update = _perceptron(2 * channels, channels)

    def forward(
        self,
        h: Float[Tensor, "nodes channels"],
        v: Float[Tensor, "nodes vectors dim"],
        pos: Float[Tensor, "nodes dim"],
        edges: Int[Tensor, "2 edges"],
        attr: Float[Tensor, "edges features"],
    ) -> tuple[Float[Tensor, "nodes channels"], Float[Tensor, "nodes vectors dim"]]:
        """New features and vectors.

        Args:
            h: features.
            v: vectors.
            pos: positions.
            edges: who is heard (row 0), and by whom (row 1).
            attr: what is known of each pair.
        """
        of, to = edges
        away = pos.index_select(0, to) - pos.index_select(0, of)
        x = [away, *v.index_select(0, to).unbind(1), *v.index_select(0, of).unbind(1)]
        known = [h.index_select(0, to), h.index_select(0, of), invariants(x, self.closed), attr]
        message = self.message(torch.cat(known, dim=1))
        weights = self.along(message).unflatten(1, (v.shape[1], -1))
        steps = weights @ equivariants(x, self.opened)  # (edges, vectors, dim)
        total = scatter_sum(message, to, h.shape[0])
        v = v + scatter_mean(steps.flatten(1), to, h.shape[0]).unflatten(1, v.shape[1:])
        return h + self.update(torch.cat([h, total], dim=1)), v


@register("symmetric_tn")
class SymmetricTN(SampleModel):
    """Predicts later positions of charged particles.

    The graph is complete and made by the model.

    Args:
        hidden_channels: features of a particle.
        vector_channels: vectors of a particle.
        num_layers: rounds of messages.
        dimension: of space.
        reflections: deltas alone, equivariant under reflections, too; False adds epsilons.
    """

    domain = "particles"

    def __init__(
        self,
        *,
        hidden_channels: int = 32,
        vector_channels: int = 2,
        num_layers: int = 4,
        dimension: int = 3,
        reflections: bool = True,
    ) -> None:
        if min(hidden_channels, vector_channels, num_layers, dimension) < 1:
            raise ConfigError(
                f"SymmetricTN: hidden_channels={hidden_channels}, "
                f"vector_channels={vector_channels}, num_layers={num_layers}, "
                f"dimension={dimension}; expected numbers >= 1"
            )
        if not reflections and not 2 <= dimension <= 4:
            raise ConfigError(
                f"SymmetricTN: dimension={dimension} with reflections=False; epsilons of 2 to 4 "
                "axes are contracted"
            )
        super().__init__(sample_shape=(dimension,), outputs=("prediction",))
        group: Kind = "O" if reflections else "SO"
        #: what the contract suite measures
        self.symmetry = "S(n) x E(n)" if reflections else "S(n) x SE(n)"
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {"prediction": "equivariant"}
        self.embedding = nn.Linear(1, hidden_channels)
        self.start = nn.Parameter(torch.linspace(0.5, 1.0, vector_channels))
        self.layers = nn.ModuleList(
            SymmetricLayer(hidden_channels, vector_channels, 1, group=group, n=dimension)
            for _ in range(num_layers)
        )
        self.decoder = _perceptron(hidden_channels, hidden_channels, vector_channels)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output."""
        return [self.embedding, *self.layers, self.decoder]

    def check(self, batch: SampleBatch) -> None:
        """Refuses particles without velocities or charges."""
        check_charged(batch, self._title())

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Later positions, and invariant features of all particles.

        Args:
            batch: PyG's `Batch` with `pos`, `vel` (n, d) and `charge` (n,).

        Returns:
            `prediction` (n, d), and `embedding` (n, hidden_channels).
        """
        given = charged(batch)
        h = self.embedding(given.vel.square().sum(1, keepdim=True))
        v = self.start[:, None] * given.vel[:, None]  # (n, vectors, d)
        for layer in self.layers:
            h, v = layer(h, v, given.centred, given.edges, given.product)
        step = (self.decoder(h)[..., None] * v).sum(1)
        return {"prediction": given.pos + step, "embedding": h}


def _perceptron(inputs: int, hidden: int, outputs: int | None = None) -> nn.Sequential:
    last: list[nn.Module] = [nn.Linear(hidden, outputs or hidden)]
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), *last)
