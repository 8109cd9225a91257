"""Neighbour lists of molecules and periodic cells, as integers only.

A list holds which atoms are neighbours and through which cell image; displacements are always
recomputed from positions (`edge_vectors`), so that derivatives of any order are those of the
positions. Nothing is capped: every pair closer than the cutoff is listed, whatever the shape of
the cell, the mix of periodic directions and the ratio of cutoff to cell.

Each pair is found once (`neighbor_pairs`); the full list (`neighbor_list`) is the pairs followed
by their reversals, so edge `e + pairs` is edge `e` reversed. Row 0 is the source j, row 1 the
target i, and the displacement is `pos[j] + shift @ cell - pos[i]`.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from vesin import NeighborList

# Above these numbers of candidate pairs, a cell list on the host is faster than enumeration.
MAX_CANDIDATES = 4_000_000


def neighbor_pairs(
    pos: Float[Tensor, "atoms 3"],
    cutoff: float,
    batch: Int[Tensor, " atoms"] | None = None,
    cell: Float[Tensor, "graphs 3 3"] | None = None,
    pbc: Bool[Tensor, "graphs 3"] | None = None,
) -> tuple[Int[Tensor, "2 pairs"], Int[Tensor, "pairs 3"]]:
    """Every pair of atoms (and of an atom with its own images) closer than `cutoff`, once.

    Args:
        pos: positions (Å).
        cutoff: distance (Å) below which atoms are neighbours.
        batch: structure of each atom, ascending; one structure if None.
        cell: lattice vectors as rows (Å); needed where `pbc` has a True.
        pbc: periodic directions.

    Returns:
        Indices (row 0 the source j, row 1 the target i) and the integer image of j.
    """
    if batch is None:
        batch = torch.zeros(len(pos), dtype=torch.long, device=pos.device)
    pos = pos.detach()
    if pbc is None or cell is None or not bool(pbc.any()):
        return _open_pairs(pos, cutoff, batch)
    counts = torch.bincount(batch, minlength=len(cell))
    index, shift = [], []
    start = 0
    for graph, count in enumerate(counts.tolist()):
        here = pos[start : start + count]
        ij, images = _cell_pairs(here, cutoff, cell[graph].detach(), pbc[graph])
        index.append(ij + start)
        shift.append(images)
        start += count
    return torch.cat(index, dim=1), torch.cat(shift)


def neighbor_list(
    pos: Float[Tensor, "atoms 3"],
    cutoff: float,
    batch: Int[Tensor, " atoms"] | None = None,
    cell: Float[Tensor, "graphs 3 3"] | None = None,
    pbc: Bool[Tensor, "graphs 3"] | None = None,
) -> tuple[Int[Tensor, "2 edges"], Int[Tensor, "edges 3"]]:
    """Both directions of `neighbor_pairs`: the pairs, then the same pairs reversed."""
    index, shift = neighbor_pairs(pos, cutoff, batch, cell, pbc)
    return torch.cat([index, index.flip(0)], dim=1), torch.cat([shift, -shift])


def edge_vectors(
    pos: Float[Tensor, "atoms 3"],
    edge_index: Int[Tensor, "2 edges"],
    edge_shift: Int[Tensor, "edges 3"],
    batch: Int[Tensor, " atoms"],
    cell: Float[Tensor, "graphs 3 3"] | None,
) -> Float[Tensor, "edges 3"]:
    """Displacements from target to source, `pos[j] + shift @ cell - pos[i]` (Å)."""
    source, target = edge_index
    vectors = pos.index_select(0, source) - pos.index_select(0, target)
    if cell is None:
        return vectors
    lattice = cell.index_select(0, batch.index_select(0, target))  # (edges, 3, 3)
    return vectors + torch.einsum("es,esx->ex", edge_shift.to(pos.dtype), lattice)


def _open_pairs(pos: Tensor, cutoff: float, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs without periodicity: all i < j of each structure, then the distance test."""
    counts = torch.bincount(batch)
    if int((counts * counts).sum()) > 2 * MAX_CANDIDATES:
        return _open_host(pos, cutoff, counts)
    rank = torch.arange(len(pos), device=pos.device)
    following = counts.cumsum(0).index_select(0, batch) - rank - 1  # later atoms, same structure
    first = rank.repeat_interleave(following)
    starts = following.cumsum(0) - following
    inside = torch.arange(len(first), device=pos.device) - starts.index_select(0, first)
    second = first + 1 + inside
    # per axis rather than (pairs, 3): three small gathers beat one reduction over a short axis
    squared = pos.new_zeros(len(first))
    for x in pos.T.contiguous():
        difference = x.index_select(0, second) - x.index_select(0, first)
        squared.addcmul_(difference, difference)
    keep = squared < cutoff**2
    index = torch.stack([second[keep], first[keep]])
    return index, index.new_zeros(index.shape[1], 3)


