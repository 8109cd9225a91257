"""Making data sets: GFN2-xTB dynamics, and DFT labels for given structures.

Each function writes two files in the end, both in one step: the data (our .npz, or extxyz) and
beside it `<stem>.yaml`, which says how they were made: level of theory, measured temperatures,
seeds, versions, sha256. `zoo.datasets.open` reads either. What can be checked is checked before
anything is computed: inputs, settings, and that the output can be written.
"""

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from os.path import isfile
from pathlib import Path
from typing import Any

import ase.io
import yaml
from ase import Atoms
from ase.calculators.calculator import CalculatorError
from ase.data import chemical_symbols

from zoo._files import write_atomic
from zoo.datasets import _molecules, dft, gfn2
from zoo.datasets._frames import from_atoms
from zoo.datasets._npz import OWN_UNITS, save_npz
from zoo.datasets._open import Description, file_sha256
from zoo.datasets._open import open as open_dataset
from zoo.datasets.dataset import AtomsDataset
from zoo.errors import ConfigError, DataError, OutputError

Progress = Callable[[int, int], None]
SUFFIXES = (".npz", ".extxyz", ".xyz")
# all of them at once, in the order of the names
ALL_MD17 = "md17"


def generate_gfn2(
    molecules: Sequence[str],
    output: str | Path,
    *,
    frames: Mapping[str, int],
    seed: int = 0,
    embed_seed: int = 1,
    stride: int = 20,
    timestep: float = 0.5,
    temperature: float = 500.0,
    equilibration: int = 1000,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AtomsDataset:
    """Samples molecules by GFN2-xTB dynamics (needs the extra `datagen`).

    Args:
        molecules: each a name ("ethanol", or "md17" for all ten of that benchmark), a SMILES, or a
            file with starting structures.
        output: .npz or .extxyz.
        frames: trajectory name -> number of frames, such as {"train": 170, "test": 30}; the
            trajectories are independent and become the splits.
        seed: trajectory j of molecule k has the seed `seed + 1000 k + j`.
        embed_seed: of the starting geometries made from SMILES.
        stride: steps between frames.
        timestep: fs.
        temperature: K, of the thermostat; the measured one is recorded.
        equilibration: steps before the first frame.
        overwrite: whether an existing output may be replaced.
        progress: called with (frames done, frames in all).

    Returns:
        The data set, opened from the output.

    Raises:
        OutputError: if the output can't be written, or is there already.
        ConfigError: for impossible settings.
        DataError: for molecules that can't be read or calculated.
        MissingExtraError: without tblite (and rdkit, for names and SMILES).
    """
    path = prepare(output, overwrite=overwrite)
    if not frames:
        raise ConfigError('frames must name at least one trajectory, such as {"train": 100}')
    settings = {
        name: gfn2.Trajectory(
            frames=count,
            stride=stride,
            timestep=timestep,
            temperature=temperature,
            equilibration=equilibration,
            seed=seed + offset,
        )
        for offset, (name, count) in enumerate(frames.items())
    }
    structures = starting_structures(molecules, seed=embed_seed)
    try:
        sampled, records = gfn2.molecules(structures, settings, progress=progress)
    except CalculatorError as error:
        raise DataError(f"GFN2-xTB failed, perhaps on a broken structure: {error}") from error
    described = {
        "method": "Langevin dynamics",
        "molecules": _spelled(molecules, structures),
        "embed_seed": embed_seed,
        "trajectories": records,
    }
    return write(path, sampled, level_of_theory=gfn2.LEVEL_OF_THEORY, generation=described)


def generate_dft(
    structures: str | Path,
    output: str | Path,
    *,
    functional: str = "pbe",
    basis: str = "def2-SVP",
    grid: int = 3,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AtomsDataset:
    """Labels structures with DFT single points (needs the extra `datagen`).

    Args:
        structures: anything that `zoo.datasets.open` takes; names and trajectories are kept,
            labels replaced.
        output: .npz or .extxyz.
        functional: any functional that PySCF knows.
        basis: any basis that PySCF knows.
        grid: PySCF's integration grid level, 0 to 9.
        overwrite: whether an existing output may be replaced.
        progress: called with (frames done, frames in all).

    Returns:
        The data set, opened from the output.

    Raises:
        OutputError: if the output can't be written, or is there already.
        DataError: for structures that can't be read or calculated.
        MissingExtraError: without PySCF.
    """
    path = prepare(output, overwrite=overwrite)
    given = open_dataset(structures)
    given.check()
    record = dft.record(functional=functional, basis=basis, grid=grid)
    frames = [given.atoms(index) for index in range(len(given))]
    labelled = list(
        dft.label(frames, functional=functional, basis=basis, grid=grid, progress=progress)
    )
    origin = given.metadata.get("generation", {"file": Path(structures).name})
    generation = record | {"structures": origin}
    return write(path, labelled, level_of_theory=record["level_of_theory"], generation=generation)


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
    dataset = open_dataset(path)
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


def prepare(output: str | Path, *, overwrite: bool) -> Path:
    """Makes sure that the output can be written, before hours are spent on computing it.

    Raises:
        ConfigError: for a suffix that isn't known.
        OutputError: if the folder can't be written, or the output exists and may not be replaced.
    """
    path = Path(output).expanduser()
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path} should end in one of {', '.join(SUFFIXES)}")
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
    about = Description(**entries | described)
    stated = {key: value for key, value in asdict(about).items() if value}
    text_out = yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=100)
    write_atomic(path.with_suffix(".yaml"), text_out)
    return open_dataset(path.with_suffix(".yaml"))


def _spelled(molecules: Sequence[str], structures: Mapping[str, Atoms]) -> dict[str, str]:
    """Where each molecule came from: its SMILES, or its file."""
    files = ", ".join(text for text in molecules if isfile(text))
    return {
        name: _molecules.MD17.get(name, name if name in molecules else files) for name in structures
    }
