"""Fetching files by their digest: what arrives is checked before it is kept.

A transfer that breaks is taken up where it broke, at the same address, at the next one, or by the
next process: HTTP Range requests, where a server knows them. Whatever the servers did, the digest
of the whole decides; if it is wrong after such a joint, the file is fetched once more from its
first byte.
"""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote

import pooch  # type: ignore[import-untyped]

from zoo import share
from zoo._environment import mirrors, timeout
from zoo._environment import offline as offline
from zoo._files import read_yaml
from zoo.errors import DownloadError, IntegrityError, OfflineError, OutputError
from zoo.hub import cache
from zoo.hub._entries import File
from zoo.hub._resume import Origin
from zoo.hub.manifest import Manifest

#: what a broken line can lose
_CHUNK = 1 << 14
#: how often one address is asked in a row, as long as each answer brings something new
_ATTEMPTS = 4

#: called with (bytes so far, bytes in all or 0 where unknown)
Progress = Callable[[int, int], None]


def bases() -> list[str]:
    """The places that serve `<base>/sha256/<digest>`: $ZOO_MIRROR, else those of the package.

    Raises:
        ConfigError: if a mirror is no http(s) or file URL and no absolute folder.
    """
    chosen = mirrors()
    if not chosen:
        chosen = list(read_yaml(share.folder("checkpoints") / "_urls.yaml").get("bases") or [])
    return [base.rstrip("/") for base in chosen]


def addresses(file: File, manifest: Manifest) -> list[str]:
    """Where a file of a manifest can be had, in the order in which the places are tried."""
    found = [f"{base}/sha256/{file.sha256}" for base in bases()]
    return found + [f"{url.rstrip('/')}/{file.path}" for url in manifest.urls]


