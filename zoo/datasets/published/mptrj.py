"""MPtrj: frames of the relaxations of crystals in the Materials Project (PBE, PBE+U).

B. Deng et al., CHGNet as a pretrained universal neural network potential for charge-informed
atomistic modelling, Nature Machine Intelligence 5, 1031 (2023).

One JSON object of some ten gigabytes, {mp_id: {frame_id: {"structure": ..., "force": ...}}}: it is
gone through once, material by material, and read at the places found. Stresses are VASP's, in
kilobar and of the opposite sign: times -0.1 they are in GPa, here in eV/Å^3. The extended XYZ files
of Matbench Discovery hold the same frames, in eV/Å^3 already.

`energy` is the DFT total energy, which belongs to the forces; `energy=corrected` takes the one with
the Materials Project's corrections (as CHGNet does). Frames of one relaxation are alike, so the set
is divided by material, and a division by frame is refused.
"""

import json
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from ase import units
from ase.data import atomic_numbers

from zoo.datasets._extxyz import STREAM_BYTES
from zoo.datasets._frames import Frames
from zoo.datasets._handle import Handle
from zoo.datasets._lazy import LazyFrames, Store
from zoo.datasets._survey import Keys, Survey
from zoo.datasets._units import Units
from zoo.datasets._xyz_frame import Raw
from zoo.datasets.published._common import Found, Reader, one_file
from zoo.datasets.published._joined import ZippedXyz
from zoo.errors import ConfigError, DataError

KILOBAR = -0.1 * units.GPa  # eV/Å^3, with the sign
_ENERGIES = {
    "uncorrected": "uncorrected_total_energy",
    "corrected": "corrected_total_energy",
}
_BY_FRAME = frozenset({"random", "shuffled", "kfold", "time", "index"})
_BLOCK = 1 << 22
_SPACE = " \t\r\n"
SPLITS = {
    "kind": "group",
    "key": "mp_id",
    "fractions": {"train": 0.8, "val": 0.1, "test": 0.1},
    "seed": 0,
}


