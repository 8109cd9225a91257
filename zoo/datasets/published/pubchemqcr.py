"""PubChemQCR: relaxations of small organic molecules, step by step (PM3, Hartree-Fock, DFT).

C. Fu et al., A benchmark for quantum chemistry relaxations via machine learning interatomic
potentials, arXiv:2506.23008 (2025).

LMDB files (`Data06.lmdb` is the authors' subset). A key is a molecule's number in PubChem, a value
a gzipped pickle of plain data, {"pm3": [step, ...], "hf": ..., "DFT_1st": ..., "DFT_2nd": ...},
where a method may be None. A step has `coordinates` and `gradient`, lists of one dict for each atom
(`atom`, `x`, `y`, `z` in Å; `dx`, `dy`, `dz` in hartree/bohr, forces are their negative), and
`energy` in hartree. Nothing in the pickles is run: they are read as `zoo.datasets._plain_pickle`
says. Steps without energy or gradient, or with other atoms than the last one, are left out and
counted, as the authors leave them out.

`energy=formation` subtracts the energies of free atoms that the authors computed; they train on it
for each atom. The authors divide whole relaxations, drawn by Python's generator with the seed 42:
60/20/20 of the subset, 80/10/10 of everything.
"""

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.data import atomic_numbers

from zoo.datasets._archive import inflated
from zoo.datasets._lazy import LazyFrames
from zoo.datasets._pages import Pages, is_lmdb
from zoo.datasets._plain_pickle import load_plain
from zoo.datasets._survey import Survey
from zoo.datasets._units import Units
from zoo.datasets._xyz_frame import Raw
from zoo.datasets.published._common import Found, Keys, Reader
from zoo.errors import ConfigError, DataError

SUBSET = "Data06.lmdb"
SEED = 42
#: what a division is made of: training, validation; the rest is for tests
FRACTIONS = {"subset": (0.6, 0.2), "full": (0.8, 0.1)}
#: energies of free atoms at the level of the DFT steps, hartree, from the authors' code
ATOMS: Mapping[int, float] = {
    1: -0.5002727762, 4: -14.6684425428, 5: -24.6543539532, 6: -37.8462799513,
    7: -54.5844893657, 8: -75.0606214015, 9: -99.7155354215, 14: -289.3723539998,
    15: -341.2580898032, 16: -398.1049925382, 17: -460.1362417086, 21: -760.5813501324,
    22: -849.3013849537, 23: -943.8255794204, 24: -1044.2810289455, 25: -1150.8680174849,
    26: -1263.5207828239406, 27: -1382.5485719267936, 28: -1508.0542451335,
    29: -1640.1731641564784, 31: -1924.5926070018, 32: -2076.6914561594, 33: -2235.5683127287,
    34: -2401.2347730327, 35: -2573.8397377628,
}  # fmt: skip
_METHODS = {
    "1st": ("DFT_1st",),
    "1st_smash": ("DFT_1st",),
    "2nd": ("DFT_2nd",),
    "mixing": ("DFT_1st", "DFT_2nd"),
    "hf": ("hf",),
    "pm3": ("pm3",),
}
_INFLATED = 1 << 30  # bytes of one molecule's steps; real ones are far below
_GZIP = 31  # zlib's name for a header of gzip