def fetch(
    digest: str,
    urls: Sequence[str],
    *,
    what: str,
    size: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """A file by its digest: from the caches, or from the first address that serves it whole.

    Args:
        digest: sha256.
        urls: addresses, tried in order.
        what: the file in words, for messages.
        size: in bytes, if known.
        progress: told of the bytes as they come.

    Returns:
        The path in a cache; the bytes were verified in this call.

    Raises:
        OfflineError: if it is not cached and ZOO_OFFLINE is set.
        IntegrityError: if every answer had another digest or size; nothing is kept.
        DownloadError: if no address answered; lists them.
        OutputError: if the cache can't be written, or its disk is full.
    """
    cached = cache.find(digest)
    if cached is not None:
        return cached
    silent = offline()
    usable = [url for url in urls if not silent or _is_local(url)]
    failures: list[str] = []
    corrupt = False
    kept = 0
    if usable:
        with cache.workspace(digest) as path:
            _require_space(path, size)
            for url in usable:
                try:
                    return _fetch_one(digest, url, path, size=size, progress=progress)
                except OutputError:
                    path.unlink(missing_ok=True)
                    raise
                except Exception as problem:  # requests and urllib3 raise families of their own
                    corrupt = corrupt or isinstance(problem, IntegrityError)
                    failures.append(f"{url}: {_words(problem)}")
            kept = path.stat().st_size if path.exists() else 0
    if silent and not corrupt:
        raise OfflineError(
            f"{what} is not cached and ZOO_OFFLINE is set; unset it, or put the file with sha256 "
            f"{digest} at {cache.blob(digest)}"
        )
    raise _failed(what, failures, corrupt=corrupt, kept=kept)


def _failed(what: str, failures: list[str], *, corrupt: bool, kept: int) -> Exception:
    tried = "".join(f"\n  {failure}" for failure in failures) or " no address is known"
    state = f"{kept} bytes are kept for the next attempt" if kept else "nothing was kept"
    error = IntegrityError if corrupt else DownloadError
    return error(
        f"{what} could not be fetched; {state}. Tried:{tried}\n"
        "Check the network, or set ZOO_MIRROR to a place that has it"
    )


def _require_space(path: Path, size: int | None) -> None:
    free = shutil.disk_usage(path.parent).free
    if size is not None and free < size - path.stat().st_size:
        raise OutputError(
            f"the disk of the cache {cache.root()} has {free} bytes left, {size} are needed; "
            "free some (zoo cache prune), or set ZOO_CACHE to a folder on another disk"
        )


def _words(problem: Exception) -> str:
    """What went wrong, in words that a user can act on."""
    if "timed out" in str(problem):
        return f"no byte came for {timeout():g} s (ZOO_TIMEOUT says how long to wait)"
    return str(problem)


def _fetch_one(
    digest: str, url: str, path: Path, *, size: int | None, progress: Progress | None
) -> Path:
    """Completes the file at `path` from one address and moves it into the cache."""
    for _ in range(_ATTEMPTS):
        start = path.stat().st_size
        try:
            _download(url, path, size=size, progress=progress)
            return _checked(path, digest, size)
        except FileNotFoundError:  # cleared away as abandoned, since another process has the file
            cached = cache.find(digest)
            if cached is None:
                raise
            return cached
        except IntegrityError:
            os.truncate(path, 0)
            if start == 0:
                raise
        except OutputError:
            raise
        except Exception:  # the line broke; what came is as good as any
            if path.stat().st_size <= start:
                raise
    raise DownloadError(f"the connection broke {_ATTEMPTS} times")


def _checked(path: Path, digest: str, size: int | None) -> Path:
    found = cache.sha256(path)
    if found != digest:
        expected = f"{digest}" + (f" ({size} bytes)" if size is not None else "")
        raise IntegrityError(f"sha256 {found} ({path.stat().st_size} bytes), expected {expected}")
    return cache.commit(path, digest)


def fetch_unverified(url: str, *, what: str, progress: Progress | None = None) -> str:
    """Downloads a file whose digest nobody published, and returns the digest it has.

    Args:
        url: its address.
        what: the file in words, for messages.
        progress: told of the bytes as they come.

    Returns:
        The sha256 under which it is now cached.

    Raises:
        OfflineError: if ZOO_OFFLINE is set.
        DownloadError: if the address does not serve it.
        OutputError: if the cache can't be written, or its disk is full.
    """
    if offline() and not _is_local(url):
        raise OfflineError(
            f"{what} is not cached and ZOO_OFFLINE is set; unset it, or fetch {url} by hand and "
            "use zoo.convert"
        )
    with cache.workspace() as path:
        try:
            _download(url, path, size=None, progress=progress)
        except OutputError:
            raise
        except Exception as problem:  # requests and urllib3 raise families of their own
            raise DownloadError(
                f"{what} could not be fetched from {url}: {_words(problem)}"
            ) from problem
        digest = cache.sha256(path)
        cache.commit(path, digest)
    return digest


def _is_local(url: str) -> bool:
    return url.startswith(("/", "file:///"))


def _download(
    url: str,
    path: Path,
    *,
    size: int | None,
    progress: Progress | None,
    origin: Origin | None = None,
) -> None:
    """Appends to a file what an address has beyond its bytes."""
    with _Sink(path, size, progress, origin) as sink:
        if size is not None and sink.position == size:
            return
        if _is_local(url):
            _copy(Path(unquote(url.removeprefix("file://")) if url[0] == "f" else url), sink)
        else:
            _request(url, sink)


def _copy(source: Path, sink: "_Sink") -> None:
    with source.open("rb") as stream:
        sink.restart()
        sink.total = os.fstat(stream.fileno()).st_size
        while chunk := stream.read(_CHUNK):
            sink.write(chunk)


def _request(url: str, sink: "_Sink") -> None:
    headers = {"Accept-Encoding": "identity"}  # a range of compressed bytes would be of no use
    if sink.position:
        headers["Range"] = f"bytes={sink.position}-"
        headers |= sink.origin.condition() if sink.origin is not None else {}
    answers: list[Any] = []

    def answered(response: Any, **_: Any) -> None:
        answers.append(response)
        if url.startswith("https://") and not response.url.startswith("https://"):
            raise DownloadError(f"it leads to {response.url}, which is not encrypted")
        sink.answered(response.status_code, response.headers)

    options: dict[str, Any] = {"headers": headers, "hooks": {"response": answered}}
    loader = pooch.HTTPDownloader(chunk_size=_CHUNK, timeout=timeout(), **options)
    try:
        loader(url, sink, None)
    finally:
        for response in answers:
            response.close()


class _Sink:
    """The file that a download goes to; also stops an endless answer."""

    def __init__(
        self, path: Path, limit: int | None, progress: Progress | None, origin: Origin | None
    ) -> None:
        self.origin = origin
        self._stream = path.open("r+b", buffering=0)
        self.position = self._stream.seek(0, os.SEEK_END)
        self.total = limit or 0
        self._limit = limit
        self._progress = progress

    def __enter__(self) -> "_Sink":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def restart(self) -> None:
        """Forgets what is there: the answer begins with the first byte."""
        self._stream.seek(0)
        self._stream.truncate()
        self.position = 0

    def answered(self, status: int, headers: Any) -> None:
        """Looks at the head of an answer, before any of its bytes is written.

        Raises:
            IntegrityError: if the rest that was asked for does not exist, or another was sent.
        """
        if status == 200:
            self.restart()
            if self.origin is not None:
                self.origin.began(headers)
        elif status == 416:
            raise IntegrityError(f"it has no bytes beyond the first {self.position}")
        elif status == 206:
            sent = str(headers.get("Content-Range", ""))
            if not sent.startswith(f"bytes {self.position}-"):
                raise IntegrityError(
                    f"asked for bytes {self.position}-, it sent {sent or 'others'}"
                )
            if self.origin is not None:
                self.origin.goes_on(headers)
        elif 200 < status < 300:  # such as 202, by which a guard asks for a browser
            raise DownloadError(f"it answered with status {status}, and no file")
        else:
            return  # a redirection, or a refusal that the caller raises
        length = str(headers.get("Content-Length", ""))
        self.total = self._limit or (self.position + int(length) if length.isdigit() else 0)

    def write(self, data: bytes) -> None:
        """Appends bytes.

        Raises:
            IntegrityError: if they are more than expected.
            OutputError: if the disk does not take them.
        """
        if self._limit is not None and self.position + len(data) > self._limit:
            raise IntegrityError(f"the answer is longer than the {self._limit} bytes expected")
        rest = memoryview(data)
        try:
            while rest:
                written = self._stream.write(rest) or 0
                self.position += written
                rest = rest[written:]
        except OSError as problem:
            raise _full(problem, self.position) from problem
        if self._progress is not None:
            self._progress(self.position, max(self.total, self.position) if self.total else 0)

    def flush(self) -> None:
        """Nothing is held back."""


def _full(problem: OSError, position: int) -> OutputError:
    reason = problem.strerror or str(problem)
    if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        reason += "; free some space (zoo cache prune)"
    else:
        reason += "; make it writable"
    return OutputError(
        f"the cache {cache.root()} took {position} bytes of a download and no more: {reason}, or "
        "set ZOO_CACHE to a folder on another disk"
    )
