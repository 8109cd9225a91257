r"""E(n) equivariant graph neural networks (Satorras, Hoogeboom, Welling, ICML 2021).

arXiv:2102.09844. Every particle has invariant features h and a position x, and hears of all others
of its sample (eqs. 3 to 7):

    m_ij = phi_e(h_i, h_j, |x_i - x_j|^2, a_ij)
    x_i <- x_i + mean_j (x_i - x_j) phi_x(m_ij) [+ phi_v(h_i) v_i]
    h_i <- h_i + phi_h(h_i, sum_j m_ij)

with a_ij the squared distance at the start and, for charges, their product. The velocity v_i stays
that of the input, as in the authors' code of the N-body experiment; without it the network is that
of their section 3. Works in any number of dimensions.

Deviations from the authors' code: displacements are not cut at 100 per component, which would break
the rotations; the first linear map of phi_e acts on nodes before they are paired (the same numbers,
a quarter of the work).
"""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear, silu
from torch_geometric.data import Batch

from zoo.errors import CapabilityError, ConfigError, UnsupportedInputError
from zoo.functional.complete_graph import complete_edges
from zoo.functional.scatter import scatter_mean, scatter_sum
from zoo.functional.squares import safe_norm
from zoo.models._inputs import SampleBatch, get
from zoo.models._particles import check_charged
from zoo.models._sample import SampleModel
from zoo.registry import register

Target = Literal["positions", "nodes", "samples"]
#: first steps are small: gain of the last map of phi_x
_GAIN = 1e-3


class EGNNLayer(nn.Module):
    """One step of messages, positions and features.

    Args:
        channels: of the features and messages.
        edge_channels: of what is known of a pair, its squared distance not counted.
        moves: whether positions change.
        velocity: whether they change along the velocities, too.
    """

    def __init__(self, channels: int, edge_channels: int, *, moves: bool, velocity: bool) -> None:
        super().__init__()
        self.channels = channels
        self.edge_first = nn.Linear(2 * channels + 1 + edge_channels, channels)
        self.edge_second = nn.Linear(channels, channels)
        self.node = _perceptron(2 * channels, channels, channels)
        self.shift = _perceptron(channels, channels, 1, bias=False) if moves else None
        self.drift = _perceptron(channels, channels, 1) if moves and velocity else None
        if self.shift is not None:
            nn.init.xavier_uniform_(cast(nn.Linear, self.shift[-1]).weight, gain=_GAIN)

    def forward(
        self,
        h: Float[Tensor, "nodes channels"],
        pos: Float[Tensor, "nodes dim"],
        vel: Float[Tensor, "nodes dim"] | None,
        edge_index: Int[Tensor, "2 edges"],
        edge_attr: Float[Tensor, "edges features"],
    ) -> tuple[Float[Tensor, "nodes channels"], Float[Tensor, "nodes dim"]]:
        """New features and positions.

        Args:
            h: features.
            pos: positions.
            vel: velocities, for a layer that takes them.
            edge_index: who is heard (row 0), and by whom (row 1).
            edge_attr: what is known of each pair.
        """
        of, to = edge_index
        away = pos.index_select(0, to) - pos.index_select(0, of)
        pair = torch.cat([away.square().sum(-1, keepdim=True), edge_attr], dim=-1)
        message = self._message(h, pair, to, of)
        if self.shift is not None:
            pos = pos + scatter_mean(away * self.shift(message), to, pos.shape[0])
        if self.drift is not None and vel is not None:
            pos = pos + self.drift(h) * vel
        total = scatter_sum(message, to, h.shape[0])
        return h + self.node(torch.cat([h, total], dim=-1)), pos

    def _message(self, h: Tensor, pair: Tensor, to: Tensor, of: Tensor) -> Tensor:
        """phi_e, whose first map is split into what each end and the pair contribute."""
        size = self.channels
        weights = self.edge_first.weight.split([size, size, pair.shape[-1]], dim=1)
        own, other = linear(h, weights[0], self.edge_first.bias), linear(h, weights[1])
        first = own.index_select(0, to) + other.index_select(0, of) + linear(pair, weights[2])
        return silu(self.edge_second(silu(first)))


