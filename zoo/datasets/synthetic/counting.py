"""Graphs without features, and how often small graphs occur in them.

The task of Chen, Chen, Villar, Bruna, Can graph neural networks count substructures?, NeurIPS 2020
(arXiv:2002.04025): random graphs, half of them regular, whose nodes look alike to a network that
passes messages. Networks that pass messages, and invariant graph networks of order 2, can count
stars, which degrees decide, but no triangles; products of matrices can count triangles and
4-cycles.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between

#: what `y` counts, in this order: subgraphs, not necessarily induced
PATTERNS = ("two_stars", "three_stars", "triangles", "tailed_triangles", "four_cycles")
_SWAPS = 10  # per edge, that make a regular graph a random one


def graph_counting(
    *,
    train: int = 1000,
    val: int = 300,
    test: int = 500,
    smallest: int = 8,
    largest: int = 16,
    degree: float = 4.0,
    seed: int = 0,
) -> Made:
    """Random graphs and the counts of five patterns in each.

    Every other graph is regular, of degree 3, 4 or 5; the others have each edge with one
    probability, which gives their nodes `degree` neighbours on average.

    Args:
        train: graphs to train on; a smaller number takes the first ones.
        val: to validate on, drawn apart.
        test: to test on, drawn apart.
        smallest: fewest nodes of a graph.
        largest: most nodes.
        degree: neighbours of a node, on average, where graphs aren't regular.
        seed: of everything.

    Returns:
        Arrays `x` (nodes, 1), all ones, `edge_index` (2, edges) in both directions, `counts` and
        `edge_counts` (graphs,), `y` (graphs, 5), the counts of `PATTERNS`; `split`.

    Raises:
        ConfigError: for empty parts, or sizes that make no such graph.
    """
    sizes = {"train": train, "val": val, "test": test}
    for name, size in sizes.items():
        at_least(name, size, 1)
    between("smallest", smallest, 6, 1000)
    between("largest", largest, smallest, 1000)
    between("degree", degree, 0.0, smallest - 1.0)
    graphs = []
    for place, size in enumerate(sizes.values()):
        rng = np.random.default_rng((seed, place))
        for number in range(size):
            nodes = int(rng.integers(smallest, largest + 1))
            graphs.append(_regular(nodes, rng) if number % 2 else _random(nodes, degree, rng))
    pairs = [np.stack(np.nonzero(graph)) for graph in graphs]
    return Made(
        domain="graph",
        title=f"random graphs of {smallest} to {largest} nodes, and counts of small patterns",
        arrays={
            "x": np.ones((sum(map(len, graphs)), 1), dtype=np.float32),
            "edge_index": np.concatenate(pairs, axis=1),
            "counts": np.array([len(graph) for graph in graphs]),
            "edge_counts": np.array([each.shape[1] for each in pairs]),
            "y": np.array([list(pattern_counts(graph)) for graph in graphs], dtype=np.float32),
            "split": np.repeat(list(sizes), list(sizes.values())),
        },
        limits=("small random graphs; of no use but to see what a network can count",),
        citation=(
            "Z. Chen, L. Chen, S. Villar, J. Bruna, Can graph neural networks count "
            "substructures?, NeurIPS 2020"
        ),
    )


def pattern_counts(adjacency: np.ndarray) -> tuple[int, int, int, int, int]:
    """The counts of `PATTERNS` in an undirected graph, by algebra with its adjacency matrix A.

    With degrees d and t_i = (A^3)_ii / 2 triangles at node i: stars are sums of binomials
    (d_i over 2), (d_i over 3); triangles tr(A^3) / 6; triangles with a tail sum_i t_i (d_i - 2);
    closed walks of length 4 are 8 for each 4-cycle, 4 for each 2-star and 2 for each edge.

    Args:
        adjacency: (n, n), symmetric, of 0 and 1, zero on the diagonal.
    """
    a = adjacency.astype(np.int64)
    degree, square = a.sum(axis=0), a @ a
    corners = (square * a).sum(axis=1) // 2
    two = int((degree * (degree - 1) // 2).sum())
    three = int((degree * (degree - 1) * (degree - 2) // 6).sum())
    tails = int((corners * (degree - 2)).sum())
    closed = int((square * square).sum())
    return two, three, int(corners.sum()) // 3, tails, (closed - 4 * two - int(a.sum())) // 8


def _random(nodes: int, degree: float, rng: np.random.Generator) -> np.ndarray:
    upper = np.triu(rng.random((nodes, nodes)) < degree / (nodes - 1), 1)
    return np.asarray(upper | upper.T)


def _regular(nodes: int, rng: np.random.Generator) -> np.ndarray:
    """A random regular graph: neighbours on a circle, then swaps of the ends of two edges."""
    degree = int(rng.choice([3, 4, 5] if nodes % 2 == 0 else [4]))
    graph = np.zeros((nodes, nodes), dtype=bool)
    every = np.arange(nodes)
    for step in range(1, degree // 2 + 1):
        graph[every, (every + step) % nodes] = True
    if degree % 2:
        graph[every, (every + nodes // 2) % nodes] = True
    graph |= graph.T
    joined, edges = graph.tolist(), np.argwhere(np.triu(graph)).tolist()
    draws = rng.integers(0, len(edges), (_SWAPS * len(edges), 2)).tolist()
    for (first, second), turned in zip(draws, rng.random(len(draws)) < 0.5, strict=True):
        (a, b), (c, d) = edges[first], edges[second][:: -1 if turned else 1]
        # a-b, c-d become a-d, c-b, unless an edge would be there twice, or join a node to itself
        if len({a, b, c, d}) == 4 and not joined[a][d] and not joined[c][b]:
            for i, j, there in ((a, b, False), (c, d, False), (a, d, True), (c, b, True)):
                joined[i][j] = joined[j][i] = there
            edges[first], edges[second] = [a, d], [c, b]
    return np.array(joined)
