"""What layers of EquiformerV2 need of edges, and the network that makes weights of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast, get_args

from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional import EdgeRotation
from zoo.functional.irreps import coefficient_degrees
from zoo.layers.constants import ConstantModule

ElementTables = Literal["own", "shared", "none"]
ELEMENT_TABLES: tuple[str, ...] = get_args(ElementTables)


@dataclass
class EdgeBatch:
    """The edges of a batch, with what every layer needs of them computed once.

    `basis` has a row per distance, and `row` says which one an edge has. `kinds` are the elements
    of source (end 0) and target (end 1). `rotation` takes features into the frames of the edges and
    out of them. `tables` are the tables of elements that all layers share, if they do.
    """

    target: Int[Tensor, " edges"]
    row: Int[Tensor, " edges"]
    basis: Float[Tensor, "rows functions"]
    kinds: Int[Tensor, "2 edges"]
    rotation: EdgeRotation
    envelope: Float[Tensor, " edges"] | None
    tables: tuple[Tensor, ...]
    num_nodes: int


class BackScale(ConstantModule):
    """Degrees l > M times sqrt((2l + 1) / (2 M + 1)).

    On the way back from frames with orders up to M this makes up for those left out.

    Args:
        lmax: highest degree.
        mmax: highest order M in the frames.
    """

    factor: Tensor

    def __init__(self, lmax: int, mmax: int) -> None:
        super().__init__()
        degree = coefficient_degrees(lmax).double()
        self.register_constant(
            "factor", lambda: ((2 * degree + 1) / (2 * mmax + 1)).clamp(min=1.0).sqrt()
        )
        self.trivial = mmax == lmax

    def forward(
        self, x: Float[Tensor, "nodes coefficients channels"]
    ) -> Float[Tensor, "nodes coefficients channels"]:
        """The scaled features, degree-major."""
        return x if self.trivial else x * self.factor[:, None]


class RadialNetwork(nn.Module):
    """Weights of edges from distances and elements: two hidden layers with LayerNorm and SiLU.

    The first layer is linear in what it reads, so each distance is mapped once, not once per
    direction, and each element once per row of the tables.

    Args:
        functions: of the radial basis.
        hidden: channels of the hidden layers and of the element tables.
        out: weights per edge.
        elements: rows of the element tables.
        tables: "own" for tables of source and target elements, "shared" for those of the batch,
            "none" to read distances alone.

    Raises:
        ConfigError: another choice of tables.
    """

    def __init__(
        self, functions: int, hidden: int, out: int, *, elements: int, tables: ElementTables
    ) -> None:
        super().__init__()
        if tables not in ELEMENT_TABLES:
            raise ConfigError(f"unknown choice {tables!r}: {nearest(tables, ELEMENT_TABLES)}")
        self.functions = functions
        self.choice = tables
        own = element_tables(elements, hidden) if tables == "own" else nn.ModuleList()
        self.tables = own
        read = functions + (0 if tables == "none" else 2 * hidden)
        self.first = nn.Linear(read, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, out)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))

    def forward(self, edges: EdgeBatch) -> Float[Tensor, "edges out"]:
        """Weights of each edge."""
        weight = self.first.weight
        x = nn.functional.linear(edges.basis, weight[:, : self.functions], self.first.bias)
        x = x.index_select(0, edges.row)
        if self.choice != "none":
            tables = table_weights(self.tables) or edges.tables
            parts = weight[:, self.functions :].chunk(2, dim=1)
            for table, part, kind in zip(tables, parts, edges.kinds, strict=True):
                x = x + (table @ part.T).index_select(0, kind)
        for norm, linear in zip(self.norms, (self.second, self.last), strict=True):
            x = linear(nn.functional.silu(norm(x)))
        return x


def table_weights(tables: Iterable[nn.Module]) -> tuple[Tensor, ...]:
    """The weights of embeddings."""
    return tuple(cast(nn.Embedding, table).weight for table in tables)


def element_tables(elements: int, channels: int) -> nn.ModuleList:
    """Fresh embeddings of source and target elements, small at first."""
    tables = [nn.Embedding(elements, channels) for _ in range(2)]
    for table in tables:
        nn.init.uniform_(table.weight, -0.001, 0.001)
    return nn.ModuleList(tables)
