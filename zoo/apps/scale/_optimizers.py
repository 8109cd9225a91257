"""Minimisers of many functions at once, each over rows of its own.

A structure's rows are its atoms' positions and, where the cell relaxes, three rows for the cell.
Every structure has its own step lengths, mixing and history, so that what becomes of one does not
depend on the others.

`LBFGS`: Liu, Nocedal, Math. Programming 45, 503 (1989), two-loop recursion without a line search
(one evaluation a step), steps capped, and s.y / y.y of the last step as the first inverse Hessian
within bounds. A pair of differences with s.y <= 0 is left out, which keeps it positive.
`FIRE`: Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), with its published constants.
"""

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.apps.scale._pool import largest, per_graph

#: no row moves farther in one step (Å)
MAX_STEP = 0.2
#: curvature assumed before any is known (eV/Å²), stiff enough for a bond, and its bounds after
STIFFNESS, SOFTEST, STIFFEST = 55.0, 5.0, 400.0
MEMORY = 30
#: FIRE's time step, its largest, and how it changes; ten steps of 0.1 reach the largest one
DT, DT_MAX, GROW, SHRINK, MIX, MIX_DECAY, PATIENCE = 0.1, 1.0, 1.1, 0.5, 0.1, 0.99, 5


class Optimizer(Protocol):
    """What both minimisers do; all that one holds are tensors, its attributes."""

    def select(self, rows: Int[Tensor, " rows"], graphs: Int[Tensor, " graphs"]) -> None:
        """Takes over the state of the given old rows and structures, in this order; -1 is new."""

    def step(
        self, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"], owner: Tensor
    ) -> Float[Tensor, "rows 3"]:
        """Moves of all rows."""


class LBFGS:
    """Limited-memory BFGS; see the module.

    The recursion goes over coefficients: with rows s_k and y_k, newest first, and L the lower
    triangle of S Yᵀ, its first loop is L a = S f, q = f - Yᵀ a, its second one
    Lᵀ c = diag(L) a - h Y q, and the move is h q + Sᵀ c. The rows of a structure lie in one line,
    lines of all structures filled up with zeros to the same length.
    """

    def __init__(self) -> None:
        empty = torch.zeros(0, MEMORY, 0, dtype=torch.float64)
        self._s, self._y = empty, empty  # newest first; absent pairs are zero
        self._products = torch.zeros(0, MEMORY, MEMORY, dtype=torch.float64)  # s_k . y_j
        self._last = torch.zeros(0, 2, 0, dtype=torch.float64)  # positions and forces
        self._seen = torch.zeros(0, dtype=torch.bool)

    def select(self, rows: Int[Tensor, " rows"], graphs: Int[Tensor, " graphs"]) -> None:
        """See `Optimizer`."""
        for name, values in vars(self).items():
            setattr(self, name, _taken(values, graphs, 0))

    def step(
        self, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"], owner: Tensor
    ) -> Float[Tensor, "rows 3"]:
        """See `Optimizer`."""
        graphs = len(self._seen)
        place, width = _places(owner, graphs)
        lines = x.new_zeros(graphs * width, 2, 3)
        lines[place] = torch.stack([x, forces], dim=1)
        both = lines.reshape(graphs, width, 2, 3).transpose(1, 2).reshape(graphs, 2, -1)
        self._learn(both)
        move = self._move(both[:, 1]).reshape(-1, 3).index_select(0, place)
        return capped(move, owner, graphs)

    def _move(self, forces: Tensor) -> Tensor:
        """Both loops, for lines (graphs, width)."""
        held = self._products.diagonal(dim1=1, dim2=2)  # (graphs, memory), zero where absent
        known = (held != 0).any(dim=0).nonzero()
        used = int(known[-1]) + 1 if len(known) else 0
        s, y, held = self._s[:, :used], self._y[:, :used], held[:, :used, None]
        lower = self._products[:, :used, :used].tril()
        lower.diagonal(dim1=1, dim2=2).add_((held[..., 0] == 0).double())
        a = torch.linalg.solve_triangular(lower, s @ forces[..., None], upper=False)
        q = forces[..., None] - y.mT @ a
        softness = self._softness()[:, None, None]
        rest = held * a - softness * (y @ q)
        c = torch.linalg.solve_triangular(lower.mT, rest, upper=True)
        move: Tensor = softness * q + s.mT @ c
        return move[..., 0]

    def _softness(self) -> Tensor:
        """Inverse curvature along the last step (graphs,)."""
        squared = self._y[:, 0].square().sum(1)
        product = self._products[:, 0, 0]
        found = torch.where(product > 0, product / squared.clamp(min=1e-300), 1.0 / STIFFNESS)
        return found.clamp(1.0 / STIFFEST, 1.0 / SOFTEST)

    def _learn(self, both: Tensor) -> None:
        """Puts the last step's differences in front, where there was one (graphs, 2, width)."""
        gap = both.shape[2] - self._last.shape[2]
        # to the length of the largest structure that is there now; what falls off is zero
        self._s, self._y, self._last = (
            nn.functional.pad(values, (0, gap)) for values in (self._s, self._y, self._last)
        )
        s, y = torch.where(self._seen[:, None, None], both - self._last, 0.0).unbind(1)
        product = -(s * y).sum(1)
        floor = 1e-12 * (s.square().sum(1) * y.square().sum(1)).sqrt()
        convex = (product > floor)[:, None]
        s, y = torch.where(convex, s, 0.0), torch.where(convex, -y, 0.0)
        self._s, self._y = _pushed(self._s, s), _pushed(self._y, y)
        self._products = nn.functional.pad(self._products[:, :-1, :-1], (1, 0, 1, 0))
        self._products[:, 0] = (self._y @ s[..., None])[..., 0]
        self._products[:, :, 0] = (self._s @ y[..., None])[..., 0]
        self._last = both
        self._seen = torch.ones_like(self._seen)


