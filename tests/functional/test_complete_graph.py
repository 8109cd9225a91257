"""Complete graphs of a batch."""

import torch

from zoo.functional.complete_graph import complete_edges


def test_all_pairs_of_each_graph() -> None:
    found = complete_edges(torch.tensor([3, 1, 0, 2, 4]))
    batch = torch.tensor([0, 0, 0, 1, 3, 3, 4, 4, 4, 4])
    expected = [
        (i, j) for i in range(10) for j in range(10) if i != j and int(batch[i]) == int(batch[j])
    ]
    assert [tuple(pair) for pair in found.T.tolist()] == expected


def test_nothing_to_pair() -> None:
    for counts in ([], [1], [0, 0], [1, 0, 1]):
        assert complete_edges(torch.tensor(counts, dtype=torch.int64)).shape == (2, 0)
