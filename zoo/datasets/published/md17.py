"""MD17, rMD17 and MD22: molecular dynamics of single molecules, in kcal/mol and Å.

MD17: S. Chmiela et al., Machine learning of accurate energy-conserving molecular force fields,
Science Advances 3, e1603015 (2017). Its energies carry numerical noise.
CCSD(T): S. Chmiela, H. E. Sauceda, K.-R. Müller, A. Tkatchenko, Towards exact molecular dynamics
simulations with machine-learned force fields, Nature Communications 9, 3887 (2018).
rMD17: A. S. Christensen, O. A. von Lilienfeld, On the role of gradients for machine learning of
molecular energies and forces, Machine Learning: Science and Technology 1, 045018 (2020).
MD22: S. Chmiela et al., Accurate global machine learning force fields for molecules with hundreds
of atoms, Science Advances 9, eadf0873 (2023).

Energies stay in double precision: in single precision those of aspirin would be rounded by 2 meV.
Neighbouring frames resemble each other, so rMD17's authors warn against training on more than
1,000 frames (`MAX_TRAIN`).
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula

from zoo.datasets import _npz
from zoo.datasets._frames import Frames, join
from zoo.datasets._published import _numbers
from zoo.datasets._units import parse
from zoo.datasets.published._common import Found, Keys, Reader, drawn, one_file
from zoo.errors import ConfigError, DataError

UNITS = {"energy": "kcal/mol", "length": "angstrom"}
MAX_TRAIN = 1000
#: what each molecule is made of; a file with another composition is another file
FORMULAS: Mapping[str, str] = {
    "aspirin": "C9H8O4",
    "azobenzene": "C12H10N2",
    "benzene": "C6H6",
    "ethanol": "C2H6O",
    "malonaldehyde": "C3H4O2",
    "naphthalene": "C10H8",
    "paracetamol": "C8H9NO2",
    "salicylic": "C7H6O3",
    "toluene": "C7H8",
    "uracil": "C4H4N2O2",
    "Ac-Ala3-NHMe": "C12H22N4O4",
    "DHA": "C22H32O2",
    "stachyose": "C24H42O21",
    "AT-AT": "C20H22N14O4",
    "AT-AT-CG-CG": "C38H42N30O8",
    "buckyball-catcher": "C120H28",
}


def read_md17(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Reads a trajectory of MD17 or MD22, which come without a division.

    Args:
        place: the folder or the .npz file.
        settings: `molecule`, `seed` of the division.
        keys: label -> array.

    Raises:
        DataError: for another molecule, or a damaged file.
    """
    name = str(settings.get("molecule", ""))
    path = one_file(place, _pattern(name), "the trajectory")
    frames = _frames(path, keys, name)
    sizes = {"train": MAX_TRAIN, "val": MAX_TRAIN, "test": max(len(frames) - 2 * MAX_TRAIN, 1)}
    splits = drawn(len(frames), sizes, seed=int(settings.get("seed", 0)), whole=sum(sizes.values()))
    told: dict[str, Any] = {"molecule": name or path.stem}
    if not path.name.startswith("md22_"):  # whose authors train on up to 8,000 frames
        told["max_train"] = MAX_TRAIN
    return Found(frames, told, splits)


