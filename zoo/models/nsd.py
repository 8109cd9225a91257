r"""Neural sheaf diffusion (Bodnar, Di Giovanni, Chamberlain, Liò, Bronstein, NeurIPS 2022).

arXiv:2202.04579. Each node's features are d vectors, one per stalk coordinate. Each layer learns
restriction maps from the features at the ends of edges (diagonal, orthogonal or general) and takes
a step of diffusion with the normalised sheaf Laplacian Delta,

    X <- (1 + tanh eps) X - ELU(Delta (I (x) W_1) X W_2).

The continuous version integrates dX/dt = -ELU(Delta (I (x) W_1) X W_2), Delta fixed by the first
features, in equal steps of Runge and Kutta's fourth order or in steps that fit the error.

Deviations from the authors' code: no Laplacian is assembled; `edge_index` is an input, so that any
graph or batch of graphs may follow; general maps need no noise in training, as the derivative of
the inverse root is finite where eigenvalues repeat, and their entries are clamped only with
`clamp`; parameters that cancel are left out; the continuous version is differentiated through its
steps, without an adjoint equation.
"""

import math
from typing import Any, Literal, cast, get_args

from torch import Tensor, nn
from torch.nn.functional import dropout
from torch_geometric.data import Data

from zoo.errors import ConfigError
from zoo.functional import sheaf as on_sheaf
from zoo.functional.integrate import dormand_prince, runge_kutta
from zoo.layers.sheaf import Learner, ShareableSheaf, SheafDiffusion, SheafKind, SheafLearner
from zoo.models._graph import GraphTask
from zoo.models._inputs import SampleBatch
from zoo.models._nsd_authors import convert_state
from zoo.models._sheaf import SheafModel
from zoo.registry import register

Solver = Literal["rk4", "dopri5"]
_TOLERANCE = 1e-5


