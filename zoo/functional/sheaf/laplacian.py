r"""Blocks of the normalised sheaf Laplacian.

Neural Sheaf Diffusion (arXiv:2202.04579), definitions 2 and 3: with the restriction maps F_{v,e},

    L_vv = \sum_e F_{v,e}^T F_{v,e},   L_uv = -F_{u,e}^T F_{v,e},   Delta = D^{-1/2} L D^{-1/2}

where D = L_vv + I; the identity keeps nodes without edges in order. Eigenvalues lie in [0, 2).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.functional.sheaf.graph import degrees
from zoo.functional.sheaf.small import product
from zoo.functional.spd import inv_sqrt


@dataclass(frozen=True)
class SheafLaplacian:
    """A symmetric matrix of d x d blocks, one per node and one per edge.

    Attributes:
        pairs: (2, pairs), the nodes (u, v) of each edge.
        diagonal: blocks of nodes: (nodes, 1) multiples of the identity, (nodes, d) diagonal
            matrices, or (nodes, d, d).
        off: minus the block in row u and column v: (pairs, d) diagonal matrices or (pairs, d, d).
    """

    pairs: Tensor
    diagonal: Tensor
    off: Tensor

    @property
    def stalk(self) -> int:
        """The dimension d of the stalks."""
        return int(self.off.shape[-1])


def diagonal_laplacian(
    source: Float[Tensor, "pairs d"],
    target: Float[Tensor, "pairs d"],
    pairs: Int[Tensor, "2 pairs"],
    nodes: int,
) -> SheafLaplacian:
    """The normalised Laplacian of diagonal restriction maps.

    Args:
        source: diagonals of the maps at the first node of each pair.
        target: the same at the second.
        pairs: of `undirected_pairs`.
        nodes: of the graph.
    """
    squares = torch.cat([source, target]).square()
    diagonal = source.new_zeros(nodes, source.shape[-1]).index_add(0, pairs.flatten(), squares)
    root = (diagonal + 1.0).rsqrt()
    off = source * target * root.index_select(0, pairs[0]) * root.index_select(0, pairs[1])
    return SheafLaplacian(pairs, diagonal / (diagonal + 1.0), off)


def bundle_laplacian(
    source: Float[Tensor, "pairs d d"],
    target: Float[Tensor, "pairs d d"],
    pairs: Int[Tensor, "2 pairs"],
    nodes: int,
    weight: Float[Tensor, " pairs"] | None = None,
) -> SheafLaplacian:
    """The normalised Laplacian of orthogonal restriction maps, times a weight for each edge.

    Args:
        source: maps at the first node of each pair.
        target: maps at the second.
        pairs: of `undirected_pairs`.
        nodes: of the graph.
        weight: w of each edge, on both its maps; 1 if None.
    """
    return transport_laplacian(product(source.mT, target), pairs, nodes, weight)


def transport_laplacian(
    transport: Float[Tensor, "pairs d d"],
    pairs: Int[Tensor, "2 pairs"],
    nodes: int,
    weight: Float[Tensor, " pairs"] | None = None,
) -> SheafLaplacian:
    """The normalised connection Laplacian: blocks -w^2 O_uv, O_uv taking stalk v to stalk u.

    Args:
        transport: orthogonal O_uv of each pair; O_vu is its transpose.
        pairs: of `undirected_pairs`.
        nodes: of the graph.
        weight: w of each edge; 1 if None.
    """
    dtype = transport.dtype
    if weight is None:
        diagonal = degrees(pairs, nodes, dtype)
    else:
        square = weight.square()
        diagonal = square.new_zeros(nodes).index_add(0, pairs.flatten(), square.repeat(2))
    root = (diagonal + 1.0).rsqrt()
    scale = root.index_select(0, pairs[0]) * root.index_select(0, pairs[1])
    scale = scale if weight is None else scale * square
    shares = (diagonal / (diagonal + 1.0)).unsqueeze(-1)
    return SheafLaplacian(pairs, shares, transport * scale[:, None, None])


def general_laplacian(
    source: Float[Tensor, "pairs d d"],
    target: Float[Tensor, "pairs d d"],
    pairs: Int[Tensor, "2 pairs"],
    nodes: int,
    *,
    clamp: bool = False,
) -> SheafLaplacian:
    """The normalised Laplacian of any restriction maps.

    Args:
        source: maps at the first node of each pair.
        target: maps at the second.
        pairs: of `undirected_pairs`.
        nodes: of the graph.
        clamp: limits all entries to [-1, 1] as the authors' code does; the spectrum and the
            symmetry under changes of bases are then lost.
    """
    size = source.shape[-1]
    maps = torch.cat([source, target])
    diagonal = source.new_zeros(nodes, size, size)
    diagonal = diagonal.index_add(0, pairs.flatten(), product(maps.mT, maps))
    eye = torch.eye(size, dtype=source.dtype, device=source.device)
    # derivatives of this root are finite where eigenvalues repeat, so that no noise is needed
    root = inv_sqrt(diagonal + eye)
    left, right = root.index_select(0, pairs[0]), root.index_select(0, pairs[1])
    off = product(product(source, left).mT, product(target, right))
    inner = eye - root @ root
    inner = 0.5 * (inner + inner.mT)
    if clamp:
        inner, off = inner.clamp(-1.0, 1.0), off.clamp(-1.0, 1.0)
    return SheafLaplacian(pairs, inner, off)


def fixed_laplacian(
    pairs: Int[Tensor, "2 pairs"], nodes: int, signs: list[float], dtype: torch.dtype
) -> SheafLaplacian:
    """Stalk coordinates with nothing to learn, of the graph's own Laplacian D - s A, normalised.

    Args:
        pairs: of `undirected_pairs`.
        nodes: of the graph.
        signs: s of each coordinate: with 1, x - Delta x averages over neighbours (a low pass),
            with -1 it takes differences (a high pass).
        dtype: of the blocks.
    """
    degree = degrees(pairs, nodes, dtype)
    root = (degree + 1.0).rsqrt()
    scale = root.index_select(0, pairs[0]) * root.index_select(0, pairs[1])
    off = scale.unsqueeze(-1) * scale.new_tensor(signs)
    shares = (degree / (degree + 1.0)).unsqueeze(-1).expand(-1, len(signs))
    return SheafLaplacian(pairs, shares, off)
