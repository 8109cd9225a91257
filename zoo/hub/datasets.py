"""Getting the files of published data sets, when asked and not otherwise.

Each file goes to `<name>.part`, which a second attempt continues if the server still has that file
(`zoo.hub._resume`); it is checked and renamed, then unpacked. What it was (address, size, sha256)
is kept beside it in `.<file>.yaml`: where its authors publish no checksum, the one that was
computed at first is what later downloads are held against.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from zoo import share
from zoo._files import read_yaml, write_atomic
from zoo.datasets import _remote
from zoo.datasets._remote import Remote
from zoo.datasets._unpack import unpack
from zoo.errors import (
    ConfigError,
    DataError,
    DownloadError,
    IntegrityError,
    OfflineError,
    OutputError,
    UnknownNameError,
    ZooError,
    nearest,
)
from zoo.hub import download
from zoo.hub._resume import Origin
from zoo.hub.download import Progress

#: how often one address is asked in a row, as long as each answer brings something new
_ATTEMPTS = 4
#: members of an archive whose being there is asked for
_REMEMBERED = 20


@dataclass(frozen=True)
class Got:
    """A file of a set that is here.

    Attributes:
        file: where it lies.
        url: where it came from.
        bytes: its size.
        sha256: computed here.
        verified: how: "sha256" or "md5" of the authors, "first seen" against what was computed
            before, "by hand" for what the user put there, or "" where nothing is known.
        fetched: whether it was downloaded in this call.
        unpacked: files that came out of it.
    """

    file: str
    url: str
    bytes: int
    sha256: str
    verified: str
    fetched: bool
    unpacked: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def get_dataset(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    folder: str | Path | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> list[Got]:
    """Downloads what a published set needs, as far as it isn't here already.

    Args:
        name: of the set ("rmd17"), or a description of one's own (.yaml).
        settings: such as {"molecule": "aspirin"}; only what they need is downloaded.
        folder: where to; `<cache>/datasets/<name>` if None.
        again: fetch also what is here, and forget what was known of it: for files that came
            damaged, or were replaced by their authors. What is here stays until the new ones came.
        progress: told of the bytes as they come.

    Returns:
        The files, also those that were here.

    Raises:
        UnknownNameError: for a set that isn't downloaded.
        ConfigError: for an unknown setting.
        OfflineError: if something is missing and ZOO_OFFLINE is set.
        IntegrityError: for a file with another checksum; nothing of it is kept.
        DownloadError: if the address doesn't answer; what came is kept for the next attempt.
        OutputError: if the folder can't be written.
    """
    path, about = _described(name)
    files = _remote.remotes(path.stem, about["download"])
    allowed = about.get("settings") or {}
    chosen = _remote.checked(path.stem, allowed, _only_needed(allowed, files, settings or {}))
    place = Path(folder).expanduser() if folder else _remote.folder(path.stem)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{place} can't be written ({error.strerror}); choose another") from error
    return [
        _get_one(file, place, _remote.filled(_patterns(file), chosen), again, progress)
        for file in _remote.wanted(files, chosen)
    ]


def _patterns(file: Remote) -> Any:
    return list(file.unpack) if isinstance(file.unpack, (list, tuple)) else file.unpack


def _only_needed(
    allowed: Mapping[str, Any], files: list[Remote], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings; those that decide on no file need no value."""
    told = str([(file.only, file.unpack) for file in files])
    idle = {
        key: (about["values"][0] if isinstance(about.get("values"), list) else "any")
        for key, about in allowed.items()
        if "default" not in about and f"'{key}'" not in told and f"{{{key}}}" not in told
    }
    return {**idle, **given}


