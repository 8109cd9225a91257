"""The contracts, as tables of checks that measure and never assert: on atoms, and elsewhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from zoo.errors import CapabilityError, ConfigError, nearest
from zoo.testing import _actions, _derivatives, _hygiene, _limits, _sample_checks, _symmetry
from zoo.testing._base import BaseSubject
from zoo.testing._result import CAPS, CheckResult, Skip, tolerance
from zoo.testing._sample_subject import SampleSubject, sample_group
from zoo.testing._subject import Subject, symmetry_group

Tolerances = Mapping[str, Mapping[str, float]]

#: what a check measures, by name; the errors of each output, and words where there are any
CHECKS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
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

#: the same outside atoms; which symmetries are measured says the model's group
SAMPLE_CHECKS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "outputs": _symmetry.outputs,
    "evaluation": _sample_checks.evaluation,
    "batching": _symmetry.batching,
    "permutation": _actions.permutation,
    "isolated_node": _sample_checks.isolated_node,
    "rotation": _actions.rotation,
    "reflection": _actions.reflection,
    "translation": _actions.translation,
    "congruence": _actions.congruence,
    "basis": _actions.basis,
    "isometry": _actions.isometry,
    "odd_inputs": _sample_checks.odd_inputs,
    "derivatives": _sample_checks.derivatives,
    "reach": _sample_checks.reach,
    "precision": _sample_checks.precision,
    "double": _sample_checks.double,
    "dtypes": _hygiene.dtypes,
    "save_load": _hygiene.save_load,
    "global_state": _hygiene.global_state,
}


def checks_of(domain: str) -> Mapping[str, Callable[[Any], dict[str, Any]]]:
    """What is measured on models of a domain, by name."""
    return CHECKS if domain == "atoms" else SAMPLE_CHECKS


def plan(names: Sequence[str] | None = None, *, domain: str = "atoms") -> list[tuple[str, str]]:
    """The pairs of check and precision, in the order in which they run.

    Args:
        names: checks to keep; all if None.
        domain: of the model.

    Raises:
        ConfigError: for a check that does not exist.
    """
    checks = checks_of(domain)
    for name in names or ():
        if name not in checks:
            raise ConfigError(f"no check is called {name!r}: {nearest(name, checks)}")
    return [
        (name, dtype) for name in checks if names is None or name in names for dtype in CAPS[name]
    ]


def run_check(name: str, subject: BaseSubject, tolerances: Tolerances | None = None) -> CheckResult:
    """Measures one property of a model.

    Args:
        name: a key of `CHECKS`, outside atoms of `SAMPLE_CHECKS`.
        subject: the model in one precision.
        tolerances: what the architecture declares, within `CAPS`, or within `APPROXIMATE_CAPS` if
            the model has an attribute `exact` that is False.

    Returns:
        The result. A check that raises has failed; one that has nothing to measure is skipped.

    Raises:
        ConfigError: for an unknown check, a precision in which it does not run, or a tolerance
            above the cap.
    """
    domain = getattr(subject, "domain", "atoms")
    if (name, subject.dtype) not in plan([name], domain=domain):
        raise ConfigError(f"{name} is measured in {', '.join(CAPS[name])}, not in {subject.dtype}")
    bound = tolerance(name, subject.dtype, tolerances, exact=subject.exact)
    try:
        detail = checks_of(domain)[name](subject)
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


def subject_of(
    model: nn.Module,
    dtype: str = "float64",
    *,
    domain: str | None = None,
    group: str | None = None,
    laws: Mapping[str, Any] | None = None,
    inputs: Sequence[Any] | None = None,
    seed: int = 0,
) -> BaseSubject:
    """The model under test in one precision; see `check_contract`.

    Raises:
        ConfigError: for inputs with a model on atoms.
    """
    if domain_of(model, domain) != "atoms":
        options: dict[str, Any] = {"group": group, "laws": laws, "inputs": inputs, "seed": seed}
        return SampleSubject(model, dtype, domain=domain, **options)
    if inputs is not None:
        raise ConfigError("a model on atoms is measured on random structures; leave out inputs")
    return Subject(model, dtype, group=group, laws=laws, seed=seed)


def domain_of(model: nn.Module, domain: str | None = None) -> str:
    """The domain of a model: as given, as it says itself, or atoms."""
    return str(getattr(model, "domain", "atoms")) if domain is None else domain


def group_of(model: nn.Module, domain: str | None = None) -> str:
    """The symmetry group that a model is held to where nothing else is said."""
    return symmetry_group(model) if domain_of(model, domain) == "atoms" else sample_group(model)


def iterate_contract(
    model: nn.Module,
    *,
    tolerances: Tolerances | None = None,
    domain: str | None = None,
    group: str | None = None,
    laws: Mapping[str, Any] | None = None,
    inputs: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Iterator[CheckResult]:
    """Runs the checks one after the other; see `check_contract`."""
    subjects: dict[str, BaseSubject] = {}
    options: dict[str, Any] = {"domain": domain, "group": group, "laws": laws, "inputs": inputs}
    for name, dtype in plan(names, domain=domain_of(model, domain)):
        if dtype not in subjects:
            subjects[dtype] = subject_of(model, dtype, seed=seed, **options)
        yield run_check(name, subjects[dtype], tolerances)


def check_contract(
    model: nn.Module,
    *,
    tolerances: Tolerances | None = None,
    domain: str | None = None,
    group: str | None = None,
    laws: Mapping[str, Any] | None = None,
    inputs: Sequence[Any] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> list[CheckResult]:
    """Measures everything that a model has to obey.

    Args:
        model: on atoms, maps a `Batch`, as `zoo.to_batch` makes it, to a dict of outputs; an
            attribute `cutoff` (Å) and constructor arguments in `hparams` let more be checked.
            Elsewhere a `SampleModel`, or a module or layer that maps a batch of its domain (PyG's
            `Batch`, or a dict with `x`) to a dict of outputs or one tensor. The model is copied,
            never changed.
        tolerances: check -> precision -> tolerance, within `CAPS`.
        domain: of the samples; None takes the model's attribute `domain`, or else atoms.
        group: on atoms "O(3)" or "SO(3)", elsewhere see `SAMPLE_GROUPS`; None takes the attribute
            `symmetry` of the model or what its spec says, or else O(3) on atoms and "none".
        laws: how outputs of unfamiliar names transform: on atoms `Law`s, elsewhere "invariant"
            (the default) or "equivariant".
        inputs: outside atoms, samples to measure with; random ones if None.
        names: checks to run; all if None.
        seed: of the random inputs and directions.

    Returns:
        One result for each check and precision.

    Raises:
        ConfigError: for an unknown check, domain or group, or a tolerance above the cap.
    """
    options: dict[str, Any] = {"domain": domain, "group": group, "laws": laws, "inputs": inputs}
    found = iterate_contract(model, tolerances=tolerances, names=names, seed=seed, **options)
    return list(found)
