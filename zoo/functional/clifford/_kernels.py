"""Sums of signed products of blades, and the autograd functions made of them.

Tensors are blade-major, (blades, batch, channels): each blade is one contiguous block, and each
term one pass over it. Nothing but inputs is kept for the backward pass, which is more of the same
products with the terms turned round.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._plan import Plan, Term, by_path, square, weighted

Side = Literal["z", "x", "y"]
#: numbers of one blade that are taken at a time: 64 KiB in float32
CHUNK = 16384

#: so many numbers may a table times a batch have to be written out, 4 MiB in float32
SMALL = 2**20


def multiply(x: Tensor, y: Tensor, plan: Plan) -> Tensor:
    """Rows of a plan, (rows, ...), from (blades, ...) twice; differentiable any number of times."""
    out: Tensor = _Trilinear.apply(x, y, plan, "z")
    return out


def multiply_weighted(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    """The geometric product with a weight per path and channel.

    Args:
        x: (blades, batch, channels).
        y: likewise.
        weight: (paths, channels).
        of: the algebra.
    """
    if of.blades**2 * x[0].numel() <= SMALL:
        return _at_once(x, y, weight, of)
    if by_path(of).large:
        return _by_rows(x, y, weight, of)
    out: Tensor = _Weighted.apply(x, y, weight, of)
    return out


def _at_once(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    """What `multiply_weighted` returns, for so few multivectors that passes cost more than work.

    All right factors are laid out by left and output blade, so that one sum over left blades is
    left.
    """
    table, device = square(of), x.device
    shape = (of.blades, of.blades, -1, x.shape[2])
    weights = weight.index_select(0, table.path.to(device))
    weights = weights * table.sign.to(device, x.dtype)[:, None]
    right = y.index_select(0, table.right.to(device)).reshape(*shape[:2], *x.shape[1:])
    return (x[:, None] * (right * weights.reshape(shape))).sum(0)


def multiply_connected(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    """Products of all input channels along all paths, mixed into the output channels.

    Args:
        x: (blades, batch, inputs).
        y: likewise.
        weight: (outputs, inputs, paths).
        of: the algebra.

    Returns:
        (blades, batch, outputs).
    """
    out: Tensor = _Connected.apply(x, y, weight, of)
    return out


class _Trilinear(torch.autograd.Function):
    """One of the three derivatives of sum s z_row x_i y_k by z, x or y."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, plan: Plan, side: Side) -> Tensor:
        ctx.save_for_backward(u, v)
        ctx.plan, ctx.side = plan, side
        return _run(plan, side, u, v)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        u, v = ctx.saved_tensors
        g = g.contiguous()
        known = {"z": {"x": u, "y": v, "z": g}, "x": {"z": u, "y": v, "x": g}}.get(
            ctx.side, {"z": u, "x": v, "y": g}
        )
        first, second = {"z": ("x", "y"), "x": ("z", "y"), "y": ("z", "x")}[ctx.side]
        result: list[Tensor | None] = []
        for wanted, needed in zip((first, second), ctx.needs_input_grad[:2], strict=True):
            operands = [known[name] for name in _OPERANDS[wanted]]
            result.append(_Trilinear.apply(*operands, ctx.plan, wanted) if needed else None)
        return result[0], result[1], None, None


_OPERANDS = {"z": ("x", "y"), "x": ("z", "y"), "y": ("z", "x")}


class _Weighted(torch.autograd.Function):
    """The product with weights per path, its backward pass fused."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        ctx.algebra = of
        return _sum_paths(weighted(of).z, x, y, weight)[0]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            out = _by_rows(x, y, weight, ctx.algebra)
            wanted = [t for t, n in zip((x, y, weight), ctx.needs_input_grad, strict=False) if n]
            found = iter(torch.autograd.grad(out, wanted, g, create_graph=True))
            return *(next(found) if n else None for n in ctx.needs_input_grad[:3]), None
        terms, g = weighted(ctx.algebra), g.contiguous()
        need_x, need_y, need_w, _ = ctx.needs_input_grad
        gx, gy, gw = None, None, None
        if need_x or need_w:
            gx, gw = _sum_paths(terms.x, g, y, weight, x if need_w else None)
        if need_y:
            gy, _ = _sum_paths(terms.y, g, x, weight)
        return gx if need_x else None, gy, gw, None


class _Connected(torch.autograd.Function):
    """Path products and a matrix multiplication per grade, computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        ctx.algebra = of
        return _mixed(x, y, weight, of)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        saved, again = ctx.saved_tensors, torch.is_grad_enabled()
        needed = ctx.needs_input_grad[:3]
        with torch.enable_grad():
            x, y, weight = inputs = [
                t if again else t.detach().requires_grad_(n)
                for t, n in zip(saved, needed, strict=True)
            ]
            out = _mixed(x, y, weight, ctx.algebra)
            wanted = [t for t, n in zip(inputs, needed, strict=True) if n]
            found = iter(torch.autograd.grad(out, wanted, g, create_graph=again))
        return *(next(found) if n else None for n in needed), None


