"""The blocks of eSCN: edge scalars, messages in the frames of edges, update of atoms."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from zoo.layers.equivariant import SphereGrid
from zoo.models._escn_activations import FrameGate, GridActivation
from zoo.models._escn_edges import Block, EdgeGeometry

#: range of the initial element embeddings of edges
EMBEDDING_RANGE = 1e-3


class EdgeScalars(nn.Module):
    """Invariants of an edge: SiLU(W SiLU(source element + target element + distance)).

    Args:
        channels: scalars per edge.
        num_rbf: radial functions.
        max_z: largest atomic number.
    """

    def __init__(self, channels: int, num_rbf: int, max_z: int) -> None:
        super().__init__()
        self.distance = nn.Linear(num_rbf, channels)
        self.source = nn.Embedding(max_z + 1, channels)
        self.target = nn.Embedding(max_z + 1, channels)
        self.mix = nn.Linear(channels, channels)
        for table in (self.source, self.target):
            nn.init.uniform_(table.weight, -EMBEDDING_RANGE, EMBEDDING_RANGE)

    def forward(
        self,
        radial: Float[Tensor, "pairs basis"],
        source: Int[Tensor, " edges"],
        target: Int[Tensor, " edges"],
    ) -> Float[Tensor, "edges channels"]:
        """Scalars of each edge.

        Args:
            radial: basis functions of each edge, or of each pair if edges are pairs and reversals.
            source: element at the source.
            target: element at the target.
        """
        distance = self.distance(radial)
        if distance.shape[0] < source.shape[0]:
            distance = torch.cat([distance, distance])
        x = nn.functional.silu(self.source(source) + self.target(target) + distance)
        mixed: Tensor = nn.functional.silu(self.mix(x))
        return mixed


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """As torch initialises a linear layer: uniform in +-1/sqrt(fan_in)."""
    return nn.Parameter(torch.empty(*shape).uniform_(-1.0, 1.0) / math.sqrt(fan_in))


class Message(nn.Module):
    """Two SO(2) convolutions, of source and target, a nonlinearity, and the sum over sources.

    In the frame of an edge, with x_m the coefficients of order m of all degrees and channels,

        order 0   y_0 = V_0 (W_0 x_0 * s_0)
        order m   r_± = V_r (W_r x_±m * s_r),  i_± = V_i (W_i x_±m * s_i)
                  y_+m = r_+ - i_-,  y_-m = r_- + i_+

    with s = SiLU of a linear map of the edge scalars. The W act on atoms, before the rotation (see
    `_escn_edges`); of source and target together the V are one product for each order.

    Args:
        lmax: highest degree.
        mmax: highest order.
        channels: of features.
        hidden: between W and V.
        edge_channels: scalars per edge.
        activation: of the message in the frame, order-major in and degree by degree out.
    """

    def __init__(
        self,
        lmax: int,
        mmax: int,
        channels: int,
        hidden: int,
        edge_channels: int,
        activation: GridActivation | FrameGate,
    ) -> None:
        super().__init__()
        self.lmax, self.mmax, self.channels, self.hidden = lmax, mmax, channels, hidden
        #: products of W in the order (0), (1, real), (1, imaginary), (2, real), ...
        self.paths = 2 * mmax + 1
        self.gate = nn.Linear(edge_channels, 2 * self.paths * hidden)
        # by degree: paths of the source, then of the target; orders beyond a degree don't see it
        self.first = nn.ParameterList(
            torch.cat(
                [
                    _uniform(channels, hidden, fan_in=(lmax - m + 1) * channels)
                    for _ in range(2)
                    for m in self._orders(degree)
                ],
                dim=1,
            ).detach()
            for degree in range(lmax + 1)
        )
        # by order: rows (source real, source imaginary, target real, target imaginary)
        self.second = nn.ParameterList(
            _uniform(2 * (2 if m else 1) * hidden, (lmax - m + 1) * channels, fan_in=hidden)
            for m in range(mmax + 1)
        )
        self.activation = activation
        #: whether backward computes blocks again, which saves memory and costs time
        self.recompute = False

    def _orders(self, degree: int) -> list[int]:
        return [0, *(m for m in range(1, min(degree, self.mmax) + 1) for _ in range(2))]

    def forward(
        self, x: Float[Tensor, "atoms coefficients channels"], edges: EdgeGeometry, scalars: Tensor
    ) -> Float[Tensor, "atoms coefficients channels"]:
        """Messages summed over the sources of each atom.

        Args:
            x: features, degree-major.
            edges: groups and frames.
            scalars: of each edge, (edges, edge_channels), in the order of targets.
        """
        again = self.recompute
        halves = [weight.chunk(2, dim=1) for weight in self.first]
        first = [half[0] for half in halves]
        features = _cut(edges.source.of_atoms(x), edges.source_blocks)
        found = [
            recomputed(again, self._hidden, part, block, first)
            for part, block in zip(features, edges.source_blocks, strict=True)
        ]
        hidden = _cut(torch.cat(found).index_select(0, edges.turn), edges.target_blocks, "edges")
        features = _cut(edges.target.of_atoms(x), edges.target_blocks)
        gates = _cut(scalars, edges.target_blocks, "edges")
        first = [half[1] for half in halves]
        out = [
            recomputed(again, self._block, *parts, first)
            for parts in zip(features, hidden, gates, edges.target_blocks, strict=True)
        ]
        return edges.target.onto_atoms(torch.cat(out))

    def from_scalars(
        self, x: Float[Tensor, "atoms channels"], edges: EdgeGeometry, scalars: Tensor
    ) -> Float[Tensor, "atoms coefficients channels"]:
        """The same for features of degree 0 alone, which have order 0 alone in every frame.

        Args:
            x: features.
            edges: groups and frames.
            scalars: of each edge, (edges, edge_channels), in the order of targets.
        """
        joint = 2 * self.hidden
        source, target = (x @ self.first[0]).chunk(2, dim=1)
        hidden = torch.cat([source[edges.source_atom], target[edges.target_atom]], dim=1)
        gate = nn.functional.linear(scalars, self.gate.weight[:joint], self.gate.bias[:joint])
        hidden = hidden * nn.functional.silu(gate)
        out = (hidden @ self.second[0]).unflatten(1, (-1, self.channels))
        activated = self.activation.axial(out)
        parts = [
            _back_axial(part, block)
            for part, block in zip(
                _cut(activated, edges.target_blocks, "edges"), edges.target_blocks, strict=True
            )
        ]
        idle = [*self.first[1:], *self.second[1:]]
        summed: Tensor = _Idle.apply(edges.target.onto_atoms(torch.cat(parts)), *idle)
        return summed

    def _block(
        self,
        x: Float[Tensor, "groups coefficients channels"],
        from_source: Float[Tensor, "edges paths"],
        scalars: Float[Tensor, "edges scalars"],
        block: Block,
        first: Sequence[Any],
    ) -> Float[Tensor, "groups coefficients channels"]:
        """The messages of a block of edges, summed within each group."""
        rows = [2 if m else 1 for m in range(self.mmax + 1)]
        widths = [row * row * self.hidden for row in rows]
        gates = nn.functional.silu(self.gate(scalars)).split(
            [2 * row * self.hidden for row in rows], dim=1
        )
        parts = [from_source.split(widths, dim=1), self._hidden(x, block, first).split(widths, 1)]
        out = []
        for row, weight, gate, *both in zip(rows, self.second, gates, *parts, strict=True):
            # (edges, rows, source and target, real and imaginary) of the order
            joint = torch.cat([h.unflatten(1, (row, -1)) for h in both], dim=-1)
            joint = joint * gate[:, None]
            out.append((joint @ weight).unflatten(-1, (-1, self.channels)).flatten(1, 2))
        return _back(self.activation(torch.cat(out, dim=1)), block)

    def _hidden(
        self,
        x: Float[Tensor, "groups coefficients channels"],
        block: Block,
        first: Sequence[Any],
    ) -> Float[Tensor, "edges paths"]:
        """W x in the frames: for each order rows of a real and an imaginary part, all in a row."""
        paths = iter(self._on_atoms(x, first))
        found = []
        for m, matrices in enumerate(block.into):
            # (slots, rows, hidden) of the real and of the imaginary part
            parts = [
                torch.bmm(matrix, next(paths)).flatten(0, 1).unflatten(0, (-1, 2 if m else 1))
                for matrix in matrices
            ]
            found.append(torch.cat(parts, dim=-1).flatten(1))
        return torch.cat(found, dim=1).index_select(0, block.place)

    def _on_atoms(
        self, x: Float[Tensor, "groups coefficients channels"], first: Sequence[Any]
    ) -> list[Any]:
        """W x for each path, from the degree on that has its order."""
        found: list[list[Tensor]] = [[] for _ in range(self.paths)]
        degrees = x.split([2 * degree + 1 for degree in range(self.lmax + 1)], dim=1)
        for part, weight in zip(degrees, first, strict=True):
            for path, value in enumerate((part @ weight).split(self.hidden, dim=-1)):
                found[path].append(value)
        return [torch.cat(parts, dim=1) for parts in found]


def _cut(value: Tensor, blocks: Sequence[Any], what: str = "groups") -> tuple[Any, ...]:
    """Rows of groups or edges, block by block."""
    parts: tuple[Any, ...] = value.split(
        [getattr(b, what).stop - getattr(b, what).start for b in blocks]
    )
    return parts


def recomputed(again: bool, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Calls a function; its intermediate results are computed again in backward, not kept."""
    if again and torch.is_grad_enabled():
        result: Tensor = checkpoint(
            function, *arguments, use_reentrant=False, preserve_rng_state=False
        )
        return result
    return function(*arguments)