@register("nsd")
class NSD(SheafModel):
    """Classifies nodes, pairs of nodes or graphs, or predicts numbers, by diffusion on a sheaf.

    Args:
        in_channels: features of a node.
        out_channels: classes, or numbers to predict.
        hidden_channels: channels of each stalk coordinate.
        num_layers: steps of diffusion.
        stalk_dim: d, of the stalks that are learnt.
        sheaf: "diag", "bundle" (orthogonal maps) or "general".
        orthogonal: "householder", "cayley", "matrix_exp" or "euler" (d of 2 or 3), for bundles.
        linear: learns one sheaf from the first features, for all layers.
        learner: "dense", "sparse" (fewer weights) or "interleaved" (the authors' sparse one).
        sheaf_activation: "tanh", "elu" or "identity", of the maps' parameters.
        edge_weights: weighs the edges of bundles.
        low_pass: one more stalk coordinate, which averages over neighbours.
        high_pass: one more stalk coordinate, which takes differences.
        activation: ELU after the encoder and after the Laplacian.
        left_weights: mixes stalk coordinates (W_1).
        right_weights: mixes channels (W_2).
        second_linear: a second linear map in the encoder.
        input_dropout: of the features of nodes.
        dropout: of hidden features.
        clamp: limits entries of general Laplacians to [-1, 1], as the authors' code.
        dynamics: "discrete" layers, or "continuous" with one sheaf and one W_1, W_2.
        time: how long the continuous diffusion lasts.
        solver: "rk4" takes `num_layers` equal steps, "dopri5" as many as `tolerance` needs.
        tolerance: of "dopri5", the error of a step relative to 1 + |X|.
        task: "node", "edge" (pairs in `edge_label_index`, or the edges), "graph", or "link".
        regression: `prediction` instead of `logits`.

    Raises:
        ConfigError: for sizes below 1, unknown names, dropouts outside [0, 1), settings of time
            where layers are discrete.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        in_channels: int = 16,
        out_channels: int = 2,
        hidden_channels: int = 16,
        num_layers: int = 2,
        stalk_dim: int = 3,
        sheaf: SheafKind = "bundle",
        orthogonal: on_sheaf.Orthogonal = "householder",
        linear: bool = False,
        learner: Learner = "dense",
        sheaf_activation: Literal["tanh", "elu", "identity"] = "tanh",
        edge_weights: bool = True,
        low_pass: bool = False,
        high_pass: bool = False,
        activation: bool = True,
        left_weights: bool = True,
        right_weights: bool = True,
        second_linear: bool = False,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        clamp: bool = False,
        dynamics: Literal["discrete", "continuous"] = "discrete",
        time: float = 1.0,
        solver: Solver = "rk4",
        tolerance: float = _TOLERANCE,
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
        _check(num_layers, time, dynamics, solver, tolerance)
        self.continuous, self.num_steps, self.time = dynamics == "continuous", num_layers, time
        self.solver, self.tolerance = solver, tolerance
        learners: dict[str, Any] = {"orthogonal": orthogonal, "learner": learner, "clamp": clamp}
        learners |= {"activation": sheaf_activation, "edge_weights": edge_weights}
        steps: dict[str, Any] = {"activation": activation, "dropout": dropout}
        steps |= {"left": left_weights, "right": right_weights}
        layers = 1 if self.continuous else num_layers
        sizes = self.stalks, hidden_channels
        self.learners = nn.ModuleList(
            SheafLearner(stalk_dim, *sizes, kind=sheaf, **learners)
            for _ in range(1 if linear else layers)
        )
        self.steps = nn.ModuleList(SheafDiffusion(*sizes, **steps) for _ in range(layers))
        # there is no residual to weigh where time is continuous
        cast(SheafDiffusion, self.steps[0]).epsilon.requires_grad_(not self.continuous)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        return [*self.encoders(), *self.learners, *self.steps, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Answers for nodes, pairs or graphs; see `GraphModel.answers`.

        Args:
            batch: `x` (nodes, in_channels) and `edge_index` (2, edges), each edge in both
                directions; other graphs are made so, with a warning.
        """
        graph = cast(Data, batch)
        assert graph.x is not None and graph.edge_index is not None  # the base has checked
        nodes = graph.x.shape[0]
        pattern = self.pattern(graph.edge_index, nodes)
        pairs = pattern.pairs
        x = self.encode(graph.x)
        if self.continuous:
            return self.answers(self._integrate(x, pattern, graph.get("batch")).flatten(1), graph)
        laplacians: ShareableSheaf = ()
        for layer, step in enumerate(self.steps):
            if layer < len(self.learners):
                maps = dropout(x, self.dropout if layer else 0.0, self.training)
                learnt = self.learners[layer](maps, pairs)
                laplacians = self.with_fixed(learnt, pairs, nodes)
            x = step(laplacians, x, pattern)
        return self.answers(x.flatten(1), graph)

    def _integrate(self, x: Tensor, pattern: on_sheaf.Pattern, owner: Tensor | None) -> Tensor:
        """The features at the end of time."""
        pairs = pattern.pairs
        laplacians = self.with_fixed(self.learners[0](x, pairs), pairs, x.shape[0])
        velocity = cast(SheafDiffusion, self.steps[0]).velocity

        def field(value: Tensor) -> Tensor:
            return -velocity(laplacians, value, pattern)

        if self.solver == "rk4":
            return runge_kutta(field, x, self.time, self.num_steps)
        return dormand_prince(field, x, self.time, tolerance=self.tolerance, owner=owner)


def _check(num_layers: int, time: float, dynamics: str, solver: str, tolerance: float) -> None:
    if num_layers < 1 or not 0 < time < math.inf or not tolerance > 0:
        raise ConfigError(
            f"num_layers={num_layers}, time={time}, tolerance={tolerance}: expected at least 1, "
            "and more than 0 for the others, the time finite"
        )
    if dynamics not in ("discrete", "continuous"):
        raise ConfigError(f"dynamics={dynamics!r}: expected discrete or continuous")
    if solver not in get_args(Solver):
        raise ConfigError(f"solver={solver!r}: expected one of {', '.join(get_args(Solver))}")
    if dynamics == "discrete" and (time, solver, tolerance) != (1.0, "rk4", _TOLERANCE):
        raise ConfigError(
            f"time={time}, solver={solver!r}, tolerance={tolerance}: layers have no time; say "
            "dynamics='continuous', or leave these out"
        )
    if solver == "rk4" and tolerance != _TOLERANCE:
        raise ConfigError(
            f"tolerance={tolerance}: rk4 takes equal steps; say solver='dopri5', or leave it out"
        )


CONVERTERS = {"nsd": convert_state}
#: what the authors keep in the name of the class
PRESET_DECIDES = ("sheaf",)
