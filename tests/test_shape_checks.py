"""The shapes written in signatures are checked while the tests run."""

import pytest
import torch

from zoo.functional import edge_vectors


def test_a_wrong_shape_is_caught() -> None:
    pos = torch.zeros(4, 3)
    pairs = torch.zeros(2, 0, dtype=torch.int64)
    shift = torch.zeros(0, 3, dtype=torch.int64)
    batch = torch.zeros(4, dtype=torch.int64)
    edge_vectors(pos, pairs, shift, batch, None)
    with pytest.raises(Exception, match="pos"):
        edge_vectors(pos[:, :2], pairs, shift, batch, None)
    with pytest.raises(Exception, match="typechecking"):
        edge_vectors(pos, pairs.double(), shift, batch, None)
