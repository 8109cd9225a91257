"""Ordinary differential equations dx/dt = f(x), in equal steps or in steps that fit the error.

Derivatives go through the steps that were taken. Rows that belong together (a graph's nodes) have
steps of their own, so that what else is in a batch changes nothing.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.errors import ConfigError

Field = Callable[[Tensor], Tensor]

# Dormand, Prince: A family of embedded Runge-Kutta formulae, J. Comp. Appl. Math. 6 (1980), 19-26
_STAGES: tuple[tuple[float, ...], ...] = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# fifth order less fourth
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0


def runge_kutta(field: Field, x: Float[Tensor, "*shape"], time: float, steps: int) -> Tensor:
    """x after a time, by the classical fourth-order method.

    Args:
        field: f.
        x: at time 0.
        time: how long.
        steps: equal ones.

    Raises:
        ConfigError: for fewer than one step.
    """
    if steps < 1:
        raise ConfigError(f"steps={steps}: expected at least 1")
    h = time / steps
    for _ in range(steps):
        a = field(x)
        b = field(x + 0.5 * h * a)
        c = field(x + 0.5 * h * b)
        d = field(x + h * c)
        x = x + (h / 6.0) * (a + 2.0 * b + 2.0 * c + d)
    return x


def dormand_prince(
    field: Field,
    x: Float[Tensor, "rows *shape"],
    time: float,
    *,
    tolerance: float,
    owner: Int[Tensor, " rows"] | None = None,
    first: float = 0.1,
    limit: int = 1000,
) -> Tensor:
    """x after a time, in steps whose error stays within a tolerance.

    The error of a step is the difference of the fifth- and fourth-order formulae of Dormand and
    Prince, as the root mean square over a system's numbers of error / (tolerance (1 + |x|)).

    Args:
        field: f; it must not mix systems.
        x: at time 0.
        time: how long.
        tolerance: of the error of a step.
        owner: the system of each row, counted from 0; None for a single one.
        first: the first step, in parts of the time.
        limit: steps at most, those that are taken back included.

    Raises:
        ConfigError: for a tolerance that isn't positive, or where the limit does not suffice.
    """
    if not tolerance > 0 or limit < 1:
        raise ConfigError(f"tolerance={tolerance}, limit={limit}: expected more than 0, 1 or more")
    if not len(x):
        return x
    owner = torch.zeros(len(x), dtype=torch.int64, device=x.device) if owner is None else owner
    systems = int(owner.max()) + 1
    left = torch.full((systems,), time, dtype=torch.float64, device=x.device)
    step = left * first
    start = field(x)
    for _ in range(limit):
        h = torch.minimum(step, left)
        stages, following = _stages(field, x, start, _spread(h, owner, x))
        size = _error(stages, x, following, _spread(h, owner, x), owner, systems, tolerance)
        size = size.nan_to_num(nan=torch.inf, posinf=torch.inf)  # left all bounds: a shorter step
        taken = size <= 1.0
        move = taken[owner].reshape(-1, *[1] * (x.ndim - 1))
        x = torch.where(move, following, x)
        start = torch.where(move, stages[-1], start)  # the last stage is f there
        left = torch.where(taken, left - h, left)
        step = h * (_SAFETY * size.clamp(min=1e-12) ** -0.2).clamp(_SHRINK, _GROW)
        left = torch.where(left > 1e-12 * time, left, torch.zeros_like(left))
        if not bool(left.any()):
            return x
    raise ConfigError(
        f"the diffusion needs more than {limit} steps at tolerance {tolerance:g}: it has come to "
        f"t = {time - float(left.max()):.3g} of {time:g}; raise the tolerance, or shorten the time"
    )


def _spread(h: Tensor, owner: Tensor, x: Tensor) -> Tensor:
    """The step of each row; one that is at its end makes steps of length 0."""
    return h[owner].to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))


def _stages(field: Field, x: Tensor, start: Tensor, h: Tensor) -> tuple[list[Tensor], Tensor]:
    """Slopes of all stages, and x after the step, where the last one is taken."""
    slopes = [start]
    there = x
    for weights in _STAGES:
        total = sum(w * s for w, s in zip(weights, slopes, strict=True) if w)
        there = x + h * total
        slopes.append(field(there))
    return slopes, there


@torch.no_grad()
def _error(
    slopes: list[Tensor],
    x: Tensor,
    following: Tensor,
    h: Tensor,
    owner: Tensor,
    systems: int,
    tolerance: float,
) -> Tensor:
    """Errors of a step in tolerances (systems,)."""
    difference = h * sum(w * s for w, s in zip(_ERROR, slopes, strict=True) if w)
    scale = tolerance * (1.0 + torch.maximum(x.abs(), following.abs()))
    square = (difference / scale).square().flatten(1).mean(dim=1).double()
    sums = square.new_zeros(systems).index_add(0, owner, square)
    sizes = torch.bincount(owner, minlength=systems).clamp(min=1)
    return (sums / sizes).sqrt()
