r"""Rotations that take edges to the polar axis, and Wigner matrices, from quaternions.

Wigner matrices are polynomials of the quaternion (see `_wigner_tables`), hence smooth everywhere.
The quaternion of an edge can't be smooth everywhere: a frame that depends continuously on the
direction would comb the sphere. Two charts cover it,

    q1 = (1 + y, -z, 0, x)            everywhere but at -y,
    q2 = e^{j phi} (-z, 1 - y, x, 0)  everywhere but at +y,

for a unit vector (x, y, z); both take it to +y and differ by a roll about y. The default frame is
q1, is q2 in a cap about -y, and in the ring between them the normalised sum with a C-infinity
weight. Derivatives of every order are bounded on the whole sphere. What remains of the
obstruction is that the roll jumps across two arcs of that ring, at azimuths phi +- pi / 2, which
phi keeps away from directions that crystals have. The roll is free: SO(2)-equivariant layers
don't see it, and neither value nor derivative of what they give is affected by the jump.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.errors import UnsupportedInputError
from zoo.functional import _wigner_tables as tables
from zoo.functional.irreps import check_degrees, order_major_index

#: highest degree; with all orders, float64 rounding is 1e-13 at l = 10, 1e-11 at 16, 2e-9 at 24
WIGNER_LIMIT = 24
#: edges whose entries are evaluated together
CHUNK = 512
#: cosines of the ring in which the frame goes from the chart about -y to the chart about +y
RING = (-0.95, -0.75)
#: cosine and sine of the roll between the charts, phi = 0.4
ROLL = (0.9210609940028851, 0.3894183423086505)


def edge_quaternion(vectors: Float[Tensor, "edges 3"]) -> Float[Tensor, "edges 4"]:
    """Unit quaternions (w, x, y, z) of rotations that take each vector's direction to +y.

    Args:
        vectors: edges (any unit), none of zero length.

    Raises:
        UnsupportedInputError: edges of zero length, which have no direction; names them.
    """
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    check_lengths(length)
    x, y, z = (vectors / length).unbind(-1)
    low, high = RING
    zero = torch.zeros_like(x)
    # outside its region a chart is replaced by a constant, so that no derivative is infinite
    first = torch.where(y > low, 1 + y, 1.0)
    second = torch.where(y < high, 1 - y, 1.0)
    c, s = ROLL
    q1 = _unit(torch.stack([first, -z, zero, x], dim=-1))
    q2 = [-c * z - s * x, c * second, c * x - s * z, -s * second]
    other = _unit(torch.stack(q2, dim=-1))
    aligned = (q1 * other).sum(-1, keepdim=True).detach() < 0  # q and -q are the same rotation
    weight = _step((y - low) / (high - low))[:, None]
    return _unit(weight * q1 + (1 - weight) * torch.where(aligned, -other, other))


def check_lengths(length: Float[Tensor, "edges 1"]) -> None:
    """Refuses edges without a direction.

    Nothing can look at numbers while torch.compile or torch.export trace: all pass there, and
    whoever runs what was traced has to check before (`zoo.apps.scale.export` does).

    Raises:
        UnsupportedInputError: a length that is zero or not finite; names the edges.
    """
    if torch.compiler.is_compiling():
        return
    good = (length > 0) & torch.isfinite(length)
    if bool(good.all()):
        return
    bad = (~good).flatten().nonzero().flatten().tolist()
    shown = ", ".join(map(str, bad[:8])) + (", ..." if len(bad) > 8 else "")
    raise UnsupportedInputError(
        f"{len(bad)} of {length.numel()} edges have no direction, their length is zero or not "
        f"finite: edges {shown}; remove coincident points or self-loops"
    )


def _unit(q: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(q, dim=-1, keepdim=True)
    return q / norm


def _step(t: Tensor) -> Tensor:
    """0 below 0, 1 above 1, and sigmoid((2t - 1) / (t (1 - t))) between: C-infinity."""
    inner = t.clamp(0.02, 0.98)  # beyond, the sigmoid is 0 or 1 to 5e-22
    value = torch.sigmoid((2 * inner - 1) / (inner * (1 - inner)))
    return torch.where(t <= 0.02, 0.0, torch.where(t >= 0.98, 1.0, value))


def quaternion_to_matrix(q: Float[Tensor, "edges 4"]) -> Float[Tensor, "edges 3 3"]:
    """Rotation matrices R, acting on columns as R r, of unit quaternions (w, x, y, z)."""
    w, x, y, z = q.unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def wigner_matrix(
    q: Float[Tensor, "edges 4"], lmax: int, mmax: int | None = None
) -> Float[Tensor, "edges kept coefficients"]:
    """Wigner matrices of all degrees up to `lmax` as one matrix per edge.

    Rows are order-major and restricted to |m| <= mmax, columns degree-major (see
    `zoo.functional.irreps`). Spherical harmonics in these layouts obey Y(R r) = D Y(r), and the
    matrix of a product q1 q2 is the product of the matrices. Into the frame of an edge:
    `D @ x[source]`; back: `D.mT @ y`.

    A quaternion q stands for the rotation q / |q|. Evaluated in float64 and rounded to the
    precision of `q`; differentiable to every order.

    Args:
        q: quaternions (w, x, y, z), not zero.
        lmax: highest degree.
        mmax: highest order of the rows; None for `lmax`.

    Raises:
        ConfigError: `lmax` beyond `WIGNER_LIMIT`, or `mmax` beyond `lmax`.
    """
    mmax = check_degrees(lmax, mmax, limit=WIGNER_LIMIT)
    return dense_matrix(wigner_entries(q, lmax, mmax), lmax, mmax)


def wigner_entries(
    q: Float[Tensor, "edges 4"], lmax: int, mmax: int | None = None
) -> Float[Tensor, "edges entries"]:
    """The entries of `wigner_matrix` within its diagonal blocks, row after row.

    Args:
        q: quaternions (w, x, y, z), not zero.
        lmax: highest degree.
        mmax: highest order of the rows; None for `lmax`.
    """
    return _entries(q, lmax, check_degrees(lmax, mmax, limit=WIGNER_LIMIT))


def dense_matrix(
    entries: Float[Tensor, "edges entries"], lmax: int, mmax: int
) -> Float[Tensor, "edges kept coefficients"]:
    """Entries of Wigner matrices at their places among zeros."""
    place = tables.entries(lmax, mmax)[2].to(entries.device)
    kept, coefficients = len(tables.kept_rows(lmax, mmax)), (lmax + 1) ** 2
    flat = entries.new_zeros(entries.shape[0], kept * coefficients).index_copy(1, place, entries)
    return flat.view(entries.shape[0], kept, coefficients)


def wigner_blocks(q: Float[Tensor, "edges 4"], lmax: int) -> list[Float[Tensor, "edges m m"]]:
    """Wigner matrices of degrees 0 to `lmax`, rows and columns m = -l..l.

    Args:
        q: quaternions (w, x, y, z), not zero.
        lmax: highest degree.
    """
    full = wigner_matrix(q, lmax)
    rows = torch.argsort(order_major_index(lmax)).to(q.device)
    square = full.index_select(1, rows)
    blocks = [slice(degree * degree, (degree + 1) ** 2) for degree in range(lmax + 1)]
    return [square[:, block, block] for block in blocks]


class _Entries(Function):
    """The derivative of D is D G_a, G_a the generators of rotations applied before D.

    With dq = q (0, omega) / 2, dD = sum_a omega_a D G_a. Backward is written in differentiable
    operations on D and q, so derivatives of every order follow.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, lmax: int, mmax: int) -> Any:
        out = _evaluate(q, lmax, mmax)
        ctx.save_for_backward(q, out)
        ctx.degrees = lmax, mmax
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        q, entries = ctx.saved_tensors
        order, sizes = tables.degree_blocks(*ctx.degrees)
        order = order.to(q.device)
        lengths = [rows * width for rows, width in sizes]
        of_matrix = entries.index_select(1, order).split(lengths, dim=1)
        of_grad = grad.index_select(1, order).split(lengths, dim=1)
        torque = q.new_zeros(q.shape[0], 3)
        for degree, (rows, width) in enumerate(sizes[1:], start=1):
            turned = tables.generators(degree).to(q).transpose(0, 1).reshape(width, 3 * width)
            moved = of_matrix[degree].view(-1, rows, width) @ turned  # (edges, rows, 3 width)
            g = of_grad[degree].view(-1, rows, 1, width)
            torque = torque + (moved.unflatten(2, (3, width)) * g).sum((1, 3))
        norm = q.square().sum(-1, keepdim=True)
        return 2 * _times_vector(q, torque) / norm, None, None


