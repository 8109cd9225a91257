"""A user's own model or function, found by "package.module:Name"."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from zoo.errors import ConfigError, nearest


def load_module(path: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """Imports a model, as Python started in the current folder would.

    Args:
        path: "package.module:Name" or "folder/file.py:Name". Name is a module, a class, or a
            function that returns a module.
        arguments: for the class or function.

    Returns:
        The module.

    Raises:
        ConfigError: says which step failed: the form, the import, the name, the construction.
    """
    found = load_object(path, what="a model")
    if isinstance(found, nn.Module):
        if arguments:
            raise ConfigError(f"{path} is built already; it takes no arguments {dict(arguments)}")
        return found
    if not callable(found):
        raise ConfigError(f"{path} is {type(found).__name__}; expected a torch.nn.Module")
    try:
        model = found(**(arguments or {}))
    except TypeError as problem:
        raise ConfigError(
            f"{path} can't be built with the arguments {dict(arguments or {})}: {problem}"
        ) from problem
    if not isinstance(model, nn.Module):
        raise ConfigError(f"{path} gave {type(model).__name__}; expected a torch.nn.Module")
    return model


def load_object(path: str, *, what: str) -> Any:
    """Imports anything by "package.module:Name" or "folder/file.py:Name".

    Args:
        path: where it is.
        what: what it is meant to be, for messages: "a model".

    Raises:
        ConfigError: says which step failed: the form, the import, the name.
    """
    source, _, name = path.rpartition(":")
    if not (source and name.isidentifier()):
        raise ConfigError(
            f"{path!r} does not say where {what} is; write package.module:Name or file.py:Name"
        )
    module = _imported(source)
    if not hasattr(module, name):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise ConfigError(f"{source} has no {name!r}: {nearest(name, public)}")
    return getattr(module, name)


def _imported(source: str) -> ModuleType:
    try:
        if source.endswith(".py"):
            return _from_file(Path(source))
        with _current_folder():
            return importlib.import_module(source)
    except ConfigError:
        raise
    except Exception as problem:  # a user's code may raise anything while it is imported
        raise ConfigError(
            f"{source} can't be imported: {type(problem).__name__}: {problem}. "
            "Run from the folder that holds it"
        ) from problem


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # any .py file has a loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _current_folder() -> Iterator[None]:
    """The current folder first on the path, as `python -m` has it, and no longer than needed."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
