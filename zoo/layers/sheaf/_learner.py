"""From features of nodes to restriction maps of edges."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import sheaf

SheafKind = Literal["diag", "bundle", "general"]
Learner = Literal["dense", "sparse", "interleaved"]
SheafActivation = Literal["tanh", "elu", "identity"]
_ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "identity": nn.Identity,
}


class EdgeWeights(nn.Module):
    """A weight in (0, 1) for each edge: s(v, u) s(u, v), s = sigmoid of a linear map of both ends.

    Args:
        features: of a node.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * features, 1, bias=False)

    def forward(
        self, x: Float[Tensor, "nodes features"], pairs: Int[Tensor, "2 pairs"]
    ) -> Float[Tensor, " pairs"]:
        """The weight of each pair; the same whichever end comes first."""
        ends = _both_ways(x, self.linear.weight, pairs)
        score: Tensor = torch.sigmoid(ends).squeeze(-1).prod(dim=0)
        return score


class SheafLearner(nn.Module):
    """Restriction maps F_{v,e} = act(W [x_v | x_u]) of the features at both ends.

    Neural Sheaf Diffusion (arXiv:2202.04579), section 4. The linear map is evaluated on nodes and
    its halves are added on edges, which is the same and takes as much less time as there are more
    edges than nodes.

    Args:
        stalk_dim: d, of the maps that are learnt.
        width: stalk coordinates of the features, d plus the fixed ones.
        channels: of the features.
        kind: "diag", "bundle" (orthogonal maps, times a weight of the edge) or "general".
        orthogonal: the parametrisation of bundles.
        learner: "dense" reads all features; "sparse" their sums over stalk coordinates, with fewer
            weights; "interleaved" sums as the authors' code does, where features of both ends and
            of even and odd coordinates come to lie on each other.
        activation: of the parameters.
        edge_weights: whether the edges of bundles are weighted.
        clamp: limits the entries of general Laplacians to [-1, 1], as the authors' code does.

    Raises:
        ConfigError: for unknown names, or sizes below 1.
    """

    def __init__(
        self,
        stalk_dim: int,
        width: int,
        channels: int,
        *,
        kind: SheafKind = "bundle",
        orthogonal: sheaf.Orthogonal = "householder",
        learner: Learner = "dense",
        activation: SheafActivation = "tanh",
        edge_weights: bool = True,
        clamp: bool = False,
    ) -> None:
        super().__init__()
        if min(stalk_dim, channels) < 1 or width < stalk_dim:
            raise ConfigError(
                f"stalk_dim={stalk_dim}, channels={channels}: expected at least 1 of each"
            )
        _one_of("sheaf", kind, get_args(SheafKind))
        _one_of("learner", learner, get_args(Learner))
        _one_of("sheaf_activation", activation, tuple(_ACTIVATIONS))
        if kind == "bundle":
            _one_of("orthogonal", orthogonal, sheaf.METHODS)
            if orthogonal == "euler" and stalk_dim not in (2, 3):
                raise ConfigError(
                    f"Euler angles describe stalks of dimension 2 or 3, not {stalk_dim}; "
                    "take orthogonal='cayley'"
                )
        self.stalk_dim, self.width, self.kind = stalk_dim, width, kind
        self.method, self.learner, self.clamp = orthogonal, learner, clamp
        self.act = _ACTIVATIONS[activation]()
        count = {
            "diag": stalk_dim,
            "bundle": sheaf.parameter_count(stalk_dim),
            "general": stalk_dim**2,
        }[kind]
        # one-dimensional bundles have nothing to learn but the weights of edges
        inputs = 2 * channels * (width if learner == "dense" else 1)
        self.linear = nn.Linear(inputs, count, bias=False) if count else None
        weighted = edge_weights and kind == "bundle"
        self.weights = EdgeWeights(width * channels) if weighted else None

    def forward(
        self, x: Float[Tensor, "nodes width channels"], pairs: Int[Tensor, "2 pairs"]
    ) -> sheaf.SheafLaplacian:
        """The normalised Laplacian of the learnt sheaf.

        Args:
            x: features.
            pairs: of `undirected_pairs`.
        """
        flat, d, nodes = x.flatten(1), self.stalk_dim, x.shape[0]
        if self.linear is None:
            theta = x.new_zeros(2, pairs.shape[1], 0)
        else:
            theta = self.act(_both_ways(flat, self._matrix(self.linear.weight), pairs))
        if self.kind == "diag":
            return sheaf.diagonal_laplacian(theta[0], theta[1], pairs, nodes)
        if self.kind == "general":
            maps = theta.unflatten(-1, (d, d))
            return sheaf.general_laplacian(maps[0], maps[1], pairs, nodes, clamp=self.clamp)
        maps = sheaf.orthogonal(theta, d, self.method)
        weight = None if self.weights is None else self.weights(flat, pairs)
        return sheaf.bundle_laplacian(maps[0], maps[1], pairs, nodes, weight)

    def _matrix(self, weight: Tensor) -> Tensor:
        """The weights on the concatenation of all features of both ends."""
        if self.learner == "dense":
            return weight
        if self.learner == "interleaved":
            return weight.repeat(1, self.width)
        own, other = weight.chunk(2, dim=1)
        return torch.cat([own.repeat(1, self.width), other.repeat(1, self.width)], dim=1)


def _both_ways(x: Tensor, weight: Tensor, pairs: Tensor) -> Tensor:
    """W [x_u | x_v] and W [x_v | x_u] of each pair (2, pairs, outputs), stored by outputs."""
    own, other = (half @ x.T for half in weight.chunk(2, dim=1))
    u, v = pairs
    first = own.index_select(1, u) + other.index_select(1, v)
    second = own.index_select(1, v) + other.index_select(1, u)
    return torch.stack([first, second], dim=1).movedim(0, -1)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name}={value!r}: expected one of {', '.join(known)}")