def _described(name: str) -> tuple[Path, dict[str, Any]]:
    shared = share.folder("datasets")
    path = Path(name).expanduser() if name.endswith((".yaml", ".yml")) else shared / f"{name}.yaml"
    if not path.is_file():
        known = [p.stem for p in shared.glob("*.yaml") if "\ndownload:" in p.read_text("utf-8")]
        raise UnknownNameError(f"no data set is called {name!r}: {nearest(name, known)}")
    about = read_yaml(path)
    if "download" not in about:
        raise UnknownNameError(
            f"{name} needs no download: it ships with the package or is computed; open it by name"
        )
    return path, about


def _get_one(
    file: Remote, place: Path, patterns: Any, again: bool, progress: Progress | None
) -> Got:
    if file.by_hand:
        return _found_by_hand(file, place)
    target, note = place / file.file, place / f".{file.file.replace('/', '_')}.yaml"
    with _locked(place / f".{file.file.replace('/', '_')}.part"):
        known = {} if again or not note.is_file() else read_yaml(note, error=ConfigError)
        fetched, seen = again or not target.is_file(), bool(known)
        if fetched:
            _download(file, place, known, progress, again=again)
        digests = _digests(target)
        _check(file, target, digests, known)
        if fetched or not known:
            size = target.stat().st_size
            known = {"file": file.file, "url": file.url, "bytes": size} | digests
            del known["md5"]
            write_atomic(note, yaml.safe_dump(known, sort_keys=False))
        count = _unpacked(file, target, place, note, known, patterns, progress)
        size, digest = target.stat().st_size, digests["sha256"]
        return Got(
            str(target), file.url, size, digest, _how(file, seen and not fetched), fetched, count
        )


def _found_by_hand(file: Remote, place: Path) -> Got:
    """A file or folder that has no address, where the user put it."""
    target = place / file.file
    if not target.exists():
        raise DownloadError(
            f"{file.file} has no address of its own: get it from {file.url} and put it at {target}"
        )
    if target.is_dir():
        size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        return Got(str(target), file.url, size, "", "by hand", False)
    digest = _digests(target)["sha256"]
    return Got(str(target), file.url, target.stat().st_size, digest, "by hand", False)


def _how(file: Remote, seen: bool) -> str:
    published = "sha256" if file.sha256 else "md5" if file.md5 else ""
    return published or ("first seen" if seen else "")


def _has(known: Mapping[str, Any], patterns: Any) -> bool:
    done = known.get("unpacked", [])
    return True in done or (isinstance(patterns, list) and set(patterns) <= {*map(str, done)})


