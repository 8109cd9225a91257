"""Where the YAML, cards, recipes, sample data and small weights of the package lie.

In a wheel they are inside the package (`zoo/_share/<kind>`); in a checkout, the wheel's source,
they are the folders of the same names beside `zoo/`.
"""

from pathlib import Path

from zoo.errors import ConfigError, nearest

KINDS = ("models", "datasets", "recipes", "checkpoints")


def folder(kind: str) -> Path:
    """The folder of one kind of shipped files.

    Args:
        kind: "models", "datasets", "recipes" or "checkpoints".

    Returns:
        Its path; read-only for all practical purposes.

    Raises:
        ConfigError: for any other kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"no shared folder is called {kind!r}: {nearest(kind, KINDS)}")
    package = Path(__file__).resolve().parent
    inside = package / "_share" / kind
    return inside if inside.is_dir() else package.parent / kind
