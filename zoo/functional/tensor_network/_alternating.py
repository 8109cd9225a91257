r"""Search for ranks, and for the order of the modes, by enumerating one variable after the other.

Li, Zeng, Li, Caiafa, Zhao, *Alternating local enumeration (TnALE)*, ICML 2023: the structure is a
vector of ranks and, for a ring, a permutation of the modes. In turns each rank is tried within a
radius with all else fixed, then all transpositions; forwards and backwards, until a sweep changes
nothing. In a first phase of radius 2 only the ends and the centre are evaluated, and the error in
between is interpolated. The objective is parameters / dense + weight * error^2, the relative
error of a fit.

Deviation: fits are alternating least squares, from two random starts each.
"""

import itertools
import math
import zlib
from dataclasses import dataclass, field
from typing import Final, Literal

import torch
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.tensor_network._cores import check_values
from zoo.functional.tensor_network._network import Bonds, Network, core_shape, fit, random_network
from zoo.functional.tensor_network._select import require_budget

Template = Literal["ring", "full"]
_WEIGHT: Final = {"ring": 200.0, "full": 5.0}
_STARTS: Final = 2


@dataclass(frozen=True)
class Structure:
    """What an alternating search found.

    Attributes:
        network: the cores.
        error: relative.
        objective: parameters / dense + weight * error^2.
        ranks: of the bonds: in a ring between neighbours in `order`, else by pair of modes.
        order: of the modes around the ring.
        evaluations: fits that were made.
        complete: whether the search ended by itself, before its budget did.
    """

    network: Network
    error: float
    objective: float
    ranks: tuple[int, ...]
    order: tuple[int, ...]
    evaluations: int
    complete: bool


class _Spent(Exception):
    """The budget ran out."""


@dataclass
class _Search:
    """The evaluations made so far."""

    tensor: Tensor
    template: Template
    weight: float
    budget: int
    sweeps: int
    seen: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, float, Network]] = field(
        default_factory=dict
    )

    def bonds(self, ranks: tuple[int, ...], order: tuple[int, ...]) -> Bonds:
        """Ranks by pair of modes."""
        count = len(order)
        if self.template == "ring":
            pairs = [(order[k], order[(k + 1) % count]) for k in range(count)]
        else:
            pairs = list(itertools.combinations(range(count), 2))
        return {
            (min(pair), max(pair)): rank
            for pair, rank in zip(pairs, ranks, strict=True)
            if rank > 1
        }

    def size(self, ranks: tuple[int, ...], order: tuple[int, ...]) -> float:
        """Parameters, against those of the dense tensor."""
        bonds, dims = self.bonds(ranks, order), tuple(self.tensor.shape)
        total = sum(math.prod(core_shape(dims, bonds, k)) for k in range(len(dims)))
        return total / math.prod(dims)

    def evaluate(self, ranks: tuple[int, ...], order: tuple[int, ...]) -> tuple[float, float]:
        """Objective and error."""
        key = (ranks, order)
        if key not in self.seen:
            if len(self.seen) >= self.budget:
                raise _Spent
            bonds = self.bonds(ranks, order)
            source = torch.Generator().manual_seed(zlib.crc32(repr(key).encode()))
            best, error = None, math.inf
            for _ in range(_STARTS):
                made = random_network(self.tensor.shape, bonds, self.tensor, source)
                found = fit(made, self.tensor, sweeps=self.sweeps, tol=1e-8)
                if best is None or found < error:
                    best, error = made, found
                if error < 1e-8:
                    break
            assert best is not None
            self.seen[key] = (self.size(ranks, order) + self.weight * error**2, error, best)
        return self.seen[key][:2]


def alternating_structure_search(
    tensor: Tensor,
    max_evaluations: int | None = None,
    *,
    template: Template = "ring",
    max_rank: int = 8,
    weight: float | None = None,
    sweeps: int = 100,
) -> Structure:
    """Ranks of a ring or of a network with all bonds, and the order of a ring's modes.

    Args:
        tensor: three to eight modes.
        max_evaluations: how many structures may be fitted.
        template: "ring" or "full".
        max_rank: of a bond.
        weight: of the squared error; 200 for rings and 5 for full networks if None.
        sweeps: of each fit, at most.

    Returns:
        The best structure that was evaluated.

    Raises:
        ConfigError: without a number of evaluations, or for settings or modes that don't fit.
        DataError: for a tensor that is not finite.
        DeviceError: in half or integer precision.
    """
    budget = require_budget("alternating_structure_search", "max_evaluations", max_evaluations)
    if template not in _WEIGHT:
        raise ConfigError(f"template={template!r}: {nearest(str(template), _WEIGHT)}")
    count = tensor.ndim
    if not 3 <= count <= 8 or max_rank < 1:
        raise ConfigError(
            f"alternating_structure_search: shape={tuple(tensor.shape)}, max_rank={max_rank}; "
            "expected three to eight modes and ranks >= 1"
        )
    check_values("alternating_structure_search", tensor)
    search = _Search(
        tensor.detach(), template, _WEIGHT[template] if weight is None else weight, budget, sweeps
    )
    bonds = count if template == "ring" else count * (count - 1) // 2
    ranks, order, complete = (1,) * bonds, tuple(range(count)), True
    try:
        search.evaluate(ranks, order)
        ranks = _coarse(search, ranks, order, max_rank)
        _refine(search, ranks, order, max_rank)
    except _Spent:
        complete = False
    (ranks, order), (objective, error, network) = min(
        search.seen.items(), key=lambda item: item[1][0]
    )
    return Structure(network, error, objective, ranks, order, len(search.seen), complete)


def _with(ranks: tuple[int, ...], place: int, value: int) -> tuple[int, ...]:
    return (*ranks[:place], value, *ranks[place + 1 :])


def _coarse(
    search: _Search, ranks: tuple[int, ...], order: tuple[int, ...], most: int
) -> tuple[int, ...]:
    """One round of radius 2, with errors in between interpolated."""
    for place in range(len(ranks)):
        here = ranks[place]
        known = sorted({max(1, here - 2), here, min(most, here + 2)})
        errors = {r: search.evaluate(_with(ranks, place, r), order)[1] for r in known}
        for low, high in itertools.pairwise(known):
            for r in range(low + 1, high):
                share = (r - low) / (high - low)
                errors[r] = (1 - share) * errors[low] + share * errors[high]
        ranks = min(
            (_with(ranks, place, r) for r in errors),
            key=lambda ranks: (
                search.size(ranks, order) + search.weight * errors[ranks[place]] ** 2  # noqa: B023
            ),
        )
    return ranks


def _refine(
    search: _Search, ranks: tuple[int, ...], order: tuple[int, ...], most: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sweeps of radius 1 and of transpositions, until one changes nothing."""
    while True:
        before = (ranks, order)
        for places in (range(len(ranks)), reversed(range(len(ranks)))):
            for place in places:
                near = {max(1, ranks[place] - 1), ranks[place], min(most, ranks[place] + 1)}
                options = [_with(ranks, place, r) for r in sorted(near)]
                ranks = min(options, key=lambda ranks: search.evaluate(ranks, order)[0])  # noqa: B023
            if search.template == "ring":
                order = min(
                    [order, *_transposed(order)],
                    key=lambda order: search.evaluate(ranks, order)[0],  # noqa: B023
                )
        if (ranks, order) == before:
            return ranks, order


def _transposed(order: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All orders that differ by two modes exchanged."""
    made = []
    for a, b in itertools.combinations(range(len(order)), 2):
        other = list(order)
        other[a], other[b] = other[b], other[a]
        made.append(tuple(other))
    return made
