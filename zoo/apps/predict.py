"""Energies, forces and stresses of a list of structures."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as ase_write
from ase.stress import full_3x3_to_voigt_6_stress

from zoo._files import write_atomic
from zoo.datasets.atoms import to_batch
from zoo.errors import ConfigError
from zoo.models._atomistic import AtomisticModel

FORMATS = ("extxyz", "json")


def predict(
    model: AtomisticModel,
    structures: Sequence[Atoms],
    *,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """What a model says about each structure.

    Args:
        model: any atomistic model; its precision and device are used.
        structures: molecules and crystals may be mixed (Å).
        batch_size: structures per model call.
        progress: called with (structures done, structures in all).

    Returns:
        One dict per structure, in order: `energy` (eV, float), `forces` (n, 3) eV/Å, `stress`
        (3, 3) eV/Å³ where all three directions are periodic, and the model's other outputs.

    Raises:
        UnsupportedInputError: if a structure can't be taken; all are checked before the first call.
        ConfigError: if `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    frames = list(structures)
    # a bad structure is named by its place in the whole list, before any work is done
    to_batch(frames, labels=False)
    results: list[dict[str, Any]] = [{} for _ in frames]
    done = 0
    for indices in _batches(frames, batch_size):
        batch = to_batch([frames[i] for i in indices], dtype=model.dtype, labels=False)
        out = model(batch.to(model.device), create_graph=False)
        for i, result in zip(indices, _split(out, [len(frames[i]) for i in indices]), strict=True):
            results[i] = result
        done += len(indices)
        if progress is not None:
            progress(done, len(frames))
    return results


def labelled(
    structures: Sequence[Atoms], results: Sequence[dict[str, Any]], *, model: str = ""
) -> list[Atoms]:
    """Copies of the structures with the predictions as calculator results, to be written by ASE.

    Args:
        structures: as given to `predict`; labels they carry are replaced.
        results: what it returned.
        model: name kept in `info["model"]`.
    """
    frames = []
    for atoms, result in zip(structures, results, strict=True):
        frame = atoms.copy()  # drops the calculator and with it any old labels
        values = dict(result)
        if "stress" in values:
            values["stress"] = full_3x3_to_voigt_6_stress(values["stress"])
        extra = {k: values.pop(k) for k in list(values) if k == "polarizability"}
        frame.info |= extra | ({"model": model} if model else {})
        frame.calc = SinglePointCalculator(frame, **values)
        frames.append(frame)
    return frames


def to_json(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same results with lists for arrays."""
    return [
        {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in result.items()}
        for result in results
    ]


def write(
    path: Path,
    structures: Sequence[Atoms],
    results: Sequence[dict[str, Any]],
    *,
    form: str = "extxyz",
    model: str = "",
) -> None:
    """Writes predictions; the file appears complete or not at all.

    Args:
        path: the file.
        structures: as given to `predict`.
        results: what it returned.
        form: "extxyz" (structures with their labels) or "json" (the labels alone).
        model: name kept with every structure.

    Raises:
        ConfigError: for another form.
        OutputError: if the file can't be written.
    """
    if form not in FORMATS:
        raise ConfigError(f"unknown output format {form!r}; it is one of {', '.join(FORMATS)}")
    if form == "json":
        text = json.dumps({"model": model, "results": to_json(results)})
    else:
        stream = io.StringIO()
        ase_write(stream, labelled(structures, results, model=model), format="extxyz")
        text = stream.getvalue()
    write_atomic(path, text)


def _batches(frames: Sequence[Atoms], size: int) -> list[list[int]]:
    """Indices per call; by number of periodic directions, on which the outputs depend."""
    batches = []
    for directions in range(4):
        group = [i for i, atoms in enumerate(frames) if atoms.pbc.sum() == directions]
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def _split(out: dict[str, Any], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """One dict per structure from the outputs of a batch with `sizes` atoms each."""
    bounds = np.cumsum(sizes)[:-1]
    parts: dict[str, Any] = {}
    for name, value in out.items():
        array = value.detach().cpu().double().numpy()
        parts[name] = np.split(array, bounds) if name == "forces" else array
    results = [{name: part[g] for name, part in parts.items()} for g in range(len(sizes))]
    return [r | {"energy": float(r["energy"])} if "energy" in r else r for r in results]