class FIRE:
    """Fast inertial relaxation engine; see the module. Masses are one."""

    def __init__(self) -> None:
        self._velocity = torch.zeros(0, 3, dtype=torch.float64)
        self._state = torch.zeros(0, 3, dtype=torch.float64)  # time step, mixing, steps downhill

    def select(self, rows: Int[Tensor, " rows"], graphs: Int[Tensor, " graphs"]) -> None:
        """See `Optimizer`."""
        self._velocity = _taken(self._velocity, rows, 0)
        fresh = self._state.new_tensor([DT, MIX, 0.0])
        self._state = torch.where(graphs[:, None] < 0, fresh, _taken(self._state, graphs, 0))

    def step(
        self, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"], owner: Tensor
    ) -> Float[Tensor, "rows 3"]:
        """See `Optimizer`."""
        dt, mix, downhill = self._state.unbind(1)
        graphs = len(dt)
        v = self._velocity
        power = _dot(forces, v, owner, graphs)
        speed, force = (_dot(w, w, owner, graphs).sqrt() for w in (v, forces))
        ratio = mix * speed / force.clamp(min=1e-300)
        mixed = (1 - mix)[owner, None] * v + ratio[owner, None] * forces
        down = power > 0
        v = torch.where(down[owner, None], mixed, 0.0)
        late = down & (downhill > PATIENCE)
        # the first step of a structure has no velocity and is no step uphill
        up = ~down & (speed > 0)
        dt = torch.where(late, (dt * GROW).clamp(max=DT_MAX), torch.where(up, dt * SHRINK, dt))
        mix = torch.where(late, mix * MIX_DECAY, torch.where(down, mix, MIX))
        self._state = torch.stack([dt, mix, torch.where(down, downhill + 1, 0.0)], dim=1)
        self._velocity = v + dt[owner, None] * forces
        return capped(dt[owner, None] * self._velocity, owner, graphs)


OPTIMIZERS: dict[str, type[Optimizer]] = {"lbfgs": LBFGS, "fire": FIRE}


def capped(move: Float[Tensor, "rows 3"], owner: Tensor, graphs: int) -> Float[Tensor, "rows 3"]:
    """Shortens all rows of a structure alike if one of them is longer than `MAX_STEP`."""
    longest = largest(move.norm(dim=1), owner, graphs)
    return move * (MAX_STEP / longest.clamp(min=MAX_STEP))[owner, None]


def _dot(a: Tensor, b: Tensor, owner: Tensor, graphs: int) -> Tensor:
    return per_graph((a * b).sum(1), owner, graphs)


def _places(owner: Int[Tensor, " rows"], graphs: int) -> tuple[Int[Tensor, " rows"], int]:
    """Where each row stands if all structures had as many as the largest, and how many that is."""
    counts = torch.bincount(owner, minlength=graphs)
    width = int(counts.max())
    order = owner.argsort(stable=True)
    starts = (counts.cumsum(0) - counts)[owner[order]]
    place = torch.empty_like(owner)
    place[order] = owner[order] * width + torch.arange(len(owner)) - starts
    return place, width


def _taken(values: Tensor, index: Tensor, axis: int) -> Tensor:
    """Entries at `index`; zeros where it is -1."""
    shape = list(values.shape)
    shape[axis] = 1
    padded = torch.cat([values, values.new_zeros(shape)], dim=axis)
    return padded.index_select(axis, torch.where(index < 0, values.shape[axis], index))


def _pushed(values: Tensor, new: Tensor) -> Tensor:
    """The newest in front; the oldest falls off."""
    return torch.cat([new[:, None], values[:, :-1]], dim=1)
