"""Certificates of everything that is registered, and the file of those of architectures.

    outcomes = verify_all(progress=print)
    write_certificates(outcomes)

Architectures are measured with fresh weights in their small configurations, trained weights as
they are. Authors' own weights are measured where they are on this machine: nothing is downloaded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import _certificates, _spec, hub, registry, share
from zoo._files import write_atomic
from zoo.apps.verify import Certificate, verify
from zoo.errors import ConfigError, OutputError, ZooError


@dataclass(frozen=True)
class Outcome:
    """What became of one name.

    Attributes:
        name: an architecture or checkpoint.
        kind: "architecture" or "checkpoint".
        certificate: what was measured; None if it could not be, or was skipped.
        reason: why there is none; empty otherwise.
        skipped: nothing was measured, and nothing is wrong.
    """

    name: str
    kind: str
    certificate: Certificate | None = None
    reason: str = ""
    skipped: bool = False

    @property
    def status(self) -> str:
        """ "PASS", "FAIL" or "skipped"."""
        if self.skipped:
            return "skipped"
        return "PASS" if self.certificate is not None and self.certificate.passed else "FAIL"

    def row(self) -> dict[str, Any]:
        """One line of the table: the largest equivariance errors, and the checks that failed."""
        if self.certificate is None:
            found: dict[str, Any] = {"certificate": None, "passed": 0, "failed": 0}
            return (
                {"name": self.name, "kind": self.kind, "result": self.status}
                | found
                | {"detail": self.reason}
            )
        counts = self.certificate.counts
        failed = [f"{r.name} ({r.dtype})" for r in self.certificate.results if r.status == "failed"]
        about = _certificates.summary(self.certificate.to_dict())
        return {
            "name": self.name,
            "kind": self.kind,
            "result": self.status,
            "certificate": None
            if about is None
            else _certificates.words({**about, "passed": True}),
            "passed": counts["passed"],
            "failed": counts["failed"],
            "detail": ", ".join(failed),
        }


#: told of each outcome, its number and how many there will be
Progress = Callable[[Outcome, int, int], None]


def verify_all(
    pattern: str | list[str] = "*",
    *,
    checks: Sequence[str] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Outcome]:
    """Measures every architecture and every checkpoint.

    Args:
        pattern: shell patterns of the names to measure, as for `zoo.list_models`.
        checks: as for `verify`, without what a domain does not have; all if None.
        seed: as for `verify`.
        device: where to measure.
        progress: told of each outcome as it comes.

    Returns:
        One outcome for each name, architectures first. A model that can't be built or loaded is a
        failure, not an error.

    Raises:
        ConfigError: if no name matches.
        DeviceError: for a device that is not there.
    """
    hub.find_device(device)
    known = registry.specs()
    names = [(name, "architecture") for name in registry.list_models(pattern) if name in known]
    names += [(name, "checkpoint") for name in registry.list_models(pattern, pretrained=True)]
    if not names:
        raise ConfigError(f"nothing is called {pattern!r} (all names: zoo list, also --pretrained)")
    outcomes = []
    for count, (name, kind) in enumerate(names, start=1):
        outcome = _measure(name, kind, checks, seed, device)
        outcomes.append(outcome)
        if progress is not None:
            progress(outcome, count, len(names))
    return outcomes


def _measure(name: str, kind: str, checks: Sequence[str] | None, seed: int, device: str) -> Outcome:
    if kind == "checkpoint" and not hub.at_hand(name):
        reason = f"the authors' file is not on this machine (zoo pull {name})"
        return Outcome(name, kind, reason=reason, skipped=True)
    try:
        return Outcome(name, kind, verify(name, checks=checks, seed=seed, device=device))
    except ZooError as problem:
        return Outcome(name, kind, reason=str(problem))


def write_certificates(outcomes: Sequence[Outcome], path: str | Path | None = None) -> Path:
    """Writes the certificates of the package's architectures.

    Args:
        outcomes: of `verify_all`, without `checks`; other kinds are left out.
        path: the file; that of this checkout if None. Architectures in it that were not measured
            now keep what they have.

    Returns:
        The file.

    Raises:
        ConfigError: if one of them did not pass.
        OutputError: if the file can't be written, as in an installed package.
    """
    if path is None and share.folder("models").parent.name == "_share":
        raise OutputError(
            "certificates are written in a checkout of the project; this is an installed package. "
            "zoo verify NAME -o certificate.json keeps one of your own"
        )
    shipped = _spec.shipped()
    chosen = [each for each in outcomes if each.kind == "architecture" and each.name in shipped]
    broken = [each.name for each in chosen if each.certificate is None]
    if broken:
        raise ConfigError(f"{', '.join(broken)} could not be measured, and nothing was written")
    measured = {e.name: e.certificate.to_dict() for e in chosen if e.certificate is not None}
    kept = {name: entry for name, entry in _certificates.architectures().items() if name in shipped}
    target = Path(path) if path is not None else share.folder("models") / _certificates.FILE
    write_atomic(target, _certificates.render({**kept, **measured}))
    return target
