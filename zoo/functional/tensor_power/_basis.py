"""Bases of the equivariant maps as dense tensors, and projection onto them."""

import functools
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_power._apply import alternating
from zoo.functional.tensor_power._counts import check_orders, hom_dimension
from zoo.functional.tensor_power._diagrams import Diagram, diagrams
from zoo.functional.tensor_power._families import as_group
from zoo.functional.tensor_power._groups import Group, symplectic_form
from zoo.functional.tensor_power._null_space import null_space
from zoo.functional.tensor_power._orbits import orbit_labels

Kind = Literal["diagram", "orbit", "numerical"]
#: of a basis, in MB
LARGEST = 1024.0
_TOLERANCE = 1e-9  # of lengths, relative to a tensor's own


@dataclass(frozen=True)
class EquivariantBasis:
    """Tensors that span the equivariant maps (R^n)^(x)k -> (R^n)^(x)l.

    Attributes:
        group: of the maps.
        n: dimension of the space.
        order_in: k.
        order_out: l.
        kind: of tensors.
        tensors: (count, n, ..., n) in float64, the l axes of outputs first.
        diagrams: of each tensor; empty where the kind isn't "diagram".
    """

    group: Group
    n: int
    order_in: int
    order_out: int
    kind: Kind
    tensors: Float[Tensor, "count *axes"]
    diagrams: tuple[Diagram, ...] = ()

    def __len__(self) -> int:
        return len(self.tensors)

    @property
    def matrices(self) -> Float[Tensor, "count outputs inputs"]:
        """The tensors as matrices (count, n^l, n^k)."""
        return self.tensors.reshape(-1, self.n**self.order_out, self.n**self.order_in)

    @functools.cached_property
    def orthonormal(self) -> Float[Tensor, "dimension entries"]:
        """An orthonormal basis of the same space, flat, in float64."""
        flat = self.tensors.reshape(len(self), self.n ** (self.order_out + self.order_in))
        if self.kind == "numerical" or len(flat) == 0:
            return flat
        rows: Tensor
        if self.kind == "orbit":  # no two have an entry in common
            rows = flat / torch.linalg.vector_norm(flat, dim=1, keepdim=True)
            return rows
        _, values, rows = torch.linalg.svd(flat, full_matrices=False)
        return rows[values > _TOLERANCE * values[:1]]


def equivariant_basis(
    group: Group | type[Group] | str,
    n: int,
    order_in: int,
    order_out: int,
    kind: Kind = "diagram",
    independent: bool = True,
) -> EquivariantBasis:
    """Tensors that span the equivariant linear maps (R^n)^(x)k -> (R^n)^(x)l.

    Args:
        group: see `as_group`.
        n: dimension of the space.
        order_in: k.
        order_out: l.
        kind: "diagram", entries of 0, 1 and -1, for S_n, A_n, O(n), SO(n), Sp(n); "orbit", the
            indicators of orbits, for groups of permutations; "numerical", an orthonormal basis of
            the null space of the conditions, for any group.
        independent: leaves out diagrams that depend on those before them.

    Returns:
        In the order of the diagrams, of the orbits' first tuples, or in no special one.

    Raises:
        ConfigError: for a group that does not act on R^n, a kind that it lacks, negative orders, or
            a basis of more than 1 GB, with its size.
    """
    of = as_group(group)
    of.check(n)
    check_orders(order_in, order_out)
    if kind not in get_args(Kind):
        raise ConfigError(f"kind={kind!r}: expected one of {', '.join(get_args(Kind))}")
    shape = [n] * (order_out + order_in)
    if kind == "numerical":
        flat = null_space(of, n, order_in, order_out)
        return EquivariantBasis(of, n, order_in, order_out, kind, flat.reshape(-1, *shape))
    if kind == "orbit":
        flat = _indicators(of, n, order_in, order_out)
        return EquivariantBasis(of, n, order_in, order_out, kind, flat.reshape(-1, *shape))
    found = diagrams(of, n, order_in, order_out)
    count = hom_dimension(of, n, order_in, order_out) if independent else len(found)
    check_memory(of, n, order_in, order_out, max(count, len(found)))
    tensors = [dense(diagram, n, order_out) for diagram in found]
    if len(found) > count:
        kept = _independent(tensors, count)
        found, tensors = tuple(found[k] for k in kept), [tensors[k] for k in kept]
    stacked = torch.stack(tensors) if tensors else torch.zeros(0, *shape, dtype=torch.float64)
    return EquivariantBasis(of, n, order_in, order_out, kind, stacked, found)


