"""Names of heads: a kind ("energy", "dipole"), or "energy/<name>" for further energy heads.

"forces" and "stress" name direct heads; without them both are derivatives of the energy.
"""

import re
from collections.abc import Iterable, Sequence

from zoo.errors import ConfigError, UnknownHeadError, nearest
from zoo.layers.atomistic._heads import HEADS

KINDS = tuple(HEADS)
#: kinds whose outputs would otherwise be derivatives of the energy
DIRECT = ("forces", "stress")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
NEW = "new:"


def energy_name(entry: str) -> str | None:
    """The name of an energy head: "energy/pbe" is "pbe", "energy" itself; None for other kinds."""
    kind, slash, name = entry.partition("/")
    if kind != "energy":
        return None
    return name if slash else "energy"


def entry_of(name: str) -> str:
    """The entry among a model's heads of an energy head's name."""
    return "energy" if name == "energy" else f"energy/{name}"


def check_name(name: str) -> str:
    """Checks the name of a new energy head.

    Returns:
        The name.

    Raises:
        ConfigError: if it can't be one.
    """
    if not NAME.fullmatch(name) or name in KINDS:
        raise ConfigError(
            f"{name!r} can't name a new energy head: use letters, digits, '_' and '-', such as "
            f"pbe_d3, and none of {', '.join(KINDS)}"
        )
    return name


def check_heads(heads: Sequence[str]) -> None:
    """Checks the heads that a model is to be built with.

    Raises:
        UnknownHeadError: for an unknown kind.
        ConfigError: for none at all, one twice, or a name that can't be one.
    """
    if not heads:
        raise ConfigError(f"heads is empty; expected at least one of {', '.join(KINDS)}")
    for entry in heads:
        kind, slash, name = entry.partition("/")
        if kind not in KINDS or (slash and kind != "energy"):
            raise UnknownHeadError(
                f"unknown head {entry!r}: {nearest(entry, KINDS)} (further energy heads read "
                "energy/<name>)"
            )
        if slash:
            check_name(name)
    if len(set(heads)) != len(heads):
        raise ConfigError(f"heads repeats a kind: {list(heads)}")


def choose(name: str, known: Iterable[str], *, owner: str) -> str:
    """One of the known names.

    Args:
        name: what the user wrote; "energy/pbe" stands for "pbe".
        known: the names that exist.
        owner: whose heads they are, for the message.

    Raises:
        UnknownHeadError: offers the nearest.
    """
    names = list(known)
    short = name.removeprefix("energy/")
    if short in names:
        return short
    raise UnknownHeadError(
        f"{owner} has no head {name!r}: {nearest(short, names)} (heads: {', '.join(names)})"
    )
