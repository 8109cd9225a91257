"""Looking after the caches: what is in them, whether it is intact, and what can go.

Only the writable cache is ever changed. Removing is safe at any time: an open file stays readable
until it is closed, and who needs a file that is gone fetches it again.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zoo import _catalog
from zoo.errors import ConfigError, ZooError
from zoo.hub import cache
from zoo.hub._obtain import find
from zoo.hub.download import Progress
from zoo.hub.manifest import Manifest, read

DAY = 86400.0
#: days without use after which `prune` removes a file
DEFAULT_DAYS = 30.0


@dataclass(frozen=True)
class Entry:
    """One file in a cache.

    Attributes:
        kind: "file", "temporary" (a download under way or cut short), "manifest" or "program"
            (compiled here, and compiled again when it is needed).
        name: sha256, or what its name says.
        bytes: its size.
        days: since it was last used; for files of shared caches, since they were written.
        used_by: the models that it is known to belong to, with the file's role.
        path: where it lies.
        shared: whether that is a shared cache, which is never changed.
    """

    kind: str
    name: str
    bytes: int
    days: float
    used_by: tuple[str, ...]
    path: Path
    shared: bool


def entries() -> list[Entry]:
    """Everything in the caches: files, temporary ones, manifests of bundles, compiled programs.

    Raises:
        ConfigError: if ZOO_CACHE_RO is nonsense.
    """
    users = _users()
    found = []
    for folder in cache.folders():
        shared = folder != cache.root()
        for kind, paths in _contents(folder).items():
            for path in paths:
                with suppress(OSError):  # removed in the meantime
                    found.append(_entry(kind, path, users, shared=shared))
    return found


def verify(*, remove: bool = False, progress: Progress | None = None) -> list[Entry]:
    """Reads every file of every cache and compares its digest with its name.

    Compiled programs bear the digest of what they were made from, and are left out.

    Args:
        remove: delete damaged files of the writable cache.
        progress: called with (bytes so far, bytes in all).

    Returns:
        The damaged ones. They do no harm: each is fetched again when it is needed.
    """
    listed = [entry for entry in entries() if entry.kind in ("file", "manifest")]
    total, done, damaged = sum(entry.bytes for entry in listed), 0, []
    for entry in listed:
        with suppress(FileNotFoundError):  # removed in the meantime
            if not _intact(entry):
                damaged.append(entry)
        done += entry.bytes
        if progress is not None:
            progress(done, total)
    if remove:
        _remove(entry for entry in damaged if not entry.shared)
    return damaged


def _intact(entry: Entry) -> bool:
    try:
        return cache.sha256(entry.path) == entry.name
    except PermissionError:
        return False


def prune(
    *,
    older_than: float = DEFAULT_DAYS,
    keep: Sequence[str | Path] = (),
    dry_run: bool = False,
) -> list[Entry]:
    """Removes what was not used lately from the writable cache.

    Temporary files go when nothing was written to them for a day, whatever `older_than` says:
    a younger one may belong to a download under way.

    Args:
        older_than: days since a file was last used.
        keep: checkpoints, by name or folder, whose files stay.
        dry_run: remove nothing.

    Returns:
        What was removed, or would be.

    Raises:
        ConfigError: for a negative number of days.
        UnknownModelError: for a name in `keep` that does not exist.
    """
    if not older_than >= 0:
        raise ConfigError(f"older_than is {older_than}; give days, 0 or more")
    kept = _kept(keep)
    chosen = [
        entry
        for entry in entries()
        if not entry.shared
        and entry.days >= (cache.STALE / DAY if entry.kind == "temporary" else older_than)
        and entry.name not in kept
    ]
    return chosen if dry_run else _remove(chosen)


def _kept(refs: Iterable[str | Path]) -> set[str]:
    """Digests of all files, and of the manifest, of some models."""
    kept = set()
    for ref in refs:
        path = find(ref)
        kept |= _digests(read(path))
        if cache.holds(path):
            kept.add(path.parent.name)
    return kept


def _digests(manifest: Manifest) -> set[str]:
    found = {file.sha256 for file in manifest.files}
    if manifest.authors is not None and manifest.authors.sha256 is not None:
        found.add(manifest.authors.sha256)
    return found


def _contents(folder: Path) -> dict[str, list[Path]]:
    return {
        "file": cache.blobs(folder),
        "temporary": cache.temporary(folder),
        "manifest": sorted((folder / "manifests").glob(f"*/{_catalog.MANIFEST}")),
        "program": cache.programs(folder),
    }


def _entry(kind: str, path: Path, users: dict[str, list[str]], *, shared: bool) -> Entry:
    status = path.stat()
    name = path.parent.name if kind == "manifest" else path.name
    age = max(0.0, time.time() - status.st_mtime) / DAY
    return Entry(kind, name, status.st_size, age, tuple(users.get(name, ())), path, shared)


def _users() -> dict[str, list[str]]:
    """Which known models a digest belongs to; a manifest that can't be read has none."""
    users: dict[str, list[str]] = {}
    known = {**_catalog.imported(), **_catalog.checkpoints()}
    stored = [path for folder in cache.folders() for path in _contents(folder)["manifest"]]
    for path in dict.fromkeys([*known.values(), *stored]):
        with suppress(ZooError):
            manifest = read(path)
            for file in manifest.files:
                users.setdefault(file.sha256, []).append(f"{manifest.name} ({file.role})")
            for digest in _digests(manifest) - {file.sha256 for file in manifest.files}:
                users.setdefault(digest, []).append(f"{manifest.name} (authors)")
            if cache.holds(path):
                users.setdefault(path.parent.name, []).append(manifest.name)
    return {digest: sorted(set(names)) for digest, names in users.items()}


def _remove(chosen: Iterable[Entry]) -> list[Entry]:
    """Removes files one by one; one that was used since it was listed stays."""
    removed = []
    for entry in chosen:
        with suppress(FileNotFoundError):  # another process was faster
            if _entry(entry.kind, entry.path, {}, shared=False).days < entry.days:
                continue
            entry.path.unlink()
            removed.append(entry)
            if entry.kind == "manifest":
                _forget(entry.path)
    return removed


def _forget(manifest: Path) -> None:
    """Removes what belongs to a manifest of the cache: its card, its names, its folder."""
    manifest.with_name(_catalog.CARD).unlink(missing_ok=True)
    for note in (cache.root() / "names").glob("*"):
        with suppress(OSError):
            if note.read_text(encoding="utf-8").strip() == manifest.parent.name:
                note.unlink()
    with suppress(OSError):
        manifest.parent.rmdir()