def read_ccsd(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Reads frames at CCSD or CCSD(T), whose authors say which of them to train on.

    Args:
        place: the folder with `<molecule>_ccsd*-train.npz` and `...-test.npz`.
        settings: `molecule`; `val`: frames of the training part to validate on.
        keys: label -> array.

    Raises:
        DataError: for another molecule, or a damaged file.
    """
    name = str(settings["molecule"])
    parts = {
        part: _frames(
            one_file(place, f"**/{name}_ccsd*-{part}.npz", f"the {part} part"), keys, name
        )
        for part in ("train", "test")
    }
    train, test = parts["train"], parts["test"]
    joined = join([train, test], {"part": np.repeat(["train", "test"], [len(train), len(test)])})
    numbers = np.arange(len(joined))
    splits = _with_val(numbers[: len(train)], numbers[len(train) :], settings, 0)
    return Found(joined, {"molecule": name}, splits)


def read_rmd17(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Reads a trajectory of rMD17 with one of its five divisions.

    Args:
        place: the folder that holds `rmd17/`, or `rmd17/` itself.
        settings: `molecule`; `split` 1 to 5; `val`: how many of the 1,000 training frames are kept
            to validate on, drawn by the number of the split (papers keep 50).
        keys: label -> array.

    Raises:
        DataError: for another molecule, or damaged or missing files.
        ConfigError: for an impossible number of frames to validate on.
    """
    base = place / "rmd17" if (place / "rmd17").is_dir() else place
    split = int(settings.get("split", 1))
    path = one_file(base / "npz_data", f"rmd17_{settings.get('molecule', '*')}.npz", "a trajectory")
    name = path.stem.removeprefix("rmd17_")
    frames = _frames(path, keys, name)
    files = [base / "splits" / f"index_{part}_{split:02d}.csv" for part in ("train", "test")]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise DataError(f"{missing} is missing; zoo data get rmd17 molecule={name} brings it")
    train, test = (_numbers(file) for file in files)
    for file, numbers in zip(files, (train, test), strict=True):
        if numbers.min() < 0 or numbers.max() >= len(frames):
            raise DataError(f"{file} names frame {numbers.max()}, {path} has {len(frames)}")
    metadata = {"molecule": name, "published_split": split, "max_train": MAX_TRAIN}
    return Found(frames, metadata, _with_val(train, test, settings, split))


def _with_val(
    train: np.ndarray, test: np.ndarray, settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """The published parts, with some training frames set aside."""
    count = settings.get("val", 50)
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < len(train):
        raise ConfigError(f"val is {count!r}; there are {len(train)} frames to train on")
    order = np.random.default_rng(seed).permutation(len(train))
    parts = {"train": np.sort(train[order[count:]]), "test": np.sort(test)}
    if count:
        parts["val"] = np.sort(train[order[:count]])
    return {"kind": "index", "indices": parts}


def _pattern(name: str) -> str:
    """The file of a molecule: the sets of 2017, 2018 and 2023 are named in three ways."""
    known = {
        "benzene2017": "md17_benzene2017.npz",
        "benzene2018": "benzene2018_dft.npz",
        "paracetamol": "paracetamol_dft.npz",
        "azobenzene": "azobenzene_dft.npz",
    }
    return known.get(name, f"md[12][72]_{name}.npz")


def _frames(path: Path, keys: Keys, name: str) -> Frames:
    frames, said = _npz.read(path, keys, UNITS)
    formula = FORMULAS.get(name.rstrip("0123456789"), FORMULAS.get(name))
    if formula is not None:
        atoms = sum(Formula(formula).count().values())
        found = Formula.from_list([_symbol(z) for z in frames.numbers[: frames.counts[0]]])
        if found.count() != Formula(formula).count():
            raise DataError(
                f"{path} holds {found:hill} ({frames.counts[0]} atoms), but {name} is {formula} "
                f"({atoms} atoms); is it another file?"
            )
    _warn_rounded(path, frames)
    ignored = {key: value for key, value in frames.columns.items() if not key.startswith("old_")}
    return replace(frames, columns={**ignored, "name": np.repeat(name or path.stem, len(frames))})


def _symbol(number: Any) -> str:
    from ase.data import chemical_symbols

    return chemical_symbols[int(number)]


def _warn_rounded(path: Path, frames: Frames) -> None:
    """Says so where total energies went through single precision, as some loaders store them."""
    energy = frames.labels.get("energy")
    if energy is None or len(energy) < 2:
        return
    plain = energy / parse(UNITS).energy
    single = plain.astype(np.float32)
    spacing = float(np.spacing(np.abs(single).max())) * parse(UNITS).energy
    # back in the file's unit, one ulp of double precision may be left
    if np.allclose(plain, single, rtol=1e-14, atol=0.0) and spacing > 1e-4 and np.ptp(energy) > 0:
        warnings.warn(
            f"{path}: its energies were rounded to single precision, by up to {spacing * 500:.2g} "
            "meV; use the authors' own file",
            UserWarning,
            stacklevel=2,
        )


def _sign_rmd17(path: Path) -> bool:
    return path.is_dir() and (path / "npz_data").is_dir() and (path / "splits").is_dir()


MD17 = Reader(read_md17)
CCSD = Reader(read_ccsd)
RMD17 = Reader(read_rmd17, _sign_rmd17, {"val": 0})
