"""Pair messages: the naive sum over directed edges, and right derivatives of both orders."""

import importlib.util

import pytest
import torch

from zoo.errors import MissingExtraError
from zoo.functional import pair_message, scatter_mean, scatter_sum
from zoo.functional.cartesian import DEGREE

DOUBLE = torch.float64


def example():
    g = torch.Generator().manual_seed(0)
    index = torch.tensor([[1, 2, 2, 3], [0, 0, 1, 3]])  # the last pair joins an atom to its image
    weight = torch.randn(3, 4, 2, dtype=DOUBLE, generator=g).requires_grad_()
    x = torch.randn(9, 5, 2, dtype=DOUBLE, generator=g).requires_grad_()
    return weight, x, index


def test_message_is_the_sum_over_both_directions():
    weight, x, index = example()
    expected = torch.zeros_like(x)
    for p, (j, i) in enumerate(index.T.tolist()):
        for c, degree in enumerate(DEGREE):
            expected[c, i] += weight[degree, p] * x[c, j]
            expected[c, j] += weight[degree, p] * x[c, i]
    assert torch.allclose(pair_message(weight, x, index, DEGREE), expected)


def test_derivatives_of_both_orders():
    weight, x, index = example()

    def message(w, y):
        return pair_message(w, y, index, DEGREE)

    assert torch.autograd.gradcheck(message, (weight, x))
    assert torch.autograd.gradgradcheck(message, (weight, x))


def test_no_pairs():
    weight, x, _ = example()
    empty = torch.zeros(2, 0, dtype=torch.long)
    assert not pair_message(weight[:, :0], x, empty, DEGREE).any()


def test_scatter_groups_rows():
    source = torch.arange(6, dtype=DOUBLE).reshape(3, 2)
    index = torch.tensor([2, 0, 2])
    assert scatter_sum(source, index, 4).tolist() == [[2, 3], [0, 0], [4, 6], [0, 0]]
    assert scatter_mean(source, index, 4).tolist() == [[2, 3], [0, 0], [2, 3], [0, 0]]
    many = torch.ones(1000, 1, dtype=torch.bfloat16)  # which counts to 256
    alike = scatter_mean(many, torch.zeros(1000, dtype=torch.int64), 1)
    expected = scatter_sum(many, torch.zeros(1000, dtype=torch.int64), 1) / 1000
    assert torch.equal(alike, expected)


def test_scatter_backends_agree_where_the_extra_is_installed():
    source, index = torch.randn(6, 2), torch.tensor([2, 0, 2, 1, 1, 1])
    if importlib.util.find_spec("torch_scatter") is None:
        with pytest.raises(MissingExtraError, match="torch-scatter"):
            scatter_sum(source, index, 4, backend="torch_scatter")
    else:
        other = scatter_sum(source, index, 4, backend="torch_scatter")
        assert torch.allclose(scatter_sum(source, index, 4), other)
