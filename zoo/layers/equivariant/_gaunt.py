"""Gaunt products: two functions on the sphere multiplied point by point.

    z^k_m = n_k w3_k integral X(r) Y(r) Y_km(r) dOmega,   X = sum_i w1_i sum_m x^i_m Y_im(r)

with orthonormal harmonics, so the path (i, j, k) has the weight w1_i w2_j w3_k times the Gaunt
coefficient, which vanishes for odd l1 + l2 + l3. n_k makes the components of z have variance one
if those of x and y have it and weights are one. Irreps of the other parity, p = -(-1)^l, are
coefficients of pseudo-functions; function times pseudo-function is a pseudo-function.

Grid variant: X and Y are evaluated on a grid whose quadrature is exact for their product with the
output (Xie et al., The Price of Freedom, arXiv:2506.13523). The grid is symmetric under inversion,
where functions of even and odd degree are even and odd, so half of its points carry everything.
Fourier variant: X and Y as two-dimensional Fourier series, whose coefficients are convolved by
fast transforms (Luo et al., arXiv:2401.10216).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.gaunt import (
    from_fourier,
    gaunt,
    grid_size,
    hemisphere,
    to_fourier,
)
from zoo.functional.sphere import LEBEDEV_ORDERS, gauss_legendre, lebedev, to_grid_matrix
from zoo.layers.equivariant import _multilinear
from zoo.layers.equivariant._legs import Irrep, Legs
from zoo.layers.equivariant._method import DegreeWeighted, grouped, single_kinds

GRIDS = ("gauss_legendre", "lebedev")
#: products further than this from the exact ones are aliasing, not rounding
ALIASING_LIMIT = 1e-6

Class = tuple[int, int]


def even(a: Irrep, b: Irrep, c: Irrep) -> bool:
    """Whether functions on the sphere couple these: an even sum of degrees."""
    return (a.l + b.l + c.l) % 2 == 0


class GauntGrid(DegreeWeighted):
    """By values on a grid.

    Args:
        legs: both inputs and the output.
        grid: "gauss_legendre" or "lebedev"; without `resolution` both are exact.
        resolution: (lat, lon) of a Gauss-Legendre grid.
        allow_aliasing: whether to accept a grid that is too coarse.

    Raises:
        ConfigError: an unknown grid; one too coarse, with the measured error.
    """

    expresses = staticmethod(even)

    def __init__(
        self,
        legs: Legs,
        *,
        grid: str = "gauss_legendre",
        resolution: tuple[int, int] | None = None,
        allow_aliasing: bool = False,
    ) -> None:
        points, weights = _grid(sum(leg.lmax for leg in legs), grid, resolution)
        halved = hemisphere(points, weights)
        points, weights = halved if halved is not None else (points, weights)
        super().__init__(legs, single_kinds(legs), 4 * len(points))
        self.points = len(points)
        #: the largest error of a product of two components, measured where a resolution is given
        self.aliasing = 0.0
        spans = [grouped(leg, self.key) for leg in legs]
        if halved is None:  # then even and odd degrees stay together
            spans = [grouped(leg, lambda irrep: (irrep.kind, 0)) for leg in legs]
        self.spans = [{name: rows for name, (rows, _) in span.items()} for span in spans]
        for n, (leg, span) in enumerate(zip(legs, spans, strict=True), 1):
            for name, (_, members) in span.items():
                degrees = [leg.entries[i].l for i in members]
                source = _values if n < 3 else _projection
                self.register_constant(_name(n, name), _table(source, degrees, points, weights))
        self.terms = [
            (a, b, c)
            for a in self.spans[0]
            for b in self.spans[1]
            for c in self.spans[2]
            if a[0] * b[0] == c[0] and (a[1] + b[1] + c[1]) % 2 == 0
        ]
        if resolution is not None:
            self._check(resolution, allow_aliasing)
        self.normalize()

    @staticmethod
    def key(irrep: Irrep) -> Any:
        """Functions and pseudo-functions apart, even and odd degrees apart."""
        return (irrep.kind, irrep.l % 2)

    def _measure_aliasing(self) -> float:
        """The largest error of any product of two components, output factors being one."""
        first, second, out = self.legs
        # projected on coupling tensors, aliasing would cancel: every pair of components is needed
        x = torch.eye(first.dim, dtype=torch.float64).repeat_interleave(second.dim, 1)
        y = torch.eye(second.dim, dtype=torch.float64).repeat(1, first.dim)
        with torch.no_grad():
            z = self.double()(x[:, None], y[:, None], None)
        z = z.view(out.dim, first.dim, second.dim)
        for i, j, k in self.legs.triples():
            degrees = (first.entries[i].l, second.entries[j].l, out.entries[k].l)
            z[out.rows[k], first.rows[i], second.rows[j]] -= gaunt(*degrees).permute(2, 0, 1)
        return float(z.abs().max())

    def _check(self, resolution: tuple[int, int], allowed: bool) -> None:
        self.aliasing = self._measure_aliasing()
        degree = sum(leg.lmax for leg in self.legs)
        if self.aliasing > ALIASING_LIMIT and not allowed:
            raise ConfigError(
                f"a grid of {resolution[0]} x {resolution[1]} points is too coarse for degrees "
                f"{self.legs.in1.lmax} x {self.legs.in2.lmax} -> {self.legs.out.lmax}: products of "
                f"components are off by up to {self.aliasing:.2g} (limit {ALIASING_LIMIT:g}); "
                f"{degree // 2 + 1} x {degree + 1} points are exact, allow_aliasing=True accepts "
                "the error"
            )

    def _matrix(self, leg: int, name: Class) -> Tensor:
        table: Tensor = getattr(self, _name(leg, name))
        return table

    def _signals(self, leg: int, x: Tensor) -> dict[Class, Tensor]:
        """Values on the grid of each class, (points, columns)."""
        spans = self.spans[leg - 1]
        return {name: self._matrix(leg, name) @ x[rows].flatten(1) for name, rows in spans.items()}

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece."""
        on_x, on_y = self._signals(1, x), self._signals(2, y)
        products: dict[Class, Tensor] = {}
        for a, b, c in self.terms:
            if c in products:
                products[c].addcmul_(on_x[a], on_y[b])
            else:
                products[c] = on_x[a] * on_y[b]
        parts = [
            self._matrix(3, name) @ products[name]
            if name in products
            else x.new_zeros(rows.stop - rows.start, x[0].numel())
            for name, rows in self.spans[2].items()
        ]
        return torch.cat(parts).view(self.out_size, *x.shape[1:])

    def adjoint(self, x: Tensor, y: Tensor, w: Tensor | None, g: Tensor) -> _multilinear.Gradients:
        """Derivatives of <g, z>."""
        on_x, on_y = self._signals(1, x), self._signals(2, y)
        back = {
            name: self._matrix(3, name).T @ g[rows].flatten(1)
            for name, rows in self.spans[2].items()
        }
        to_x: dict[Class, Tensor] = {}
        to_y: dict[Class, Tensor] = {}
        for a, b, c in self.terms:
            for target, name, other in ((to_x, a, on_y[b]), (to_y, b, on_x[a])):
                if name in target:
                    target[name].addcmul_(back[c], other)
                else:
                    target[name] = back[c] * other
        return self._gathered(1, to_x, x), self._gathered(2, to_y, y), None

    def _gathered(self, leg: int, signals: dict[Class, Tensor], x: Tensor) -> Tensor:
        parts = [
            self._matrix(leg, name).T @ signals[name]
            if name in signals
            else x.new_zeros(rows.stop - rows.start, x[0].numel())
            for name, rows in self.spans[leg - 1].items()
        ]
        return torch.cat(parts).view(x.shape)


