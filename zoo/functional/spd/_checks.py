"""What is asked of a symmetric positive definite matrix, and what a refusal says."""

from collections.abc import Iterator
from contextlib import contextmanager

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
    """Refuses eigenvalues that are not positive; none in a trace, which has no numbers.

    Args:
        values: eigenvalues of each matrix.
        where: names the matrices in the message.

    Raises:
        ManifoldError: names the worst eigenvalue, its matrix and the remedy.
    """
    if torch.compiler.is_compiling() or values.numel() == 0 or bool((values > 0).all()):
        return
    finite = values.isfinite().all(-1)
    if not bool(finite.all()):
        raise ManifoldError(
            f"{where}{at(worst((~finite).to(values.dtype)))} has eigenvalues that are not finite: "
            "its entries are not finite numbers, or too large"
        )
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
        ManifoldError: a matrix that is not square, not finite or not positive definite; names
            its worst eigenvalue.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision(where, x)
    refuse_rectangular(x, where)
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(x.mT)  # as LAPACK stores it: copied whole
    if torch.compiler.is_compiling():  # no numbers to look at
        return factor
    # an infinite entry passes LAPACK's test and is left on the diagonal
    finite = bool(factor.detach().diagonal(dim1=-2, dim2=-1).sum().isfinite())
    if not finite or bool(info.any()):
        refuse_bad(x.detach(), where)
        raise ManifoldError(f"{where} is singular to working precision: {REPAIR}")
    return factor


def eigh(x: Tensor, where: str) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of the symmetric part.

    Raises:
        ManifoldError: matrices that are not square, entries that are not finite.
        DeviceError: a precision other than float32 and float64.
    """
    check_precision(where, x)
    refuse_rectangular(x, where)
    with _converging(x, where):
        values, vectors = torch.linalg.eigh(symmetrise(x))
    return values, vectors


def eigvalsh(x: Tensor, where: str) -> Tensor:
    """Eigenvalues, ascending, from the lower triangle.

    Raises:
        ManifoldError: entries that are not finite.
    """
    with _converging(x, where):
        values: Tensor = torch.linalg.eigvalsh(x)
    return values


@contextmanager
def _converging(x: Tensor, where: str) -> Iterator[None]:
    try:
        yield
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        refuse_infinite(x, where)
        raise ManifoldError(
            f"{where}: the eigenvalues were not found, though all entries are finite ({error}); "
            "scale the matrices or use float64"
        ) from error


@contextmanager
def naming(x: Tensor, where: str) -> Iterator[None]:
    """Errors about a matrix made from X, such as L^-1 X L^-T, become those about X.

    Where nothing is wrong with X itself the first error stands.

    Raises:
        ManifoldError: X is not finite or not positive definite.
    """
    try:
        yield
    except ManifoldError:
        refuse_bad(x.detach(), where)
        raise


def refuse_bad(x: Tensor, where: str) -> None:
    """Refuses what is not finite or not positive definite.

    Raises:
        ManifoldError: names the worst matrix.
    """
    refuse_infinite(x, where)
    refuse_indefinite(eigvalsh(symmetrise(x), where), where)


def refuse_rectangular(x: Tensor, where: str) -> None:
    """Refuses shapes that are not those of square matrices.

    Raises:
        ManifoldError: names the shape.
    """
    if x.dim() < 2 or x.shape[-1] != x.shape[-2]:
        raise ManifoldError(f"{where}: shape {tuple(x.shape)} is not that of square matrices")


def refuse_infinite(x: Tensor, where: str) -> None:
    """Refuses entries that are not finite; none in a trace, which has no numbers.

    Raises:
        ManifoldError: names the matrix.
    """
    if torch.compiler.is_compiling():
        return
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
