"""The contract of a model on atoms, as a table of checks that measure and never assert."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from zoo.errors import CapabilityError, ConfigError, nearest
from zoo.testing import _derivatives, _hygiene, _limits, _symmetry
from zoo.testing._result import CAPS, CheckResult, Skip, tolerance
from zoo.testing._subject import Law, Subject

Tolerances = Mapping[str, Mapping[str, float]]

#: what a check measures, by name; the errors of each output, and words where there are any
CHECKS: Mapping[str, Callable[[Subject], dict[str, Any]]] = {
    "outputs": _symmetry.outputs,
    "rotation": _symmetry.rotation,
    "reflection": _symmetry.reflection,
    "inversion": _symmetry.inversion,
    "translation": _symmetry.translation,
    "permutation": _symmetry.permutation,
    "batching": _symmetry.batching,
    "periodic": _symmetry.periodic,
    "forces": _derivatives.forces,
    "stress": _derivatives.stress,
    "smoothness": _limits.smoothness,
    "crowding": _limits.crowding,
    "isolated_atom": _limits.isolated_atom,
    "empty_edges": _limits.empty_edges,
    "separation": _limits.separation,
    "collinear": _limits.collinear,
    "coincident": _limits.coincident,
    "double_backward_parameters": _derivatives.double_backward_parameters,
    "double_backward_positions": _derivatives.double_backward_positions,
    "dtypes": _hygiene.dtypes,
    "save_load": _hygiene.save_load,
    "global_state": _hygiene.global_state,
}


def plan(names: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """The pairs of check and precision, in the order in which they run.

    Args:
        names: checks to keep; all if None.

    Raises:
        ConfigError: for a check that does not exist.
    """
    for name in names or ():
        if name not in CHECKS:
            raise ConfigError(f"no check is called {name!r}: {nearest(name, CHECKS)}")
    return [
        (name, dtype) for name in CHECKS if names is None or name in names for dtype in CAPS[name]
    ]


def run_check(name: str, subject: Subject, tolerances: Tolerances | None = None) -> CheckResult:
    """Measures one property of a model.

    Args:
        name: a key of `CHECKS`.
        subject: the model in one precision.
        tolerances: what the architecture declares, within `CAPS`, or within `APPROXIMATE_CAPS` if
            the model has an attribute `exact` that is False.

    Returns:
        The result. A check that raises has failed; one that has nothing to measure is skipped.

    Raises:
        ConfigError: for an unknown check, a precision in which it does not run, or a tolerance
            above the cap.
    """
    if (name, subject.dtype) not in plan([name]):
        raise ConfigError(f"{name} is measured in {', '.join(CAPS[name])}, not in {subject.dtype}")
    bound = tolerance(name, subject.dtype, tolerances, exact=subject.exact)
    try:
        detail = CHECKS[name](subject)
    except (Skip, CapabilityError) as problem:
        return CheckResult(name, subject.dtype, False, None, None, {}, str(problem), skipped=True)
    except Exception as problem:  # whatever a model under test may raise is a finding
        reason = f"{type(problem).__name__}: {problem}"
        return CheckResult(name, subject.dtype, False, None, bound, {}, reason)
    errors = [value for value in detail.values() if isinstance(value, float)]
    if not errors:
        return CheckResult(
            name, subject.dtype, False, None, None, detail, "nothing to measure", skipped=True
        )
    passed = all(error <= bound for error in errors)  # false for a NaN
    return CheckResult(name, subject.dtype, passed, _largest(errors), bound, detail)


def _largest(errors: Sequence[float]) -> float:
    broken = [error for error in errors if error != error]  # NaN
    return broken[0] if broken else max(errors)


def iterate_contract(
    model: nn.Module,
    *,
    tolerances: Tolerances | None = None,
    group: str | None = None,
    laws: Mapping[str, Law] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Iterator[CheckResult]:
    """Runs the checks one after the other; see `check_contract`."""
    subjects: dict[str, Subject] = {}
    for name, dtype in plan(names):
        if dtype not in subjects:
            subjects[dtype] = Subject(model, dtype, group=group, laws=laws, seed=seed)
        yield run_check(name, subjects[dtype], tolerances)


def check_contract(
    model: nn.Module,
    *,
    tolerances: Tolerances | None = None,
    group: str | None = None,
    laws: Mapping[str, Law] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> list[CheckResult]:
    """Measures everything that a model on atoms has to obey.

    Args:
        model: maps a `Batch`, as `zoo.to_batch` makes it, to a dict of outputs. An attribute
            `cutoff` (Å) and constructor arguments in `hparams` let more be checked. The model is
            copied, never changed.
        tolerances: check -> precision -> tolerance, within `CAPS`.
        group: "O(3)" or "SO(3)"; None takes the attribute `symmetry` of the model, or else O(3).
        laws: how outputs of unfamiliar names transform.
        names: checks to run; all if None.
        seed: of the random structures and directions.

    Returns:
        One result for each check and precision.

    Raises:
        ConfigError: for an unknown check or group, or a tolerance above the cap.
    """
    options: dict[str, Any] = {"group": group, "laws": laws, "names": names, "seed": seed}
    return list(iterate_contract(model, tolerances=tolerances, **options))