def _unpacked(
    file: Remote,
    target: Path,
    place: Path,
    note: Path,
    known: Mapping[str, Any],
    patterns: Any,
    progress: Progress | None,
) -> int:
    """Unpacks what was not unpacked before; while that goes on, the set can't be opened."""
    if not patterns:
        return 0
    if not all((place / name).is_file() for name in known.get("members", [])):
        known = {key: value for key, value in known.items() if key not in ("unpacked", "members")}
    done = list(known.get("unpacked", []))
    if _has(known, patterns):
        return 0
    mark = place / f".{file.file.replace('/', '_')}{_remote.UNPACKING}"
    write_atomic(mark, "")
    only = None if patterns is True else patterns
    try:
        written = unpack(target, place, only=only, inflate=file.inflate, progress=progress)
    except DataError as error:
        if done or file.sha256 or file.md5:
            raise
        note.unlink()  # a digest of damaged bytes is none to hold the next download against
        raise DataError(f"{error} Remove {target} to fetch it again") from error
    now = {**known, "unpacked": [*done, *([True] if patterns is True else patterns)]}
    some = [path.relative_to(place).as_posix() for path in written[:_REMEMBERED]]
    now["members"] = [*known.get("members", []), *some]  # unpacked again once they are gone
    write_atomic(note, yaml.safe_dump(now, sort_keys=False))
    mark.unlink(missing_ok=True)
    return len(written)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time downloads and unpacks a file; the others wait and find it there."""
    lock = path.with_name(path.name + ".lock")
    try:
        stream = lock.open("w")
    except OSError as error:
        raise OutputError(f"{lock.parent} can't be written ({error.strerror})") from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _download(
    file: Remote,
    place: Path,
    known: Mapping[str, Any],
    progress: Progress | None,
    *,
    again: bool,
) -> None:
    """Completes `<file>.part` and renames it once its checksum is right."""
    if download.offline() and not download._is_local(file.url):
        raise OfflineError(
            f"{file.file} is not in {place} and ZOO_OFFLINE is set; unset it, or put the file of "
            f"{file.url} there"
        )
    target = place / file.file
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    origin = Origin(part.with_name(f".{part.name}.origin"), file.url)
    if again and not origin.condition():  # it may be of what is to be replaced
        os.truncate(part, 0)
    for attempt in range(_ATTEMPTS):
        start = part.stat().st_size
        try:
            download._download(file.url, part, size=file.bytes, progress=progress, origin=origin)
            _check(file, part, _digests(part), known)
            os.replace(part, target)
            origin.forget()
            return
        except IntegrityError:
            os.truncate(part, 0)
            origin.forget()
            if start == 0:
                part.unlink()
                raise
        except OutputError:
            raise
        except Exception as problem:  # requests and urllib3 raise families of their own
            kept = part.stat().st_size
            if not kept:
                origin.forget()
            if kept <= start or attempt == _ATTEMPTS - 1:
                raise _failed(file, part, kept, problem) from problem
    raise _failed(file, part, part.stat().st_size, DownloadError("the connection broke"))


def _failed(file: Remote, part: Path, kept: int, problem: Exception) -> ZooError:
    if not kept:
        part.unlink(missing_ok=True)
    state = f"{kept} bytes are kept for the next attempt" if kept else "nothing was kept"
    return DownloadError(
        f"{file.url} could not be fetched; {state}: {download._words(problem)}. Check the network, "
        f"or fetch it by hand and put it at {part.with_suffix('')}"
    )


def _check(file: Remote, path: Path, digests: Mapping[str, str], known: Mapping[str, Any]) -> None:
    """Compares with what the authors publish, else with what was seen at first.

    Raises:
        IntegrityError: names both digests.
    """
    size = path.stat().st_size
    _refuse_page(file, path, size)
    if file.bytes is not None and size != file.bytes:
        raise IntegrityError(f"{path} has {size} bytes, {file.url} should have {file.bytes}")
    for kind in ("sha256", "md5"):
        expected: str | None = getattr(file, kind)
        if expected is not None and digests[kind] != expected:
            raise IntegrityError(
                f"{file.url} came with {kind} {digests[kind]} ({size} bytes), its authors say "
                f"{expected}; remove {path} if it is there, and try again"
            )
    before = known.get("sha256")
    if before is not None and not (file.sha256 or file.md5) and digests["sha256"] != before:
        raise IntegrityError(
            f"{path.name} of {file.url} now has sha256 {digests['sha256']}, when it was first seen "
            f"it was {before}: it was changed, there or here; remove {path} to fetch it again, or "
            "take a new one with zoo data get NAME --again"
        )


def _refuse_page(file: Remote, path: Path, size: int) -> None:
    """Nothing, or a page in the place of the file, as servers that ask for a login send it."""
    with path.open("rb") as stream:
        head = stream.read(64).lstrip().lower()
    page = head.startswith((b"<!doctype html", b"<html")) and not file.file.endswith(".html")
    if page or not size:
        what = "a web page" if page else "nothing"
        raise IntegrityError(
            f"{file.url} sent {what} in the place of {file.file}; fetch it by hand and put it at "
            f"{path.with_name(Path(file.file).name)}"
        )


def _digests(path: Path) -> dict[str, str]:
    found: dict[str, Any] = {"sha256": hashlib.sha256()}
    found["md5"] = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            for digest in found.values():
                digest.update(chunk)
    return {kind: digest.hexdigest() for kind, digest in found.items()}
