"""`report.md`: the outcome of a run on one page, beside the weights."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zoo import __version__
from zoo._extras import versions
from zoo._files import write_atomic
from zoo.training.metrics import UNITS
from zoo.training.report import Report, hardware

PAGE = "report.md"
ROWS = 12  # of the history


def machine() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "hardware": hardware(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "versions": {"geometric-zoo": __version__, **versions("torch", "lightning", "numpy")},
    }


def timings(seconds: float, steps: int) -> dict[str, float]:
    """How long training took, validation and loading included."""
    each = {"ms_per_step": round(1000.0 * seconds / steps, 3)} if steps else {}
    return {"training_seconds": round(seconds, 3), **each}


def write_page(report: Report, settings: Path, plots: Sequence[str]) -> None:
    """Writes the page.

    Args:
        report: of the run; its path takes the page.
        settings: the file with the run's settings.
        plots: names of the PNG files in that folder.
    """
    details = report.details
    parts = [f"# {details.get('name', report.path.name)}", ""]
    if details.get("description"):
        parts += [str(details["description"]), ""]
    parts += ["## Errors", "", _errors(report.metrics), ""]
    parts += [f"![{Path(name).stem.replace('_', ' ')}]({name})\n" for name in plots]
    parts += ["## History", "", "Errors in the units of the table above.", ""]
    parts += [_history(report.history), ""]
    left_out = {"name", "description", "machine", "timings", "data", "old_data"}
    run = {key: value for key, value in details.items() if key not in left_out}
    for title, values in (
        ("Run", run),
        ("Data", details.get("data")),
        ("Old data", details.get("old_data")),
        ("Timings", details.get("timings")),
        ("Machine", details.get("machine")),
    ):
        if isinstance(values, Mapping) and values:
            parts += [f"## {title}", "", *_entries(values), ""]
    if settings.is_file():
        parts += ["## Settings", "", "```yaml", settings.read_text().rstrip(), "```", ""]
    write_atomic(report.path / PAGE, "\n".join(parts))


def _errors(metrics: Mapping[str, Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for part in metrics.values() for name in part))
    heads = [f"{name} ({UNITS[name]})" if UNITS.get(name) else name for name in names]
    rows = [
        [part, *(_number(values.get(name)) for name in names)] for part, values in metrics.items()
    ]
    return _table(["frames", *heads], rows)


def _history(history: Sequence[Mapping[str, float]]) -> str:
    """At most so many rows, spread evenly, the last one included."""
    if not history:
        return "No validation took place."
    stride = -(-len(history) // ROWS)
    shown = history[::-1][::stride][::-1]
    columns = [name for name in shown[-1] if "/" not in name]
    return _table(columns, [[_number(row.get(name)) for name in columns] for row in shown])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _entries(values: Mapping[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}- {key}:", *_entries(value, indent + "  ")]
        elif value is not None:
            lines.append(f"{indent}- {key}: {_number(value)}")
    return lines


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "-" if value is None else str(value)
