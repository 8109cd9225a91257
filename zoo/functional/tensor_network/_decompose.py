r"""Decompositions of dense tensors into cores: Tucker, train, ring, and their choice by error.

- Tucker: the leading left singular vectors of each unfolding (HOSVD), then alternating updates of
  one factor with the others applied (HOOI): De Lathauwer, De Moor, Vandewalle, SIAM J. Matrix Anal.
  Appl. 21, 2000, both papers. Truncated by error, each mode drops at most error^2 / N of |X|^2.
- Train: successive truncated SVDs (TT-SVD, Oseledets 2011, algorithm 1). Truncated by error, each
  of the N - 1 cuts drops at most error^2 / (N - 1) of |X|^2.
- Ring: the first SVD's rank is cut in two bonds r_0 r_1, then as for the train (TR-SVD, Zhao et al.
  2016, algorithm 1).
- Block train and ring: those of the tensor whose modes are the pairs (n, n + N).

CP is in `_cp.py`. Quantities are computed in the tensor's own precision.
"""

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_network._cores import check_values, reconstruct
from zoo.functional.tensor_network._cp import cp_als
from zoo.functional.tensor_network._network import fit, random_network
from zoo.functional.tensor_network._rank import (
    Format,
    Rank,
    check_shape,
    limits,
    paired,
    resolve_rank,
    sites,
)

_RING_STARTS: Final = 3


