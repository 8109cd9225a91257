"""QM9: 133,885 small organic molecules with fifteen properties (B3LYP/6-31G(2df,p)).

R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, Quantum chemistry structures and
properties of 134 kilo molecules, Scientific Data 1, 140022 (2014).

Two layouts are read, neither of them with RDKit or a pickle. `gdb9.sdf` with `gdb9.sdf.csv`, as
MoleculeNet and PyG have it: positions are rounded to 1e-4 Å there. The authors' own archive
`dsgdb9nsd.xyz.tar.bz2`, with all digits and Mulliken charges. Numbers are read in double precision
(in single precision, PyG's U0 is rounded by about 1 meV) and converted: hartree and kcal/mol to eV,
debye to e Å, a0^3 and a0^2 to Å^3 and Å^2, cal/(mol K) to eV/K.

`uncharacterized.txt` lists 3,054 molecules whose geometry did not survive the optimisation; they
are left out unless `uncharacterized=keep`. The division is the one of DimeNet and its successors:
110,000 to train on, 10,000 to validate, the rest to test, drawn by `RandomState(42)`. (Their own
file `qm9_eV.npz` leaves out other molecules than this list does, by an error of one in the numbers,
so that their parts differ from these.)
"""

import csv
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.data import atomic_numbers

from zoo.datasets._frames import Frames
from zoo.datasets.published._common import (
    Found,
    Keys,
    Reader,
    drawn,
    molecules,
    one_file,
    relabelled,
    text_lines,
)
from zoo.errors import DataError

WHOLE = 130_831  # molecules without the uncharacterized ones
SPLIT = {"train": 110_000, "val": 10_000, "test": 10_831}
SEED = 42
_CALORIE = units.kcal / units.mol / 1000  # eV/K
#: names in the table, in its order, what they are called here, and the factor to our units
PROPERTIES: Mapping[str, tuple[str, float]] = {
    "A": ("rotational_a", 1.0),  # GHz, as are the next two
    "B": ("rotational_b", 1.0),
    "C": ("rotational_c", 1.0),
    "mu": ("dipole_norm", units.Debye),
    "alpha": ("alpha", units.Bohr**3),
    "homo": ("homo", units.Hartree),
    "lumo": ("lumo", units.Hartree),
    "gap": ("gap", units.Hartree),
    "r2": ("r2", units.Bohr**2),
    "zpve": ("zpve", units.Hartree),
    "u0": ("u0", units.Hartree),
    "u298": ("u298", units.Hartree),
    "h298": ("h298", units.Hartree),
    "g298": ("g298", units.Hartree),
    "cv": ("cv", _CALORIE),
}
#: atomisation energies, which only the table has
ATOMISATION = ("u0_atom", "u298_atom", "h298_atom", "g298_atom")
#: of free atoms at the same level, eV (from the set's atomref.txt, as PyG converts it)
REFERENCES: Mapping[str, Mapping[str, float]] = {
    "u0": {
        "H": -13.61312172,
        "C": -1029.86312267,
        "N": -1485.30251237,
        "O": -2042.61123593,
        "F": -2713.48485589,
    },
    "u298": {
        "H": -13.5745904,
        "C": -1029.82456413,
        "N": -1485.26398105,
        "O": -2042.5727046,
        "F": -2713.44632457,
    },
    "h298": {
        "H": -13.54887564,
        "C": -1029.79887659,
        "N": -1485.2382935,
        "O": -2042.54701705,
        "F": -2713.42063702,
    },
    "g298": {
        "H": -13.90303183,
        "C": -1030.25891228,
        "N": -1485.71166277,
        "O": -2043.01812778,
        "F": -2713.88796536,
    },
}
_LISTED = slice(9, -2)  # lines of uncharacterized.txt between its head and its end
Molecule = tuple[np.ndarray, np.ndarray]


