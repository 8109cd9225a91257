"""Finite groups of rotations, as quaternions and as matrices on spherical features.

Cyclic "C1", "C2", "C3", "C4", "C5", "C7"; dihedral "D2", "D3", "D5", "D7"; and the rotations of
the tetrahedron "T" (12), the cube "O" (24) and the icosahedron "I" (60). Every group is the closure
of one or two generators, and as quaternions q and -q are the same rotation.
"""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.wigner import wigner_blocks

_GOLDEN = (1 + math.sqrt(5)) / 2
_THIRD = (1.0, 1.0, 1.0, 1.0)
#: polyhedral groups: generators (w, x, y, z), not normalised
_POLYHEDRAL = {
    "T": (_THIRD, (0.0, 0.0, 0.0, 1.0)),
    "O": (_THIRD, (1.0, 0.0, 0.0, 1.0)),
    "I": (_THIRD, (_GOLDEN, 1.0, 1 / _GOLDEN, 0.0)),
}
_TURNS = (1, 2, 3, 4, 5, 7)
#: orders of the groups by name
ROTATION_GROUPS = {
    **{f"C{n}": n for n in _TURNS},
    **{f"D{n}": 2 * n for n in _TURNS[1:]},
    **{"T": 12, "O": 24, "I": 60},
}


def group_quaternions(name: str) -> Float[Tensor, "order 4"]:
    """The elements of a group, the identity first, float64.

    Args:
        name: of `ROTATION_GROUPS`.

    Raises:
        ConfigError: another name.
    """
    if name not in ROTATION_GROUPS:
        raise ConfigError(f"group={name!r}: {nearest(name, ROTATION_GROUPS)}")
    return _closure(name).clone()


def group_matrices(name: str, lmax: int) -> Float[Tensor, "order rows rows"]:
    """The Wigner matrices of a group's elements on all degrees up to one, float64.

    Args:
        name: of `ROTATION_GROUPS`.
        lmax: highest degree.

    Raises:
        ConfigError: another name, or a degree beyond the tables.
    """
    q = group_quaternions(name)
    out = torch.zeros(len(q), (lmax + 1) ** 2, (lmax + 1) ** 2, dtype=q.dtype)
    for degree, block in enumerate(wigner_blocks(q, lmax)):
        rows = slice(degree * degree, (degree + 1) ** 2)
        out[:, rows, rows] = block
    return out


@functools.cache
def _closure(name: str) -> Tensor:
    generators = [torch.tensor(g, dtype=torch.float64) for g in _generators(name)]
    generators = [g / g.norm() for g in generators]
    elements = [torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)]
    for element in elements:  # grows while it runs
        for generator in generators:
            product = _times(element, generator)
            if all(abs(float(product @ known)) < 1 - 1e-9 for known in elements):
                elements.append(product)
    return torch.stack(elements)


def _generators(name: str) -> tuple[tuple[float, ...], ...]:
    if name in _POLYHEDRAL:
        return _POLYHEDRAL[name]
    half = math.pi / int(name[1:])
    turn = (math.cos(half), 0.0, 0.0, math.sin(half))
    return (turn,) if name[0] == "C" else (turn, (0.0, 1.0, 0.0, 0.0))


def _times(p: Tensor, q: Tensor) -> Tensor:
    scalar = p[0] * q[0] - p[1:] @ q[1:]
    vector = p[0] * q[1:] + q[0] * p[1:] + torch.linalg.cross(p[1:], q[1:])
    return torch.cat([scalar[None], vector])
