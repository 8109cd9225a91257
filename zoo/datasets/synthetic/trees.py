"""Trees: balanced ones, and an infection that spreads down a random one.

A tree is what hyperbolic space holds without distortion (Sarkar, Graph Drawing 2011), so both sets
tell hyperbolic models from Euclidean ones. `sir_tree` follows the idea of the "disease" sets of
HGCN (Chami et al., NeurIPS 2019): the SIR model of spreading disease on a tree, node features that
speak of susceptibility. Their generator is not published, so this is a set of the same kind, not
the same set.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between, parts, settled

_FRACTIONS = {"train": 0.3, "val": 0.1, "test": 0.6}
_MOST = 1_000_000


def balanced_tree(*, branching: int = 3, depth: int = 5, features: int = 8, seed: int = 0) -> Made:
    """A tree whose nodes all have `branching` children, down to `depth`.

    Args:
        branching: children of each inner node (r).
        depth: generations below the root (h); (r**(h + 1) - 1) / (r - 1) nodes.
        features: of each node: a random walk down the tree, child = parent + N(0, 1), so that they
            tell where a node is, the less the deeper; scaled to unit variance.
        seed: of the features and of the order of the nodes.

    Returns:
        Arrays `x` (n, features), `edge_index` (2, 2 (n - 1)) in both directions, `level` (n,).

    Raises:
        ConfigError: for settings that make no tree, or more than a million nodes.
    """
    at_least("branching", branching, 1)
    at_least("depth", depth, 1)
    at_least("features", features, 1)
    sizes = [branching**level for level in range(depth + 1)]
    between("the number of nodes", sum(sizes), 2, _MOST)
    parents = (np.arange(1, sum(sizes)) - 1) // branching
    rng = np.random.default_rng(seed)
    walk = _walk(parents, features, rng)
    level = np.repeat(np.arange(depth + 1), sizes)
    arrays = _shuffled(parents, {"x": walk, "level": level}, rng)
    return Made(
        domain="graph",
        title=f"a balanced tree: {branching} children, {depth} generations, {sum(sizes)} nodes",
        arrays=arrays | {"x": settled(arrays["x"], 16)},
        limits=("a made-up graph without labels of nodes: for embedding and link prediction",),
        citation="R. Sarkar, Low distortion Delaunay embedding of trees in hyperbolic plane, 2011",
    )


def sir_tree(
    *,
    nodes: int = 1000,
    children: int = 3,
    features: int = 10,
    transmission: float = 0.86,
    noise: float = 0.5,
    seed: int = 0,
) -> Made:
    """An infection that starts at the root of a random tree and spreads from parent to child.

    Every node is susceptible to a degree s, uniform in 0..1. A child of an infected node is
    infected where s > 1 - transmission + u, u uniform between -0.05 and 0.05. Features are s
    times a random vector of length 4 plus noise, so that a node's own features tell its
    susceptibility, and only its ancestors tell whether the infection came near.

    Args:
        nodes: of the tree.
        children: the most that a node has; numbers from 1 to this are drawn, generation by
            generation.
        features: of each node.
        transmission: mean share of the children of an infected node that are infected.
        noise: standard deviation of the features' noise, where 4 s has 1.15.
        seed: of everything.

    Returns:
        Arrays `x` (n, features), `edge_index` (2, 2 (n - 1)), `y` (n,) 1 for infected, `level`,
        `split` (30 % train, 10 % val, 60 % test, the classes shared out evenly).

    Raises:
        ConfigError: for settings that make no such tree.
    """
    between("nodes", nodes, 10, _MOST)
    at_least("children", children, 1)
    at_least("features", features, 1)
    between("transmission", transmission, 0.0, 1.0)
    at_least("noise", noise, 0.0)
    rng = np.random.default_rng(seed)
    parents = _random_parents(nodes, children, rng)
    susceptible = rng.random(nodes)
    threshold = 1.0 - transmission + 0.1 * (rng.random(nodes) - 0.5)
    infected, level = np.zeros(nodes, dtype=np.int64), np.zeros(nodes, dtype=np.int64)
    infected[0] = 1
    for node, parent in enumerate(parents.tolist(), start=1):
        level[node] = level[parent] + 1
        infected[node] = infected[parent] & int(susceptible[node] > threshold[node])
    direction = rng.standard_normal(features)
    direction /= np.sqrt((direction**2).sum())
    x = (susceptible[:, None] - 0.5) * direction * 4 + noise * rng.standard_normal(
        (nodes, features)
    )
    split = parts(infected, _FRACTIONS, rng)
    arrays = {"x": x, "y": infected, "level": level, "split": split}
    arrays = _shuffled(parents, arrays, rng)
    return Made(
        domain="graph",
        title=f"an infection that spreads down a random tree of {nodes} nodes",
        arrays=arrays | {"x": settled(arrays["x"], 16)},
        limits=("made in the manner of HGCN's disease sets; numbers published for those don't "
                "compare",),
        citation="I. Chami, R. Ying, C. Re, J. Leskovec, Hyperbolic graph convolutional neural "
        "networks, NeurIPS 2019",
    )  # fmt: skip


def _walk(parents: np.ndarray, features: int, rng: np.random.Generator) -> np.ndarray:
    """A random walk from the root to every leaf (n, features), of unit variance."""
    steps = rng.standard_normal((len(parents) + 1, features))
    for node, parent in enumerate(parents.tolist(), start=1):
        steps[node] += steps[parent]
    return np.asarray((steps - steps.mean(axis=0)) / steps.std())


def _random_parents(nodes: int, children: int, rng: np.random.Generator) -> np.ndarray:
    """The parent of each node but the root; earlier nodes get their children first."""
    parents: list[int] = []
    node = 0
    while len(parents) < nodes - 1:
        parents += [node] * int(rng.integers(1, children + 1))
        node += 1
    return np.array(parents[: nodes - 1], dtype=np.int64)


def _shuffled(
    parents: np.ndarray, arrays: dict[str, np.ndarray], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Nodes in random order, so that their numbers say nothing; edges in both directions."""
    order = rng.permutation(len(parents) + 1)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    pairs = np.stack([place[1:], place[parents]], axis=1)
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    return {name: array[order] for name, array in arrays.items()} | {"edge_index": pairs.T}
