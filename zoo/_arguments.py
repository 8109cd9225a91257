"""Checks constructor arguments against their annotations, and records them as hyper-parameters."""

import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from zoo.errors import ConfigError, nearest

_Class = TypeVar("_Class", bound=type)


class _Mismatch(Exception):
    """A value that does not fit its annotation."""


def signature(cls: type) -> dict[str, inspect.Parameter]:
    """The constructor arguments of a class, each with its annotation resolved.

    Raises:
        ConfigError: if an argument is positional, variadic or not annotated.
    """
    init = cls.__init__  # type: ignore[misc]
    hints = typing.get_type_hints(init)
    found: dict[str, inspect.Parameter] = {}
    for parameter in list(inspect.signature(init).parameters.values())[1:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.name not in hints:
            raise ConfigError(
                f"{cls.__qualname__}.__init__: the argument {parameter.name!r} must be "
                "keyword-only and annotated, since it becomes a hyper-parameter; write "
                f"def __init__(self, *, {parameter.name.lstrip('*')}: int = ...)"
            )
        found[parameter.name] = parameter.replace(annotation=hints[parameter.name])
    return found


def validate(
    owner: str, parameters: Mapping[str, inspect.Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Checks arguments and fills in the defaults.

    Args:
        owner: the name to put in messages.
        parameters: from `signature`.
        given: what the caller wrote.

    Returns:
        All arguments by name, integers given for floats converted.

    Raises:
        ConfigError: for an unknown, missing or ill-typed argument.
    """
    for name in given:
        if name not in parameters:
            raise ConfigError(f"{owner} has no argument {name!r}: {nearest(name, parameters)}")
    result: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name not in given:
            if parameter.default is inspect.Parameter.empty:
                raise ConfigError(
                    f"{owner} needs the argument {name!r} ({spell(parameter.annotation)})"
                )
            result[name] = parameter.default
            continue
        try:
            result[name] = _fit(given[name], parameter.annotation)
        except _Mismatch:
            raise ConfigError(
                f"{owner}: the argument {name!r} must be {spell(parameter.annotation)}, "
                f"not {given[name]!r} ({type(given[name]).__name__})"
            ) from None
    return result


def recorded(cls: _Class, owner: str) -> _Class:
    """Wraps the constructor of `cls`: arguments are validated and kept as `self.hparams`."""
    parameters = signature(cls)
    original: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(original)
    def construct(self: Any, *positional: Any, **given: Any) -> None:
        if positional:
            raise ConfigError(
                f"{owner} takes its arguments by name, not by position: "
                f"write {cls.__name__}({next(iter(parameters), 'name')}={positional[0]!r}, ...)"
            )
        values = validate(owner, parameters, given)
        original(self, **values)
        self.hparams = {name: plain(value) for name, value in values.items()}

    cls.__init__ = construct  # type: ignore[misc]
    return cls


def plain(value: Any) -> Any:
    """The same value made of what YAML can hold: tuples become lists, copies are taken."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def spell(annotation: Any) -> str:
    """An annotation in words for an error message."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None) or annotation is None:
        return "None"
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(spell(choice) for choice in arguments)
    if origin is tuple:
        return f"a list of {', '.join(spell(a) for a in arguments if a is not Ellipsis)}"
    if origin is not None and _is_subclass(origin, Sequence):
        return f"a list of {spell(arguments[0])}" if arguments else "a list"
    if origin is not None and _is_subclass(origin, Mapping):
        return f"a mapping of {' to '.join(spell(a) for a in arguments)}"
    return getattr(annotation, "__name__", str(annotation))


def _is_subclass(cls: Any, parent: type) -> bool:
    return isinstance(cls, type) and issubclass(cls, parent)


def _fit(value: Any, annotation: Any) -> Any:
    """`value` as the annotation wants it, or `_Mismatch`."""
    origin = typing.get_origin(annotation)
    if annotation is Any:
        return value
    if origin is Literal:
        return _fit_literal(value, typing.get_args(annotation))
    if origin in (Union, types.UnionType):
        return _fit_union(value, typing.get_args(annotation))
    bare = origin if origin is not None else annotation
    if not isinstance(bare, type):
        return value
    if issubclass(bare, (bool, int, float)):
        return _fit_number(value, bare)
    if issubclass(bare, Sequence) and bare is not str:
        return _fit_sequence(value, annotation, bare)
    if issubclass(bare, Mapping):
        return _fit_mapping(value, annotation)
    if not isinstance(value, bare):
        raise _Mismatch
    return value


def _fit_literal(value: Any, choices: tuple[Any, ...]) -> Any:
    for choice in choices:  # True == 1, so the type counts as well
        if type(value) is type(choice) and value == choice:
            return value
    raise _Mismatch


def _fit_union(value: Any, choices: tuple[Any, ...]) -> Any:
    if any(type(value) is choice for choice in choices):
        return value
    for choice in choices:
        try:
            return _fit(value, choice)
        except _Mismatch:
            continue
    raise _Mismatch


def _fit_number(value: Any, kind: type) -> bool | int | float:
    if isinstance(value, bool) or kind is bool:
        if isinstance(value, bool) and kind is bool:
            return value
        raise _Mismatch
    if isinstance(value, numbers.Integral):
        return float(value) if kind is float else int(value)
    if kind is float and isinstance(value, numbers.Real):
        return float(value)
    raise _Mismatch


def _fit_sequence(value: Any, annotation: Any, bare: type) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _Mismatch
    arguments = typing.get_args(annotation)
    if bare is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise _Mismatch
        return tuple(_fit(item, kind) for item, kind in zip(value, arguments, strict=True))
    kind = arguments[0] if arguments else Any
    items = [_fit(item, kind) for item in value]
    return items if bare is list or isinstance(value, list) and bare is not tuple else tuple(items)


def _fit_mapping(value: Any, annotation: Any) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _Mismatch
    key, item = typing.get_args(annotation) or (Any, Any)
    return {_fit(k, key): _fit(v, item) for k, v in value.items()}
