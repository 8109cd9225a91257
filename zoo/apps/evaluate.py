"""Errors of a model on labelled structures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo import datasets, hub
from zoo.datasets import AtomsDataset
from zoo.errors import DataError
from zoo.models._atomistic import AtomisticModel
from zoo.training.metrics import UNITS as UNITS
from zoo.training.metrics import assess


def evaluate(
    model: AtomisticModel | str | Path,
    data: AtomsDataset | str | Path,
    *,
    split: str | None = None,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    batch_size: int = 16,
    head: str | None = None,
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
        head: the energy head to evaluate; the model's first if None.
        progress: called with (structures done, structures in all).

    Returns:
        Metric -> value, in the units of `UNITS`: `energy_mae` (meV), `energy_mae_offset` (meV,
        the best constant per element taken off), `energy_mae_per_atom` (meV/atom), `forces_mae`
        and `forces_rmse` (meV/Å), `forces_cosine`, `stress_mae` (meV/Å³); only what the data set
        labels and the model predicts.

    Raises:
        DataError: if the data has no label that the model predicts.
        UnknownNameError: if there is no such split, or no such head.
    """
    network = model if isinstance(model, AtomisticModel) else hub.load(model)
    dataset = data
    if not isinstance(dataset, AtomsDataset):
        dataset = datasets.open(dataset, keys=keys, units=units, domain="atoms")
    if split is not None:
        dataset = dataset.split(split)
    dataset.check()
    if not dataset.labels & set(network.outputs):
        raise DataError(
            f"{dataset.source} labels {sorted(dataset.labels) or 'nothing'} and the model predicts "
            f"{sorted(network.outputs)}, so there is nothing to compare; name the labels with "
            "keys= (--key energy=REF_energy)"
        )
    return assess(network, dataset, batch_size=batch_size, head=head, progress=progress).metrics


def rows(metrics: Mapping[str, float]) -> list[dict[str, Any]]:
    """Metrics as table rows with their units."""
    return [{"metric": k, "value": v, "unit": UNITS.get(k, "")} for k, v in metrics.items()]