@register("egnn")
class EGNN(SampleModel):
    """Predicts later positions of particles, or invariant numbers of particles or samples.

    The graph is complete and made by the model; charge products are its own affair, too.

    Args:
        in_channels: invariant features `x` of each particle beside what the model takes itself.
        hidden_channels: of features and messages.
        out_channels: numbers predicted for each particle or sample; positions have none to choose.
        num_layers: steps of messages.
        target: what `prediction` is: "positions" (n, d), equivariant; "nodes" (n, out_channels) or
            "samples" (samples, out_channels), invariant.
        velocity: whether particles move along `vel`, whose length is a feature; or the network
            without velocities.
        charges: whether the pairs know the product of their `charge`.
        domain: "particles", or "points", which have no velocities and charges.
    """

    domain = "particles"
    accepts = ("points",)

    def __init__(
        self,
        *,
        in_channels: int = 0,
        hidden_channels: int = 64,
        out_channels: int = 1,
        num_layers: int = 4,
        target: Target = "positions",
        velocity: bool = True,
        charges: bool = True,
        domain: Literal["particles", "points"] = "particles",
    ) -> None:
        super().__init__(domain=domain, outputs=("prediction",))
        _check_sizes(in_channels, hidden_channels, out_channels, num_layers)
        if domain == "points" and (velocity or charges):
            raise ConfigError(
                f"velocity={velocity}, charges={charges}: points have neither; set both to False"
            )
        if target == "positions" and out_channels != 1:
            raise ConfigError(
                f"EGNN: out_channels={out_channels} with target='positions', which has one answer "
                "for each coordinate; it is for target='nodes' and 'samples'"
            )
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.target: Target = target
        self.velocity, self.charges = velocity, charges
        #: how outputs answer group elements
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {
            "prediction": "equivariant" if target == "positions" else "invariant"
        }
        self.embedding = nn.Linear(max(in_channels + velocity, 1), hidden_channels)
        self.layers = nn.ModuleList(
            EGNNLayer(
                hidden_channels,
                1 + charges,
                # positions after the last layer matter only where they are the target
                moves=target == "positions" or k < num_layers - 1,
                velocity=velocity,
            )
            for k in range(num_layers)
        )
        if target != "positions":
            self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh perceptron on the features.

        Raises:
            CapabilityError: for a model of positions, which has no head.
        """
        if self.target == "positions":
            raise CapabilityError(
                "an EGNN with target='positions' has no head: its layers move the particles; make "
                "one with target='nodes' or 'samples'"
            )
        return _perceptron(self.hidden_channels, self.hidden_channels, out_channels)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        return [self.embedding, *self.layers, *([self.head] if "head" in self._modules else [])]

    def check(self, batch: SampleBatch) -> None:
        """Refuses samples without the charges or features that the model takes."""
        nodes = len(cast(Tensor, get(batch, "pos")))
        wanted = {"vel": self.velocity, "charge": self.charges, "x": self.in_channels > 0}
        for name in (name for name, needed in wanted.items() if needed):
            if get(batch, name) is None:
                raise UnsupportedInputError(
                    f"the samples have no {name}, which this {self._title()} takes: give it (an "
                    f"array of another name by keys={{{name!r}: ...}}), or make a model with "
                    "velocity=False, charges=False or in_channels=0"
                )
        check_charged(batch, self._title(), velocity=self.velocity, charges=self.charges)
        x = get(batch, "x") if self.in_channels else None
        if x is not None and tuple(x.shape) != (nodes, self.in_channels):
            raise UnsupportedInputError(
                f"x has the shape {tuple(x.shape)}, expected ({nodes}, {self.in_channels}), one "
                "row for each particle"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Later positions, or invariant numbers; and the features of all particles.

        Args:
            batch: PyG's `Batch` with `pos` (n, d) and, as the model takes them, `vel` (n, d),
                `charge` (n,), `x` (n, in_channels).

        Returns:
            `prediction`, see `target`, and `embedding` (n, hidden_channels), which is invariant.
        """
        graph = cast(Batch, batch)
        pos: Tensor = graph.pos
        vel: Tensor | None = graph.vel if self.velocity else None
        edges = complete_edges(torch.diff(graph.ptr)).flip(0)
        attributes = self._pairs(graph, edges)
        h = self.embedding(self._features(graph))
        for layer in self.layers:
            h, pos = layer(h, pos, vel, edges, attributes)
        if self.target == "positions":
            return {"prediction": pos, "embedding": h}
        rows = h if self.target == "nodes" else scatter_sum(h, graph.batch, graph.num_graphs)
        return {"prediction": self.head(rows), "embedding": h}

    def _pairs(self, graph: Batch, edges: Tensor) -> Tensor:
        """Charge product and squared distance of each pair (edges, 1 or 2)."""
        of, to = edges
        ends = [graph.pos.index_select(0, end) for end in (to, of)]
        known = [(ends[0] - ends[1]).square().sum(-1)]
        if self.charges:
            charge = graph.charge.to(graph.pos)
            known.insert(0, charge.index_select(0, to) * charge.index_select(0, of))
        return torch.stack(known, dim=-1)

    def _features(self, graph: Batch) -> Tensor:
        """Invariant features of each particle; a constant where there are none."""
        known = [safe_norm(graph.vel, keepdim=True)] if self.velocity else []
        known += [graph.x] if self.in_channels else []
        return torch.cat(known, dim=-1) if known else torch.ones_like(graph.pos[:, :1])


