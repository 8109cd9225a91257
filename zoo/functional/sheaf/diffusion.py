"""A sheaf Laplacian times features.

On a CPU the blocks act as d stacks of compressed sparse rows, whose indices are those of the graph
alone; elsewhere by gathering, small products and adding. Both keep no features of edges.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.sheaf.laplacian import SheafLaplacian
from zoo.functional.sheaf.pattern import Pattern

_DIAGONAL = 2  # axes of blocks that are diagonals


def apply(
    laplacian: SheafLaplacian,
    x: Float[Tensor, "nodes d channels"],
    pattern: Pattern | None = None,
) -> Float[Tensor, "nodes d channels"]:
    """Delta x, differentiable twice in the blocks and in x.

    Args:
        laplacian: its blocks.
        x: features, stalk coordinate by channel.
        pattern: of the pairs, which layers on one graph may share; made anew if None.
    """
    diagonal, off = laplacian.diagonal, laplacian.off
    pattern = Pattern(laplacian.pairs, len(x)) if pattern is None else pattern
    neighbours: Tensor = _Neighbours.apply(x, off, pattern)
    own = diagonal @ x if diagonal.ndim == x.ndim else diagonal.unsqueeze(-1) * x
    return own - neighbours


def assemble(laplacian: SheafLaplacian, nodes: int) -> Float[Tensor, "rows columns"]:
    """The Laplacian as one sparse matrix (nodes d, nodes d): for looking at it, and for tests."""
    d = laplacian.stalk
    u, v = laplacian.pairs
    own, off = laplacian.diagonal, laplacian.off
    if own.ndim == _DIAGONAL:
        own = torch.diag_embed(own.expand(-1, d))
    if off.ndim == _DIAGONAL:
        off = torch.diag_embed(off)
    every = torch.arange(nodes, device=u.device)
    rows, columns = torch.cat([every, u, v]), torch.cat([every, v, u])
    blocks = torch.cat([own, -off, -off.mT])
    inner = torch.arange(d, device=u.device)
    i = (rows[:, None, None] * d + inner[:, None]).expand(-1, d, d)
    j = (columns[:, None, None] * d + inner).expand(-1, d, d)
    index = torch.stack([i.flatten(), j.flatten()])
    return torch.sparse_coo_tensor(
        index, blocks.flatten(), (nodes * d, nodes * d), check_invariants=False
    ).coalesce()


class _Neighbours(torch.autograd.Function):
    """y_u = sum B x_v, y_v = sum B^T x_u over the edges (u, v); no features of edges are kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, off: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(x, off)
        ctx.pattern = pattern
        if not pattern.count:
            return torch.zeros_like(x)
        return _sparse_sum(x, off, pattern) if _has_rows(x) else _gathered_sum(x, off, pattern)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, off = ctx.saved_tensors
        grad_x = grad_off = None
        if ctx.needs_input_grad[0]:  # the matrix is symmetric
            grad_x = _Neighbours.apply(grads[0], off, ctx.pattern)
        if ctx.needs_input_grad[1]:
            grad_off = _Outer.apply(grads[0], x, ctx.pattern, off.ndim)
        return grad_x, grad_off, None


class _Outer(torch.autograd.Function):
    """B = g_u x_v^T + x_u g_v^T for each edge; symmetric in g and x. Only diagonals for rank 2."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, pattern: Pattern, rank: int) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.pattern = pattern
        if not pattern.count:
            return x.new_zeros(0, *(x.shape[1],) * (rank - 1))
        outer = _sparse_outer if _has_rows(x) else _gathered_outer
        return outer(g, x, pattern, rank == _DIAGONAL)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        g, x = ctx.saved_tensors
        # <H, g_u x_v^T + x_u g_v^T> = <g, N(H) x>, linear in each
        grad_g = _Neighbours.apply(x, grads[0], ctx.pattern)
        grad_x = _Neighbours.apply(g, grads[0], ctx.pattern)
        return grad_g, grad_x, None, None


def _has_rows(x: Tensor) -> bool:
    """Whether products of compressed rows are there and fast."""
    return x.device.type == "cpu" and torch.backends.mkl.is_available()


# --- compressed rows ---------------------------------------------------------------------------


def _sparse_sum(x: Tensor, off: Tensor, pattern: Pattern) -> Tensor:
    parts = x.transpose(0, 1).contiguous()
    if off.ndim == _DIAGONAL:
        values = _ordered(off.T.contiguous(), pattern.first), _ordered(off.T, pattern.second)
        sums = [
            _product(pattern, upper[None], lower[None], part)
            for upper, lower, part in zip(*values, parts, strict=True)
        ]
        return torch.stack(sums, dim=1)
    blocks = off.permute(2, 1, 0)  # [j, i, pair]: a stack for each column of the blocks
    total: Tensor | None = None
    for j, part in enumerate(parts):
        upper = _ordered(blocks[j], pattern.first)
        lower = _ordered(blocks[:, j], pattern.second)
        total = _product(pattern, upper, lower, part, total)
    assert total is not None
    return total.view(len(parts), pattern.nodes, -1).transpose(0, 1)


def _product(
    pattern: Pattern, upper: Tensor, lower: Tensor, x: Tensor, total: Tensor | None = None
) -> Tensor:
    """Both triangles times x (nodes, channels), added to what is there (rows nodes, channels)."""
    first, second = pattern.matrix(0, upper), pattern.matrix(1, lower)
    total = first @ x if total is None else torch.addmm(total, first, x)
    return torch.addmm(total, second, x)


def _sparse_outer(g: Tensor, x: Tensor, pattern: Pattern, diagonal: bool) -> Tensor:
    left = torch.cat([g, x], dim=2).transpose(0, 1).contiguous()
    right = torch.cat([x, g], dim=2).transpose(0, 1).contiguous()
    d = len(left)
    pairs = [(left[k], right[k]) for k in range(d)]
    if not diagonal:  # rows (i, node)
        pairs = [(left.flatten(0, 1), part) for part in right]
    zeros = x.new_zeros(len(pairs[0][0]) // pattern.nodes, pattern.count)
    where = pattern.matrix(0, zeros)
    found = [torch.sparse.sampled_addmm(where, a, b.T, beta=0.0).values() for a, b in pairs]
    values = torch.stack(found).view(d, -1, pattern.count)
    if pattern.first is not None:
        values = values.index_select(2, torch.argsort(pattern.first))
    return values[:, 0].T if diagonal else values.permute(2, 1, 0)


def _ordered(values: Tensor, order: Tensor | None) -> Tensor:
    return values if order is None else values.index_select(-1, order)


# --- everywhere else ---------------------------------------------------------------------------


def _gathered_sum(x: Tensor, off: Tensor, pattern: Pattern) -> Tensor:
    u, v = pattern.pairs
    out = torch.zeros_like(x)
    if off.ndim == _DIAGONAL:
        there, back = off.unsqueeze(-1) * x[v], off.unsqueeze(-1) * x[u]
    else:
        there, back = off @ x[v], off.mT @ x[u]
    return out.index_add_(0, u, there).index_add_(0, v, back)


def _gathered_outer(g: Tensor, x: Tensor, pattern: Pattern, diagonal: bool) -> Tensor:
    u, v = pattern.pairs
    if diagonal:
        return (g[u] * x[v] + x[u] * g[v]).sum(dim=-1)
    return g[u] @ x[v].mT + x[u] @ g[v].mT
