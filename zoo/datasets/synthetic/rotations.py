"""Random rotations, to be given back: which representation of SO(3) can a network learn?

The experiment of Zhou et al., On the Continuity of Rotation Representations in Neural Networks,
CVPR 2019: a network takes a rotation matrix and must answer with the same rotation, through 4, 5,
6 or more numbers.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, settled


def rotations(*, train: int = 6144, val: int = 512, test: int = 2048, seed: int = 0) -> Made:
    """Rotation matrices, uniform on SO(3).

    Args:
        train: rotations to train on (a training may as well draw new ones in every step).
        val: to validate on.
        test: to test on.
        seed: of everything.

    Returns:
        Arrays `rotations` (n, 9), the matrices row by row, which are `x` and `y` at once; `split`.

    Raises:
        ConfigError: for empty parts.
    """
    counts = {"train": train, "val": val, "test": test}
    for name, count in counts.items():
        at_least(name, count, 1)
    rng = np.random.default_rng(seed)
    matrices = from_quaternions(rng.standard_normal((sum(counts.values()), 4)))
    return Made(
        domain="vector",
        title="random rotations, the input and the target",
        arrays={
            "rotations": settled(matrices.reshape(-1, 9), 23),
            "split": np.repeat(list(counts), list(counts.values())),
        },
        keys={"x": "rotations", "y": "rotations"},
        limits=(
            "uniform on SO(3) in all parts; the authors draw those of the test by axis and angle",
        ),
        citation="Y. Zhou, C. Barnes, J. Lu, J. Yang, H. Li, On the continuity of rotation "
        "representations in neural networks, CVPR 2019",
    )


def from_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices (n, 3, 3) of quaternions (n, 4) of any length but 0, the real part first.

    Of normal ones they are uniform on SO(3).
    """
    w, x, y, z = (quaternions / np.sqrt((quaternions**2).sum(axis=1, keepdims=True))).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
