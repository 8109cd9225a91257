"""TensorNet: the authors' numbers, and what the contract suite does not ask."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from goldens import golden, relative

import zoo
from zoo.errors import (
    CapabilityError,
    ConfigError,
    StateMismatchError,
    UnknownHeadError,
    UnsupportedInputError,
)
from zoo.models._atomistic import AtomisticModel
from zoo.models.tensornet import TensorNet

GOLDEN = sorted((Path(__file__).parent / "golden").glob("tensornet-*.safetensors"))
SMALL = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 6, "cutoff": 4.0}


def structures(tensors):
    frames = []
    for graph, charge in enumerate(tensors["input/charge"].tolist()):
        here = tensors["input/batch"] == graph
        atoms = Atoms(tensors["input/z"][here].tolist(), tensors["input/pos"][here].numpy())
        atoms.info["charge"] = charge
        frames.append(atoms)
    return frames


def test_there_are_goldens():
    assert len(GOLDEN) == 7


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_authors_outputs(path):
    config, weights, tensors = golden(path)
    model = zoo.convert("tensornet", weights, config, source="torchmd-net").eval()
    out = model(structures(tensors))
    assert relative(out["energy"], tensors["output/energy"]) < 1e-10
    assert relative(out["forces"], tensors["output/forces"]) < 1e-10


def test_convert_from_file_and_units(tmp_path):
    from safetensors.torch import save_file

    config, weights, tensors = golden(GOLDEN[0])
    weights = {k: v.contiguous() for k, v in weights.items()}
    save_file(weights, tmp_path / "theirs.safetensors")
    ours = zoo.convert(
        "tensornet",
        tmp_path / "theirs.safetensors",
        config,
        source="torchmd-net",
        units={"energy": "kcal/mol"},
    ).eval()
    out = ours(structures(tensors))
    kcal = 0.0433641042418  # eV
    assert relative(out["energy"], tensors["output/energy"] * kcal) < 1e-8
    assert relative(out["forces"], tensors["output/forces"] * kcal) < 1e-8


def test_convert_keeps_scale_mean_and_atomic_references():
    config, weights, tensors = golden(GOLDEN[0])
    weights["std"], weights["mean"] = torch.tensor(2.0), torch.tensor(-3.0)
    reference = torch.arange(16.0, dtype=torch.float64)[:, None]
    weights["prior_model.0.atomref.weight"] = reference
    weights["prior_model.0.initial_atomref"] = reference
    model = zoo.convert("tensornet", weights, config, source="torchmd-net").eval()
    counts = torch.zeros(3, dtype=torch.float64)
    counts.index_add_(0, tensors["input/batch"], reference[tensors["input/z"], 0])
    expected = 2.0 * tensors["output/energy"] - 3.0 + counts
    assert relative(model(structures(tensors))["energy"], expected) < 1e-10


def test_convert_refuses_what_it_cannot_represent():
    config, weights, _ = golden(GOLDEN[0])
    with pytest.raises(CapabilityError, match="rbf_type='bessel'.*expnorm or gauss"):
        zoo.convert("tensornet", weights, config | {"rbf_type": "bessel"}, source="torchmd-net")
    with pytest.raises(CapabilityError, match="activation='tanh'"):
        zoo.convert("tensornet", weights, config | {"activation": "tanh"}, source="torchmd-net")
    with pytest.raises(StateMismatchError, match="basis"):  # weights of the other basis
        zoo.convert("tensornet", weights, config | {"rbf_type": "gauss"}, source="torchmd-net")
    with pytest.raises(StateMismatchError, match="attention"):
        zoo.convert(
            "tensornet", weights | {"attention.w": torch.ones(1)}, config, source="torchmd-net"
        )
    with pytest.raises(StateMismatchError):
        weights.pop("representation_model.linear.bias")
        zoo.convert("tensornet", weights, config, source="torchmd-net")


@pytest.mark.parametrize("argument", [{"hidden_channels": 0}, {"cutoff": 0.0}, {"max_z": 119}])
def test_bad_sizes(argument):
    with pytest.raises(ConfigError, match=next(iter(argument))):
        TensorNet(**SMALL | argument)


def test_unknown_head_names_the_nearest():
    with pytest.raises(UnknownHeadError, match="dipole"):
        TensorNet(**SMALL, heads=["dipol"])


def test_charge_matters_and_mirror_images_differ_only_under_so3():
    torch.manual_seed(0)
    config = SMALL | {"hidden_channels": 16}
    chiral = Atoms("CHFClO", np.random.default_rng(0).normal(size=(5, 3)) * 1.2)
    mirror = chiral.copy()
    mirror.positions[:, 0] *= -1
    for group, same in (("O(3)", True), ("SO(3)", False)):
        model = TensorNet(**config, group=group).double().eval()
        a, b = model([chiral, mirror])["energy"]
        assert (abs(a - b) < 1e-10) == same
    charged = chiral.copy()
    charged.info["charge"] = 1
    a, b = model([chiral, charged])["energy"]
    assert abs(a - b) > 1e-12


def test_heads_have_shapes_and_the_dipole_knows_the_charge():
    torch.manual_seed(0)
    model = TensorNet(**SMALL, heads=["energy", "dipole", "polarizability"]).double().eval()
    water, ion = molecule("H2O"), molecule("OH")
    ion.info["charge"] = -1
    out = model([water, ion])
    assert out["dipole"].shape == (2, 3)
    assert out["polarizability"].shape == (2, 3, 3)
    assert torch.allclose(out["polarizability"], out["polarizability"].mT)
    only = TensorNet(**SMALL, heads=["dipole"])
    assert set(only.eval()(water)) == {"dipole"}


def test_stress_only_where_lawful():
    model = TensorNet(**SMALL).eval()
    with pytest.raises(CapabilityError, match="three periodic directions"):
        model(molecule("H2O"), outputs=["energy", "stress"])
    assert "stress" not in model([molecule("H2O"), bulk("Cu")])
    virial = model(molecule("H2O"), outputs=["virial"])
    assert set(virial) == {"virial"} and virial["virial"].shape == (1, 3, 3)
    crystal = model(bulk("Cu"), outputs=["stress", "virial"])
    volume = bulk("Cu").get_volume()
    assert torch.allclose(crystal["stress"] * volume, -crystal["virial"], rtol=1e-5)


def test_supercell_has_the_same_energy_per_atom():
    torch.manual_seed(0)
    model = TensorNet(**SMALL).double().eval()
    small, large = bulk("Cu"), bulk("Cu") * (2, 1, 3)
    a, b = model(small)["energy"] / len(small), model(large)["energy"] / len(large)
    assert abs(a - b) < 1e-12


def test_coincident_atoms_are_named():
    atoms = Atoms("HOH", [[0, 0, 0], [1, 0, 0], [1, 0, 0]])
    with pytest.raises(UnsupportedInputError, match="structure 0: atoms 1 and 2 coincide"):
        TensorNet(**SMALL)(atoms)


def test_unknown_output():
    with pytest.raises(CapabilityError, match="forces"):
        TensorNet(**SMALL)(molecule("H2O"), outputs=["force"])


def test_precision_of_batch_must_match():
    batch = zoo.to_batch(molecule("H2O"), dtype=torch.float64)
    with pytest.raises(zoo.ZooError, match=r"model\.dtype"):
        TensorNet(**SMALL)(batch)


def test_energy_scale_stays_float64():
    model = TensorNet(**SMALL)
    model.set_references({8: -2000.123456789})
    value = float(model.half().float().energy_scale.reference[8])
    assert value == -2000.123456789
    assert model(molecule("H2O"))["energy"].dtype == torch.float64


def test_new_elements_start_at_the_mean_of_the_trained():
    model = TensorNet(**SMALL).eval()
    model.restrict_elements({1: 5, 8: 3})
    with pytest.raises(zoo.ZooError, match=r"C \(seen 0 times\)"):
        model(molecule("CH4"))
    model.add_elements([6])
    table = model.embedding().weight
    assert torch.allclose(table[6], table[[1, 8]].mean(0))
    model(molecule("CH4"))


def test_pairs_carried_by_a_batch_are_used_only_for_their_cutoff(monkeypatch):
    from zoo.functional import neighbor_pairs
    from zoo.models import _atomistic

    model = TensorNet(**SMALL).eval()
    batch = model.prepare(molecule("CH4"))
    index, shift = neighbor_pairs(batch.pos, model.cutoff)
    expected = model(batch)["energy"]
    calls = []
    monkeypatch.setattr(
        _atomistic, "neighbor_pairs", lambda *a: calls.append(1) or neighbor_pairs(*a)
    )
    batch.pair_index, batch.pair_shift = index, shift
    batch.pair_cutoff = torch.tensor([model.cutoff], dtype=torch.float64)
    assert torch.equal(model(batch)["energy"], expected) and not calls
    batch.pair_cutoff = torch.tensor([1.0], dtype=torch.float64)
    model(batch)
    assert calls


def test_base_class_says_what_is_missing():
    bare = AtomisticModel(cutoff=3.0, heads=["energy"], features=2, channels=2, max_z=9)
    with pytest.raises(CapabilityError, match="features"):
        bare(molecule("H2O"))
