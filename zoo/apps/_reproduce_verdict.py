"""Ours beside the reference: as good, better, or how far away."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.training.recipe import ReproduceRow

PASS, GAP, FAILED = "PASS", "GAP", "FAILED"
#: standard deviations that ours may be worse by, and the part of the mean where none is published
DEVIATIONS, PART = 2.0, 0.05


@dataclass(frozen=True)
class Verdict:
    """How ours compares.

    Attributes:
        result: "PASS", "GAP", or "FAILED" where there is nothing to compare, or where what there is
            would pass but runs failed.
        ours: the statistic over all runs.
        reference: the number that it is held against.
        bound: the worst value that passes.
        better: whether ours is better than the reference.
        difference: ours minus the reference.
        relative: the same as a part of the reference's size; None where that is 0.
        words: all of it in a sentence.
    """

    result: str
    ours: float | None
    reference: float
    bound: float
    better: bool = False
    difference: float | None = None
    relative: float | None = None
    words: str = ""


def summary(values: Sequence[float], statistic: str) -> tuple[float, float | None]:
    """The statistic of some runs, and their standard deviation (divisor n - 1; None for one)."""
    middle = statistics.median(values) if statistic == "median" else statistics.fmean(values)
    return middle, statistics.stdev(values) if len(values) > 1 else None


def bound_of(row: ReproduceRow, reference: float, *, higher: bool) -> float:
    """The worst value that passes: see `ReproduceRow`.

    Args:
        row: what is allowed.
        reference: the published mean, the goal, or the other row's result.
        higher: whether a higher value is better.
    """
    better = 1.0 if higher else -1.0
    if row.published is not None:
        std = row.published.std
        return reference - better * (PART * abs(reference) if std is None else DEVIATIONS * std)
    return reference if row.against is None else reference + better * row.against.margin


def judge(
    row: ReproduceRow, ours: float | None, reference: float, *, higher: bool, failed: str = ""
) -> Verdict:
    """Compares ours with the reference.

    Args:
        row: what is allowed.
        ours: None where no run was finished.
        reference: see `bound_of`.
        higher: whether a higher value is better.
        failed: which runs failed and why, in words; then nothing passes.
    """
    bound = bound_of(row, reference, higher=higher)
    if ours is None:
        words = "; ".join(["FAILED: no run was finished", *([failed] if failed else [])])
        return Verdict(FAILED, None, reference, bound, words=words)
    better = ours > reference if higher else ours < reference
    passed = ours >= bound if higher else ours <= bound
    difference = ours - reference
    relative = difference / abs(reference) if reference else None
    result = PASS if passed else GAP
    than = "than" if difference else "to"
    size = f"{_size(better, difference, relative)}{_allowed(row, bound, passed, than)}"
    if failed and passed:
        result, size = FAILED, f"{failed}; without them {size}"
    elif failed:
        size = f"{size}; {failed}"
    words = f"{result}: {size}"
    return Verdict(result, ours, reference, bound, better, difference, relative, words)


def _size(better: bool, difference: float, relative: float | None) -> str:
    if difference == 0:
        return "equal"
    per_cent = "" if relative is None else f" ({abs(relative):.1%})".replace("%", " %")
    return f"{'better' if better else 'worse'} by {abs(difference):.4g}{per_cent}"


def _allowed(row: ReproduceRow, bound: float, passed: bool, than: str) -> str:
    """What was asked for, where the size alone does not say it."""
    if row.published is not None:
        std = row.published.std
        room = "5 %" if std is None else f"two standard deviations ({DEVIATIONS * std:.4g})"
        return "" if passed else f"; {room} would pass"
    if row.against is not None:
        return f" {than} {row.against.row}; {row.against.margin:.4g} asked for"
    return f" {than} the goal {bound:.4g}"
