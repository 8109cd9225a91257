r"""Embeddings of one tree or graph: every node is a free point of hyperbolic or Euclidean space.

Nickel, Kiela, "Poincaré Embeddings for Learning Hierarchical Representations", NeurIPS 2017,
arXiv:1705.08039, and "Learning Continuous Hierarchies in the Lorentz Model", ICML 2018,
arXiv:1806.03417, in the Euclidean parametrisation of Mishne, Wan, Wang, Yang, arXiv:2211.00181: a
node is a vector z, its point is exp0(z), and any optimiser trains it. Objectives:

- `ranking`: for each edge (u, v) the cross-entropy of v among v and all nodes that are no
  neighbours of u, by softmax of -d(u, .); the papers draw ten of those at random.
- `distortion`: the mean of (d(u, v) / (scale g(u, v)) - 1)^2 over all pairs with graph distance g.

From a random start in few dimensions both get stuck: branches can't pass through one another.
`start="spectral"` places the nodes at the first training step: -cosh(scale g) is near a matrix of
Lorentz products, and its eigenvectors of positive values are space coordinates (Keller-Ressel,
Nargang, Hydra, arXiv:1903.08977, keep the leading ones). Trees repeat eigenvalues, of which a cut
would keep arbitrary branches, so all are kept and projected at random to the dimension wanted. In
Euclidean space the matrix is that of classical scaling.

`parametrization="geoopt"` holds points as `geoopt.ManifoldParameter` for Riemannian optimisers,
which is what the first two papers do, with geoopt's clamps.
"""

import math
from typing import Any, Literal, cast

import geoopt
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import lorentz, poincare
from zoo.functional.squares import safe_sqrt
from zoo.functional.trees import distortion, graph_distances, mean_average_precision
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

Geometry = Literal["lorentz", "poincare", "euclidean"]
Objective = Literal["ranking", "distortion"]
#: beyond it cosh(scale g) of far pairs would swamp those of near ones in float64
FARTHEST = 18.0


