"""Samples of any domain but atoms to a batch in a model's precision.

One table says what the samples of each domain look like to a model; a new domain is a new row.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from zoo.datasets.domains import DOMAINS, join
from zoo.errors import UnsupportedInputError, nearest

#: what `forward` takes: PyG's batch of a graph-like domain, or tensors with a leading axis
SampleBatch: TypeAlias = Data | dict[str, Tensor]
#: samples as users have them
Raw: TypeAlias = Data | Mapping[str, Any] | Tensor | np.ndarray | Sequence[Any]


@dataclass(frozen=True)
class Form:
    """What one sample of a domain looks like.

    Attributes:
        fields: that every sample has, the main one first.
        rank: axes of the main field (the fewest, where it varies).
        words: the main field in words, for messages.
    """

    fields: tuple[str, ...]
    rank: int
    words: str


FORMS = {
    "particles": Form(("pos", "vel"), 2, "pos and vel (n, d)"),
    "points": Form(("pos",), 2, "pos (n, 3)"),
    "complex": Form((), 0, "incidence index lists"),
    "graph": Form(("x", "edge_index"), 2, "x (n, f) and edge_index (2, e)"),
    "matrix": Form(("x",), 2, "x (n, n) or (n, p)"),
    "signal": Form(("x",), 2, "x (channels, times)"),
    "tensor": Form(("x",), 1, "x (n, ..., n)"),
    "image": Form(("x",), 3, "x (channels, height, width)"),
    "field": Form(("x",), 3, "x (channels, ..., width)"),
    "sequence": Form(("x",), 2, "x (steps, features), or tokens (steps,)"),
    "vector": Form(("x",), 1, "x (features,)"),
}
_BYTES = 255.0  # uint8 pictures become 0 to 1


def graph_like(domain: str) -> bool:
    """Whether the samples of a domain are PyG's `Data`."""
    return DOMAINS[domain].container is not None


def batch_of(
    inputs: Raw,
    domain: str,
    dtype: torch.dtype,
    *,
    rank: int | None = None,
    device: torch.device | str = "cpu",
) -> SampleBatch:
    """The batch of some samples.

    Args:
        inputs: a sample or a list of samples, as `zoo.datasets.open` gives them: PyG's `Data` for
            graph-like domains, else a mapping of arrays or tensors with `x`, or `x` alone. A
            mapping whose `x` has one axis more than a sample's is a batch already, and so is an
            array.
        domain: which domain.
        dtype: of everything that is a floating-point number. Whole numbers become it too where
            they are the features (`x` of all domains but `sequence`, where they are tokens);
            pictures of bytes are divided by 255.
        rank: axes of one sample's `x`; what the domain says if None.
        device: where the batch goes.

    Returns:
        PyG's `Batch`, or tensors with a leading axis. Sequences of different lengths are padded
        with zeros at the end, and `lengths` (samples,) says where each ends.

    Raises:
        UnsupportedInputError: for samples of another kind, none of them, missing fields, numbers
            that are not finite.
        DataError: for samples that do not fit together.
    """
    batch = _graphs(inputs, domain) if graph_like(domain) else _stacked(inputs, domain, rank)
    batch = cast(batch, domain, dtype)
    for name, value in items(batch):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise UnsupportedInputError(
                f"the samples' {name} is NaN or infinite somewhere; leave such samples out, or "
                "fill the gaps"
            )
    if isinstance(batch, Data):
        return batch.to(device)
    return {name: value.to(device) for name, value in batch.items()}


def cast(batch: SampleBatch, domain: str, dtype: torch.dtype) -> SampleBatch:
    """The same batch in another precision; see `batch_of`."""
    changed = {name: _cast(name, value, domain, dtype) for name, value in items(batch)}
    if isinstance(batch, Data):
        return replaced(batch, changed)
    return changed


def replaced(batch: SampleBatch, fields: Mapping[str, Tensor]) -> SampleBatch:
    """A batch with some fields replaced; the given one stays as it is."""
    if not isinstance(batch, Data):
        return {**batch, **fields}
    result = copy.copy(batch)
    for name, value in fields.items():
        result[name] = value
    return result


def items(batch: SampleBatch) -> list[tuple[str, Tensor]]:
    """The tensors of a batch by name."""
    pairs = batch.to_dict().items() if isinstance(batch, Data) else batch.items()
    return [(name, value) for name, value in pairs if isinstance(value, Tensor)]


def get(batch: SampleBatch, name: str) -> Tensor | None:
    """One field of a batch, None where there is none."""
    value = batch.get(name)
    return value if isinstance(value, Tensor) else None


def check_indices(batch: Data, title: str) -> None:
    """Refuses edges and pairs that name nodes which aren't there.

    Args:
        batch: graphs; looked at where they have features of nodes.
        title: names the model in the message.

    Raises:
        UnsupportedInputError: an `edge_index` or `edge_label_index` of another shape or kind, or
            out of range; names the worst values.
    """
    x = get(batch, "x")
    for name in ("edge_index", "edge_label_index"):
        index = get(batch, name)
        if x is None or index is None:
            continue
        if index.ndim != 2 or len(index) != 2 or index.dtype not in (torch.int64, torch.int32):
            raise UnsupportedInputError(
                f"{title}: {name} has the shape {tuple(index.shape)} in {index.dtype}; expected "
                "(2, number of pairs) in int64, sources and targets"
            )
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(x):
            raise UnsupportedInputError(
                f"{title}: {name} names the nodes {int(index.min())}..{int(index.max())}, but x "
                f"has the {len(x)} nodes 0..{len(x) - 1}; number nodes from 0, and give a row of x "
                "for each"
            )


