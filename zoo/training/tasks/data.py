"""Samples of any domain but atoms to batches, with what a task adds to them.

A batch may carry `weight` (samples,), how much each sample counts (column `weight` of the data
set), `domain` (samples,), and `rows` (nodes,), which nodes of the only graph belong to the split.
For link prediction, the non-edges of training are drawn anew in each pass, from the seed and the
number of the pass alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data

from zoo.errors import DataError
from zoo.models._inputs import SampleBatch, batch_of, graph_like, items
from zoo.training._loading import BatchesModule
from zoo.training.batches import EpochBatches, Indices
from zoo.training.data import column_weights
from zoo.training.recipe import TrainerSection
from zoo.training.replay import ReplayBatches
from zoo.training.tasks.kinds import Task
from zoo.training.tasks.parts import Part

if TYPE_CHECKING:
    from zoo.training.tasks.neighbors import NeighborSamples

TRIES = 100  # rounds of drawing non-edges


class TaskSamples(Dataset[SampleBatch]):
    """Batches of one split.

    Args:
        part: the split.
        task: what is learnt.
        dtype: precision of the model.
        replayed: further samples, whose indices follow.
        rank: axes of one sample's main field, as the model takes it.
        negatives_seed: draws the non-edges of link prediction anew in each pass; None leaves those
            of the data.
        labelled: whether batches carry labels.
        keep: bytes that the batch of all samples may take to be kept.
    """

    def __init__(
        self,
        part: Part,
        task: Task,
        dtype: torch.dtype,
        *,
        rank: int | None,
        negatives_seed: int | None = None,
        labelled: bool = True,
        replayed: Part | None = None,
        keep: int = 2**31,
    ) -> None:
        self.part, self.task, self.dtype = part, task, dtype
        self.parts = [part] if replayed is None else [part, replayed]
        self._rank, self._keep, self._labelled = rank, keep, labelled
        self._seed = negatives_seed
        self._all: dict[str, Tensor] | None = None
        self._weights = _joined_column(
            [column_weights(p.data) for p in self.parts], self.parts, 1.0
        )
        numbers = [None if p.domains is None else torch.from_numpy(p.domains) for p in self.parts]
        self._domains = _joined_column(numbers, self.parts, 0)
        self._samples: dict[int, Any] = {}

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    @property
    def redraws(self) -> bool:
        """Whether an index is the number of a pass over the only graph."""
        return self._seed is not None

    def __getitem__(self, indices: Sequence[int]) -> SampleBatch:
        """The batch of some samples; without any, the first sample at weight zero.

        A process whose share of a batch is empty takes part in the step all the same.
        """
        chosen = [0] if self.redraws or not len(indices) else [int(i) for i in indices]
        batch = self._joined(chosen)
        if self.redraws and isinstance(batch, Data):
            run = int(indices[0]) if len(indices) else 0
            batch = redraw(batch, self.task.section.negatives, (self._seed or 0, run))
        return self._with_extras(batch, chosen, empty=not len(indices))

    def _joined(self, chosen: list[int]) -> SampleBatch:
        if not graph_like(self.part.data.domain):
            whole = self._whole()
            if whole is not None:
                index = torch.tensor(chosen)
                return {name: value[index] for name, value in whole.items()}
        samples = [self._sample(i) for i in chosen]
        return batch_of(samples, self.part.data.domain, self.dtype, rank=self._rank)

    def _whole(self) -> dict[str, Tensor] | None:
        """All samples as one batch, where they have one length and fit into memory."""
        if self._all is None and self._keep:
            first = self.part.data[0]
            size = sum(t.numel() * max(t.element_size(), 8) for _, t in items(first))
            fits = size * len(self) <= self._keep
            alike = fits and self.part.data.domain != "sequence"
            if alike:
                samples = [self._fresh(i) for i in range(len(self))]
                made = batch_of(samples, self.part.data.domain, self.dtype, rank=self._rank)
                assert not isinstance(made, Data)
                self._all = made
            else:
                self._keep = 0
        return self._all

    def _sample(self, index: int) -> Any:
        if index not in self._samples:
            sample = self._fresh(index)
            if len(self) > 1 and index > 4096:  # what is kept stays small beside the data set
                return sample
            self._samples[index] = sample
        return self._samples[index]

    def _fresh(self, index: int) -> Any:
        """One sample, its class numbered as the model has it."""
        inside = index < len(self.part)
        part = self.part if inside else self.parts[1]
        sample = part.data[index if inside else index - len(self.part)]
        if part.renumbered is not None and self.task.label in sample:
            number = torch.from_numpy(part.renumbered)
            sample[self.task.label] = number[sample[self.task.label]]
        return sample

    def _with_extras(self, batch: SampleBatch, chosen: list[int], *, empty: bool) -> SampleBatch:
        index = torch.tensor(chosen)
        extra: dict[str, Tensor] = {}
        if self._domains is not None:
            extra["domain"] = self._domains[index]
        if self._weights is not None:
            extra["weight"] = self._weights[index].to(self.dtype)
        if empty:
            extra["weight"] = torch.zeros(1, dtype=self.dtype)
        if self.part.mask is not None:
            extra["rows"] = batch[self.part.mask]
        for name, value in extra.items():
            batch[name] = value
        if not self._labelled:
            for name in {"y", self.task.label, "edge_label"}:
                if name and name in batch:
                    del batch[name]
        return batch


def _joined_column(
    columns: Sequence[Tensor | None], parts: Sequence[Part], default: float
) -> Tensor | None:
    """One column of all parts; parts without it get the default."""
    if all(column is None for column in columns):
        return None
    like = next(column for column in columns if column is not None)
    filled = [
        torch.full((len(part),), default).to(like.dtype) if column is None else column
        for column, part in zip(columns, parts, strict=True)
    ]
    return torch.cat(filled)


def redraw(batch: Data, each: int, seed: tuple[int, ...]) -> Data:
    """The same batch with other non-edges: pairs of one graph's nodes that no edge joins.

    Args:
        batch: with `edge_index`, and with pairs in `edge_label_index`, `edge_label`.
        each: non-edges per edge.
        seed: decides which.

    Raises:
        DataError: the graph is so dense that there are too few.
    """
    edges = batch.edge_label_index[:, batch.edge_label > 0]
    count, nodes = each * edges.shape[1], int(batch.num_nodes or 0)
    ptr = batch.ptr.numpy() if isinstance(batch, Batch) else np.array([0, nodes])
    taken = [batch.edge_index, batch.edge_index.flip(0), edges, edges.flip(0)]
    known = np.unique(np.concatenate([(pair[0] * nodes + pair[1]).numpy() for pair in taken]))
    rng = np.random.default_rng(seed)
    found: list[Indices] = []
    missing = count
    for _ in range(TRIES):
        first = rng.integers(nodes, size=missing)
        graph = np.searchsorted(ptr, first, side="right") - 1
        second = ptr[graph] + rng.integers(ptr[graph + 1] - ptr[graph])
        key = first * nodes + second
        free = (first != second) & ~np.isin(key, known)
        found.append(np.stack([first, second])[:, free])
        missing -= int(free.sum())
        if not missing:
            break
    if missing:
        raise DataError(
            f"the graph has too few pairs without an edge to draw {count} of them; lower "
            "task.negatives"
        )
    drawn = torch.from_numpy(np.concatenate(found, axis=1))
    batch = batch.clone()
    batch.edge_label_index = torch.cat([edges, drawn.to(edges.dtype)], dim=1)
    if "edge_label_type" in batch:  # false triples of the same relations
        kinds = batch.edge_label_type[batch.edge_label > 0]
        batch.edge_label_type = torch.cat([kinds, kinds.repeat(each)])
    batch.edge_label = torch.cat([torch.ones(edges.shape[1]), torch.zeros(count)])
    return batch


class Passes(EpochBatches):
    """One batch per pass: its index is the number of the pass."""

    def _order(self, run: int) -> Indices:
        return np.array([run])


def make_batches(
    train: "TaskSamples | NeighborSamples",
    val: TaskSamples,
    options: TrainerSection,
    *,
    fraction: float = 0.0,
) -> BatchesModule:
    """Training and validation batches; `fraction` of each training batch is replayed."""
    if fraction:
        fresh, old = (len(part) for part in train.parts)
        size, seed, passes = options.batch_size, options.seed, options.val_every
        mixed = ReplayBatches(fresh, size, fraction, old, seed=seed, passes=passes)
        return BatchesModule(train, val, options, batches=mixed, val_size=len(val))
    kind = Passes if train.redraws else EpochBatches
    batches = kind(
        1 if train.redraws else len(train),
        options.batch_size,
        seed=options.seed,
        passes=options.val_every,
        even=True,
    )
    return BatchesModule(train, val, options, batches=batches, val_size=len(val))
