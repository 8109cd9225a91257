r"""CP decomposition by alternating least squares, with a check against degenerate terms.

Kolda and Bader, SIAM Review 51, 2009, section 3.4: each factor solves a linear least-squares
problem with all others fixed, whose Gram matrix is the elementwise product of the factors' own.
Where a tensor has no best approximation of a rank, terms grow without bound and cancel (de Silva
and Lim, SIAM J. Matrix Anal. Appl. 30, 2008); the norm of the largest term is bounded here, and
sweeps end before they pass the bound.
"""

import functools
import math
import string
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from zoo.errors import ConfigError, DataError
from zoo.functional.tensor_network._cores import check_values, reconstruct
from zoo.functional.tensor_network._path import contract

#: of a term's norm, against the norm of the tensor
MAX_COMPONENT: Final = 1e3
_RIDGE: Final = 1e-14


def component_norms(cores: Sequence[Tensor]) -> Tensor:
    """Norm of each rank-one term of CP cores.

    Args:
        cores: the weights (R,), then factors (size, R).

    Returns:
        (R,); far above the tensor's norm, terms cancel.
    """
    norms = [torch.linalg.vector_norm(factor, dim=0) for factor in cores[1:]]
    return functools.reduce(torch.mul, norms, cores[0].abs())


def cp_als(
    tensor: Tensor,
    rank: int,
    *,
    sweeps: int = 200,
    tol: float = 1e-10,
    starts: int = 2,
    max_component: float = MAX_COMPONENT,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """CP cores by alternating least squares.

    Args:
        tensor: real or complex.
        rank: number of terms.
        sweeps: over all factors, at most, from each start.
        tol: ends when the relative error falls by less than this in a sweep.
        starts: the first near singular vectors, where a mode has enough of them, the others
            random; the best is returned, and none is tried after an error below 1e-7.
        max_component: bound on the norm of a term, in norms of the tensor; sweeps that pass it are
            undone.
        generator: of random starts; a fixed one if None.

    Returns:
        Weights (rank,) and factors (size, rank) with unit columns.

    Raises:
        ConfigError: for settings below 1.
        DataError: if terms pass the bound at once from every start, or the tensor is not finite.
        DeviceError: in half or integer precision.
    """
    if min(rank, sweeps, starts) < 1 or max_component < 1:
        raise ConfigError(
            f"rank={rank}, sweeps={sweeps}, starts={starts}, max_component={max_component}; "
            "expected numbers >= 1"
        )
    check_values("cp_als", tensor)
    norm = float(torch.linalg.vector_norm(tensor))
    if norm == 0:
        units = [torch.full((d, rank), d**-0.5).to(tensor) for d in tensor.shape]
        return [tensor.new_zeros(rank), *units]
    if tensor.ndim == 1:
        return [_share(norm, rank, tensor), (tensor / norm)[:, None].expand(-1, rank).clone()]
    if tensor.ndim == 2:
        return _from_svd(tensor, rank)
    source = generator or torch.Generator().manual_seed(0)
    unfolded = [tensor.movedim(mode, 0).flatten(1) for mode in range(tensor.ndim)]
    best, lowest = None, math.inf
    for start in range(starts):
        factors = _start(unfolded, rank, source, spectral=start == 0)
        found = _sweep(tensor, factors, norm, (sweeps, tol, max_component))
        if found is not None and found[0] < lowest:
            lowest, best = found
        if lowest < 1e-7:
            break
    if best is None:
        raise DataError(
            f"CP of rank {rank}: terms grow beyond {max_component:g} times the norm of the tensor "
            "and cancel, from every start; take a smaller rank, more starts, or another format"
        )
    return best


def _share(norm: float, rank: int, like: Tensor) -> Tensor:
    return torch.full((rank,), norm / rank).to(like)


def _from_svd(matrix: Tensor, rank: int) -> list[Tensor]:
    """For a matrix the best approximation is known; terms beyond its rank are zero."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    keep = min(rank, len(s))
    pads = [torch.full((len(f), rank - keep), len(f) ** -0.5).to(f) for f in (u, vh.mT)]
    weights = torch.cat((s[:keep], s.new_zeros(rank - keep))).to(matrix.dtype)
    return [weights, torch.cat((u[:, :keep], pads[0]), 1), torch.cat((vh[:keep].mT, pads[1]), 1)]


def _start(
    unfolded: Sequence[Tensor], rank: int, source: torch.Generator, *, spectral: bool
) -> list[Tensor]:
    """Leading singular vectors of the unfoldings, filled up with random columns."""
    factors = []
    for matrix in unfolded:
        made = torch.randn(len(matrix), rank, generator=source, dtype=torch.float64).to(matrix)
        if spectral:
            u = torch.linalg.svd(matrix, full_matrices=False)[0]
            # a little noise leads away from saddles, where singular vectors can lie exactly
            made = 0.1 * made / torch.linalg.vector_norm(made, dim=0)
            made[:, : u.shape[1]] += u[:, :rank]
        factors.append(made / torch.linalg.vector_norm(made, dim=0))
    return factors


def _sweep(
    tensor: Tensor, factors: list[Tensor], norm: float, bounds: tuple[int, float, float]
) -> tuple[float, list[Tensor]] | None:
    """Sweeps from one start: the error and the cores of the last one within the bounds, if any."""
    sweeps, tol, largest = bounds
    modes = string.ascii_lowercase[: tensor.ndim]
    before, best, current = math.inf, None, list(factors)
    for _ in range(sweeps):
        for mode in range(tensor.ndim):
            others = [f for k, f in enumerate(current) if k != mode]
            terms = ",".join(modes[k] + "Z" for k in range(tensor.ndim) if k != mode)
            conjugates = [f.conj() for f in others]
            projected = contract(f"{modes},{terms}->{modes[mode]}Z", tensor, *conjugates)
            gram = functools.reduce(torch.mul, [f.mH @ f for f in others])
            made = _solve(gram, projected)
            weights = torch.linalg.vector_norm(made, dim=0)
            current[mode] = made / weights.clamp_min(torch.finfo(weights.dtype).tiny)
        if float(weights.max()) > largest * norm:
            break
        cores = [weights.to(tensor.dtype), *current]
        error = float(torch.linalg.vector_norm(reconstruct("cp", cores) - tensor)) / norm
        best = (error, cores)
        if before - error < tol:
            break
        before, current = error, list(current)
    return best


def _solve(gram: Tensor, projected: Tensor) -> Tensor:
    """projected gram^-1, with a ridge far below what matters, for factors that coincide."""
    scale = gram.diagonal().real.mean()
    epsilon = max(_RIDGE, 10 * torch.finfo(scale.dtype).eps)
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    result: Tensor = torch.linalg.solve(gram + epsilon * scale * eye, projected.mT).mT
    return result
