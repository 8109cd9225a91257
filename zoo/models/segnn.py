r"""Steerable E(3) equivariant graph networks (Brandstetter et al., ICLR 2022).

arXiv:2110.02905. Features of a particle are irreps, scalars and vectors by default, and
every linear map of the perceptrons is steered by an attribute, a vector of spherical harmonics:
W_a x is the Clebsch-Gordan product of x and a with weights (`SteerableLinear`). Equations 8 to 10:

    m_ij = phi_m(f_i, f_j, |x_i - x_j|, q_i q_j; a_ij)         a_ij = Y(x_i - x_j)
    f_i <- f_i + phi_f(f_i, sum_j m_ij; a_i)                   a_i  = mean_j Y(x_i - x_j) + Y(v_i)

phi are two steerable linear maps with gates between them (after both in phi_m). f starts as the
position from the centre, the velocity and its length; what a last perceptron makes of it is the
step that a particle makes.

Deviations from the authors' code: positions are taken from the centre of the sample (their mean
runs over the coordinates of each particle, which breaks rotations and translations); harmonics have
components of variance one, and the invariant of a node's attribute is 1; directions of zero length
(coincident particles, particles at rest) have no harmonics beyond degree 0; the last map of each
update starts smaller, so that features don't grow from layer to layer; features of the ends of a
pair are mixed before these are paired (the same numbers).
"""

import math
from typing import Literal, cast

import torch
from e3nn import o3
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad

from zoo.errors import ConfigError
from zoo.functional.harmonics import spherical_harmonics
from zoo.functional.irreps import channel_irreps
from zoo.functional.scatter import scatter_mean, scatter_sum
from zoo.functional.squares import safe_norm
from zoo.layers.equivariant import Gate, Linear, SteerableLinear
from zoo.models._inputs import SampleBatch
from zoo.models._particles import charged, check_charged
from zoo.models._sample import SampleModel
from zoo.registry import register

_LIMIT = 4
#: what is known of a pair beside its features: distance and charge product
_PAIR = 2
#: size of the initial weights of the last map, and of the last one of every update
_STEP, _UPDATE = 1e-2, 0.2


class SteerablePerceptron(nn.Module):
    """Two steerable linear maps, a gate after the first.

    Args:
        irreps_in: of the features.
        irreps_attr: of the attribute.
        irreps_hidden: between the maps.
        irreps_out: of the result.
    """

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_attr: o3.Irreps,
        irreps_hidden: o3.Irreps,
        irreps_out: o3.Irreps,
    ) -> None:
        super().__init__()
        self.gate = Gate(irreps_hidden)
        self.first = SteerableLinear(irreps_in, irreps_attr, self.gate.irreps_in)
        self.second = SteerableLinear(irreps_hidden, irreps_attr, irreps_out)

    def forward(
        self, x: Float[Tensor, "rows width"], attribute: Float[Tensor, "rows attr"]
    ) -> Float[Tensor, "rows out"]:
        """Features of `irreps_out`."""
        out: Tensor = self.second(self.gate(self.first(x, attribute)), attribute)
        return out


class SEGNNLayer(nn.Module):
    """One step of messages.

    Args:
        irreps: of the features and messages.
        irreps_attr: of the attributes of edges and nodes.
    """

    def __init__(self, irreps: o3.Irreps, irreps_attr: o3.Irreps) -> None:
        super().__init__()
        self.gate = Gate(irreps)
        inside = self.gate.irreps_in
        self.own = SteerableLinear(irreps, irreps_attr, inside)
        self.other = Linear(irreps, self.own.irreps_mixed, bias=False)
        scalars = sum(part.mul for part in self.own.irreps_mixed if part.ir.l == 0)
        self.pair = nn.Linear(_PAIR, scalars, bias=False)
        self.second = SteerableLinear(irreps, irreps_attr, inside)
        self.update = SteerablePerceptron(irreps + irreps, irreps_attr, irreps, irreps)

    def forward(
        self,
        f: Float[Tensor, "nodes width"],
        edge_index: Int[Tensor, "2 edges"],
        pair: Float[Tensor, "edges known"],
        edge_attr: Float[Tensor, "edges attr"],
        node_attr: Float[Tensor, "nodes attr"],
    ) -> Float[Tensor, "nodes width"]:
        """New features.

        Args:
            f: features.
            edge_index: who is heard (row 0), and by whom (row 1).
            pair: distance and charge product of each pair.
            edge_attr: harmonics of each pair's direction.
            node_attr: attributes of the nodes.
        """
        of, to = edge_index
        ends = self.own.mix(f).index_select(0, to) + self.other(f).index_select(0, of)
        known = self.pair(pair)
        mixed = ends / math.sqrt(2) + pad(known, (0, ends.shape[1] - known.shape[1]))
        message = self.gate(self.own.couple(mixed, edge_attr))
        message = self.gate(self.second(message, edge_attr))
        total = scatter_sum(message, to, f.shape[0])
        new: Tensor = f + self.update(torch.cat([f, total], dim=-1), node_attr)
        return new


