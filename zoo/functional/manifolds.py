"""All geometries under one vocabulary, chosen by name.

    ball = manifold("poincare", c=0.5)
    ball.dist(x, y)
    spd = manifold("affine_invariant", theta=0.5)  # power-deformed

A geometry is a module of functions with the same names and the same order of arguments; a
`Manifold` is these functions with the parameters of the geometry (curvature, power, ...) bound.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from types import ModuleType
from typing import Any

from torch import Tensor

from zoo.errors import ConfigError, UnknownNameError, nearest

_SPD = "zoo.functional.spd."
#: name -> module, and the parameters that the name stands for
_MODULES: dict[str, tuple[str, dict[str, float]]] = {
    "poincare": ("zoo.functional.poincare", {}),
    "lorentz": ("zoo.functional.lorentz", {}),
    "affine_invariant": (_SPD + "affine_invariant", {}),
    "log_euclidean": (_SPD + "log_euclidean", {}),
    "log_cholesky": (_SPD + "log_cholesky", {}),
    "bures_wasserstein": (_SPD + "bures_wasserstein", {}),
    "generalised_bures_wasserstein": (_SPD + "generalised_bures_wasserstein", {}),
    "power_affine_invariant": (_SPD + "affine_invariant", {"theta": 0.5}),
    "power_log_cholesky": (_SPD + "log_cholesky", {"theta": 0.5}),
    "power_bures_wasserstein": (_SPD + "bures_wasserstein", {"theta": 0.5}),
    "grassmann": ("zoo.functional.grassmann", {}),
    "projector": ("zoo.functional.grassmann.projector", {}),
    "so3": ("zoo.functional.rotations.so3", {}),
    "son": ("zoo.functional.rotations.son", {}),
}
MANIFOLDS = tuple(_MODULES)


@dataclass(frozen=True)
class Manifold:
    """The functions of one geometry, its parameters bound.

    Attributes:
        name: as `manifold` takes it.
        params: of the geometry, those that are not at their defaults.
        exp: (x, v) -> the point that the geodesic from x with velocity v reaches at time one.
        log: (x, y) -> the velocity at x that reaches y; the inverse of `exp`.
        dist: (x, y) -> distance.
        inner: (x, u, v) -> the metric at x.
        transport: (x, y, v) -> v at x, carried along the geodesic to y.
        geodesic: (x, y, t) -> the point at the fraction t of the way.
        mean: (points, weights=None, *, steps, tol) -> Fréchet mean over the first axis.
        project: x -> the nearest point, or one near, on the manifold.
        random: (shape, *, generator, dtype, device) -> points; the shape includes the point's.
        check: (x, *, where, project=False) -> x; raises `ManifoldError`, the worst value named,
            for what is off the manifold, or moves it there with project=True.
        origin: (shape, *, dtype, device) -> a distinguished point; None where there is none.
    """

    name: str
    params: Mapping[str, Any]
    exp: Callable[..., Tensor]
    log: Callable[..., Tensor]
    dist: Callable[..., Tensor]
    inner: Callable[..., Tensor]
    transport: Callable[..., Tensor]
    geodesic: Callable[..., Tensor]
    mean: Callable[..., Tensor]
    project: Callable[..., Tensor]
    random: Callable[..., Tensor]
    check: Callable[..., Tensor]
    origin: Callable[..., Tensor] | None = None
    #: the module, for what only this geometry has
    module: ModuleType | None = field(default=None, repr=False, compare=False)


def manifold(name: str, **params: Any) -> Manifold:
    """A geometry by name.

    Args:
        name: one of `MANIFOLDS`.
        **params: of the geometry: `c` (hyperbolic: the curvature is -c), `theta`, `alpha`, `beta`
            (powers and weights of SPD metrics), `m` (the matrix of the generalised
            Bures-Wasserstein metric).

    Raises:
        UnknownNameError: no such geometry.
        ConfigError: no such parameter.
    """
    if name not in _MODULES:
        raise UnknownNameError(f"no manifold is called {name!r}: {nearest(name, MANIFOLDS)}")
    path, fixed = _MODULES[name]
    module = importlib.import_module(path)
    bound = {**fixed, **params}
    known = _parameters(module.exp)
    for key in bound:
        if key not in known:
            raise ConfigError(f"{name} has no parameter {key!r}: {nearest(key, known)}")
    names = {f.name for f in fields(Manifold)} - {"name", "params", "module"}
    functions = {key: _bound(getattr(module, key, None), bound) for key in names}
    return Manifold(name=name, params=bound, module=module, **functions)


def _parameters(function: Callable[..., Any]) -> set[str]:
    """The keyword-only arguments of a function."""
    found = inspect.signature(function).parameters.values()
    return {p.name for p in found if p.kind is p.KEYWORD_ONLY}


def _bound(function: Callable[..., Any] | None, params: Mapping[str, Any]) -> Any:
    """The function with those of the parameters that it has."""
    if function is None:
        return None
    taken = {key: value for key, value in params.items() if key in _parameters(function)}
    return partial(function, **taken) if taken else function
