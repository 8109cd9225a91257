"""The type checker that runs in tests: shapes and dtypes of tensors, and nothing else.

Checking every annotation would turn a user's ill-typed argument into the checker's error, and the
tests could no longer see what the library itself says about it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, get_args

import jaxtyping
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


def skip_functions_without_shapes() -> None:
    """Leaves functions and classes alone in which jaxtyping finds nothing to check.

    It compiles two checkers for every function of the package, and binds the arguments of every
    call, whether or not shapes stand in its signature.
    """
    jaxtyped = jaxtyping.jaxtyped

    @wraps(jaxtyped)
    def where_shapes_stand(function: Any = None, **settings: Any) -> Any:
        if function is None:
            return lambda function: where_shapes_stand(function, **settings)
        hints = getattr(function, "__annotations__", {}).values()
        shaped = any(isinstance(hint, str) or _has_shape(hint) for hint in hints)
        return jaxtyped(function, **settings) if shaped else function

    jaxtyping.jaxtyped = where_shapes_stand
