"""Structures that dynamics start from: by name, SMILES or file."""

from collections.abc import Mapping, Sequence
from os.path import isfile
from pathlib import Path

from ase import Atoms

from zoo.datasets import _molecules
from zoo.datasets._open import open as open_dataset
from zoo.errors import DataError

#: all of them at once, in the order of the names
ALL_MD17 = "md17"


def starting_structures(molecules: Sequence[str], *, seed: int) -> dict[str, Atoms]:
    """Starting structures by name.

    Args:
        molecules: names of `zoo.datasets._molecules.MD17`, "md17", SMILES, or files.
        seed: of the embedding.

    Raises:
        DataError: for anything else, or a name that comes up twice.
    """
    found: list[tuple[str, Atoms]] = []
    for text in molecules:
        if text == ALL_MD17:
            found += [(n, _molecules.embed(s, seed=seed)) for n, s in _molecules.MD17.items()]
        elif text in _molecules.MD17:
            found.append((text, _molecules.embed(_molecules.MD17[text], seed=seed)))
        elif isfile(text):
            found += _from_file(Path(text))
        else:
            found.append((text, _from_smiles(text, seed)))
    names = [name for name, _ in found]
    if not names:
        raise DataError("there are no molecules to start from; give names, SMILES or a file")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"the molecule {name!r} comes up twice; name each once")
    return dict(found)


def _from_smiles(text: str, seed: int) -> Atoms:
    try:
        return _molecules.embed(text, seed=seed)
    except DataError as error:
        raise DataError(
            f"{text!r} is no file here, none of the molecules {', '.join(_molecules.MD17)}, "
            f"and as a SMILES: {error}"
        ) from error


def _from_file(path: Path) -> list[tuple[str, Atoms]]:
    dataset = open_dataset(path, domain="atoms")
    dataset.check()
    found = []
    for index in range(len(dataset)):
        atoms = dataset.atoms(index)
        single = path.stem if len(dataset) == 1 else f"{path.stem}-{index}"
        start = Atoms(
            numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc
        )
        start.info["charge"] = atoms.info["charge"]
        found.append((str(atoms.info.get("name", single)), start))
    return found


def spelled(molecules: Sequence[str], structures: Mapping[str, Atoms]) -> dict[str, str]:
    """Where each molecule came from: its SMILES, or its file."""
    files = ", ".join(text for text in molecules if isfile(text))
    return {
        name: _molecules.MD17.get(name, name if name in molecules else files) for name in structures
    }
