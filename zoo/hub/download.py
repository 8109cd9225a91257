"""Fetching files by their digest: what arrives is checked before it is kept."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pooch  # type: ignore[import-untyped]

from zoo import share
from zoo._files import read_yaml
from zoo.errors import ConfigError, DownloadError, IntegrityError, OfflineError, OutputError
from zoo.hub import cache
from zoo.hub.manifest import File, Manifest

TIMEOUT = 30.0
_CHUNK = 1 << 16
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")

#: called with (bytes so far, bytes in all or 0 where unknown)
Progress = Callable[[int, int], None]


def offline() -> bool:
    """Whether $ZOO_OFFLINE forbids the network; read at every call.

    Raises:
        ConfigError: for a value that is neither yes nor no.
    """
    value = os.environ.get("ZOO_OFFLINE", "").strip().lower()
    if value not in _YES + _NO:
        raise ConfigError(f"ZOO_OFFLINE is {value!r}; set it to 1 or 0")
    return value in _YES


def bases() -> list[str]:
    """The places that serve `<base>/sha256/<digest>`: $ZOO_MIRROR, else those of the package.

    Raises:
        ConfigError: if a mirror is no http(s) or file URL and no absolute folder.
    """
    mirrors = re.split(r"[,\s]+", os.environ.get("ZOO_MIRROR", "").strip())
    chosen = [mirror for mirror in mirrors if mirror]
    for mirror in chosen:
        if not mirror.startswith(("https://", "http://", "file:///", "/")):
            raise ConfigError(
                f"ZOO_MIRROR holds {mirror!r}; give https:// addresses or absolute folders, "
                "separated by commas"
            )
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
    """A file by its digest: from the cache, or from the first address that serves it whole.

    Args:
        digest: sha256.
        urls: addresses, tried in order.
        what: the file in words, for messages.
        size: in bytes, if known.
        progress: told of the bytes as they come.

    Returns:
        The path in the cache; the bytes were verified in this call.

    Raises:
        OfflineError: if it is not cached and ZOO_OFFLINE is set.
        IntegrityError: if every answer had another digest or size; nothing is kept.
        DownloadError: if no address answered; lists them.
    """
    cached = cache.find(digest)
    if cached is not None:
        return cached
    silent = offline()
    failures: list[str] = []
    corrupt = False
    for url in urls:
        if silent and not _is_local(url):
            continue
        try:
            return _fetch_one(digest, url, size=size, progress=progress)
        except OutputError:
            raise
        except Exception as problem:  # requests and urllib3 raise families of their own
            corrupt = corrupt or isinstance(problem, IntegrityError)
            failures.append(f"{url}: {problem}")
    tried = "".join(f"\n  {failure}" for failure in failures) or " no address is known"
    if silent and not corrupt:
        raise OfflineError(
            f"{what} is not cached and ZOO_OFFLINE is set; unset it, or put the file with sha256 "
            f"{digest} at {cache.blob(digest)}"
        )
    error = IntegrityError if corrupt else DownloadError
    raise error(
        f"{what} could not be fetched; nothing was kept. Tried:{tried}\n"
        "Check the network, or set ZOO_MIRROR to a place that has it"
    )


def _fetch_one(digest: str, url: str, *, size: int | None, progress: Progress | None) -> Path:
    with cache.workspace() as path:
        _download(url, path, size=size, progress=progress)
        found = cache.sha256(path)
        if found != digest:
            expected = f"{digest}" + (f" ({size} bytes)" if size is not None else "")
            raise IntegrityError(
                f"sha256 {found} ({path.stat().st_size} bytes), expected {expected}"
            )
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
    """
    if offline() and not _is_local(url):
        raise OfflineError(
            f"{what} is not cached and ZOO_OFFLINE is set; unset it, or fetch {url} by hand and "
            "use zoo.convert"
        )
    with cache.workspace() as path:
        try:
            _download(url, path, size=None, progress=progress)
        except Exception as problem:  # requests and urllib3 raise families of their own
            raise DownloadError(f"{what} could not be fetched from {url}: {problem}") from problem
        digest = cache.sha256(path)
        cache.commit(path, digest)
    return digest


def _is_local(url: str) -> bool:
    return url.startswith(("/", "file:///"))


def _download(url: str, path: Path, *, size: int | None, progress: Progress | None) -> None:
    if _is_local(url):
        shutil.copyfile(url.removeprefix("file://"), path)
        return
    bar: Any = _Meter(progress, size)
    pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK, timeout=TIMEOUT)(url, str(path), None)


class _Meter:
    """The part of a progress bar's interface that pooch uses; also stops an endless answer."""

    def __init__(self, progress: Progress | None, size: int | None) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress
        self._limit = size

    def update(self, count: int) -> None:
        """Counts `count` more bytes, rounded up to a chunk."""
        self._done += count
        if self._limit is not None and self._done > self._limit + _CHUNK:
            raise IntegrityError(f"the answer is longer than the {self._limit} bytes expected")
        if self._progress is not None:
            self._progress(min(self._done, self.total or self._done), self.total)

    def reset(self) -> None:
        """Starts counting again; pooch does so at the end, to fill the bar."""
        self._done = 0

    def close(self) -> None:
        """Nothing is held."""
