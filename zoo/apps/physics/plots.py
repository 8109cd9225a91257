"""Plots of a physical evaluation as PNG, through matplotlib's objects; no global figure state."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zoo._files import write_atomic
from zoo.apps.physics._result import PROPERTIES, PhysicsReport

MODEL, REFERENCE, GRID, INK = "#1f6f8b", "#b9b4a9", "#e6e6e6", "#333333"


def write_plots(report: PhysicsReport, folder: str | Path) -> list[Path]:
    """Draws what a report has points for.

    Args:
        report: from `measure`.
        folder: where the PNGs go.

    Returns:
        The files: `frequencies.png`, `energy.png` (conservation), `own_frames.png`,
        `energy_volume.png`, `percent.png`, `alloys.png`, `torsions.png`, as far as
        measured.
    """
    drawn = {
        "frequencies": _frequencies(report),
        "energy": _lines(
            report.curves.get("nve/all"), "energies", "total energy less its start (meV/atom)"
        ),
        "own_frames": _lines(
            report.curves.get("stability/all"), "errors", "force error on own frames (meV/Å)"
        ),
        "energy_volume": _energy_volume(report),
        "percent": _percent(report),
        "alloys": _alloys(report),
        "torsions": _torsions(report),
    }
    written = []
    for name, figure in drawn.items():
        if figure is not None:
            figure.suptitle(f"{report.name} beside {report.reference}", color=INK, fontsize=11)
            written.append(Path(folder) / f"{name}.png")
            _save(figure, written[-1])
    return written


def _frequencies(report: PhysicsReport) -> Figure | None:
    rows = [row for row in report.rows if row.quantity == "frequency"]
    if not rows:
        return None
    figure = Figure(figsize=(10.4, 4.8), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    systems = list(dict.fromkeys(row.system for row in rows))
    for system, colour in zip(systems, _colours(len(systems)), strict=True):
        pairs = np.array([(r.reference, r.model) for r in rows if r.system == system], dtype=float)
        left.scatter(pairs[:, 0], pairs[:, 1], s=12, color=colour, linewidths=0, label=system)
        right.scatter(pairs[:, 0], pairs[:, 1] - pairs[:, 0], s=12, color=colour, linewidths=0)
    limits = left.get_xlim()
    left.plot(limits, limits, color=INK, linewidth=0.8)
    right.axhline(0.0, color=INK, linewidth=0.8)
    left.set_ylabel("model (cm$^{-1}$)")
    right.set_ylabel("model less reference (cm$^{-1}$)")
    left.legend(frameon=False, fontsize=8, markerscale=1.5)
    for axis in (left, right):
        axis.set_xlabel("reference frequency (cm$^{-1}$)")
        _style(axis)
    return figure


def _lines(curves: Mapping[str, Any] | None, key: str, label: str) -> Figure | None:
    if not curves or not curves[key]:
        return None
    figure = Figure(figsize=(7.6, 4.6), dpi=130, layout="constrained")
    axis = figure.subplots()
    for (name, values), colour in zip(curves[key].items(), _colours(len(curves[key])), strict=True):
        times = curves["times"][: len(values)]
        axis.plot(times, values, color=colour, linewidth=1.0, label=name)
    axis.set_xlabel("time (ps)")
    axis.set_ylabel(label)
    axis.legend(frameon=False, fontsize=8, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _style(axis)
    return figure


def _energy_volume(report: PhysicsReport) -> Figure | None:
    metals = [name for name in report.curves if name.startswith("bulk/")]
    if not metals:
        return None
    figure, axes = _panels(len(metals), columns=4, size=(3.0, 2.9), rows="energy (meV/atom)")
    for axis, name in zip(axes, metals, strict=True):
        for which, colour, mark in (("reference", REFERENCE, "o"), ("model", MODEL, ".")):
            curve = report.curves[name][which]
            energies = np.array(curve["energies"])
            rise = 1e3 * (energies - energies.min())
            axis.plot(curve["volumes"], rise, mark, color=colour, label=which, linestyle="-")
        axis.set_title(name.removeprefix("bulk/"), fontsize=10)
        axis.set_xlabel("volume (Å$^3$/atom)")
        _style(axis)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _percent(report: PhysicsReport) -> Figure | None:
    """Errors in per cent, one column of points per property of the pure metals."""
    names = [
        name
        for name, facts in PROPERTIES.items()
        if facts.percent and not name.startswith("alloy") and _has(report, name)
    ]
    if not names:
        return None
    figure = Figure(figsize=(1.6 + 1.05 * len(names), 4.4), dpi=130, layout="constrained")
    axis = figure.subplots()
    systems = list(dict.fromkeys(r.system for r in report.rows if r.quantity in names))
    spread = np.linspace(-0.25, 0.25, len(systems)) if len(systems) > 1 else [0.0]
    for system, colour, shift in zip(systems, _colours(len(systems)), spread, strict=True):
        found = {r.quantity: r.percent for r in report.rows if r.system == system}
        points = [(k + shift, found[n]) for k, n in enumerate(names) if found.get(n) is not None]
        at, errors = np.array(points, dtype=float).reshape(-1, 2).T
        axis.scatter(at, errors, s=22, color=colour, label=system, zorder=3)
    axis.axhline(0.0, color=INK, linewidth=0.8)
    axis.set_xticks(range(len(names)), [n.replace("_", "\n") for n in names], fontsize=8)
    axis.set_ylabel("error (% of the reference)")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _style(axis)
    return figure


def _alloys(report: PhysicsReport) -> Figure | None:
    if not _has(report, "alloy_formation"):
        return None
    figure = Figure(figsize=(9.6, 4.8), dpi=130, layout="constrained")
    panels = {
        "alloy_lattice_constant": "lattice constant (Å)",
        "alloy_formation": "formation energy (eV/atom)",
    }
    for axis, (name, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        pairs = [(r.reference, r.model) for r in report.rows if r.quantity == name]
        theirs, ours = np.array(pairs, dtype=float).T
        axis.scatter(theirs, ours, s=16, color=MODEL, linewidths=0, zorder=3)
        limits = axis.get_xlim()
        axis.plot(limits, limits, color=INK, linewidth=0.8)
        axis.set_xlabel(f"reference {label}")
        axis.set_ylabel(f"model {label}")
        _style(axis)
    return figure


def _torsions(report: PhysicsReport) -> Figure | None:
    scans = [name for name in report.curves if name.startswith("torsions/")]
    if not scans:
        return None
    figure, axes = _panels(len(scans), columns=3, size=(3.2, 2.5), rows="energy (meV)")
    for axis, name in zip(axes, scans, strict=True):
        curve = report.curves[name]
        for which, colour, mark in (("reference", REFERENCE, "o"), ("model", MODEL, ".")):
            axis.plot(curve["angles"], curve[which], mark, color=colour, label=which, linestyle="-")
        axis.set_title(name.removeprefix("torsions/"), fontsize=10)
        axis.set_xlabel("dihedral (degrees)")
        _style(axis)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def _panels(
    count: int, *, columns: int, size: tuple[float, float], rows: str
) -> tuple[Figure, list[Any]]:
    """So many small plots in lines, each of a size in inches; `rows` stands left of each line."""
    columns = min(columns, count)
    lines = -(-count // columns)
    figsize = (size[0] * columns + 0.6, size[1] * lines)
    figure = Figure(figsize=figsize, dpi=130, layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).ravel())
    for axis in axes[count:]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel(rows)
    return figure, axes[:count]


def _has(report: PhysicsReport, name: str) -> bool:
    return any(row.quantity == name for row in report.rows)


def _colours(count: int) -> list[Any]:
    return [colormaps["tab10"](k % 10) for k in range(count)]


def _style(axis: Any) -> None:
    axis.grid(True, which="major", color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_atomic(path, buffer.getvalue())
