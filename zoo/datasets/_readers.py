"""Files to frames: everything that ASE reads, databases, LMDB, NumPy archives, PyG's pickles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError

from zoo.datasets import _asedb, _extxyz, _lmdb, _npz, _pickled
from zoo.datasets._frames import from_atoms
from zoo.datasets._lazy import Store
from zoo.datasets._pages import is_lmdb
from zoo.datasets._units import parse
from zoo.errors import ConfigError, DataError, UnsafeFileError

_PICKLES = frozenset({".pkl", ".pickle", ".p", ".pt", ".pth", ".ckpt", ".joblib"})
_DATABASES = frozenset({".db", ".json", ".aselmdb"})


def is_folder(path: Path) -> bool:
    """Whether a folder holds structures: our LMDB shards, databases, or pickled LMDB shards."""
    return _lmdb.is_folder(path) or bool(_asedb.shards(path) or _pickled.shards(path))


def read(
    path: Path,
    keys: Mapping[str, str | None] | None,
    units: Mapping[str, str] | None,
    *,
    trust_pickle: bool = False,
) -> tuple[Store, dict[str, Any]]:
    """Reads one file, or a folder of shards.

    Args:
        path: an existing file or folder.
        keys: label -> the file's name for it.
        units: of the file.
        trust_pickle: whether pickles, which can run any code, may be read.

    Returns:
        The frames in eV and Å, and what the file says about itself.

    Raises:
        UnsafeFileError: for pickles that aren't trusted.
        DataError: for anything that can't be read as structures.
    """
    names, factors = dict(keys or {}), parse(units or {})
    metadata: dict[str, Any] = {"units": dict(units)} if units else {}
    if path.is_dir():
        return _read_folder(path, names, units, trust_pickle)
    if is_lmdb(path) and path.suffix.lower() != ".aselmdb":
        return _pickled.read_lmdb(path, names, factors, trust_pickle), metadata
    if trust_pickle and path.suffix.lower() in (".pt", ".pth"):
        return _pickled.read_pyg(path, names, units)
    refuse_pickle(path)
    if path.suffix == ".npz":
        return _npz.read(path, names, units)
    if path.suffix.lower() in _extxyz.SUFFIXES:
        return _extxyz.read(path, names, factors), metadata
    if _is_database(path):
        frames, said = _asedb.read(path, names, factors)
        return frames, metadata | said
    return from_atoms(_read_ase(path), keys=names, units=factors, where=str(path)), metadata


def _read_folder(
    path: Path,
    keys: Mapping[str, str | None],
    units: Mapping[str, str] | None,
    trust_pickle: bool,
) -> tuple[Store, dict[str, Any]]:
    metadata: dict[str, Any] = {"units": dict(units)} if units else {}
    if _lmdb.is_folder(path):
        if units is not None and parse(units) != parse({}):
            raise ConfigError(f"{path} says that it is in {_lmdb.OWN_UNITS}; drop units=")
        return _lmdb.read(path, keys)
    if _asedb.shards(path):
        frames, said = _asedb.read(path, keys, parse(units or {}))
        return frames, metadata | said
    if _pickled.shards(path):
        return _pickled.read_lmdb(path, keys, parse(units or {}), trust_pickle), metadata
    raise DataError(
        f"{path} is a folder without {_lmdb.META} (zoo.datasets.save_lmdb), .aselmdb, .db or .lmdb "
        "files; name a file in it"
    )


def _is_database(path: Path) -> bool:
    if path.suffix.lower() in _DATABASES:
        return True
    with path.open("rb") as stream:
        return stream.read(16) == b"SQLite format 3\0"


def refuse_pickle(path: Path) -> None:
    """Refuses files that could execute code when read, by suffix and by their first bytes.

    Raises:
        UnsafeFileError: for such a file.
        DataError: for one that can't be opened.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(2)
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error
    # protocols 2 to 5 start with the byte 0x80 and their number
    if path.suffix.lower() in _PICKLES or (head[:1] == b"\x80" and head[1:] <= b"\x05"):
        raise UnsafeFileError(
            f"{path} is a pickle, which can run any code when read, so it isn't opened; convert it "
            "where you trust it, for example with ase.io.write('data.extxyz', frames), or, for a "
            ".pt file of PyG from someone you trust, open it with trust_pickle=True"
        )


def _read_ase(path: Path) -> list[Atoms]:
    try:
        structures = ase.io.read(str(path), index=":", do_not_split_by_at_sign=True)
    except UnknownFileTypeError as error:
        raise DataError(
            f"{path} has no format that ASE knows; use .extxyz, .traj, .db or .npz"
        ) from error
    except Exception as error:  # ASE's parsers raise whatever their code runs into
        # a MemoryError too: they believe every size that a file declares
        raise DataError(f"{path} can't be read: {type(error).__name__}: {error}") from error
    frames = structures if isinstance(structures, list) else [structures]
    if not frames:
        raise DataError(f"{path} holds no structures")
    return frames
