"""Writing frames one by one, with every digit: extended XYZ and ASE databases.

(`ase.io.write` rounds positions and forces to eight decimals.)
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ase.db
import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.io.extxyz import key_val_dict_to_str
from ase.stress import full_3x3_to_voigt_6_stress

from zoo.datasets._check.frame import Frame
from zoo.datasets._labels import per_atom
from zoo.errors import DataError

Rows = Iterator[tuple[Frame, Mapping[str, Any]]]  # structures with their columns
RESERVED = frozenset({"Properties", "Lattice", "pbc"})


def extxyz(path: Path, rows: Rows) -> None:
    """Writes an extended XYZ file.

    Args:
        path: a new file.
        rows: the structures, in eV and Å.
    """
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for frame, columns in rows:
            stream.write(_xyz(frame, columns))


def _xyz(frame: Frame, columns: Mapping[str, Any]) -> str:
    s = frame.structure
    atomic = [name for name in frame.labels if per_atom(name)]
    tables = [s.positions, *(frame.labels[name].reshape(len(frame), -1) for name in atomic)]
    layout = "species:S:1:pos:R:3"
    for name, table in zip(atomic, tables[1:], strict=True):
        # under its own name, `charges` would be read by ASE as initial charges
        layout += f":{name}:R:{table.shape[1]}"
    words = [f"Properties={layout}", f'pbc="{" ".join("FT"[int(p)] for p in s.pbc)}"']
    if s.cell.any():
        words.insert(0, f'Lattice="{_numbers(s.cell)}"')
    for name, value in frame.labels.items():
        if not per_atom(name):
            words.append(f'{name}="{_numbers(value)}"' if value.ndim else f"{name}={value.item()}")
    if frame.charge:
        words.append(f"charge={frame.charge!r}")
    if frame.spin:
        words.append(f"spin={frame.spin!r}")
    plain = {name: value for name, value in columns.items() if name not in RESERVED}
    if plain:
        words.append(key_val_dict_to_str(plain))
    lines = [str(len(frame)), " ".join(words)]
    numbers = np.concatenate(tables, axis=1).tolist()
    for z, row in zip(s.numbers.tolist(), numbers, strict=True):
        lines.append(f"{chemical_symbols[z]} {' '.join(map(repr, row))}")
    return "\n".join(lines) + "\n"


def _numbers(values: np.ndarray) -> str:
    return " ".join(map(repr, values.reshape(-1).tolist()))


def database(path: Path, rows: Rows) -> None:
    """Writes an ASE database (SQLite).

    Labels that ASE knows become results, the others and columns that no key-value pair can hold
    (words that look like numbers, reserved names) go to the row's `data`.
    """
    with ase.db.connect(path, type="db", append=False, use_lock_file=False) as base:
        for frame, columns in rows:
            atoms, pairs, data = _row(frame, columns)
            base.write(atoms, key_value_pairs=pairs, data=data)


def _row(frame: Frame, columns: Mapping[str, Any]) -> tuple[Atoms, dict[str, Any], dict[str, Any]]:
    s = frame.structure
    atoms = Atoms(numbers=s.numbers, positions=s.positions, cell=s.cell, pbc=s.pbc)
    results: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for name, value in frame.labels.items():
        plain = value.item() if value.ndim == 0 else value
        if name in all_properties and name != "polarizability":
            results[name] = full_3x3_to_voigt_6_stress(value) if name == "stress" else plain
        else:
            data[name] = plain
    pairs: dict[str, Any] = {}
    inputs = {"total_charge": frame.charge, "total_spin": frame.spin}
    for name, value in [*columns.items(), *((k, v) for k, v in inputs.items() if v)]:
        try:
            ase.db.core.check({name: value})
            pairs[name] = value
        except (ValueError, TypeError):
            data[name] = value
    atoms.calc = SinglePointCalculator(atoms)
    atoms.calc.results.update(results)
    return atoms, pairs, data


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    ".extxyz": extxyz,
    ".xyz": extxyz,
    ".db": database,
}


def plain(value: Any, name: str) -> Any:
    """A column's value as Python's own number or text.

    Raises:
        DataError: for anything else.
    """
    item = value.item() if isinstance(value, np.generic) else value
    if not isinstance(item, (str, bool, int, float)):
        raise DataError(f"the column {name!r} holds {type(item).__name__}, which no file takes")
    return item