def _perceptron(inputs: int, hidden: int, outputs: int, *, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs, bias=bias)
    )


def _check_sizes(in_channels: int, hidden: int, out_channels: int, layers: int) -> None:
    if in_channels < 0 or min(hidden, out_channels, layers) < 1:
        raise ConfigError(
            f"in_channels={in_channels}, hidden_channels={hidden}, out_channels={out_channels}, "
            f"num_layers={layers}: in_channels must be 0 or more, the others 1 or more"
        )


#: the authors' names of a layer's parts, and ours
_NAMES = {
    "edge_mlp.0": "edge_first",
    "edge_mlp.2": "edge_second",
    "node_mlp": "node",
    "coord_mlp": "shift",
    "coord_mlp_vel": "drift",
}
#: options of the authors' network that ours has not, and the value that it was trained with
_FIXED: Mapping[str, float] = {
    "recurrent": True,
    "norm_diff": False,
    "tanh": False,
    "attention": False,
    "coords_weight": 1.0,
}


def _from_authors(
    state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights from the authors' N-body network, EGNN_vel."""
    for name, fixed in _FIXED.items():
        if options.get(name, fixed) != fixed:
            raise ConfigError(
                f"EGNN of the authors with {name}={options[name]!r} has no counterpart here: "
                f"only {name}={fixed!r}, that of their N-body experiment, can be converted"
            )
    if "embedding.weight" not in state or "gcl_0.coord_mlp_vel.0.weight" not in state:
        raise ConfigError(
            "these are not the weights of the authors' EGNN_vel, which hold embedding.weight and "
            f"gcl_0.coord_mlp_vel.0.weight; they begin with {', '.join(sorted(state)[:3])}"
        )
    ours = {}
    for key, weight in state.items():
        layer, _, rest = key.partition(".")
        if layer.startswith("gcl_"):
            # the longest name that fits: coord_mlp is the beginning of coord_mlp_vel
            old = max((n for n in _NAMES if rest.startswith(f"{n}.")), key=len, default="")
            if old:
                key = f"layers.{layer.removeprefix('gcl_')}.{_NAMES[old]}{rest.removeprefix(old)}"
        ours[key] = weight
    width, inputs = state["embedding.weight"].shape
    count = len({key.partition(".")[0] for key in state if key.startswith("gcl_")})
    arguments = {"in_channels": inputs - 1, "hidden_channels": width, "num_layers": count}
    return arguments, ours


CONVERTERS = {"egnn": _from_authors}
