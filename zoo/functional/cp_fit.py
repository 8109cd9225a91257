r"""Factors of the shared coupling by a symmetric Levenberg-Marquardt method.

M of `zoo.functional.cp_factors` commutes with all rotations, so one may ask for terms that come in
orbits of a finite group G of rotations, and search one term of each orbit only:

    M ~ sum_n sum_{g in G} g a_n (x) g b_n (x) g c_n.

The residual is then G-invariant as well, gradients and normal equations of the generators (a_n,
b_n, c_n) are those of the whole divided by |G|, and unknowns and equations shrink by |G| alike: a
fit takes seconds where alternating least squares on all terms takes hours or gets stuck. Each step
solves

    (J^T J + lambda + mu) delta = -(J^T residual + mu x)

exactly; lambda follows the usual rule of gain and loss, mu keeps terms from growing against each
other and falls with the residual, to zero.
"""

import time
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.errors import ConfigError, nearest
from zoo.functional.cp_factors import CPFactors, orbits, relative_error, shared_coupling
from zoo.functional.rotation_groups import ROTATION_GROUPS, group_matrices

#: unknowns beyond which a step's equations don't fit into a few GB
UNKNOWNS = 12_000
#: relative error at which a fit ends, and steps without progress after which it gives up
_ENOUGH, _PATIENCE = 1e-13, 40
#: largest damping: beyond, no step makes progress
_STUCK = 1e8


class _State(NamedTuple):
    x: Tensor  # (3, rows, orbits)
    residual: Tensor
    square: float


def fit_factors(
    lmax: int, rank: int, *, seed: int = 0, seconds: float = 60.0, group: str | None = None
) -> tuple[CPFactors, Tensor, str]:
    """Searches for factors of a rank, from a random start.

    Args:
        lmax: highest degree L.
        rank: number of terms, a multiple of the order of the group.
        seed: of the start; another one may end elsewhere.
        seconds: after which the search ends; a step is not interrupted.
        group: of `zoo.functional.rotation_groups`; None for the largest one whose order divides
            the rank.

    Returns:
        The factors with their measured error, the generators (3, rows, orbits), and the group.

    Raises:
        ConfigError: a rank that isn't a multiple of the group's order, more unknowns than
            `UNKNOWNS`, a degree without factors, or an unknown group.
    """
    name = _group_of(rank, group)
    matrices = group_matrices(name, lmax)
    rows, count = matrices.shape[1], rank // len(matrices)
    if 3 * rows * count > UNKNOWNS:
        raise ConfigError(
            f"rank={rank} with the group {name} has {3 * rows * count} unknowns (limit {UNKNOWNS});"
            " take a rank that is a multiple of 60, 24 or 12"
        )
    target = shared_coupling(lmax)
    size = (float(target.norm()) / rank**0.5 / rows**1.5) ** (1 / 3)
    generator = torch.Generator().manual_seed(seed)
    start = size * torch.randn(3, rows, count, generator=generator, dtype=torch.float64)
    x = _Search(target, matrices).run(start, time.monotonic() + seconds)
    factors = CPFactors(*orbits(x, lmax, name), 0.0)
    return factors._replace(error=relative_error(lmax, factors)), x, name


def _group_of(rank: int, name: str | None) -> str:
    if rank < 1:
        raise ConfigError(f"rank={rank}: expected at least one term")
    if name is None:
        fitting = [n for n, order in ROTATION_GROUPS.items() if rank % order == 0]
        return max(fitting, key=ROTATION_GROUPS.__getitem__)
    if name not in ROTATION_GROUPS:
        raise ConfigError(f"group={name!r}: {nearest(name, ROTATION_GROUPS)}")
    if rank % ROTATION_GROUPS[name]:
        raise ConfigError(
            f"rank={rank} is no multiple of {ROTATION_GROUPS[name]}, the order of the group {name}"
        )
    return name


