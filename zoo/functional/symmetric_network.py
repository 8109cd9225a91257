r"""Invariants and equivariants of tensors as networks of deltas and epsilons.

Zhang, Wang, Zhang, Dong, He, arXiv:2508.12596: every polynomial invariant of some tensors under
O(n) is a sum of full contractions of copies of them with delta_ij, under SO(n) also with
epsilon_i..k; a network that is linear in one more, a dummy, gives an equivariant tensor by its
derivative with respect to the dummy, which is the network with that node taken out. For vectors:

    invariants                r_a . r_b,  and under SO(3)  det(r_a, r_b, r_c)
    equivariant vectors       r_a,        and under SO(3)  r_a x r_b

each times a function of the invariants. A contraction with an odd number of epsilons changes its
sign under reflections.

    listed = contractions([1, 1, 1], degree=3, group="SO")
    numbers = invariants([a, b, c], listed)  # (..., count)
    opened = open_networks([1, 1, 1], order=1, degree=2, group="SO")
    vectors = equivariants([a, b, c], opened)  # (..., count, 3)

Listed are connected contractions alone, of which the others are products, each once up to its sign.
"""

import functools
import string
from collections.abc import Callable, Collection, Sequence
from itertools import combinations_with_replacement
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, UnsupportedInputError, nearest
from zoo.functional.tensor_power import diagrams, epsilon

Kind = Literal["O", "SO"]
#: indices that a contraction has at most: more diagrams than 10395 are not looked through
INDICES = 12
_TRIALS = 3


class Contraction(NamedTuple):
    """One network: nodes, which are tensors, and the edges between their indices."""

    #: number of the tensor at each node
    nodes: tuple[int, ...]
    #: its order
    orders: tuple[int, ...]
    #: numbers of the indices that each delta joins, counted through the nodes
    pairs: tuple[tuple[int, int], ...]
    #: numbers of the indices that the epsilon joins; none without one
    legs: tuple[int, ...]

    @property
    def pseudo(self) -> bool:
        """Whether it changes its sign under reflections."""
        return bool(self.legs)


def contractions(
    orders: Sequence[int], degree: int, *, group: Kind = "O", n: int = 3
) -> tuple[Contraction, ...]:
    """All connected contractions of some tensors, each once up to its sign.

    Args:
        orders: of the tensors; scalars (order 0) stand for themselves.
        degree: how many nodes a network has at most.
        group: "O", or "SO" for those with one epsilon, too.
        n: dimension of the space.

    Raises:
        ConfigError: for another group, no tensors, or networks of more than 12 indices.
    """
    return _listed(tuple(orders), degree, group, n, None)


def contract(
    tensors: Collection[Float[Tensor, "..."]], network: Contraction, *, without: int | None = None
) -> Float[Tensor, "..."]:
    """The value of a network.

    Args:
        tensors: (*batch, n, ..., n), their leading axes alike.
        network: from `contractions`; its numbers count these tensors.
        without: a node that is taken out; the result has its indices. Its tensor may be left out,
            where it is the last. A network of this node alone has no leading axes.

    Raises:
        UnsupportedInputError: for fewer tensors than the network has, or of other orders.
    """
    given = list(tensors)
    lead = _check(given, network, without)
    n, letters = _size(given, network), _letters(network, without)
    operands, terms, start, opened = [], [], 0, ""
    for place, (number, order) in enumerate(zip(network.nodes, network.orders, strict=True)):
        own = "".join(letters[start : start + order])
        start += order
        if place == without:
            opened = own
        else:
            operands.append(given[number])
            terms.append(f"...{own}")
    like = given[0]
    if network.legs:
        operands.append(epsilon(n).to(like))
        terms.append("".join(letters[leg] for leg in network.legs))
    for first, second in network.pairs:
        if letters[first] != letters[second]:  # both at the node that is taken out
            operands.append(torch.eye(n).to(like))
            terms.append(letters[first] + letters[second])
    result: Tensor = torch.einsum(f"{','.join(terms)}->...{opened}", *operands)
    return result.expand(*lead, *result.shape[result.ndim - len(opened) :])


