"""Unpacking archives that somebody else made: only plain files, only below one folder.

Members are written beside their place and renamed, so that each is there in full or not at all.
"""

import bz2
import fnmatch
import gzip
import lzma
import os
import shutil
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from zoo.datasets._remote import is_inside
from zoo.errors import DataError, OutputError, UnsafeFileError, ZooError

_SINGLE: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, ValueError)


def unpack(
    path: Path,
    folder: Path,
    *,
    only: Sequence[str] | None = None,
    inflate: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Unpacks an archive (zip, tar, also compressed), or one compressed file.

    Args:
        path: the archive.
        folder: where its members go, under their own paths.
        only: patterns of members; all if None.
        inflate: whether members that end in .xz or .gz are themselves unpacked.
        progress: told of the bytes that were read, where that is known.

    Returns:
        The files that were written.

    Raises:
        DataError: for a damaged archive, or one without what was asked for.
        UnsafeFileError: for a member that would leave the folder.
        OutputError: if the folder can't be written.
    """
    written, found = [], set()
    try:
        with path.open("rb") as raw:
            for name, stream in _members(path, raw):
                matching = [p for p in only or [] if fnmatch.fnmatchcase(name, p)]
                if only is not None and not matching:
                    continue
                if not is_inside(name):
                    raise UnsafeFileError(
                        f"{path} holds {name!r}, which would be written outside its folder; it was "
                        "not made by whom it claims to be from"
                    )
                found.update(matching)
                written.append(_write(stream, folder / name, inflate=inflate))
                if progress is not None:
                    progress(raw.tell(), path.stat().st_size)
    except ZooError:
        raise
    except _BROKEN as error:
        raise DataError(f"{path} can't be unpacked ({error}); is it complete?") from error
    except OSError as error:
        if error.errno is None:  # how gzip and bz2 say that their data are damaged
            raise DataError(f"{path} can't be unpacked ({error}); is it complete?") from error
        raise OutputError(f"{folder} can't be written ({error.strerror})") from error
    missing = [pattern for pattern in only or [] if pattern not in found]
    if missing or not written:
        raise DataError(f"{path} has no {' nor '.join(missing) or 'files'}; is it another archive?")
    return written


def _members(path: Path, raw: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every plain file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(raw) as archive:
            for item in archive.infolist():
                if not item.is_dir():
                    with archive.open(item) as stream:
                        yield item.filename, stream
        return
    if _is_tar(path):
        with tarfile.open(fileobj=raw, mode="r:*") as archive_:
            for member in archive_:
                content = archive_.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name.removeprefix("./"), content
        return
    opener = _SINGLE.get(path.suffix)
    if opener is None:
        raise DataError(f"{path} is neither a zip nor a tar archive, nor compressed")
    with opener(raw) as stream:
        yield path.stem, stream


def _is_tar(path: Path) -> bool:
    name = path.name.lower()
    if any(name.endswith(end) for end in (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar")):
        return True  # a damaged one is told as what it is
    return path.suffix not in _SINGLE and tarfile.is_tarfile(path)


def _write(stream: IO[bytes], target: Path, *, inflate: bool) -> Path:
    if inflate and target.suffix in _SINGLE:
        stream, target = _SINGLE[target.suffix](stream), target.with_suffix("")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as output:
            shutil.copyfileobj(stream, output, 1 << 20)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target
