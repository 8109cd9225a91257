"""Files that are pickles: PyG's `.pt` and the LMDB shards of OC20, read only when trusted.

Reading a pickle runs whatever code its author put in, so nothing here happens without
`trust_pickle=True`.

PyG: a list of `Data`, one `Data`, or what `InMemoryDataset` stores, (data, slices) with or without
the class. The names differ between data sets (`ALIASES`), and units are nowhere stated.

OC20 (S2EF and IS2RE, in eV and Å): LMDB files whose keys are numbers and whose values are pickled
`Data` with `pos`, `cell` (1, 3, 3), `atomic_numbers`, `tags`, `fixed` and `y` with `force` (S2EF)
or `y_relaxed` (IS2RE: name it with keys={"energy": "y_relaxed"}). All directions are periodic.
"""

import bisect
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from zoo.datasets._frames import Frames, from_atoms
from zoo.datasets._labels import INPUTS, SHAPES, names, shortened
from zoo.datasets._lazy import LazyFrames
from zoo.datasets._lmdb import META
from zoo.datasets._pages import Pages, is_lmdb
from zoo.datasets._survey import Keys, Survey, check_keys
from zoo.datasets._units import Units, parse
from zoo.datasets._unpickle import unpickle
from zoo.datasets._xyz_frame import Raw
from zoo.errors import DataError, UnitsRequiredError, UnsafeFileError

ALIASES: dict[str, tuple[str, ...]] = {
    "numbers": ("z", "atomic_numbers", "numbers", "Z"),
    "positions": ("pos", "positions", "R"),
    "energy": ("energy", "y", "E"),
    "forces": ("forces", "force", "dy", "neg_dy", "F"),
    "cell": ("cell",),
    "pbc": ("pbc",),
}


def shards(path: Path) -> list[Path]:
    """The LMDB file itself, or those in a folder, by name."""
    return [path] if path.is_file() else sorted(f for f in path.glob("*.lmdb") if is_lmdb(f))


# --- PyG --------------------------------------------------------------------------------------


def read_pyg(
    path: Path, keys: Keys, units: Mapping[str, str] | None
) -> tuple[Frames, dict[str, Any]]:
    """Reads a `.pt` file of PyG that is trusted.

    Raises:
        UnitsRequiredError: without units, which PyG doesn't state.
        DataError: if it doesn't hold structures.
    """
    if units is None or not {"energy", "length"} <= set(units):
        raise UnitsRequiredError(
            f"{path} doesn't say its units; give both, such as "
            'units={"energy": "kcal/mol", "length": "angstrom"} (MD17)'
        )
    samples = pyg_samples(path)
    numbers = dict(keys)
    structures = [
        _structure(_fields(sample), numbers, f"{path}: sample {k}", periodic=False)
        for k, sample in enumerate(samples)
    ]
    label_keys = {k: v for k, v in keys.items() if k in (*SHAPES, *INPUTS)}
    frames = from_atoms(structures, keys=label_keys, units=parse(units), where=str(path))
    return frames, {"units": dict(units)}


def pyg_samples(path: Path) -> list[Any]:
    """The samples of a `.pt` file of PyG that is trusted.

    Raises:
        DataError: if it holds something else.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=False)
    except MemoryError:
        raise
    except Exception as error:  # a pickle runs any code, which fails in any way
        raise DataError(f"{path} can't be read: {type(error).__name__}: {error}") from error
    if isinstance(held, tuple) and len(held) >= 2 and isinstance(held[1], Mapping):
        return _sliced(path, held[0], held[1])
    found = held if isinstance(held, (list, tuple)) else [held]
    if not found or not all(isinstance(sample, Data) for sample in found):
        raise DataError(f"{path} holds no samples of PyG (Data, or what InMemoryDataset stores)")
    return list(found)


def _sliced(path: Path, data: Any, slices: Mapping[str, Any]) -> list[Any]:
    """Takes the joined arrays of an `InMemoryDataset` apart."""
    fields = _fields(data)
    bounds = {k: np.asarray(v) for k, v in slices.items() if k in fields and v is not None}
    sizes = {len(bound) - 1 for bound in bounds.values()}
    if len(sizes) != 1:
        raise DataError(f"{path}: its arrays have slices of different lengths; it is damaged")
    samples = []
    for k in range(sizes.pop()):
        parts: dict[str, Any] = {}
        for name, bound in bounds.items():
            axis = -1 if "index" in name or name == "face" else 0  # as PyG joins them
            first, last = int(bound[k]), int(bound[k + 1])
            value = fields[name]
            parts[name] = (
                value.narrow(axis, first, last - first)
                if isinstance(value, Tensor)
                else value[first:last]
            )
        samples.append(parts)
    return samples


# --- OC20 -------------------------------------------------------------------------------------


def read_lmdb(path: Path, keys: Keys, units: Units, trust_pickle: bool) -> "PickledFrames":
    """Opens LMDB files with pickled samples.

    Raises:
        UnsafeFileError: unless they are trusted.
        DataError: for anything else.
    """
    if path.is_file() and (path.parent / META).is_file():
        raise DataError(f"{path} is one shard of a data set; open its folder {path.parent}")
    if not trust_pickle:
        raise UnsafeFileError(
            f"{path} is LMDB as OC20 has it, whose values are pickles, which can run any code when "
            "read; if you trust whoever made it, open it with trust_pickle=True, and keep it with "
            "zoo.datasets.save_lmdb, which needs no pickles"
        )
    return PickledFrames(shards(path), keys, units, str(path))


class PickledFrames(LazyFrames):
    """Samples of OC20's LMDB files, unpickled when they are asked for.

    Args:
        files: the LMDB files.
        keys: label -> name of the field.
        units: of the samples.
        where: the path, for messages.
    """

    def __init__(self, files: Sequence[Path], keys: Keys, units: Units, where: str) -> None:
        self._files = [Pages(file) for file in files]
        self._aliased = dict(keys)
        tables = []
        for pages in self._files:
            rows = [(int(k), place, size) for k, place, size in pages.items() if k.isdigit()]
            tables.append(np.array(sorted(rows), dtype=np.int64).reshape(-1, 3))
        self._tables, self._ends = tables, np.cumsum([len(t) for t in tables]).tolist()
        label_keys = {k: v for k, v in keys.items() if k in (*SHAPES, *INPUTS)}
        survey = Survey(label_keys, where)
        for index in range(self._ends[-1]):
            raw = self.raw(index)
            survey.add(len(raw), raw.info, raw.arrays, periodic=bool(raw.pbc.all()))
        super().__init__(survey.finish(), label_keys, units)

    def raw(self, index: int) -> Raw:
        """One sample as the file states it."""
        which = bisect.bisect_right(self._ends, index)
        number = index - (self._ends[which - 1] if which else 0)
        _, place, size = (int(n) for n in self._tables[which][number])
        where = self.name(index)
        raw = io.BytesIO(self._files[which].file.read(place, size))
        fields = _fields(unpickle(raw, where, instead=_HELD))
        return _structure(fields, self._aliased, where, periodic=True)

    def name(self, index: int) -> str:
        """The file and the sample."""
        which = bisect.bisect_right(self._ends, index)
        return f"{self._files[which].file.path}: frame {index}"


# --- samples ----------------------------------------------------------------------------------


class _Held:
    """The fields of a pickled `Data`: PyG's own class refuses those of its releases before 2.0,
    whose fields lay beside each other and not in a store."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple):  # (fields, slots)
            state = state[0]
        self.__dict__.update(state or {})


