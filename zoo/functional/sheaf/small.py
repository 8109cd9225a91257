"""Many small matrices at once, their entries stored one after another.

Entry (i, j) of all matrices lies in one piece of memory, so that products written out by entries
run along memory; on a CPU that is several times as fast as batched products up to this size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_LARGEST = 4


def from_entries(entries: Sequence[Tensor], size: int) -> Float[Tensor, "*batch size size"]:
    """Matrices of their entries, row by row, each (*batch)."""
    out: Tensor = torch.stack(list(entries)).movedim(0, -1).unflatten(-1, (size, size))
    return out


def product(
    a: Float[Tensor, "count d d"], b: Float[Tensor, "count d d"]
) -> Float[Tensor, "count d d"]:
    """a @ b, differentiable as often as one likes."""
    if a.shape[-1] > _LARGEST or a.device.type != "cpu":
        return a @ b
    out: Tensor = _Product.apply(a, b)
    return out


class _Product(torch.autograd.Function):
    """The product, entry by entry; stored column by column, as the sparse products want it."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        count, size, _ = a.shape
        out = a.new_empty(size, size, count)
        for j in range(size):
            for i in range(size):
                entry = torch.mul(a[:, i, 0], b[:, 0, j], out=out[j, i])
                for k in range(1, size):
                    entry.addcmul_(a[:, i, k], b[:, k, j])
        return out.permute(2, 1, 0)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        a, b = ctx.saved_tensors
        first = product(grads[0], b.mT) if ctx.needs_input_grad[0] else None
        second = product(a.mT, grads[0]) if ctx.needs_input_grad[1] else None
        return first, second
