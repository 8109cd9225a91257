"""Simplicial complexes against a plain enumeration, and the graph of messages."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.simplicial import (
    boundary,
    cliques,
    hull_complex,
    message_edges,
    orderings,
    rips_complex,
)


def _rows(rows: Tensor) -> set[tuple[int, ...]]:
    found = {tuple(row) for row in rows.tolist()}
    assert len(found) == len(rows)  # each once
    return found


def _rips(pos: Tensor, samples: list[range], radius: float, rank: int) -> set[tuple[int, ...]]:
    return {
        chosen
        for sample in samples
        for chosen in itertools.combinations(sample, rank + 1)
        if all(math.dist(pos[i], pos[j]) <= radius for i, j in itertools.combinations(chosen, 2))
    }


@pytest.mark.parametrize("radius", [0.5, 1.7, 100.0])
def test_rips_complexes_are_all_close_sets(radius: float) -> None:
    pos = torch.tensor(np.random.default_rng(0).normal(size=(12, 3)))
    counts, samples = torch.tensor([5, 0, 1, 6]), [range(5), range(5, 6), range(6, 12)]
    faces = rips_complex(pos, counts, radius, 4)
    for rank, rows in enumerate(faces):
        assert rows.shape[1] == rank + 1
        assert _rows(rows) == _rips(pos, samples, radius, rank), rank
    assert len(rips_complex(pos, counts, radius, 0)) == 1


def test_large_triangles_can_be_left_out() -> None:
    pos = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    counts = torch.tensor([4])
    faces = rips_complex(pos, counts, 10.0, max_area=0.5)
    assert _rows(faces[2]) == {(0, 1, 2)} and len(faces[1]) == 6
    assert len(rips_complex(pos, counts, 10.0)[2]) == 4


@pytest.mark.parametrize(("dim", "points"), [(2, 7), (3, 9), (5, 8)])
def test_hull_faces(dim: int, points: int) -> None:
    rng = np.random.default_rng(dim)
    pos = torch.tensor(rng.normal(size=(2 * points, dim)))
    faces = hull_complex(pos, torch.tensor([points, points]), min(2, dim - 1))
    for start in (0, points):
        inside = slice(start, start + points)
        # a face of a hull has a plane through it with all other points on one side: on it, the
        # least of a linear function is found; here every vertex that such a function finds is one
        directions = torch.tensor(rng.normal(size=(300, dim)))
        extreme = set((pos[inside] @ directions.T).argmin(0).tolist())
        corners = {v - start for v in faces[1].unique().tolist() if start <= v < start + points}
        assert extreme <= corners
    assert _rows(faces[0]) == {(k,) for k in range(2 * points)}
    for rank in range(1, len(faces)):
        rows = _rows(faces[rank])
        assert all(list(row) == sorted(row) for row in rows)
        for row in rows:
            assert len({v < points for v in row}) == 1
            assert all(f in _rows(faces[rank - 1]) for f in itertools.combinations(row, rank))
    if dim == 3:  # Euler: v - e + f = 2
        vertices = len(faces[1].unique())
        assert vertices - len(faces[1]) + len(faces[2]) == 4  # of two hulls


def test_points_that_do_not_span_have_no_hull() -> None:
    flat = torch.tensor(np.random.default_rng(0).normal(size=(6, 3))) * torch.tensor([1, 1, 0])
    few = torch.randn(2, 3, dtype=torch.float64)
    faces = hull_complex(torch.cat([flat, few]), torch.tensor([6, 2]))
    assert [len(rows) for rows in faces] == [8, 0, 0]
    assert [len(rows) for rows in rips_complex(flat[:1], torch.tensor([1]), 1.0)] == [1, 0, 0]


def test_boundaries() -> None:
    edges = torch.tensor([[0, 1], [0, 2], [1, 2], [2, 3]])
    faces = cliques(edges, 4)
    assert _rows(faces[2]) == {(0, 1, 2)}
    assert boundary(faces, 2).tolist() == [[2, 1, 0]]  # without 0, without 1, without 2
    assert boundary(faces, 1).tolist() == [[1, 0], [2, 0], [2, 1], [3, 2]]


def test_who_hears_of_whom() -> None:
    edges = torch.tensor([[0, 1], [0, 2], [1, 2], [2, 3]])
    faces = cliques(edges, 4)  # 4 vertices, edges 4 to 7, the triangle 8
    found = message_edges(faces, torch.tensor([4]))
    expected = {(i, j) for i in range(4) for j in range(4) if i != j}
    for number, pair in enumerate(edges.tolist(), start=4):
        expected |= {(number, v) for v in pair} | {(v, number) for v in pair}
    expected |= {(8, e) for e in (4, 5, 6)} | {(e, 8) for e in (4, 5, 6)}
    expected |= {(a, b) for a in (4, 5, 6) for b in (4, 5, 6) if a != b}
    assert _rows(found.T) == expected
    legacy = message_edges(faces, torch.tensor([4]), legacy=True)
    pairs = [tuple(pair) for pair in legacy.flip(0).T.tolist()]  # receiver, sender
    twice = {pair for pair in pairs if pairs.count(pair) == 2}
    assert twice == {(0, 1), (0, 2), (1, 2), (2, 3)} and set(pairs) == expected
    assert len(pairs) == len(expected) + 4


def test_samples_stay_apart() -> None:
    pos = torch.tensor(np.random.default_rng(4).normal(size=(9, 3)))
    counts = torch.tensor([4, 5])
    faces = hull_complex(pos, counts)
    owner = torch.cat([rows[:, 0] >= 4 for rows in faces])
    of, to = message_edges(faces, counts)
    assert torch.equal(owner[to], owner[of])
    assert [len(rows) for rows in faces] == [
        sum(sizes)
        for sizes in zip(
            *([len(r) for r in hull_complex(p, torch.tensor([len(p)]))] for p in pos.split([4, 5])),
            strict=True,
        )
    ]


def test_orders_and_refusals() -> None:
    assert [len(orderings(rank)) for rank in range(4)] == [1, 2, 6, 24]
    pos, counts = torch.zeros(3, 2), torch.tensor([3])
    with pytest.raises(ConfigError, match=r"max_rank is 2; expected 0\.\.1"):
        hull_complex(pos, counts, 2)
    with pytest.raises(ConfigError, match="2 or more dimensions, not 1"):
        hull_complex(pos[:, :1], counts)
    with pytest.raises(ConfigError, match="radius=0"):
        rips_complex(pos, counts, 0.0)
    with pytest.raises(ConfigError, match=r"expected 0\.\.2"):
        rips_complex(pos, counts, 1.0, 3, max_area=1.0)
    with pytest.raises(ConfigError, match=r"expected 0\.\.4"):
        cliques(torch.zeros((0, 2), dtype=torch.int64), 3, 5)
