"""What the SPD metrics share: points, weights, distances, the loop of a Fréchet mean."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.functional.spd import matrix
from zoo.functional.spd._checks import symmetrise
from zoo.functional.squares import safe_sqrt

Number = float | Float[Tensor, ""]


def random(
    shape: Sequence[int],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """exp of symmetric matrices with independent normal entries, scaled to eigenvalues of order 1.

    Args:
        shape: (..., n, n).
        generator: the source of randomness.
        dtype: float32 or float64.
        device: where.

    Returns:
        SPD matrices (..., n, n); their condition is about e^4 whatever n is.
    """
    gauss = torch.randn(*shape, generator=generator, dtype=dtype, device=device)
    return matrix.exp(symmetrise(gauss) * math.sqrt(2.0 / shape[-1]))


def origin(
    shape: Sequence[int],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Identity matrices of a shape (..., n, n)."""
    return torch.eye(shape[-1], dtype=dtype, device=device).expand(tuple(shape))


def whiten(factor: Tensor, x: Tensor) -> Tensor:
    """L^-1 X L^-T for symmetric X and lower triangular L.

    Solved from the right and transposed: batches are then stored as LAPACK wants them, three times
    as fast.
    """
    half = torch.linalg.solve_triangular(factor.mT, x.mT, upper=True, left=False)
    out: Tensor = torch.linalg.solve_triangular(factor.mT, half.mT, upper=True, left=False)
    return out


def congruence(factor: Tensor, x: Tensor) -> Tensor:
    """A X A^T."""
    return factor @ x @ factor.mT


def trace_product(x: Tensor, y: Tensor) -> Tensor:
    """tr(X^T Y)."""
    return (x * y).sum((-2, -1))


def root(x: Tensor) -> Tensor:
    """Square root of a squared distance; its derivatives at zero are zero."""
    return safe_sqrt(x)


def scalar(t: float | Tensor) -> float | Tensor:
    """A number, or a tensor over the batch, ready to multiply matrices."""
    return t[..., None, None] if isinstance(t, Tensor) else t


def invariant(x: Tensor, y: Tensor, alpha: Number, beta: Number) -> Tensor:
    """alpha tr(X Y) + beta tr X tr Y, the inner products that rotations leave alone."""
    out = trace_product(x, y) * alpha
    if isinstance(beta, Tensor) or beta != 0.0:
        trace = x.diagonal(dim1=-2, dim2=-1).sum(-1) * y.diagonal(dim1=-2, dim2=-1).sum(-1)
        out = out + beta * trace
    return out


def iterate(
    start: Tensor,
    step: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]],
    *,
    steps: int,
    tol: float | None,
) -> Tensor:
    """Steps of a fixed-point iteration until they are short; those that grow are halved.

    Args:
        start: first guess, (..., n, n).
        step: takes a guess and the fraction of the step to take per matrix (None: all), returns
            the next guess and the length of the whole step, (...).
        steps: at most so many.
        tol: stop where no step is longer; None for what the precision allows.
    """
    limit = 100.0 * torch.finfo(start.dtype).eps if tol is None else tol
    point, before, fraction = start, None, None
    for _ in range(steps):
        point, length = step(point, fraction)
        length = length.detach()
        if steps > 1 and bool((length <= limit).all()):
            break
        if before is not None and bool((grown := length > before).any()):
            old = torch.ones_like(length) if fraction is None else fraction
            fraction = torch.where(grown, 0.5 * old, old)
        before = length
    return point
