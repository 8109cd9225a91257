"""Domain `field`: functions on a grid, and what an operator makes of them.

A sample is a dict with `x` (c, *grid), `y` (c, *grid) or a label of the sample, and `grid`
(*grid, d), the places, where they are given (once for all samples, or for each). Archives hold `a`
and `u` (also `inputs` and `outputs`) as (samples, *grid), one channel, or (samples, c, *grid): two
axes after the samples are a plane and one is a line, three are channels and a plane, four channels
and a volume. With `grid` its own number of axes decides.
"""

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import first_axis, labelled
from zoo.datasets.domains._raw import Chooser, Keys, Raw, shape_error
from zoo.datasets.domains._rows import joined
from zoo.datasets.domains._store import Field, Store
from zoo.errors import DataError

INPUTS = ("a", "input", "inputs", "fields", "field")
OUTPUTS = ("u", "output", "outputs")


def build(raw: Raw, keys: Keys | None) -> Store:
    """Fields.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    chooser = Chooser(raw, keys, ("x", "y", "grid"))
    inputs = chooser.needed("x", INPUTS)
    where = chooser.where("x", INPUTS)
    size = first_axis(inputs, where)
    grid = chooser.floats("grid", ("coords",))
    place = chooser.where("grid", ("coords",))
    axes = _axes(inputs, grid, where, place)
    inputs = _channels(inputs, axes, where)
    shape = inputs.shape[2:]
    fields = {"x": Field(inputs, name=where)}
    if grid is not None:
        fields["grid"] = _places(grid, size, shape, place)
    name = chooser.name("y", OUTPUTS)
    if name is None or raw.arrays[name].ndim <= axes:
        return labelled(chooser, size, fields)
    outputs, of = chooser.needed("y", OUTPUTS), chooser.where("y", OUTPUTS)
    outputs = _channels(outputs, axes, of)
    if outputs.shape[0] != size or outputs.shape[2:] != shape:
        raise shape_error(of, outputs.shape, f"({size}, c, {', '.join(map(str, shape))})")
    return joined(chooser, size, fields, Field(outputs, name=of), None)


def _axes(array: np.ndarray, grid: np.ndarray | None, where: str, place: str) -> int:
    """Number of axes of the grid."""
    if grid is not None and grid.ndim:
        # one coordinate per axis is what most grids have, so that reading comes first
        for axes in sorted((1, 2, 3), key=lambda axes: axes != grid.shape[-1]):
            shape = array.shape[-axes:]
            places = (shape, (len(array), *shape))
            if array.ndim in (axes + 1, axes + 2) and grid.shape[:-1] in places:
                return axes
        raise shape_error(place, grid.shape, f"(*grid, d) for the values of shape {array.shape}")
    if not 2 <= array.ndim <= 5:
        raise shape_error(where, array.shape, "(samples, *grid) or (samples, c, *grid)")
    return {2: 1, 3: 2, 4: 2, 5: 3}[array.ndim]


def _channels(array: np.ndarray, axes: int, where: str) -> np.ndarray:
    if array.ndim == axes + 1:
        array = array[:, None]
    if array.ndim != axes + 2 or 0 in array.shape:
        raise shape_error(where, array.shape, f"(samples, *grid) or (s, c, *grid), {axes} axes")
    return array


def _places(grid: np.ndarray, size: int, shape: tuple[int, ...], where: str) -> Field:
    if grid.shape[:-1] == shape:
        return Field(np.broadcast_to(grid, (size, *grid.shape)), name=where)
    if grid.shape[:-1] == (size, *shape):
        return Field(grid, name=where)
    raise DataError(f"{where} has shape {grid.shape}, expected (*grid, d) with the grid {shape}")


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """An input and an output of the same first axis."""
    if has(arrays, "fields", "field"):
        return True
    return has(arrays, *INPUTS) and has(arrays, *OUTPUTS)


FIELD = Domain(
    name="field",
    build=build,
    matches=matches,
    sign="a and u (inputs, outputs), (samples, c, *grid)",
)