def invariants(
    tensors: Collection[Float[Tensor, "..."]], listed: Collection[Contraction]
) -> Float[Tensor, "*batch count"]:
    """The values of networks, side by side."""
    if not listed:
        raise UnsupportedInputError("invariants: no networks are listed")
    return torch.stack([contract(tensors, network) for network in listed], dim=-1)


def open_networks(
    orders: Sequence[int], order: int, degree: int, *, group: Kind = "O", n: int = 3
) -> tuple[Contraction, ...]:
    """Networks with one dummy of some order, the last tensor, in which they are linear.

    Args:
        orders: of the tensors.
        order: of the dummy, and of what the network gives without it.
        degree: how many nodes a network has at most, beside the dummy.
        group: "O" or "SO".
        n: dimension of the space.

    Raises:
        ConfigError: as `contractions`; or for an order below 1.
    """
    if order < 1:
        raise ConfigError(f"open_networks: order={order}; scalars are what contractions give")
    return _listed((*orders, order), degree + 1, group, n, len(orders))


def equivariants(
    tensors: Collection[Float[Tensor, "..."]], listed: Collection[Contraction]
) -> Float[Tensor, "..."]:
    """The tensors that open networks give, side by side after the leading axes.

    Args:
        tensors: without the dummy.
        listed: from `open_networks`.

    Returns:
        (*batch, count, n, ..., n).
    """
    if not listed:
        raise UnsupportedInputError("equivariants: no networks are listed")
    dummies = [network.nodes.index(len(tensors)) for network in listed]
    found = [
        contract(tensors, network, without=place)
        for network, place in zip(listed, dummies, strict=True)
    ]
    first = next(iter(listed))
    order = first.orders[dummies[0]]
    found = list(torch.broadcast_tensors(*found))  # the dummy alone has no leading axes
    return torch.stack(found, dim=found[0].ndim - order)


def derivative(
    function: Callable[[Tensor], Float[Tensor, "*batch"]], like: Float[Tensor, "*axes"]
) -> Float[Tensor, "*axes"]:
    """The equivariant tensor that an invariant function, linear in a dummy, gives by its gradient.

    Args:
        function: takes the dummy, and gives one number for each sample.
        like: a tensor of the shape of the dummy.

    Returns:
        d function / d dummy, with its own graph.
    """
    with torch.enable_grad():
        dummy = torch.zeros_like(like, requires_grad=True)
        (grad,) = torch.autograd.grad(function(dummy).sum(), dummy, create_graph=True)
    return grad


# --- listing -------------------------------------------------------------------------------------


@functools.cache
def _listed(
    orders: tuple[int, ...], degree: int, group: str, n: int, dummy: int | None
) -> tuple[Contraction, ...]:
    if group not in ("O", "SO"):
        raise ConfigError(f"no contractions for the group {group!r}: {nearest(group, ('O', 'SO'))}")
    if not orders or min(orders) < 0 or degree < 1 or n < 1:
        raise ConfigError(
            f"contractions of orders {list(orders)}, degree={degree}, n={n}: expected orders >= 0 "
            "of one tensor or more, degree and n >= 1"
        )
    rng = torch.Generator().manual_seed(0)
    trial = [
        torch.randn(_TRIALS, *[n] * order, generator=rng, dtype=torch.float64) for order in orders
    ]
    found: list[Contraction] = []
    values: list[Tensor] = []
    for size in range(1, degree + 1):
        for nodes in combinations_with_replacement(range(len(orders)), size):
            if dummy is not None and nodes.count(dummy) != 1:
                continue
            for network in _networks(nodes, orders, group, n):
                value = contract(trial, network)
                if _is_new(value, values):
                    found.append(network)
                    values.append(value)
    return tuple(found)