_entries: Callable[[Tensor, int, int], Tensor] = _Entries.apply


def _times_vector(q: Tensor, v: Tensor) -> Tensor:
    """The quaternion product q (0, v)."""
    w, u = q[:, :1], q[:, 1:]
    dot = (u * v).sum(-1, keepdim=True)
    return torch.cat([-dot, w * v + torch.linalg.cross(u, v)], dim=-1)


def _evaluate(q: Tensor, lmax: int, mmax: int) -> Tensor:
    index, table, positions = (t.to(q.device) for t in tables.entries(lmax, mmax))
    w, x, y, z = _unit(q.double()).unbind(-1)
    a = _powers(torch.complex(w, y), lmax + mmax)
    b = _powers(torch.complex(x, z), lmax + mmax)
    first = torch.arange(mmax + 1, device=q.device)[:, None]
    second = torch.arange(-lmax, lmax + 1, device=q.device)
    middle = lmax + mmax
    phases = a[(second + first + middle).flatten()] * b[(second - first + middle).flatten()]
    parts = torch.cat([phases.real, phases.imag])  # (2 pairs, edges)
    c = _chebyshev((w * w + y * y) - (x * x + z * z), lmax)
    edges = q.shape[0]
    out = q.new_empty(edges, len(positions))
    # in chunks, what passes through memory stays in the cache; a trace has a fixed number of them
    whole = torch.compiler.is_compiling()
    for part in [slice(None)] if whole else _chunks(edges):
        values = parts[index[0], part] * (table[0] @ c[:, part])  # (entries, edges)
        values.addcmul_(parts[index[1], part], table[1] @ c[:, part])
        out[part] = values.T
    return out


def _chunks(edges: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, edges, CHUNK)]


def _powers(a: Tensor, highest: int) -> Tensor:
    """a^k for k = -highest..highest, negative powers of the conjugate: (powers, edges)."""
    powers = [torch.ones_like(a)]
    for _ in range(highest):
        powers.append(powers[-1] * a)
    return torch.stack([*(p.conj() for p in reversed(powers[1:])), *powers])


def _chebyshev(c: Tensor, highest: int) -> Tensor:
    """T_k(c) for k = 0..highest: (highest + 1, edges)."""
    values = [torch.ones_like(c), c]
    for _ in range(highest - 1):
        values.append(2 * c * values[-1] - values[-2])
    return torch.stack(values[: highest + 1])
