"""Domain `matrix`: symmetric positive definite matrices, or bases of subspaces.

A sample is a dict with `x` (..., n, n) or (..., n, p), and `y`. Matrices must be symmetric and
positive definite: `open` refuses others with their worst eigenvalue, and never repairs them.
Arrays that aren't square, and those called `bases`, `subspaces` or `U`, must have orthonormal
columns. Archives hold `matrices` (or `covs`, `covariances`, `C`, `spd`) or `bases`; folders hold
one .npy per sample in one sub-folder per class. `domain` is read as for signals.
"""

from dataclasses import replace

import numpy as np

from zoo.datasets.domains._domain import Domain, has
from zoo.datasets.domains._plain import SOURCES, sources, start, store
from zoo.datasets.domains._raw import Keys, Raw, shape_error
from zoo.datasets.domains._store import Store
from zoo.errors import DataError

SPD = ("matrices", "covs", "covariances", "C", "spd")
BASES = ("bases", "subspaces", "U")
# asymmetry and lack of orthonormality that rounding explains, relative to the largest entry
TOLERANCE = {4: 1e-5, 8: 1e-10}
_BLOCK = 1 << 22  # entries that are looked at together


def build(raw: Raw, keys: Keys | None) -> Store:
    """Matrices or bases.

    Raises:
        DataError: for missing or ill-shaped arrays.
    """
    raw = replace(raw, arrays={name: _real(array) for name, array in raw.arrays.items()})
    chooser, array, where = start(raw, keys, (*SPD, *BASES, "X"), SOURCES)
    if array.ndim < 3 or array.shape[-1] > array.shape[-2] or array.shape[-1] == 0:
        raise shape_error(where, array.shape, "(samples, n, n) or (samples, n, p) with p below n")
    order = ("x", *SPD, *BASES, "X")
    named = chooser.keys.get("x") or next((n for n in order if n in raw.arrays), None)
    bases = array.shape[-1] != array.shape[-2] or named in BASES
    chooser.raw.metadata["kind"] = "bases" if bases else "spd"
    return store(chooser, array, where, **sources(chooser, len(array)))


def _real(array: np.ndarray) -> np.ndarray:
    """Complex numbers without imaginary parts, as some published matrices are saved, as real."""
    return array.real.copy() if array.dtype.kind == "c" and not array.imag.any() else array


def examine(store: Store, indices: np.ndarray, source: str) -> None:
    """Refuses matrices that aren't symmetric and positive, and bases that aren't orthonormal."""
    entry = store.fields["x"]
    step = max(_BLOCK // max(entry.values[0].size, 1), 1)
    check = _orthonormal if store.metadata.get("kind") == "bases" else _positive
    for start_ in range(0, len(indices), step):
        chosen = indices[start_ : start_ + step]
        check(entry.values[chosen], chosen, entry.name)


def _positive(matrices: np.ndarray, numbers: np.ndarray, where: str) -> None:
    scale = np.abs(matrices).max(axis=(-2, -1))
    with np.errstate(over="ignore"):
        gap = np.abs(matrices - matrices.swapaxes(-2, -1)).max(axis=(-2, -1))
    bad = gap > TOLERANCE[matrices.dtype.itemsize] * scale
    if bad.any():
        place = _first(bad)
        raise DataError(
            f"{where}: matrix {_name(numbers, place)} is not symmetric: entries across the "
            f"diagonal differ by {gap[place]:.3g}; symmetrise with (C + C.swapaxes(-1, -2)) / 2"
        )
    double = matrices.astype(np.float64)
    try:
        np.linalg.cholesky(double)
        return
    except np.linalg.LinAlgError:
        worst = _smallest(double, where)
    # where rounding alone made the factorisation fail, the smallest eigenvalue is within rounding
    place = _first(worst == worst.min())
    raise DataError(
        f"{where}: matrix {_name(numbers, place)} is not positive definite: its smallest "
        f"eigenvalue is {worst[place]:.6g}; add shrinkage, such as C + 1e-6 * trace(C) / n * I"
    )


def _smallest(matrices: np.ndarray, where: str) -> np.ndarray:
    try:
        return np.asarray(np.linalg.eigvalsh(matrices)[..., 0])
    except np.linalg.LinAlgError as error:
        raise DataError(
            f"{where} has matrices that are not positive definite, and whose eigenvalues can't be "
            f"computed ({error}); look for huge entries"
        ) from error


def _orthonormal(bases: np.ndarray, numbers: np.ndarray, where: str) -> None:
    double = bases.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        gram = double.swapaxes(-2, -1) @ double
        gap = np.abs(gram - np.eye(bases.shape[-1])).max(axis=(-2, -1))
    bad = ~(gap <= 10 * TOLERANCE[bases.dtype.itemsize])
    if bad.any():
        place = _first(bad)
        raise DataError(
            f"{where}: the columns of basis {_name(numbers, place)} are not orthonormal (off by "
            f"{gap[place]:.3g}); orthonormalise them with numpy.linalg.qr, or, if these are no "
            "bases, say domain='signal'"
        )


def _first(bad: np.ndarray) -> tuple[int, ...]:
    return tuple(int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))


def _name(numbers: np.ndarray, place: tuple[int, ...]) -> str:
    inner = "".join(f"[{k}]" for k in place[1:])
    return f"{numbers[place[0]]}{inner}"


def matches(arrays: dict[str, np.ndarray]) -> bool:
    """Arrays of a telling name, or `X` whose entries are square and symmetric."""
    if has(arrays, "edge_index", "edges", "B1"):
        return False
    return has(arrays, *SPD, *BASES) or any(_symmetric(arrays.get(name)) for name in ("X", "x"))


def _symmetric(array: np.ndarray | None) -> bool:
    if array is None or array.ndim < 3 or array.shape[-1] != array.shape[-2] or not array.size:
        return False
    if array.dtype.kind != "f" or array.shape[-1] < 2:
        return False
    with np.errstate(all="ignore"):
        first = array[:16].astype(np.float64)
        gap = np.abs(first - first.swapaxes(-2, -1)).max()
        return bool(gap <= 1e-5 * np.abs(first).max())


MATRIX = Domain(
    name="matrix",
    build=build,
    matches=matches,
    sign="matrices, covs or C (samples, n, n), or bases (samples, n, p)",
    examine=examine,
)
