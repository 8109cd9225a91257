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
from torch import Tensor

from zoo.apps.scale._pool import largest, per_graph

#: no row moves farther in one step (Å)
MAX_STEP = 0.2
#: curvature assumed before any is known (eV/Å²), stiff enough for a bond, and its bounds after
STIFFNESS, SOFTEST, STIFFEST = 55.0, 5.0, 400.0
MEMORY = 30
#: FIRE's time step, its largest, and how it changes; ten steps of 0.1 reach the largest one
DT, DT_MAX, GROW, SHRINK, MIX, MIX_DECAY, PATIENCE = 0.1, 1.0, 1.1, 0.5, 0.1, 0.99, 5


class Optimizer(Protocol):
    """What both minimisers do."""

    def select(self, rows: Int[Tensor, " rows"], graphs: Int[Tensor, " graphs"]) -> None:
        """Takes over the state of the given old rows and structures, in this order; -1 is new."""

    def step(
        self, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"], owner: Tensor
    ) -> Float[Tensor, "rows 3"]:
        """Moves of all rows."""


class LBFGS:
    """Limited-memory BFGS; see the module."""

    def __init__(self) -> None:
        empty = torch.zeros(MEMORY, 0, 3, dtype=torch.float64)
        self._s, self._y = empty, empty  # newest first; absent pairs are zero
        self._rho = torch.zeros(MEMORY, 0, dtype=torch.float64)
        self._last = torch.zeros(2, 0, 3, dtype=torch.float64)  # positions and forces
        self._seen = torch.zeros(0, dtype=torch.bool)

    def select(self, rows: Int[Tensor, " rows"], graphs: Int[Tensor, " graphs"]) -> None:
        """See `Optimizer`."""
        self._s, self._y = _taken(self._s, rows, 1), _taken(self._y, rows, 1)
        self._last = _taken(self._last, rows, 1)
        self._rho, self._seen = _taken(self._rho, graphs, 1), _taken(self._seen, graphs, 0)

    def step(
        self, x: Float[Tensor, "rows 3"], forces: Float[Tensor, "rows 3"], owner: Tensor
    ) -> Float[Tensor, "rows 3"]:
        """See `Optimizer`."""
        self._learn(x, forces, owner)
        graphs = len(self._seen)
        known = (self._rho != 0).any(dim=1).nonzero()
        used = int(known[-1]) + 1 if len(known) else 0
        q, weights = forces.clone(), []
        for k in range(used):
            a = self._rho[k] * _dot(self._s[k], q, owner, graphs)
            q -= a[owner, None] * self._y[k]
            weights.append(a)
        move = q * self._softness(owner)[owner, None]
        for k in reversed(range(used)):
            b = self._rho[k] * _dot(self._y[k], move, owner, graphs)
            move += (weights[k] - b)[owner, None] * self._s[k]
        return capped(move, owner, graphs)

    def _softness(self, owner: Tensor) -> Tensor:
        """Inverse curvature along the last step (graphs,)."""
        squared = _dot(self._y[0], self._y[0], owner, len(self._seen))
        known = self._rho[0] > 0
        found = 1.0 / torch.where(known, self._rho[0] * squared, STIFFNESS)
        return found.clamp(1.0 / STIFFEST, 1.0 / SOFTEST)

    def _learn(self, x: Tensor, forces: Tensor, owner: Tensor) -> None:
        """Puts the last step's differences in front, where there was one."""
        graphs = len(self._seen)
        known = self._seen[owner, None]
        s = torch.where(known, x - self._last[0], 0.0)
        y = torch.where(known, self._last[1] - forces, 0.0)
        product = _dot(s, y, owner, graphs)
        floor = 1e-12 * (_dot(s, s, owner, graphs) * _dot(y, y, owner, graphs)).sqrt()
        rho = torch.where(product > floor, 1.0 / product, 0.0)
        self._s, self._y = _pushed(self._s, s), _pushed(self._y, y)
        self._rho = _pushed(self._rho, rho)
        self._last = torch.stack([x, forces])
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


def _taken(values: Tensor, index: Tensor, axis: int) -> Tensor:
    """Entries at `index`; zeros where it is -1."""
    shape = list(values.shape)
    shape[axis] = 1
    padded = torch.cat([values, values.new_zeros(shape)], dim=axis)
    return padded.index_select(axis, torch.where(index < 0, values.shape[axis], index))


def _pushed(values: Tensor, new: Tensor) -> Tensor:
    """The newest in front; the oldest falls off."""
    return torch.cat([new[None], values[:-1]])
