"""Bytes against what a manifest says of them, before anything interprets them."""

import hashlib
from pathlib import Path
from typing import IO

from zoo.errors import IntegrityError, UnsafeFileError
from zoo.hub._entries import File

_CHUNK = 1 << 20
#: endings that stand for pickles
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".model", ".tar")


def read_verified(path: Path, expected: File) -> bytes:
    """The bytes of a file, checked against the manifest before anything interprets them.

    Raises:
        IntegrityError: for another size or digest.
        UnsafeFileError: for a suffix that stands for pickles.
    """
    refuse_suffix(path)
    size = path.stat().st_size
    if size != expected.bytes:
        raise _wrong_size(path, size, expected)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != expected.sha256:
        raise _wrong_digest(path, found, expected)
    return data


def verify(path: Path, expected: File) -> None:
    """Checks a file without holding it in memory.

    Raises:
        IntegrityError: for another size or digest.
        UnsafeFileError: for a suffix that stands for pickles.
    """
    refuse_suffix(path)
    size = path.stat().st_size
    if size != expected.bytes:
        raise _wrong_size(path, size, expected)
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected.sha256:
        raise _wrong_digest(path, found, expected)


def copy_verified(
    source: IO[bytes], target: IO[bytes], *, digest: str, size: int, where: str
) -> None:
    """Copies a stream of known length and digest; reads at most one byte more.

    Args:
        source: where the bytes come from.
        target: where they go.
        digest: their sha256.
        size: their number.
        where: the source, for messages.

    Raises:
        IntegrityError: for another size or digest; `target` then holds rubbish.
    """
    seen = hashlib.sha256()
    left = size
    while left and (chunk := source.read(min(_CHUNK, left))):
        seen.update(chunk)
        target.write(chunk)
        left -= len(chunk)
    if left or source.read(1):
        raise IntegrityError(
            f"{where} has {'fewer' if left else 'more'} than the {size} bytes that its manifest "
            "says; it was cut short or replaced: get it again"
        )
    if seen.hexdigest() != digest:
        raise IntegrityError(
            f"{where} has sha256 {seen.hexdigest()}, its manifest says {digest}; it was damaged or "
            "replaced: get it again"
        )


def refuse_suffix(path: Path) -> None:
    """Refuses file names that stand for pickles.

    Raises:
        UnsafeFileError: names the suffix.
    """
    if path.suffix.lower() in PICKLES:
        raise UnsafeFileError(
            f"{path}: {path.suffix} files can run code when they are read; weights are "
            ".safetensors files. zoo convert reads other packages' weights without running them"
        )


def _wrong_size(path: Path, size: int, expected: File) -> IntegrityError:
    return IntegrityError(
        f"{path} has {size} bytes, its manifest says {expected.bytes}; "
        "the file was cut short or replaced: save or fetch it again"
    )


def _wrong_digest(path: Path, found: str, expected: File) -> IntegrityError:
    return IntegrityError(
        f"{path} has sha256 {found}, its manifest says {expected.sha256}; "
        "the file was damaged or replaced: save or fetch it again"
    )
