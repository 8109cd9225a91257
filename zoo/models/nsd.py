r"""Neural sheaf diffusion (Bodnar, Di Giovanni, Chamberlain, Liò, Bronstein, NeurIPS 2022).

arXiv:2202.04579. Each node's features are d vectors, one per stalk coordinate. Each layer learns
restriction maps from the features at the ends of edges (diagonal, orthogonal or general) and takes
a step of diffusion with the normalised sheaf Laplacian Delta,

    X <- (1 + tanh eps) X - ELU(Delta (I (x) W_1) X W_2).

The continuous version integrates dX/dt = -ELU(Delta (I (x) W_1) X W_2), Delta fixed by the first
features, with Runge and Kutta's fourth-order method in equal steps.

Deviations from the authors' code: no Laplacian is assembled; `edge_index` is an input, so that any
graph or batch of graphs may follow; general maps need no noise in training, as the derivative of
the inverse root is finite where eigenvalues repeat, and their entries are clamped only with
`clamp`; parameters that cancel are left out; the continuous version has no adjoint method and no
adaptive steps.
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import dropout, elu, log_softmax
from torch_geometric.data import Data

from zoo.errors import ConfigError
from zoo.functional import sheaf as on_sheaf
from zoo.layers.sheaf import Learner, ShareableSheaf, SheafDiffusion, SheafKind, SheafLearner
from zoo.models._inputs import Raw, SampleBatch
from zoo.models._nsd_authors import convert_state
from zoo.models._sample import SampleModel
from zoo.registry import register


class SheafModel(SampleModel):
    """What networks on sheaves share: features in, stalks, classifier.

    Args:
        in_channels: features of a node.
        out_channels: classes of nodes.
        hidden_channels: channels of each stalk coordinate.
        stalk_dim: d.
        low_pass: one more stalk coordinate that averages over neighbours.
        high_pass: one more that takes differences.
        activation: whether ELU follows the encoder.
        second_linear: a second linear map after the first.
        input_dropout: of the features.
        dropout: of hidden features.

    Raises:
        ConfigError: for sizes below 1, or dropouts outside [0, 1).
    """

    domain = "graph"

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        hidden_channels: int,
        stalk_dim: int,
        low_pass: bool,
        high_pass: bool,
        activation: bool,
        second_linear: bool,
        input_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__(sample_shape=(in_channels,))
        if min(in_channels, hidden_channels, stalk_dim) < 1:
            raise ConfigError(
                f"in_channels={in_channels}, hidden_channels={hidden_channels}, "
                f"stalk_dim={stalk_dim}: expected at least 1 of each"
            )
        if not (0 <= dropout < 1 and 0 <= input_dropout < 1):
            raise ConfigError(
                f"dropout={dropout}, input_dropout={input_dropout}: expected 0 <= dropout < 1"
            )
        # the order of the authors' code
        self.signs = [-1.0] * high_pass + [1.0] * low_pass
        self.channels, self.width = hidden_channels, stalk_dim + len(self.signs)
        self.input_dropout, self.dropout, self.activation = input_dropout, dropout, activation
        hidden = self.width * hidden_channels
        self.encoder = nn.Linear(in_channels, hidden)
        self.second = nn.Linear(hidden, hidden) if second_linear else None

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh classifier of nodes."""
        return nn.Linear(self.width * self.channels, out_channels)

    def prepare(self, inputs: Raw) -> SampleBatch:
        """As of every model; mappings with `x` and `edge_index` are graphs, too."""
        if isinstance(inputs, Mapping) and {"x", "edge_index"} <= set(inputs):
            inputs = Data(**inputs)
        return super().prepare(inputs)

    def encode(self, x: Float[Tensor, "nodes features"]) -> Float[Tensor, "nodes width channels"]:
        """Features of stalks."""
        x = self.encoder(dropout(x, self.input_dropout, self.training))
        x = dropout(elu(x) if self.activation else x, self.dropout, self.training)
        if self.second is not None:
            x = self.second(x)
        stalks: Tensor = x.unflatten(1, (self.width, self.channels))
        return stalks

    def with_fixed(
        self, learnt: on_sheaf.SheafLaplacian, pairs: Int[Tensor, "2 pairs"], nodes: int
    ) -> ShareableSheaf:
        """A Laplacian and that of the coordinates with nothing to learn."""
        if not self.signs:
            return (learnt,)
        fixed = on_sheaf.fixed_laplacian(pairs, nodes, self.signs, learnt.off.dtype)
        return learnt, fixed

    def decode(self, x: Float[Tensor, "nodes width channels"]) -> dict[str, Tensor]:
        """Outputs by name."""
        embedding = x.flatten(1)
        logits = self.head(embedding)
        return {
            "logits": logits,
            "log_softmax": log_softmax(logits, dim=1),
            "embedding": embedding,
        }


