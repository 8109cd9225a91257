"""A sheaf Laplacian times features, by gathering, small products and adding."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.sheaf.laplacian import SheafLaplacian

# edges in one go: their features stay in the processor's cache, and memory small
_CHUNK = 2048
# up to this size, products written out are faster than batched ones on a CPU
_SMALL = 5


def apply(
    laplacian: SheafLaplacian, x: Float[Tensor, "nodes d channels"]
) -> Float[Tensor, "nodes d channels"]:
    """Delta x, differentiable twice in the blocks and in x.

    Args:
        laplacian: its blocks.
        x: features, stalk coordinate by channel.
    """
    diagonal, off = laplacian.diagonal, laplacian.off
    first, second = laplacian.pairs
    neighbours: Tensor = _Neighbours.apply(x, off, first, second)
    own = diagonal @ x if diagonal.ndim == x.ndim else diagonal.unsqueeze(-1) * x
    return own - neighbours


def assemble(laplacian: SheafLaplacian, nodes: int) -> Float[Tensor, "rows columns"]:
    """The Laplacian as one sparse matrix (nodes d, nodes d): for looking at it, and for tests."""
    d = laplacian.stalk
    u, v = laplacian.pairs
    own, off = laplacian.diagonal, laplacian.off
    if own.ndim == 2:  # noqa: PLR2004
        own = torch.diag_embed(own.expand(-1, d))
    if off.ndim == 2:  # noqa: PLR2004
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
    def forward(ctx: Any, x: Tensor, off: Tensor, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(x, off, u, v)
        flat = x.flatten(1)
        out = torch.zeros_like(flat)
        for start in range(0, len(u), _CHUNK):
            part = slice(start, start + _CHUNK)
            block = off[part]
            for to, source, b in ((u, v, block), (v, u, block.mT if block.ndim > 2 else block)):  # noqa: PLR2004
                there = flat.index_select(0, source[part]).view(-1, *x.shape[1:])
                out.index_add_(0, to[part], _product(b, there).flatten(1))
        return out.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, off, u, v = ctx.saved_tensors
        grad = grads[0].contiguous()
        grad_x = grad_off = None
        if ctx.needs_input_grad[0]:  # the matrix is symmetric
            grad_x = _Neighbours.apply(grad, off, u, v)
        if ctx.needs_input_grad[1]:
            grad_off = _Outer.apply(grad, x, u, v, off.ndim)
        return grad_x, grad_off, None, None


class _Outer(torch.autograd.Function):
    """B = g_u x_v^T + x_u g_v^T for each edge; symmetric in g and x. Only diagonals for rank 2."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, u: Tensor, v: Tensor, rank: int) -> Tensor:
        ctx.save_for_backward(g, x, u, v)
        gf, xf, shape = g.flatten(1), x.flatten(1), (-1, *x.shape[1:])
        parts = []
        for start in range(0, len(u), _CHUNK):
            a, b = u[start : start + _CHUNK], v[start : start + _CHUNK]
            gu, gv, xu, xv = (
                value.index_select(0, end).view(shape)
                for value, end in ((gf, a), (gf, b), (xf, a), (xf, b))
            )
            if rank == 2:  # noqa: PLR2004
                parts.append((gu * xv).sum(-1) + (xu * gv).sum(-1))
            else:
                parts.append(torch.baddbmm(gu @ xv.mT, xu, gv.mT))
        size = x.shape[1]
        empty = x.new_zeros(0, *(size,) * (rank - 1))
        return torch.cat(parts) if parts else empty

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        g, x, u, v = ctx.saved_tensors
        block = grads[0]
        # <H, g_u x_v^T + x_u g_v^T> = <g, N(H) x>, linear in each
        grad_g = _Neighbours.apply(x, block, u, v)
        grad_x = _Neighbours.apply(g, block, u, v)
        return grad_g, grad_x, None, None, None


def _product(block: Tensor, x: Tensor) -> Tensor:
    """Blocks (edges, d, d), or diagonals (edges, d), times x (edges, d, channels)."""
    if block.ndim == 2:  # noqa: PLR2004
        return block.unsqueeze(-1) * x
    size = x.shape[1]
    if size > _SMALL or x.device.type != "cpu":
        return block @ x
    out = torch.empty_like(x)
    for i in range(size):
        row = out[:, i]
        torch.mul(block[:, i, 0, None], x[:, 0], out=row)
        for j in range(1, size):
            row.addcmul_(block[:, i, j, None], x[:, j])
    return out