_HELD = {("torch_geometric.data.data", "Data"): _Held}


def _fields(sample: Any) -> dict[str, Any]:
    """The fields of a `Data` of any release, or of a mapping."""
    if isinstance(sample, Mapping):
        return dict(sample)
    held = dict(getattr(sample, "__dict__", {}))
    store = held.pop("_store", None)  # where releases from 2.0 on keep them
    if store is not None:
        held |= dict(store.items())
    return {k: v for k, v in held.items() if not k.startswith("_") and v is not None}


def _structure(fields: Mapping[str, Any], keys: Keys, where: str, *, periodic: bool) -> Raw:
    """A sample's structure; fields with one entry per atom become arrays, others values."""
    check_keys(keys, (*SHAPES, *INPUTS, *ALIASES))
    taken = {name: _pick(fields, name, keys) for name in ALIASES}
    for name in ("numbers", "positions"):
        if taken[name] is None:
            raise DataError(
                f"{where} has no {name}: looked for {', '.join(ALIASES[name])}; it has "
                f"{', '.join(fields) or 'nothing'}; name it with keys={{{name!r}: ...}}"
            )
    numbers = np.asarray(taken["numbers"])
    positions = np.asarray(taken["positions"], dtype=np.float64)
    atoms = numbers.size
    whole = numbers.dtype.kind in "iu" or (numbers == np.rint(numbers)).all()  # OC20: floats
    if not whole or positions.shape != (atoms, 3):
        raise DataError(
            f"{where}: numbers {shortened(numbers)} and positions of shape {positions.shape} are "
            "no structure"
        )
    cell = np.zeros((3, 3)) if taken["cell"] is None else np.asarray(taken["cell"], np.float64)
    if cell.size != 9:
        raise DataError(f"{where}: cell has shape {cell.shape}, expected (3, 3)")
    pbc = np.asarray(periodic if taken["pbc"] is None else taken["pbc"]).reshape(-1)
    used = {key for name in ("numbers", "positions", "cell", "pbc") for key in ALIASES[name]}
    info = {name: _plain(value) for name, value in fields.items() if name not in used}
    for label in ("energy", "forces"):
        if label not in keys and taken[label] is not None:
            info.setdefault(label, _plain(taken[label]))
    return Raw(
        numbers=numbers.reshape(-1).astype(np.int64),
        positions=positions,
        cell=cell.reshape(3, 3),
        pbc=np.broadcast_to(pbc.astype(bool), 3),
        info=info,
    )


def _pick(fields: Mapping[str, Any], name: str, keys: Keys) -> Any:
    wanted: Iterable[str] = ALIASES[name]
    if keys.get(name) is not None:
        wanted = (str(keys[name]),)
    elif name in SHAPES:
        wanted = (*names(name), *ALIASES[name])
    return next((fields[key] for key in wanted if fields.get(key) is not None), None)


def _plain(value: Any) -> Any:
    """Tensors as arrays, those of one entry as numbers."""
    if isinstance(value, Tensor):
        array = value.detach().cpu().numpy()
        return array.item() if array.size == 1 else array
    return value
