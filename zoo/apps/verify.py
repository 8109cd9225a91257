"""Certificates: what a model promises, measured on this machine.

    certificate = zoo.verify("tensornet-s.gfn2-md10.r1", output="certificate.json")
    certificate.passed, certificate.results

Trained weights are measured as they are, golden outputs included; an architecture or preset with
fresh weights to which noise is added, so that nothing is zero by initialisation; any other module
as it is given.
"""

import copy
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import zoo
from zoo import hub, registry
from zoo._files import write_atomic
from zoo.apps._module import load_module
from zoo.errors import UnknownModelError, ZooError
from zoo.testing import CheckResult, domain_of, group_of, iterate_contract, unsettled
from zoo.testing import plan as contract_plan

FILE = "certificate.json"
SCHEMA_VERSION = 1
#: told of each result, its number and how many there will be
Progress = Callable[[CheckResult, int, int], None]


@dataclass(frozen=True)
class Certificate:
    """The results of all checks of one model.

    Attributes:
        name: what was measured: a checkpoint, an architecture, a preset or a class.
        kind: "checkpoint", "architecture", "preset" or "module".
        group: the symmetry group that it was held to.
        results: one entry for each check and precision.
        environment: versions and machine.
        config: constructor arguments, where they are known.
        seed: of the random inputs.
        domain: of the model's samples.
    """

    name: str
    kind: str
    group: str
    results: tuple[CheckResult, ...]
    environment: Mapping[str, str]
    config: Mapping[str, Any]
    seed: int
    domain: str = "atoms"

    @property
    def passed(self) -> bool:
        """Whether something was measured and nothing failed; skips count for neither."""
        states = {result.status for result in self.results}
        return "passed" in states and "failed" not in states

    @property
    def counts(self) -> dict[str, int]:
        """How many checks passed, failed and were skipped."""
        states = [result.status for result in self.results]
        return {state: states.count(state) for state in ("passed", "failed", "skipped")}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `certificate.json` and a manifest hold them."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "kind": self.kind,
            "domain": self.domain,
            "group": self.group,
            "passed": self.passed,
            "counts": self.counts,
            "seed": self.seed,
            "config": dict(self.config),
            "environment": dict(self.environment),
            "results": [result.to_dict() for result in self.results],
        }

    def rows(self) -> list[dict[str, str]]:
        """The results as words, one mapping per line of a table."""
        return [
            {
                "check": result.name,
                "precision": result.dtype,
                "error": "-" if result.error is None else f"{result.error:.1e}",
                "tolerance": "-" if result.tolerance is None else f"{result.tolerance:.0e}",
                "result": result.status if result.status != "failed" else "FAILED",
                "detail": result.reason or _largest(result),
            }
            for result in self.results
        ]


def _largest(result: CheckResult) -> str:
    """Where the error is, if it is anywhere."""
    numbers = {k: v for k, v in result.detail.items() if isinstance(v, float) and v != 0.0}
    words = [f"{k}: {v}" for k, v in result.detail.items() if not isinstance(v, float)]
    # a NaN is larger than everything
    if numbers:
        worst = max(numbers, key=lambda key: (numbers[key] != numbers[key], numbers[key]))
        words = [f"largest: {worst}", *words]
    return "; ".join(words)


