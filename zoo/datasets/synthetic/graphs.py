"""Graphs whose neighbours are of the same class as often as one likes.

The contextual stochastic block model (Deshpande, Sen, Montanari, Mossel, NeurIPS 2018,
arXiv:1807.09596) with several classes: edges know the classes, and features are the class's mean
plus noise. Homophily is the share of edges whose ends are of one class; 1 / classes means that
edges say nothing. `bipartite` is the same on two sides, with edges between the sides only.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between, parts, settled
from zoo.errors import ConfigError

_FRACTIONS = {"train": 0.48, "val": 0.32, "test": 0.2}
_MOST = 1_000_000
_CITATION = (
    "Y. Deshpande, S. Sen, A. Montanari, E. Mossel, Contextual stochastic block models, NeurIPS "
    "2018"
)


def csbm(
    *,
    nodes: int = 1000,
    classes: int = 5,
    degree: float = 10.0,
    homophily: float = 0.1,
    features: int = 16,
    scale: float = 1.5,
    folds: int = 10,
    seed: int = 0,
) -> Made:
    """A contextual stochastic block model.

    There are nodes x degree / 2 edges, the share `homophily` of them (rounded to whole edges)
    between nodes of one class, the others between nodes of two, each pair as likely as another.

    Args:
        nodes: of the graph, as many of each class (or one more).
        classes: what is to be told.
        degree: edges at a node, on average.
        homophily: share of edges within classes.
        features: of each node.
        scale: length of the classes' means, which point in random directions; the noise is N(0, 1).
        folds: independent divisions into 48 % train, 32 % val, 20 % test, the classes shared out
            evenly.
        seed: of everything.

    Returns:
        Arrays `x` (n, features), `edge_index` (2, nodes x degree) in both directions, `y` (n,),
        `train_mask`, `val_mask`, `test_mask` (folds, n).

    Raises:
        ConfigError: for settings that make no such graph.
    """
    sides = np.zeros(_checked(nodes, classes, degree, features, folds), dtype=np.int64)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(nodes) % classes)
    between("homophily", homophily, 0.0, 1.0)
    return _made(
        f"a contextual stochastic block model: {nodes} nodes, {classes} classes, homophily "
        f"{homophily:g}",
        labels,
        _edges(labels, sides, degree, homophily, rng),
        _features(labels, classes, features, scale, rng),
        folds,
        rng,
    )


def bipartite(
    *,
    nodes: int = 1000,
    classes: int = 2,
    degree: float = 10.0,
    homophily: float = 0.0,
    features: int = 16,
    scale: float = 1.0,
    folds: int = 10,
    seed: int = 0,
) -> Made:
    """A bipartite graph: edges run between two sides, each with nodes of all classes.

    Args:
        nodes: of the graph, half of them on each side.
        classes: what is to be told; both sides have as many nodes of each (or one more).
        degree: edges at a node, on average.
        homophily: share of edges within classes.
        features: of each node.
        scale: length of the classes' means, which point in random directions; the noise is N(0, 1).
        folds: as of `csbm`.
        seed: of everything.

    Returns:
        As `csbm`, and `side` (n,), 0 or 1.

    Raises:
        ConfigError: for settings that make no such graph.
    """
    count = _checked(nodes, classes, degree, features, folds)
    between("homophily", homophily, 0.0, 1.0)
    rng = np.random.default_rng(seed)
    order = rng.permutation(count)
    sides, labels = (order % 2), (order // 2) % classes
    made = _made(
        f"a bipartite graph: {nodes} nodes, {classes} classes, homophily {homophily:g}",
        labels,
        _edges(labels, sides, degree, homophily, rng),
        _features(labels, classes, features, scale, rng),
        folds,
        rng,
        side=sides,
    )
    return made


def _checked(nodes: int, classes: int, degree: float, features: int, folds: int) -> int:
    """The number of nodes, once all sizes are possible."""
    at_least("classes", classes, 2)
    between("nodes", nodes, 10 * classes, _MOST)
    between("degree", degree, 0.0, 1000.0)
    at_least("features", features, 1)
    between("folds", folds, 1, 100)
    return nodes


def _made(
    title: str,
    labels: np.ndarray,
    pairs: np.ndarray,
    x: np.ndarray,
    folds: int,
    rng: np.random.Generator,
    **more: np.ndarray,
) -> Made:
    divisions = [parts(labels, _FRACTIONS, rng) for _ in range(folds)]
    masks = {f"{n}_mask": np.stack([d == n for d in divisions]) for n in _FRACTIONS}
    both = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    return Made(
        domain="graph",
        title=title,
        arrays={"x": settled(x, 16), "edge_index": both.T, "y": labels, **masks, **more},
        splits={"kind": "index", "fold": 0},
        limits=(
            "a made-up graph: edges depend on nothing but the classes of their ends, and no class "
            "is nearer to one than to another",
        ),
        citation=_CITATION,
    )


def _features(
    labels: np.ndarray, classes: int, features: int, scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Means of the classes plus noise (n, features)."""
    at_least("scale", scale, 0.0)
    means = rng.standard_normal((classes, features))
    means *= scale / np.sqrt((means**2).sum(axis=1, keepdims=True))
    return np.asarray(means[labels] + rng.standard_normal((len(labels), features)))


def _edges(
    labels: np.ndarray,
    sides: np.ndarray,
    degree: float,
    homophily: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Pairs (edges, 2), the smaller number first, each once."""
    total = int(round(len(labels) * degree / 2))
    within = int(round(total * homophily))
    found = [
        _drawn(labels, sides, same, count, rng)
        for same, count in ((True, within), (False, total - within))
    ]
    return np.concatenate(found)


def _drawn(
    labels: np.ndarray, sides: np.ndarray, same: bool, wanted: int, rng: np.random.Generator
) -> np.ndarray:
    """Different pairs of one class, or of two (wanted, 2), every pair as likely as another."""
    free = _available(labels, sides, same)
    if wanted > free // 2:
        raise ConfigError(
            f"{wanted} edges {'within' if same else 'between'} classes are asked for, but only "
            f"{free} pairs of nodes are so, and at most half of them are taken; lower degree, or "
            "take more nodes"
        )
    nodes = len(labels)
    codes = np.zeros(0, dtype=np.int64)
    while len(codes) < wanted:
        ends = rng.integers(0, nodes, size=(2, 8 * (wanted - len(codes)) + 64))
        low, high = ends.min(axis=0), ends.max(axis=0)
        fits = (low < high) & ((labels[low] == labels[high]) == same)
        if sides.any():
            fits &= sides[low] != sides[high]
        codes = np.concatenate([codes, (low * nodes + high)[fits]])
        _, first = np.unique(codes, return_index=True)
        codes = codes[np.sort(first)]  # in the order in which they were drawn
    chosen = codes[:wanted]
    return np.stack([chosen // nodes, chosen % nodes], axis=1)


def _available(labels: np.ndarray, sides: np.ndarray, same: bool) -> int:
    """Pairs of nodes that may be joined."""
    split = bool(sides.any())
    groups = [np.bincount(labels[sides == side], minlength=labels.max() + 1) for side in (0, 1)]
    if split:
        equal, every = int((groups[0] * groups[1]).sum()), int(groups[0].sum() * groups[1].sum())
    else:
        count = groups[0]
        equal = int((count * (count - 1) // 2).sum())
        every = int(count.sum() * (count.sum() - 1) // 2)
    return equal if same else every - equal
