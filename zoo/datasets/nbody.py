r"""The charged N-body benchmark: where do five charged particles go?

Satorras, Hoogeboom, Welling, E(n) Equivariant Graph Neural Networks, ICML 2021, arXiv:2102.09844,
section 5.1; the system is that of Kipf et al., Neural Relational Inference, ICML 2018. Positions
and velocities at saved frame 30 go in, positions at saved frame 40 are to come out. The numbers are
those of the authors' generator with its seed: charges bit for bit, positions up to rounding, which
the few chaotic trajectories amplify.

Every trajectory draws, from one stream of NumPy's legacy generator for train, val and test in this
order: charges -1 or 1 of equal chance, positions of the standard normal distribution, velocities of
length 0.5 in random directions, and noise that is not used. A particle that starts outside the box
\|x\| <= 5 is reflected at it; there are no walls after that. The force on particle i is

    F_i = sum_j q_i q_j (x_i - x_j) / |x_i - x_j|^3,

each component at most 100 in size, all masses are 1, and the leapfrog step is 0.001. A frame is
saved every 100 steps, the first one after 100: frame 30 is at time 3.1, frame 40 at 4.1. All in the
units of the benchmark, without names.

    trajectories("test")["loc_frame40"]  # (2000, 5, 3), the first time some 5 s, then cached
    trajectories("test", index=[7])  # one trajectory
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from zoo._environment import cache_folder
from zoo._files import write_atomic
from zoo.errors import ConfigError, nearest

#: trajectories of each split, in the order in which they are drawn
SIZES: Mapping[str, int] = {"train": 10_000, "val": 2_000, "test": 2_000}
#: of the published data
SEED = 43
NAMES = ("charges", "loc_frame30", "vel_frame30", "loc_frame40")

_BALLS, _AXES = 5, 3
_SPEED, _BOX, _STEP, _LIMIT = 0.5, 5.0, 1e-3, 100.0
_NOISE = 2 * 49 * _BALLS * _AXES  # normal numbers that the generator draws and multiplies by 0
_EVERY, _INPUT, _TARGET = 100, 30, 40
#: trajectories simulated and cached together: enough to amortise calls, few enough for the caches
_PART = 1000
_LAYOUT = "nbody-1"  # of the cache: a new name where the numbers or the files change
_FIRST, _SECOND = np.triu_indices(_BALLS, 1)

Arrays = dict[str, np.ndarray]
Progress = Callable[[int, int], None]


def trajectories(
    split: str,
    index: Sequence[int] | np.ndarray | None = None,
    *,
    seed: int = SEED,
    cache: bool = True,
    progress: Progress | None = None,
) -> Arrays:
    """Trajectories of one split.

    Args:
        split: "train" (10 000 trajectories, of which the benchmark trains on the first 3000),
            "val" or "test" (2000 each).
        index: which trajectories, counted from 0, in any order; all if None. Only these are
            simulated, after the random numbers of all before them are drawn (a second).
        seed: of everything; the published data have 43.
        cache: whether parts of 1000 trajectories are kept in the cache folder, with their sha256,
            and taken from there. A killed run goes on with the first part that is missing.
        progress: called with (trajectories done, trajectories in all).

    Returns:
        float64 arrays: `charges` (trajectories, 5, 1), and (trajectories, 5, 3) each: positions
        `loc_frame30` and velocities `vel_frame30` at saved frame 30, positions `loc_frame40`.

    Raises:
        ConfigError: for another split, a negative seed, or indices that the split doesn't have.
        OutputError: if the cache can't be written; `cache=False` does without.
    """
    if split not in SIZES:
        raise ConfigError(f"the N-body data have no split {split!r}: {nearest(str(split), SIZES)}")
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed is {seed!r}; it must lie between 0 and {2**32 - 1}")
    wanted = np.arange(SIZES[split]) if index is None else _indices(split, index)
    result = {name: np.empty((len(wanted), _BALLS, _AXES)) for name in NAMES}
    result["charges"] = np.empty((len(wanted), _BALLS, 1))
    starts: Starts | None = None
    done = 0
    for part in np.unique(wanted // _PART).tolist():
        places = np.flatnonzero(wanted // _PART == part)
        path = cache_folder() / "generated" / _LAYOUT / f"seed-{seed}" / f"{split}-{part}.npz"
        found = _read(path) if cache else None
        if found is not None:
            chosen = wanted[places] - part * _PART
            found = {name: found[name][chosen] for name in NAMES}
        else:
            if starts is None:
                starts = Starts(split, int(wanted.max()) + 1, seed)
            found = simulate(*starts.of(wanted[places]))
            if cache and index is None:  # then the places are the whole part
                write_atomic(path, _packed(found))
        for name in NAMES:
            result[name][places] = found[name]
        done += len(places)
        if progress is not None:
            progress(done, len(wanted))
    return result


class Starts:
    """Charges, positions and velocities with which the trajectories of a split begin.

    Args:
        split: a name of `SIZES`.
        count: how many, from the first.
        seed: of all splits.
    """

    def __init__(self, split: str, count: int, seed: int = SEED) -> None:
        names = list(SIZES)
        skipped = sum(SIZES[name] for name in names[: names.index(split)])
        # the legacy stream is frozen: the same bits in every version of NumPy
        rng = np.random.RandomState(seed)
        self.charges = np.empty((count, _BALLS))
        self.loc = np.empty((count, _AXES, _BALLS))
        self.vel = np.empty((count, _AXES, _BALLS))
        for k in range(-skipped, count):
            charges = rng.choice((-1.0, 0.0, 1.0), size=_BALLS, p=(0.5, 0.0, 0.5))
            loc, vel = rng.randn(2, _AXES, _BALLS)
            rng.randn(_NOISE)
            if k >= 0:
                self.charges[k], self.loc[k], self.vel[k] = charges, loc, vel
        norms = np.sqrt((self.vel**2).sum(axis=1, keepdims=True))
        self.vel = self.vel * _SPEED / norms
        _reflect(self.loc, self.vel)

    def of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Charges (trajectories, 5), positions and velocities (trajectories, 3, 5)."""
        return self.charges[index], self.loc[index], self.vel[index]


