"""The plot of how far the models of hyperbolic space reach, as PNG."""

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zoo.functional.radius import radius_errors, representable_radius

LABELS = {
    "poincare": "point of the Poincaré ball",
    "lorentz": "point of the hyperboloid, arcosh",
    "euclidean": "tangent vector at the origin (zoo)",
}


def plot_radii(path: str | Path, *, largest: float = 45.0, points: int = 400) -> Path:
    """Draws the relative error of a distance against the distance, for both precisions.

    The dashed lines are the limits of arXiv:2211.00181, see `representable_radius`.

    Args:
        path: of the PNG.
        largest: distance from the origin, in units of 1 / sqrt(c).
        points: per curve.

    Returns:
        The path.
    """
    radii = torch.linspace(0.1, largest, points, dtype=torch.float64)
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, dtype in zip(panels, (torch.float32, torch.float64), strict=True):
        for number, (name, errors) in enumerate(radius_errors(radii, dtype).items()):
            floor = errors.clamp(min=1e-17, max=10.0)
            panel.semilogy(radii.tolist(), floor.tolist(), label=LABELS[name], color=f"C{number}")
        for number, model in enumerate(("poincare", "lorentz")):
            limit = representable_radius(model, dtype)  # type: ignore[arg-type]
            panel.axvline(limit, color=f"C{number}", linestyle="--", linewidth=1)
        panel.set_title(str(dtype).removeprefix("torch."))
        panel.set_xlabel("distance from the origin")
    panels[0].set_ylabel("relative error (10: nothing finite)")
    panels[1].legend(fontsize="small")
    canvas.print_png(str(path))
    return Path(path)
