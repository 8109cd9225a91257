"""Looking after the caches: what is in them, whether it is intact, and what can go.

Only the writable cache is ever changed. Data sets that `zoo data get` brought are listed and
verified with the rest, but go by name only (`remove_dataset`): nobody notes when one was last read,
and none comes back by itself. Removing is safe at any time: an open file stays readable
until it is closed, and who needs a file that is gone fetches it again.
"""

import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from zoo import _catalog
from zoo._files import read_yaml
from zoo.errors import ConfigError, OutputError, UnknownNameError, ZooError, nearest
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
        kind: "file", "temporary" (a download under way or cut short), "manifest", "program"
            (compiled here, and compiled again when it is needed) or "data" (a set of
            `zoo data get`; one file of it where that is damaged).
        name: sha256, or what its name says.
        bytes: its size.
        days: since it was last used; for files of shared caches and data sets, since they were
            written.
        used_by: the models that it is known to belong to, with the file's role.
        path: where it lies.
        shared: whether that is a shared cache, which is never changed.
        files: how many it stands for.
    """

    kind: str
    name: str
    bytes: int
    days: float
    used_by: tuple[str, ...]
    path: Path
    shared: bool
    files: int = 1


def entries() -> list[Entry]:
    """Everything in the caches: files, temporary ones, manifests of bundles, compiled programs,
    data sets.

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
        found += [_dataset(place, shared=shared) for place in _datasets(folder)]
    return found


def _datasets(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "datasets").glob("*") if path.is_dir())


def _dataset(place: Path, *, shared: bool) -> Entry:
    """All files of a set, those of downloads in part among them."""
    sizes, newest = [], 0.0
    for path in place.rglob("*"):
        with suppress(OSError):  # removed in the meantime
            status = path.stat()
            if path.is_file():
                sizes.append(status.st_size)
                newest = max(newest, status.st_mtime)
    age = max(0.0, time.time() - newest) / DAY if sizes else 0.0
    return Entry("data", place.name, sum(sizes), age, (), place, shared, len(sizes))


def _checked(place: Path) -> list[tuple[Path, str]]:
    """Files of a set whose digest was noted when they came, as far as they are here."""
    found = []
    for note in sorted(place.glob(".*.yaml")):
        with suppress(ZooError, OSError, KeyError):
            known = read_yaml(note)
            name = str(known.get("file", note.name.removeprefix(".").removesuffix(".yaml")))
            path = place / name
            if path.is_file() and path.resolve().is_relative_to(place.resolve()):
                found.append((path, str(known["sha256"])))
    return found


def verify(*, remove: bool = False, progress: Progress | None = None) -> list[Entry]:
    """Reads every file of every cache and compares its digest with its name.

    Compiled programs bear the digest of what they were made from, and are left out. Files of data
    sets are compared with the digest that was noted when they came.

    Args:
        remove: delete damaged files of the writable cache.
        progress: called with (bytes so far, bytes in all).

    Returns:
        The damaged ones. They do no harm: each is fetched again when it is needed, or asked for.
    """
    every = entries()
    listed = [(entry, entry.name) for entry in every if entry.kind in ("file", "manifest")]
    for held in every:
        if held.kind == "data":
            listed += [(_part(held, path), digest) for path, digest in _checked(held.path)]
    total, done, damaged = sum(entry.bytes for entry, _ in listed), 0, []
    for entry, digest in listed:
        with suppress(FileNotFoundError):  # removed in the meantime
            if not _intact(entry, digest):
                damaged.append(entry)
        done += entry.bytes
        if progress is not None:
            progress(done, total)
    if remove:
        _remove(entry for entry in damaged if not entry.shared)
    return damaged


def _part(held: Entry, path: Path) -> Entry:
    """One file of a data set."""
    return replace(held, path=path, bytes=path.stat().st_size, files=1)


def _intact(entry: Entry, digest: str) -> bool:
    try:
        return cache.sha256(entry.path) == digest
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
        and entry.kind != "data"
        and entry.days >= (cache.STALE / DAY if entry.kind == "temporary" else older_than)
        and entry.name not in kept
    ]
    return chosen if dry_run else _remove(chosen)


def remove_dataset(name: str) -> Entry:
    """Removes a data set from the writable cache.

    Args:
        name: of the set, as `entries` lists it.

    Returns:
        What was removed.

    Raises:
        UnknownNameError: if no such set is there.
        OutputError: if its files can't be removed.
    """
    places = {place.name: place for place in _datasets(cache.root())}
    if name not in places:
        raise UnknownNameError(
            f"{cache.root()} has no data set {name!r}: {nearest(name, places)} (zoo cache ls)"
        )
    entry = _dataset(places[name], shared=False)
    try:
        shutil.rmtree(places[name])
    except OSError as error:
        raise OutputError(f"{places[name]} can't be removed: {error.strerror or error}") from error
    return entry


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
    age = _age(path)
    return Entry(kind, name, status.st_size, age, tuple(users.get(name, ())), path, shared)


def _age(path: Path) -> float:
    """Days since a file was used."""
    return max(0.0, time.time() - path.stat().st_mtime) / DAY


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
            if entry.kind != "data" and _age(entry.path) < entry.days:
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
