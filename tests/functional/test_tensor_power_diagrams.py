"""Diagrams and their application, against dense matrices and the group's action."""

from itertools import pairwise

import pytest
import torch

from zoo.errors import ConfigError
from zoo.functional import tensor_power as tp

CASES = [("S", 2), ("S", 3), ("A", 3), ("A", 4), ("O", 3), ("SO", 2), ("SO", 3), ("Sp", 2),
         ("Sp", 4)]  # fmt: skip
BELL = [1, 1, 2, 5, 15, 52, 203, 877]


def test_numbers_of_diagrams() -> None:
    assert [len(list(tp.set_partitions(m))) for m in range(8)] == BELL
    assert [len(list(tp.perfect_matchings(m))) for m in range(9)] == [1, 0, 1, 0, 3, 0, 15, 0, 105]
    assert len(list(tp.brauer_grood(5, 3))) == 10 and len(list(tp.brauer_grood(4, 3))) == 0
    assert len(list(tp.jellyfish(4, 4))) == 1 + 6  # into four blocks, and into three
    assert len(list(tp.jellyfish(3, 1))) == 0
    for m in range(6):
        found = list(tp.set_partitions(m))
        assert len(set(found)) == len(found)
        assert all(sorted(sum(blocks, ())) == list(range(m)) for blocks in found)
    assert max(map(len, tp.set_partitions(5, 2))) == 2


@pytest.mark.parametrize(("name", "n"), CASES)
def test_diagrams_are_their_matrices_and_commute_with_the_group(name: str, n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    g = tp.as_group(name).random_element(n, generator)
    for k in range(4):
        for o in range(4):
            if n ** (k + o) > 250:
                continue
            x = torch.randn(2, *[n] * k, dtype=torch.float64, generator=generator)
            moved = tp.act(g, x, k)
            for diagram in tp.diagrams(name, n, k, o):
                out = tp.apply_diagram(x, diagram, o, n=n)
                matrix = tp.dense(diagram, n, o).reshape(n**o, n**k)
                expected = (x.reshape(2, -1) @ matrix.mT).reshape(out.shape)
                torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
                turned = tp.apply_diagram(moved, diagram, o, n=n)
                torch.testing.assert_close(turned, tp.act(g, out, o), rtol=0, atol=1e-10)


def test_gradients_of_every_order() -> None:
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    for name in ("S", "A", "SO"):
        for diagram in tp.diagrams(name, 3, 2, 2)[::5]:

            def cubed(x: torch.Tensor, diagram: tp.Diagram = diagram) -> torch.Tensor:
                return tp.apply_diagram(x, diagram, 2) ** 3

            assert torch.autograd.gradgradcheck(cubed, [x])


def test_the_diagonal() -> None:
    x = torch.arange(3.0)
    assert torch.equal(tp.diagonal(x, [(0, 1, 2)], 3, 3).nonzero().T, torch.tensor([[1, 2]] * 3))
    y = torch.randn(2, 4, 1)
    found = tp.diagonal(y, [(1,), (0, 2)], 3, 4)  # rows run along the middle axis
    for i in range(4):
        for j in range(4):
            assert torch.equal(found[:, i, j, i], y[:, j, 0])
    assert int((found != 0).sum()) == 2 * 4 * 4


def test_signs() -> None:
    table = tp.epsilon(3)
    assert torch.equal(table[0], torch.tensor([[0.0, 0, 0], [0, 0, 1], [0, -1, 0]]).double())
    assert all(
        torch.equal(tp.epsilon(4).transpose(a, b), -tp.epsilon(4))
        for a, b in pairwise((0, 1, 2, 3))
    )
    a, b = torch.randn(2, 3, dtype=torch.float64)
    (cross,) = (d for d in tp.diagrams("SO", 3, 2, 1) if d.legs)
    found = tp.apply_diagram(torch.outer(a, b), cross, 1)
    torch.testing.assert_close(found, torch.linalg.cross(a, b))


def test_refusals() -> None:
    swap = tp.Diagram(((0, 2), (1,)))
    with pytest.raises(ConfigError, match="one length"):
        tp.apply_diagram(torch.ones(2, 3), swap, 1)
    with pytest.raises(ConfigError, match="as it must be for order 0"):
        tp.apply_diagram(torch.ones(2), tp.Diagram(((0, 1),)), 2)
    with pytest.raises(ConfigError, match="n up to 6"):
        tp.apply_diagram(torch.ones(7), tp.Diagram(((0,),), (0,)), 0)
    with pytest.raises(ConfigError, match="with 1 legs needs n=1 or 2"):
        tp.apply_diagram(torch.ones(4), tp.Diagram(((0,),), (0,)), 0)
