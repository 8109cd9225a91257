r"""Cores of the tensor formats: shapes, indices, the tensor they stand for, their initial scale.

Elementwise, for a tensor W of shape (I_1, ..., I_N):

- CP: W = sum_r lambda_r prod_n A^n[i_n, r]; cores lambda (R,), A^n (I_n, R).
- Tucker: W = sum G[r_1...r_N] prod_n U^n[i_n, r_n]; cores G, U^n (I_n, r_n).
- Tensor train: W = prod_n G^n[i_n], matrices r_{n-1} x r_n with r_0 = r_N = 1.
- Tensor ring: W = trace of prod_n G^n[i_n], r_N = r_0.
- Block train and ring (TT-matrix): cores (r_{n-1}, I_n, I_{n+N}, r_n) of a tensor of 2 N modes,
  outputs first: the matrix of shape (prod I_n, prod I_{n+N}).

Sources: Kolda and Bader, *Tensor decompositions and applications*, SIAM Review 2009; Oseledets,
*Tensor-train decomposition*, SIAM J. Sci. Comput. 2011; Zhao et al., *Tensor ring decomposition*,
2016 (arXiv:1606.05535); Novikov et al., *Tensorizing neural networks*, NeurIPS 2015
(arXiv:1509.06569).
"""

import math
import string
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.errors import ConfigError, DataError
from zoo.functional.precision import check_precision
from zoo.functional.tensor_network._path import contract
from zoo.functional.tensor_network._rank import Format, chain_ends, paired


def core_shapes(
    format: Format,
    shape: Sequence[int],
    rank: Sequence[int],
) -> list[tuple[int, ...]]:
    """Shapes of the cores.

    Args:
        format: see `resolve_rank`.
        shape: of the tensor.
        rank: one number per bond, from `resolve_rank`.
    """
    dims = tuple(shape)
    if format == "dense":
        return [dims]
    if format == "cp":
        return [(rank[0],), *((d, rank[0]) for d in dims)]
    if format == "tucker":
        return [tuple(rank), *((d, r) for d, r in zip(dims, rank, strict=True))]
    left, right = chain_ends(format, rank)
    modes: list[tuple[int, ...]] = [(d,) for d in dims]
    if paired(format):
        half = len(dims) // 2
        modes = list(zip(dims[:half], dims[half:], strict=True))
    return [(a, *m, b) for a, m, b in zip(left, modes, right, strict=True)]


def core_std(
    format: Format,
    shape: Sequence[int],
    rank: Sequence[int],
    std: float,
) -> list[float]:
    """Standard deviations of the cores for one of the tensor.

    With independent cores of mean zero, the variance of an entry is the number of its terms times
    the product of the cores' variances: core std = (std / sqrt(terms))^(1 / cores), where the terms
    are the product of all ranks (the sum over the weights of CP, which begin as ones: std 0).

    Args:
        format: see `resolve_rank`.
        shape: of the tensor.
        rank: one number per bond.
        std: of the entries of the tensor.

    Returns:
        One number per core; for CP the first, of the weights, is 0: they are ones.
    """
    shapes = core_shapes(format, shape, rank)
    cores = len(shapes) - (format == "cp")
    each = float((std / math.sqrt(math.prod(rank))) ** (1 / cores))
    return [0.0] * (format == "cp") + [each] * cores


def symbols(
    format: Format,
    modes: str,
    taken: str = "",
) -> list[str]:
    """Indices of each core, for einsum.

    Args:
        format: see `resolve_rank`.
        modes: one letter per mode.
        taken: other letters that the equation uses.

    Raises:
        ConfigError: for more modes than there are letters.
    """
    free = [c for c in string.ascii_letters if c not in modes + taken]
    if len(free) < len(modes) + 1:
        raise ConfigError(f"a tensor of {len(modes)} modes has more indices than there are letters")
    if format == "dense":
        return [modes]
    if format == "cp":
        return [free[0], *(m + free[0] for m in modes)]
    if format == "tucker":
        bonds = free[: len(modes)]
        return ["".join(bonds), *(m + b for m, b in zip(modes, bonds, strict=True))]
    units = list(modes)
    if paired(format):
        half = len(modes) // 2
        units = [a + b for a, b in zip(modes[:half], modes[half:], strict=True)]
    bonds = free[: len(units) + 1]
    if format in ("tr", "block_tr"):
        bonds[-1] = bonds[0]
    return [a + m + b for a, m, b in zip(bonds[:-1], units, bonds[1:], strict=True)]


def expand(equation: str, format: Format) -> str:
    """The equation with the cores' indices in place of its last tensor's.

    Args:
        equation: for einsum, such as "bixy,ioxy->boxy"; the last tensor is the factorised one.
        format: of that tensor.
    """
    left, _, output = equation.partition("->")
    *others, modes = left.split(",")
    cores = symbols(format, modes, "".join(others) + output)
    return ",".join([*others, *cores]) + "->" + output


def reconstruct(format: Format, cores: Sequence[Tensor]) -> Tensor:
    """The tensor that cores stand for.

    Args:
        format: see `resolve_rank`.
        cores: of the shapes of `core_shapes`, real or complex.

    Returns:
        The tensor; sums in the cheapest order.

    Raises:
        ConfigError: for cores that don't fit together.
    """
    modes = string.ascii_letters[: _mode_count(format, cores)]
    if format == "dense":
        return cores[0]
    return contract(expand(f"{modes}->{modes}", format), *cores)


def frobenius(format: Format, cores: Sequence[Tensor]) -> Tensor:
    """Norm of the tensor that cores stand for, which is not made.

    Args:
        format: see `resolve_rank`.
        cores: of the shapes of `core_shapes`.

    Returns:
        A real number.
    """
    modes = string.ascii_lowercase[: _mode_count(format, cores)]
    first = symbols(format, modes)
    bonds = {c for term in first for c in term} - set(modes)
    second = symbols(format, modes, "".join(bonds))
    square = contract(f"{','.join([*first, *second])}->", *cores, *(core.conj() for core in cores))
    return square.real.clamp_min(0).sqrt()


def apply(equation: str, x: Tensor, format: Format, cores: Sequence[Tensor]) -> Tensor:
    """einsum of a tensor and a factorised one, whose cores are never multiplied out needlessly.

    Args:
        equation: of the two, such as "bixy,ioxy->boxy".
        x: the first tensor.
        format: of the second.
        cores: of the second.

    Returns:
        The contraction, in the cheapest order.

    Raises:
        ConfigError: for an equation that doesn't fit.
    """
    return contract(expand(equation, format), x, *cores)


def check_values(where: str, tensor: Tensor) -> None:
    """Refuses tensors that can't be taken apart.

    Args:
        where: names the function in the message.
        tensor: real or complex.

    Raises:
        DeviceError: in half or integer precision.
        DataError: for one that is not finite.
    """
    numbers = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    check_precision(where, numbers)
    if not bool(torch.isfinite(numbers).all()):
        raise DataError(f"{where}: the tensor holds NaN or infinity")


def mode_shape(format: Format, cores: Sequence[Tensor]) -> tuple[int, ...]:
    """Shape of the tensor that cores stand for."""
    if format == "dense":
        return tuple(cores[0].shape)
    if format in ("cp", "tucker"):
        return tuple(core.shape[0] for core in cores[1:])
    if paired(format):
        return (*(core.shape[1] for core in cores), *(core.shape[2] for core in cores))
    return tuple(core.shape[1] for core in cores)


def _mode_count(format: Format, cores: Sequence[Tensor]) -> int:
    return len(mode_shape(format, cores))
