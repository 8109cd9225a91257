"""Data sets by name that are computed when they are opened: `o5-hulls`, `o5-hulls?train=1024`.

A description (`datasets/<name>.yaml`) that says `made: <kind>` in the place of a file stands for
what the kind of `zoo.datasets.synthetic` makes with the settings under `generation`. After a
question mark, settings may be changed, also of sets that ship as files.
"""

from collections.abc import Mapping
from typing import Any

from zoo.datasets._query import settings_of
from zoo.datasets.domains import DomainDataset
from zoo.errors import ConfigError, UnknownNameError, nearest

EXAMPLE = "train=1024&seed=1"
#: entries of a description that hold only for the settings that it names
_OF_SETTINGS = ("samples", "generation")


def open_made(
    name: str, query: str, about: Mapping[str, Any], splits: Mapping[str, Any] | None
) -> DomainDataset:
    """Makes a data set.

    Args:
        name: of the set, or of a kind.
        query: settings that differ, as after the question mark.
        about: the set's description, empty without one.
        splits: in the place of the set's own.

    Raises:
        UnknownNameError: for a name that no kind has.
        ConfigError: for settings that the kind refuses.
    """
    from zoo.datasets import synthetic  # which opens what it writes through this module

    kind = about.get("made") or name
    if kind not in synthetic.KINDS:
        raise UnknownNameError(
            f"{name!r} is not computed by zoo, so it has no settings to change: "
            f"{nearest(kind, synthetic.KINDS)}"
        )
    usual = dict(about.get("generation", {}).get("settings", {}))
    changed = settings_of(query, EXAMPLE)
    splits = about.get("splits") if splits is None else splits
    dataset = synthetic.make(kind, splits=splits, **{**usual, **changed})
    kept = {key: value for key, value in about.items() if key not in ("file", "sha256", "keys")}
    if any(usual.get(key) != value for key, value in changed.items()):
        kept = {key: value for key, value in kept.items() if key not in _OF_SETTINGS}
    dataset.metadata |= {**kept, "samples": len(dataset)}
    dataset.source = name
    return dataset


def check_options(name: str, **options: Any) -> None:
    """Refuses what only files have.

    Raises:
        ConfigError: names the option.
    """
    for option, value in options.items():
        if value:
            raise ConfigError(
                f"{name} is computed, in the names and units of its domain; leave out {option}="
            )
