r"""Partial differential equations whose solution operators are learnt: Burgers and Darcy.

Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, *Fourier neural operator for
parametric partial differential equations*, ICLR 2021 (arXiv:2010.08895), sections 5.1 and 5.2, with
their equations, random fields and coefficients; the solvers are ours.

Burgers, on a ring of length 1: u_t + (u^2 / 2)_x = nu u_xx from u(0) ~ N(0, 625 (-Laplacian +
25)^-2). Fourier modes, the quadratic term in values on a grid and cut off at two thirds of the
modes, the linear term exactly by an integrating factor, the rest by Runge and Kutta's fourth-order
method. Diffusion removes high frequencies quickly, so that later stages take coarser grids and
longer steps (`_STAGES`); what they drop is below 1e-12 for the viscosity of the paper.

Darcy, on the unit square: -div(a grad u) = 1, u = 0 on the boundary, a = 12 where psi >= 0 and 3
elsewhere, psi ~ N(0, (-Laplacian + 9)^-2) with zero Neumann conditions: a sum of cosines, not a
periodic field. Second-order finite differences with means of a between grid points, as in the
authors' code, on a finer grid of which every `stride`-th point is kept; solved by conjugate
gradients with the Laplacian of constant a, inverted by sine transforms, as preconditioner: as a
varies by a factor of 4, an iteration divides the error by 3 or more. The authors evaluate psi at
centres of cells and go between them and the points by splines; here psi is evaluated at the points.
"""

import numpy as np
from scipy import fft

from zoo.datasets.synthetic._made import Made, at_least, between, settled
from zoo.errors import ConfigError

_SOURCE = (
    "Z. Li, N. Kovachki, K. Azizzadenesheli, B. Liu, K. Bhattacharya, A. Stuart, A. Anandkumar, "
    "Fourier neural operator for parametric partial differential equations, ICLR 2021"
)
#: until when (a share of the time), with how many points at most, in steps of what share
_STAGES = ((0.01, 4096, 2.5e-4), (0.1, 512, 1e-3), (1.0, 256, 5e-3))
#: samples that are solved together
_TOGETHER = 64


# --- Burgers ----------------------------------------------------------------------------------


