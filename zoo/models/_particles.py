"""Charged particles as the networks of the N-body table take them."""

from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch_geometric.data import Batch

from zoo.errors import DataError, UnsupportedInputError
from zoo.functional.complete_graph import complete_edges
from zoo.functional.scatter import scatter_mean
from zoo.models._inputs import SampleBatch, get


class Charged(NamedTuple):
    """Particles, and what every network makes of them first."""

    #: positions (n, d)
    pos: Tensor
    #: the same from the centre of each sample
    centred: Tensor
    vel: Tensor
    charge: Tensor
    #: the sample of each particle (n,), and how many there are
    sample: Tensor
    samples: int
    #: all ordered pairs of a sample: who is heard (row 0), and by whom (row 1)
    edges: Tensor
    #: product of the charges of each pair (edges, 1)
    product: Tensor


def charged(batch: SampleBatch) -> Charged:
    """Centres particles and joins all pairs of each sample.

    Args:
        batch: PyG's `Batch` with `pos`, `vel` (n, d) and `charge` (n,).
    """
    graph = cast(Batch, batch)
    counts, charge = torch.diff(graph.ptr), graph.charge.to(graph.pos)
    sample = torch.repeat_interleave(counts)
    centre = scatter_mean(graph.pos, sample, counts.shape[0]).index_select(0, sample)
    edges = complete_edges(counts).flip(0)
    of, to = edges
    product = charge.index_select(0, to) * charge.index_select(0, of)
    return Charged(
        graph.pos,
        graph.pos - centre,
        graph.vel,
        charge,
        sample,
        counts.shape[0],
        edges,
        product[:, None],
    )


def check_charged(
    batch: SampleBatch, title: str, *, velocity: bool = True, charges: bool = True
) -> None:
    """Refuses particles without velocities or charges, or with some of another shape or precision.

    Args:
        batch: of particles; charges may be integers.
        title: names the model in the message.
        velocity: whether the model takes velocities.
        charges: whether it takes charges.

    Raises:
        UnsupportedInputError: names the field, its shape and the one that was expected.
        DataError: for another precision than that of the positions.
    """
    pos = cast(Tensor, get(batch, "pos"))
    wanted = {"vel": tuple(pos.shape)} if velocity else {}
    wanted |= {"charge": (pos.shape[0],)} if charges else {}
    for name, shape in wanted.items():
        value = get(batch, name)
        if value is None or tuple(value.shape) != shape:
            found = "nothing" if value is None else str(tuple(value.shape))
            raise UnsupportedInputError(
                f"{title} takes {name} of the shape {shape}, one entry for each particle, not "
                f"{found}; an array of another name is named by keys={{{name!r}: ...}}"
            )
        whole = name == "charge" and not (value.is_floating_point() or value.is_complex())
        if value.dtype != pos.dtype and not whole:
            raise DataError(
                f"{title} takes {name} in the precision of pos, {pos.dtype}, not in {value.dtype}; "
                "cast one of the two, or give raw samples (a list), which are cast"
            )
