"""Clusters of subspaces: points on the Grassmann manifold around a few centres per class."""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between, parts, settled

_FRACTIONS = {"train": 0.5, "val": 0.1, "test": 0.4}


def subspaces(
    *,
    ambient: int = 20,
    dimension: int = 4,
    classes: int = 6,
    clusters: int = 2,
    samples: int = 120,
    spread: float = 0.8,
    noise: float = 1.2,
    seed: int = 0,
) -> Made:
    """Subspaces of classes that have several centres each.

    The centres lie at the geodesic distance `spread` from one random subspace, in random
    directions, and a sample at a random distance from its centre: it is the Riemannian exponential
    of a horizontal tangent vector (n - p, p) with independent normal entries. The basis of each is
    turned by a random orthogonal matrix, so that its numbers mean nothing, and its span all.

    Args:
        ambient: dimension of the space (n).
        dimension: of the subspaces (p), at most n / 2.
        classes: of the labels.
        clusters: centres of each class.
        samples: of each class.
        spread: geodesic distance of the centres from that subspace (radians).
        noise: root mean square of the distance of a sample from its centre (radians).
        seed: of everything.

    Returns:
        Arrays `bases` (s, n, p) with orthonormal columns, `y` (s,), `cluster`, `split` (50 %
        train, 10 % val, 40 % test).

    Raises:
        ConfigError: for impossible settings.
    """
    between("dimension", dimension, 1, ambient // 2)
    for name, value in {"classes": classes, "clusters": clusters, "samples": samples}.items():
        at_least(name, value, 1)
    at_least("spread", spread, 0.0)
    at_least("noise", noise, 0.0)
    rng = np.random.default_rng(seed)
    count, shape = classes * samples, (ambient - dimension, dimension)
    away = rng.standard_normal((classes * clusters, *shape))
    away *= spread / np.sqrt((away**2).sum(axis=(-2, -1), keepdims=True))
    frames = _frames(away)
    labels = np.repeat(np.arange(classes), samples)
    cluster = np.arange(count) % clusters
    steps = rng.standard_normal((count, *shape)) * noise / np.sqrt(shape[0] * shape[1])
    bases = frames[labels * clusters + cluster] @ _frames(steps)[:, :, :dimension]
    turned = _orthogonal(rng.standard_normal((ambient, ambient)))
    bases = turned @ bases @ _orthogonal(rng.standard_normal((count, dimension, dimension)))
    order = rng.permutation(count)
    labels, split = labels[order], parts(labels, _FRACTIONS, rng)[order]
    return Made(
        domain="matrix",
        title=f"{dimension}-dimensional subspaces of {ambient} dimensions, {classes} classes of "
        f"{clusters} clusters",
        arrays={
            "bases": settled(bases[order], 22),
            "y": labels,
            "cluster": cluster[order],
            "split": split,
        },
        limits=("made-up clusters: they show what a layer can tell apart, not real data",),
    )


def _frames(tangents: np.ndarray) -> np.ndarray:
    """Orthogonal matrices (..., n, n) = exp([[0, -B^T], [B, 0]]) of B (..., n - p, p).

    The first p columns span the geodesic's end; the rest complete the frame. From the singular
    values of B: with B = U S V^T the blocks are V cos(S) V^T, U sin(S) V^T and their like.
    """
    left, angles, right = np.linalg.svd(tangents, full_matrices=False)
    turn = right.swapaxes(-2, -1)
    cosine, sine = np.cos(angles)[..., None, :], np.sin(angles)[..., None, :]
    size = tangents.shape[-2]
    top = turn * cosine @ right
    side = left * sine @ right
    rest = np.eye(size) + left * (cosine - 1) @ left.swapaxes(-2, -1)
    upper = np.concatenate([top, -side.swapaxes(-2, -1)], axis=-1)
    return np.concatenate([upper, np.concatenate([side, rest], axis=-1)], axis=-2)


def _orthogonal(matrices: np.ndarray) -> np.ndarray:
    """Haar orthogonal matrices of normal ones, by QR with signs that make it unique."""
    q, r = np.linalg.qr(matrices)
    return np.asarray(q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :])