def read(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Reads the set.

    Args:
        place: its folder, or `gdb9.sdf`, or the archive of xyz files.
        settings: `format`: sdf or xyz; `uncharacterized`: drop or keep; `split`: dimenet.
        keys: such as {"energy": "g298"}; energy is u0 unless said.

    Raises:
        DataError: naming the molecule or line that can't be read.
    """
    folder = place if place.is_dir() else place.parent
    if _is_archive(place) or (place.is_dir() and settings.get("format") == "xyz"):
        frames = _read_archive(one_file(place, "*.xyz.tar*", "the molecules"))
    else:
        frames = _read_table(one_file(place, "*.sdf", "the molecules"))
    dropped = 0
    if settings.get("uncharacterized", "drop") == "drop":
        bad = uncharacterized(folder / "uncharacterized.txt")
        chosen = np.flatnonzero(~np.isin(frames.columns["number"], bad))
        dropped = len(frames) - len(chosen)
        frames = frames.take(chosen)
    frames = replace(frames, labels={"energy": frames.labels["u0"], **frames.labels})
    metadata = {"references": REFERENCES, "uncharacterized_left_out": dropped}
    splits = drawn(len(frames), SPLIT, seed=SEED, whole=WHOLE)
    return Found(relabelled(frames, keys, str(place)), metadata, splits)


def uncharacterized(path: Path) -> np.ndarray:
    """Numbers of the molecules that failed the consistency check, counted from 1.

    Raises:
        DataError: if the list isn't there, or is another one.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing: it lists the molecules to leave out; zoo data get qm9 brings it, "
            "or keep them all: qm9?uncharacterized=keep"
        )
    numbers = []
    for line in text_lines(path)[_LISTED]:
        word = (line.split() or [""])[0]
        if not word.isdigit():
            raise DataError(f"{path}: {line[:60]!r} starts with no number; is it the QM9 list?")
        numbers.append(int(word))
    if not numbers:
        raise DataError(f"{path} lists no molecules; is it complete?")
    return np.array(numbers)


def _frames(structures: list[Molecule], table: np.ndarray, numbers: list[int]) -> Frames:
    """Frames of molecules and their fifteen properties (molecules, 15) in the authors' units."""
    values = {
        name: table[:, place] * factor for place, (name, factor) in enumerate(PROPERTIES.values())
    }
    rotational = [name for name in values if name.startswith("rotational")]
    columns: dict[str, np.ndarray] = {name: values.pop(name) for name in rotational}
    columns["number"] = np.array(numbers, dtype=np.int64)
    columns["name"] = np.array([f"gdb_{number}" for number in numbers])
    return molecules(structures, values, columns)


# --- gdb9.sdf and gdb9.sdf.csv ------------------------------------------------------------------


def _read_table(path: Path) -> Frames:
    rows = _rows(path.with_name(f"{path.name}.csv"))
    structures, names = [], []
    for name, structure in _sdf(path):
        structures.append(structure)
        names.append(name)
    if names != [row[0] for row in rows]:
        pairs = enumerate(zip(names, rows, strict=False))
        place = next((k for k, (name, row) in pairs if name != row[0]), min(len(names), len(rows)))
        raise DataError(
            f"{path} has {len(names)} molecules and its table {len(rows)} rows, which differ from "
            f"the {place + 1}th on; both must be of one release, and complete"
        )
    table = np.array([row[1] for row in rows])
    frames = _frames(structures, table, [_number(name, path) for name in names])
    energies = table[:, len(PROPERTIES) :] * units.kcal / units.mol
    more = dict(zip(ATOMISATION, energies.T, strict=True))
    return replace(frames, columns={**frames.columns, **more})


def _number(name: str, path: Path) -> int:
    word = name.removeprefix("gdb_")
    if not word.isdigit():
        raise DataError(f"{path}: {name[:40]!r} is no name of QM9, such as gdb_1")
    return int(word)


