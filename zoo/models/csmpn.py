r"""Clifford group equivariant simplicial message passing (Liu, Ruhe, Eijkelboom, Forré, ICLR 2024).

arXiv:2402.10011. Points become the vertices of a simplicial complex; edges, triangles and simplices
of higher rank take part in the messages as vertices do, all as multivectors:

1. A lift finds the simplices: the faces of the convex hull, or all sets of points that are within a
   distance of each other (Vietoris-Rips).
2. The vertices of a simplex, in all their orders, go through a network of its rank; the results are
   summed, so that the order means nothing.
3. Simplices hear of their faces, of what they are faces of, and of neighbours of their rank
   (`zoo.functional.simplicial`); the weights are shared by all ranks, which are told apart by a
   one-hot vector of scalars.
4. The mean of all simplices' scalars is an invariant of the sample; the vectors of the vertices are
   the steps that they make.

Positions are taken from the centre of each sample, so translations change nothing.

Deviations from the authors' code: there, the first vertex of an edge of the complex hears of the
second twice; `legacy=True` keeps that. Ranks are one-hot where the authors' network of motions
learns an embedding. Particles need no complex made by hand: a Rips complex is made for them.
"""

from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Batch

from zoo.errors import CapabilityError, ConfigError
from zoo.functional import clifford, simplicial
from zoo.functional.clifford import Algebra
from zoo.functional.scatter import scatter_mean
from zoo.functional.simplicial import Simplices
from zoo.layers.clifford import CEMLP, CliffordMessage, MVLinear
from zoo.models._inputs import SampleBatch, check_lengths, get
from zoo.models._particles import check_charged
from zoo.models._sample import SampleModel
from zoo.registry import register


class SimplexEmbedding(nn.Module):
    """Multivectors of simplices from those of their vertices, summed over the vertices' orders.

    Args:
        algebra: of the multivectors.
        channels: of each vertex.
        hidden_channels: of each simplex.
        max_rank: of the simplices.
    """

    def __init__(
        self, algebra: Algebra, channels: int, hidden_channels: int, max_rank: int
    ) -> None:
        super().__init__()
        first = MVLinear(algebra, channels, hidden_channels, by_grade=False)
        rest = (
            CEMLP(algebra, (rank + 1) * channels, hidden_channels, hidden_channels, num_layers=rank)
            for rank in range(1, max_rank + 1)
        )
        self.maps = nn.ModuleList([first, *rest])

    def forward(
        self, values: Float[Tensor, "vertices channels blades"], faces: Simplices
    ) -> Float[Tensor, "simplices hidden blades"]:
        """One row for each simplex, rank after rank."""
        found = []
        for rank, (rows, embed) in enumerate(zip(faces, self.maps, strict=True)):
            orders = torch.tensor(simplicial.orderings(rank), device=rows.device)
            given = values[rows[:, orders]]  # (simplices, orders, rank + 1, channels, blades)
            found.append(embed(given.flatten(2, 3)).sum(1))
        return torch.cat(found)


