"""Opening published sets: by name, from where `zoo data get` put their files, or from a path."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.datasets import _published, _remote
from zoo.datasets._base import Dataset
from zoo.datasets._query import settings_of
from zoo.datasets.dataset import AtomsDataset
from zoo.datasets.published import READERS, recognised
from zoo.errors import ConfigError, DataError, UnsafeFileError

if TYPE_CHECKING:
    from zoo.datasets._open import Description

EXAMPLE = "molecule=aspirin&split=1"
_UNTOLD = ("download", "settings", "opens", "reader", "pickle", "keys", "splits")


@dataclass(frozen=True)
class Options:
    """Arguments of `zoo.datasets.open`."""

    keys: Mapping[str, str | None] | None
    units: Mapping[str, str] | None
    splits: Mapping[str, Any] | None
    domain: str | None
    trust_pickle: bool


def open_obtained(
    name: str,
    about: "Description",
    query: str,
    options: Options,
    open_path: Callable[..., Dataset[Any]],
) -> Dataset[Any]:
    """Opens a set that was downloaded.

    Args:
        name: of the set.
        about: its description.
        query: settings, as after the question mark.
        options: what else was asked for.
        open_path: `zoo.datasets.open`, for sets in formats of their domain.

    Raises:
        ConfigError: for unknown settings, or units, which the description knows.
        DataError: if the files aren't here; names the command that gets them.
        UnsafeFileError: for files that are pickles and aren't trusted.
    """
    settings = _remote.checked(name, about.settings, settings_of(query, EXAMPLE))
    if options.units is not None:
        raise ConfigError(f"the units of {name} are known ({about.units}); leave out units=")
    if options.domain not in (None, about.domain):
        raise ConfigError(f"the domain of {name} is {about.domain!r}, not {options.domain!r}")
    if about.pickle and not options.trust_pickle:
        raise UnsafeFileError(
            f"{name} is published as pickles, which can run any code when read; if you trust its "
            "authors and the way the files came to you, open it with trust_pickle=True"
        )
    opens = _remote.filled(about.opens, settings)
    files = _remote.remotes(name, about.download)
    folder = _remote.located(name, opens, settings, about.settings, files)
    known = {item.name: getattr(about, item.name) for item in fields(about)}
    known = {key: value for key, value in known.items() if value and key not in _UNTOLD}
    known["settings"] = {key: str(value) for key, value in settings.items()}
    splits = options.splits if options.splits is not None else about.splits
    splits = _published.located(_remote.filled(splits, settings), folder)
    try:
        if about.reader:
            return _read(about.reader, folder, settings, options.keys, splits, known, name)
        keys = {**_remote.filled(about.keys, settings), **(options.keys or {})}
        dataset = open_path(
            folder / opens if opens else folder,
            keys=keys or None,
            units=about.units or None,
            splits=splits,
            domain=about.domain,
            trust_pickle=options.trust_pickle,
        )
    except DataError as error:
        getting = _remote.command(name, settings, about.settings)
        asked = options.keys is not None or options.splits is not None
        told = _explained(str(error), getting, folder, settings, files, asked=asked)
        raise DataError(told) from error
    dataset.metadata |= known
    dataset.source = name
    return dataset


def _explained(
    problem: str,
    getting: str,
    folder: Path,
    settings: Mapping[str, Any],
    files: Sequence[_remote.Remote],
    *,
    asked: bool,
) -> str:
    """What a reader said, and what it can't know of the files that it did not open.

    Args:
        problem: what it said.
        getting: the command that brings the set.
        folder: where the files are.
        settings: of the set.
        files: of the set.
        asked: whether it may be for what the user asked that it did not open them.
    """
    missing = _remote.lacking(folder, files, settings)
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return (
            f"{folder} lacks {', '.join(missing[:3])}{more}; {getting} --into {folder} brings what "
            f"is missing. {problem}"
        )
    unknown = [f for f in _remote.wanted(files, settings) if not (f.md5 or f.sha256 or f.by_hand)]
    if asked or not unknown or _remote.ROOT in settings:
        return problem
    return f"{problem} (if a file came damaged, {getting} --again fetches it anew)"


def reader_of(path: Path) -> str | None:
    """The reader of `zoo.datasets.published` that knows a file or folder by what it holds."""
    return recognised(path)


def open_file(path: Path, options: Options) -> AtomsDataset:
    """Opens a file or folder of one's own in the layout of a published set."""
    reader = recognised(path)
    if options.units is not None:
        raise ConfigError(f"the units of {path} are known ({reader}); leave out units=")
    splits = _published.located(options.splits, path if path.is_dir() else path.parent)
    settings = dict(READERS[str(reader)].usual)
    return _read(str(reader), path, settings, options.keys, splits, {}, str(path))


def _read(
    reader: str,
    place: Path,
    settings: Mapping[str, Any],
    keys: Mapping[str, str | None] | None,
    splits: Mapping[str, Any] | None,
    known: Mapping[str, Any],
    source: str,
) -> AtomsDataset:
    if splits is not None:
        READERS[reader].check_splits(splits)
    found = READERS[reader].read(place, settings, dict(keys or {}))
    told = {**found.metadata, **known}
    chosen = splits if splits is not None else found.splits
    dataset = AtomsDataset(found.frames, splits=chosen, metadata=told, source=source)
    limit = found.metadata.get("max_train")
    count = len(dataset.splits.get("train", ()))
    if limit is not None and count > limit:
        warnings.warn(
            f"{source}: {count} training frames of one trajectory; its neighbouring frames are so "
            f"alike that more than {limit} say little about a model, as the authors of rMD17 warn",
            UserWarning,
            stacklevel=4,
        )
    return dataset