def verify(
    subject: str | Path | nn.Module,
    *,
    output: str | Path | None = None,
    checks: Sequence[str] | None = None,
    domain: str | None = None,
    group: str | None = None,
    laws: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> Certificate:
    """Measures the contract of a model of any domain.

    Args:
        subject: the name or folder of trained weights; an architecture or preset; "package.module:
            Name", the user's own; or a module, called on a batch of its domain (`zoo.to_batch`
            makes that of atoms) and returning a dict of outputs (see
            `zoo.testing.check_contract`).
        output: where to write the certificate: a .json file, or a folder that will hold
            certificate.json.
        checks: names of checks to run (`zoo.testing.CHECKS`, outside atoms `SAMPLE_CHECKS`, and
            "golden"); all if None.
        domain: of a module that does not say which its samples are; atoms if None.
        group: the symmetry group, as `check_contract` takes it; None takes what the model says of
            itself.
        laws: how outputs of unfamiliar names transform.
        seed: of the random structures, and of fresh weights.
        device: where to measure; None is the CPU for a name, and where it lies for a module.
        progress: told of each result as it comes.

    Returns:
        The certificate. A check that fails is a result, not an error.

    Raises:
        UnknownModelError: for a name that is neither weights nor an architecture.
        ConfigError: for an unknown check, or a module that can't be imported or built.
        DeviceError: for a device that is not there.
        OutputError: if the certificate can't be written.
    """
    place = None if device is None else hub.find_device(device)
    target = _resolve(subject, seed)
    if place is not None:
        target.model.to(place)
    contract = None if checks is None else [name for name in checks if name != "golden"]
    steps = contract_plan(contract, domain=domain_of(target.model, domain))
    golden = target.kind == "checkpoint" and (checks is None or "golden" in checks)
    total = len(steps) + 2 * golden
    results: list[CheckResult] = []

    def note(result: CheckResult) -> None:
        results.append(result)
        if progress is not None:
            progress(result, len(results), total)

    options: dict[str, Any] = {"domain": domain, "group": group, "laws": laws}
    options |= {"names": contract, "seed": seed}
    for result in iterate_contract(target.model, tolerances=target.tolerances, **options):
        note(result)
    if golden:
        for result in _golden(target):
            note(result)
    certificate = Certificate(
        name=target.name,
        kind=target.kind,
        domain=domain_of(target.model, domain),
        group=group_of(target.model, domain) if group is None else group,
        results=tuple(results),
        environment=_environment(target.model),
        config=dict(getattr(target.model, "hparams", {})),
        seed=seed,
    )
    if output is not None:
        write(certificate, output)
    return certificate


def write(certificate: Certificate, output: str | Path) -> Path:
    """Writes a certificate in full or not at all.

    Args:
        certificate: from `verify`.
        output: a .json file, or a folder that will hold certificate.json.

    Returns:
        The file.

    Raises:
        OutputError: if it can't be written.
    """
    path = Path(output)
    path = path if path.suffix == ".json" else path / FILE
    text = json.dumps(certificate.to_dict(), indent=2, allow_nan=False, default=str)
    write_atomic(path, text + "\n")
    return path


@dataclass(frozen=True)
class _Target:
    model: nn.Module
    name: str
    kind: str
    tolerances: Mapping[str, Mapping[str, float]]
    folder: Path | None = None  # of the manifest


def _resolve(subject: str | Path | nn.Module, seed: int) -> _Target:
    if isinstance(subject, nn.Module):
        return _own(subject, type(subject).__name__)
    text = os.fspath(subject)
    if isinstance(subject, str) and ":" in text and not Path(text).exists():
        return _own(load_module(text), text)
    try:
        spec, preset = registry.resolve(text)
    except UnknownModelError as unknown:
        try:
            model = hub.load(subject)
        except UnknownModelError as problem:
            raise UnknownModelError(f"{unknown}. As trained weights: {problem}") from problem
        folder = hub.find(subject).parent
        return replace(_own(model, str(model.checkpoint_name)), kind="checkpoint", folder=folder)
    config = {**spec.test_config} if not preset else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = registry.create(text, **config)
    kind = "preset" if text in spec.presets else "architecture"
    bounds = spec.bounds(exact=bool(getattr(fresh, "exact", True)))
    return _Target(unsettled(fresh, seed=seed), text, kind, bounds)


def _own(model: nn.Module, name: str) -> _Target:
    known = registry.specs().get(str(getattr(model, "architecture", "")))
    exact = bool(getattr(model, "exact", True))
    return _Target(model, name, "module", {} if known is None else known.bounds(exact=exact))


def _golden(target: _Target) -> Iterator[CheckResult]:
    """The stored outputs against those of this machine, in both precisions."""
    manifest: Any = target.model.manifest
    for dtype, precision in (("float64", torch.float64), ("float32", torch.float32)):
        if manifest.golden is None or target.folder is None:
            reason = "the manifest stores no golden outputs"
            yield CheckResult("golden", dtype, False, None, None, {}, reason, skipped=True)
            continue
        bound = float(getattr(manifest.golden.rtol, dtype))
        try:
            tensors = hub.golden_tensors(manifest, target.folder)
            model = copy.deepcopy(target.model).to(precision)
            found = hub.compare_golden(model, tensors, manifest.golden)
        except ZooError as problem:
            yield CheckResult("golden", dtype, False, None, bound, {}, str(problem))
            continue
        errors = {each.output: each.error for each in found}
        passed = bool(found) and all(each.passed for each in found)
        yield CheckResult("golden", dtype, passed, max(errors.values(), default=0.0), bound, errors)


def _environment(model: nn.Module) -> dict[str, str]:
    first = next(model.parameters(), None)
    return {
        "zoo": zoo.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": str(first.device) if first is not None else "cpu",
    }
