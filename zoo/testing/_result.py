"""What a check returns, and the largest error that any architecture may declare for it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.errors import ConfigError, nearest

_SYMMETRY = {"float64": 1e-9, "float32": 1e-3}
_DIFFERENCES = {"float64": 1e-6}
_EXACT = {"float64": 0.0, "float32": 0.0}

#: check -> precision -> largest tolerance; also the precisions in which a check runs
CAPS: Mapping[str, Mapping[str, float]] = {
    "outputs": _EXACT,
    "rotation": _SYMMETRY,
    "reflection": _SYMMETRY,
    "inversion": _SYMMETRY,
    "translation": _SYMMETRY,
    "permutation": _SYMMETRY,
    "batching": _SYMMETRY,
    "periodic": _SYMMETRY,
    "forces": _DIFFERENCES,
    "stress": _DIFFERENCES,
    "smoothness": _DIFFERENCES,
    "crowding": {"float64": 1e-5},
    "isolated_atom": _SYMMETRY,
    "empty_edges": _SYMMETRY,
    "separation": _SYMMETRY,
    "collinear": _SYMMETRY,
    "coincident": _EXACT,
    "double_backward_parameters": _DIFFERENCES,
    "double_backward_positions": _DIFFERENCES,
    "dtypes": _EXACT,
    "save_load": _EXACT,
    "global_state": _EXACT,
    # outside atoms
    "evaluation": _EXACT,
    "isolated_node": _SYMMETRY,
    "congruence": _SYMMETRY,
    "basis": _SYMMETRY,
    "isometry": _SYMMETRY,
    "odd_inputs": _EXACT,
    "derivatives": _DIFFERENCES,
    "reach": {"float64": 0.0},
    "precision": {"float32": 1e-3},
    "double": {"float64": 0.0},
    "golden": {"float64": 1e-6, "float32": 1e-3},
}

_GRIDS = {"float64": 0.1, "float32": 0.1}

#: the same for models that say of themselves that their symmetry is approximate (`exact = False`):
#: a nonlinearity on a grid of the sphere aliases. Each needs a test that the error falls as the
#: grid grows
APPROXIMATE_CAPS: Mapping[str, Mapping[str, float]] = {
    "rotation": _GRIDS,
    "periodic": _GRIDS,
    "isolated_atom": _GRIDS,
    "empty_edges": _GRIDS,
    "collinear": _GRIDS,
    "smoothness": {"float64": 0.1},
}


class Skip(Exception):
    """Raised inside a check that has nothing to measure; the message says why."""


@dataclass(frozen=True)
class CheckResult:
    """One check in one precision.

    Attributes:
        name: of the check.
        dtype: "float64" or "float32".
        passed: whether everything was measured to be within the tolerance; false if skipped.
        error: the largest of the errors; None if skipped or if the check could not finish.
        tolerance: what the error may be at most; None if skipped.
        detail: the error of each output, or what was found.
        reason: why it was skipped or could not finish; empty otherwise.
        skipped: nothing was measured.
    """

    name: str
    dtype: str
    passed: bool
    error: float | None
    tolerance: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    skipped: bool = False

    @property
    def status(self) -> str:
        """ "passed", "failed" or "skipped"."""
        if self.skipped:
            return "skipped"
        return "passed" if self.passed else "failed"

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold; an error that is not finite becomes a word."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "status": self.status,
            "passed": self.passed,
            "error": _number(self.error),
            "tolerance": self.tolerance,
            "detail": {key: _number(value) for key, value in self.detail.items()},
            "reason": self.reason,
        }

    def describe(self) -> str:
        """One line for people."""
        head = f"{self.name} ({self.dtype}) {self.status}"
        if self.error is not None:
            head += f": error {self.error:.3g}, tolerance {self.tolerance:.3g}"
        listed = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key}: {value}"
            for key, value in self.detail.items()
        )
        return "; ".join(part for part in (head, listed, self.reason) if part)


def _number(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def tolerance(
    name: str,
    dtype: str,
    declared: Mapping[str, Mapping[str, float]] | None = None,
    *,
    exact: bool = True,
) -> float:
    """The tolerance of a check: what the architecture declares, or else the cap.

    Args:
        name: of the check.
        dtype: "float64" or "float32".
        declared: check -> precision -> tolerance, as in a spec's `tolerances`.
        exact: whether the model's symmetry is exact; else `APPROXIMATE_CAPS` bound what may be
            declared. What is not declared has the same cap either way.

    Raises:
        ConfigError: for a check or precision that does not exist, or a value above the cap.
    """
    for check, values in (declared or {}).items():
        if check not in CAPS:
            raise ConfigError(f"tolerances: no check is called {check!r}: {nearest(check, CAPS)}")
        for precision, value in values.items():
            if precision not in CAPS[check]:
                raise ConfigError(
                    f"tolerances: {check} is measured in {', '.join(CAPS[check])}, "
                    f"not in {precision!r}"
                )
            cap = CAPS[check][precision]
            if not exact and check in APPROXIMATE_CAPS:
                cap = APPROXIMATE_CAPS[check][precision]
            if not 0.0 <= value <= cap:
                raise ConfigError(
                    f"tolerances: {check} in {precision} is {value:g}; it must lie between 0 and "
                    f"the cap of {cap:g}, which holds for every architecture"
                )
    return float((declared or {}).get(name, {}).get(dtype, CAPS[name][dtype]))