def _networks(
    nodes: tuple[int, ...], orders: tuple[int, ...], group: str, n: int
) -> list[Contraction]:
    """The connected networks of these nodes."""
    sizes = [orders[node] for node in nodes]
    m = sum(sizes)
    if m > INDICES:
        raise ConfigError(
            f"contractions: {len(nodes)} tensors of the orders {sizes} have {m} indices; at most "
            f"{INDICES} are joined: lower degree"
        )
    owner = [place for place, size in enumerate(sizes) for _ in range(size)]
    if m == 0:
        return [Contraction(nodes, tuple(sizes), (), ())] if len(nodes) == 1 else []
    made = []
    for diagram in diagrams(group, n, m, 0):
        legs = tuple(diagram.blocks[leg][0] for leg in diagram.legs)
        pairs = tuple((b[0], b[1]) for b in diagram.blocks if len(b) == 2)
        if _connected([*pairs, *([legs] if legs else [])], owner, len(nodes)):
            made.append(Contraction(nodes, tuple(sizes), pairs, legs))
    return made


def _connected(edges: Sequence[Sequence[int]], owner: Sequence[int], count: int) -> bool:
    seen, grown = {0}, True
    while grown:
        grown = False
        for edge in edges:
            ends = {owner[index] for index in edge}
            if ends & seen and not ends <= seen:
                seen |= ends
                grown = True
    return len(seen) == count


def _is_new(value: Tensor, values: Sequence[Tensor]) -> bool:
    """Neither zero, nor one of the others up to its sign."""
    size = float(value.abs().max())
    if size < 1e-9:
        return False
    return not any(
        float(torch.minimum((value - v).abs().max(), (value + v).abs().max())) < 1e-9 * size
        for v in values
    )


def _letters(network: Contraction, without: int | None) -> list[str]:
    """One letter for each index; joined ones have the same, but for two of the open node."""
    owner = [place for place, order in enumerate(network.orders) for _ in range(order)]
    letters, names = [""] * len(owner), iter(string.ascii_lowercase)
    for first, second in network.pairs:
        letters[first] = letters[second] = next(names)
        if without is not None and owner[first] == owner[second] == without:
            letters[second] = next(names)
    for leg in network.legs:
        letters[leg] = next(names)
    return letters


def _check(tensors: list[Any], network: Contraction, without: int | None) -> torch.Size:
    """The leading axes, once the tensors are known to fit."""
    if not tensors:
        raise UnsupportedInputError("contract: no tensors are given")
    lead: torch.Size | None = None
    axes: set[int] = set()
    for place, (number, order) in enumerate(zip(network.nodes, network.orders, strict=True)):
        if place == without:
            continue
        if number >= len(tensors) or tensors[number].ndim < order:
            found = "none" if number >= len(tensors) else tuple(tensors[number].shape)
            raise UnsupportedInputError(
                f"contract: the network has a tensor number {number} of order {order}; given is "
                f"{found}"
            )
        shape = tensors[number].shape
        mine = shape[: len(shape) - order]
        lead = mine if lead is None else torch.broadcast_shapes(lead, mine)
        axes |= set(shape[len(shape) - order :])
    legs = len(network.legs)
    if len(axes) > 1 or (legs and axes and axes != {legs}):
        wanted = f"{legs}, as the network has an epsilon" if legs else "one length"
        raise UnsupportedInputError(
            f"contract: the tensors have axes of the lengths {sorted(axes)}; expected {wanted}"
        )
    return torch.Size() if lead is None else lead


def _size(tensors: list[Any], network: Contraction) -> int:
    """n, from any tensor that has axes of it."""
    for number, order in zip(network.nodes, network.orders, strict=True):
        if order and number < len(tensors):
            return int(tensors[number].shape[-1])
    return int(tensors[0].shape[-1])
