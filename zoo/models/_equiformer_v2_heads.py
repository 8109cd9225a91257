"""Heads of EquiformerV2: energy from scalars, direct forces from an attention block, stress."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import scatter_mean, to_matrix
from zoo.layers.atomistic import AtomFeatures, AtomGraph
from zoo.layers.equivariant import EdgeBatch
from zoo.layers.equivariant.attention import GraphAttention
from zoo.models._equiformer_v2_blocks import FeedForward
from zoo.models._spherical import head_tensors


@dataclass
class FinalFeatures:
    """What the heads read: the normalised features of the last block, and the edges."""

    nodes: Float[Tensor, "atoms coefficients channels"]
    edges: EdgeBatch


class ScalarHead(nn.Module):
    """A feed-forward network's degree 0: a number per atom.

    Args:
        network: with one output channel.
    """

    def __init__(self, network: FeedForward) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: AtomFeatures) -> Float[Tensor, " atoms"]:
        """Atomic energies before scale and references."""
        return self.network.scalar(_state(x).nodes)[:, 0]


class VectorHead(nn.Module):
    """The degree 1 of an attention block with one output channel: a vector per atom.

    Args:
        attention: with one output channel.
    """

    def __init__(self, attention: GraphAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Float[Tensor, "atoms 3"]:
        """Forces before scaling."""
        state = _state(x)
        # e3nn's components of degree 1 are x, y, z
        return self.attention.degree(state.nodes, state.edges, 1)[:, :, 0]


class TensorHead(nn.Module):
    """Degrees 0 and 2 of a feed-forward network, averaged over atoms: a symmetric matrix.

    Args:
        network: with one output channel.
    """

    def __init__(self, network: FeedForward) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Float[Tensor, "graphs 3 3"]:
        """Stress before scaling."""
        out = self.network(_state(x).nodes)
        traceless = head_tensors(out)
        if traceless is None:
            raise ConfigError("a direct stress has a part of degree 2; set lmax to 2 or more")
        antisymmetric = torch.zeros_like(traceless[:3])
        components = torch.cat([out[None, :, 0], antisymmetric, traceless])  # (9, atoms, 1)
        matrices = to_matrix(components[:, :, 0]).permute(2, 0, 1)  # (atoms, 3, 3)
        return scatter_mean(matrices, graph.batch, graph.num_graphs)


def _state(x: AtomFeatures) -> FinalFeatures:
    state: Any = x.state
    assert isinstance(state, FinalFeatures)  # the model of these heads put it there
    return state
