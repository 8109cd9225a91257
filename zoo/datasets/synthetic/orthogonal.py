"""Functions of vectors that an orthogonal group leaves alone, as data to learn them from.

The synthetic tasks of Ruhe, Brandstetter, Forré, Clifford group equivariant neural networks,
NeurIPS 2023 (arXiv:2305.11141), section 5: the signed volume of a tetrahedron, a pseudoscalar of
O(3), and an invariant of two vectors, which goes back to Finzi, Welling, Wilson, A practical method
for constructing equivariant multilayer perceptrons, ICML 2021 (arXiv:2104.09459). Convex hulls are
in `hulls`. A sample is a sequence of vectors, in the order given.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between, settled

CLIFFORD = (
    "D. Ruhe, J. Brandstetter, P. Forré, Clifford group equivariant neural networks, NeurIPS 2023"
)
#: of the fractions of what is stored: vectors below 2^4, numbers below 2^9
FINE, COARSE = 20, 14


def o3_volumes(
    *, train: int = 65_536, val: int = 16_384, test: int = 16_384, seed: int = 0
) -> Made:
    """The signed volume that three vectors of R^3 span, det(X) / 10.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        seed: of everything.

    Returns:
        Arrays `sequences` (n, 3, 3), independent standard normal numbers; `y` (n,); `split`.

    Raises:
        ConfigError: for empty parts.
    """
    x, split = draw({"train": train, "val": val, "test": test}, (3, 3), seed)
    return Made(
        domain="sequence",
        title="signed volumes that three vectors of R^3 span",
        arrays={"sequences": settled(x, FINE), "y": settled(_det(x) / 10, FINE), "split": split},
        limits=("a polynomial of nine random numbers; of no use but to compare layers",),
        citation=CLIFFORD,
    )


def o5_regression(
    *,
    train: int = 300,
    val: int = 100,
    test: int = 100,
    dimension: int = 5,
    seed: int = 0,
) -> Made:
    r"""An invariant of two vectors, sin|a| - |b|^3 / 2 + a.b / (|a| |b|).

    As its authors do, each of the two vectors is divided by its root mean square over the training
    part, one number for all coordinates, which breaks no symmetry; that number is 1 up to noise.

    Args:
        train: samples to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart; 100 in the table of GLGENN, 16 384 in CGENN's code.
        test: to test on, drawn apart; likewise.
        dimension: of the vectors (n).
        seed: of everything.

    Returns:
        Arrays `sequences` (n, 2, dimension), standard normal before they are scaled; `y` (n,);
        `split`.

    Raises:
        ConfigError: for empty parts, or vectors without coordinates.
    """
    between("dimension", dimension, 1, 1000)
    x, split = draw({"train": train, "val": val, "test": test}, (2, dimension), seed)
    first, second = np.sqrt((x**2).sum(-1)).T
    y = np.sin(first) - second**3 / 2 + x.prod(axis=1).sum(-1) / (first * second)
    scale = np.sqrt((x[:train] ** 2).mean(axis=(0, 2)))[:, None]
    return Made(
        domain="sequence",
        title=f"an invariant of two vectors of {dimension} dimensions",
        arrays={"sequences": settled(x / scale, FINE), "y": settled(y, COARSE), "split": split},
        limits=("a formula of two random vectors; of no use but to compare layers",),
        citation=CLIFFORD,
    )


def draw(
    counts: dict[str, int], shape: tuple[int, ...], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Independent standard normal samples of each split, and the splits' names.

    Each split has a stream of its own, so that more samples of one change nothing in the others,
    and a smaller split is the beginning of a larger one.

    Args:
        counts: samples by split.
        shape: of a sample.
        seed: of all splits.

    Returns:
        (samples, *shape) in float64, and (samples,).

    Raises:
        ConfigError: for empty parts.
    """
    for name, count in counts.items():
        at_least(name, count, 1)
    parts = [
        np.random.default_rng((seed, place)).standard_normal((count, *shape))
        for place, count in enumerate(counts.values())
    ]
    return np.concatenate(parts), np.repeat(list(counts), list(counts.values()))


def _det(x: np.ndarray) -> np.ndarray:
    """Determinants (n,) of (n, 3, 3), as a sum of products: the same digits on every platform."""
    a, b, c = np.moveaxis(x, 1, 0)
    return np.asarray((a * np.cross(b, c)).sum(-1))
