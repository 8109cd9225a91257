"""Parity plot and learning curve as PNG, through matplotlib's objects; no global figure state."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from zoo._files import write_atomic
from zoo.training.metrics import UNITS, Array, Evaluation, remove_offsets

BEFORE, AFTER, GRID, INK = "#b9b4a9", "#1f6f8b", "#e6e6e6", "#333333"
MAX_POINTS, MAX_PANELS = 20_000, 6
_COMPONENTS = {
    "forces": ("force", "eV/Å", "meV/Å"),
    "stress": ("stress", "eV/Å³", "meV/Å³"),
}


def parity_plot(
    path: Path, after: Evaluation, before: Evaluation | None = None, *, title: str = ""
) -> None:
    """Draws predictions against labels: energies, forces, stresses and properties side by side.

    Energies are per atom, both sides relative to the mean label and without the best constant per
    element, which would hide everything else.

    Args:
        path: the PNG to write.
        after: the evaluation of the model.
        before: of the model before training, drawn behind it.
        title: of the whole figure.
    """
    panels = [name for name in ("energy", *_COMPONENTS) if len(getattr(after, name)[0])]
    panels += [name for name, (found, _) in after.properties.items() if len(found)]
    panels = panels[:MAX_PANELS]
    count = max(len(panels), 1)
    # square panels leave three of them no height for the titles
    size = (5.2 * count, 5.2 if count < 3 else 5.6)
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis, name in zip(axes, panels, strict=False):
        if name == "energy":
            _energy_panel(axis, after, before)
        elif name in after.properties:
            _property_panel(axis, name, after, before)
        else:
            _components_panel(axis, name, after, before)
    if title:
        figure.suptitle(title, color=INK)
    _save(figure, path)


def learning_curve(path: Path, history: Sequence[Mapping[str, float]], *, title: str = "") -> None:
    """Draws validation errors and the losses over the time spent, both on logarithmic axes.

    Args:
        path: the PNG to write.
        history: rows with `seconds`, `train_loss`, and where validated `val_loss`,
            `val_forces_mae`, `val_energy_mae_per_atom`.
        title: of the figure.
    """
    figure = Figure(figsize=(10.4, 4.4), dpi=130, layout="constrained")
    left, right = figure.subplots(1, 2)
    span = max((row["seconds"] for row in history), default=1.0)
    unit, scale = ("min", 60.0) if span > 300 else ("s", 1.0)
    for key, label, colour in (
        ("val_forces_mae", "forces (meV/Å)", AFTER),
        ("val_energy_mae_per_atom", "energy (meV/atom)", "#c8553d"),
    ):
        _curve(left, history, key, label, colour, scale)
    for key, label, colour in (
        ("train_loss", "training", BEFORE),
        ("val_loss", "validation", AFTER),
    ):
        _curve(right, history, key, label, colour, scale)
    left.set_ylabel("validation MAE")
    right.set_ylabel("loss (powers of eV and Å)")
    for axis in (left, right):
        axis.set_xlabel(f"training time ({unit})")
        if axis.lines:
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.legend(frameon=False)
        _style(axis)
    if title:
        figure.suptitle(title, color=INK)
    _save(figure, path)


def _energy_panel(axis: Any, after: Evaluation, before: Evaluation | None) -> None:
    counts = np.asarray([len(z) for z in after.numbers], dtype=np.float64)
    target = after.energy[1]
    level = remove_offsets(after.numbers, target)
    spread = bool(np.ptp(level) > 1e-9)
    base = (level if spread else target - target.mean()) / counts

    def points(result: Evaluation) -> Array:
        error = remove_offsets(result.numbers, result.energy[0] - result.energy[1])
        return base + error / counts

    earlier = points(before) if before is not None and len(before.energy[0]) else None
    _scatter(axis, base, points(after), earlier, size=14.0)
    mae = after.metrics["energy_mae_offset"]
    axis.set_title(f"energy: MAE {mae:.1f} meV, constant per element removed", fontsize=10)
    axis.set_xlabel("reference energy, relative (eV/atom)")
    axis.set_ylabel("predicted energy, relative (eV/atom)")


def _components_panel(axis: Any, name: str, after: Evaluation, before: Evaluation | None) -> None:
    word, unit, milli = _COMPONENTS[name]
    predicted, target = getattr(after, name)
    chosen = _thin(len(predicted))
    first = getattr(before, name)[0] if before is not None else ()
    _scatter(
        axis,
        target[chosen],
        predicted[chosen],
        first[chosen] if len(first) else None,
        size=5.0,
    )
    mae = after.metrics[f"{name}_mae"]
    axis.set_title(f"{name}: MAE {mae:{'.1f' if mae >= 1.0 else '.3g'}} {milli}", fontsize=10)
    axis.set_xlabel(f"reference {word} component ({unit})")
    axis.set_ylabel(f"predicted {word} component ({unit})")


def _property_panel(axis: Any, name: str, after: Evaluation, before: Evaluation | None) -> None:
    predicted, target = after.properties[name]
    chosen = _thin(len(predicted))
    old = before.properties.get(name) if before is not None else None
    _scatter(
        axis,
        target[chosen],
        predicted[chosen],
        None if old is None else old[0][chosen],
        size=5.0,
    )
    word = name.replace("_", " ")
    axis.set_title(f"{word}: MAE {after.metrics[f'{name}_mae']:.3g} {UNITS[f'{name}_mae']}")
    axis.set_xlabel(f"reference {word}")
    axis.set_ylabel(f"predicted {word}")


def _scatter(axis: Any, x: Array, y: Array, before: Array | None, *, size: float) -> None:
    low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
    margin = 0.04 * (high - low or 1.0)
    limits = (low - margin, high + margin)
    options = {"s": size, "linewidths": 0, "rasterized": True}
    if before is not None:
        axis.scatter(x, before, color=BEFORE, alpha=0.6, label="before", **options)
    axis.plot(limits, limits, color=INK, linewidth=0.8, zorder=3)
    axis.scatter(x, y, color=AFTER, alpha=0.6, label="after", zorder=4, **options)
    axis.set_xlim(limits)
    axis.set_ylim(limits)
    axis.set_aspect("equal")
    if before is not None:
        axis.legend(frameon=False, loc="upper left", markerscale=2.0)
    _style(axis)


def _curve(
    axis: Any,
    history: Sequence[Mapping[str, float]],
    key: str,
    label: str,
    colour: str,
    scale: float,
) -> None:
    rows = [row for row in history if row.get(key, 0.0) > 0.0]
    if rows:
        x = [row["seconds"] / scale for row in rows]
        marker = "o" if len(rows) < 3 else None
        axis.plot(x, [row[key] for row in rows], color=colour, label=label, marker=marker)


def _style(axis: Any) -> None:
    axis.grid(True, which="major", color=GRID, linewidth=0.7)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _thin(count: int) -> npt.NDArray[np.int64]:
    """At most `MAX_POINTS` positions, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_POINTS)).astype(np.int64))


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    write_atomic(path, buffer.getvalue())
