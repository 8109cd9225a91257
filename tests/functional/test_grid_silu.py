"""SiLU on grids in chunks: the same numbers as in one piece, with derivatives."""

import pytest
import torch

from zoo.functional import grid_silu as module
from zoo.functional.grid_silu import grid_silu


@pytest.fixture
def matrices():
    generator = torch.Generator().manual_seed(0)
    there = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    back = torch.randn(3, 12, generator=generator, dtype=torch.float64)
    return there, back


def test_values_do_not_depend_on_the_size_of_chunks(matrices, monkeypatch):
    there, back = matrices
    x = torch.randn(7, 4, 5, dtype=torch.float64)
    expected = back @ torch.nn.functional.silu(there @ x)
    for chunk in (1, 150, 2**16):
        monkeypatch.setattr(module, "CHUNK", chunk)
        assert torch.allclose(grid_silu(x, there, back), expected, atol=1e-13)


def test_derivatives_of_both_orders(matrices, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 100)
    x = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: grid_silu(x, *matrices), x)
    assert torch.autograd.gradgradcheck(lambda x: grid_silu(x, *matrices), x)


def test_no_rows(matrices):
    x = torch.zeros(0, 4, 2, dtype=torch.float64)
    assert grid_silu(x, *matrices).shape == (0, 3, 2)
