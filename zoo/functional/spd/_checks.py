"""What is asked of a symmetric positive definite matrix, and what a refusal says."""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional.precision import check_precision

# largest |X - X^T| that counts as rounding, in units of the largest |X_ij|
ASYMMETRY = {torch.float32: 1e-4, torch.float64: 1e-6}
REPAIR = (
    "add a multiple of the identity (shrinkage), clamp the eigenvalues, "
    "or pass project=True to lift them to a floor"
)


def symmetrise(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """(X + X^T) / 2."""
    return (x + x.mT).mul_(0.5)


def check(
    x: Float[Tensor, "*batch n m"], *, where: str = "an SPD matrix"
) -> Float[Tensor, "*batch n m"]:
    """Refuses what is not symmetric positive definite.

    Args:
        x: matrices.
        where: names the input in the message.

    Returns:
        The matrices, untouched.

    Raises:
        ManifoldError: a matrix that is not square, not finite, not symmetric or not positive
            definite; names the worst entry or eigenvalue and the matrix it is in.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision(where, x)
    if x.shape[-1] != x.shape[-2]:
        raise ManifoldError(f"{where}: shape {tuple(x.shape)} is not that of square matrices")
    if x.numel() == 0:
        return x
    data = x.detach()
    if not bool(data.sum().isfinite()):
        _refuse_infinite(data, where)
    skew = (data - data.mT).abs().amax((-2, -1))
    scale = data.abs().amax((-2, -1))
    excess = skew - ASYMMETRY[x.dtype] * scale
    if bool((excess > 0).any()):
        index = _worst(excess)
        raise ManifoldError(
            f"{where}{_at(index)} is not symmetric: |X - X^T| reaches {float(skew[index]):.3g} "
            f"where the largest entry is {float(scale[index]):.3g}; average it with its transpose "
            "or pass project=True"
        )
    # a Cholesky factor costs a fifth of the eigenvalues, which are needed only for the message
    if bool(torch.linalg.cholesky_ex(data)[1].any()):
        refuse_indefinite(torch.linalg.eigvalsh(symmetrise(data)), where)
    return x


def refuse_indefinite(values: Float[Tensor, "*batch n"], where: str) -> None:
    """Refuses eigenvalues that are not positive.

    Args:
        values: eigenvalues of each matrix.
        where: names the matrices in the message.

    Raises:
        ManifoldError: names the worst eigenvalue, its matrix and the remedy.
    """
    if values.numel() == 0 or bool((values > 0).all()):
        return
    low = values.amin(-1)
    index = _worst(-low)
    raise ManifoldError(
        f"{where}{_at(index)} is not positive definite: its smallest eigenvalue is "
        f"{float(low[index]):.6g}, the largest {float(values.amax(-1)[index]):.6g}; {REPAIR}"
    )


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
    x = symmetrise(x)
    _refuse_infinite(x.detach(), "the matrix to project")
    values, vectors = torch.linalg.eigh(x)
    if floor is None:
        top = values[..., -1:]
        least = torch.where(top > 0, top, 1.0) * torch.finfo(x.dtype).eps ** 0.5
    else:
        least = torch.full_like(values[..., -1:], floor)
    low = (values < least).any(-1)[..., None, None]
    lifted = (vectors * torch.maximum(values, least)[..., None, :]) @ vectors.mT
    return torch.where(low, symmetrise(lifted), x)


def cholesky(
    x: Float[Tensor, "*batch n n"], *, where: str = "an SPD matrix"
) -> Float[Tensor, "*batch n n"]:
    """The lower factor of X = L L^T.

    Args:
        x: symmetric positive definite matrices; the lower triangles are read.
        where: names them in the message.

    Raises:
        ManifoldError: a matrix that is not positive definite; names its worst eigenvalue.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision(where, x)
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(x)
    if bool(info.any()):
        data = symmetrise(x.detach())
        _refuse_infinite(data, where)
        refuse_indefinite(torch.linalg.eigvalsh(data), where)
        raise ManifoldError(f"{where} is singular to working precision: {REPAIR}")
    return factor


def eigh(x: Tensor, where: str) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of the symmetric part.

    Raises:
        ManifoldError: entries that are not finite.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision(where, x)
    try:
        values, vectors = torch.linalg.eigh(symmetrise(x))
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        _refuse_infinite(x, where)
        raise
    return values, vectors


def _refuse_infinite(x: Tensor, where: str) -> None:
    finite = x.isfinite().all(-1).all(-1)
    if not bool(finite.all()):
        index = _worst((~finite).to(x.dtype))
        raise ManifoldError(f"{where}{_at(index)} has entries that are not finite numbers")


def _worst(x: Tensor) -> tuple[int, ...]:
    flat = int(x.reshape(-1).argmax())
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), x.shape))


def _at(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""