class GauntFourier(DegreeWeighted):
    """By two-dimensional Fourier series.

    Args:
        legs: both inputs and the output.
    """

    expresses = staticmethod(even)

    def __init__(self, legs: Legs) -> None:
        self.band = legs.in1.lmax + legs.in2.lmax
        #: samples of either angle: enough that products don't wrap around
        self.samples = 2 * self.band + 2
        super().__init__(legs, single_kinds(legs), 2 * self.samples**2)
        spans = [grouped(leg, self.key) for leg in legs]
        self.spans = [{name: rows for name, (rows, _) in span.items()} for span in spans]
        for n, (leg, span) in enumerate(zip(legs, spans, strict=True), 1):
            for name, (_, members) in span.items():
                source = _table(_series, [leg.entries[i].l for i in members], n, self.band)
                self.register_constant(_name(n, (name, 0)), source)
        self.terms = [
            (a, b, a * b) for a in self.spans[0] for b in self.spans[1] if a * b in self.spans[2]
        ]
        self.normalize()

    @staticmethod
    def key(irrep: Irrep) -> Any:
        """Functions and pseudo-functions apart."""
        return irrep.kind

    def _signal(self, leg: int, name: int, x: Tensor) -> Tensor:
        """Values on the torus, (samples, samples, columns)."""
        lmax, n = self.legs[leg - 1].lmax, self.samples
        table: Tensor = getattr(self, _name(leg, (name, 0)))
        real, imag = (table @ x[self.spans[leg - 1][name]].flatten(1)).chunk(2)
        spectrum = torch.complex(real, imag).view(2 * lmax + 1, lmax + 1, -1)
        gap = spectrum.new_zeros(n - 2 * lmax - 1, lmax + 1, spectrum.shape[2])
        # the transform wants orders u = 0..lmax first and -lmax..-1 last
        spectrum = torch.cat([spectrum, gap]).roll(-lmax, 0)
        values: Tensor = torch.fft.irfft2(spectrum, s=(n, n), dim=(0, 1), norm="forward")
        return values

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece."""
        on_x = {name: self._signal(1, name, x) for name in self.spans[0]}
        on_y = {name: self._signal(2, name, y) for name in self.spans[1]}
        parts = []
        for name, rows in self.spans[2].items():
            values = [on_x[a] * on_y[b] for a, b, c in self.terms if c == name]
            if not values:
                parts.append(x.new_zeros(rows.stop - rows.start, x[0].numel()))
                continue
            total = torch.stack(values).sum(0) if len(values) > 1 else values[0]
            spectrum = torch.fft.rfft2(total, dim=(0, 1), norm="forward")
            spectrum = spectrum.roll(self.band, 0)[: 2 * self.band + 1, : self.band + 1]
            flat = spectrum.flatten(0, 1)
            table: Tensor = getattr(self, _name(3, (name, 0)))
            parts.append(table @ torch.cat([flat.real, flat.imag]))
        return torch.cat(parts).view(self.out_size, *x.shape[1:])


def _grid(degree: int, grid: str, resolution: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    if grid not in GRIDS:
        raise ConfigError(f"grid={grid!r}: {nearest(grid, GRIDS)} (one of {', '.join(GRIDS)})")
    if resolution is not None:
        if grid != "gauss_legendre":
            raise ConfigError(
                f"resolution={resolution} belongs to grid='gauss_legendre', not {grid!r}"
            )
        return gauss_legendre(*resolution)
    if grid == "lebedev":
        orders = [order for order in LEBEDEV_ORDERS if order >= degree]
        if not orders:
            raise ConfigError(
                f"degrees with the sum {degree} are beyond Lebedev's rules, which end at "
                f"{LEBEDEV_ORDERS[-1]}; take grid='gauss_legendre'"
            )
        return lebedev(orders[0])
    return gauss_legendre(*grid_size(degree))


def _table(function: Callable[..., Tensor], *arguments: Any) -> Callable[[], Tensor]:
    """A source of copies of a table, computed once, in float64."""
    return function(*arguments).clone


def _name(leg: int, group: Class) -> str:
    """The buffer of a class of rows."""
    kind, parity = group
    return f"table{leg}_{'f' if kind > 0 else 'p'}{parity}"


def _columns(degrees: list[int]) -> Tensor:
    """Degree-major positions of the components of these degrees, one after another."""
    return torch.cat([torch.arange(n * n, (n + 1) ** 2) for n in degrees])


def _values(degrees: list[int], points: Tensor, weights: Tensor) -> Tensor:
    """Harmonics at the points, (points, rows)."""
    return to_grid_matrix(max(degrees), points)[:, _columns(degrees)]


def _projection(degrees: list[int], points: Tensor, weights: Tensor) -> Tensor:
    """The quadrature of a function against harmonics, (rows, points)."""
    return (_values(degrees, points, weights) * weights[:, None]).T


def _series(degrees: list[int], leg: int, band: int) -> Tensor:
    """Real and imaginary parts of the Fourier tables, as one real matrix."""
    columns = _columns(degrees)
    if leg < 3:
        table = to_fourier(max(degrees))[..., columns].flatten(0, 1)  # (u v, rows)
        return torch.cat([table.real, table.imag])
    table = from_fourier(max(degrees), band)[columns].flatten(1)  # (rows, u v)
    return torch.cat([table.real, -table.imag], dim=1)
