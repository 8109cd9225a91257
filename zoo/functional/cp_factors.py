r"""The path-shared coupling of all degrees up to L, as a sum of products of vectors.

    M_ijk = sum of w3j(l1, l2, l3)_ijk over all paths with l1, l2, l3 <= L
          ~ sum_r A_ir B_jr C_kr

(Lin et al., Tensor Decomposition Networks, arXiv:2507.01131). All paths have weight one and parity
is disregarded, so M commutes with rotations, not with inversion. An approximation of it commutes
with rotations up to its own error only; the errors of the factors that ship are in the table
below, and `relative_error` measures any others.

What ships was found by `zoo.functional.cp_fit`, with terms that come in orbits of a finite group
of rotations: one term for each orbit is stored, and the others are its images. Ranks named
"exact" are those of factors that are M to rounding. They are the smallest found, close to
d^3 / (3 d - 2) with d = (L + 1)^2 rows, the rank of a tensor without structure; none is proven
minimal.
"""

import functools
import itertools
from importlib import resources
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.clebsch_gordan import triangle, wigner_3j
from zoo.functional.rotation_groups import group_matrices

#: highest degree with factors
CP_LIMIT = 6
#: relative errors up to this are rounding
EXACT_ERROR = 1e-11
_TABLE = "cp_factors.npz"


class CPFactors(NamedTuple):
    """A, B and C, float64, and the relative error |sum - M| / |M| (Frobenius)."""

    first: Float[Tensor, "rows rank"]
    second: Float[Tensor, "rows rank"]
    third: Float[Tensor, "rows rank"]
    error: float

    @property
    def rank(self) -> int:
        """Number of terms."""
        return int(self.first.shape[1])

    def tensor(self) -> Float[Tensor, "rows rows rows"]:
        """The sum of all terms."""
        pairs = (self.first[:, None] * self.second).flatten(0, 1)
        out: Tensor = (pairs @ self.third.T).unflatten(0, (len(self.first), len(self.second)))
        return out


def shared_coupling(lmax: int) -> Float[Tensor, "rows rows rows"]:
    """M, the sum of all paths up to a degree; float64, a fresh copy.

    Args:
        lmax: highest degree L of either input and of the output.

    Raises:
        ConfigError: a negative degree, or one beyond `CP_LIMIT`.
    """
    _check_degree(lmax)
    size = (lmax + 1) ** 2
    out = torch.zeros(size, size, size, dtype=torch.float64)
    places = [slice(n * n, (n + 1) ** 2) for n in range(lmax + 1)]
    for path in itertools.product(range(lmax + 1), repeat=3):
        if triangle(*path):
            i, j, k = (places[degree] for degree in path)
            out[i, j, k] = wigner_3j(*path)
    return out


def relative_error(lmax: int, factors: CPFactors) -> float:
    """|sum of the terms - M| / |M|, the Frobenius norm.

    Args:
        lmax: degree of M.
        factors: any.
    """
    target = shared_coupling(lmax)
    return float((factors.tensor() - target).norm() / target.norm())


def shipped_ranks(lmax: int) -> dict[int, float]:
    """Ranks with factors in the package, ascending, and their relative errors.

    Args:
        lmax: degree of M.

    Raises:
        ConfigError: a degree without factors.
    """
    _check_degree(lmax, least=1)
    return {rank: error for rank, (error, _) in _listed()[lmax].items()}


def resolve_rank(lmax: int, rank: int | str) -> int:
    """The number of terms that a rank means.

    Args:
        lmax: degree of M.
        rank: "exact", the smallest that is M to rounding; "quadratic", the authors' 7 L^2; or a
            number of terms.

    Raises:
        ConfigError: no factors of this rank ship; the message lists those that do.
    """
    known = shipped_ranks(lmax)
    listed = ", ".join(f"{n} (error {error:.1e})" for n, error in known.items())
    if rank == "exact":
        exact = [n for n, error in known.items() if error < EXACT_ERROR]
        if not exact:
            raise ConfigError(
                f"no exact factors are known for lmax={lmax} (there are {listed}); take the "
                "method 'cg', which is exact, or one of those ranks"
            )
        return exact[0]
    if rank == "quadratic":
        rank = 7 * lmax * lmax
    if not isinstance(rank, int) or rank not in known:
        raise ConfigError(
            f"rank={rank!r} for lmax={lmax}: expected 'exact', 'quadratic' or one of {listed}; "
            "zoo.functional.cp_fit.fit_factors finds factors of other ranks"
        )
    return rank


def cp_factors(lmax: int, rank: int | str = "exact") -> CPFactors:
    """Factors that ship with the package, fresh copies.

    Args:
        lmax: highest degree L.
        rank: see `resolve_rank`.

    Raises:
        ConfigError: no factors for this degree or rank.
    """
    size = resolve_rank(lmax, rank)
    error, group = _listed()[lmax][size]
    with resources.files(__package__).joinpath(_TABLE).open("rb") as file, np.load(file) as table:
        generators = torch.from_numpy(table[_key(lmax, size, group)])  # (3, rows, orbits)
    return CPFactors(*orbits(generators, lmax, group), error)


def orbits(
    generators: Float[Tensor, "3 rows orbits"], lmax: int, group: str
) -> tuple[Tensor, Tensor, Tensor]:
    """All images of terms under a group, (rows, order of the group times orbits) three times.

    Args:
        generators: one term of each orbit.
        lmax: highest degree.
        group: of rotations, see `zoo.functional.rotation_groups`.
    """
    images = torch.einsum("gij,fjn->fign", group_matrices(group, lmax), generators)
    first, second, third = images.flatten(2).unbind(0)
    return first, second, third


def _key(lmax: int, rank: int, group: str) -> str:
    return f"{lmax}_{rank}_{group}"


@functools.cache
def _listed() -> dict[int, dict[int, tuple[float, str]]]:
    """By degree and rank: the error, and the group of the orbits."""
    out: dict[int, dict[int, tuple[float, str]]] = {}
    with resources.files(__package__).joinpath(_TABLE).open("rb") as file, np.load(file) as table:
        for name, error in zip(table["names"].tolist(), table["errors"].tolist(), strict=True):
            lmax, rank, group = name.split("_")
            out.setdefault(int(lmax), {})[int(rank)] = (error, group)
    return {lmax: dict(sorted(ranks.items())) for lmax, ranks in out.items()}


def _check_degree(lmax: int, least: int = 0) -> None:
    if not least <= lmax <= CP_LIMIT:
        raise ConfigError(
            f"lmax={lmax}: factors of the shared coupling exist for {least} to {CP_LIMIT}; take "
            "the method 'cg' for others"
        )
