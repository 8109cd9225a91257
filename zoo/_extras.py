"""The one place where optional packages are imported."""

import contextlib
import importlib
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from zoo.errors import MissingExtraError


def require(module: str, *, extra: str, package: str) -> ModuleType:
    """Imports an optional package, or says how to install it.

    Args:
        module: dotted name to import.
        extra: the extra of geometric-zoo that brings it.
        package: its name on the package index.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this needs {package}, which is not installed ({error}); "
            f'run: pip install "geometric-zoo[{extra}]"'
        ) from error


def versions(*packages: str) -> dict[str, str]:
    """Versions of those of the packages that are installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
