r"""The path-shared product: all paths with one weight, in factorised form.

    z^k = w n_k sum_r C_kr (sum_i A_ir x^i) (sum_j B_jr y^j)

with the factors of `zoo.functional.cp_factors` (Lin et al., Tensor Decomposition Networks,
arXiv:2507.01131). At an exact rank this is the full product `cg` with all weights of a channel
equal; n_k = sqrt((2 l_k + 1) / paths into k) makes the output's variance that of the inputs.

The factors know nothing of parity. Irreps of one parity, all even, need no more. For others every
term is taken twice, the second time with the rows of odd irreps negated: that cancels the paths
whose parities don't multiply to one, and leaves the others as they are.

Where one input has a single channel, as the harmonics of an edge have, the sum over r is done once
for all channels: (B^T y) and the factors give each sample a small matrix, which every channel is
multiplied by.
"""

import math

import torch
from torch import Tensor

from zoo.functional.cp_factors import cp_factors
from zoo.layers.equivariant import _multilinear
from zoo.layers.equivariant._legs import Leg, Legs
from zoo.layers.equivariant._method import PIECE, Method


class SharedCP(Method):
    """By factors of the shared coupling.

    Args:
        legs: both inputs and the output.
        rank: "exact", "quadratic" or a number of terms, see `zoo.functional.cp_factors`. At ranks
            that aren't exact the product commutes with rotations only approximately.

    Raises:
        ConfigError: no factors of this rank, or degrees beyond those with factors.
    """

    weight_rows = 1
    first: Tensor
    second: Tensor
    third: Tensor
    table: Tensor

    def __init__(self, legs: Legs, *, rank: int | str = "exact") -> None:
        super().__init__(legs)
        factors = cp_factors(max(leg.lmax for leg in legs), rank)
        #: of the factors, |sum - M| / |M|
        self.error = factors.error
        counts = [0] * len(legs.out.entries)
        for _, _, k in legs.triples():
            counts[k] += 1
        scale = [1 / math.sqrt(max(count, 1)) for count in counts]
        self.coefficients = torch.zeros([len(leg.entries) for leg in legs], dtype=torch.float64)
        for path in legs.triples():
            self.coefficients[path] = scale[path[2]]
        scale = [s * math.sqrt(e.dim) for s, e in zip(scale, legs.out.entries, strict=True)]
        both = any(entry.p < 0 for leg in legs for entry in leg.entries)
        first = _rows(legs.in1, factors.first, both)
        second = _rows(legs.in2, factors.second, both)
        third = _rows(legs.out, factors.third, both)
        owner = torch.tensor([i for i in legs.out.order for _ in range(legs.out.entries[i].dim)])
        third = third * torch.tensor(scale, dtype=torch.float64)[owner, None] / (1 + both)
        self.single = legs.in2.channels == 1 or legs.in1.channels == 1
        self.register_constant("first", lambda: first.T.contiguous())
        self.register_constant("second", lambda: second.T.contiguous())
        self.register_constant("third", lambda: third.clone())
        #: (rows of the single-channel input, rows of the other, rows of the output)
        self.flipped = legs.in2.channels > 1
        if self.single:
            ends = (first, second) if self.flipped else (second, first)
            self.register_constant("table", lambda: torch.einsum("jr,ir,kr->jik", *ends, third))
        self.outputs = len(legs.out.entries)
        self.out_size = legs.out.dim
        self.columns = max(PIECE // len(self.first), 64)

    def forward(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """The product of rows."""
        if self.single:
            z = self._by_matrices(y, x) if self.flipped else self._by_matrices(x, y)
        else:
            z = _multilinear.apply(self, x, y, None)
        return z if w is None else z * w

    def _by_matrices(self, x: Tensor, y: Tensor) -> Tensor:
        """All channels of x times a matrix of each sample, made of y, which has one channel."""
        rows, size = self.table.shape[1:]
        matrices = (y[:, 0].T @ self.table.flatten(1)).view(-1, rows, size)
        return (x.permute(2, 1, 0) @ matrices).permute(2, 1, 0)

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece."""
        terms = (self.first @ x.flatten(1)).mul_(self.second @ y.flatten(1))
        return (self.third @ terms).view(-1, *x.shape[1:])

    def adjoint(self, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> _multilinear.Gradients:
        """Derivatives of <g, z>."""
        back = self.third.T @ g.flatten(1)
        by_x = self.first.T @ (back * (self.second @ y.flatten(1)))
        by_y = self.second.T @ back.mul_(self.first @ x.flatten(1))
        return by_x.view(x.shape), by_y.view(y.shape), None


def _rows(leg: Leg, factor: Tensor, both: bool) -> Tensor:
    """The factor's rows of a leg's irreps, in its order; twice side by side with odd parities."""
    entries = [leg.entries[i] for i in leg.order]
    rows = torch.cat([factor[e.l * e.l : (e.l + 1) ** 2] for e in entries])
    if not both:
        return rows
    parity = torch.tensor([e.p for e in entries for _ in range(e.dim)], dtype=factor.dtype)
    return torch.cat([rows, parity[:, None] * rows], dim=1)
