"""The cache: files under their sha256, so that none can be stale and no lock is needed.

    <root>/blobs/sha256/ab/abcd...   complete files, read-only
    <root>/refs/<name>.yaml          digests first seen of authors' files that publish none
    <root>/tmp/<uuid>                downloads under way

A file is downloaded into tmp, checked, and moved into blobs in one step; whoever comes second
moves the same bytes over the same name. A killed download leaves something in tmp only, and what
is older than a day there is cleared away.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.errors import OutputError

_STALE = 24 * 3600.0


def root() -> Path:
    """The cache folder: $ZOO_CACHE, else geometric-zoo under $XDG_CACHE_HOME or ~/.cache."""
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "geometric-zoo"


def blob(digest: str) -> Path:
    """Where the file with this sha256 lies, or would lie."""
    return root() / "blobs" / "sha256" / digest[:2] / digest


def sha256(path: Path) -> str:
    """The digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def find(digest: str) -> Path | None:
    """The cached file with this sha256 if it is there and intact."""
    path = blob(digest)
    try:
        return path if sha256(path) == digest else None
    except OSError:
        return None


@contextmanager
def workspace() -> Iterator[Path]:
    """A private temporary path on the cache's file system, removed at the end.

    Raises:
        OutputError: if the cache can't be written.
    """
    folder = root() / "tmp"
    path = folder / uuid.uuid4().hex
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        path.touch(exist_ok=False)
    except OSError as problem:
        raise OutputError(
            f"the cache {root()} can't be written ({problem.strerror or problem}); "
            "set ZOO_CACHE to a folder that can"
        ) from problem
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def commit(path: Path, digest: str) -> Path:
    """Moves a checked file into the cache in one step.

    Args:
        path: the file, on the cache's file system.
        digest: its sha256, which the caller has verified.

    Raises:
        OutputError: if the cache can't be written.
    """
    target = blob(digest)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
        path.chmod(0o444)
        os.replace(path, target)
    except OSError as problem:
        raise OutputError(
            f"the cache {root()} can't be written ({problem.strerror or problem}); "
            "set ZOO_CACHE to a folder that can"
        ) from problem
    return target


def _sweep(folder: Path) -> None:
    """Clears what killed downloads left more than a day ago."""
    for item in folder.iterdir():
        try:
            if time.time() - item.stat().st_mtime > _STALE:
                item.unlink()
        except FileNotFoundError:  # another process was faster
            continue
