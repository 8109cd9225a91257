"""What `zoo bench tensor-products` writes and says: tables, a plot, and a recommendation."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullFormatter

from zoo._files import write_atomic
from zoo.apps._bench_tp import PEER, Row, coefficients

#: columns of the printed table, and the heads they go by
COLUMNS = {
    "setting": "setting",
    "lmax": "L",
    "method": "method",
    "forward_ms": "forward (ms)",
    "step_ms": "step (ms)",
    "us_per_output": "step per output (us)",
    "memory_mb": "memory (MB)",
    "outputs": "outputs",
    "rank": "rank",
    "interacts": "interacts",
    "e3nn_over": "e3nn / this",
    "note": "note",
}
#: a smaller ratio of two times is no reason to choose
CLEARLY = 1.1
FIELDS = ("channels", "batch", "device")
COLOURS = {
    "cg": "#1f6f8b",
    "cg_sparse": "#63b3c9",
    "gaunt_grid": "#c8553d",
    "gaunt_fourier": "#e9a58f",
    "matrix": "#7a6f9b",
    "vector_gaunt": "#5f8f4e",
    "cp": "#b07c1f",
    PEER: "#333333",
}
GRID, INK = "#e6e6e6", "#333333"


def table_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows under the heads of the printed table, numbers rounded for the eye."""
    return [
        {head: _short(row.get(name)) for name, head in COLUMNS.items() if name in row}
        for row in rows
    ]


def _short(value: Any) -> Any:
    return float(f"{value:.3g}") if isinstance(value, float) else value


def write(folder: Path, rows: Sequence[Row], machine: Mapping[str, Any]) -> list[Path]:
    """Writes `tensor-products.csv`, `tensor-products-paths.csv` and `tensor-products.png`.

    Args:
        folder: made if missing.
        rows: what `measure` returned.
        machine: what the numbers were measured on.

    Returns:
        The files.

    Raises:
        OutputError: a folder that can't be written.
    """
    files = [folder / f"tensor-products{end}" for end in (".csv", "-paths.csv", ".png")]
    about = {key: value for key, value in machine.items() if key != "what"}
    names = [*COLUMNS, "paths", *FIELDS, *about]
    write_atomic(files[0], _csv([row | about for row in rows], names))
    paths, methods = path_rows(rows)
    write_atomic(files[1], _csv(paths, ["setting", "lmax", "path", *methods]))
    _plot(files[2], rows, about)
    return files


def path_rows(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Each allowed path at the highest degree, with every method's coefficient; and the methods."""
    methods = list(dict.fromkeys(row["method"] for row in rows if row["method"] != PEER))
    out: list[Row] = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        degree = max(row["lmax"] for row in rows if row["setting"] == setting)
        found = {method: coefficients(setting, degree, method) for method in methods}
        for path in next(iter(found.values()), {}):
            values = {method: found[method][path] for method in methods}
            out.append({"setting": setting, "lmax": degree, "path": path} | values)
    return out, methods


def _csv(rows: Sequence[Row], names: Sequence[str]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


# --- the recommendation -------------------------------------------------------------------------


def recommendation(rows: Sequence[Row]) -> list[str]:
    """For the highest degree of each setting, which method to take and what it gives up."""
    lines = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        mine = [row for row in rows if row["setting"] == setting]
        degree = max(row["lmax"] for row in mine)
        at = [row for row in mine if row["lmax"] == degree and "step_ms" in row]
        ours = [row for row in at if row["method"] != PEER]
        if ours:
            lines.append(_advice(setting, ours, mine))
    return lines


def _advice(setting: str, ours: Sequence[Row], rows: Sequence[Row]) -> str:
    first = ours[0]
    where = f"{first['channels']} channel{'s' if first['channels'] > 1 else ''}"
    text = f"{setting}, L = {first['lmax']}, {where}, {first['device']}: "
    full = max(row["rank"] for row in ours)
    free = min((row for row in ours if row["rank"] == full), key=lambda row: row["step_ms"])
    fast = min(ours, key=lambda row: row["step_ms"])
    text += (
        f"for the most freedom ({full} dimensions of maps, {free['interacts']} paths) take "
        f"{free['method']}, {free['step_ms']:.3g} ms a step"
    )
    if free["step_ms"] < CLEARLY * fast["step_ms"]:
        return text + "; nothing measured here is clearly faster."
    text += (
        f". {fast['method']} is {free['step_ms'] / fast['step_ms']:.2g} times as fast, with "
        f"{fast['rank']} dimensions and {fast['interacts']} paths"
    )
    since = _faster_from(fast["method"], free["method"], rows)
    text += f"; it is the faster one from L = {since} on" if since else ""
    whole = [row for row in ours if _reaches_all(row) and row["rank"] < full]
    whole = [row for row in whole if row["step_ms"] < free["step_ms"] and row is not fast]
    if whole and not _reaches_all(fast):
        other = min(whole, key=lambda row: row["step_ms"])
        text += (
            f". {other['method']} reaches every path with {other['rank']} dimensions in "
            f"{other['step_ms']:.3g} ms"
        )
    return text + "."


def _reaches_all(row: Row) -> bool:
    reached, allowed = str(row["interacts"]).split("/")
    return reached == allowed


def _faster_from(fast: str, slow: str, rows: Sequence[Row]) -> int | None:
    """The degree from which one method is faster than another, as far as measured."""
    times = {(row["method"], row["lmax"]): row["step_ms"] for row in rows if "step_ms" in row}
    since = None
    for degree in sorted({degree for _, degree in times}, reverse=True):
        pair = times.get((fast, degree)), times.get((slow, degree))
        if pair[0] is None or pair[1] is None:
            continue
        if pair[0] >= pair[1]:
            break
        since = degree
    return since


# --- the plot -----------------------------------------------------------------------------------


def _plot(path: Path, rows: Sequence[Row], machine: Mapping[str, Any]) -> None:
    """Step times of each setting above; per output, memory and rank of the last one below."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    figure = Figure(figsize=(13.5, 8.0), dpi=110, layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, setting in zip(axes[0], settings, strict=False):
        _panel(axis, rows, setting, "step_ms", "step (ms)")
    for axis in axes[0][len(settings) :]:
        axis.set_visible(False)
    last = settings[-1]
    _panel(axes[1][0], rows, last, "us_per_output", "step per output irrep (us)")
    _panel(axes[1][1], rows, last, "memory_mb", "memory of a step (MB)")
    _panel(axes[1][2], rows, last, "rank", "dimensions of reachable maps")
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=len(handles) or 1,
        frameon=False,
    )
    first = rows[0]
    figure.suptitle(
        f"Tensor products: {first['channels']} channel(s), {first['batch']} samples, float32, "
        f"{first['device']} ({machine.get('gpu') or machine.get('cpu')}, "
        f"{machine.get('threads')} threads)",
        color=INK,
    )
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_atomic(path, buffer.getvalue())


def _panel(axis: Axes, rows: Sequence[Row], setting: str, name: str, label: str) -> None:
    for method, colour in COLOURS.items():
        mine = [r for r in rows if (r["setting"], r["method"]) == (setting, method) and name in r]
        if mine:
            style = {"linestyle": "--"} if method == PEER else {}
            axis.plot(
                [row["lmax"] for row in mine],
                [row[name] for row in mine],
                color=colour,
                marker="o",
                markersize=3.5,
                label=method,
                **style,  # type: ignore[arg-type]
            )
    axis.set_title(setting, fontsize=10)
    axis.set_xlabel("L")
    axis.set_ylabel(label)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(True, which="major", color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
