"""Learning rate as a function of progress.

Progress is the larger of steps done / steps planned and time spent / time allowed, so a run that
stops by the clock still ends at the schedule's last value.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Plateau:
    """State of the plateau schedule: the factor now, the best score, validations since then."""

    factor: float = 1.0
    best: float = math.inf
    waited: int = 0

    def step(self, score: float, *, shrink: float, patience: int, final: float) -> None:
        """Takes a validation score in; lower is better."""
        if score < self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited >= patience:
            self.factor, self.waited = max(self.factor * shrink, final), 0


def factor(
    kind: str,
    *,
    step: int,
    progress: float,
    warmup: int,
    final: float,
    plateau: float = 1.0,
    milestones: Sequence[float] = (),
    shrink: float = 1.0,
) -> float:
    """Factor on the base learning rate.

    Args:
        kind: constant, cosine, exponential, plateau or milestones.
        step: optimiser steps done.
        progress: part of the run that is over, in [0, 1].
        warmup: steps of linear warm-up, from 1 / warmup to 1.
        final: factor at the end of cosine and exponential.
        plateau: factor of the plateau schedule now.
        milestones: parts of the run after each of which `milestones` multiplies by `shrink`.
        shrink: see `milestones`.

    Returns:
        The factor, > 0 unless `final` is 0.
    """
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    part = min(max(progress, 0.0), 1.0)
    if kind == "cosine":
        return ramp * (final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * part)))
    if kind == "exponential":
        return ramp * math.pow(max(final, 1e-8), part)
    if kind == "milestones":
        return ramp * math.pow(shrink, sum(part >= place for place in milestones))
    return ramp * (plateau if kind == "plateau" else 1.0)


def seconds(duration: str | None) -> float | None:
    """Reads `HH:MM:SS`."""
    if duration is None:
        return None
    hours, minutes, rest = duration.split(":")
    return int(hours) * 3600.0 + int(minutes) * 60.0 + int(rest)
