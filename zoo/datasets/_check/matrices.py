"""Symmetric positive definite matrices and bases of subspaces: how far each is from being one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.datasets._check.report import Finding, finding
from zoo.datasets._check.values import Sample

SKEW = {4: 1e-4, 8: 1e-8}  # relative, by bytes of a number
ILL = 1e10  # condition number
ORTHONORMAL = {4: 1e-4, 8: 1e-8}


class Matrices:
    """Symmetry and eigenvalues of square matrices.

    Args:
        name: of the field, (..., n, n).
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._skew: dict[int, float] = {}
        self._negative: dict[int, float] = {}
        self._ill: dict[int, float] = {}
        self._range = (np.inf, -np.inf)

    def see(self, index: int, sample: Sample) -> None:
        """Takes in one sample."""
        matrix = sample[self._name]
        if not matrix.size or not np.isfinite(matrix).all():
            return
        scale = float(np.abs(matrix).max())
        transposed = np.swapaxes(matrix, -1, -2)
        skew = float(np.abs(matrix - transposed).max()) / scale if scale else 0.0
        if skew > SKEW.get(matrix.dtype.itemsize, 1e-4):
            self._skew[index] = skew
        values = np.linalg.eigvalsh(0.5 * (matrix.astype(np.float64) + transposed))
        low, high = float(values.min()), float(values.max())
        self._range = (min(self._range[0], low), max(self._range[1], high))
        if low <= 0:
            self._negative[index] = low
        elif high > ILL * low:
            self._ill[index] = high / low

    def findings(self) -> Iterator[Finding]:
        """Matrices that aren't symmetric, not positive, or barely so."""
        if self._skew:
            worst = max(self._skew, key=self._skew.__getitem__)
            yield finding(
                "error",
                "symmetric",
                f"{self._name} is not symmetric in {len(self._skew)} samples (worst: sample "
                f"{worst}, {self._skew[worst]:.2g} of its largest entry)",
                frames=list(self._skew),
                evidence={"worst": self._skew[worst]},
                mend="A = (A + A.T) / 2 if that is rounding; else these are no such matrices",
            )
        if self._negative:
            worst = min(self._negative, key=self._negative.__getitem__)
            yield finding(
                "error",
                "positive",
                f"{self._name} is not positive definite in {len(self._negative)} samples (worst: "
                f"sample {worst}, smallest eigenvalue {self._negative[worst]:.3g})",
                frames=list(self._negative),
                evidence={"worst eigenvalue": self._negative[worst]},
                mend="add a small multiple of the identity, or estimate with shrinkage",
            )
        if self._ill:
            worst = max(self._ill, key=self._ill.__getitem__)
            yield finding(
                "warning",
                "positive",
                f"{self._name} is nearly singular in {len(self._ill)} samples (condition number "
                f"up to {self._ill[worst]:.2g}): logarithms lose their digits",
                frames=list(self._ill),
                evidence={"condition number": self._ill[worst]},
                mend="estimate with shrinkage, or use float64",
            )

    def summary(self) -> dict[str, Any]:
        """Smallest and largest eigenvalue."""
        if self._range[0] > self._range[1]:
            return {}
        return {"eigenvalues": {"smallest": self._range[0], "largest": self._range[1]}}


class Bases:
    """Columns that should be orthonormal.

    Args:
        name: of the field, (..., n, p) with p <= n.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._bad: dict[int, float] = {}

    def see(self, index: int, sample: Sample) -> None:
        """Takes in one sample."""
        basis = sample[self._name]
        if not basis.size or not np.isfinite(basis).all():
            return
        gram = np.swapaxes(basis, -1, -2).astype(np.float64) @ basis
        error = float(np.abs(gram - np.eye(gram.shape[-1])).max())
        if error > ORTHONORMAL.get(basis.dtype.itemsize, 1e-4):
            self._bad[index] = error

    def findings(self) -> Iterator[Finding]:
        """Bases that aren't orthonormal."""
        if not self._bad:
            return
        worst = max(self._bad, key=self._bad.__getitem__)
        yield finding(
            "error",
            "orthonormal",
            f"the columns of {self._name} are not orthonormal in {len(self._bad)} samples (worst: "
            f"sample {worst}, |B'B - 1| = {self._bad[worst]:.2g})",
            frames=list(self._bad),
            evidence={"worst": self._bad[worst]},
            mend="B, _ = numpy.linalg.qr(B); rows and columns may be swapped",
        )

    def summary(self) -> dict[str, Any]:
        """Nothing."""
        return {}
