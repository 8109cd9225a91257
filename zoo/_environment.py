"""The environment variables of the library: what each does, and the only place where they are read.

They are read at every call, so that a test, a notebook or a job script may set them at any time.
"""

import os
import re
from pathlib import Path
from typing import Final

from zoo.errors import ConfigError

#: one sentence each, for `zoo doctor` and the documentation
VARIABLES: Final = {
    "ZOO_CACHE": "folder for downloaded weights and compiled code (default: `geometric-zoo` in the "
    "user's cache folder)",
    "ZOO_CACHE_RO": "shared cache folders, separated by `:`, that are searched first and never "
    "written",
    "ZOO_MIRROR": "addresses or folders to take weights from instead of the published ones, "
    "separated by commas",
    "ZOO_OFFLINE": "1: never use the network",
    "ZOO_TIMEOUT": "seconds without a byte after which a download is given up (default: 30)",
}
DEFAULT_TIMEOUT = 30.0
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def cache_folder() -> Path:
    """The cache folder: $ZOO_CACHE, else geometric-zoo under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "geometric-zoo"


def shared_caches() -> list[Path]:
    """The folders of $ZOO_CACHE_RO, in order; one that is not there counts as empty.

    Raises:
        ConfigError: for a relative folder, which would depend on where a job starts.
    """
    entries = [item for item in os.environ.get("ZOO_CACHE_RO", "").split(os.pathsep) if item]
    found = [Path(item).expanduser() for item in entries]
    for entry, path in zip(entries, found, strict=True):
        if not path.is_absolute():
            raise ConfigError(
                f"ZOO_CACHE_RO holds {entry!r}; give absolute folders, separated by {os.pathsep!r}"
            )
    return found


def offline() -> bool:
    """Whether $ZOO_OFFLINE forbids the network.

    Raises:
        ConfigError: for a value that is neither yes nor no.
    """
    value = os.environ.get("ZOO_OFFLINE", "").strip().lower()
    if value not in _YES + _NO:
        raise ConfigError(f"ZOO_OFFLINE is {value!r}; set it to 1 or 0")
    return value in _YES


def mirrors() -> list[str]:
    """The places in $ZOO_MIRROR, in order.

    Raises:
        ConfigError: if one is no http(s) or file URL and no absolute folder.
    """
    entries = re.split(r"[,\s]+", os.environ.get("ZOO_MIRROR", "").strip())
    chosen = [mirror for mirror in entries if mirror]
    for mirror in chosen:
        if not mirror.startswith(("https://", "http://", "file:///", "/")):
            raise ConfigError(
                f"ZOO_MIRROR holds {mirror!r}; give https:// addresses or absolute folders, "
                "separated by commas"
            )
    return chosen


def timeout() -> float:
    """The patience of a download in seconds: $ZOO_TIMEOUT.

    Raises:
        ConfigError: for a value that is no positive number.
    """
    value = os.environ.get("ZOO_TIMEOUT", "").strip()
    if not value:
        return DEFAULT_TIMEOUT
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", value) or float(value) <= 0:
        raise ConfigError(f"ZOO_TIMEOUT is {value!r}; give seconds, such as 30")
    return float(value)
