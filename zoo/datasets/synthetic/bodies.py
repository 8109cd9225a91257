"""Inertia of point masses, with a symmetry that holds approximately.

The tensor of inertia of five points is a task of Finzi, Welling, Wilson, A practical method for
constructing equivariant multilayer perceptrons, ICML 2021 (arXiv:2104.09459), and with a perturbed
symmetry of Kim, Lee, Yang, Lee, Regularizing towards soft equivariance under mixed symmetries, ICML
2023 (arXiv:2306.00356). The perturbation here is ours: a term along the third axis.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, between, settled
from zoo.datasets.synthetic.orthogonal import FINE, draw


def inertia(
    *,
    train: int = 500,
    val: int = 500,
    test: int = 2000,
    points: int = 5,
    perturbation: float = 0.3,
    seed: int = 0,
) -> Made:
    r"""The mean of m (|r|^2 1 - r r^T) over some points, and a term that knows the third axis.

    y = mean of m (|r|^2 1 - r r^T) + p m z^2 e_z e_z^T, r = (x, y, z): equivariant under O(3) for
    p = 0, and always under rotations about the third axis.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        points: of a sample.
        perturbation: p.
        seed: of everything.

    Returns:
        Arrays `vectors` (n, 4 points), the masses, whose logarithms have the standard deviation
        1/2, then the coordinates, standard normal, point by point; `y` (n, 9), row by row; `split`.

    Raises:
        ConfigError: for empty parts, no points, or a perturbation out of range.
    """
    between("points", points, 1, 1000)
    between("perturbation", perturbation, 0.0, 10.0)
    drawn, split = draw({"train": train, "val": val, "test": test}, (points, 4), seed)
    mass = settled(np.exp(drawn[..., 0] / 2), FINE).astype(np.float64)
    place = settled(drawn[..., 1:], FINE).astype(np.float64)
    square = (place**2).sum(-1)[..., None, None] * np.eye(3)
    each = square - place[..., :, None] * place[..., None, :]
    each[..., 2, 2] += perturbation * place[..., 2] ** 2
    tensor = (mass[..., None, None] * each).mean(1)
    x = np.concatenate([mass, place.reshape(len(place), -1)], axis=1)
    return Made(
        domain="vector",
        title=f"the inertia of {points} point masses, its symmetry perturbed",
        arrays={
            "vectors": x.astype(np.float32),
            "y": settled(tensor.reshape(len(tensor), 9), 12),
            "split": split,
        },
        limits=("a polynomial of random numbers; of no use but to compare layers",),
        citation=(
            "H. Kim, H. Lee, H. Yang, J. Lee, Regularizing towards soft equivariance under mixed "
            "symmetries, ICML 2023"
        ),
    )
