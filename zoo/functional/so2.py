r"""Linear maps of features in the frame of an edge, and their relation to Clebsch-Gordan products.

In a frame whose axis y is the edge, what commutes with rotations about the edge is

    out_0 = W_0 x_0,    out_+m = W^r_m x_+m - W^i_m x_-m,    out_-m = W^i_m x_+m + W^r_m x_-m,

complex multiplication for every order m, with W any matrices over degrees and channels (eSCN,
arXiv:2302.03655; weights are laid out as in the code of its authors and of
EquiformerV2's). W^i changes sign under reflections through the edge; without it the map commutes
with O(3).

A product of complex numbers takes three real ones, k = (x_+ + x_-) W^r,
out_+ = k - x_- (W^r + W^i), out_- = k + x_+ (W^i - W^r), and so do the derivatives. Map, adjoint
and the derivative by the weights are each other's derivatives, so backward works at every order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.functional.needed import needs_gradient, traceable


@dataclass(frozen=True)
class OrderSizes:
    """What the tensors of a map between order-major features have.

    Args:
        lmax: highest degree.
        mmax: highest order.
        inputs: channels.
        outputs: channels.
        extra: scalars besides the features.
    """

    lmax: int
    mmax: int
    inputs: int
    outputs: int
    extra: int = 0

    @property
    def kept(self) -> int:
        """Rows of order-major features."""
        return self.lmax + 1 + self.mmax * (2 * self.lmax + 1 - self.mmax)

    def degrees(self, order: int) -> int:
        """Degrees that have this order."""
        return self.lmax + 1 - order

    def begins(self, order: int) -> int:
        """The first row of an order."""
        return 0 if order == 0 else self.lmax + 1 + (order - 1) * (2 * self.lmax + 2 - order)


def order_linear(
    x: Float[Tensor, "edges kept inputs"],
    weights: Sequence[Tensor],
    bias: Float[Tensor, " scalars"] | None,
    sizes: OrderSizes,
) -> tuple[Float[Tensor, "edges extra"], Float[Tensor, "edges kept outputs"]]:
    """The map above on order-major features.

    Args:
        x: order-major features.
        weights: for m = 0 (extra + n_0 outputs, n_0 inputs), the extra scalars first; for m > 0
            (2 n_m outputs, n_m inputs) with W^r above W^i, or (n_m outputs, n_m inputs) without
            W^i. n_m is the number of degrees lmax + 1 - m, degrees before channels.
        bias: of the extra scalars and the m = 0 outputs.
        sizes: of everything.

    Returns:
        The extra scalars, and order-major features.
    """
    out: tuple[Tensor, Tensor] = _map(sizes, x, bias, *(traceable(w) for w in weights))
    return out


def _rows(x: Tensor, sizes: OrderSizes, order: int) -> list[Tensor]:
    """Rows of +m and -m (or of 0) as matrices (edges, degrees channels), views."""
    count = sizes.degrees(order)
    begins = [sizes.begins(order)]
    if order:
        begins.append(begins[0] + count)
    return [x[:, a : a + count].flatten(1) for a in begins]


def _parts(weight: Tensor, sizes: OrderSizes, order: int) -> tuple[Tensor, Tensor | None]:
    height = sizes.degrees(order) * sizes.outputs
    imaginary = weight[height:] if len(weight) > height else None
    return weight[:height], imaginary


def _complex(x: list[Tensor], real: Tensor, imaginary: Tensor | None, out: list[Tensor]) -> None:
    """out_+ = x_+ R - x_- I, out_- = x_- R + x_+ I."""
    if imaginary is None:
        torch.mm(x[0], real, out=out[0])
        torch.mm(x[1], real, out=out[1])
        return
    both = torch.mm(x[0] + x[1], real)
    torch.addmm(both, x[1], real + imaginary, alpha=-1, out=out[0])
    torch.addmm(both, x[0], imaginary - real, out=out[1])


class _Map(Function):
    @staticmethod
    def forward(
        ctx: Any, sizes: OrderSizes, x: Tensor, bias: Tensor | None, *weights: Tensor
    ) -> Any:
        ctx.sizes, ctx.biased = sizes, bias is not None
        ctx.save_for_backward(x, *weights)
        x = x.contiguous()
        out = x.new_empty(x.shape[0], sizes.kept, sizes.outputs)
        (scalars,), (first,) = _rows(x, sizes, 0), _rows(out, sizes, 0)
        top, rest = weights[0][: sizes.extra], weights[0][sizes.extra :]
        if bias is None:
            extra = scalars @ top.T
            torch.mm(scalars, rest.T, out=first)
        else:
            extra = torch.addmm(bias[: sizes.extra], scalars, top.T)
            torch.addmm(bias[sizes.extra :], scalars, rest.T, out=first)
        for m in range(1, sizes.mmax + 1):
            real, imaginary = _parts(weights[m], sizes, m)
            turned = None if imaginary is None else imaginary.T
            _complex(_rows(x, sizes, m), real.T, turned, _rows(out, sizes, m))
        return extra, out

    @staticmethod
    def backward(ctx: Any, extra: Tensor, out: Tensor) -> Any:
        x, *weights = ctx.saved_tensors
        sizes = ctx.sizes
        of_x = of_bias = None
        of_weights: tuple[Tensor | None, ...] = (None,) * len(weights)
        if ctx.needs_input_grad[1]:
            of_x = _adjoint(sizes, extra, out, *weights)
        if ctx.biased and ctx.needs_input_grad[2]:
            of_bias = torch.cat([extra.sum(0), out[:, : sizes.degrees(0)].sum(0).flatten()])
        if needs_gradient(ctx, len(weights)):
            of_weights = _outer(sizes, x, extra, out, *(len(w) for w in weights))
        return None, of_x, of_bias, *of_weights


class _Adjoint(Function):
    @staticmethod
    def forward(ctx: Any, sizes: OrderSizes, extra: Tensor, out: Tensor, *weights: Tensor) -> Any:
        ctx.sizes = sizes
        ctx.save_for_backward(extra, out, *weights)
        out = out.contiguous()
        x = out.new_empty(out.shape[0], sizes.kept, sizes.inputs)
        (first,), (scalars,) = _rows(x, sizes, 0), _rows(out, sizes, 0)
        torch.mm(scalars, weights[0][sizes.extra :], out=first)
        if sizes.extra:
            torch.addmm(first, extra, weights[0][: sizes.extra], out=first)
        for m in range(1, sizes.mmax + 1):
            real, imaginary = _parts(weights[m], sizes, m)
            opposite = None if imaginary is None else -imaginary
            _complex(_rows(out, sizes, m), real, opposite, _rows(x, sizes, m))
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        extra, out, *weights = ctx.saved_tensors
        of_extra, of_out = _map(ctx.sizes, grad, None, *weights)
        of_weights: tuple[Tensor | None, ...] = (None,) * len(weights)
        if needs_gradient(ctx, len(weights)):
            of_weights = _outer(ctx.sizes, grad, extra, out, *(len(w) for w in weights))
        return None, of_extra, of_out, *of_weights


class _Outer(Function):
    """sum over edges of out x^T, for each weight of the given height."""

    @staticmethod
    def forward(
        ctx: Any, sizes: OrderSizes, x: Tensor, extra: Tensor, out: Tensor, *heights: int
    ) -> Any:
        ctx.sizes = sizes
        ctx.save_for_backward(x, extra, out)
        x, out = x.contiguous(), out.contiguous()
        (scalars,), (first,) = _rows(x, sizes, 0), _rows(out, sizes, 0)
        weight = x.new_empty(heights[0], sizes.degrees(0) * sizes.inputs)
        torch.mm(extra.T, scalars, out=weight[: sizes.extra])
        torch.mm(first.T, scalars, out=weight[sizes.extra :])
        return weight, *(
            _conjugate_outer(_rows(x, sizes, m), _rows(out, sizes, m), heights[m])
            for m in range(1, sizes.mmax + 1)
        )

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, extra, out = ctx.saved_tensors
        grads = tuple(traceable(g) for g in grads)
        of_x = _adjoint(ctx.sizes, extra, out, *grads) if ctx.needs_input_grad[1] else None
        of_extra, of_out = _map(ctx.sizes, x, None, *grads)
        return None, of_x, of_extra, of_out, *(None for _ in grads)


def _conjugate_outer(x: list[Tensor], out: list[Tensor], height: int) -> Tensor:
    """Above out_+^T x_+ + out_-^T x_-, below, if wanted, out_-^T x_+ - out_+^T x_-."""
    plus, minus = out[0].T @ x[0], out[1].T @ x[1]
    if height == len(plus):
        return plus.add_(minus)
    weight = plus.new_empty(height, plus.shape[1])
    lower = weight[len(plus) :]
    torch.addmm(minus, (out[0] + out[1]).T, x[0] - x[1], out=lower)
    lower.sub_(plus)
    torch.add(plus, minus, out=weight[: len(plus)])
    return weight


_map: Callable[..., Any] = _Map.apply
_adjoint: Callable[..., Tensor] = _Adjoint.apply
_outer: Callable[..., tuple[Tensor, ...]] = _Outer.apply
