"""Layers on the eigenvalues of symmetric matrices (SPDNet, arXiv:1608.04233), and their vectors.

Each takes a matrix or an `Eigen`, a decomposition that an earlier step has made already.
Derivatives are exact at repeated eigenvalues (`zoo.functional.spd`).
"""

from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional.spd import Eigen, eigen, to_vector


class ReEig(nn.Module):
    """Eigenvalues lifted to a floor: U max(L, floor) U^T.

    Args:
        floor: the smallest eigenvalue behind this layer; 1e-4 in the paper.

    Raises:
        ConfigError: for a floor that is not positive.
    """

    def __init__(self, floor: float = 1e-4) -> None:
        super().__init__()
        self.floor = _positive(floor)

    def forward(self, x: Float[Tensor, "*batch n n"] | Eigen) -> Float[Tensor, "*batch n n"]:
        """Positive definite matrices.

        Raises:
            DeviceError: in half precision.
        """
        return _decomposed(x).clamp(self.floor).matrix()

    def extra_repr(self) -> str:
        """The floor."""
        return f"floor={self.floor}"


class LogEig(nn.Module):
    """Logarithms, symmetric matrices: U log(L) U^T, or with a floor U log(max(L, floor)) U^T.

    With a floor this is ReEig followed by LogEig, from one eigendecomposition.

    Args:
        floor: of the eigenvalues; None for none.

    Raises:
        ConfigError: for a floor that is not positive.
    """

    def __init__(self, floor: float | None = None) -> None:
        super().__init__()
        self.floor = None if floor is None else _positive(floor)

    def forward(self, x: Float[Tensor, "*batch n n"] | Eigen) -> Float[Tensor, "*batch n n"]:
        """Logarithms.

        Raises:
            ManifoldError: without a floor, for an eigenvalue that is not positive.
            DeviceError: in half precision.
        """
        decomposed = _decomposed(x)
        if self.floor is not None:
            decomposed = decomposed.clamp(self.floor)
        return decomposed.log().matrix()

    def extra_repr(self) -> str:
        """The floor."""
        return f"floor={self.floor}"


class ExpEig(nn.Module):
    """Exponentials of symmetric matrices: U exp(L) U^T, the inverse of LogEig."""

    def forward(self, x: Float[Tensor, "*batch n n"] | Eigen) -> Float[Tensor, "*batch n n"]:
        """Positive definite matrices.

        Raises:
            DeviceError: in half precision.
        """
        return _decomposed(x).exp().matrix()


class SymmetricVector(nn.Module):
    """Symmetric matrices as vectors.

    Args:
        full: all n^2 entries, as in the paper; otherwise the upper triangle, off-diagonal entries
            times sqrt 2, which has the same inner products with half the length.
    """

    def __init__(self, *, full: bool = False) -> None:
        super().__init__()
        self.full = full

    def length(self, size: int) -> int:
        """Entries of the vector of a (size, size) matrix."""
        return size * size if self.full else size * (size + 1) // 2

    def forward(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch entries"]:
        """The vectors."""
        return x.flatten(-2) if self.full else to_vector(x)

    def extra_repr(self) -> str:
        """Which entries."""
        return f"full={self.full}"


def _decomposed(x: Tensor | Eigen) -> Eigen:
    return x if isinstance(x, Eigen) else eigen(x)


def _positive(floor: float) -> float:
    if not floor > 0:
        raise ConfigError(f"floor={floor}: eigenvalues are lifted to a positive floor, say 1e-4")
    return floor
