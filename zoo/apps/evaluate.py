"""Errors of a model on labelled structures, or how well it does its task on other samples."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo import datasets, hub
from zoo.apps._samples import in_order, open_for
from zoo.datasets import AtomsDataset, Dataset, DomainDataset
from zoo.errors import CapabilityError, DataError
from zoo.models._atomistic import AtomisticModel
from zoo.models._sample import SampleModel
from zoo.training.evidence import check_units
from zoo.training.metrics import UNITS as UNITS
from zoo.training.metrics import assess
from zoo.training.tasks import assess_samples


def evaluate(
    model: AtomisticModel | SampleModel | str | Path,
    data: Dataset[Any] | str | Path,
    *,
    split: str | None = None,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    batch_size: int = 16,
    head: str | None = None,
    any_units: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Compares a model with labels.

    Args:
        model: a model, the name of a checkpoint, or the folder of saved weights.
        data: an open data set, a file, or the name of a shipped set.
        split: only this split of the data set, such as "test".
        keys: where the labels are, such as `{"energy": "REF_energy"}` (with a file).
        units: of the file, where the format has none (with a file).
        batch_size: structures per model call.
        head: the energy head to evaluate; the model's first if None. For atoms only.
        any_units: accept labels that look as if they were in other units than stated.
        progress: called with (structures done, structures in all).

    Returns:
        Metric -> value, in the units of `UNITS`: `energy_mae` (meV), `energy_mae_offset` (meV,
        the best constant per element taken off), `energy_mae_per_atom` (meV/atom), `forces_mae`
        and `forces_rmse` (meV/Å), `forces_cosine`, `stress_mae` (meV/Å³), and of
        each property its `<property>_mae` and `<property>_r2`; only what the data set labels and
        the model predicts. Outside atoms the metrics of the model's task, such as
        `accuracy` and `balanced_accuracy`.

    Raises:
        DataError: if the data has no label that the model predicts, or classes that it does not
            know, or if labels or positions are, by the evidence, in other units than stated.
        CapabilityError: for `head` or `any_units` outside atoms.
        UnknownNameError: if there is no such split, or no such head.
    """
    network = hub.load(model) if isinstance(model, (str, Path)) else model
    if isinstance(network, SampleModel):
        if head is not None:
            raise CapabilityError(f"{network.domain} has no energy heads; leave out head={head!r}")
        if any_units:
            raise CapabilityError("any_units is for labels of atoms; leave it out")
        reading = {"keys": keys, "units": units}
        return _on_samples(network, data, split, reading, batch_size, progress)
    if isinstance(data, AtomsDataset):
        dataset = data
    elif isinstance(data, (str, Path)):
        dataset = datasets.open(data, keys=keys, units=units, domain="atoms")
    else:
        raise DataError(f"{data.source} is of the domain {data.domain!r}; the model takes atoms")
    if split is not None:
        dataset = dataset.split(split)
    dataset.check()
    if not dataset.labels & set(network.outputs):
        raise DataError(
            f"{dataset.source} labels {sorted(dataset.labels) or 'nothing'} and the model predicts "
            f"{sorted(network.outputs)}, so there is nothing to compare; name the labels with "
            "keys= (--key energy=REF_energy)"
        )
    found = assess(network, dataset, batch_size=batch_size, head=head, progress=progress)
    if not any_units:
        check_units(found, dataset)
    return found.metrics


def _on_samples(
    model: SampleModel,
    data: Dataset[Any] | str | Path,
    split: str | None,
    reading: Mapping[str, Any],
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, float]:
    if isinstance(data, DomainDataset):
        dataset = in_order(model, data)
        dataset.check()
    elif isinstance(data, (str, Path)):
        dataset = open_for(model, data, **reading)
    else:
        raise DataError(f"the model takes the domain {model.domain!r}, not {data.domain!r}")
    if dataset.domain != model.domain:
        raise DataError(
            f"{dataset.source} is of the domain {dataset.domain!r}, the model takes "
            f"{model.domain!r}; open the file with domain={model.domain!r}"
        )
    found = assess_samples(model, dataset, split=split, batch_size=batch_size, progress=progress)
    return found.metrics


def rows(metrics: Mapping[str, float]) -> list[dict[str, Any]]:
    """Metrics as table rows with their units."""
    return [{"metric": k, "value": v, "unit": UNITS.get(k, "")} for k, v in metrics.items()]
