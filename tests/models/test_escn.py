"""eSCN: the authors' numbers, what its sums are worth, and how its errors shrink."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from goldens import golden, relative, structures
from torch import Tensor

import zoo
from zoo import registry
from zoo.errors import CapabilityError, ConfigError, StateMismatchError
from zoo.models import _escn_edges
from zoo.testing import Subject, run_check, unsettled

GOLDEN = sorted((Path(__file__).parent / "golden").glob("escn-*.safetensors"))
SMALL: dict[str, Any] = {
    "num_layers": 2,
    "lmax": 2,
    "sphere_channels": 8,
    "hidden_channels": 8,
    "edge_channels": 8,
    "cutoff": 4.0,
    "num_rbf": 12,
}


def make(**changes: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = zoo.create("escn", **SMALL | changes)
    return unsettled(model, noise=0.2).double().eval()


def test_there_are_goldens() -> None:
    assert len(GOLDEN) == 2


# --- the authors' numbers --------------------------------------------------------------------


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_authors_outputs(path: Path) -> None:
    config, weights, tensors = golden(path)
    model = zoo.convert("escn", weights, config, source="fairchem")
    out = model(structures(tensors))
    assert out["energy"].shape == (3,) and out["forces"].shape == (17, 3)
    assert relative(out["energy"], tensors["output/energy"]) < 1e-10
    # their frames are rolled at random about the edge
    assert relative(out["forces"], tensors["output/forces"]) < 1e-6
    assert not model.conservative and model.hparams["envelope"] is None


def test_conversion_knows_their_defaults_and_units() -> None:
    config, weights, tensors = golden(GOLDEN[0])
    model: Any = zoo.convert("escn", weights, config, source="fairchem", units={"energy": "kJ/mol"})
    assert model.hparams["max_neighbors"] == 40 and model.hparams["max_z"] == 89
    factor = float(model.energy_scale.scale) / 1e-3
    assert factor == pytest.approx(1 / 96.485332, rel=1e-6)
    assert float(model.direct_scales["forces"].scale) == pytest.approx(factor)
    out = model(structures(tensors))
    assert relative(out["forces"], factor * tensors["output/forces"]) < 1e-6


def test_conversion_refuses_what_it_cannot_represent() -> None:
    config, weights, _ = golden(GOLDEN[0])
    with pytest.raises(CapabilityError, match="distance_function='sigmoid'"):
        changed = config | {"distance_function": "sigmoid"}
        zoo.convert("escn", weights, changed, source="fairchem")
    with pytest.raises(CapabilityError, match="only one resolution"):
        zoo.convert("escn", weights, config | {"lmax_list": [3, 2]}, source="fairchem")
    with pytest.raises(StateMismatchError, match="dipole_block"):
        zoo.convert("escn", weights | {"dipole_block.w": torch.ones(1)}, config, source="fairchem")
    with pytest.raises(StateMismatchError, match="sphere_points"):
        moved = weights | {"sphere_points": weights["sphere_points"] + 0.1}
        zoo.convert("escn", moved, config, source="fairchem")
    weights.pop("force_block.fc3.weight")
    with pytest.raises(StateMismatchError, match=r"force_block\.fc3\.weight"):
        zoo.convert("escn", weights, config, source="fairchem")


def test_presets_have_the_published_numbers_of_parameters() -> None:
    model = zoo.create("escn-l6m2x12")
    assert sum(parameter.numel() for parameter in model.parameters()) == 51_837_952


# --- approximate symmetry ----------------------------------------------------------------------


def rotation_error(**changes: Any) -> float:
    result = run_check("rotation", Subject(make(**changes), "float64"), {})
    assert result.error is not None
    return result.error


@pytest.mark.parametrize("heads", [["energy"], ["energy", "forces"]])
def test_rotation_errors_shrink_as_grids_grow(heads: list[str]) -> None:
    coarse = rotation_error(heads=heads)
    fine = rotation_error(heads=heads, resolution=[10, 11], samples=200)
    assert 1e-7 < coarse < 1e-2  # the bound that the spec declares
    assert fine < 1e-3 * coarse


def test_gates_are_exact() -> None:
    model = make(nonlinearity="gate", num_layers=3, mmax=1)
    assert model.exact and not make().exact
    assert run_check("rotation", Subject(model, "float64")).passed


def test_it_tells_mirror_images_apart() -> None:
    model = make(nonlinearity="gate", num_layers=3)
    chiral = Atoms("CHFClO", [[0, 0, 0], [1.1, 0, 0], [0, 1.3, 0], [0, 0, 1.8], [-0.8, -0.7, -0.9]])
    mirror = chiral.copy()
    mirror.positions[:, 0] *= -1
    first, second = model([chiral, mirror])["energy"]
    assert abs(first - second) > 1e-9


# --- cutoff and neighbours -----------------------------------------------------------------------


def test_the_envelope_removes_the_jump_at_the_cutoff() -> None:
    smooth, published = make(), make(envelope=None)
    assert run_check("smoothness", Subject(smooth, "float64")).passed
    jump = run_check("smoothness", Subject(published, "float64"))
    assert jump.error is not None and jump.error > 1e-2


def test_a_cap_on_neighbours_is_a_cap() -> None:
    assert run_check("crowding", Subject(make(nonlinearity="gate"), "float64")).passed
    capped = run_check("crowding", Subject(make(nonlinearity="gate", max_neighbors=9), "float64"))
    assert not capped.passed
    few = molecule("CH4")
    assert torch.equal(make()(few)["energy"], make(max_neighbors=20)(few)["energy"])


@pytest.mark.parametrize("name", ["escn", "equiformer_v2", "tdn"])
def test_which_of_equally_near_neighbours_are_kept_is_no_matter_of_rounding(name: str) -> None:
    slab = fcc111("Cu", (2, 2, 2), vacuum=6.0, periodic=True)
    config = registry.specs()[name].test_config | {"cutoff": 5.0, "heads": ["energy"]}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model: Any = zoo.create(name, **config, max_neighbors=20).eval()
    moved = slab.copy()
    moved.translate([0.0, 0.0, 1e-6])
    found = [model(atoms)["forces"] for atoms in (slab, moved)]
    expected = model.double()(slab)["forces"]
    assert all(relative(forces, expected) < 1e-4 for forces in found)


def test_without_edges_there_is_an_energy_and_no_force() -> None:
    out = make(heads=["energy", "forces"])(Atoms("O", [[0, 0, 0]]))
    assert float(out["forces"].abs().max()) < 1e-13 and torch.isfinite(out["energy"]).all()


# --- how it is computed --------------------------------------------------------------------------


def uneven() -> list[Atoms]:
    """Atoms with one neighbour beside atoms with dozens."""
    pairs = [Atoms("OH", [[0, 0, 0], [0, 0.3, 0.95]]) for _ in range(12)]
    return [bulk("Al", cubic=True), *pairs, Atoms("H", [[0, 0, 0]])]


def test_groups_blocks_and_recomputation_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = zoo.to_batch(uneven(), dtype=torch.float64)
    model = make()
    expected = gradients(model, batch)
    model.block = 20
    torch.testing.assert_close(gradients(model, batch), expected, rtol=1e-10, atol=1e-15)
    for layer in model.layers:
        layer.message.recompute = True
    torch.testing.assert_close(gradients(model, batch), expected, rtol=1e-10, atol=1e-15)
    monkeypatch.setattr(_escn_edges, "WASTE", 1e9)  # one group for each atom, however wide
    torch.testing.assert_close(gradients(model, batch), expected, rtol=1e-10, atol=1e-15)


def gradients(model: Any, batch: Any) -> list[Tensor]:
    """Energies, forces and second derivatives by the parameters."""
    out = model(batch, outputs=["energy", "forces"], create_graph=True)
    loss = out["forces"].square().sum()
    slopes = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return [out["energy"], out["forces"], *(s for s in slopes if s is not None)]


def test_atoms_with_more_edges_have_several_groups() -> None:
    index = torch.tensor([0] * 9 + [1, 2, 3, 5])
    groups = _escn_edges.group_by(index, 6)
    assert groups.atom is not None and groups.width == 3
    assert groups.atom.tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert int(groups.filled.sum()) == 13
    value = torch.arange(13.0)
    assert torch.equal(groups.collect(groups.spread(value)), value)
    even = _escn_edges.group_by(torch.tensor([1, 0, 1, 0]), 2)
    assert even.atom is None and even.width == 2 and even.edge.tolist() == [1, 3, 0, 2]


def test_every_parameter_has_a_gradient() -> None:
    model = make(heads=["energy", "forces"]).train()
    out = model(zoo.to_batch(molecule("CH3OH"), dtype=torch.float64))
    (out["energy"].sum() + out["forces"].square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_layers": 0}, "num_layers is 0; expected 1"),
        ({"num_rbf": 1}, "num_rbf is 1; expected 2"),
        ({"mmax": 3}, "mmax=3 exceeds lmax=2"),
        ({"max_z": 119}, "no element lies beyond 118"),
        ({"max_neighbors": 0}, "max_neighbors is 0"),
        ({"resolution": [8]}, "expected polar angles and azimuths"),
        ({"resolution": [8, 4]}, "too coarse for lmax=2"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.create("escn", **SMALL | changes)