def check_lengths(batch: SampleBatch, title: str) -> None:
    """Refuses lengths of sequences that their steps don't have.

    Args:
        batch: `x` (samples, steps, ...), and `lengths` (samples,) where they differ.
        title: names the model in the message.

    Raises:
        UnsupportedInputError: lengths of another shape or kind, or out of range.
    """
    x, lengths = get(batch, "x"), get(batch, "lengths")
    if x is None or lengths is None:
        return
    if tuple(lengths.shape) != (len(x),) or lengths.dtype not in (torch.int64, torch.int32):
        raise UnsupportedInputError(
            f"{title}: lengths have the shape {tuple(lengths.shape)} in {lengths.dtype}; expected "
            f"({len(x)},) in int64, one for each sample"
        )
    if lengths.numel() and not 0 <= int(lengths.min()) <= int(lengths.max()) <= x.shape[1]:
        raise UnsupportedInputError(
            f"{title}: lengths lie in {int(lengths.min())}..{int(lengths.max())}, but x has "
            f"{x.shape[1]} steps"
        )


def check_labels(y: Tensor, classes: int, title: str) -> Tensor:
    """The labels in int64, once they are known to be classes.

    Args:
        y: labels.
        classes: how many there are.
        title: names the model in the message.

    Raises:
        UnsupportedInputError: labels beyond the classes; names the worst values.
    """
    if y.numel() and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise UnsupportedInputError(
            f"{title}: the labels y lie in {int(y.min())}..{int(y.max())}; the {classes} classes "
            f"are 0..{classes - 1}: number them from 0, or make the model with out_channels="
            f"{int(y.max()) + 1}"
        )
    return y.long()


def count(batch: SampleBatch) -> int:
    """The number of samples in a batch."""
    if isinstance(batch, Data):
        return int(batch.num_graphs) if isinstance(batch, Batch) else 1
    return len(next(iter(batch.values())))


def _cast(name: str, value: Tensor, domain: str, dtype: torch.dtype) -> Tensor:
    if value.is_floating_point():
        return value.to(dtype)
    if name != "x" or domain == "sequence":
        return value
    return value.to(dtype) / _BYTES if value.dtype == torch.uint8 else value.to(dtype)


def _graphs(inputs: Raw, domain: str) -> Batch:
    if isinstance(inputs, Batch):
        return inputs
    samples = [inputs] if isinstance(inputs, Data) else inputs
    listed = list(samples) if isinstance(samples, Sequence) else []
    wrong = [type(sample).__name__ for sample in listed if not isinstance(sample, Data)]
    if wrong or not listed:
        found = wrong[0] if wrong else _kind(inputs)
        raise UnsupportedInputError(
            f"samples of the domain {domain!r} are torch_geometric.data.Data with "
            f"{FORMS[domain].words}, one or a list of them, not {found}"
        )
    batch = join(listed)
    assert isinstance(batch, Batch)
    return batch


def _kind(inputs: Any) -> str:
    if isinstance(inputs, Sequence) and not len(inputs):
        return "an empty list"
    return type(inputs).__name__


def _stacked(inputs: Raw, domain: str, rank: int | None) -> dict[str, Tensor]:
    rank = FORMS[domain].rank if rank is None else rank
    if isinstance(inputs, (Tensor, np.ndarray)):
        inputs = {"x": inputs}
    if isinstance(inputs, Mapping):
        sample = _tensors(inputs, domain, 0)
        return sample if sample["x"].ndim > rank else {k: v[None] for k, v in sample.items()}
    if not isinstance(inputs, Sequence) or isinstance(inputs, str) or not len(inputs):
        raise UnsupportedInputError(
            f"samples of the domain {domain!r} are mappings with {FORMS[domain].words}, one or a "
            f"list of them, not {_kind(inputs)}"
        )
    samples = [_tensors(sample, domain, place) for place, sample in enumerate(inputs)]
    if domain == "sequence" and len({len(sample["x"]) for sample in samples}) > 1:
        samples = _padded(samples)
    joined = join(samples)
    assert not isinstance(joined, Data)
    return joined


def _tensors(sample: Any, domain: str, place: int) -> dict[str, Tensor]:
    """One sample as tensors."""
    if isinstance(sample, (Tensor, np.ndarray)):
        sample = {"x": sample}
    if not isinstance(sample, Mapping):
        raise UnsupportedInputError(
            f"sample {place} is a {type(sample).__name__}; a sample of the domain {domain!r} is a "
            f"mapping with {FORMS[domain].words}"
        )
    if "x" not in sample:
        raise UnsupportedInputError(
            f"sample {place} has no x, but {', '.join(sample) or 'nothing'}: "
            f"{nearest('x', sample)} The domain {domain!r} needs {FORMS[domain].words}"
        )
    return {name: _tensor(name, value, place) for name, value in sample.items()}


def _tensor(name: str, value: Any, place: int) -> Tensor:
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise UnsupportedInputError(
            f"sample {place}: {name} holds {array.dtype}, no numbers; give real arrays"
        )
    return torch.tensor(array)


def _padded(samples: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Every field that runs along the steps padded with zeros to the longest; adds `lengths`."""
    lengths = [len(sample["x"]) for sample in samples]
    longest = max(lengths)
    along = [
        name
        for name in samples[0]
        if all(s[name].ndim and len(s[name]) == n for s, n in zip(samples, lengths, strict=True))
    ]
    result = []
    for sample, length in zip(samples, lengths, strict=True):
        padded = dict(sample)
        for name in along:
            value = sample[name]
            padded[name] = torch.cat([value, value.new_zeros(longest - length, *value.shape[1:])])
        result.append(padded | {"lengths": torch.tensor(length)})
    return result
