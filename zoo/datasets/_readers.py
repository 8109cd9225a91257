"""Files to frames: everything that ASE reads, and NumPy archives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase.db
import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype

from zoo.datasets import _npz
from zoo.datasets._frames import Frames, from_atoms
from zoo.datasets._units import parse
from zoo.errors import DataError, UnsafeFileError

_PICKLES = frozenset({".pkl", ".pickle", ".p", ".pt", ".pth", ".ckpt", ".joblib"})


def read(
    path: Path, keys: Mapping[str, str | None] | None, units: Mapping[str, str] | None
) -> tuple[Frames, dict[str, Any]]:
    """Reads one file.

    Args:
        path: an existing file.
        keys: label -> the file's name for it.
        units: of the file.

    Returns:
        The frames in eV and Å, and what the file says about itself.

    Raises:
        UnsafeFileError: for pickles.
        DataError: for anything that can't be read as structures.
    """
    refuse_pickle(path)
    if path.suffix == ".npz":
        return _npz.read(path, keys or {}, units)
    structures = _read_ase(path)
    metadata = {"units": dict(units)} if units else {}
    return from_atoms(structures, keys=keys, units=parse(units or {})), metadata


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
            f"{path} is a pickle, which can run any code when read, so it isn't opened; "
            "convert it where you trust it, for example with ase.io.write('data.extxyz', frames)"
        )


def _read_ase(path: Path) -> list[Atoms]:
    try:
        structures: list[Atoms] | Atoms
        if filetype(str(path)) in ("db", "json"):
            structures = _read_database(path)
        else:
            structures = ase.io.read(str(path), index=":", do_not_split_by_at_sign=True)
    except UnknownFileTypeError as error:
        raise DataError(
            f"{path} has no format that ASE knows; use .extxyz, .traj, .db or .npz"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # ASE's parsers raise whatever their code runs into
        raise DataError(f"{path} can't be read: {type(error).__name__}: {error}") from error
    frames = structures if isinstance(structures, list) else [structures]
    if not frames:
        raise DataError(f"{path} holds no structures")
    return frames


def _read_database(path: Path) -> list[Atoms]:
    """Rows with their key-value pairs and data, which `ase.io.read` leaves behind."""
    structures = []
    with ase.db.connect(path, serial=True) as database:  # serial: no lock file beside the data
        for row in database.select():
            atoms = row.toatoms()
            atoms.info |= {**row.data, **row.key_value_pairs}
            structures.append(atoms)
    return structures
