"""Which gradients are wanted, asked in the middle of a backward pass.

A Python function is asked for the gradients of all inputs that require one, even where the caller
wants those of some: forces, which are the gradient by the positions alone, would pay for the
gradients of all weights. `needs_gradient` tells, and so saves a third of the matrix products.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def traceable(x: Tensor) -> Tensor:
    """The tensor, as an input of which `needs_gradient` can tell; leaves alone can't be told."""
    return x.view_as(x) if x.requires_grad else x


def needs_gradient(ctx: Any, count: int) -> bool:
    """Whether the running backward pass wants the gradient of any of the last inputs.

    Args:
        ctx: of the function whose `backward` runs.
        count: how many inputs from the end, all of them tensors and `traceable`.
    """
    nodes = [node for node, _ in ctx.next_functions[-count:]]
    return any(node is not None and torch._C._will_engine_execute_node(node) for node in nodes)


def again(
    make: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    needed: Sequence[bool],
    grads: Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """Derivatives of what is made of differentiable steps, that can be derived again.

    Args:
        make: takes the inputs, returns tensors.
        inputs: some may be None.
        needed: which derivatives are wanted, also of inputs that require none themselves; None is
            returned for the others.
        grads: the derivative by each tensor that `make` returns.
    """
    # views: an input that depends on another one is held fixed
    own = [t if t is None else t.view_as(t) for t in inputs]
    for t, n in zip(own, needed, strict=True):
        if n and t is not None and not t.requires_grad:
            t.requires_grad_()  # wanted as a step to further derivatives
    wanted = [t for t, n in zip(own, needed, strict=True) if n and t is not None]
    found = iter(torch.autograd.grad(make(*own), wanted, grads, create_graph=True))
    return tuple(
        next(found) if n and t is not None else None for t, n in zip(own, needed, strict=True)
    )
