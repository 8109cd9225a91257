"""Maps linear in each argument, with derivatives of every order and bounded memory.

z = B(x, y, w) is linear in x, y and w alone, so all its derivatives are values of B and of its
adjoints: with T = <g, B(x, y, w)>, the first derivatives are the adjoint of B, and the derivatives
of those follow from T with one argument replaced by the direction. A method supplies the product
and the adjoint of a piece; here they are run piece by piece, so that intermediates stay in the
cache and nothing but the arguments is kept for the backward pass.

Arguments lie component first, x (components, channels, batch); weights (rows, channels, batch),
where a length of one stands for all.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

Gradients = tuple[Tensor, Tensor, Tensor | None]
Piece = tuple[slice, slice]


class Bilinear(Protocol):
    """What a method supplies."""

    #: (channel, sample) pairs worked on at once
    columns: int
    #: components of the output
    out_size: int

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece, (out_size, channels, batch)."""

    def adjoint(self, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> Gradients:
        """Derivatives of <g, z> with respect to x, y and w; None without w."""


def apply(op: Bilinear, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
    """B(x, y, w), differentiable to any order."""
    out: Tensor = _product(op, x, y, w)
    return out


def traced_adjoint(op: Bilinear, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> Gradients:
    """An adjoint by differentiating `op.product`, for methods without one of their own."""
    with torch.enable_grad():
        given = [t.detach().requires_grad_() for t in (x, y)]
        weights = None if w is None else w.detach().requires_grad_()
        wanted = given if weights is None else [*given, weights]
        found = torch.autograd.grad(op.product(given[0], given[1], weights), wanted, g)
    return found[0], found[1], found[2] if w is not None else None


def _pieces(x: Tensor, columns: int) -> Iterator[Piece]:
    """Ranges of channels and samples that together hold about `columns` columns."""
    _, channels, batch = x.shape
    wide = max(min(batch, columns), 1)
    deep = max(columns // wide, 1)
    for c in range(0, channels, deep):
        for b in range(0, batch, wide):
            yield slice(c, c + deep), slice(b, b + wide)


def _part(t: Tensor, piece: Piece) -> Tensor:
    c, b = piece
    t = t[:, c] if t.shape[1] > 1 else t
    return t[:, :, b] if t.shape[2] > 1 else t


def _run_product(op: Bilinear, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
    if x.shape[2] == 0:
        return x.new_zeros(op.out_size, *x.shape[1:])
    if x.shape[1] * x.shape[2] <= op.columns:
        return op.product(x, y, w)
    out = x.new_empty(op.out_size, *x.shape[1:])
    for piece in _pieces(x, op.columns):
        weights = None if w is None else _part(w, piece)
        out[:, piece[0], piece[1]] = op.product(_part(x, piece), _part(y, piece), weights)
    return out


def _run_adjoint(op: Bilinear, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> Gradients:
    if x.shape[2] == 0:
        return torch.zeros_like(x), torch.zeros_like(y), None if w is None else torch.zeros_like(w)
    if x.shape[1] * x.shape[2] <= op.columns:
        return op.adjoint(x, y, w, g)
    gx, gy = torch.empty_like(x), torch.empty_like(y)
    gw = None if w is None else torch.zeros_like(w)
    for piece in _pieces(x, op.columns):
        weights = None if w is None else _part(w, piece)
        dx, dy, dw = op.adjoint(_part(x, piece), _part(y, piece), weights, _part(g, piece))
        gx[:, piece[0], piece[1]], gy[:, piece[0], piece[1]] = dx, dy
        if gw is not None and dw is not None:
            _part(gw, piece).add_(dw)
    return gx, gy, gw


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, op: Bilinear, x: Tensor, y: Tensor, w: Tensor | None) -> Any:
        ctx.op = op
        ctx.save_for_backward(x, y, w)
        return _run_product(op, x, y, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gy, gw = _adjoint(ctx.op, *ctx.saved_tensors, g)
        return None, gx, gy, gw


class _Adjoint(Function):
    @staticmethod
    def forward(ctx: Any, op: Bilinear, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> Any:
        ctx.op = op
        ctx.save_for_backward(x, y, w, g)
        ctx.set_materialize_grads(False)
        return _run_adjoint(op, x, y, w, g)

    @staticmethod
    def backward(ctx: Any, *directions: Tensor | None) -> Any:
        """Each direction h_i, put in the place of argument i, gives one term of everything."""
        op, g = ctx.op, ctx.saved_tensors[3]
        arguments = ctx.saved_tensors[:3]
        totals: list[Tensor | None] = [None, None, None, None]
        for i, direction in enumerate(directions):
            if direction is None or arguments[i] is None:
                continue
            changed = [*arguments]
            changed[i] = direction
            found = _adjoint(op, *changed, g)
            for j in range(3):
                if j != i:
                    totals[j] = _add(totals[j], found[j])
            totals[3] = _add(totals[3], _product(op, *changed))
        return None, *totals


_product: Callable[..., Any] = _Product.apply
_adjoint: Callable[..., Any] = _Adjoint.apply


def _add(total: Tensor | None, term: Tensor | None) -> Tensor | None:
    return term if total is None else total if term is None else total + term