@register("tree_embedding")
class TreeEmbedding(SampleModel):
    """Embeds the nodes of one graph.

    Args:
        num_nodes: of the graph.
        dimension: of the space.
        geometry: "lorentz", "poincare" or "euclidean".
        loss: "ranking" or "distortion".
        scale: length of an edge that the distortion aims at, and of the spectral start.
        temperature: of the ranking.
        start: "spectral", or "random" near the origin.
        c: absolute curvature.
        parametrization: "tangent", or "geoopt" for Riemannian optimisers.

    Raises:
        ConfigError: counts, scales or curvatures that are not positive; a spectral start of
            geoopt's parameters.
    """

    domain = "graph"
    fields = ("edge_index",)
    transductive = True

    def __init__(
        self,
        *,
        num_nodes: int,
        dimension: int = 5,
        geometry: Geometry = "lorentz",
        loss: Objective = "ranking",
        scale: float = 1.5,
        temperature: float = 1.0,
        start: Literal["spectral", "random"] = "spectral",
        c: float = 1.0,
        parametrization: Literal["tangent", "geoopt"] = "tangent",
    ) -> None:
        super().__init__(outputs=("embedding",))
        if min(num_nodes, dimension) < 1 or not min(scale, temperature, c) > 0:
            raise ConfigError(
                f"num_nodes={num_nodes}, dimension={dimension}, scale={scale}, temperature="
                f"{temperature}, c={c} must be positive"
            )
        if parametrization == "geoopt" and (start == "spectral" or geometry == "euclidean"):
            raise ConfigError(
                "parametrization='geoopt' takes start='random' and a hyperbolic geometry"
            )
        self.num_nodes, self.geometry, self.loss = num_nodes, geometry, loss
        self.scale, self.temperature, self.c = scale, temperature, c
        z = 1e-2 * torch.randn(num_nodes, dimension)
        self.nodes = nn.Parameter(z) if parametrization == "tangent" else self._held(z)
        self.placed: Tensor
        self.register_buffer("placed", torch.tensor(start != "spectral"))
        self._hops: tuple[Tensor, Tensor] | None = None

    def _held(self, z: Tensor) -> nn.Parameter:
        manifold: Any = geoopt.PoincareBall(self.c)
        points = poincare.exp0(z, c=self.c)
        if self.geometry == "lorentz":
            manifold, points = geoopt.Lorentz(1.0 / self.c), lorentz.exp0(z, c=self.c)
        held: nn.Parameter = geoopt.ManifoldParameter(points, manifold=manifold)
        return held

    def check(self, batch: SampleBatch) -> None:
        """Refuses graphs with more nodes; nodes that the graph lacks have no neighbours."""
        data = cast(Data, batch)
        pairs = data.edge_index
        found = int(pairs.max()) + 1 if pairs.numel() else 0
        if data.get("x") is not None:
            found = max(found, len(data.x))
        if found > self.num_nodes:
            raise UnsupportedInputError(
                f"the graph has {found} nodes; {self._title()} embeds one graph of "
                f"{self.num_nodes} nodes: create it with num_nodes={found}"
            )

    def points(self) -> Float[Tensor, "nodes point"]:
        """All points, in the coordinates of the geometry."""
        if self.geometry == "euclidean" or isinstance(self.nodes, geoopt.ManifoldParameter):
            return self.nodes.as_subclass(Tensor)
        exp0 = lorentz.exp0 if self.geometry == "lorentz" else poincare.exp0
        return exp0(self.nodes, c=self.c)

    def distances(self, points: Float[Tensor, "nodes point"]) -> Float[Tensor, "nodes nodes"]:
        """Distances of all pairs.

        Args:
            points: of this geometry.
        """
        first, second = points[:, None], points[None]
        if self.geometry == "lorentz":
            return lorentz.dist(first, second, c=self.c)
        if self.geometry == "poincare":
            return poincare.dist(first, second, c=self.c)
        return safe_sqrt((first - second).square().sum(-1))

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Points of all nodes.

        Args:
            batch: `edge_index`; read at the first training step of a spectral start only.

        Returns:
            `embedding` (nodes, coordinates of a point).
        """
        if self.training and not bool(self.placed):
            self._place(cast(Data, batch).edge_index)
        return {"embedding": self.points()}

    def objective(self, outputs: dict[str, Tensor], batch: SampleBatch) -> Tensor:
        """The loss above.

        Args:
            outputs: of `forward`.
            batch: with `edge_index`.
        """
        hops = self._graph(cast(Data, batch).edge_index)
        distances = self.distances(outputs["embedding"])
        if self.loss == "distortion":
            pairs = torch.isfinite(hops) & (hops > 0)
            wanted = self.scale * hops[pairs].to(distances.dtype)
            return (distances[pairs] / wanted - 1.0).square().mean()
        near = distances / self.temperature
        linked, others = hops == 1, hops > 1
        rivals = torch.logsumexp((-near).masked_fill(~others, -math.inf), dim=1)
        alone = ~others.any(1)  # a node that is everyone's neighbour has no rivals
        rivals = torch.where(alone, torch.finfo(near.dtype).min, rivals)
        return nn.functional.softplus(rivals[:, None] + near)[linked].mean()

    def measures(
        self, outputs: dict[str, Tensor], batch: SampleBatch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Sum and count of what tells how good the embedding is.

        Args:
            outputs: of `forward`.
            batch: with `edge_index`.

        Returns:
            `mean_average_precision`, and `distortion` at the best scale.
        """
        pairs = cast(Data, batch).edge_index
        distances = self.distances(outputs["embedding"].detach())
        found = {
            "mean_average_precision": mean_average_precision(distances, pairs),
            "distortion": distortion(distances, self._graph(pairs)),
        }
        one = torch.ones((), dtype=torch.float64, device=distances.device)
        return {name: (value * one, one) for name, value in found.items()}

    def _graph(self, edge_index: Tensor) -> Tensor:
        """Distances in the graph; kept, since every step asks for the same."""
        edges = edge_index.cpu()
        if self._hops is None or not torch.equal(self._hops[0], edges):
            self._hops = edges, graph_distances(edges, self.num_nodes)
        return self._hops[1].to(edge_index.device)

    @torch.no_grad()
    def _place(self, edge_index: Tensor) -> None:
        """The spectral start."""
        hops = self._graph(edge_index).cpu()
        longest = float(hops[torch.isfinite(hops)].max())
        hops = torch.where(torch.isfinite(hops), hops, longest + 1)
        root = math.sqrt(self.c)
        if self.geometry == "euclidean":
            centred = hops.square() - hops.square().mean(0)
            similar = -0.5 * (centred - centred.mean(1, keepdim=True)) * self.scale**2
        else:  # edges of a deep graph are shortened where cosh would overflow
            similar = -torch.cosh(min(self.scale * root, FARTHEST / max(longest, 1.0)) * hops)
        values, vectors = torch.linalg.eigh(similar)
        kept = values > 1e-13 * values.abs().max()
        space = vectors[:, kept] * values[kept].sqrt()
        size = self.nodes.shape[1]
        mixed = torch.randn(space.shape[1], size, dtype=space.dtype) / math.sqrt(size)
        space = space @ mixed
        if self.geometry != "euclidean":
            space = lorentz.log0(lorentz.lift(space)) / root
        # a tangent vector at the origin of the ball is twice as long as its coordinates say
        self.nodes.copy_(space / 2 if self.geometry == "poincare" else space)
        self.placed.fill_(True)
