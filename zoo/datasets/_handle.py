"""A file that is read at given places, from any process."""

import os
from pathlib import Path
from typing import Any

from zoo.errors import DataError


class Handle:
    """An open file that knows whether it is still what it was when it was first opened.

    Reads name their place, so that forked processes don't disturb each other; a pickled handle
    opens the file again when it is used.

    Args:
        path: the file.

    Raises:
        DataError: if it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None
        self._descriptor, self.stamp = self._open()

    def _open(self) -> tuple[int, tuple[int, int]]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            status = os.fstat(descriptor)
        except OSError as error:
            raise DataError(f"{self.path} can't be read: {error.strerror or error}") from error
        return descriptor, (status.st_size, status.st_mtime_ns)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.stamp[0]

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset` on.

        Raises:
            DataError: if they aren't there, or the file was changed since it was opened.
        """
        if self._descriptor is None:
            self._descriptor, stamp = self._open()
            if stamp != self.stamp:
                raise DataError(f"{self.path} was changed since it was opened; open it again")
        if not 0 <= offset <= offset + size <= self.size:
            raise DataError(f"{self.path} is damaged: it points beyond its end")
        try:
            found = os.pread(self._descriptor, size, offset)
            while len(found) < size:  # a single read returns 2 GiB at most
                more = os.pread(self._descriptor, size - len(found), offset + len(found))
                if not more:
                    raise DataError(f"{self.path} was shortened since it was opened; open it again")
                found += more
        except OSError as error:
            raise DataError(f"{self.path} can't be read: {error.strerror or error}") from error
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "stamp": self.stamp, "_descriptor": None}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]
