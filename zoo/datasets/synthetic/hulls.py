"""Volumes of convex hulls of random points.

O(5) hulls of Ruhe, Brandstetter, Forré, Clifford group equivariant neural networks, NeurIPS 2023
(arXiv:2305.11141): 16 points of R^5; Liu, Ruhe, Eijkelboom, Forré, Clifford group equivariant
simplicial message passing networks, ICLR 2024 (arXiv:2402.10011), take 8. The points are not
centred. Volumes are Qhull's, computed once in parts that go to the cache folder.
"""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull

from zoo._environment import cache_folder
from zoo._files import write_atomic
from zoo.datasets.synthetic._made import Made, at_least, between, settled
from zoo.datasets.synthetic.orthogonal import CLIFFORD, COARSE, FINE

SIMPLICIAL = (
    "C. Liu, D. Ruhe, F. Eijkelboom, P. Forré, Clifford group equivariant simplicial message "
    "passing networks, ICLR 2024"
)
DIMENSION = 5
#: samples whose volumes are computed and kept together
PART = 512
_LAYOUT = "hulls-1"  # of the cache: a new name where the numbers or the files change


def hulls(
    *,
    train: int = 16_384,
    val: int = 16_384,
    test: int = 16_384,
    points: int = 16,
    seed: int = 0,
) -> Made:
    """Random points of R^5 and the volume of their convex hull.

    Args:
        train: samples to train on, published from 256 to 65 536; a smaller number takes the first
            ones.
        val: to validate on, drawn apart; 16 384 in the published tables.
        test: to test on, drawn apart; likewise.
        points: of a sample, 6 or more.
        seed: of everything.

    Returns:
        Arrays `sequences` (n, points, 5), independent standard normal numbers; `y` (n,); `split`.

    Raises:
        ConfigError: for empty parts, or too few points.
        OutputError: if the cache can't be written.
    """
    between("points", points, DIMENSION + 1, 1000)
    counts = {"train": train, "val": val, "test": test}
    for name, count in counts.items():
        at_least(name, count, 1)
    drawn = [
        _part(points, seed, place, number)
        for place, count in enumerate(counts.values())
        for number in range(-(-count // PART))
    ]
    keep = np.concatenate([np.arange(-(-n // PART) * PART) < n for n in counts.values()])
    x, y = (np.concatenate(arrays)[keep] for arrays in zip(*drawn, strict=True))
    return Made(
        domain="sequence",
        title=f"volumes of the convex hulls of {points} random points of R^5",
        arrays={
            "sequences": x,
            "y": y,
            "split": np.repeat(list(counts), list(counts.values())),
        },
        limits=("random points; of no use but to compare layers",),
        citation=f"{CLIFFORD} (16 points); {SIMPLICIAL} (8 points)",
    )


def _part(points: int, seed: int, place: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (PART, points, 5) and volumes (PART,) of one part of a split, in float32."""
    rng = np.random.default_rng((seed, place, number))
    x = settled(rng.standard_normal((PART, points, DIMENSION)), FINE)
    name = f"seed-{seed}-split-{place}-{number}.npz"
    path = cache_folder() / "generated" / f"{_LAYOUT}-{points}" / name
    known = _read(path, x)
    if known is not None:
        return x, known
    y = settled(np.array([ConvexHull(sample).volume for sample in x.astype(float)]), COARSE)
    buffer = io.BytesIO()
    np.savez(buffer, y=y, sha256=np.array(_digest(x, y)))
    write_atomic(path, buffer.getvalue())
    return x, y


def _digest(x: np.ndarray, y: np.ndarray) -> str:
    """sha256 of points and volumes."""
    return hashlib.sha256(x.astype("<f4").tobytes() + y.astype("<f4").tobytes()).hexdigest()


def _read(path: Path, x: np.ndarray) -> np.ndarray | None:
    """Volumes from the cache; None if they aren't there, or aren't those of the points."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            y = np.asarray(file["y"])
            return y if str(file["sha256"]) == _digest(x, y) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
