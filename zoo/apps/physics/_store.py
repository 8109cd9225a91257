"""A folder of finished pieces of work, so that a run that was stopped goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo._files import write_atomic
from zoo.apps.physics._result import Measured
from zoo.errors import ConfigError, DataError

FILE = "parts.json"


class Store:
    """Finished pieces of work, by name; without a folder in memory only.

    Args:
        folder: where to keep them.
        key: what decides the results; a folder holds those of one key.

    Raises:
        ConfigError: if the folder holds results of another key.
        DataError: if its file can't be read.
    """

    def __init__(self, folder: Path | None, key: Mapping[str, Any]) -> None:
        self._path = None if folder is None else folder / FILE
        self._key = json.loads(json.dumps(key))
        self._parts: dict[str, dict[str, Any]] = {}
        if self._path is not None and self._path.is_file():
            self._parts = self._read(self._path)

    @property
    def tag(self) -> str:
        """A word for the key, for the names of files that belong to it."""
        return hashlib.sha256(json.dumps(self._key, sort_keys=True).encode()).hexdigest()[:12]

    def get(self, name: str) -> tuple[Measured, float] | None:
        """A piece of work and the seconds it took, if it is done."""
        part = self._parts.get(name)
        return None if part is None else (Measured.from_dict(part["found"]), part["seconds"])

    def put(self, name: str, found: Measured, seconds: float) -> None:
        """Keeps a piece of work."""
        self._parts[name] = {"seconds": round(seconds, 3), "found": found.to_dict()}
        if self._path is not None:
            text = json.dumps({"key": self._key, "parts": self._parts}, allow_nan=False)
            write_atomic(self._path, text)

    def _read(self, path: Path) -> dict[str, dict[str, Any]]:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            key, parts = values["key"], dict(values["parts"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise DataError(
                f"{path} holds no results of a physical evaluation ({problem}); delete it, or "
                "choose another folder"
            ) from problem
        different = [name for name in self._key if key.get(name) != self._key[name]]
        if different:
            raise ConfigError(
                f"{path} holds results with other {' and '.join(different)}; choose another "
                "folder, or delete that file to measure anew"
            )
        return parts
