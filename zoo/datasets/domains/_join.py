"""Samples of one domain to one batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo.datasets.domains._dataset import Sample
from zoo.errors import DataError


def join(samples: Sequence[Sample]) -> Batch | dict[str, Tensor]:
    """Joins samples of a data set.

    Args:
        samples: with the same fields.

    Returns:
        PyG's `Batch` for graph-like samples; else each field with a leading axis for the samples.

    Raises:
        DataError: for no samples, different fields, or arrays of different shapes.
    """
    if not samples:
        raise DataError("there are no samples to join into a batch; is the split empty?")
    fields = [set(sample.keys()) for sample in samples]
    for index, names in enumerate(fields):
        if names != fields[0]:
            raise DataError(
                f"sample {index} of the batch has the fields {sorted(names)}, sample 0 has "
                f"{sorted(fields[0])}; all must have the same"
            )
    graphs = [sample for sample in samples if isinstance(sample, Data)]
    if graphs:
        return Batch.from_data_list(graphs)
    plain = [sample for sample in samples if not isinstance(sample, Data)]
    joined = {}
    for name in plain[0]:
        values = [sample[name] for sample in plain]
        for index, value in enumerate(values):
            if value.shape != values[0].shape:
                raise DataError(
                    f"{name} has shape {tuple(value.shape)} in sample {index} of the batch and "
                    f"{tuple(values[0].shape)} in sample 0; take one sample at a time, or pad them"
                )
        joined[name] = torch.stack(values)
    return joined
