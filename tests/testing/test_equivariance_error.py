"""The public measurement of a symmetry: right and wrong functions, all domains, refusals."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ase.build import bulk, molecule
from torch import Tensor, nn
from torch_geometric.data import Data

import zoo
from zoo.errors import ConfigError
from zoo.functional.tensor_power import MatrixGroup, OrthogonalGroup, PermutationGroup
from zoo.layers.tensor_power import TensorPowerLinear
from zoo.testing import Law, equivariance_error

RNG = torch.Generator().manual_seed(0)
X = torch.randn(8, 3, generator=RNG)


def test_architectures_by_name() -> None:
    right = equivariance_error("egnn", "S(n) x E(n)")
    assert set(right) == {"permutation", "rotation", "reflection", "translation"}
    assert max(right.values()) < 1e-12
    wrong = equivariance_error("plain_gnn", "S(n) x E(n)")
    assert wrong.pop("permutation") < 1e-12
    assert min(wrong.values()) > 1e-2


def test_potentials() -> None:
    torch.manual_seed(0)
    model = zoo.create("tensornet", hidden_channels=8, num_layers=1)
    crystal = bulk("NaCl", "rocksalt", a=5.6)
    crystal.rattle(0.1, seed=1)
    found = equivariance_error(model, "E(3) x S(n)", [molecule("H2O"), crystal])
    assert set(found) == {"rotation", "reflection", "inversion", "translation", "permutation"}
    assert max(found.values()) < 1e-11
    assert set(equivariance_error(model, "SO(3)", crystal)) == {"rotation"}

    class Absolute(nn.Module):
        def forward(self, batch: Data) -> dict[str, Tensor]:
            return {"energy": batch.pos.square().sum().reshape(1), "mine": batch.pos.sum(1)}

    wrong = equivariance_error(Absolute(), "E(3)", molecule("H2O"))
    assert wrong["rotation"] < 1e-12 and wrong["translation"] > 0.1
    laws = {"mine": Law(0, per_atom=True)}
    assert equivariance_error(Absolute(), "SO(3)", molecule("H2O"), laws=laws)["rotation"] > 0.1


def test_functions_on_samples() -> None:
    def centre(batch: Data) -> dict[str, Tensor]:
        return {"middle": batch.pos - batch.pos.mean(0, keepdim=True)}

    sample = Data(pos=X)
    laws = {"middle": "equivariant"}
    right = equivariance_error(centre, "O(n)", sample, domain="points", laws=laws)
    assert max(right.values()) < 1e-12
    # what moves with the origin must, and this does not
    moved = equivariance_error(centre, "E(n)", sample, domain="points", laws=laws)
    assert moved["rotation"] < 1e-12 and moved["translation"] > 0.1


def test_translations_of_sets_of_vectors() -> None:
    """Their positions are in x."""
    sets = torch.randn(3, 5, 2, generator=RNG, dtype=torch.float64)

    def spread(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"size": (batch["x"] - batch["x"].mean(1, keepdim=True)).square().sum((1, 2))}

    def length(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"size": batch["x"].square().sum((1, 2))}

    right = equivariance_error(spread, "E(n)", sets, domain="sequence")
    assert max(right.values()) < 1e-12
    wrong = equivariance_error(length, "E(n)", sets, domain="sequence")
    assert wrong["rotation"] < 1e-12 and wrong["translation"] > 0.1


@pytest.mark.parametrize(
    ("function", "group", "bound"),
    [
        (lambda x: x * x.norm(dim=-1, keepdim=True), "O", 1e-12),
        (lambda x: x.relu(), "O", None),
        (lambda x: x.relu(), "S", 1e-12),
        (lambda x: x.roll(1, -1), PermutationGroup([[1, 2, 0]]), 1e-12),
        (lambda x: x.roll(1, -1), "S", None),
        (lambda x: x.flip(-1), OrthogonalGroup(), None),
        (
            lambda x: 2 * x,
            MatrixGroup(torch.diag(torch.tensor([1.0, 2.0, 3.0]))[None].double()),
            1e-12,
        ),
    ],
)
def test_functions_of_tensors(
    function: Callable[[Tensor], Tensor], group: Any, bound: float | None
) -> None:
    """Against groups of tensor powers; None: it must be far off."""
    found = max(equivariance_error(function, group, X).values())
    assert found < bound if bound is not None else found > 0.1


def test_orders() -> None:
    y = torch.randn(2, 3, 3, generator=RNG)

    def trace(x: Tensor) -> Tensor:
        return x.diagonal(dim1=-2, dim2=-1).sum(-1)

    assert max(equivariance_error(trace, "SO", y, order_in=2, order_out=0).values()) < 1e-12
    first = equivariance_error(lambda x: x[..., 0, 0], "O", y, order_in=2, order_out=0)
    assert max(first.values()) > 0.1
    matrix = equivariance_error(lambda x: x @ x.mT, "O", y, order_in=2, order_out=2)
    assert max(matrix.values()) < 1e-12


def test_layers_that_begin_with_scalars() -> None:
    for group, order in (("O", 2), ("SO", 3)):
        layer = TensorPowerLinear(group, 0, order, 1, 2, n=3)
        assert max(equivariance_error(layer).values()) < 1e-12
    assert max(equivariance_error(layer, "O").values()) > 1e-3  # a mirrored epsilon is another


def test_outputs_are_chosen_by_name() -> None:
    def both(batch: Data) -> dict[str, Tensor]:
        return {"right": batch.pos.norm(dim=1), "wrong": batch.pos[:, 0]}

    sample = Data(pos=X)
    everything = equivariance_error(both, "O(n)", sample, domain="points")
    chosen = equivariance_error(both, "O(n)", sample, domain="points", outputs=["right"])
    assert max(chosen.values()) < 1e-12 and min(everything.values()) > 0.1
    with pytest.raises(ConfigError, match="no output 'rigth' was measured: did you mean"):
        equivariance_error(both, "O(n)", sample, domain="points", outputs=["rigth"])


def test_what_is_not_finite_or_changes_its_shape_is_infinitely_wrong() -> None:
    def broken(x: Tensor) -> Tensor:
        return torch.where(x > 100.0, x, x / 0.0)

    assert max(equivariance_error(broken, "O", X).values()) == float("inf")


def test_single_precision_and_the_model_stays_as_it_is() -> None:
    model = nn.Linear(3, 3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert max(equivariance_error(model, "O", X, dtype="float32").values()) > 1e-2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.weight.dtype == torch.float32 and model.training


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("egnn", "U"), {}, "no symmetry group is called 'U'"),
        ((torch.relu, "E(n)"), {}, "what does the model take"),
        (("gcn", "E(n)"), {}, "kind rotation, which act on .* not on 'graph'"),
        (("tensornet", "Sp"), {}, "no group on atoms is called 'Sp'"),
        (("tensornet", "E(3)", [3]), {}, "measured on ASE structures"),
        ((torch.relu, "Sp", X), {}, "n=3"),
        ((torch.relu, "O", X), {"order_in": 2}, r"last 2 axes.*\(8, 3\)"),
        ((torch.relu, None, X), {}, "name a group: S, A, O"),
        ((lambda x: {"y": x}, "O", X), {}, "returned dict"),
        ((lambda x: x[:, :2], "O", X), {}, r"of length 3 as in the inputs.*\(8, 2\)"),
        (("plain_gnn", OrthogonalGroup()), {}, "acts on tensors"),
        (("gcn", "none"), {}, "promises nothing"),
        ((3, "O"), {}, "a int is no model"),
        ((torch.relu, "O", X), {"dtype": "float16"}, "dtype='float16'"),
    ],
)
def test_refusals(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        equivariance_error(*arguments, **options)
