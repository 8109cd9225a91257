"""The type checker that runs in tests: shapes and dtypes of tensors, and nothing else.

Checking every annotation would turn a user's ill-typed argument into the checker's error, and the
tests could no longer see what the library itself says about it.
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from beartype import beartype
from jaxtyping import AbstractArray

_Function = TypeVar("_Function", bound=Callable[..., Any])


def shapes(function: _Function) -> _Function:
    """beartype, for the jaxtyping annotations of a function only."""
    hints = function.__annotations__
    kept = {name: hint for name, hint in hints.items() if _has_shape(hint)}
    if not kept:
        return function
    function.__annotations__ = kept  # jaxtyping passes in a copy made for checking
    return beartype(function)


def _has_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(_has_shape(part) for part in get_args(hint))
