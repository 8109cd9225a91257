"""A canonical order of the points of each sample, which makes any model indifferent to theirs.

Lin, Helwig, Gui, Ji, ICML 2024, arXiv:2406.07598, have minimal frames of S_n, too: a set has one
canonical form, sorted. Points are sorted by their coordinates in the frame that they are seen in,
the axis of the largest extent first, then by what else is known of them. Coordinates that differ by
rounding count as the same, so that flat and symmetric sets have one order; points that agree in
everything may stand in any.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data

from zoo.errors import UnsupportedInputError
from zoo.functional.frames import GAP
from zoo.layers.symmetry._actions import Batch

#: what is compared beside positions and vectors
_FIELDS = ("x", "charge", "mass", "atomic_numbers")


def canonical_order(
    keys: list[Float[Tensor, "rows _"]], sample: Int[Tensor, " rows"], samples: int
) -> Int[Tensor, " rows"]:
    """Numbers of the rows, those of a sample together, sorted by the first column, then the next.

    Args:
        keys: columns, those of one quantity together; values that are the same up to rounding,
            measured by the largest of the quantity, count as one.
        sample: of each row.
        samples: how many there are.
    """
    columns = [(c, k.detach().abs().amax(1)) for k in keys for c in k.detach().unbind(1)]
    order = torch.arange(len(sample), device=sample.device)
    for values, size in reversed(columns):
        near = GAP[values.dtype] * size.new_zeros(samples).scatter_reduce(0, sample, size, "amax")
        place = torch.argsort(values, stable=True)
        place = place[torch.argsort(sample[place], stable=True)]
        step = values[place].diff(prepend=values[place][:1])
        rank = torch.zeros_like(place)
        rank[place] = (step.abs() > near[sample[place]]).cumsum(0)
        order = order[torch.argsort(rank[order], stable=True)]
    return order[torch.argsort(sample[order], stable=True)]


class Sorted:
    """The points of a batch in their canonical order, and back.

    Args:
        batch: as the model would see it.
        field: with the positions.
        vectors: fields with vectors.
        owner: the sample of each row of the positions.
        samples: how many there are.

    Raises:
        UnsupportedInputError: for graphs, whose edges name points, and dicts of single vectors.
    """

    def __init__(
        self, batch: Batch, field: str, vectors: tuple[str, ...], owner: Tensor, samples: int
    ) -> None:
        value = batch[field]
        self.sets = not isinstance(batch, Data)
        if self.sets and value.ndim != 3:
            raise UnsupportedInputError(
                f"the order of points: {field} has the shape {tuple(value.shape)}; sets are "
                "(samples, points, n)"
            )
        fields = batch.to_dict() if isinstance(batch, Data) else {}
        names = [name for name in fields if name.endswith("_index")]
        if any(batch[name].numel() for name in names):
            raise UnsupportedInputError(
                f"the order of points: {names[0]} names points by their numbers; sets and clouds "
                "without edges are sorted, and models of graphs know no order anyway"
            )
        rows = value.flatten(0, 1) if self.sets else value
        self.size = value.shape[1] if self.sets else 1
        sample = owner.repeat_interleave(self.size) if self.sets else owner
        keys = [rows.flip(1)]
        for name in (*vectors, *_FIELDS):
            known = None if self.sets or name == field else batch.get(name)
            if isinstance(known, Tensor) and len(known) == len(rows):
                keys.append(known.reshape(len(rows), -1).to(rows.dtype))
        self.order = canonical_order([key for key in keys if key.shape[1]], sample, samples)
        self.field, self.rows = field, len(rows)

    def batch(self, batch: Batch) -> Any:
        """The sorted batch."""
        if self.sets:
            value = batch[self.field]
            return {**batch, self.field: value.flatten(0, 1)[self.order].reshape(value.shape)}
        assert isinstance(batch, Data)
        result = copy.copy(batch)
        for name, value in batch.to_dict().items():
            if isinstance(value, Tensor) and value.ndim and len(value) == self.rows:
                result[name] = value[self.order]
        return result

    def back(self, value: Tensor) -> Tensor:
        """An output in the order of the input: rows of clouds, the second axis of sets."""
        if self.sets:
            if value.ndim < 3 or value.shape[0] * value.shape[1] != self.rows:
                return value
            flat = value.flatten(0, 1)
            return torch.zeros_like(flat).index_copy(0, self.order, flat).reshape(value.shape)
        if not value.ndim or len(value) != self.rows:
            return value
        return torch.zeros_like(value).index_copy(0, self.order, value)
