"""The figure of a certificate: errors against their tolerances, as SVG in the page's colours."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from zoo._certificates import EQUIVARIANCE, PRECISIONS

WIDTH, LEFT, RIGHT, ROW, TOP = 680, 190, 14, 24, 14
EXACT = 1e-18  # where an error of zero is drawn


def certificate(results: Iterable[Mapping[str, Any]], *, title: str) -> str:
    """One line per check: a dot for the error in each precision, a bar for its tolerance.

    Args:
        results: of `zoo._certificates.of`.
        title: what a screen reader says of the figure.

    Returns:
        SVG for the middle of a page, on one line; empty if nothing was measured.
    """
    checks: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in results:
        if _number(row["error"]) and _number(row["tolerance"]) and row["tolerance"] > 0:
            checks.setdefault(row["name"], {})[row["dtype"]] = row
    names = sorted(checks, key=lambda name: (name not in EQUIVARIANCE, name))
    if not names:
        return ""
    rows = [row for name in names for row in checks[name].values()]
    high = max(float(row[key]) for row in rows for key in ("error", "tolerance"))
    axis = _Axis(math.floor(math.log10(EXACT)), math.ceil(math.log10(high)))
    height = TOP + ROW * len(names) + 44
    parts = [
        f'<svg class="zoo-figure" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    parts += axis.draw(TOP + ROW * len(names))
    for index, name in enumerate(names):
        parts += _line(axis, name, checks[name], TOP + ROW * (index + 0.5))
    parts += [*_legend(height - 6), "</svg>"]
    return "".join(parts)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


class _Axis:
    """Powers of ten from left to right."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def at(self, value: float) -> float:
        """Where a number lies; what is smaller than the least power lies there."""
        share = (math.log10(max(value, EXACT)) - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def draw(self, bottom: float) -> Sequence[str]:
        """Lines and labels."""
        parts: list[str] = []
        step = max(1, round((self.high - self.low) / 7))
        for power in range(self.high, self.low, -step):
            parts += self._line(self.at(10.0**power), f"1e{power}", bottom)
        return [*parts, *self._line(self.at(0.0), "0", bottom)]

    def _line(self, x: float, label: str, bottom: float) -> Sequence[str]:
        return [
            f'<path class="grid" d="M{x:.1f} {TOP}V{bottom}"/>',
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>',
        ]


def _line(
    axis: _Axis, name: str, measured: Mapping[str, Mapping[str, Any]], y: float
) -> Sequence[str]:
    kind = "law" if name in EQUIVARIANCE else "other"
    label = escape(name.replace("_", " "))
    parts = [f'<text class="{kind}" x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{label}</text>']
    for precision in PRECISIONS:
        if precision not in measured:
            continue
        error, bound = (float(measured[precision][key]) for key in ("error", "tolerance"))
        words = escape(f"{name}, {precision}: error {error:.1e}, tolerance {bound:.0e}")
        bar, dot = axis.at(bound), axis.at(error)
        parts.append(f'<path class="{precision}" d="M{bar:.1f} {y - 7}v14"/>')
        parts.append(
            f'<circle class="{precision} {kind}" cx="{dot:.1f}" cy="{y}" r="4.5">'
            f"<title>{words}</title></circle>"
        )
    return parts


def _legend(y: float) -> Sequence[str]:
    parts, x = [], LEFT
    for precision in PRECISIONS:
        parts.append(f'<circle class="{precision} law" cx="{x + 6}" cy="{y - 4}" r="4.5"/>')
        parts.append(f'<text x="{x + 16}" y="{y}">error, {precision}</text>')
        x += 120
    parts.append(f'<path class="float32" d="M{x + 6} {y - 11}v14"/>')
    parts.append(f'<text x="{x + 16}" y="{y}">tolerance</text>')
    return parts
