"""Resident memory of this process, in MB."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def reset_peak() -> float:
    """Forgets the peak so far where the system can (Linux), and returns the memory in use."""
    if not _STATUS.is_file():
        return peak_memory()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def peak_memory() -> float:
    """The largest resident memory since the last reset, or since the start."""
    if _STATUS.is_file():
        return _status("VmHWM")
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _status(field: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0.0
