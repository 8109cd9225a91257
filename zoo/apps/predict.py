"""Predictions: energies, forces and stresses of structures; outputs on samples of any domain."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read as ase_read
from ase.io import write as ase_write
from ase.io.formats import UnknownFileTypeError
from ase.stress import full_3x3_to_voigt_6_stress

from zoo._files import write_atomic
from zoo.apps._samples import evaluate_samples, open_for, write_samples
from zoo.datasets.atoms import to_batch
from zoo.errors import CapabilityError, ConfigError, DataError
from zoo.layers.atomistic import SCALARS, AtomFeatures, AtomGraph
from zoo.models._atomistic import AtomisticModel
from zoo.models._sample import SampleModel
from zoo.models._trust import Trust, Verdict, trust_of

#: endings of files that predictions are written to, and their formats
FORMATS = {".extxyz": "extxyz", ".xyz": "extxyz", ".json": "json"}
SAMPLE_FORMATS = {".npz": "npz", ".csv": "csv", ".json": "json"}
_PER_ATOM = ("forces", "forces_std", "charges")
#: outputs that ASE's calculator results do not have: kept in info, and per atom
_INFO, _ARRAYS = ("polarizability", "energy_std", *SCALARS), ("forces_std",)


def predict(
    model: AtomisticModel | SampleModel,
    structures: Sequence[Any],
    *,
    batch_size: int = 16,
    head: str | None = None,
    trust: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """What a model says about each structure, or each sample of another domain.

    Args:
        model: any model; its precision and device are used.
        structures: molecules and crystals may be mixed (Å). Outside atoms samples, as
            `zoo.datasets.open` gives them.
        batch_size: structures per model call.
        head: the energy head to use; the model's first if None.
        trust: say of each structure whether it lies in the training domain.
        progress: called with (structures done, structures in all).

    Returns:
        One dict per structure, in order: `energy` (eV, float), `forces` (n, 3) eV/Å, `stress`
        (3, 3) eV/Å³ where all three directions are periodic, and the model's other outputs. With
        `trust` also `trust`: `score` (at most 1 inside), `inside`, `reason` (a sentence that names
        atoms, pairs or elements) and `atoms`, the score of each atom (n,). Outside atoms the
        outputs as arrays, with `logits` also `probabilities`, `class_index` and `class` (its
        name), with `score` also `probability`.

    Raises:
        CapabilityError: with `trust`, if no training domain is stored with the weights; with
            `head` or `trust` outside atoms.
        UnsupportedInputError: if a structure can't be taken; all are checked before the first call.
        ConfigError: if `batch_size` is below 1.
        UnknownHeadError: for a head that the model does not have.
    """
    if isinstance(model, SampleModel):
        if head is not None or trust:
            raise CapabilityError(
                f"{model.checkpoint_name or type(model).__name__} works on the domain "
                f"{model.domain!r}; energy heads and trust scores are for atoms"
            )
        samples = list(structures)
        return evaluate_samples(model, samples, batch_size=batch_size, progress=progress)
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    domain = trust_of(model) if trust else None
    chosen: dict[str, Any] = {} if head is None else {"head": model.find_head(head)}
    frames = list(structures)
    # a bad structure is named by its place in the whole list, before any work is done
    to_batch(frames, labels=False)
    results: list[dict[str, Any]] = [{} for _ in frames]
    done = 0
    for indices in _batches(frames, batch_size):
        chosen_frames = [frames[i] for i in indices]
        batch = to_batch(chosen_frames, dtype=model.dtype, labels=False, centre=True)
        verdicts: list[Verdict] = []
        options = {} if domain is None else {"observe": _judge(domain, verdicts)}
        out = model(batch.to(model.device), create_graph=False, **chosen, **options)
        for i, result in zip(indices, _split(out, [len(frames[i]) for i in indices]), strict=True):
            results[i] = result
        for i, verdict in zip(indices, verdicts, strict=domain is not None):
            results[i]["trust"] = _plain(verdict)
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
        extra = {k: values.pop(k) for k in list(values) if k in _INFO}
        frame.info |= extra | ({"model": model} if model else {})
        for name in [k for k in values if k in _ARRAYS]:
            frame.arrays[name] = np.asarray(values.pop(name))
        _add_trust(frame, values.pop("trust", None))
        frame.calc = SinglePointCalculator(frame, **values)
        frames.append(frame)
    return frames


def to_json(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same results with lists for arrays."""
    return [{k: _listed(v) for k, v in result.items()} for result in results]


def formats(domain: str) -> dict[str, str]:
    """What predictions of a domain can be written as: format by the ending of the file."""
    return FORMATS if domain == "atoms" else SAMPLE_FORMATS


