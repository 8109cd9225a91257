"""Checks and repairs of symmetric positive definite matrices."""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional.precision import check_precision
from zoo.functional.spd._checks import (
    at,
    refuse_indefinite,
    refuse_infinite,
    refuse_rectangular,
    symmetrise,
    worst,
)
from zoo.functional.spd._eigen import eigen

# largest |X - X^T| that counts as rounding, in units of the largest |X_ij|
ASYMMETRY = {torch.float32: 1e-4, torch.float64: 1e-6}


def check(
    x: Float[Tensor, "*batch n m"], *, where: str = "an SPD matrix", project: bool = False
) -> Float[Tensor, "*batch n m"]:
    """Refuses what is not symmetric positive definite, or repairs it.

    Args:
        x: matrices.
        where: names the input in the message.
        project: whether to repair by `project` instead of refusing; entries that are not finite
            and shapes that are not square are refused all the same.

    Returns:
        The matrices, untouched where nothing was repaired.

    Raises:
        ManifoldError: a matrix that is not square, not finite, not symmetric or not positive
            definite; names the worst entry or eigenvalue and the matrix it is in.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision(where, x)
    refuse_rectangular(x, where)
    if x.numel() == 0:
        return x
    if project:
        return _lifted(x, where, None)
    data = x.detach()
    if not bool(data.sum().isfinite()):
        refuse_infinite(data, where)
    skew = (data - data.mT).abs().amax((-2, -1))
    scale = data.abs().amax((-2, -1))
    excess = skew - ASYMMETRY[x.dtype] * scale
    if bool((excess > 0).any()):
        index = worst(excess)
        raise ManifoldError(
            f"{where}{at(index)} is not symmetric: |X - X^T| reaches {float(skew[index]):.3g} "
            f"where the largest entry is {float(scale[index]):.3g}; average it with its transpose "
            "or pass project=True"
        )
    # a Cholesky factor costs a fifth of the eigenvalues, which are needed only for the message
    if bool(torch.linalg.cholesky_ex(data.mT)[1].any()):
        refuse_indefinite(torch.linalg.eigvalsh(symmetrise(data)), where)
    return x


def project(
    x: Float[Tensor, "*batch n n"], *, floor: float | None = None
) -> Float[Tensor, "*batch n n"]:
    """The symmetric part, with eigenvalues lifted to a floor.

    Args:
        x: square matrices.
        floor: smallest eigenvalue after it; by default the square root of the precision, in units
            of the largest eigenvalue of each matrix (of 1 where none is positive).

    Returns:
        Symmetric positive definite matrices. Those that are so already, above the floor, are
        returned as their symmetric parts.

    Raises:
        ManifoldError: entries that are not finite.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision("project", x)
    return _lifted(x, "the matrix to project", floor)


def _lifted(x: Tensor, where: str, floor: float | None) -> Tensor:
    x = symmetrise(x)
    refuse_infinite(x.detach(), where)
    values = torch.linalg.eigvalsh(x.detach())
    if floor is None:
        top = values[..., -1:]
        least = torch.where(top > 0, top, 1.0) * torch.finfo(x.dtype).eps ** 0.5
    else:
        least = torch.full_like(values[..., -1:], floor)
    low = (values < least).any(-1)[..., None, None]
    if not bool(low.any()):
        return x
    unit = least[..., None]
    lifted = eigen(x / unit).clamp(1.0).matrix() * unit
    return torch.where(low, symmetrise(lifted), x)
