"""Predictions on samples of every domain but atoms: reading, evaluating, writing."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo import datasets
from zoo._files import write_atomic
from zoo.datasets import DomainDataset
from zoo.errors import ConfigError, DataError, ZooError
from zoo.models import _inputs
from zoo.models._sample import SampleModel

FORMATS = ("npz", "csv", "json")
#: what stands first in tables
_FIRST = ("class", "class_index", "probabilities", "prediction", "score", "probability")
#: axes of a value that belongs to one sample, node or pair; one for what isn't named
_RANKS = {"class": 0, "class_index": 0, "score": 0, "probability": 0}
Progress = Callable[[int, int], None]


def open_for(
    model: SampleModel,
    path: str | PathLike[str],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    splits: Mapping[str, Any] | None = None,
) -> DomainDataset:
    """Opens a file as the domain of a model, its features in the model's order; checks samples.

    Args:
        model: that will get the samples.
        path: as for `zoo.datasets.open`.
        keys: field -> the file's name for it.
        units: must be None: only atoms have units.
        splits: a description of the splits.

    Raises:
        DataError: for a file that is not of the model's domain, holds what the domain rules out,
            or has features of other names than the model knows.
        ConfigError: for units, or an unknown key.
    """
    dataset = datasets.open(path, keys=keys, units=units, splits=splits, domain=model.domain)
    assert isinstance(dataset, DomainDataset)
    dataset.check()
    return in_order(model, dataset)


def in_order(model: SampleModel, dataset: DomainDataset) -> DomainDataset:
    """A data set with its features in the model's order.

    Raises:
        DataError: for features of other names than the model knows.
    """
    order = feature_order(model, dataset)
    return dataset if order is None else dataset.with_features(np.array(order))


def feature_order(model: SampleModel, dataset: DomainDataset) -> list[int] | None:
    """Where the model's features are among those of a file; None if nothing has to move.

    Raises:
        DataError: naming features that are missing, or that the model does not know.
    """
    wanted, found = model.feature_names, dataset.metadata.get("features")
    if wanted is None or found is None or tuple(found) == wanted:
        return None
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    if missing or extra:
        raise DataError(
            f"{dataset.source} has the features {', '.join(found)}; the model was trained on "
            f"{', '.join(wanted)}"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + (f"; unknown: {', '.join(extra)} (remove these columns)" if extra else "")
        )
    return [list(found).index(name) for name in wanted]


def evaluate_samples(
    model: SampleModel,
    samples: Sequence[Any],
    *,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """What a model says about each sample.

    Args:
        model: it is put into evaluation mode meanwhile.
        samples: as the model takes them.
        batch_size: samples per model call.
        progress: called with (samples done, samples in all).

    Returns:
        One dict per sample, in order: the model's outputs as arrays in float64 (one row per node
        or pair where samples are graphs and the output has such rows); with `logits` also
        `probabilities`, `class_index` and, where the classes have names, `class`; with `score`
        also `probability`.

    Raises:
        ZooError: names the sample that can't be taken.
        ConfigError: if `batch_size` is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    results: list[dict[str, Any]] = [{} for _ in samples]
    training = model.training
    model.eval()
    done = 0
    try:
        for indices in _groups(samples, batch_size):
            for i, result in zip(indices, _call(model, samples, indices), strict=True):
                results[i] = _named(result, model.classes)
            done += len(indices)
            if progress is not None:
                progress(done, len(samples))
    finally:
        model.train(training)
    return results


def _groups(samples: Sequence[Any], size: int) -> Iterator[list[int]]:
    """Indices per call: samples of one shape and with the same fields together."""
    alike: dict[Any, list[int]] = {}
    for index, sample in enumerate(samples):
        alike.setdefault(_kind(sample), []).append(index)
    for group in alike.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _kind(sample: Any) -> Any:
    if isinstance(sample, Data):
        return tuple(sorted(sample.keys()))
    if isinstance(sample, Mapping):
        return tuple(sorted((name, np.shape(value)) for name, value in sample.items()))
    return np.shape(sample)


def _call(
    model: SampleModel, samples: Sequence[Any], indices: Sequence[int]
) -> list[dict[str, np.ndarray]]:
    chosen = [samples[i] for i in indices]
    try:
        batch = model.prepare(chosen)
        with torch.no_grad():
            found = model(batch)
    except ZooError as problem:
        if len(indices) > 1:  # find out which one it was
            return [_call(model, samples, [i])[0] for i in indices]
        raise type(problem)(f"sample {indices[0]}: {problem}") from problem
    return split_outputs(found, batch, getattr(model, "pairwise", ()))


def split_outputs(
    outputs: Mapping[str, Tensor], batch: _inputs.SampleBatch, pairwise: Sequence[str] = ()
) -> list[dict[str, np.ndarray]]:
    """The outputs of each sample of a batch, in float64 on the CPU.

    Args:
        outputs: of the batch.
        batch: the samples.
        pairwise: outputs with a row for each pair of nodes, beside `score`; if any, all of them.

    Raises:
        DataError: if an output has rows for neither samples, nodes nor pairs.
    """
    size = _inputs.count(batch)
    results: list[dict[str, np.ndarray]] = [{} for _ in range(size)]
    for name, value in outputs.items():
        array = value.detach().cpu().double().numpy()
        parts = _parts(name in pairwise or name == "score", name, array, batch, size)
        for result, part in zip(results, parts, strict=True):
            result[name] = part
    return results


