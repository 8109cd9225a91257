"""Files with samples of every domain that a tiny model can learn something from."""

from pathlib import Path

import numpy as np


def vectors(path: Path, *, classes: int = 3, count: int = 60, seed: int = 0) -> Path:
    """Clusters of points in four dimensions, with a number to predict beside the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = rng.normal(0.0, 0.5, (count, 4)) + 2.0 * np.eye(max(classes, 4))[y][:, :4]
    value = 100.0 + 10.0 * x[:, 0] - 5.0 * x[:, 1]
    np.savez(path, x=x.astype(np.float32), y=y, value=value, session=np.arange(count) % 2)
    return path


def words(path: Path) -> Path:
    """The same with words for classes under other names."""
    vectors(path, classes=4, seed=1)
    with np.load(path) as old:
        named = np.array(["ash", "elm", "fir", "oak"])[old["y"]]
        np.savez(path, vecs=old["x"], species=named)
    return path


def matrices(path: Path, *, count: int = 48) -> Path:
    """Covariances of two classes; those of session 2 are shifted."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 2
    session = np.arange(count) * 3 // count
    factor = rng.normal(size=(count, 3, 12))
    factor[:, 0] *= (1.0 + 2.0 * y)[:, None]
    x = factor @ factor.swapaxes(1, 2) / 12 + (session == 2)[:, None, None] * 9.0 * np.eye(3)
    names = np.array(["a", "b", "c"])[session]
    np.savez(path, matrices=x, y=y, session=names, signals=factor)
    return path


def signals(path: Path) -> Path:
    """The signals that the matrices come from."""
    matrices(path)
    with np.load(path) as old:
        np.savez(path, X=old["signals"], y=old["y"], session=old["session"])
    return path


def images(path: Path, *, count: int = 33) -> Path:
    """Bytes, bright on the left or on the right."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 2
    x = rng.integers(0, 60, (count, 4, 4))
    x[y == 0, :, :2] += 150
    x[y == 1, :, 2:] += 150
    np.savez(path, images=x.astype(np.uint8), y=y)
    return path


def tree(depth: int = 3) -> np.ndarray:
    """Edges of a binary tree in both directions, (2, e)."""
    child = np.arange(1, 2 ** (depth + 1) - 1)
    pairs = np.stack([child, (child - 1) // 2])
    return np.concatenate([pairs, pairs[::-1]], axis=1)


def graph(path: Path, *, depth: int = 5, divided: bool = True) -> Path:
    """One tree whose nodes have classes, divided by masks if asked for."""
    rng = np.random.default_rng(0)
    edges = tree(depth)
    nodes = int(edges.max()) + 1
    y = np.arange(nodes) % 3
    x = rng.normal(0.0, 0.5, (nodes, 5)) + 2.0 * np.eye(5)[y]
    part = np.arange(nodes) % 5
    masks = {
        "train_mask": part < 3,
        "val_mask": part == 3,
        "test_mask": part == 4,
    }
    np.savez(path, x=x.astype(np.float32), edge_index=edges, y=y, **(masks if divided else {}))
    return path


def graphs(path: Path, *, count: int = 30) -> Path:
    """Rings whose label is the mean of their first feature."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(3, 7, count)
    x = rng.normal(size=(int(sizes.sum()), 5))
    edges = [np.stack([np.arange(n), np.roll(np.arange(n), 1)]) for n in sizes]
    y = [part[:, 0].mean() for part in np.split(x, np.cumsum(sizes)[:-1])]
    np.savez(
        path,
        x=x,
        edge_index=np.concatenate(edges, axis=1),
        counts=sizes,
        edge_counts=sizes,
        y=np.array(y),
    )
    return path


def tokens(path: Path, *, count: int = 40) -> Path:
    """Counting in a circle of five, in pieces of different lengths; y: whether it starts low."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 9, count)
    start = rng.integers(0, 5, count)
    steps = [(s + np.arange(n)) % 5 + 1 for s, n in zip(start, lengths, strict=True)]
    np.savez(path, tokens=np.concatenate(steps), counts=lengths, y=(start < 2).astype(int))
    return path
