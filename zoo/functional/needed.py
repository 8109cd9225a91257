"""Which gradients are wanted, asked in the middle of a backward pass.

A Python function is asked for the gradients of all inputs that require one, even where the caller
wants those of some: forces, which are the gradient by the positions alone, would pay for the
gradients of all weights. `needs_gradient` tells, and so saves a third of the matrix products.
"""

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
