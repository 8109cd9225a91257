"""What a check of a data set found: findings, and the numbers they rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo.datasets._survey import listed

Severity = Literal["error", "warning", "info"]
ORDER: tuple[Severity, ...] = ("error", "warning", "info")
SAID = {"error": "error", "warning": "warning", "info": "note"}
KEPT = 100  # frame numbers kept with a finding; their count is always right


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, looks wrong, or is worth knowing.

    Attributes:
        severity: "error" (training on this gives nonsense, or a loader refuses it), "warning"
            (look at it), "info".
        check: short name of the check, such as "duplicates".
        message: what, where, and the evidence, in one or two sentences.
        frames: numbers of the frames concerned, the first `KEPT` of them.
        count: how many frames are concerned; 0 where it isn't about single frames.
        evidence: the measured numbers.
        mend: the line that would mend it, or an empty string.
    """

    severity: Severity
    check: str
    message: str
    frames: tuple[int, ...] = ()
    count: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    mend: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return {
            "severity": self.severity,
            "check": self.check,
            "message": self.message,
            "frames": list(self.frames),
            "count": self.count,
            "evidence": dict(self.evidence),
            "mend": self.mend,
        }

    def __str__(self) -> str:
        where = f" [frames {listed(self.frames)}]" if self.frames else ""
        if self.count > len(self.frames) > 0:
            where = f" [{self.count} frames: {listed(self.frames[:8])}, ...]"
        mend = f"\n         to mend it: {self.mend}" if self.mend else ""
        return f"{SAID[self.severity]:>7}  {self.check}: {self.message}{where}{mend}"


def finding(  # the one place that counts and shortens frame numbers
    severity: Severity,
    check: str,
    message: str,
    *,
    frames: Sequence[int] = (),
    evidence: Mapping[str, Any] | None = None,
    mend: str = "",
) -> Finding:
    """A `Finding` about the frames given."""
    return Finding(
        severity=severity,
        check=check,
        message=message,
        frames=tuple(int(f) for f in frames[:KEPT]),
        count=len(frames),
        evidence=evidence or {},
        mend=mend,
    )


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Everything a check found.

    Attributes:
        source: the file or the name of the data set.
        domain: what a sample is.
        frames: samples there are.
        read: samples that were looked at.
        summary: counts, ranges and histograms.
        findings: errors first.
    """

    source: str
    domain: str
    frames: int
    read: int
    summary: dict[str, Any]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return not self.of("error")

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(f for f in self.findings if f.severity == severity)

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, for JSON."""
        return {
            "source": self.source,
            "domain": self.domain,
            "frames": self.frames,
            "read": self.read,
            "ok": self.ok,
            "summary": self.summary,
            "findings": [f.to_dict() for f in self.findings],
        }

    def __str__(self) -> str:
        counts = ", ".join(
            f"{n} {SAID[s]}{'' if n == 1 else 's'}" for s in ORDER if (n := len(self.of(s)))
        )
        lines = [str(f) for f in self.findings]
        return "\n".join([*lines, f"{self.source}: {counts or 'nothing to report'}"])