def _mixed(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    """What `multiply_connected` returns, made of differentiable steps."""
    plan = by_path(of)
    rows = multiply(x, y, plan)  # (rows, batch, inputs), sorted by blade, then path
    of_grade = [
        [p for p, path in enumerate(of.paths) if path[1] == g] for g in range(len(of.sizes))
    ]
    counts = [size * len(places) for size, places in zip(of.sizes, of_grade, strict=True)]
    parts = []
    # split, not sliced: the derivative of a slice is as large as the whole
    for size, places, block in zip(of.sizes, of_grade, rows.split(counts), strict=True):
        if not places:
            parts.append(x.new_zeros((size, x.shape[1], weight.shape[0])))
            continue
        block = block.reshape(size, len(places), *rows.shape[1:])
        joint = block.permute(0, 2, 1, 3).reshape(size * x.shape[1], len(places) * x.shape[2])
        matrix = weight[:, :, places].permute(2, 1, 0).reshape(joint.shape[1], -1)
        parts.append((joint @ matrix).reshape(size, x.shape[1], weight.shape[0]))
    return torch.cat(parts)


def _by_rows(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    """What `multiply_weighted` returns, made of differentiable steps."""
    plan = by_path(of)
    blade, path = (torch.tensor(t, device=x.device) for t in (plan.blade, plan.path))
    rows = multiply(x, y, plan) * weight[path][:, None]
    return x.new_zeros((of.blades, *rows.shape[1:])).index_add(0, blade, rows)


def _sum_paths(
    rows: Sequence[tuple[int, int, tuple[Term, ...]]],
    u: Tensor,
    v: Tensor,
    weight: Tensor,
    other: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """sum over paths of weight times the path's product, (blades, batch, channels).

    Where `other` is given, also each path's product times it, summed: (paths, channels).
    """
    _, batch, channels = u.shape
    size = max(1, min(batch, CHUNK // max(channels, 1)))
    wide = weight[:, None].expand(-1, size, -1).contiguous()
    dots = None if other is None else torch.zeros_like(wide)
    out, partial = torch.empty_like(v), torch.empty_like(v[0, :size])
    for start in range(0, batch, size):  # a chunk of all blades fits into the cache
        part = slice(start, min(start + size, batch))
        count = part.stop - start
        _sum_chunk(
            rows,
            u[:, part].unbind(),
            v[:, part].unbind(),
            wide[:, :count].unbind(),
            out[:, part].unbind(),
            partial[:count],
            None if other is None else other[:, part].unbind(),
            None if dots is None else dots[:, :count].unbind(),
        )
    return out, None if dots is None else dots.sum(1)


def _sum_chunk(
    rows: Sequence[tuple[int, int, tuple[Term, ...]]],
    us: Sequence[Tensor],
    vs: Sequence[Tensor],
    weights: Sequence[Tensor],
    outs: Sequence[Tensor],
    partial: Tensor,
    others: Sequence[Tensor] | None,
    dots: Sequence[Tensor] | None,
) -> None:
    for out in outs:
        out.zero_()
    for path, blade, terms in rows:
        sign = _fill(partial, terms, us, vs)
        outs[blade].addcmul_(partial, weights[path], value=sign)
        if others is not None and dots is not None:
            dots[path].addcmul_(partial, others[blade], value=sign)


def _fill(
    out: Tensor, terms: tuple[Term, ...], us: Sequence[Tensor], vs: Sequence[Tensor]
) -> Literal[1, -1]:
    """Writes the sum of the terms, up to the sign that it returns."""
    (i, k, lead), *rest = terms
    torch.mul(us[i], vs[k], out=out)
    for i, k, positive in rest:
        out.addcmul_(us[i], vs[k], value=1 if positive is lead else -1)
    return 1 if lead else -1


def _run(plan: Plan, side: Side, u: Tensor, v: Tensor) -> Tensor:
    lists = {"z": plan.z, "x": plan.x, "y": plan.y}[side]
    if plan.large:
        return _run_grouped(plan, side, u, v, len(lists))
    out = u.new_empty((len(lists), *u.shape[1:]))
    us, vs = u.unbind(), v.unbind()
    for row, terms in zip(out.unbind(), lists, strict=True):
        if not terms:
            row.zero_()
        elif _fill(row, terms, us, vs) < 0:
            row.neg_()
    return out


def _run_grouped(plan: Plan, side: Side, u: Tensor, v: Tensor, rows: int) -> Tensor:
    """The same for many terms: all that share a blade of the second operand at once."""
    out = u.new_zeros((rows, *u.shape[1:]))
    axes = (-1,) + (1,) * (u.ndim - 1)
    for place, targets, sources, signs in plan.grouped[side]:
        sign = signs.to(dtype=u.dtype, device=u.device).reshape(axes)
        part = u.index_select(0, sources.to(u.device)) * sign * v[place]
        out.index_add_(0, targets.to(u.device), part)
    return out