def read(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Opens the files; their molecules stay in them.

    Args:
        place: one file, or the folder that holds them.
        settings: `part`: subset or full; `stage`: 1st, 1st_smash (those computed with SMASH), 2nd
            (DFT), mixing (both), hf or pm3; `energy`: formation (DFT only) or total.
        keys: None as a name leaves a label out.

    Raises:
        ConfigError: for formation energies of a stage that has none.
        DataError: for a damaged file, or one without such steps.
        UnsafeFileError: for a pickle of more than plain data.
    """
    part, stage = str(settings.get("part", "full")), str(settings.get("stage", "1st"))
    energy = str(settings.get("energy", "formation"))
    if energy == "formation" and stage in ("hf", "pm3"):
        raise ConfigError(
            f"energies of free atoms are known for the DFT steps, not for stage={stage}; "
            "open it with energy=total"
        )
    frames = Relaxations(_files(place, part), stage, keys, formation=energy == "formation")
    told = {"left_out": frames.skipped, "energy": energy, "stage": stage}
    return Found(frames, told, _splits(frames.molecules, frames.owner, part))


def _files(place: Path, part: str) -> list[Path]:
    if place.is_file():
        return [place]
    found = sorted(place.glob(SUBSET if part == "subset" else "*.lmdb"))
    if not found:
        raise DataError(f"{place} has no {SUBSET if part == 'subset' else '.lmdb files'}")
    return found


def _splits(count: int, owner: np.ndarray, part: str) -> dict[str, Any]:
    """The authors' division of whole relaxations."""
    order = list(range(count))
    random.Random(SEED).shuffle(order)
    train, val = (int(share * count) for share in FRACTIONS[part])
    ends = {"train": (0, train), "val": (train, train + val), "test": (train + val, count)}
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    drawn = place[owner]
    parts = {
        name: np.flatnonzero((drawn >= first) & (drawn < last))
        for name, (first, last) in ends.items()
    }
    return {"kind": "index", "indices": {name: part for name, part in parts.items() if len(part)}}


class Relaxations(LazyFrames):
    """The steps of all relaxations, read when they are asked for.

    Args:
        paths: the LMDB files.
        stage: see `read`.
        keys: None as a name leaves a label out.
        formation: whether energies of free atoms are subtracted.

    Attributes:
        molecules: how many have such steps.
        owner: the number of each step's molecule.
        skipped: what was left out, with counts.
    """

    def __init__(self, paths: list[Path], stage: str, keys: Keys, *, formation: bool) -> None:
        self._pages = [Pages(path) for path in paths]
        self._stage, self._formation = stage, formation
        self._held: tuple[int, list[Raw]] = (-1, [])
        self.skipped: dict[str, int] = {}
        survey = Survey(keys, str(paths[0].parent if len(paths) > 1 else paths[0]))
        places, owner, step = array("q"), array("q"), array("q")
        self._cids: list[str] = []
        for number, pages in enumerate(self._pages):
            for key, offset, size in pages.items():
                self._cids.append(key.decode("latin-1"))
                found = self._steps(pages, offset, size, self._cids[-1], count=True)
                if not found:
                    self._cids.pop()
                    continue
                for k, raw in enumerate(found):
                    survey.add(len(raw), raw.info, raw.arrays, periodic=False)
                    owner.append(len(self._cids) - 1)
                    step.append(k)
                places.extend((number, offset, size))
        self._places = np.frombuffer(places, np.int64).reshape(-1, 3)
        self.owner, self._step = np.frombuffer(owner, np.int64), np.frombuffer(step, np.int64)
        self.molecules = len(self._cids)
        super().__init__(survey.finish(), keys, Units())
        self.columns = {**self.columns, "cid": np.array(self._cids)[self.owner], "step": self._step}

    def raw(self, index: int) -> Raw:
        """One step in eV and Å."""
        number = int(self.owner[index])
        if self._held[0] != number:
            file, offset, size = (int(n) for n in self._places[number])
            cid = self._cids[number]
            self._held = number, self._steps(self._pages[file], offset, size, cid, count=False)
        return self._held[1][int(self._step[index])]

    def name(self, index: int) -> str:
        """The file, the molecule and the step."""
        number = int(self.owner[index])
        file = self._pages[int(self._places[number, 0])].file.path
        return f"{file}: {self._cids[number]}, step {int(self._step[index])}"

    def _steps(self, pages: Pages, offset: int, size: int, cid: str, *, count: bool) -> list[Raw]:
        """The sound steps of one molecule at the chosen stage."""
        where = f"{pages.file.path}: {cid}"
        packed = pages.file.read(offset, size)
        record = load_plain(inflated(packed, where, _INFLATED, header=_GZIP), where)
        if not isinstance(record, Mapping):
            raise DataError(f"{where} holds {type(record).__name__}, not the steps of a molecule")
        try:
            atoms = self._atoms(record)
            found = [self._raw(step, atoms) for step in self._listed(record)] if atoms else []
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(f"{where} can't be read: {type(error).__name__}: {error}") from error
        sound = [raw for raw in found if raw is not None]
        if count and len(found) > len(sound):
            self._skip("steps without energy, gradient or all atoms", len(found) - len(sound))
        if count and not sound:
            self._skip("molecules without such steps", 1)
        return sound

    def _skip(self, why: str, count: int) -> None:
        self.skipped[why] = self.skipped.get(why, 0) + count

    def _listed(self, record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for method in _METHODS[self._stage]:
            yield from record.get(method) or ()

    def _atoms(self, record: Mapping[str, Any]) -> int:
        """Atoms of the last step that has an energy, which all others must have."""
        for method in reversed(_METHODS[self._stage]):
            known = [s for s in record.get(method) or () if s.get("energy") is not None]
            if known:
                return len(known[-1].get("coordinates") or ())
        return 0

    def _raw(self, step: Mapping[str, Any], count: int) -> Raw | None:
        atoms: Sequence[Mapping[str, Any]] = step.get("coordinates") or ()
        slopes: Sequence[Mapping[str, Any]] = step.get("gradient") or ()
        if step.get("energy") is None or len(atoms) != count or len(slopes) != count:
            return None
        if self._stage == "1st_smash" and "charge" in atoms[0]:
            return None
        numbers = np.array([atomic_numbers[str(atom["atom"]).capitalize()] for atom in atoms])
        positions = np.array([[atom[k] for k in "xyz"] for atom in atoms], dtype=np.float64)
        slope = np.array([[s["dx"], s["dy"], s["dz"]] for s in slopes], dtype=np.float64)
        energy = float(step["energy"])
        if self._formation:
            energy -= _free(numbers)
        if not (np.isfinite(positions).all() and np.isfinite(slope).all() and np.isfinite(energy)):
            return None
        forces = slope * (-units.Hartree / units.Bohr)
        info = {"energy": energy * units.Hartree}
        never = np.zeros(3, dtype=bool)
        return Raw(numbers, positions, np.zeros((3, 3)), never, info, {"forces": forces})

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_held": (-1, [])}


def _free(numbers: np.ndarray) -> float:
    """The energies of the free atoms together, hartree."""
    unknown = sorted({int(z) for z in numbers} - ATOMS.keys())
    if unknown:
        raise ValueError(
            f"the energy of a free atom of element {unknown[0]} is not known; open it with "
            "energy=total"
        )
    return sum(ATOMS[int(z)] for z in numbers)


def _sign(path: Path) -> bool:
    """Whether an LMDB file, or the first of a folder, has gzip under PubChem's numbers."""
    files = [path] if path.is_file() else sorted(path.glob("*.lmdb"))
    if not files or not is_lmdb(files[0]):
        return False
    try:
        pages = Pages(files[0])
        key, offset, size = next(iter(pages.items()))
        head = pages.file.read(offset, min(size, 3))
    except (DataError, StopIteration):
        return False
    return key.isdigit() and len(key) == 9 and head == b"\x1f\x8b\x08"


READER = Reader(read, _sign)
