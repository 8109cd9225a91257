"""eSCN: SO(3) convolutions as SO(2) convolutions (Passaro, Zitnick, arXiv:2302.03655).

Every atom carries, per channel, coefficients of spherical harmonics up to degree L. In a frame
whose polar axis is the edge, a convolution with harmonics of the edge mixes only coefficients of
the same order |m|; orders above M are dropped. The equations below are those of the authors' code
(fairchem-core 1.10), which presets with their weights reproduce.

    edge scalars   e_ij = SiLU(W SiLU(u[z_j] + v[z_i] + W g(r_ij))), g evenly spaced Gaussians
    message        a_ij = act(conv(D_ij x_j, e_ij) + conv'(D_ij x_i, e_ij)), orders |m| <= M
    sum            m_i = sum_j env(r_ij) D_ij^T a_ij
    update         x_i <- x_i + P(x_i, m_i), without x_i in the first layer
    energy         E_i = mean over points p of MLP(x_i(p)); direct force: mean of MLP'(x_i(p)) p

`act` is SiLU on a grid of the sphere and P a perceptron at each point of a grid. Both are
equivariant but for aliasing: the error falls as the grid (`resolution`) and the number of points
(`samples`) grow. With `nonlinearity="gate"` both are gates and the energy comes from degree 0:
equivariant exactly, and not the paper's.

How it is computed here differs from how it is written: linear maps that come before a rotation
or a transform to a grid are applied before it, to atoms and coefficients, of which there are fewer
than edges and points; the first layer, whose features are scalars, has order 0 alone.

Deviations from the authors' code: frames are the same in every call (theirs are rolled at random
about the edge, which changes results by rounding and aliasing alone), and derivatives go through
them. `envelope="polynomial"` (the default) makes messages vanish at the cutoff with two continuous
derivatives, which forces as gradients need; None is the published form. The authors' heads look
at points of a spiral a little off the unit sphere (`sphere_points="spiral"`, which published
weights need); ours at a product grid of Gauss and Legendre, whose directions add up to nothing.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import polynomial_envelope
from zoo.functional.irreps import check_degrees, order_sizes
from zoo.layers.atomistic import AtomFeatures, AtomGraph, directed_edges
from zoo.layers.equivariant import EdgeFrames, SphereGrid, escn_resolution
from zoo.layers.radial import GaussianBasis
from zoo.models._atomistic import AtomisticModel
from zoo.models._escn_activations import FrameGate, GridActivation, NodeGate
from zoo.models._escn_blocks import (
    EdgeScalars,
    EnterGrid,
    LeaveGrid,
    Message,
    NodeUpdate,
)
from zoo.models._escn_edges import EdgeGeometry, edge_geometry, frame_rows
from zoo.models._escn_fairchem import FROZEN, convert_state
from zoo.models._escn_heads import sphere_heads
from zoo.models._fairchem import unwrap
from zoo.models._spherical import spherical_features
from zoo.registry import register

#: numbers that are worked on at once: what a block of edges makes of them fits the cache
BLOCK = 4_000_000
#: from torch's initialisation, uniform in +-1/sqrt(fan_in), to variance 1/fan_in
UNIT_VARIANCE = 3.0**0.5
#: SiLU of this is 1
OPEN = 1.278
#: power of the envelope's polynomial
ENVELOPE_POWER = 5


class Layer(nn.Module):
    """Messages between atoms, then an update of each.

    Args:
        scalars: of the edges.
        message: from neighbours.
        update: of atoms by messages.
        first: whether the features are scalars so far.
    """

    def __init__(
        self, scalars: EdgeScalars, message: Message, update: NodeUpdate, *, first: bool
    ) -> None:
        super().__init__()
        self.scalars, self.message, self.update, self.first = scalars, message, update, first

    def forward(
        self,
        x: Float[Tensor, "atoms coefficients channels"],
        radial: Float[Tensor, "pairs basis"],
        elements: tuple[Tensor, Tensor],
        geometry: EdgeGeometry | None,
    ) -> Float[Tensor, "atoms coefficients channels"]:
        """Updated features.

        Args:
            x: features.
            radial: basis functions of each edge or pair.
            elements: at the sources and at the targets.
            geometry: of the edges; None if there are none.
        """
        if geometry is None:
            message = torch.zeros_like(x)
        else:
            scalars = self.scalars(radial, *elements).index_select(0, geometry.order)
            if self.first:
                message = self.message.from_scalars(x[:, 0], geometry, scalars)
            else:
                message = self.message(x, geometry, scalars)
        updated: Tensor = self.update(x, message)
        return updated if self.first else x + updated


@register("escn")
class ESCN(AtomisticModel):
    """eSCN on molecules and crystals. It tells mirror images apart: its group is SO(3).

    Args:
        num_layers: rounds of messages.
        lmax: highest degree of the features.
        mmax: highest order kept in the frames of edges.
        sphere_channels: feature channels.
        hidden_channels: between the two linear maps of an SO(2) convolution.
        edge_channels: invariants of an edge.
        cutoff: distance (Å) below which atoms are neighbours.
        num_rbf: radial functions.
        rbf_width: their width in units of their spacing.
        max_neighbors: how many of its nearest neighbours an atom listens to; all if None. With a
            cap, energies and forces jump where two neighbours change places.
        envelope: "polynomial" lets messages vanish at the cutoff with two derivatives; None does
            not, as published.
        nonlinearity: "grid", the paper's, or "gate", which is exactly equivariant.
        resolution: polar angles (an even number) and azimuths of all grids; the authors' if None:
            2 (L + 1), and 2 M + 1 for messages, 2 (L + 1) + 1 for atoms.
        samples: points on the sphere at which the heads look, about.
        sphere_points: "product", or "spiral" as published weights need it.
        max_z: largest atomic number.
        heads: what to predict, from "energy" (eV, with forces and stress as derivatives),
            "forces" and "stress" (direct instead), "dipole" (e Å) and "polarizability" (Å³).

    Raises:
        ConfigError: for an impossible size, or a grid too coarse for the degrees.
    """

    #: the imaginary parts of its convolutions break mirror symmetry
    symmetry = "SO(3)"

    def __init__(  # noqa: PLR0913 - every hyper-parameter is an argument
        self,
        *,
        num_layers: int = 12,
        lmax: int = 6,
        mmax: int = 2,
        sphere_channels: int = 128,
        hidden_channels: int = 256,
        edge_channels: int = 128,
        cutoff: float = 12.0,
        num_rbf: int = 600,
        rbf_width: float = 2.0,
        max_neighbors: int | None = None,
        envelope: Literal["polynomial"] | None = "polynomial",
        nonlinearity: Literal["grid", "gate"] = "grid",
        resolution: Sequence[int] | None = None,
        samples: int = 128,
        sphere_points: Literal["product", "spiral"] = "product",
        max_z: int = 118,
        heads: Sequence[str] = ("energy",),
    ) -> None:
        sizes = Sizes(
            lmax=lmax,
            mmax=mmax,
            channels=sphere_channels,
            hidden=hidden_channels,
            edge_channels=edge_channels,
            num_rbf=num_rbf,
            max_z=max_z,
            grid=None if resolution is None else tuple(resolution),
            gate=nonlinearity == "gate",
        )
        sizes.check(num_layers=num_layers, samples=samples, max_neighbors=max_neighbors)
        published = sphere_points == "spiral"
        own = sphere_heads(lmax, sphere_channels, samples, published=published)
        super().__init__(
            cutoff=cutoff,
            heads=heads,
            features=sphere_channels,
            channels=sphere_channels,
            max_z=max_z,
            own_heads=None if sizes.gate else own,
        )
        self.exact = sizes.gate
        self.max_neighbors, self.envelope = max_neighbors, envelope
        self.elements = nn.Embedding(max_z + 1, sphere_channels)
        self.basis = GaussianBasis(cutoff, num_rbf, width=rbf_width)
        self.frames = EdgeFrames(lmax, mmax)
        #: edges of a block
        self.block = max(BLOCK // sizes.per_edge, 1)
        self.layers = nn.ModuleList(_layer(sizes, first=k == 0) for k in range(num_layers))
        if nonlinearity == "gate":
            self._keep_variances()

    @torch.no_grad()
    def _keep_variances(self) -> None:
        """Starts with maps that keep variances and with open gates.

        As torch initialises them, which is what the authors do, features shrink from step to step:
        forces start at a thousandth of what they have to become, and training with them.
        """
        for layer in self.layers:
            for name, parameter in layer.named_parameters():
                if name.endswith(("source.weight", "target.weight")):
                    parameter.uniform_(-1.0, 1.0)
                elif name == "message.gate.bias":
                    parameter.fill_(OPEN)
                elif parameter.ndim > 1:
                    parameter.mul_(UNIT_VARIANCE)

    def features(self, graph: AtomGraph) -> AtomFeatures:
        """Coefficients of spherical harmonics; `state` holds all, (atoms, coefficients, channels).

        Scalars, vectors and tensors are those of degree 0, 1 and 2.
        """
        numbers = graph.atomic_numbers
        edges = directed_edges(graph, self.max_neighbors)
        geometry = None
        if torch.compiler.is_compiling() or len(edges.distances):
            rows = frame_rows(self.frames(edges.vectors), self.frames.lmax, self.frames.mmax)
            weight = None
            if self.envelope is not None:
                weight = polynomial_envelope(edges.distances, self.cutoff, ENVELOPE_POWER)
            geometry = edge_geometry(
                rows, edges.source, edges.target, weight, numbers.shape[0], self.block
            )
        # of a pair both directions have the same
        radial = self.basis(edges.distances[: edges.pairs])
        elements = numbers[edges.source], numbers[edges.target]
        x = self.elements(numbers)[:, None]
        x = nn.functional.pad(x, (0, 0, 0, (self.frames.lmax + 1) ** 2 - 1))
        for layer in self.layers:
            x = layer(x, radial, elements, geometry)
        return spherical_features(x, state=x)

    def embedding(self) -> nn.Embedding:
        """One row of features per atomic number."""
        return self.elements

    def blocks(self) -> list[nn.Module]:
        """Embedding, layers, heads."""
        return [self.elements, *self.layers, self.heads]


@dataclass(frozen=True)
class Sizes:
    """What the blocks of a layer are made from; see `ESCN`."""

    lmax: int
    mmax: int
    channels: int
    hidden: int
    edge_channels: int
    num_rbf: int
    max_z: int
    grid: tuple[int, ...] | None
    gate: bool

    def check(self, *, num_layers: int, samples: int, max_neighbors: int | None) -> None:
        """Refuses impossible sizes.

        Raises:
            ConfigError: names the argument.
        """
        for name, value, low in (
            ("num_layers", num_layers, 1),
            ("lmax", self.lmax, 1),
            ("sphere_channels", self.channels, 1),
            ("hidden_channels", self.hidden, 1),
            ("edge_channels", self.edge_channels, 1),
            ("num_rbf", self.num_rbf, 2),
            ("samples", samples, 1),
            ("max_z", self.max_z, 1),
            ("max_neighbors", 1 if max_neighbors is None else max_neighbors, 1),
        ):
            if value < low:
                raise ConfigError(f"escn: {name} is {value}; expected {low} or more")
        if self.max_z > 118:
            raise ConfigError(f"escn: max_z is {self.max_z}; no element lies beyond 118")
        if self.grid is not None and len(self.grid) != 2:
            raise ConfigError(
                f"escn: resolution is {list(self.grid)}; expected polar angles and azimuths"
            )
        check_degrees(self.lmax, self.mmax)

    def resolution(self, mmax: int) -> tuple[int, int]:
        """Polar angles and azimuths of a grid for orders up to `mmax`."""
        if self.grid is None:
            return escn_resolution(self.lmax, mmax)
        lat, lon = self.grid
        return lat, lon

    @property
    def per_edge(self) -> int:
        """How many numbers a layer makes of an edge, about."""
        points = 0 if self.gate else math.prod(self.resolution(self.mmax))
        kept = 2 * sum(order_sizes(self.lmax, self.mmax))
        # hidden channels of two convolutions and their gates, coefficients, values on the grid
        return 8 * (2 * self.mmax + 1) * self.hidden + 2 * (kept + points) * self.channels


def _layer(sizes: Sizes, *, first: bool) -> Layer:
    lmax, mmax, channels = sizes.lmax, sizes.mmax, sizes.channels
    activation: GridActivation | FrameGate
    inside: tuple[nn.Module, nn.Module]
    if sizes.gate:
        activation = FrameGate(lmax, mmax, channels)
        inside = NodeGate(lmax, channels), NodeGate(lmax, channels)
    else:
        activation = GridActivation(lmax, mmax, sizes.resolution(mmax))
        grid = SphereGrid(lmax, resolution=sizes.resolution(lmax))
        inside = EnterGrid(grid), LeaveGrid(grid)
    return Layer(
        EdgeScalars(sizes.edge_channels, sizes.num_rbf, sizes.max_z),
        Message(lmax, mmax, channels, sizes.hidden, sizes.edge_channels, activation),
        NodeUpdate(channels, inside),
        first=first,
    )


#: what turns other packages' state dicts and configurations into constructor arguments and weights
CONVERTERS = {"fairchem": convert_state}
#: reads what lies around a state dict
WRAPPERS = {"fairchem": functools.partial(unwrap, frozen=FROZEN)}