class _Search:
    """One fit.

    Args:
        target: M.
        matrices: of the group's elements.
    """

    def __init__(self, target: Tensor, matrices: Tensor) -> None:
        self.target = target
        self.matrices = matrices
        self.norm = float(target.square().sum())

    def run(self, x: Tensor, deadline: float) -> Tensor:
        """Steps until the error is rounding, nothing moves, or time is up."""
        state, damping, ridge = self._state(x), 1.0, 1e-2
        best, since = torch.inf, 0
        while since < _PATIENCE and time.monotonic() < deadline:
            before = self._cost(state, ridge)
            moved, damping = self._step(state, damping, ridge)
            if moved is None:
                break
            state = moved
            gain = 1 - self._cost(state, ridge) / before
            error = (state.square / self.norm) ** 0.5
            if gain < 0.02 or error < 0.1:
                ridge = min(0.6 * ridge, 0.1 * state.square / self.norm) if ridge > 1e-15 else 0.0
            best, since = (error, 0) if error < 0.97 * best else (best, since + 1)
            if error < _ENOUGH:
                break
        return state.x

    def _step(self, state: _State, damping: float, ridge: float) -> tuple[_State | None, float]:
        """The next state and the damping after it; no state where none is better."""
        gradient = self._gradient(state) + ridge * state.x
        side = gradient.transpose(1, 2).reshape(-1, 1)
        normal, cost = self._normal(state.x), self._cost(state, ridge)
        while damping < _STUCK:
            shifted = normal.clone()
            shifted.diagonal().add_(damping + ridge)
            factor, failed = torch.linalg.cholesky_ex(shifted)
            if not bool(failed):
                delta = torch.cholesky_solve(side, factor).view(3, -1, len(self.target))
                trial = self._state(state.x - delta.transpose(1, 2))
                if self._cost(trial, ridge) < cost:
                    return trial, max(damping / 4, 1e-13)
            damping = max(4 * damping, 1e-14)
        return None, damping

    def _cost(self, state: _State, ridge: float) -> float:
        return state.square / len(self.matrices) + ridge * float(state.x.square().sum())

    def _state(self, x: Tensor) -> _State:
        first, second, third = torch.einsum("gij,fjn->fign", self.matrices, x).flatten(2)
        pairs = (first[:, None] * second).flatten(0, 1)
        residual = (pairs @ third.T).view_as(self.target) - self.target
        return _State(x, residual, float(residual.square().sum()))

    def _gradient(self, state: _State) -> Tensor:
        """Of half the square, by the generators, divided by the order of the group."""
        (a, b, c), size = state.x, len(self.target)
        on_third = (state.residual.flatten(0, 1) @ c).view(size, size, -1)
        on_second = (state.residual.transpose(1, 2).flatten(0, 1) @ b).view(size, size, -1)
        by_first = (on_third * b).sum(1)
        by_second = (on_third * a[:, None]).sum(0)
        return torch.stack([by_first, by_second, (on_second * a[:, None]).sum(0)])

    def _normal(self, x: Tensor) -> Tensor:
        """J^T J of the generators, divided by the order of the group.

        The derivative of the sum is linear in each g a_n, so a block is a sum over the elements g
        of what the terms n and g m have in common, carried back by g.
        """
        order, size, count = len(self.matrices), x.shape[1], x.shape[2]
        turned = torch.einsum("gij,fjn->fgin", self.matrices, x)
        back = torch.einsum("gji,fjn->fgin", self.matrices, x)
        gram = torch.einsum("fin,fgim->fgnm", x, turned)
        out = x.new_empty(3, count, size, 3, count, size)
        for p in range(3):
            others = gram[(p + 1) % 3] * gram[(p + 2) % 3]
            block = others.flatten(1).T @ self.matrices.flatten(1)
            out[p, :, :, p] = block.view(count, count, size, size).transpose(1, 2)
            for q in range(p + 1, 3):
                left = gram[3 - p - q, :, :, :, None] * turned[p].transpose(1, 2)[:, None]
                left = left.permute(1, 2, 3, 0).reshape(count, count * size, order)
                block = (left @ back[q].permute(2, 0, 1)).view(count, count, size, size)
                block = block.transpose(1, 2)
                out[p, :, :, q] = block
                out[q, :, :, p] = block.permute(2, 3, 0, 1)
        return out.view(3 * count * size, 3 * count * size)