def decompose(
    tensor: Tensor,
    format: Format,
    rank: Rank = None,
    *,
    max_error: float | None = None,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Cores whose tensor is near the given one.

    Args:
        tensor: any shape, real or complex, finite.
        format: see `resolve_rank`.
        rank: see `resolve_rank`; leave it out with `max_error`.
        max_error: relative, in the Frobenius norm: the ranks are the smallest that the SVDs'
            singular values (CP: a search over R) find to keep it.
        generator: of CP's random starts.

    Returns:
        Cores of the shapes of `core_shapes`.

    Raises:
        ConfigError: for ranks or shapes that don't fit, or both rank and error.
        DataError: for a tensor that is not finite.
        DeviceError: in half or integer precision.
    """
    shape = check_shape(format, tensor.shape)
    tensor = tensor.detach()
    check_values("decompose", tensor)
    if max_error is None:
        ranks: tuple[int, ...] | None = resolve_rank(format, shape, rank)
    else:
        if rank is not None or not 0 <= max_error < 1:
            raise ConfigError(
                f"rank={rank!r}, max_error={max_error}: give a rank, or an error in [0, 1)"
            )
        ranks = None
    if format == "dense":
        return [tensor.clone()]
    if format == "cp":
        return _cp(tensor, ranks, max_error, generator)
    if format == "tucker":
        return _tucker(tensor, ranks, max_error or 0.0)
    ring = format in ("tr", "block_tr")
    chained = _fused(tensor) if paired(format) else tensor
    cores = _chain(chained, ranks, max_error or 0.0, ring=ring)
    if ring and ranks is not None and chained.ndim > 2:
        cores = _refined_ring(chained, cores, ranks)
    return _split_modes(cores, shape) if paired(format) else cores


def relative_error(tensor: Tensor, format: Format, cores: Sequence[Tensor]) -> float:
    """|tensor - reconstruction| / |tensor|, 0 for two tensors of zeros."""
    norm = float(torch.linalg.vector_norm(tensor.detach()))
    difference = float(torch.linalg.vector_norm(reconstruct(format, cores) - tensor).detach())
    return difference / norm if norm else difference


def unfold(tensor: Tensor, mode: int) -> Tensor:
    """The matrix (size of the mode, all others)."""
    return tensor.movedim(mode, 0).flatten(1) if tensor.ndim > 1 else tensor[:, None]


def _fused(tensor: Tensor) -> Tensor:
    """Modes (n, n + N) of a tensor of 2 N modes made one."""
    half = tensor.ndim // 2
    order = [axis for n in range(half) for axis in (n, n + half)]
    return tensor.permute(order).reshape(sites("block_tt", tensor.shape))


def _split_modes(cores: list[Tensor], shape: tuple[int, ...]) -> list[Tensor]:
    half = len(shape) // 2
    modes = zip(shape[:half], shape[half:], strict=True)
    return [c.reshape(len(c), *m, c.shape[-1]) for c, m in zip(cores, modes, strict=True)]


def _kept(values: Tensor, allowed: float, limit: int | None) -> int:
    """How many singular values to keep: so many, or as few as drop at most `allowed` in norm."""
    if limit is not None:
        return limit
    # squares of what is left out if the first n are kept, n = 0...
    tail = torch.flip(torch.cumsum(torch.flip(values.double() ** 2, (0,)), 0), (0,)).sqrt()
    floor = allowed + float(tail[0]) * 1e-14 if len(tail) else 0.0
    return max(1, int((tail > floor).sum()))


def _tucker(tensor: Tensor, ranks: tuple[int, ...] | None, error: float) -> list[Tensor]:
    allowed = error * float(torch.linalg.vector_norm(tensor)) / math.sqrt(tensor.ndim)
    factors: list[Tensor] = []
    for mode in range(tensor.ndim):
        u, s, _ = torch.linalg.svd(unfold(tensor, mode), full_matrices=False)
        limit = None if ranks is None else ranks[mode]
        factors.append(_padded(u, _kept(s, allowed, limit)))
    if tensor.ndim > 2:
        factors = hooi(tensor, factors)
    return [_project(tensor, factors), *factors]


def hooi(
    tensor: Tensor, factors: Sequence[Tensor], *, sweeps: int = 20, tol: float = 1e-9
) -> list[Tensor]:
    """Improves orthonormal Tucker factors, one after the other with all others applied.

    Args:
        tensor: to approximate.
        factors: (size, rank) each, orthonormal columns.
        sweeps: over all modes, at most.
        tol: ends when the norm of the core grows by less than this fraction in a sweep.
    """
    found, before = list(factors), 0.0
    for _ in range(sweeps):
        for mode in range(tensor.ndim):
            partial = _project(tensor, found, skip=mode)
            u = torch.linalg.svd(unfold(partial, mode), full_matrices=False)[0]
            found[mode] = _padded(u, found[mode].shape[1])
        norm = float(torch.linalg.vector_norm(_project(tensor, found)))
        if norm - before <= tol * norm:
            break
        before = norm
    return found


def _padded(u: Tensor, count: int) -> Tensor:
    """The first columns; where an unfolding has fewer, orthonormal ones beside them."""
    if count <= u.shape[1]:
        return u[:, :count].contiguous()
    full = torch.linalg.qr(torch.cat((u, torch.eye(len(u), dtype=u.dtype, device=u.device)), 1))[0]
    return torch.cat((u, full[:, u.shape[1] : count]), 1)


def _project(tensor: Tensor, factors: Sequence[Tensor], skip: int | None = None) -> Tensor:
    """The tensor times the conjugate transpose of each factor, but one."""
    for mode, factor in enumerate(factors):
        if mode != skip:
            tensor = torch.tensordot(factor.mH, tensor.movedim(mode, 0), 1).movedim(0, mode)
    return tensor


def _chain(
    tensor: Tensor, ranks: tuple[int, ...] | None, error: float, *, ring: bool
) -> list[Tensor]:
    """TT-SVD, or TR-SVD for a ring."""
    dims = tensor.shape
    if len(dims) == 1:  # one core: in a ring its trace, r_0 of equal parts
        bond = ranks[0] if ring and ranks else 1
        eye = torch.eye(bond, dtype=tensor.dtype, device=tensor.device) / bond
        return [eye[:, None] * tensor[None, :, None]] if ring else [tensor[None, :, None]]
    allowed = error * float(torch.linalg.vector_norm(tensor)) / math.sqrt(len(dims) - 1)
    rest, cores, bond = tensor.reshape(1, -1), [], 1
    start = 1
    for n in range(len(dims) - 1):
        # rest holds (bond of the core, modes n..., bond r_0 of a ring)
        u, s, vh = torch.linalg.svd(rest.reshape(bond * dims[n], -1), full_matrices=False)
        if n == 0 and ring:
            start, right = _ring_start(s, allowed, ranks)
            u, rest = _first_of_ring(u, s, vh, start, right)
            cores.append(u)
        else:
            right = _kept(s, allowed, None if ranks is None else ranks[n + ring])
            width = min(right, len(s))
            u = _zeros_to(u[:, :width], 1, right)
            rest = _zeros_to(s[:width, None] * vh[:width], 0, right)
            cores.append(u.reshape(bond, dims[n], right))
        bond = right
    cores.append(rest.reshape(bond, dims[-1], start))
    return cores


def _refined_ring(tensor: Tensor, cores: list[Tensor], ranks: tuple[int, ...]) -> list[Tensor]:
    """Least squares from the SVDs' ring and from random ones; the best of the rings.

    The first SVD of a ring gives only the product of two bonds, and cuts ranks that it can't see.
    """
    count = tensor.ndim
    pairs = [(k - 1, k) if k else (0, count - 1) for k in range(count)]
    bonds = {pair: rank for pair, rank in zip(pairs, ranks, strict=True) if rank > 1}
    source = torch.Generator().manual_seed(0)
    best, lowest = cores, relative_error(tensor, "tr", cores)
    for _ in range(_RING_STARTS):
        if lowest < 1e-7:
            break
        made = random_network(tensor.shape, bonds, tensor, source)
        error = fit(made, tensor, sweeps=100)
        if error < lowest:
            best, lowest = _ring_cores(made.cores, tensor.shape, ranks), error
    return best


def _ring_cores(cores: list[Tensor], dims: Sequence[int], ranks: tuple[int, ...]) -> list[Tensor]:
    """Cores (r, I, r') from those of a network, whose axes are the mode and bonds of rank > 1."""
    made = []
    for k, (core, d) in enumerate(zip(cores, dims, strict=True)):
        left, right = ranks[k], ranks[(k + 1) % len(ranks)]
        # the bond with the core of the smaller number comes first: the next one's for both ends
        swapped = k in (0, len(ranks) - 1)
        shape = (d, right, left) if swapped else (d, left, right)
        full = core.reshape(shape)
        made.append(full.permute(2, 0, 1) if swapped else full.permute(1, 0, 2))
    return [core.contiguous() for core in made]


def _ring_start(s: Tensor, allowed: float, ranks: tuple[int, ...] | None) -> tuple[int, int]:
    """Bonds r_0 and r_1 of a ring: those asked for, or the most equal factors of the rank."""
    if ranks is not None:
        return ranks[0], ranks[1]
    total = _kept(s, allowed, None)
    start = next(d for d in range(math.isqrt(total), 0, -1) if total % d == 0)
    return start, total // start


def _first_of_ring(
    u: Tensor, s: Tensor, vh: Tensor, start: int, right: int
) -> tuple[Tensor, Tensor]:
    """First core (r_0, I, r_1), and the rest (r_1, modes, r_0)."""
    width = min(start * right, len(s))
    left = _zeros_to(u[:, :width], 1, start * right).reshape(-1, start, right)
    rest = _zeros_to(s[:width, None] * vh[:width], 0, start * right)
    return left.movedim(1, 0).contiguous(), rest.reshape(start, right, -1).movedim(
        0, -1
    ).contiguous()


def _zeros_to(matrix: Tensor, axis: int, size: int) -> Tensor:
    """Zeros behind the rows or columns up to a size."""
    missing = size - matrix.shape[axis]
    if missing <= 0:
        return matrix
    shape = list(matrix.shape)
    shape[axis] = missing
    return torch.cat((matrix, matrix.new_zeros(shape)), axis)


def _cp(
    tensor: Tensor,
    ranks: tuple[int, ...] | None,
    error: float | None,
    generator: torch.Generator | None,
) -> list[Tensor]:
    """ALS of a given rank, or of the smallest found by doubling and bisection."""
    if ranks is not None:
        return cp_als(tensor, ranks[0], generator=generator)
    most = limits("cp", tensor.shape)[0]
    low, high, found = 0, 1, None
    while True:
        cores = cp_als(tensor, high, generator=generator)
        if relative_error(tensor, "cp", cores) <= (error or 0.0) + 1e-12:
            found = cores
            break
        if high == most:
            raise ConfigError(
                f"CP of shape {tuple(tensor.shape)} stays above the relative error {error} up to "
                f"rank {most}, as many terms as any tensor needs; take a train, or a larger error"
            )
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        cores = cp_als(tensor, middle, generator=generator)
        good = relative_error(tensor, "cp", cores) <= (error or 0.0) + 1e-12
        low, high, found = (low, middle, cores) if good else (middle, high, found)
    return found