def _open_host(pos: Tensor, cutoff: float, counts: Tensor) -> tuple[Tensor, Tensor]:
    no_cell, no_pbc = torch.zeros(3, 3), torch.zeros(3, dtype=torch.bool)
    pieces, start = [], 0
    for count in counts.tolist():
        index, _ = _host_pairs(pos[start : start + count], cutoff, no_cell, no_pbc)
        pieces.append(index + start)
        start += count
    index = torch.cat(pieces, dim=1)
    return index, index.new_zeros(index.shape[1], 3)


def _cell_pairs(pos: Tensor, cutoff: float, cell: Tensor, pbc: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of one structure: wrap, enumerate images, test distances."""
    if not bool(pbc.any()):
        return _open_pairs(pos, cutoff, torch.zeros(len(pos), dtype=torch.long, device=pos.device))
    # float64 throughout: a pair at the cutoff must not depend on the precision of the model
    pos, cell = pos.double(), complete_cell(cell.double(), pbc)
    inverse = torch.linalg.inv(cell)
    wrap = torch.where(pbc, (pos @ inverse).floor(), 0.0)
    wrapped = pos - wrap @ cell
    images = _images(cutoff, inverse, pbc, wrapped @ inverse)
    if len(pos) ** 2 * len(images) > MAX_CANDIDATES:
        return _host_pairs(pos, cutoff, cell, pbc)
    offsets = images.double() @ cell
    delta = wrapped[None, None, :] + offsets[:, None, None] - wrapped[None, :, None]
    shell, i, j = (delta.square().sum(-1) < cutoff**2).nonzero(as_tuple=True)
    shift = images[shell]
    keep = _once(i, j, shift)
    i, j, shift = i[keep], j[keep], shift[keep]
    whole = wrap.long()
    return torch.stack([j, i]), shift - whole[j] + whole[i]


def _once(i: Tensor, j: Tensor, shift: Tensor) -> Tensor:
    """Which of a pair's two directions to keep: i < j, or a later image of the same atom."""
    order = shift[:, 0].sign() * 4 + shift[:, 1].sign() * 2 + shift[:, 2].sign()
    return (i < j) | ((i == j) & (order > 0))


def _images(cutoff: float, inverse: Tensor, pbc: Tensor, fractional: Tensor) -> Tensor:
    """Integer images (k, 3) that can hold a neighbour of a wrapped atom."""
    if len(fractional) == 0:
        return torch.zeros(1, 3, dtype=torch.long, device=inverse.device)
    # planes of direction k are 1 / |column k of the inverse| apart
    reach = cutoff * inverse.norm(dim=0) + (fractional.amax(0) - fractional.amin(0))
    count = torch.where(pbc, reach.floor() + 1, 0.0).long().tolist()
    axes = [torch.arange(-n, n + 1, device=inverse.device) for n in count]
    return torch.cartesian_prod(*axes)


def complete_cell(cell: Float[Tensor, "3 3"], pbc: Bool[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """Replaces the lattice vectors of open directions by unit vectors normal to the others.

    What stands there does not matter to the neighbours; a regular matrix does.
    """
    basis = cell * pbc[:, None]
    _, _, directions = torch.linalg.svd(basis)
    free = list(directions[int(pbc.sum()) :])
    rows = [basis[k] if bool(pbc[k]) else free.pop() for k in range(3)]
    return torch.stack(rows)


def _host_pairs(pos: Tensor, cutoff: float, cell: Tensor, pbc: Tensor) -> tuple[Tensor, Tensor]:
    """Cell lists on the host: linear in the number of atoms."""
    points = pos.double().cpu().numpy()
    finder = NeighborList(cutoff=cutoff, full_list=False)
    j, i, shift = finder.compute(
        points=points,
        box=cell.double().cpu().numpy(),
        periodic=pbc.cpu().numpy(),
        quantities="jiS",
    )
    index = np.stack([j, i]).astype(np.int64)
    return (
        torch.from_numpy(index).to(pos.device),
        torch.from_numpy(shift.astype(np.int64)).to(pos.device),
    )