@register("csmpn")
class CSMPN(SampleModel):
    """Messages between simplices, to invariant numbers of a sample or later positions.

    Args:
        domain: "sequence", points (n, dimension) as `x`, or "points", `pos` (n, 3): numbers are
            predicted; or "particles", `pos` and `vel`: later positions.
        hidden_channels: multivectors of each simplex.
        out_channels: numbers that are predicted.
        num_layers: message layers.
        lift: "hull", the faces of the convex hull, or "rips", all sets of points within `radius`.
        radius: of the Rips complex, in the units of the positions.
        max_rank: of the simplices: 1 for edges, 2 for triangles.
        dimension: of the space, at most 8; None for the authors' 5 of sequences, and 3.
        charges: whether particles have `charge`, a scalar beside position and velocity.
        legacy: neighbours as in the authors' code; see the module.
    """

    domain = "sequence"
    accepts = ("points", "particles")

    def __init__(
        self,
        *,
        domain: Literal["sequence", "points", "particles"] = "sequence",
        hidden_channels: int = 28,
        out_channels: int = 1,
        num_layers: int = 3,
        lift: Literal["hull", "rips"] = "hull",
        radius: float = 1.5,
        max_rank: int = 2,
        dimension: int | None = None,
        charges: bool = False,
        legacy: bool = False,
    ) -> None:
        space = (5 if domain == "sequence" else 3) if dimension is None else dimension
        moves = domain == "particles"
        _check(domain, hidden_channels, out_channels, num_layers, radius, max_rank, charges)
        if not max(2, max_rank + 1 if lift == "hull" else 2) <= space <= clifford.LIMIT:
            raise ConfigError(
                f"CSMPN: dimension={space} with lift={lift!r} and max_rank={max_rank}; a hull in n "
                f"dimensions has faces up to rank n - 1, and n is 2..{clifford.LIMIT}"
            )
        if domain == "points" and space != 3:
            raise ConfigError(f"CSMPN: points have 3 coordinates, not dimension={space}")
        shape = (None, space) if domain == "sequence" else (space,)
        super().__init__(domain=domain, sample_shape=shape, outputs=("prediction",))
        self.algebra = clifford.algebra(space)
        self.hidden_channels, self.max_rank = hidden_channels, max_rank
        self.lift, self.radius = lift, radius
        self.charges, self.legacy = charges, legacy
        self.symmetry = "E(n)" if domain == "sequence" else "S(n) x E(n)"
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {
            "prediction": "equivariant" if moves else "invariant"
        }
        channels = 1 + moves + charges
        self.embedding = SimplexEmbedding(self.algebra, channels, hidden_channels, max_rank)
        kinds = max_rank + 1
        self.layers = nn.ModuleList(
            CliffordMessage(
                self.algebra, hidden_channels, edge_channels=2 * kinds, node_channels=kinds
            )
            for _ in range(num_layers)
        )
        if moves:
            self.projection = MVLinear(self.algebra, hidden_channels, 1)
        else:
            self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh linear map, of which the scalars are taken.

        Raises:
            CapabilityError: for particles, whose later positions are predicted.
        """
        if self.domain == "particles":
            raise CapabilityError(
                f"{self._title()} predicts the later positions of particles and has no head; "
                "make one with domain='points' or 'sequence'"
            )
        return MVLinear(self.algebra, self.hidden_channels, out_channels)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        last = self.projection if self.domain == "particles" else self.head
        return [self.embedding, *self.layers, last]

    def check(self, batch: SampleBatch) -> None:
        """Refuses particles without what the model takes, and lengths that sequences don't have."""
        check_lengths(batch, self._title())
        if self.domain == "particles":
            check_charged(batch, self._title(), charges=self.charges)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Predictions.

        Args:
            batch: `x` (samples, points, dimension), with `lengths` where they differ; or PyG's
                `Batch` with `pos`, and of particles `vel` and `charge`.

        Returns:
            `prediction`: numbers (samples, out_channels), or later positions (n, dimension).
        """
        pos, counts = _flat(batch)
        sample = torch.repeat_interleave(counts)
        centre = scatter_mean(pos, sample, len(counts)).index_select(0, sample)
        faces = self.complex(pos, counts)
        h = self._simplices(self._values(pos - centre, batch), faces, counts)
        if self.domain == "particles":
            step = self.projection(h[: pos.shape[0]])[:, 0, self.algebra.slice(1)]
            return {"prediction": pos + step}
        owner = torch.cat([sample[rows[:, 0]] for rows in faces])
        return {"prediction": scatter_mean(self.head(h)[..., 0], owner, len(counts))}

    def complex(self, pos: Tensor, counts: Tensor) -> Simplices:
        """The simplices of each rank, as `zoo.functional.simplicial` has them.

        Args:
            pos: positions (n, dimension) of all samples.
            counts: points of each sample.
        """
        if self.lift == "hull":
            return simplicial.hull_complex(pos, counts, self.max_rank)
        return simplicial.rips_complex(pos, counts, self.radius, self.max_rank)

    def _values(self, centred: Tensor, batch: SampleBatch) -> Tensor:
        """What is known of each vertex (n, channels, blades)."""
        known = [clifford.embed(centred, 1, self.algebra)]
        if self.domain == "particles":
            graph = cast(Batch, batch)
            known.append(clifford.embed(graph.vel, 1, self.algebra))
            if self.charges:
                known.append(clifford.embed(graph.charge.to(centred)[:, None], 0, self.algebra))
        return torch.stack(known, dim=1)

    def _simplices(self, values: Tensor, faces: Simplices, counts: Tensor) -> Tensor:
        """Multivectors of all simplices after the last layer, rank after rank."""
        edges = simplicial.message_edges(faces, counts, legacy=self.legacy)
        ranks = torch.eye(self.max_rank + 1, dtype=values.dtype, device=values.device)
        sizes = torch.tensor([len(rows) for rows in faces], device=values.device)
        one_hot = ranks.repeat_interleave(sizes, dim=0)[..., None]
        kinds = clifford.embed(one_hot, 0, self.algebra)  # (simplices, ranks, blades)
        of, to = edges
        pairs = torch.cat([kinds.index_select(0, of), kinds.index_select(0, to)], dim=1)
        h: Tensor = self.embedding(values, faces)
        for layer in self.layers:
            h = layer(h, edges, pairs, kinds)
        return h


def _flat(batch: SampleBatch) -> tuple[Tensor, Tensor]:
    """Positions (n, dimension) of all samples one after another, and the points of each."""
    if isinstance(batch, Batch):
        return batch.pos, torch.diff(batch.ptr)
    x, lengths = get(batch, "x"), get(batch, "lengths")
    assert x is not None
    if lengths is None:
        counts = torch.full((x.shape[0],), x.shape[1], device=x.device)
        return x.reshape(-1, x.shape[-1]), counts
    steps = torch.arange(x.shape[1], device=x.device)
    return x[steps < lengths[:, None]], lengths


def _check(
    domain: str,
    hidden: int,
    out_channels: int,
    layers: int,
    radius: float,
    max_rank: int,
    charges: bool,
) -> None:
    if min(hidden, out_channels, layers, max_rank) < 1 or max_rank > simplicial.MAX_RANK:
        raise ConfigError(
            f"CSMPN: hidden_channels={hidden}, out_channels={out_channels}, num_layers={layers}, "
            f"max_rank={max_rank}; expected numbers >= 1, max_rank <= {simplicial.MAX_RANK}"
        )
    if not radius > 0:
        raise ConfigError(f"CSMPN: radius={radius}; expected a length above zero")
    if charges and domain != "particles":
        raise ConfigError(
            f"CSMPN: charges=True with domain={domain!r}; only particles have charges"
        )
    if domain == "particles" and out_channels != 1:
        raise ConfigError(f"CSMPN: out_channels={out_channels}; particles have none to choose")
