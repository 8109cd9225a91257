"""Structures to batches: the fields that every model of the domain `atoms` takes.

A batch holds `atomic_numbers` (n,), `pos` (n, 3) Å, `cell` (g, 3, 3) Å with the lattice vectors as
rows, `pbc` (g, 3), `charge` (g,) e, `spin` (g,) (multiplicity 2S + 1; 0 where it isn't stated),
`batch` (n,) and `ptr` (g + 1,), and the labels that all structures have: `energy` (g,) eV, always
float64, `forces` (n, 3) eV/Å, `stress` (g, 3, 3) eV/Å^3, `virial` (g, 3, 3) eV, `dipole` (g, 3)
e Å, `polarizability` (g, 3, 3), `charges` (n,) e, `homo`, `lumo`, `gap`, `zpve` (g,) eV, `u0`,
`u298`, `h298`, `g298` (g,) eV, float64 as the energy, `dipole_norm` (g,) e Å, `alpha` (g,) Å^3,
`r2` (g,) Å^2, `cv` (g,) eV/K.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo.datasets._labels import INPUTS, SHAPES, TOTALS, find, per_atom, shaped
from zoo.errors import DataError, UnsupportedInputError

NODE_FIELDS = frozenset({"atomic_numbers", "pos", *filter(per_atom, SHAPES)})
MAX_NUMBER = 118
# |volume| / product of the edges' lengths below which lattice vectors count as dependent
FLAT = 1e-6


def to_batch(
    atoms: Atoms | Sequence[Atoms],
    dtype: torch.dtype | None = None,
    *,
    labels: bool = True,
    centre: bool = False,
) -> Batch:
    """Turns structures into one batch.

    Args:
        atoms: one structure or several; `info["charge"]` is the total charge (e, default 0) and
            `info["spin"]` the multiplicity. Labels are taken where the structures carry them (see
            `zoo.datasets._labels`); nothing is computed.
        dtype: of positions, cells, charges and all labels except the energy; the default dtype of
            torch if None.
        labels: False leaves all labels out.
        centre: count positions from each structure's centre, see `centred`.

    Returns:
        The batch, on the CPU. A label that only some of the structures have is left out.

    Raises:
        UnsupportedInputError: for anything but structures, for none of them, for one without
            atoms, with positions that aren't finite, unknown elements, or periodic directions
            without independent lattice vectors.
        DataError: for a label of a wrong shape, or that isn't finite.
    """
    frames = _as_list(atoms)
    dtype = torch.get_default_dtype() if dtype is None else dtype
    counts = [len(frame) for frame in frames]
    arrays: dict[str, np.ndarray] = {
        "atomic_numbers": np.concatenate([f.numbers for f in frames]).astype(np.int64),
        "pos": np.concatenate([f.positions for f in frames]),
        "cell": np.stack([f.cell.array for f in frames]),
        "pbc": np.stack([f.pbc for f in frames]),
    }
    for name in INPUTS:
        arrays[name] = np.array([_scalar(f, name, k) for k, f in enumerate(frames)])
    check_structures(arrays, counts)
    if labels:
        arrays |= _labels(frames)
    if centre:
        arrays["pos"] = centred(torch.from_numpy(arrays["pos"]), counts, dtype).numpy()
    return assemble({name: _cast(name, v, dtype) for name, v in arrays.items()}, counts)


def narrowed(fields: Mapping[str, Tensor], counts: Sequence[int], dtype: torch.dtype) -> Batch:
    """A batch for a model of a given precision, of joined fields in float64.

    Args:
        fields: as in `assemble`, without labels.
        counts: number of atoms of each structure.
        dtype: of all floating-point fields; positions are `centred`.
    """
    placed = {**fields, "pos": centred(fields["pos"], counts, dtype)}
    return assemble({name: _cast(name, value, dtype) for name, value in placed.items()}, counts)


def centred(
    pos: Float[Tensor, "atoms 3"], counts: Sequence[int], dtype: torch.dtype
) -> Float[Tensor, "atoms 3"]:
    """Positions less the mean of each structure's, where `dtype` would round them more than that.

    Distances far from the origin lose their digits in float32: at 10^4 Å, all below 10^-3 Å. No
    model looks at anything but differences of positions.

    Args:
        pos: in float64 (Å).
        counts: number of atoms of each structure.
        dtype: what the positions are going to be cast to; float64 leaves them as they are.
    """
    if dtype == torch.float64:
        return pos
    sizes = torch.tensor(counts)
    owner = torch.arange(len(sizes)).repeat_interleave(sizes)
    total = pos.new_zeros(len(sizes), 3).index_add_(0, owner, pos)
    return pos - (total / sizes[:, None])[owner]


def collate(samples: Sequence[Data], dtype: torch.dtype | None = None) -> Batch:
    """Joins samples of a data set into one batch.

    Args:
        samples: with the same fields; per-atom fields are those in `NODE_FIELDS`, everything
            else has one entry per structure.
        dtype: of every floating-point field except `energy`, which stays float64; the default
            dtype of torch if None.

    Returns:
        The batch, on the CPU.

    Raises:
        DataError: for no samples, or samples with different fields.
    """
    if not samples:
        raise DataError("there are no samples to join into a batch; is the split empty?")
    dtype = torch.get_default_dtype() if dtype is None else dtype
    stores = [sample.to_dict() for sample in samples]
    counts = [len(store["pos"]) for store in stores]
    fields: dict[str, Any] = {}
    for name in stores[0]:
        if any(name not in store for store in stores):
            raise DataError(f"some samples of the batch have no field {name!r}; all must have it")
        values = [store[name] for store in stores]
        if isinstance(values[0], Tensor):
            fields[name] = _cast(name, torch.cat(values), dtype)
        else:
            fields[name] = values
    extra = {name for store in stores for name in store} - set(fields)
    if extra:
        raise DataError(f"only some samples of the batch have {sorted(extra)}; all must have them")
    return assemble(fields, counts)


def sample_of(fields: dict[str, Any]) -> Data:
    """`Data(**fields)`, without the work that PyG does for every single field."""
    sample = Data()
    sample._store._mapping.update(fields)
    return sample


def assemble(fields: dict[str, Any], counts: Sequence[int]) -> Batch:
    """A PyG batch from joined fields.

    Args:
        fields: per-atom fields (`NODE_FIELDS`) of length n, everything else of length g.
        counts: number of atoms of each structure.
    """
    sizes = torch.tensor(counts)
    ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    batch = Batch()
    batch._store._mapping.update(
        fields, batch=torch.arange(len(counts)).repeat_interleave(sizes), ptr=ptr
    )
    # what PyG itself stores when it joins samples: `batch[k]` and `to_data_list` read it
    graphs = torch.arange(len(counts) + 1)
    batch._num_graphs = len(counts)
    batch._slice_dict = {name: ptr if name in NODE_FIELDS else graphs for name in fields}
    batch._inc_dict = {name: torch.zeros(len(counts), dtype=torch.long) for name in fields}
    return batch


def check_structures(
    arrays: dict[str, np.ndarray], counts: Sequence[int], names: Sequence[int] | None = None
) -> None:
    """Refuses what no model can take.

    Args:
        arrays: `atomic_numbers`, `pos`, `cell`, `pbc`, `charge`, `spin`, joined.
        counts: number of atoms of each structure.
        names: numbers of the structures for messages; 0, 1, ... if None.

    Raises:
        UnsupportedInputError: names the structure and the atom.
    """
    names = range(len(counts)) if names is None else names
    for name, count in zip(names, counts, strict=True):
        if count == 0:
            raise UnsupportedInputError(f"structure {name} has no atoms")
    bad = ~np.isfinite(arrays["pos"]).all(axis=1)
    if bad.any():
        where = _place(int(bad.argmax()), counts, names)
        raise UnsupportedInputError(f"{where}: the position is not finite (NaN or infinite)")
    numbers = arrays["atomic_numbers"]
    bad = (numbers < 1) | (numbers > MAX_NUMBER)
    if bad.any():
        first = int(bad.argmax())
        raise UnsupportedInputError(
            f"{_place(first, counts, names)}: {numbers[first]} is not an atomic number (1 to "
            f"{MAX_NUMBER}); remove dummy atoms"
        )
    for field in INPUTS:
        bad = ~np.isfinite(arrays[field])
        if bad.any():
            first = names[int(bad.argmax())]
            raise UnsupportedInputError(f"structure {first}: the {field} is not finite")
    for graph in np.flatnonzero(arrays["pbc"].any(axis=1)):
        _check_cell(arrays["cell"][graph], arrays["pbc"][graph], names[int(graph)])


def _check_cell(cell: np.ndarray, pbc: np.ndarray, index: int) -> None:
    """The lattice vectors of the periodic directions must be finite and independent."""
    vectors = cell[pbc]
    if np.isfinite(vectors).all():
        lengths = np.linalg.norm(vectors, axis=1)
        volume = np.sqrt(max(np.linalg.det(vectors @ vectors.T), 0.0))
        if lengths.all() and volume > FLAT * lengths.prod():
            return
    raise UnsupportedInputError(
        f"structure {index} is periodic (pbc={pbc.tolist()}) but its cell {cell.tolist()} has no "
        "independent lattice vectors there; set atoms.cell, or atoms.pbc = False for a molecule"
    )


def _as_list(atoms: Any) -> list[Atoms]:
    frames = [atoms] if isinstance(atoms, Atoms) else atoms
    if not isinstance(frames, Sequence) or isinstance(frames, str):
        raise UnsupportedInputError(
            f"expected an ase.Atoms or a list of them, not {type(atoms).__name__}; "
            "ase.io.read(path, index=':') reads a file into such a list"
        )
    for index, frame in enumerate(frames):
        if not isinstance(frame, Atoms):
            raise UnsupportedInputError(
                f"entry {index} of the list is no ase.Atoms but {type(frame).__name__}"
            )
    if not frames:
        raise UnsupportedInputError("the list of structures is empty; give at least one")
    return list(frames)


def _scalar(frame: Atoms, name: str, index: int) -> float:
    value = find(frame, name)
    try:
        return INPUTS[name] if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise UnsupportedInputError(
            f"structure {index}: info[{name!r}] must be one number, not {value!r}"
        ) from error


def _labels(frames: Sequence[Atoms]) -> dict[str, np.ndarray]:
    arrays = {}
    for label in SHAPES:
        values = [find(frame, label) for frame in frames]
        if any(value is None for value in values):
            continue
        found = [
            shaped(value, label, len(frame), f"structure {index}")
            for index, (value, frame) in enumerate(zip(values, frames, strict=True))
        ]
        for index, value in enumerate(found):
            if not np.isfinite(value).all():
                raise DataError(
                    f"structure {index}: the label {label!r} is not finite; remove it, or leave "
                    "all labels out with to_batch(..., labels=False)"
                )
        arrays[label] = np.concatenate(found) if label in NODE_FIELDS else np.stack(found)
    return arrays


def _cast(name: str, value: np.ndarray | Tensor, dtype: torch.dtype) -> Tensor:
    # the copy keeps a batch apart from the structures that it was made of
    tensor = torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
    if not tensor.is_floating_point():
        return tensor
    return tensor.to(torch.float64 if name in TOTALS else dtype)


def _place(atom: int, counts: Sequence[int], names: Sequence[int]) -> str:
    ends = np.cumsum(counts)
    structure = int(np.searchsorted(ends, atom, side="right"))
    inside = atom - (ends[structure] - counts[structure])
    return f"structure {names[structure]}, atom {inside}"
