"""What is asked of a symmetric positive definite matrix, and what a refusal says."""

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ManifoldError
from zoo.functional.precision import check_precision

REPAIR = (
    "add a multiple of the identity (shrinkage), clamp the eigenvalues, "
    "or pass project=True to lift them to a floor"
)


def symmetrise(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """(X + X^T) / 2."""
    return (x + x.mT).mul_(0.5)


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
    index = worst(-low)
    raise ManifoldError(
        f"{where}{at(index)} is not positive definite: its smallest eigenvalue is "
        f"{float(low[index]):.6g}, the largest {float(values.amax(-1)[index]):.6g}; {REPAIR}"
    )


def cholesky(
    x: Float[Tensor, "*batch n n"], *, where: str = "an SPD matrix"
) -> Float[Tensor, "*batch n n"]:
    """The lower factor of X = L L^T.

    Args:
        x: symmetric positive definite matrices; one triangle is read.
        where: names them in the message.

    Raises:
        ManifoldError: a matrix that is not positive definite; names its worst eigenvalue.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision(where, x)
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(x.mT)  # as LAPACK stores it: copied whole
    if bool(info.any()):
        data = symmetrise(x.detach())
        refuse_infinite(data, where)
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
        refuse_infinite(x, where)
        raise
    return values, vectors


def refuse_infinite(x: Tensor, where: str) -> None:
    """Refuses entries that are not finite.

    Raises:
        ManifoldError: names the matrix.
    """
    finite = x.isfinite().all(-1).all(-1)
    if not bool(finite.all()):
        index = worst((~finite).to(x.dtype))
        raise ManifoldError(f"{where}{at(index)} has entries that are not finite numbers")


def worst(x: Tensor) -> tuple[int, ...]:
    """Where the largest entry stands."""
    flat = int(x.reshape(-1).argmax())
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), x.shape))


def at(index: tuple[int, ...]) -> str:
    """An index in words, nothing for a single matrix."""
    return f"[{', '.join(map(str, index))}]" if index else ""
