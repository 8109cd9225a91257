"""Published sets by name: which files they are made of, and where these lie on this machine.

A description (`datasets/<name>.yaml`) that says `download:` stands for files that their authors
publish. They lie in `<cache>/datasets/<name>/` under the authors' names, where `zoo data get NAME`
puts them (`zoo.hub.get_dataset`); nothing here opens a connection. A folder of one's own takes
that place with `NAME?root=/my/folder`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from zoo._environment import cache_folder, shared_caches
from zoo.errors import ConfigError, DataError, nearest

#: a file beside an archive that is being unpacked; it vanishes when all of it is there
UNPACKING = ".unpacking"
ROOT = "root"
_HEX = {"md5": 32, "sha256": 64}


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file that its authors publish.

    Attributes:
        url: its address.
        file: its name in the set's folder.
        sha256: where known.
        md5: where known; many archives publish only this one.
        bytes: its size, where known.
        unpack: whether the archive is unpacked into the set's folder, or patterns of the members
            that are.
        inflate: whether unpacked members that end in .xz or .gz are unpacked too.
        only: setting -> the values for which the file is needed; for all of them if empty.
        by_hand: whether `url` is a page of the authors from which a user gets the file, or the
            folder, which has no address of its own.
    """

    url: str
    file: str
    sha256: str | None = None
    md5: str | None = None
    bytes: int | None = None
    unpack: bool | Sequence[str] = False
    inflate: bool = False
    only: Mapping[str, Any] = field(default_factory=dict)
    by_hand: bool = False


def remotes(name: str, entries: Any) -> list[Remote]:
    """The files of a description.

    Raises:
        ConfigError: for an ill-formed entry.
    """
    known = {item.name for item in fields(Remote)}
    found = []
    for entry in entries if isinstance(entries, list) and entries else [None]:
        if not isinstance(entry, Mapping) or not {"url", "file"} <= set(entry):
            raise ConfigError(f"{name}: download must be a list of entries with url and file")
        for key in entry:
            if key not in known:
                raise ConfigError(f"{name}: download has no {key!r}: {nearest(str(key), known)}")
        if not is_inside(str(entry["file"])):
            raise ConfigError(f"{name}: {entry['file']!r} must be a path inside the set's folder")
        for kind, length in _HEX.items():
            digest = entry.get(kind)
            right = isinstance(digest, str) and re.fullmatch(rf"[0-9a-f]{{{length}}}", digest)
            if digest is not None and not right:
                raise ConfigError(f"{name}: {digest!r} is no {kind} in hexadecimal")
        found.append(Remote(**entry))
    return found


def is_inside(path: str) -> bool:
    """Whether a relative path stays below the folder it starts from."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts


def checked(name: str, allowed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a set, with the defaults of those that were not given.

    Args:
        name: of the set.
        allowed: setting -> {"values": [...] or "any", "default": ...}.
        given: as they stand after the question mark.

    Raises:
        ConfigError: for an unknown setting or value, or one that must be given and is not.
    """
    for key in given:
        if key not in allowed and key != ROOT:
            known = [*allowed, ROOT]
            raise ConfigError(f"{name} has no setting {key!r}: {nearest(str(key), known)}")
    result = {key: given[key] for key in given if key == ROOT}
    for key, about in allowed.items():
        values = about.get("values", "any")
        if key not in given and "default" not in about:
            raise ConfigError(f"{name} needs a {key}: {name}?{key}=..., {_choices(values)}")
        value = given.get(key, about.get("default"))
        if values != "any" and value not in values:
            close = nearest(str(value), map(str, values))
            raise ConfigError(f"{name}: {key} is {value!r}: {close} ({_choices(values)})")
        result[key] = value
    return result


def _choices(values: Any) -> str:
    return "of any value" if values == "any" else f"one of {', '.join(map(str, values))}"


def wanted(files: Sequence[Remote], settings: Mapping[str, Any]) -> list[Remote]:
    """The files that some settings need, their patterns filled in."""

    def needed(file: Remote) -> bool:
        return all(
            settings.get(key) in (values if isinstance(values, list) else [values])
            for key, values in file.only.items()
        )

    return [file for file in files if needed(file)]


def filled(value: Any, settings: Mapping[str, Any]) -> Any:
    """A value of a description with `{setting}` replaced, in every word that it holds."""
    if isinstance(value, str):
        for key, word in settings.items():
            value = value.replace(f"{{{key}}}", str(word))
        return value
    if isinstance(value, Mapping):
        return {key: filled(item, settings) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, settings) for item in value]
    return value


def folder(name: str) -> Path:
    """Where `zoo data get` puts the files of a set."""
    return cache_folder() / "datasets" / name


def _folders(name: str, settings: Mapping[str, Any]) -> Iterator[Path]:
    if ROOT in settings:
        yield Path(str(settings[ROOT])).expanduser()
        return
    yield from (cache / "datasets" / name for cache in shared_caches())
    yield folder(name)


def _is_there(path: Path) -> bool:
    """Not what `zoo data get` keeps for itself, nor a file that has come in part."""
    return not path.name.startswith(".") and path.suffix != ".part"


def command(name: str, settings: Mapping[str, Any], allowed: Mapping[str, Any]) -> str:
    """How `zoo data get` brings a set; names the settings that differ from the defaults."""
    told = {
        key: value
        for key, value in settings.items()
        if key in allowed and ("default" not in allowed[key] or allowed[key]["default"] != value)
    }
    return " ".join(["zoo data get", name, *(f"{key}={value}" for key, value in told.items())])


def lacking(place: Path, files: Sequence[Remote], settings: Mapping[str, Any]) -> list[str]:
    """Files that some settings need and a folder lacks; of archives only their members count."""
    plain = [file.file for file in wanted(files, settings) if not file.unpack and not file.by_hand]
    return [name for name in dict.fromkeys(plain) if not (place / name).is_file()]


def located(
    name: str,
    opens: str,
    settings: Mapping[str, Any],
    allowed: Mapping[str, Any],
    files: Sequence[Remote] = (),
) -> Path:
    """The folder of a set that has what is to be opened.

    Args:
        name: of the set.
        opens: what must be there, a path in the folder, or a pattern; any file if empty.
        settings: checked, `root` perhaps among them.
        allowed: as for `checked`; the command names what differs from the defaults.
        files: of which all that the settings need must be in a folder that `zoo data get` fills;
            one's own folder may have fewer.

    Raises:
        DataError: if it is nowhere, not all there, or was not unpacked to the end; says which
            command gets it.
    """
    getting = command(name, settings, allowed)
    places = list(_folders(name, settings))
    for place in places:
        if any(_is_there(found) for found in place.glob(opens or "*")):
            if any(place.glob(f".*{UNPACKING}")):
                raise DataError(f"{place} was not unpacked to the end; run: {getting}")
            missing = [] if ROOT in settings else lacking(place, files, settings)
            if missing:
                raise DataError(
                    f"{place} lacks {missing[0]}, one of {len(missing)} files of {name} that did "
                    f"not come; run: {getting}"
                )
            return place
    where = f"{opens or 'file'} in {' or '.join(map(str, places))}"
    raise DataError(
        f"{name} is not on this machine: there is no {where}; nothing is downloaded unless asked. "
        f"Run: {getting} (or name a folder that has it: {name}?root=FOLDER)"
    )