def simulate(charges: np.ndarray, loc: np.ndarray, vel: np.ndarray) -> Arrays:
    """Follows trajectories to saved frame 40.

    Args:
        charges: (trajectories, 5).
        loc: positions at time 0 (trajectories, 3, 5).
        vel: velocities at time 0 (trajectories, 3, 5).

    Returns:
        As `trajectories`.
    """
    forces = _Forces(charges)
    # trajectories last: every operation then runs along memory
    x = np.ascontiguousarray(np.moveaxis(loc, 0, -1))
    v = np.ascontiguousarray(np.moveaxis(vel, 0, -1))
    frames = {}
    v += _STEP * forces(x)
    for step in range(1, (_TARGET + 1) * _EVERY + 1):
        x += _STEP * v
        if step % _EVERY == 0 and step // _EVERY - 1 in (_INPUT, _TARGET):
            frames[step // _EVERY - 1] = (x.T.copy(), v.T.copy())
        v += _STEP * forces(x)
    return {
        "charges": charges[..., None].copy(),
        "loc_frame30": frames[_INPUT][0],
        "vel_frame30": frames[_INPUT][1],
        "loc_frame40": frames[_TARGET][0],
    }


class _Forces:
    """Coulomb forces on all particles of all trajectories.

    The order of sums and the formula of the distances are the authors', so that the rounding is,
    too; everything else is arranged for speed. Each pair is computed once.

    Args:
        charges: (trajectories, 5).
    """

    def __init__(self, charges: np.ndarray) -> None:
        count = len(charges)
        self.products = np.ascontiguousarray((charges[:, _FIRST] * charges[:, _SECOND]).T)
        self.points = np.empty((count, _BALLS, _AXES))
        self.grams = np.empty((count, _BALLS, _BALLS))
        # [j, axis, i]: the force of j on i
        self.pulls = np.zeros((_BALLS, _AXES, _BALLS, count))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Forces (3, 5, trajectories) at positions of the same shape."""
        self.points[...] = x.T
        np.matmul(self.points, self.points.mT, out=self.grams)
        gram = self.grams.reshape(-1, _BALLS * _BALLS).T[_FIRST * _BALLS + _SECOND]
        squares = x * x
        lengths = (squares[0] + squares[1]) + squares[2]
        strengths = (lengths[_FIRST] + lengths[_SECOND]) - 2 * gram
        np.power(strengths, 1.5, out=strengths)
        np.divide(self.products, strengths, out=strengths)
        for strength, i, j in zip(strengths, _FIRST, _SECOND, strict=True):
            pull = self.pulls[j, :, i]
            np.subtract(x[:, i], x[:, j], out=pull)
            pull *= strength
            np.negative(pull, out=self.pulls[i, :, j])
        total: np.ndarray = self.pulls[0] + self.pulls[1]
        for pull in self.pulls[2:]:
            total += pull
        np.clip(total, -_LIMIT, _LIMIT, out=total)
        return total


def _reflect(loc: np.ndarray, vel: np.ndarray) -> None:
    """Puts particles outside the box back into it, in place, and lets them fly inwards."""
    outside = np.abs(loc) > _BOX
    side = np.sign(loc)
    np.copyto(loc, side * 2 * _BOX - loc, where=outside)
    np.copyto(vel, -side * np.abs(vel), where=outside)


def _indices(split: str, index: Sequence[int] | np.ndarray) -> np.ndarray:
    array = np.asarray(index)
    if array.ndim != 1 or not array.size or array.dtype.kind not in "iu":
        raise ConfigError(
            f"index must list one or more whole numbers, not {index!r}; leave it out for all"
        )
    if array.min() < 0 or array.max() >= SIZES[split]:
        raise ConfigError(
            f"index reaches from {array.min()} to {array.max()}; {split} has the trajectories 0 to "
            f"{SIZES[split] - 1}"
        )
    return array.astype(np.int64)


# --- cache ------------------------------------------------------------------------------------


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 of the arrays' bytes."""
    digest = hashlib.sha256()
    for name in NAMES:
        digest.update(np.ascontiguousarray(arrays[name], dtype="<f8").tobytes())
    return digest.hexdigest()


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A file of the cache."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, sha256=np.array(_digest(arrays)))  # type: ignore[arg-type]
    return buffer.getvalue()


def _read(path: Path) -> Arrays | None:
    """A part from the cache; None if it isn't there, or isn't what was written."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in NAMES}
            return arrays if str(file["sha256"]) == _digest(arrays) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
