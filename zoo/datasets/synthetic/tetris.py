"""Tetris pieces that fly and turn: from four frames of a motion to the four that follow.

A task of the kind that geometric Clifford algebra networks were shown on (Ruhe et al., *Geometric
Clifford algebra networks*, ICML 2023, arXiv:2302.06594), by a generator of our own: the authors'
data are not published, and numbers measured here can't be compared with theirs.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, between, settled
from zoo.datasets.synthetic.orthogonal import draw
from zoo.datasets.synthetic.rotations import from_quaternions

FRAMES = 4
#: centres of the cubes: line, square, L, T, zigzag, corner, and the two handed ones
PIECES = np.array(
    [
        [[0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]],
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]],
        [[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0]],
        [[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 1, 0]],
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 1, 0]],
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]],
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, -1]],
    ],
    dtype=np.float64,
)
# normal numbers of a sample: orientation, place, turn, step
_MOTION = 4 + 3 + 3 + 3


def tetris_like(
    *,
    train: int = 2048,
    val: int = 512,
    test: int = 1024,
    turn: float = 0.25,
    step: float = 0.3,
    noise: float = 0.02,
    seed: int = 0,
) -> Made:
    """Rigid pieces in screw motions.

    Each sample is one of eight pieces of four cubes, in turn, anywhere and anyhow in space. From
    frame to frame it is moved by the same Euclidean motion, a rotation about an axis through the
    origin and a step: its positions in frame t are g^t of those in frame 0. What is given are the
    centres of the cubes in frames 0 to 3, with noise; what is asked those in frames 4 to 7,
    without. The order of the cubes is that of the piece.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        turn: standard deviation of each component of the rotation vector of a frame (rad).
        step: standard deviation of each component of the step of a frame (sides of a cube).
        noise: standard deviation of the noise on what is given (sides of a cube).
        seed: of everything.

    Returns:
        Arrays `pos` (n, 4, 3), the places in frame 3; `features` (n, 4, 9), those in frames 0, 1, 2
        less those in frame 3; `y` (n, 4, 4, 3), point by point the places in frames 4 to 7;
        `split`.

    Raises:
        ConfigError: for empty parts, or sizes out of range.
    """
    for name, value in (("turn", turn), ("step", step), ("noise", noise)):
        between(name, value, 0.0, 10.0)
    counts = {"train": train, "val": val, "test": test}
    numbers, split = draw(counts, (_MOTION + 3 * len(PIECES[0]) * FRAMES,), seed)
    order = np.concatenate([np.arange(count) % len(PIECES) for count in counts.values()])
    frames = motion(PIECES[order], numbers[:, :_MOTION], turn=turn, step=step)
    seen = frames[:, :FRAMES]
    seen = seen + noise * numbers[:, _MOTION:].reshape(seen.shape)
    last = seen[:, -1]
    before = (seen[:, :-1] - last[:, None]).swapaxes(1, 2)  # (samples, points, frames, 3)
    return Made(
        domain="points",
        title="Tetris pieces that fly and turn, and where they go on to",
        arrays={
            "pos": settled(last, 16),
            "features": settled(before.reshape(*last.shape[:2], -1), 16),
            "y": settled(frames[:, FRAMES:].swapaxes(1, 2), 16),
            "split": split,
        },
        limits=("rigid motions without forces; of no use but to compare layers",),
    )


def motion(pieces: np.ndarray, numbers: np.ndarray, *, turn: float, step: float) -> np.ndarray:
    """Places (samples, 8, points, 3) of rigid pieces in eight frames.

    Args:
        pieces: (samples, points, 3).
        numbers: standard normal ones (samples, 13): orientation, place, turn, step.
        turn: times the third is the rotation vector of a frame.
        step: times the fourth is the step of a frame.
    """
    orientation = from_quaternions(numbers[:, :4])
    centred = pieces - pieces.mean(axis=1, keepdims=True)
    place = centred @ orientation.swapaxes(-1, -2) + numbers[:, None, 4:7]
    rotation = _rotations(turn * numbers[:, 7:10])
    frames = [place]
    for _ in range(2 * FRAMES - 1):
        turned = frames[-1] @ rotation.swapaxes(-1, -2)
        frames.append(turned + step * numbers[:, None, 10:13])
    return np.stack(frames, axis=1)


def _rotations(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices of rotation vectors (n, 3), by their quaternions."""
    angle = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    half = np.sinc(angle / (2 * np.pi)) / 2  # sin(angle / 2) / angle
    return from_quaternions(np.concatenate([np.cos(angle / 2), half * vectors], axis=1))
