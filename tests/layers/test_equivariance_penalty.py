"""Penalties for soft and mixed symmetries: distances, what is zero, that they help, refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from zoo.errors import ConfigError
from zoo.functional.tensor_power import PermutationGroup, equivariant_basis, project
from zoo.layers.symmetry import EquivariancePenalty, TensorLinear, TensorSpace

SPACE, VECTORS = TensorSpace("1x2", 3), TensorSpace("2x0+3x1", 3)


def random(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def layer(first: TensorSpace, last: TensorSpace) -> TensorLinear:
    torch.manual_seed(0)
    return TensorLinear(first, last).double()


def test_spaces() -> None:
    space = TensorSpace("4x0+2x1+1x2", 3)
    assert space.size == 4 + 6 + 9
    assert [(s.start, s.stop, c, k) for s, c, k in space.blocks()] == [
        (0, 4, 4, 0),
        (4, 10, 2, 1),
        (10, 19, 1, 2),
    ]
    assert "4x0+2x1+1x2" in repr(space)


def test_the_distance_is_that_to_the_projection() -> None:
    """Of a layer from matrices to matrices, by the whole projector of each group."""
    it = layer(SPACE, SPACE)
    penalty = EquivariancePenalty(it, {"O": 2.0, "S": 0.5})
    wanted = 0.0
    for group, weight in (("O", 2.0), ("S", 0.5)):
        maps = equivariant_basis(group, 3, 2, 2).matrices.flatten(1)
        both = equivariant_basis(group, 3, 0, 2).matrices.flatten(1)
        for basis, w in ((maps, it.weight.flatten()), (both, it.bias.flatten())):
            q = torch.linalg.qr(basis.mT)[0]
            wanted = wanted + weight * (w - q @ (q.mT @ w)).square().sum()
    found, total = float(penalty().detach()), float(torch.as_tensor(wanted).detach())
    assert abs(found - total) < 1e-12 * total
    assert set(penalty.parts()) == {"O(n)", "S(n)"}


def test_equivariant_layers_cost_nothing_and_others_do() -> None:
    it = layer(VECTORS, VECTORS)
    penalty = EquivariancePenalty(it, {"O": 1.0})
    assert float(penalty().detach()) > 1.0
    with torch.no_grad():
        it.weight[:2, 2:] = 0  # no map from vectors to scalars
        it.weight[2:, :2] = 0
        block = it.weight[2:, 2:].reshape(3, 3, 3, 3).transpose(1, 2)
        block = project(block, equivariant_basis("O", 3, 1, 1))
        it.weight[2:, 2:] = block.transpose(1, 2).reshape(9, 9)
        it.bias[2:] = 0
    assert float(penalty().detach()) < 1e-20
    turn = torch.linalg.qr(random(3, 3))[0]
    x = random(5, 11)
    moved = torch.cat([x[:, :2], (x[:, 2:].reshape(5, 3, 3) @ turn.T).flatten(1)], 1)
    y, z = it(x), it(moved)
    assert (z[:, 2:] - (y[:, 2:].reshape(5, 3, 3) @ turn.T).flatten(1)).abs().max() < 1e-12


def test_groups_by_generators_and_layers_by_name() -> None:
    plain = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    line, scalar = TensorSpace("1x1", 3), TensorSpace("1x0", 3)
    turns = PermutationGroup([[1, 2, 0]])
    penalty = EquivariancePenalty(plain, {turns: 1.0}, spaces={"0": (line, line)})
    with torch.no_grad():
        plain[0].weight.copy_(torch.tensor([[1.0, 2, 3], [3, 1, 2], [2, 3, 1]]))  # type: ignore[operator]
        plain[0].bias.fill_(0.3)  # type: ignore[operator]
    assert float(penalty().detach()) < 1e-10
    both = EquivariancePenalty(plain, {turns: 1.0}, spaces={"0": (line, line), "2": (line, scalar)})
    assert float(both().detach()) > 1e-3
    (grad,) = torch.autograd.grad(both(), plain[2].weight)  # type: ignore[arg-type]
    assert grad.abs().max() > 0


def test_a_soft_symmetry_is_learnt_best_with_the_penalty() -> None:
    """Maps of matrices that are equivariant up to a small part, from few noisy examples.

    Against no penalty, and one so strong that the symmetry is exact; each by the same steps.
    """
    exact = project(random(9, 9), equivariant_basis("O", 3, 2, 2))
    truth = 2 * exact + 0.15 * random(9, 9, seed=1)
    x, fresh = random(40, 9, seed=2), random(400, 9, seed=3)
    y = x @ truth.T + 1.0 * random(40, 9, seed=4)
    errors = {}
    for weight in (0.0, 0.6, 1e4):
        it = layer(SPACE, SPACE)
        penalty = EquivariancePenalty(it, {"O": weight})
        optimizer = torch.optim.LBFGS(it.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure(it: Any = it, penalty: Any = penalty, optimizer: Any = optimizer) -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = (it(x) - y).square().sum(1).mean() + penalty()
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            errors[weight] = float((it(fresh) - fresh @ truth.T).square().mean())
    assert errors[0.6] < 0.8 * min(errors[0.0], errors[1e4]), errors


def cloud(dim: int = 3) -> Batch:
    made = [Data(pos=random(n, dim, seed=n), vel=random(n, dim, seed=n + 9)) for n in (4, 5)]
    batch = Batch.from_data_list(made)
    assert isinstance(batch, Batch)
    return batch


class Absolute(nn.Module):
    def forward(self, batch: Data) -> dict[str, Tensor]:
        return {"prediction": batch.pos + batch.pos**2 + batch.vel, "embedding": batch.pos}


class Right(nn.Module):
    def forward(self, batch: Data) -> dict[str, Tensor]:
        return {"prediction": batch.pos + 2 * batch.vel}


def test_outputs_of_any_model() -> None:
    options: Any = {"form": "outputs", "output": "equivariant"}
    right = EquivariancePenalty(Right(), {"E": 1.0, "SO": 0.1}, **options)
    wrong = EquivariancePenalty(Absolute(), {"E": 1.0, "SO": 0.1}, **options)
    assert float(right(cloud())) < 1e-24
    parts = wrong.parts(cloud(), torch.Generator().manual_seed(0))
    assert set(parts) == {"E", "SO"} and min(map(float, parts.values())) > 1e-2
    again = wrong.parts(cloud(), torch.Generator().manual_seed(0))
    assert all(torch.equal(parts[name], again[name]) for name in parts)
    doubled = EquivariancePenalty(Absolute(), {"E": 2.0}, **options)
    once = EquivariancePenalty(Absolute(), {"E": 1.0}, **options)
    draws = [float(p(cloud(), torch.Generator().manual_seed(1))) for p in (doubled, once)]
    assert abs(draws[0] - 2 * draws[1]) < 1e-9 * draws[0]


def test_groups_that_are_called_alike() -> None:
    it = layer(TensorSpace("1x1", 3), TensorSpace("1x1", 3))
    swap, cycle = PermutationGroup([[1, 0, 2]]), PermutationGroup([[1, 2, 0]])
    alone = [float(EquivariancePenalty(it, {group: 1.0})().detach()) for group in (swap, cycle)]
    both = EquivariancePenalty(it, {swap: 1.0, cycle: 2.0})
    assert len(both.parts()) == 2
    assert abs(float(both().detach()) - alone[0] - 2 * alone[1]) < 1e-12


def test_a_translation_that_is_missed() -> None:
    def centred(batch: Data) -> dict[str, Tensor]:
        return {"prediction": batch.vel}

    options: Any = {"form": "outputs", "output": "equivariant"}
    assert float(EquivariancePenalty(centred, {"O": 1.0}, **options)(cloud())) < 1e-24
    assert float(EquivariancePenalty(centred, {"E": 1.0}, **options)(cloud())) > 1e-2


def test_refusals() -> None:
    it = layer(SPACE, SPACE)
    with pytest.raises(ConfigError, match=r"expected a sum of terms"):
        TensorSpace("3 vectors", 3)
    with pytest.raises(ConfigError, match="n must be the same"):
        TensorLinear(SPACE, TensorSpace("1x0", 2))
    with pytest.raises(ConfigError, match="weight >= 0"):
        EquivariancePenalty(it, {"O": -1.0})
    with pytest.raises(ConfigError, match="weight >= 0"):
        EquivariancePenalty(it, {})
    with pytest.raises(ConfigError, match="form='layers'"):
        EquivariancePenalty(it, {"O": 1.0}, form="layers")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"O\(n\) is given twice"):
        EquivariancePenalty(it, {"O": 1.0, "O(n)": 2.0})
    with pytest.raises(ConfigError, match="no family of groups is called 'U'"):
        EquivariancePenalty(it, {"U": 1.0})
    with pytest.raises(ConfigError, match="n=3 is odd"):
        EquivariancePenalty(it, {"Sp": 1.0})
    with pytest.raises(ConfigError, match="no layer of Linear says"):
        EquivariancePenalty(nn.Linear(3, 3), {"O": 1.0})
    with pytest.raises(ConfigError, match="no linear layer is called 'first'"):
        EquivariancePenalty(it, {"O": 1.0}, spaces={"first": (SPACE, SPACE)})
    with pytest.raises(ConfigError, match="maps 3 to 3 numbers, but is said to map"):
        plain = nn.Sequential(nn.Linear(3, 3))
        EquivariancePenalty(plain, {"O": 1.0}, spaces={"0": (SPACE, SPACE)})
    with pytest.raises(ConfigError, match="give one"):
        EquivariancePenalty(Right(), {"O": 1.0}, form="outputs", output="vector")()
    with pytest.raises(ConfigError, match="no group is called 'Sp' here"):
        EquivariancePenalty(Right(), {"Sp": 1.0}, form="outputs")