@register("nsd")
class NSD(SheafModel):
    """Classifies nodes by diffusion on a learnt sheaf.

    Args:
        in_channels: features of a node.
        out_channels: classes of nodes.
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
        time: how long the continuous diffusion lasts; each of `num_layers` Runge-Kutta steps has
            an equal share.

    Raises:
        ConfigError: for sizes below 1, unknown names, dropouts outside [0, 1).
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
        )
        _check(num_layers, time, dynamics)
        self.continuous, self.num_steps, self.time = dynamics == "continuous", num_layers, time
        learners: dict[str, Any] = {
            "kind": sheaf,
            "orthogonal": orthogonal,
            "learner": learner,
            "activation": sheaf_activation,
            "edge_weights": edge_weights,
            "clamp": clamp,
        }
        steps: dict[str, Any] = {"activation": activation, "dropout": dropout}
        steps |= {"left": left_weights, "right": right_weights}
        layers = 1 if self.continuous else num_layers
        self.learners = nn.ModuleList(
            SheafLearner(stalk_dim, self.width, hidden_channels, **learners)
            for _ in range(1 if linear else layers)
        )
        self.steps = nn.ModuleList(
            SheafDiffusion(self.width, hidden_channels, **steps) for _ in range(layers)
        )
        # there is no residual to weigh where time is continuous
        cast(SheafDiffusion, self.steps[0]).epsilon.requires_grad_(not self.continuous)
        self.head = self.make_head(out_channels)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        first = [self.encoder] if self.second is None else [self.encoder, self.second]
        return [*first, *self.learners, *self.steps, self.head]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits, their logarithmic softmax and the last features of all nodes.

        Args:
            batch: `x` (nodes, in_channels) and `edge_index` (2, edges), each edge in both
                directions; other graphs are made so, with a warning.
        """
        graph = cast(Data, batch)
        assert graph.x is not None and graph.edge_index is not None  # the base has checked
        nodes = len(graph.x)
        pairs = on_sheaf.undirected_pairs(graph.edge_index, nodes)
        x = self.encode(graph.x)
        if self.continuous:
            return self.decode(self._integrate(x, pairs))
        laplacians: ShareableSheaf = ()
        for layer, step in enumerate(self.steps):
            if layer < len(self.learners):
                maps = dropout(x, self.dropout if layer else 0.0, self.training)
                learnt = self.learners[layer](maps, pairs)
                laplacians = self.with_fixed(learnt, pairs, nodes)
            x = step(laplacians, x)
        return self.decode(x)

    def _integrate(self, x: Tensor, pairs: Tensor) -> Tensor:
        """The features at the end of time, by the classical Runge-Kutta method."""
        laplacians = self.with_fixed(self.learners[0](x, pairs), pairs, len(x))
        velocity = cast(SheafDiffusion, self.steps[0]).velocity
        h = self.time / self.num_steps
        for _ in range(self.num_steps):
            a = -velocity(laplacians, x)
            b = -velocity(laplacians, x + 0.5 * h * a)
            c = -velocity(laplacians, x + 0.5 * h * b)
            d = -velocity(laplacians, x + h * c)
            x = x + (h / 6.0) * (a + 2.0 * b + 2.0 * c + d)
        return x


def _check(num_layers: int, time: float, dynamics: str) -> None:
    if num_layers < 1 or not time > 0:
        raise ConfigError(
            f"num_layers={num_layers}, time={time}: expected at least 1, and more than 0"
        )
    if dynamics not in ("discrete", "continuous"):
        raise ConfigError(f"dynamics={dynamics!r}: expected discrete or continuous")


CONVERTERS = {"nsd": convert_state}
#: what the authors keep in the name of the class
PRESET_DECIDES = ("sheaf",)
