"""The vector Gaunt product: two vector fields on the sphere, multiplied by dot and cross products.

x becomes a field of vectors: each irrep J takes part by the two vector harmonics that are made of
Y_(J-1) and Y_(J+1), each with a weight of its own (J = 0 has one, the radial field),

    X(r) = sum_i sum_l w1_il sum_M x^i_M Y^l_JM(r),   l = J - 1, J + 1.

Irreps with the parity of functions, p = (-1)^J, make a field of polar vectors, the others one of
axial vectors. The outputs are projections of X . Y on Y_JM, and of X x Y on Y^l_JM with every
l = J - 1, J, J + 1 of the right parity; each kind has a weight, and their sum times n_k has
components of variance one if those of x and y have it and weights are one.

Unlike the product of functions, the cross product of vectors couples odd l1 + l2 + l3: two vectors
give theirs (Xie et al., The Price of Freedom, arXiv:2506.13523, on vector spherical harmonics).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from zoo.functional.clebsch_gordan import triangle
from zoo.functional.gaunt import grid_size
from zoo.functional.sphere import gauss_legendre, to_grid_matrix
from zoo.functional.vector_gaunt import vector_harmonics
from zoo.layers.equivariant._legs import Irrep, Leg, Legs
from zoo.layers.equivariant._method import DegreeWeighted, Kind

#: J of an irrep, and l of the harmonics its vector field is made of
Fields = list[tuple[int, int]]


class VectorGaunt(DegreeWeighted):
    """By values on a Gauss-Legendre grid that is exact for the product.

    Args:
        legs: both inputs and the output.
    """

    def __init__(self, legs: Legs) -> None:
        # vector harmonics of J hold degrees up to J + 1
        lat, lon = grid_size(sum(leg.lmax + 1 for leg in legs))
        self.points = lat * lon
        inputs = [_inputs(leg) for leg in legs[:2]]
        signs = {a * b for a in inputs[0] for b in inputs[1]}
        outputs, kinds = _outputs(legs.out, sorted(signs, reverse=True))
        members = [[kind for _, group in part.values() for kind in group] for part in inputs]
        super().__init__(legs, (members[0], members[1], kinds), 9 * self.points)
        self.spans: list[dict[int, slice]] = []
        for n, part in enumerate(inputs, 1):
            spans, start = {}, 0
            for sign, (fields, _) in part.items():
                self.register_constant(
                    f"table{n}_{_letter(sign)}", _table(_field, fields, lat, lon)
                )
                spans[sign] = slice(start, start := start + sum(2 * j + 1 for j, _ in fields))
            self.spans.append(spans)
        self.projections = [(sign, how) for sign, how, _ in outputs]
        for sign, how, fields in outputs:
            source = _table(_project, fields, how, lat, lon)
            self.register_constant(f"table3_{_letter(sign)}_{how}", source)
        self.normalize()

    @staticmethod
    def key(irrep: Irrep) -> Any:
        """Polar and axial fields apart."""
        return irrep.kind

    def _fields(self, leg: int, x: Tensor) -> dict[int, Tensor]:
        """Vectors on the grid, (3, points, columns), polar (1) and axial (-1)."""
        out = {}
        for sign, rows in self.spans[leg - 1].items():
            table: Tensor = getattr(self, f"table{leg}_{_letter(sign)}")
            out[sign] = (table @ x[rows].flatten(1)).view(3, self.points, -1)
        return out

    def product(self, x: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """z of a piece."""
        on_x, on_y = self._fields(1, x), self._fields(2, y)
        parts = []
        for sign, how in self.projections:
            pairs = [(on_x[a], on_y[a * sign]) for a in on_x if a * sign in on_y]
            if how == "dot":
                values = sum((a * b).sum(0) for a, b in pairs)
            else:
                values = sum(torch.linalg.cross(a, b, dim=0).flatten(0, 1) for a, b in pairs)
            table: Tensor = getattr(self, f"table3_{_letter(sign)}_{how}")
            parts.append(table @ values)
        return torch.cat(parts).view(self.out_size, *x.shape[1:])


def _letter(sign: int) -> str:
    return "f" if sign > 0 else "p"


def _table(function: Callable[..., Tensor], *arguments: Any) -> Callable[[], Tensor]:
    """A source of copies of a table, computed once, in float64."""
    return function(*arguments).clone


def _inputs(leg: Leg) -> dict[int, tuple[Fields, list[Kind]]]:
    """Per sign of the field: what it is made of, and the (entry, kind) of each part."""
    out: dict[int, tuple[Fields, list[Kind]]] = {}
    for i in leg.order:
        total = leg.entries[i].l
        fields, kinds = out.setdefault(leg.entries[i].kind, ([], []))
        for kind, degree in enumerate([total - 1, total + 1] if total else [1]):
            fields.append((total, degree))
            kinds.append((i, kind))
    return out


def _outputs(leg: Leg, signs: list[int]) -> tuple[list[tuple[int, str, Fields]], list[Kind]]:
    """Projections of the products of either sign, and the (entry, kind) of each part of them.

    The sign is that of X . Y: 1 for functions, whose cross product is a field of axial vectors,
    -1 for pseudo-functions, with one of polar vectors.
    """
    count = [0] * len(leg.entries)
    groups: list[tuple[int, str, Fields]] = []
    kinds: list[Kind] = []
    for sign in signs:
        for how in ("dot", "cross"):
            fields: Fields = []
            for i in leg.order:
                for degree in _degrees(leg.entries[i], sign, how):
                    fields.append((leg.entries[i].l, degree))
                    kinds.append((i, count[i]))
                    count[i] += 1
            if fields:
                groups.append((sign, how, fields))
    return groups, kinds


def _degrees(irrep: Irrep, sign: int, how: str) -> list[int]:
    """Harmonics whose coefficients an output irrep collects from a product."""
    if how == "dot":
        return [irrep.l] if irrep.kind == sign else []
    nearby = range(max(irrep.l - 1, 0), irrep.l + 2)
    return [n for n in nearby if triangle(n, 1, irrep.l) and (-1) ** n * sign == irrep.p]


def _field(fields: Fields, lat: int, lon: int) -> Tensor:
    """Vector harmonics on the grid, (3 points, components)."""
    points, _ = gauss_legendre(lat, lon)
    return torch.cat(
        [vector_harmonics(j, n, points).transpose(0, 1).flatten(0, 1) for j, n in fields], dim=1
    )


def _project(fields: Fields, how: str, lat: int, lon: int) -> Tensor:
    """The quadrature of a product against harmonics, (components, points or 3 points)."""
    points, weights = gauss_legendre(lat, lon)
    if how == "cross":
        return (_field(fields, lat, lon) * weights.repeat(3)[:, None]).T
    values = [to_grid_matrix(j, points)[:, j * j :] for j, _ in fields]
    return (torch.cat(values, dim=1) * weights[:, None]).T
