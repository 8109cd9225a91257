"""The cache: files under their sha256, so that none can be stale and no lock is needed.

    <root>/blobs/sha256/ab/abcd...      complete files, read-only; their time is that of last use
    <root>/manifests/<sha256>/          manifest and card of weights that came in a bundle
    <root>/names/<name>                 which of these manifests a name means
    <root>/refs/<name>.yaml             digests first seen of authors' files that publish none
    <root>/native/<sha256>.so           programs compiled here, by what they were made from
    <root>/tmp/<digest>.<uuid>          downloads under way, or cut short

A file is downloaded into tmp, checked, and moved into blobs in one step; whoever comes second
moves the same bytes over the same name. A killed download leaves something in tmp only: the next
one of the same file goes on from there, and what is older than a day is cleared away. The lock on
a file in tmp says that its owner lives; where locks do nothing, as on some network file systems,
the worst is a wasted download, since every file is checked whenever it is read.

Shared caches ($ZOO_CACHE_RO) have the same layout. They are searched first and never written.
"""

import fcntl
import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from zoo._catalog import CARD, MANIFEST
from zoo._environment import cache_folder, shared_caches
from zoo._files import read_yaml, write_atomic
from zoo.errors import ManifestError, OutputError, ZooError

#: age in seconds at which a temporary file counts as abandoned
STALE = 24 * 3600.0
#: how far the time of last use may lag behind
_TOUCH_AFTER = 3600.0
_DIGEST = re.compile(r"[0-9a-f]{64}")

#: the folder that is written
root = cache_folder


def folders() -> list[Path]:
    """All caches in the order in which they are searched; the last one is the writable one."""
    return [*shared_caches(), root()]


def blob(digest: str, folder: Path | None = None) -> Path:
    """Where the file with this sha256 lies, or would lie.

    Args:
        digest: sha256.
        folder: a cache; the writable one if None.
    """
    return (folder or root()) / "blobs" / "sha256" / digest[:2] / digest


def sha256(path: Path) -> str:
    """The digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_id(path: Path) -> str:
    """The id that git gives a file's content, by which repositories name it."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def find(digest: str) -> Path | None:
    """The cached file with this sha256 if it is there and intact, from any cache."""
    if not _DIGEST.fullmatch(digest):
        return None
    for folder in folders():
        path = blob(digest, folder)
        with suppress(OSError):
            if sha256(path) == digest:
                touch(path)
                return path
    return None


def holds(manifest: Path) -> bool:
    """Whether a manifest lies in a cache, under its digest, where nothing may change it."""
    return manifest.parent.parent in [folder / "manifests" for folder in folders()]


def keep_manifest(manifest: str, card: str) -> Path:
    """Stores the manifest and the card of imported weights; the card goes first.

    Returns:
        The manifest's path.

    Raises:
        OutputError: if the cache can't be written.
    """
    digest = hashlib.sha256(manifest.encode("utf-8")).hexdigest()
    path = root() / "manifests" / digest / MANIFEST
    if not path.is_file() or sha256(path) != digest:
        write_atomic(path.with_name(CARD), card)
        write_atomic(path, manifest)
    return path


def keep_name(name: str, manifest: Path) -> None:
    """Lets a name mean a manifest in the cache.

    Raises:
        OutputError: if the cache can't be written.
    """
    write_atomic(root() / "names" / name, manifest.parent.name + "\n")


def source(name: str) -> dict[str, str]:
    """The `url` and `sha256` that `keep_source` wrote, if it did."""
    path = note(name)
    return read_yaml(path, error=ManifestError) if path.is_file() else {}


def note(name: str) -> Path:
    """Where `keep_source` wrote what it knows of a file, or would."""
    places = [folder / "refs" / f"{name}.yaml" for folder in folders()]
    return next((path for path in places if path.is_file()), places[-1])


def keep_source(name: str, *, url: str, digest: str) -> None:
    """Remembers the digest that an authors' file without a published one had when first seen.

    Raises:
        OutputError: if the cache can't be written.
    """
    write_atomic(root() / "refs" / f"{name}.yaml", f"url: {url}\nsha256: {digest}\n")


def touch(path: Path) -> None:
    """Notes that a file of the writable cache was used, so that `prune` sees it."""
    if not path.is_relative_to(root()):
        return
    with suppress(OSError):
        if time.time() - path.stat().st_mtime > _TOUCH_AFTER:
            os.utime(path)


def blobs(folder: Path) -> list[Path]:
    """The complete files in a cache, in the order of their digests."""
    found = (folder / "blobs" / "sha256").glob("*/*")
    return sorted(path for path in found if _DIGEST.fullmatch(path.name))


def programs(folder: Path) -> list[Path]:
    """The compiled programs in a cache."""
    return sorted(path for path in (folder / "native").glob("*") if path.is_file())


def temporary(folder: Path) -> list[Path]:
    """The files of downloads under way, or cut short."""
    return sorted(path for path in (folder / "tmp").glob("*") if path.is_file())


@contextmanager
def workspace(digest: str | None = None) -> Iterator[Path]:
    """A private temporary file on the cache's file system.

    Args:
        digest: what will be in it, if known. It then begins with what an earlier, broken attempt
            left, and stays for the next one unless it is empty or was committed.

    Yields:
        Its path; without `digest` it is removed at the end.

    Raises:
        OutputError: if the cache can't be written.
    """
    folder = root() / "tmp"
    path = folder / (uuid.uuid4().hex if digest is None else f"{digest}.{uuid.uuid4().hex}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        lock = (digest is not None and _inherit(folder, digest, path)) or path.open("xb")
    except OSError as problem:
        raise _unwritable(problem) from problem
    with lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield path
        finally:
            with suppress(FileNotFoundError):
                if digest is None or path.stat().st_size == 0:
                    path.unlink()


def _inherit(folder: Path, digest: str, path: Path) -> BinaryIO | None:
    """Takes over the longest part of a download whose process is gone; it is open and locked."""
    parts = [(item.stat().st_size, item) for item in _parts(folder, digest)]
    for _, item in sorted(parts, reverse=True):
        with suppress(OSError):  # its owner lives, or another process was faster
            stream = item.open("r+b")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rename(item, path)
            except OSError:
                stream.close()
                raise
            os.utime(path)
            return stream
    return None


def _parts(folder: Path, digest: str) -> list[Path]:
    return [item for item in folder.glob(f"{digest}.*") if item.is_file()]


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
        raise _unwritable(problem) from problem
    for item in _parts(root() / "tmp", digest):
        with suppress(OSError), item.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            item.unlink()
    return target


@contextmanager
def filling(path: Path) -> Iterator[BinaryIO]:
    """A file of `workspace`, open for writing.

    Raises:
        OutputError: if the disk does not take the bytes.
    """
    try:
        with path.open("wb") as stream:
            yield stream
    except ZooError:
        raise
    except OSError as problem:
        raise _unwritable(problem) from problem


def _unwritable(problem: OSError) -> OutputError:
    return OutputError(
        f"the cache {root()} can't be written ({problem.strerror or problem}); "
        "set ZOO_CACHE to a folder that can"
    )


def _sweep(folder: Path) -> None:
    """Clears what killed downloads left more than a day ago."""
    for item in folder.iterdir():
        with suppress(OSError):  # another process was faster, or another user's file
            if time.time() - item.stat().st_mtime > STALE:
                item.unlink()