def _parts(
    pairwise: bool, name: str, array: np.ndarray, batch: _inputs.SampleBatch, size: int
) -> list[np.ndarray] | np.ndarray:
    if not isinstance(batch, Batch):
        lengths = None if isinstance(batch, Data) else batch.get("lengths")
        if lengths is not None and lengths.ndim == 1 and array.ndim == 3:  # one row per step
            return [part[: int(n)] for part, n in zip(array, lengths, strict=True)]
        return array
    counts = _pair_counts(batch) if pairwise else batch.ptr.diff().tolist()
    if counts is not None and len(array) == sum(counts):
        return np.split(array, np.cumsum(counts)[:-1])
    if len(array) == size:
        return array
    raise DataError(
        f"the output {name!r} has {len(array)} rows, but the batch has {size} graphs and "
        f"{batch.num_nodes} nodes"
    )


def _pair_counts(batch: Batch) -> list[int] | None:
    """Pairs of each graph in `edge_label_index`, or edges where there is none."""
    pairs = _inputs.get(batch, "edge_label_index")
    pairs = _inputs.get(batch, "edge_index") if pairs is None else pairs
    if pairs is None:
        return None
    owner = batch.batch[pairs[0]]
    return torch.bincount(owner, minlength=batch.num_graphs).tolist()


def _named(result: dict[str, np.ndarray], classes: Sequence[str] | None) -> dict[str, Any]:
    """Adds probabilities and classes."""
    found: dict[str, Any] = dict(result)
    if "logits" in result:
        logits = result["logits"]
        shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
        found["probabilities"] = shifted / shifted.sum(axis=-1, keepdims=True)
        found["class_index"] = logits.argmax(axis=-1)
        if classes is not None:
            found["class"] = np.asarray(classes)[found["class_index"]]
    if "score" in result:
        found["probability"] = 0.5 * (1 + np.tanh(0.5 * result["score"]))
    return found


def write_samples(
    path: Path,
    results: Sequence[Mapping[str, Any]],
    model: SampleModel,
    *,
    form: str,
    name: str | None = None,
) -> None:
    """Writes predictions; the file appears complete or not at all.

    Args:
        path: the file.
        results: from `evaluate_samples`.
        model: whose name and classes are kept with them.
        form: "npz" (arrays by output, see `to_arrays`), "csv" (a line for each sample, node, pair
            or step) or "json".
        name: of the model; its own if None.

    Raises:
        ConfigError: for another form.
        OutputError: if the file can't be written.
    """
    if form not in FORMATS:
        raise ConfigError(f"unknown output format {form!r}; it is one of {', '.join(FORMATS)}")
    name = name or model.checkpoint_name or type(model).__name__
    if form == "json":
        lists = [{k: np.asarray(v).tolist() for k, v in result.items()} for result in results]
        write_atomic(path, json.dumps({"model": name, "results": lists}))
    elif form == "csv":
        write_atomic(path, to_csv(results, model.classes))
    else:
        arrays = to_arrays(results, graphs=_inputs.graph_like(model.domain)) | {
            "model": np.asarray(name)
        }
        if model.classes is not None:
            arrays["classes"] = np.asarray(model.classes)
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        write_atomic(path, stream.getvalue())


def to_arrays(
    results: Sequence[Mapping[str, Any]], *, graphs: bool = False
) -> dict[str, np.ndarray]:
    """Results as one array for each output.

    Args:
        results: from `evaluate_samples`.
        graphs: whether samples are graphs.

    Returns:
        (samples, ...); where shapes differ, and for nodes and pairs of graphs, the rows of all
        samples one after another, with `<output>_counts` (samples,), the rows of each.
    """
    arrays: dict[str, np.ndarray] = {}
    for name in results[0] if results else ():
        values = [np.asarray(result[name]) for result in results]
        rows = graphs and values[0].ndim > _RANKS.get(name, 1)
        if not rows and len({value.shape for value in values}) == 1:
            arrays[name] = np.stack(values)
        else:
            arrays[name] = np.concatenate(values)
            arrays[f"{name}_counts"] = np.array([len(value) for value in values])
    return arrays


def to_csv(results: Sequence[Mapping[str, Any]], classes: Sequence[str] | None) -> str:
    """Results as a table: a line for each sample, or for each of its rows.

    Columns: `sample`, `row` where samples have rows, `class`, `class_index`, `p_<class>`, and the
    numbers of every other output but the logits, `<output>_<k>` where it has several.
    """
    stream = io.StringIO()
    lines = [line for k, result in enumerate(results) for line in _lines(k, result, classes)]
    columns = list(dict.fromkeys(column for line in lines for column in line))
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _lines(
    number: int, result: Mapping[str, Any], classes: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    if "score" in result:  # lines are pairs; what belongs to nodes is for the other formats
        result = {name: result[name] for name in ("score", "probability")}
    first, value = next(iter(result.items()))
    count = len(value) if np.ndim(value) > _RANKS.get(first, 1) else None
    for row in range(1 if count is None else count):
        line: dict[str, Any] = {"sample": number}
        if count is not None:
            line["row"] = row
        for name in dict.fromkeys([*(key for key in _FIRST if key in result), *result]):
            if name != "logits":
                array = np.asarray(result[name] if count is None else result[name][row])
                line |= _cells(name, array, classes)
        yield line


def _cells(name: str, value: np.ndarray, classes: Sequence[str] | None) -> dict[str, Any]:
    if value.ndim == 0:
        return {name: value.item()}
    flat = value.ravel().tolist()
    if name == "probabilities":
        names = classes if classes is not None else range(len(flat))
        return {f"p_{key}": p for key, p in zip(names, flat, strict=True)}
    return {f"{name}_{k}": v for k, v in enumerate(flat)}