def _rows(path: Path) -> list[tuple[str, list[float]]]:
    """Name and numbers of each row; the columns are found by their names."""
    wanted = [*PROPERTIES, *ATOMISATION]
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.reader(stream)
            head = next(reader, [])
            missing = [name for name in ("mol_id", *wanted) if name not in head]
            if missing:
                raise DataError(f"{path} has no column {missing[0]!r}; is it gdb9.sdf.csv?")
            places = [head.index(name) for name in wanted]
            first = head.index("mol_id")
            return [(row[first], [float(row[k]) for k in places]) for row in reader if row]
    except (OSError, UnicodeDecodeError, ValueError, IndexError, csv.Error) as error:
        raise DataError(f"{path} can't be read ({error}); is it complete?") from error


def _sdf(path: Path) -> Iterator[tuple[str, Molecule]]:
    """Name, atomic numbers and positions of every molecule of an SDF file (V2000)."""
    try:
        with path.open(encoding="utf-8") as stream:
            block: list[str] = []
            for line in stream:
                if line.startswith("$$$$"):
                    yield _molecule(block, path)
                    block = []
                else:
                    block.append(line)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as text: {error}") from error
    if any(line.strip() for line in block):
        raise DataError(f"{path} ends within the molecule {block[0].strip()!r}; it is incomplete")


def _molecule(block: list[str], path: Path) -> tuple[str, Molecule]:
    name = block[0].strip() if block else ""
    try:
        count = int(block[3][:3])
        atoms = block[4 : 4 + count]
        if len(atoms) != count or "V2000" not in block[3]:
            raise ValueError("its atoms are not all there")
        numbers = np.array([atomic_numbers[line[31:34].strip()] for line in atoms])
        spans = (slice(0, 10), slice(10, 20), slice(20, 30))
        positions = np.array([[float(line[span]) for span in spans] for line in atoms])
    except (ValueError, IndexError, KeyError) as error:
        raise DataError(f"{path}: the molecule {name!r} can't be read: {error}") from error
    return name, (numbers, positions.reshape(count, 3))


# --- dsgdb9nsd.xyz.tar.bz2 ----------------------------------------------------------------------


def _is_archive(path: Path) -> bool:
    return path.is_file() and ".xyz.tar" in path.name


def _read_archive(path: Path) -> Frames:
    found = []
    try:
        with tarfile.open(path, mode="r:*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is not None and member.name.endswith(".xyz"):
                    found.append(_xyz(stream.read().decode("utf-8"), f"{path}: {member.name}"))
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read ({error}); is it complete?") from error
    if not found:
        raise DataError(f"{path} holds no .xyz files")
    found.sort(key=lambda molecule: molecule[0])
    frames = _frames(
        [molecule[1] for molecule in found],
        np.array([molecule[2] for molecule in found]),
        [molecule[0] for molecule in found],
    )
    charges = np.concatenate([molecule[3] for molecule in found])
    return replace(frames, labels={**frames.labels, "charges": charges})


def _xyz(text: str, where: str) -> tuple[int, Molecule, list[float], np.ndarray]:
    """Number, structure, fifteen properties and Mulliken charges of one file.

    Exponents are written as Mathematica does (1.2*^-6).
    """
    lines = text.replace("*^", "e").split("\n")
    try:
        count = int(lines[0])
        tag, number, *properties = lines[1].split()
        atoms = [line.split() for line in lines[2 : 2 + count]]
        if tag != "gdb" or len(properties) != len(PROPERTIES) or len(atoms) != count:
            raise ValueError("it isn't laid out as the molecules of QM9")
        numbers = np.array([atomic_numbers[atom[0]] for atom in atoms])
        values = np.array([[float(word) for word in atom[1:5]] for atom in atoms])
        if values.shape != (count, 4):
            raise ValueError("an atom lacks its position or charge")
        table = [float(word) for word in properties]
        return int(number), (numbers, values[:, :3]), table, values[:, 3]
    except (ValueError, IndexError, KeyError) as error:
        raise DataError(f"{where} can't be read: {error}") from error


def _sign(path: Path) -> bool:
    if path.is_dir():
        return (path / "gdb9.sdf").is_file()
    return path.name == "gdb9.sdf" or path.name.startswith("dsgdb9nsd.xyz.tar")


READER = Reader(read, _sign, {"uncharacterized": "drop"})