def _back(
    x: Float[Tensor, "edges kept channels"], block: Block
) -> Float[Tensor, "groups coefficients channels"]:
    """Messages, degree by degree with rows 0, +1, -1, ..., out of their frames and summed."""
    groups = block.back[0].shape[0]
    width = block.back[0].shape[1]
    spread = x.new_zeros(groups * width, *x.shape[1:]).index_copy(0, block.place, x)
    degrees = spread.split([matrix.shape[1] // width for matrix in block.back], dim=1)
    out = [
        torch.bmm(matrix.mT, part.reshape(groups, -1, x.shape[-1]))
        for matrix, part in zip(block.back, degrees, strict=True)
    ]
    return torch.cat(out, dim=1)


def _back_axial(
    x: Float[Tensor, "edges degrees channels"], block: Block
) -> Float[Tensor, "groups coefficients channels"]:
    """`_back` of messages that have order 0 alone."""
    groups, width = block.back[0].shape[:2]
    spread = x.new_zeros(groups * width, *x.shape[1:]).index_copy(0, block.place, x)
    spread = spread.unflatten(0, (groups, width))
    out = [
        torch.bmm(matrix.unflatten(1, (width, -1))[:, :, 0].mT, spread[:, :, degree])
        for degree, matrix in enumerate(block.back)
    ]
    return torch.cat(out, dim=1)


class _Idle(Function):
    """The first argument; the others have no part in it and get gradients of zero.

    A parameter without any gradient would stop training on several processes.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *idle: Tensor) -> Any:
        ctx.save_for_backward(*idle)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, *(torch.zeros_like(each) for each in ctx.saved_tensors)


class NodeUpdate(nn.Module):
    """A perceptron of atoms and messages, without biases, the same for every coefficient.

    On a grid it acts on values on the sphere, point by point. The first and the last linear map
    commute with the transform to the grid and are applied to coefficients, which are fewer.

    Args:
        channels: of features.
        nonlinearities: after the first and after the second map, with the transforms to the
            grid and back in them.
    """

    def __init__(self, channels: int, nonlinearities: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.join = nn.Linear(2 * channels, channels, bias=False)
        self.inner = nn.Linear(channels, channels, bias=False)
        self.last = nn.Linear(channels, channels, bias=False)
        self.enter, self.leave = nonlinearities

    def forward(
        self,
        x: Float[Tensor, "atoms coefficients channels"],
        message: Float[Tensor, "atoms coefficients channels"],
    ) -> Float[Tensor, "atoms coefficients channels"]:
        """What is added to the features."""
        values = self.enter(self.join(torch.cat([x, message], dim=-1)))
        updated: Tensor = self.last(self.leave(self.inner(values)))
        return updated


class EnterGrid(nn.Module):
    """SiLU of the values on a grid."""

    def __init__(self, grid: SphereGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(
        self, x: Float[Tensor, "atoms coefficients channels"]
    ) -> Float[Tensor, "atoms points channels"]:
        """Values."""
        return nn.functional.silu(self.grid.to_grid(x))


class LeaveGrid(nn.Module):
    """Coefficients of the SiLU of values on a grid."""

    def __init__(self, grid: SphereGrid) -> None:
        super().__init__()
        self.grid = grid

    def forward(
        self, values: Float[Tensor, "atoms points channels"]
    ) -> Float[Tensor, "atoms coefficients channels"]:
        """Coefficients."""
        return self.grid.from_grid(nn.functional.silu(values))
