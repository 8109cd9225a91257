"""Where published files go: a folder, or a repository on Hugging Face."""

import hashlib
import io
import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from zoo import _extras
from zoo._environment import offline
from zoo._files import write_atomic
from zoo.errors import ConfigError, DownloadError, OfflineError, OutputError
from zoo.hub import cache
from zoo.hub.download import Progress
from zoo.hub.integrity import copy_verified

_HUGGING_FACE = re.compile(r"hf:([\w.-]+/[\w.-]+)")


@dataclass(frozen=True)
class Item:
    """A file to publish.

    Attributes:
        path: its name in the store.
        source: its bytes, or where they are.
        size: their number.
        identities: sha256, and the digest under which git keeps files.
        fixed: whether other bytes may never take its name.
    """

    path: str
    source: Path | bytes
    size: int
    identities: tuple[str, str]
    fixed: bool = False

    @classmethod
    def of_text(cls, path: str, text: str) -> "Item":
        """A text, which a later one may replace."""
        data = text.encode("utf-8")
        return cls(path, data, len(data), _identities(io.BytesIO(data), len(data)))

    @classmethod
    def of_file(cls, path: str, source: Path) -> "Item":
        """A file that is called by its digest."""
        size = source.stat().st_size
        with source.open("rb") as stream:
            return cls(path, source, size, _identities(stream, size), fixed=True)


def _identities(stream: IO[bytes], size: int) -> tuple[str, str]:
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    plain = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        git.update(chunk)
        plain.update(chunk)
    return plain.hexdigest(), git.hexdigest()


class Store(Protocol):
    """What `upload` needs of a place; `base` is the address to load from."""

    base: str

    def digests(self, paths: Sequence[str]) -> dict[str, str]:
        """The digest (sha256, or git's) of each of these files that is there."""

    def read(self, path: str) -> bytes | None:
        """A small file, if it is there."""

    def write(self, items: Sequence[Item], progress: Progress | None) -> None:
        """Writes files, replacing those that are there; the last one last."""


def store(to: str) -> Store:
    """The place that a word means: `hf:<owner>/<repository>`, else a folder.

    Raises:
        ConfigError: for `hf:` without owner and repository.
        OfflineError: for Hugging Face while ZOO_OFFLINE is set.
        MissingExtraError: for Hugging Face without its package.
    """
    if not to.startswith("hf:"):
        return Folder(Path(to).expanduser())
    match = _HUGGING_FACE.fullmatch(to)
    if match is None:
        raise ConfigError(f"{to!r} must read hf:<owner>/<repository>")
    if offline():
        raise OfflineError(
            f"{to} needs the network and ZOO_OFFLINE is set; give a folder, or unset it"
        )
    return HuggingFace(match.group(1))


class Folder:
    """A folder on this machine, for a static host or as a mirror by its path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.base = os.path.abspath(path)

    def digests(self, paths: Sequence[str]) -> dict[str, str]:
        """The sha256 of each of these files that is there."""
        there = [path for path in paths if (self._path / path).is_file()]
        return {path: cache.sha256(self._path / path) for path in there}

    def read(self, path: str) -> bytes | None:
        """A small file, if it is there."""
        place = self._path / path
        return place.read_bytes() if place.is_file() else None

    def write(self, items: Sequence[Item], progress: Progress | None) -> None:
        """Writes files, each in one step.

        Raises:
            OutputError: if the folder can't be written.
        """
        total, done = sum(item.size for item in items), 0
        for item in items:
            target = self._path / item.path
            if isinstance(item.source, bytes):
                write_atomic(target, item.source)
            else:
                _copy(item, item.source, target)
            done += item.size
            if progress is not None:
                progress(done, total)


def _copy(item: Item, source: Path, target: Path) -> None:
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with source.open("rb") as stream, temporary.open("wb") as copy:
                digest, where = item.identities[0], str(source)
                copy_verified(stream, copy, digest=digest, size=item.size, where=where)
                copy.flush()
                os.fsync(copy.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise OutputError(
            f"{target} can't be written ({problem.strerror or problem}); choose a folder that is "
            "writable and has space"
        ) from problem


class HuggingFace:
    """A model repository on Hugging Face, through its own package, which finds the token.

    All is read from the commit that was the latest at first, and the new commit must follow on
    it: if somebody else writes in between, nothing is written.
    """

    def __init__(self, repository: str) -> None:
        self._hub: Any = _extras.require("huggingface_hub", extra="hub", package="huggingface-hub")
        self._api = self._hub.HfApi()
        self._repository = repository
        self.base = f"{self._api.endpoint}/{repository}/resolve/main"
        with self._reading("the repository"):
            self._head = str(self._api.repo_info(repository).sha)

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as problem:  # the package raises families of several others
            raise DownloadError(
                f"hf:{self._repository}: {what} can't be read ({problem}); create the repository "
                "first, and log in: hf auth login"
            ) from problem

    def digests(self, paths: Sequence[str]) -> dict[str, str]:
        """The sha256 of each of these files that is there; git's digest of small ones.

        Raises:
            DownloadError: if the repository can't be read.
        """
        with self._reading("the list of files"):
            found = self._api.get_paths_info(self._repository, list(paths), revision=self._head)
        return {
            item.path: str(item.lfs.sha256 if item.lfs is not None else item.blob_id)
            for item in found
            if hasattr(item, "blob_id")  # a folder has none
        }

    def read(self, path: str) -> bytes | None:
        """A small file, if it is there.

        Raises:
            DownloadError: if it can't be read.
        """
        if path not in self.digests([path]):
            return None
        with self._reading(path), tempfile.TemporaryDirectory() as folder:
            found = self._api.hf_hub_download(
                self._repository, path, revision=self._head, local_dir=folder
            )
            return Path(found).read_bytes()

    def write(self, items: Sequence[Item], progress: Progress | None) -> None:
        """Writes all files in one commit, so that nobody sees half of them.

        Raises:
            OutputError: if the repository refuses them.
        """
        operations = [
            self._hub.CommitOperationAdd(path_in_repo=item.path, path_or_fileobj=item.source)
            for item in items
        ]
        message = f"Add {len(items)} files of geometric-zoo weights"
        try:
            self._api.create_commit(
                self._repository, operations, commit_message=message, parent_commit=self._head
            )
        except Exception as problem:  # the package raises families of several others
            raise OutputError(
                f"hf:{self._repository} took nothing ({problem}); log in as somebody who may write "
                "there (hf auth login), and try again if somebody else wrote at the same time"
            ) from problem
        if progress is not None:
            total = sum(item.size for item in items)
            progress(total, total)
