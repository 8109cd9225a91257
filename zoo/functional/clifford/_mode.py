"""When functions of multivectors run as C code of their own; see `_native` for the code."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from zoo.functional._library import COMPILERS, compiler, plain
from zoo.functional.clifford import _native
from zoo.functional.clifford._algebra import Algebra

#: terms of a product, over all multivectors, from which on code is compiled unasked
MANY = 2**17
_wanted: ContextVar[bool | None] = ContextVar("compile_clifford", default=None)


@contextmanager
def compiled_products(enabled: bool = True) -> Iterator[None]:
    """Inside, products, norms and gates run as C code whatever their size, or never.

    Outside, they do where there is much to multiply: more than 131,072 terms. The code of an
    algebra is written and compiled when it is first needed and kept in the cache folder; that takes
    a second for three generators and some seconds for five, the most that there is code for.
    Results agree with those of torch up to rounding, and second derivatives are torch's. Without a
    C compiler everything runs in torch.

    Args:
        enabled: False runs everything in torch, inside another such block, too.

    Warns:
        UserWarning: that there is no compiler.
    """
    if enabled and not has_compiler():
        warnings.warn(
            "products of multivectors are not compiled: there is no C compiler "
            f"({', '.join(COMPILERS)}, or what CC names); install one, such as the package gcc",
            stacklevel=3,
        )
    token = _wanted.set(enabled)
    try:
        yield
    finally:
        _wanted.reset(token)


def has_compiler() -> bool:
    """Whether there is a C compiler."""
    return compiler() is not None


def compiles(x: Tensor, of: Algebra) -> bool:
    """Whether these multivectors (..., channels, blades) go through compiled code."""
    wanted = _wanted.get()
    if wanted is False:
        return False
    # in a trace a size may be no number; `runs` is last, since it compiles
    many = plain(x) and (wanted or x.numel() * of.blades > MANY)
    return bool(many) and _native.runs(x, of)