def project(w: Float[Tensor, "*axes"], basis: EquivariantBasis) -> Float[Tensor, "*axes"]:
    """The equivariant map nearest to a linear map: Q^T Q vec(W), by the sum of squares of entries.

    Args:
        w: (..., n, ..., n), l outputs before k inputs, or (..., n^l, n^k); leading axes, such as
            those of channels, are kept apart.
        basis: of the maps.

    Returns:
        As `w`; gradients flow through it.

    Raises:
        ConfigError: for axes that don't fit.
    """
    order = basis.order_out + basis.order_in
    spread = (basis.n,) * order
    matrix = (basis.n**basis.order_out, basis.n**basis.order_in)
    for shape in (matrix, spread):
        lead = w.ndim - len(shape)
        if lead >= 0 and tuple(w.shape[lead:]) == shape:
            flat = w.reshape(*w.shape[:lead], -1)
            rows = basis.orthonormal.to(w)
            return ((flat @ rows.mT) @ rows).reshape(w.shape)
    raise ConfigError(
        f"a map of shape {tuple(w.shape)} has no last axes {spread} or {matrix}, which maps of "
        f"orders {basis.order_in} -> {basis.order_out} with n={basis.n} have"
    )


def dense(diagram: Diagram, n: int, order_out: int) -> Float[Tensor, "*axes"]:
    """All entries of a diagram's map (n, ..., n) in float64, outputs first, by their formula."""
    order = sum(map(len, diagram.blocks))

    def along(axis: int) -> Tensor:
        return torch.arange(n).reshape([n if k == axis else 1 for k in range(order)])

    result = torch.ones([n] * order, dtype=torch.float64)
    for block in diagram.blocks:
        if diagram.symplectic and (block[1] < order_out or block[0] >= order_out):
            result = result * symplectic_form(n)[along(block[0]), along(block[1])]
            continue
        for first, second in zip(block[:-1], block[1:], strict=True):
            result = result * (along(first) == along(second))
    if diagram.legs:
        table = alternating(len(diagram.legs), n)
        result = result * table[tuple(along(diagram.blocks[leg][0]) for leg in diagram.legs)]
    return result


def check_memory(group: Group, n: int, order_in: int, order_out: int, count: int) -> None:
    """Refuses a basis that is too large.

    Raises:
        ConfigError: with its size.
    """
    size = count * float(n) ** (order_in + order_out) * 8 / 2**20
    if size > LARGEST:
        raise ConfigError(
            f"a basis of {group} with n={n} and orders {order_in} -> {order_out} has {count} dense "
            f"tensors, {size:,.0f} MB in all; at most {LARGEST:,.0f} MB are made. Apply diagrams "
            "instead (`apply_diagram`, TensorPowerLinear with implementation='diagram'), or take "
            "lower orders"
        )


def _indicators(group: Group, n: int, order_in: int, order_out: int) -> Tensor:
    if not group.permutes:
        raise ConfigError(
            f"kind='orbit' is for groups of permutations, not for {group}; take 'diagram' or "
            "'numerical'"
        )
    labels = orbit_labels(group, n, order_in + order_out)
    count = int(labels.max()) + 1
    check_memory(group, n, order_in, order_out, count)
    return torch.nn.functional.one_hot(labels, count).T.to(torch.float64)


def _independent(tensors: list[Tensor], count: int) -> list[int]:
    """Numbers of the first tensors that are independent, `count` of them."""
    kept: list[int] = []
    rows = torch.zeros(0, tensors[0].numel(), dtype=torch.float64)
    for number, tensor in enumerate(tensors):
        rest = tensor.flatten()
        length = torch.linalg.vector_norm(rest)
        for _ in range(2):  # twice is enough (Kahan)
            rest = rest - (rows @ rest) @ rows
        if torch.linalg.vector_norm(rest) > _TOLERANCE * length:
            rows = torch.cat([rows, (rest / torch.linalg.vector_norm(rest))[None]])
            kept.append(number)
        if len(kept) == count:
            break
    return kept