def read(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Opens the set.

    Args:
        place: its folder, the JSON file, or the zip archive of extended XYZ files.
        settings: `format`: json or extxyz; `energy`: uncorrected or corrected.
        keys: None as a name leaves a label out.

    Raises:
        DataError: naming the material that can't be read.
    """
    energy = settings.get("energy", "uncorrected")
    zipped = place.suffix == ".zip" or (place.is_dir() and settings.get("format") == "extxyz")
    frames: Store
    if zipped:
        path = one_file(place, "*.extxyz.zip", "the frames")
        corrected = {"energy": "corrected_total_energy"} if energy == "corrected" else {}
        frames = ZippedXyz(path, {**corrected, **keys}, "mp_id")
    else:
        path = one_file(place, "*.json", "the frames")
        frames = JsonFrames(path, keys, _ENERGIES[energy])
    if path.stat().st_size < STREAM_BYTES:
        columns, whole = frames.columns, frames.take(np.arange(len(frames)))
        frames = Frames(**{**vars(whole), "columns": columns})
    return Found(frames, {"energy": energy}, SPLITS)


def check_splits(splits: Mapping[str, Any]) -> None:
    """Refuses divisions that put frames of one relaxation on both sides.

    Raises:
        ConfigError: for such a division.
    """
    if splits.get("kind") in _BY_FRAME:
        raise ConfigError(
            f"splits of kind {splits['kind']!r} would put frames of one relaxation on both sides; "
            f"divide by material: {SPLITS}"
        )


class JsonFrames(LazyFrames):
    """The frames of the JSON file, read when they are asked for.

    Args:
        path: the file.
        keys: None as a name leaves a label out.
        energy: the name of the total energy.
    """

    def __init__(self, path: Path, keys: Keys, energy: str) -> None:
        self._file, self._energy = Handle(path), energy
        self._held: tuple[int, dict[str, Any]] = (-1, {})
        survey = Survey(keys, str(path))
        places, owner = array("q"), array("q")
        self._frame_ids: list[str] = []
        names: list[str] = []
        for name, first, last, frames in _materials(path):
            for frame_id, entry in frames.items():
                raw = self._structure(entry, f"{path}: {frame_id}")
                survey.add(len(raw), raw.info, raw.arrays, periodic=True)
                owner.append(len(names))
                self._frame_ids.append(frame_id)
            names.append(name)
            places.extend((first, last))
        self._places = np.frombuffer(places, np.int64).reshape(-1, 2)
        self._owner = np.frombuffer(owner, np.int64)
        super().__init__(survey.finish(), keys, Units())
        own = {"mp_id": np.array(names)[self._owner], "frame_id": np.array(self._frame_ids)}
        self.columns = {**self.columns, **own}

    def raw(self, index: int) -> Raw:
        """One frame as the file states it, with the stress in eV/Å^3."""
        number = int(self._owner[index])
        if self._held[0] != number:
            first, last = (int(n) for n in self._places[number])
            self._held = number, json.loads(self._file.read(first, last - first))
        return self._structure(self._held[1][self._frame_ids[index]], self.name(index))

    def name(self, index: int) -> str:
        """The file and the frame's name in it."""
        return f"{self._file.path}: {self._frame_ids[index]}"

    def _structure(self, entry: Mapping[str, Any], where: str) -> Raw:
        try:
            structure = entry["structure"]
            sites = structure["sites"]
            symbols = [_element(site["species"]) for site in sites]
            numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
            cell = np.array(structure["lattice"]["matrix"], dtype=np.float64).reshape(3, 3)
            scaled = np.array([site["abc"] for site in sites], dtype=np.float64)
            info: dict[str, Any] = {}
            if entry.get(self._energy) is not None:
                info["energy"] = float(entry[self._energy])
            elif self._energy == "corrected_total_energy" and "energy_per_atom" in entry:
                info["energy"] = float(entry["energy_per_atom"]) * len(sites)
            if entry.get("stress") is not None:
                info["stress"] = np.array(entry["stress"], dtype=np.float64) * KILOBAR
            arrays = {}
            if entry.get("force") is not None:
                arrays["forces"] = np.array(entry["force"], dtype=np.float64)
            positions = scaled.reshape(-1, 3) @ cell
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{where} can't be read: {type(error).__name__}: {error}") from error
        return Raw(numbers, positions, cell, np.ones(3, dtype=bool), info, arrays)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_held": (-1, {})}


def _element(species: list[Mapping[str, Any]]) -> str:
    if len(species) != 1 or species[0]["occu"] != 1:
        raise ValueError(f"a site is shared: {species}")
    return str(species[0]["element"])


class _Text:
    """A JSON text that is read block by block; bytes are characters, so that places are offsets."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self._text, self._place, self._done = "", 0, 0
        self._decoder = json.JSONDecoder()

    @property
    def offset(self) -> int:
        """Bytes that were passed."""
        return self._done + self._place

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._place < len(self._text) and self._text[self._place] in _SPACE:
                self._place += 1
            if self._place < len(self._text) or not self._more():
                return self._text[self._place : self._place + 1]

    def expect(self, mark: str) -> None:
        """Passes over one character.

        Raises:
            DataError: if another one stands there.
        """
        found = self.peek()
        if found != mark:
            raise _cut(self._path, f"at byte {self.offset}: {found!r} in the place of {mark!r}")
        self._place += 1

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        while True:
            try:
                found, self._place = self._decoder.raw_decode(self._text, self._place)
                return found
            except (ValueError, RecursionError) as error:
                if not self._more():
                    raise _cut(self._path, error) from error

    def _more(self) -> bool:
        left = len(self._text) - self._place
        block = self._stream.read(max(_BLOCK, left)).decode("latin-1")
        self._done += self._place
        self._text, self._place = self._text[self._place :] + block, 0
        return bool(block)


def _materials(path: Path) -> Iterator[tuple[str, int, int, dict[str, Any]]]:
    """Name, place in the file and frames of every material; the file is never read whole."""
    with path.open("rb") as stream:
        text = _Text(stream, path)
        text.expect("{")
        while text.peek() != "}":
            name = text.value()
            text.expect(":")
            text.peek()
            first = text.offset
            frames = text.value()
            if not isinstance(name, str) or not isinstance(frames, dict):
                raise DataError(f"{path}: {str(name)[:40]!r} holds no frames; is it MPtrj?")
            yield name, first, text.offset, frames
            if text.peek() != "}":
                text.expect(",")


def _cut(path: Path, why: object) -> DataError:
    return DataError(f"{path} can't be read ({why}); is it complete?")


def _sign(path: Path) -> bool:
    if not path.is_file() or path.suffix not in (".json", ".zip"):
        return False
    if path.suffix == ".zip":
        return path.name.endswith("mp-trj.extxyz.zip")
    with path.open("rb") as stream:
        head = stream.read(200).replace(b" ", b"").replace(b"\n", b"")
    return head.startswith(b'{"mp-') or head.startswith(b'{"mvc-')


READER = Reader(read, _sign, check_splits=check_splits)