@register("segnn")
class SEGNN(SampleModel):
    """Predicts later positions of charged particles by steerable message passing.

    The graph is complete and made by the model.

    Args:
        hidden_channels: of each degree of the features.
        num_layers: steps of messages.
        lmax: highest degree of the features.
        lmax_attr: highest degree of the attributes.
    """

    domain = "particles"

    def __init__(
        self,
        *,
        hidden_channels: int = 32,
        num_layers: int = 4,
        lmax: int = 1,
        lmax_attr: int = 1,
    ) -> None:
        if min(hidden_channels, num_layers) < 1 or not (
            0 <= lmax <= _LIMIT and 1 <= lmax_attr <= _LIMIT
        ):
            raise ConfigError(
                f"SEGNN: hidden_channels={hidden_channels}, num_layers={num_layers}, lmax={lmax}, "
                f"lmax_attr={lmax_attr}; expected numbers >= 1 (lmax >= 0), degrees up to {_LIMIT}"
            )
        super().__init__(sample_shape=(3,), outputs=("prediction",))
        self.hidden_channels, self.lmax_attr = hidden_channels, lmax_attr
        #: how outputs answer group elements
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {"prediction": "equivariant"}
        irreps = channel_irreps(lmax, hidden_channels, parity=True)
        attr = channel_irreps(lmax_attr, 1, parity=True)
        self.embedding = SteerableLinear("1x0e+2x1o", attr, irreps)
        self.layers = nn.ModuleList(SEGNNLayer(irreps, attr) for _ in range(num_layers))
        self.projection = SteerablePerceptron(irreps, attr, irreps, o3.Irreps("1x1o"))
        self._initialise()

    def _initialise(self) -> None:
        """Torch's initial values of linear maps, a third of variance one; smaller last maps."""
        sizes = {id(self.projection.second.linear): _STEP}
        for layer in self.layers:
            sizes[id(cast(SEGNNLayer, layer).update.second.linear)] = _UPDATE
        for module in self.modules():
            if isinstance(module, Linear):
                size = sizes.get(id(module), 1.0)
                for weight in module.weights.values():
                    nn.init.uniform_(weight, -size, size)

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output."""
        return [self.embedding, *self.layers, self.projection]

    def check(self, batch: SampleBatch) -> None:
        """Refuses particles without velocities or charges."""
        check_charged(batch, self._title())

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Later positions, and the invariant features of all particles.

        Args:
            batch: PyG's `Batch` with `pos`, `vel` (n, 3) and `charge` (n,).

        Returns:
            `prediction` (n, 3), and `embedding` (n, hidden_channels), which is invariant.
        """
        given = charged(batch)
        of, to = given.edges
        away = given.pos.index_select(0, to) - given.pos.index_select(0, of)
        pair = torch.cat([safe_norm(away, keepdim=True), given.product], dim=-1)
        edge_attr = self._harmonics(away)
        heard = scatter_mean(edge_attr, to, given.pos.shape[0]) + self._harmonics(given.vel)
        node_attr = torch.cat([torch.ones_like(heard[:, :1]), heard[:, 1:]], dim=-1)
        speed = safe_norm(given.vel, keepdim=True)
        f = self.embedding(torch.cat([speed, given.centred, given.vel], dim=-1), node_attr)
        for layer in self.layers:
            f = layer(f, given.edges, pair, edge_attr, node_attr)
        step = self.projection(f, node_attr)
        return {"prediction": given.pos + step, "embedding": f[:, : self.hidden_channels]}

    def _harmonics(self, vectors: Tensor) -> Tensor:
        """Harmonics of directions (rows, (lmax_attr + 1)^2); only degree 0 where there is none."""
        length = safe_norm(vectors, keepdim=True)
        direction = vectors / torch.where(length == 0, 1.0, length)
        return spherical_harmonics(direction, self.lmax_attr, normalize=False)
