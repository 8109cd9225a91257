"""Fair timing: the contestants take turns in one run, and what is quoted are medians."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def interleaved(
    contestants: Mapping[str, Callable[[], object]], *, repeats: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Times functions in turn, so that a drift of the machine's speed meets all of them.

    Args:
        contestants: what to run, by name.
        repeats: timed rounds.
        warmup: rounds before them.

    Returns:
        Seconds of each round, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for round_index in range(warmup + repeats):
        for name, function in contestants.items():
            start = time.perf_counter()
            function()
            if round_index >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ms(seconds: list[float]) -> float:
    """The median in milliseconds."""
    return 1e3 * statistics.median(seconds)


def median_ratio(numerator: list[float], denominator: list[float]) -> float:
    """The median over rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def machine() -> dict[str, Any]:
    """What a number has to be read with."""
    return {
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _cpu() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