def burgers(
    *,
    train: int = 1000,
    val: int = 100,
    test: int = 200,
    resolution: int = 256,
    fine: int = 1024,
    viscosity: float = 0.1,
    time: float = 1.0,
    seed: int = 0,
) -> Made:
    """Velocities on a ring, now and some time later.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        resolution: points of what is stored.
        fine: points of the solver, a multiple of the resolution; the authors take 8192.
        viscosity: nu, for a ring of length 1.
        time: between the two.
        seed: of everything.

    Returns:
        Arrays `a` and `u` (n, resolution), before and after, at the places k / resolution; `split`.

    Raises:
        ConfigError: for empty parts, grids that don't fit, or numbers out of range.
    """
    between("resolution", resolution, 8, 8192)
    between("viscosity", viscosity, 0.01, 10.0)
    between("time", time, 0.0, 100.0)
    _check_fine("fine", fine, resolution, fine % resolution, f"such as {4 * resolution}")
    if fine % 2:
        raise ConfigError(f"fine is {fine}; it must be even, such as {fine + 1}")
    counts = {"train": train, "val": val, "test": test}
    first, last = [], []
    for rng, count in _streams(counts, seed):
        for some in _batches(count):
            before = ring_field(rng, some, fine)
            after = burgers_later(before, viscosity=viscosity, time=time)
            first.append(before[:, :: fine // resolution])
            last.append(after[:, :: fine // resolution])
    return Made(
        domain="field",
        title="Burgers' equation: velocities on a ring, and what becomes of them",
        arrays={
            "a": settled(np.concatenate(first), 20),
            "u": settled(np.concatenate(last), 20),
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=("random numbers of our own: other samples of the authors' distribution",),
        citation=_SOURCE,
    )


def ring_field(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Fields (count, size) on a ring, N(0, 625 (-Laplacian + 25)^-2), without the mean."""
    k = np.arange(1, size // 2)
    scale = np.sqrt(2) * 25 / ((2 * np.pi * k) ** 2 + 25)
    draws = rng.standard_normal((count, len(k), 2))
    modes = np.zeros((count, size // 2 + 1), dtype=complex)
    modes[:, 1:-1] = (draws[..., 0] - 1j * draws[..., 1]) * (scale * size / 2)
    return np.asarray(np.fft.irfft(modes, size))


def burgers_later(
    fields: np.ndarray, *, viscosity: float, time: float, refine: int = 1
) -> np.ndarray:
    """The velocities (..., size) after a time; `refine` divides all steps."""
    size = fields.shape[-1]
    modes = np.fft.rfft(fields) / size
    start = 0.0
    for end, points, step in _STAGES:
        grid = min(size, points)
        modes = modes[..., : grid // 2 + 1]
        steps = int(np.ceil((end - start) / step - 1e-9)) * refine
        modes = _stage(modes, grid, viscosity, time * (end - start) / steps, steps)
        start = end
    missing = size // 2 + 1 - modes.shape[-1]
    padded = np.pad(modes, [(0, 0)] * (modes.ndim - 1) + [(0, missing)])
    return np.asarray(np.fft.irfft(padded * size, size))


def _stage(modes: np.ndarray, grid: int, viscosity: float, step: float, steps: int) -> np.ndarray:
    """Steps of the same length: Runge-Kutta in the variable exp(nu k^2 t) u_k."""
    k = 2 * np.pi * np.arange(grid // 2 + 1)
    slope = np.where(np.arange(len(k)) <= grid // 3, -0.5j * k, 0)
    half = np.exp(-viscosity * k**2 * step / 2)
    full = half**2

    def rate(u: np.ndarray) -> np.ndarray:
        values = fft.irfft(u, grid, norm="forward")
        values *= values
        return np.asarray(slope * fft.rfft(values, norm="forward"))

    for _ in range(steps):
        a = rate(modes)
        b = rate(half * (modes + step / 2 * a))
        c = rate(half * modes + step / 2 * b)
        d = rate(full * modes + step * half * c)
        modes = full * modes + step / 6 * (full * a + 2 * half * (b + c) + d)
    return modes


# --- Darcy ------------------------------------------------------------------------------------


def darcy(
    *,
    train: int = 1000,
    val: int = 100,
    test: int = 200,
    resolution: int = 85,
    stride: int = 5,
    seed: int = 0,
) -> Made:
    """Permeabilities of a square, and the pressure under a constant source.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        resolution: points along each side of what is stored, the boundary among them.
        stride: the solver's grid is so many times as fine: 5 for the authors' 421 points.
        seed: of everything.

    Returns:
        Arrays `a` and `u` (n, 1, resolution, resolution), at the places k / (resolution - 1);
        `split`.

    Raises:
        ConfigError: for empty parts, or grids out of range.
    """
    between("resolution", resolution, 5, 512)
    between("stride", stride, 1, 16)
    counts = {"train": train, "val": val, "test": test}
    size = stride * (resolution - 1) + 1
    places, pressures = [], []
    for rng, count in _streams(counts, seed):
        for _ in range(count):
            a = np.where(square_field(rng, size) >= 0, 12.0, 3.0)
            u = darcy_pressure(a)
            places.append(a[::stride, ::stride].astype(np.float32))
            pressures.append(settled(u[::stride, ::stride], 28))
    return Made(
        domain="field",
        title="Darcy flow: permeabilities of a square, and the pressure",
        arrays={
            "a": np.stack(places)[:, None],
            "u": np.stack(pressures)[:, None],
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=("random numbers of our own: other samples of the authors' distribution",),
        citation=_SOURCE,
    )


def square_field(rng: np.random.Generator, size: int) -> np.ndarray:
    """A field (size, size) on the unit square, N(0, (-Laplacian + 9)^-2), without the mean.

    The Laplacian has zero Neumann conditions: its eigenfunctions are cos(pi j x) cos(pi k y), here
    evaluated at the grid points, corners included.
    """
    k = np.pi * np.arange(size)
    scale = 1 / (k[:, None] ** 2 + k[None, :] ** 2 + 9)
    scale[0, 0] = 0
    draws = rng.standard_normal((size, size)) * scale
    draws[1:] *= np.sqrt(2)
    draws[:, 1:] *= np.sqrt(2)
    draws[:-1] /= 2  # scipy's cosine transform counts inner terms twice
    draws[0] *= 2
    draws[:, :-1] /= 2
    draws[:, 0] *= 2
    return np.asarray(fft.dctn(draws, type=1))


def darcy_pressure(
    a: np.ndarray, source: np.ndarray | None = None, *, tolerance: float = 1e-7
) -> np.ndarray:
    """The solution of -div(a grad u) = f on the unit square with u = 0 on its boundary.

    Args:
        a: (size, size), positive, at the grid points.
        source: f, likewise; 1 if None.
        tolerance: of the residual, relative to f.

    Returns:
        u (size, size), of second order in the distance of the points where a is smooth.
    """
    n = a.shape[0] - 2  # inner points along a side
    across = (a[1:, 1:-1] + a[:-1, 1:-1]) / 2 * (n + 1) ** 2
    along = (a[1:-1, 1:] + a[1:-1, :-1]) / 2 * (n + 1) ** 2
    middle = across[1:] + across[:-1] + along[:, 1:] + along[:, :-1]
    wave = (2 * (n + 1) * np.sin(np.pi * np.arange(1, n + 1) / (2 * (n + 1)))) ** 2
    inverse = 1 / (wave[:, None] + wave[None, :])

    def apply(u: np.ndarray) -> np.ndarray:
        out = np.asarray(middle * u)
        out[1:] -= across[1:-1] * u[:-1]
        out[:-1] -= across[1:-1] * u[1:]
        out[:, 1:] -= along[:, 1:-1] * u[:, :-1]
        out[:, :-1] -= along[:, 1:-1] * u[:, 1:]
        return out

    def precondition(r: np.ndarray) -> np.ndarray:
        modes = fft.dstn(r, type=1, norm="ortho")
        return np.asarray(fft.dstn(modes * inverse, type=1, norm="ortho"))

    f = np.ones((n, n)) if source is None else source[1:-1, 1:-1]
    u, r = np.zeros((n, n)), np.array(f, dtype=float)
    z = precondition(r)
    p, rz = z, float((r * z).sum())
    goal = tolerance * float(np.linalg.norm(r))
    for _ in range(200):
        if float(np.linalg.norm(r)) <= goal:
            break
        moved = apply(p)
        length = rz / float((p * moved).sum())
        u += length * p
        r -= length * moved
        z = precondition(r)
        rz, before = float((r * z).sum()), rz
        p = z + rz / before * p
    return np.pad(u, 1)


# --- both -------------------------------------------------------------------------------------


def _streams(counts: dict[str, int], seed: int) -> list[tuple[np.random.Generator, int]]:
    """A stream of random numbers for each part, so that more of one change nothing in others."""
    for name, count in counts.items():
        at_least(name, count, 1)
    return [
        (np.random.default_rng((seed, place)), count) for place, count in enumerate(counts.values())
    ]


def _batches(count: int) -> list[int]:
    whole, rest = divmod(count, _TOGETHER)
    return [_TOGETHER] * whole + [rest] * (rest > 0)


def _check_fine(name: str, fine: int, resolution: int, rest: int, better: str) -> None:
    if rest or not resolution <= fine <= 16384:
        raise ConfigError(
            f"{name} is {fine}; it must be a multiple of the resolution {resolution}, at most "
            f"16384, {better}"
        )