def write(
    path: str | Path,
    structures: Sequence[Any],
    results: Sequence[dict[str, Any]],
    *,
    form: str | None = None,
    model: str | AtomisticModel | SampleModel = "",
    name: str | None = None,
) -> None:
    """Writes predictions; the file appears complete or not at all.

    Args:
        path: the file.
        structures: as given to `predict`.
        results: what it returned.
        form: "extxyz" (structures with their labels) or "json" (the labels alone); outside atoms
            "npz" (an array for each output), "csv" (a line for each sample, node or pair) or
            "json". What the file's ending says if None.
        model: the model, or for atoms its name.
        name: kept with every structure; the model's own if None.

    Raises:
        ConfigError: for another form.
        OutputError: if the file can't be written.
    """
    path = Path(path)
    samples = isinstance(model, SampleModel)
    known = SAMPLE_FORMATS if samples else FORMATS
    form = known.get(path.suffix, path.suffix) if form is None else form
    if form not in known.values():
        allowed = ", ".join(dict.fromkeys(known.values()))
        raise ConfigError(f"unknown output format {form!r}; it is one of {allowed}")
    if isinstance(model, SampleModel):
        write_samples(path, results, model, form=form, name=name)
        return
    if name is None:
        name = model if isinstance(model, str) else model.checkpoint_name or ""
    if form == "json":
        text = json.dumps({"model": name, "results": to_json(results)})
    else:
        stream = io.StringIO()
        ase_write(stream, labelled(structures, results, model=name), format="extxyz")
        text = stream.getvalue()
    write_atomic(path, text)


def read(
    model: AtomisticModel | SampleModel,
    path: str | Path,
    *,
    index: str = ":",
    keys: Mapping[str, str | None] | None = None,
) -> list[Any]:
    """The structures or samples of a file, as a model takes them.

    Args:
        model: the model.
        path: structures in any format that ASE reads; outside atoms whatever
            `zoo.datasets.open` takes.
        index: which of them, as in ASE: ":", "-1", "0:10".
        keys: outside atoms, field -> the file's name for it, such as {"x": "covs"}.

    Raises:
        DataError: for a file that is missing, damaged or of another domain, or without frames at
            `index`.
        ConfigError: for an unknown key, or keys with atoms.
    """
    if not isinstance(model, SampleModel):
        if keys:
            raise ConfigError("structures of atoms need no labels to be predicted; leave out keys")
        return _structures(Path(path), index)
    dataset = open_for(model, path, keys=keys)
    samples = [dataset[number] for number in _chosen(index, len(dataset))]
    if not samples:
        raise DataError(f"{path} has no samples at index {index!r}; it has {len(dataset)}")
    return samples


def _structures(path: Path, index: str) -> list[Any]:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it, in a format that ASE reads")
    if not path.exists():
        raise DataError(f"there is no file {path}; give structures in a format that ASE reads")
    try:
        frames = ase_read(path, index=index)
    except UnknownFileTypeError as problem:
        raise DataError(
            f"{path} has no format that ASE knows, by its name or its first lines; use .extxyz, "
            ".traj, .cif, .db or another of ase.io"
        ) from problem
    except (IndexError, StopIteration) as problem:
        raise DataError(f"{path} has no frames at index {index!r}, or ends too early") from problem
    except Exception as problem:  # ASE's readers raise whatever their parser meets
        raise DataError(f"ASE can't read {path} (index {index!r}): {problem}") from problem
    frames = frames if isinstance(frames, list) else [frames]
    if not frames:
        raise DataError(f"{path} has no frames at index {index!r}")
    return frames


def _chosen(index: str, size: int) -> list[int]:
    """The numbers that an index such as "-1" or "0:10:2" means."""
    words = [word.strip() for word in index.split(":")]
    try:
        numbers = [int(word) if word else None for word in words]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or numbers == [None]:
        raise DataError(f"index {index!r} is none; write '5', '-1', '0:10' or ':'")
    if len(numbers) > 1:
        return list(range(size))[slice(*numbers)]
    number = numbers[0]
    assert number is not None
    return [number % size] if -size <= number < size else []


def _judge(domain: Trust, verdicts: list[Verdict]) -> Callable[[AtomGraph, AtomFeatures], None]:
    """Collects the verdicts on a batch while the model evaluates it."""

    def observe(graph: AtomGraph, x: AtomFeatures) -> None:
        verdicts.extend(domain.judge(domain.measure(graph, x), graph.num_graphs))

    return observe


def _plain(verdict: Verdict) -> dict[str, Any]:
    return {
        "score": verdict.score,
        "inside": verdict.inside,
        "reason": verdict.reason,
        "atoms": verdict.atoms,
    }


def _add_trust(frame: Atoms, trust: dict[str, Any] | None) -> None:
    """`trust_score`, `trust_inside` and `trust_reason` in info, `trust` per atom."""
    if trust is not None:
        frame.info |= {f"trust_{key}": trust[key] for key in ("score", "inside", "reason")}
        frame.arrays["trust"] = trust["atoms"]


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


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
        parts[name] = np.split(array, bounds) if name in _PER_ATOM else array
    results = [{name: part[g] for name, part in parts.items()} for g in range(len(sizes))]
    numbers = ("energy", "energy_std")
    return [{k: float(v) if k in numbers else v for k, v in r.items()} for r in results]
