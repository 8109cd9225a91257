r"""Sheaf neural networks with connection Laplacians (Barbero, Bodnar, Sáez de Ocáriz Borde,
Bronstein, Veličković, Liò, 2022).

arXiv:2206.08702. The sheaf is not learnt but computed from the features before training: at each
node the directions in which the neighbours' features lie (local principal components), along each
edge the orthogonal matrix O_uv that carries one basis to the other best (algorithm 1). Layers are
those of neural sheaf diffusion with the fixed connection Laplacian, whose blocks are deg(v) I and
-O_uv.

The baselines of the same study: transports drawn evenly from O(d) for each edge (RandEdge), or
O_u^T O_v of matrices drawn for each node (RandNode).

Deviations: O_uv is the block itself; fed to a Laplacian of restriction maps F_u^T F_v it would
count twice. The largest entry of each basis vector is positive, so that the numbering of nodes and
the linear algebra library leave no trace. `edge_index` is an input, so that any graph or batch of
graphs may follow.
"""

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from zoo.errors import ConfigError
from zoo.functional import sheaf as on_sheaf
from zoo.layers.sheaf import SheafDiffusion
from zoo.models._graph import GraphTask
from zoo.models._inputs import SampleBatch
from zoo.models._sheaf import SheafModel, same
from zoo.registry import register

Transport = Literal["features", "edge", "node"]


@register("conn_nsd")
class ConnNSD(SheafModel):
    """Classifies nodes, pairs of nodes or graphs, by diffusion on a sheaf that features fix.

    Args:
        in_channels: features of a node.
        out_channels: classes, or numbers to predict.
        hidden_channels: channels of each stalk coordinate.
        num_layers: steps of diffusion.
        stalk_dim: d, at most the number of features where these fix the transports.
        transport: from the "features"; or drawn at random for each "edge", or each "node".
        transport_seed: of what is drawn; beside it only the features of the nodes decide.
        low_pass: one more stalk coordinate, which averages over neighbours.
        high_pass: one more stalk coordinate, which takes differences.
        activation: ELU after the encoder and after the Laplacian.
        left_weights: mixes stalk coordinates (W_1).
        right_weights: mixes channels (W_2).
        second_linear: a second linear map in the encoder.
        input_dropout: of the features of nodes.
        dropout: of hidden features.
        task: "node", "edge" (pairs in `edge_label_index`, or the edges), "graph", or "link".
        regression: `prediction` instead of `logits`.

    Raises:
        ConfigError: for sizes below 1, more stalk dimensions than features, unknown names,
            dropouts outside [0, 1).
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int = 16,
        out_channels: int = 2,
        hidden_channels: int = 16,
        num_layers: int = 2,
        stalk_dim: int = 3,
        transport: Transport = "features",
        transport_seed: int = 0,
        low_pass: bool = False,
        high_pass: bool = False,
        activation: bool = True,
        left_weights: bool = True,
        right_weights: bool = True,
        second_linear: bool = False,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        task: GraphTask = "node",
        regression: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            hidden_channels=hidden_channels,
            stalk_dim=stalk_dim,
            low_pass=low_pass,
            high_pass=high_pass,
            activation=activation,
            second_linear=second_linear,
            input_dropout=input_dropout,
            dropout=dropout,
            task=task,
            regression=regression,
        )
        _check(in_channels, num_layers, stalk_dim, transport)
        self.stalk_dim, self.transport_seed = stalk_dim, transport_seed
        self.transport: Transport = transport
        steps: dict[str, Any] = {"activation": activation, "dropout": dropout}
        steps |= {"left": left_weights, "right": right_weights}
        self.steps = nn.ModuleList(
            SheafDiffusion(self.stalks, hidden_channels, **steps) for _ in range(num_layers)
        )
        # the last graph and its transports: training sees one graph again and again
        self._known: tuple[list[Tensor], Tensor] | None = None

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        return [*self.encoders(), *self.steps, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Answers for nodes, pairs or graphs; see `GraphModel.answers`.

        Args:
            batch: `x` (nodes, in_channels) and `edge_index` (2, edges), each edge in both
                directions; other graphs are made so, with a warning. Derivatives by `x` leave
                out how the transports depend on it.
        """
        graph = cast(Data, batch)
        assert graph.x is not None and graph.edge_index is not None  # the base has checked
        nodes = graph.x.shape[0]
        pattern = self.pattern(graph.edge_index, nodes)
        pairs = pattern.pairs
        carried = self._transports(graph.x.detach(), pairs, graph.get("batch"))
        laplacian = on_sheaf.transport_laplacian(carried, pairs, nodes)
        laplacians = self.with_fixed(laplacian, pairs, nodes)
        x = self.encode(graph.x)
        for step in self.steps:
            x = step(laplacians, x, pattern)
        return self.answers(x.flatten(1), graph)

    def _transports(self, x: Tensor, pairs: Tensor, owner: Tensor | None) -> Tensor:
        """O_uv of every pair."""
        given = [x, pairs] if owner is None else [x, pairs, owner]
        if self._known is not None:
            known, carried = self._known
            if len(known) == len(given) and all(map(same, known, given)):
                return carried
        with torch.inference_mode(False):  # kept as they are now, to be trained on later
            given = [tensor.clone() for tensor in given]
            carried = self._computed(*given)
        self._known = given, carried
        return carried

    def _computed(self, x: Tensor, pairs: Tensor, owner: Tensor | None = None) -> Tensor:
        """O_uv of every pair (pairs, d, d)."""
        if self.transport == "features":
            bases = on_sheaf.local_bases(x, pairs, self.stalk_dim, owner)
            return on_sheaf.transports(bases, pairs)
        return on_sheaf.random_transports(
            x, pairs, self.stalk_dim, kind=self.transport, seed=self.transport_seed
        )


def _check(in_channels: int, num_layers: int, stalk_dim: int, transport: str) -> None:
    if num_layers < 1:
        raise ConfigError(f"num_layers={num_layers}: expected at least 1")
    if transport not in get_args(Transport):
        known = ", ".join(get_args(Transport))
        raise ConfigError(f"transport={transport!r}: expected one of {known}")
    if transport == "features" and stalk_dim > in_channels:
        raise ConfigError(
            f"stalk_dim={stalk_dim}: stalks are spanned by the features of nodes, of which there "
            f"are {in_channels}; take a stalk_dim of 1 to {in_channels}"
        )
