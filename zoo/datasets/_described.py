"""Writing a generated data set and its description, both in full or not at all."""

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase.io
import yaml
from ase import Atoms
from ase.data import chemical_symbols

from zoo._files import write_atomic
from zoo.datasets._frames import from_atoms
from zoo.datasets._npz import OWN_UNITS, save_npz
from zoo.datasets._open import Description, file_sha256
from zoo.datasets._open import open as open_dataset
from zoo.datasets.dataset import AtomsDataset
from zoo.errors import ConfigError, OutputError

SUFFIXES = (".npz", ".extxyz", ".xyz")


def prepare(output: str | Path, *, overwrite: bool, suffixes: Sequence[str] = SUFFIXES) -> Path:
    """Makes sure that the output can be written, before hours are spent on computing it.

    Args:
        output: the file.
        overwrite: whether it may be there already.
        suffixes: that it may have.

    Raises:
        ConfigError: for a suffix that isn't known.
        OutputError: if the folder can't be written, or the output exists and may not be replaced.
    """
    path = Path(output).expanduser()
    if path.suffix not in suffixes:
        raise ConfigError(f"{path} should end in one of {', '.join(suffixes)}")
    for file in (path, path.with_suffix(".yaml")):
        if file.exists() and not overwrite:
            raise OutputError(f"{file} exists; choose another name, or allow it to be overwritten")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{path.parent} can't be written ({error.strerror or error}); nothing was computed; "
            "choose another folder"
        ) from error
    return path


def write(
    path: Path,
    frames: Sequence[Atoms],
    *,
    level_of_theory: str,
    generation: Mapping[str, Any],
    **described: Any,
) -> AtomsDataset:
    """Writes a generated set and its description, and opens it.

    Args:
        path: .npz or extxyz.
        frames: with labels; `info["trajectory"]`, where present, becomes the split.
        level_of_theory: of the labels.
        generation: how they were made.
        described: further entries of the description, such as its title.
    """
    table = from_atoms(frames)
    if path.suffix == ".npz":
        metadata = {"level_of_theory": level_of_theory, "generation": dict(generation)}
        save_npz(path, table, metadata)
    else:
        text = io.StringIO()
        ase.io.write(text, list(frames), format="extxyz")
        write_atomic(path, text.getvalue())
    elements = {chemical_symbols[z]: int((table.numbers == z).sum()) for z in set(table.numbers)}
    entries: dict[str, Any] = {
        "title": path.stem,
        "file": path.name,
        "sha256": file_sha256(path),
        "level_of_theory": level_of_theory,
        "units": dict(OWN_UNITS),
        "frames": len(frames),
        "elements": dict(sorted(elements.items())),
        "generation": dict(generation),
    }
    if "trajectory" in table.columns:
        entries["splits"] = {"kind": "assigned", "key": "trajectory"}
    _describe(path, entries | described)
    return open_dataset(path.with_suffix(".yaml"), domain="atoms")


def write_description(path: Path, **described: Any) -> None:
    """Describes a file of any domain in `<stem>.yaml` beside it.

    Args:
        path: the file, written already.
        described: entries of the description but `file` and `sha256`.
    """
    entries = {"title": path.stem, "file": path.name, "sha256": file_sha256(path)}
    _describe(path, entries | described)


def _describe(path: Path, entries: dict[str, Any]) -> None:
    stated = {key: value for key, value in asdict(Description(**entries)).items() if value}
    text = yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=100)
    write_atomic(path.with_suffix(".yaml"), text)
