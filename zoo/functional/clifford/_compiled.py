"""Functions of multivectors turned into fused loops, where asked for.

Weighted products are C code of their own, see `_native`; everything else goes through
`torch.compile`. A function of blade-major tensors is compiled once for each algebra, forward and
backward apart, and stands behind one `autograd.Function`. Where a second derivative is wanted, the
backward pass runs the function uncompiled.
"""

import functools
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.functional.clifford._algebra import Algebra

#: takes an algebra, numbers, and blade-major tensors
Function = Callable[..., Tensor]
COMPILERS = ("g++", "clang++", "c++")
#: of algebras whose functions `torch.compile` gets: it takes many minutes for more
MOST_BLADES = 16
_wanted: ContextVar[bool] = ContextVar("compile_clifford", default=False)


@contextmanager
def compiled_products(enabled: bool = True) -> Iterator[None]:
    """Inside, products and layers on multivectors run as fused loops.

    Weighted products are compiled as C code when an algebra first needs them, in a third of a
    second for three generators and some seconds for five. Norms and gates of algebras of up to
    four generators are compiled by `torch.compile`, which takes half a minute or more. Results
    agree with those outside up to rounding, second derivatives included. Without a compiler
    everything runs as it does outside, and a warning says so.

    Args:
        enabled: False runs everything uncompiled, inside another such block, too.
    """
    found = enabled and has_compiler()
    if enabled and not found:
        warnings.warn(
            "products of multivectors are not compiled: there is no C++ compiler "
            f"({', '.join(COMPILERS)}, or what CXX names); install one, such as the package g++",
            stacklevel=3,
        )
    token = _wanted.set(found)
    try:
        yield
    finally:
        _wanted.reset(token)


def has_compiler() -> bool:
    """Whether `torch.compile` can turn loops into machine code here."""
    names = [os.environ.get("CXX", ""), *COMPILERS]
    return any(name and shutil.which(name) for name in names)


def asked() -> bool:
    """Whether this runs inside `compiled_products`, and nobody compiles around it."""
    return _wanted.get() and not torch.compiler.is_compiling()


def wanted(x: Tensor) -> bool:
    """Whether functions of multivectors (blades, batch, ...) are to be compiled now."""
    return asked() and len(x) <= MOST_BLADES and x.shape[1] > 1


def fuse(
    function: Function, of: Algebra, *tensors: Tensor, numbers: tuple[float, ...] = ()
) -> Tensor:
    """`function(of, numbers, *tensors)`, compiled; see `zoo.functional.clifford.fused`."""
    tensors = tuple(t.contiguous() for t in tensors)
    out: Tensor = _Fused.apply(_compiled(function, of, numbers), *tensors)
    return out


@dataclass(frozen=True, eq=False)
class _Compiled:
    """A function, and what was compiled of it."""

    plain: Function
    forward: Function
    backward: Callable[..., tuple[Tensor, ...]]


@functools.cache
def _compiled(function: Function, of: Algebra, numbers: tuple[float, ...]) -> _Compiled:
    def plain(*tensors: Tensor) -> Tensor:
        return function(of, numbers, *tensors)

    def backward(g: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        pull: Callable[..., tuple[Tensor, ...]] = torch.func.vjp(plain, *tensors)[1]
        return pull(g)

    return _Compiled(
        plain,
        torch.compile(plain, fullgraph=True),
        torch.compile(backward, fullgraph=True),
    )


class _Fused(torch.autograd.Function):
    """A compiled function with its compiled derivative."""

    @staticmethod
    def forward(ctx: Any, made: _Compiled, *tensors: Tensor) -> Tensor:
        ctx.made = made
        ctx.save_for_backward(*tensors)
        return made.forward(*_marked(tensors))

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if not torch.is_grad_enabled():
            found = ctx.made.backward(*_marked((g.contiguous(), *tensors)))
            return None, *(t if n else None for t, n in zip(found, needed, strict=True))
        wanted_for = [t for t, n in zip(tensors, needed, strict=True) if n]
        out = ctx.made.plain(*tensors)
        pulled = iter(torch.autograd.grad(out, wanted_for, g, create_graph=True))
        return None, *(next(pulled) if n else None for n in needed)


def _marked(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Detached, with the batch of the multivectors free, so that nothing is compiled twice."""
    found = tuple(t.detach() for t in tensors)
    for t in found:
        if t.ndim == 3:
            torch._dynamo.maybe_mark_dynamic(t, 1)
    return found
