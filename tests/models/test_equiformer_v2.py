"""EquiformerV2: the authors' numbers, and what the contract suite does not ask."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from goldens import golden, relative, structures

import zoo
from zoo.errors import CapabilityError, ConfigError, StateMismatchError
from zoo.models._spherical import head_tensors
from zoo.models.equiformer_v2 import EquiformerV2

FOLDER = Path(__file__).parent / "golden"
GOLDEN = sorted(FOLDER.glob("equiformer_v2-*.safetensors"))
SMALL = {
    "lmax": 2,
    "mmax": 1,
    "num_layers": 1,
    "hidden_channels": 6,
    "attention_channels": 5,
    "num_heads": 2,
    "alpha_channels": 4,
    "value_channels": 3,
    "feed_forward_channels": 6,
    "edge_channels": 6,
    "num_basis": 12,
    "cutoff": 4.0,
    "average_degree": 5.0,
}
GATE = {"activation": "gate", "feed_forward": "gate"}
DIRECT = {"heads": ["energy", "forces", "stress"]}
#: parameters of backbone, energy head and force head in the authors' models
PUBLISHED = {
    "equiformer_v2-31m": (27_780_992, 148_353, 3_129_345),
    "equiformer_v2-83m": (77_001_088, 181_377, 5_982_337),
    "equiformer_v2-153m": (146_520_448, 181_377, 6_900_865),
}


def create(*, seed=0, **config):
    torch.manual_seed(seed)
    return EquiformerV2(**SMALL | config).double().eval()


def turned(atoms, seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    cell = atoms.cell.array @ q.T
    result = Atoms(atoms.numbers, atoms.positions @ q.T, cell=cell, pbc=atoms.pbc)
    return result, torch.as_tensor(q)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_authors_outputs(path):
    config, weights, tensors = golden(path)
    model = zoo.convert("equiformer_v2", weights, config, source="fairchem")
    out = model(structures(tensors))
    assert out["energy"].shape == (3,) and out["forces"].shape == (17, 3)
    # the authors' frames are random; with gates nothing depends on them
    bound = 1e-10 if path.stem.endswith("gate") else 1e-6
    assert relative(out["energy"], tensors["output/energy"]) < bound
    assert relative(out["forces"], tensors["output/forces"]) < bound


def test_there_are_goldens_of_every_option():
    assert [path.stem.removeprefix("equiformer_v2-") for path in GOLDEN] == (
        ["0", "1", "gate", "grid", "s2", "sep"]
    )


def test_convert_knows_heads_by_their_task_and_energies_of_elements():
    config, weights, tensors = golden(FOLDER / "equiformer_v2-gate.safetensors")
    names = {"energy_head.": "output_heads.energy.", "force_head.": "output_heads.forces."}
    renamed = {
        next((v + k.removeprefix(p) for p, v in names.items() if k.startswith(p)), k): value
        for k, value in weights.items()
    }
    renamed["backbone.energy_lin_ref"] = torch.arange(90.0, dtype=torch.float64)
    config |= {"use_energy_lin_ref": True}
    model = zoo.convert("equiformer_v2", renamed, config, source="fairchem")
    sums = torch.zeros(3, dtype=torch.float64)
    sums.index_add_(0, tensors["input/batch"], tensors["input/z"].double())
    out = model(structures(tensors))
    assert relative(out["energy"], tensors["output/energy"] + sums) < 1e-10


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"distance_function": "sigmoid"}, "distance_function"),
        ({"use_s2_act_attn": True}, "use_s2_act_attn"),
        ({"lmax_list": [3, 2]}, "several resolutions"),
        (
            {"max_neighbors": 20, "enforce_max_neighbors_strictly": False},
            "enforce_max_neighbors_strictly: true",
        ),
    ],
)
def test_convert_refuses_options_without_counterpart(option, error):
    config, weights, _ = golden(FOLDER / "equiformer_v2-gate.safetensors")
    with pytest.raises(CapabilityError, match=error):
        zoo.convert("equiformer_v2", weights, config | option, source="fairchem")


def test_convert_refuses_other_parameters():
    config, weights, _ = golden(FOLDER / "equiformer_v2-gate.safetensors")
    with pytest.raises(StateMismatchError, match="something"):
        zoo.convert(
            "equiformer_v2", weights | {"something": torch.ones(1)}, config, source="fairchem"
        )
    del weights["backbone.norm.affine_weight"]
    with pytest.raises(StateMismatchError):
        zoo.convert("equiformer_v2", weights, config, source="fairchem")


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_sizes(name):
    model = zoo.create(name)
    heads = [parameters(model.heads[kind]) for kind in ("energy", "forces")]
    assert (parameters(model) - sum(heads), *heads) == PUBLISHED[name]
    assert model.envelope is None and model.max_neighbors == 20 and not model.conservative


def test_the_small_preset_is_small_exact_and_conservative():
    model = zoo.create("equiformer_v2-s")
    assert parameters(model) < 1.2e6 and model.exact and model.conservative
    assert model.max_neighbors is None and model.envelope == "polynomial"


def test_rotations_hold_better_on_finer_grids():
    """Grids are the only thing that breaks them; the error falls by orders of magnitude."""
    ethanol, errors = molecule("CH3CH2OH"), []
    other, matrix = turned(ethanol, 0)
    for resolution in (6, 8, 12):
        model = create(grid_resolution=resolution, num_layers=2, hidden_channels=16)
        a, b = model(ethanol)["forces"], model(other)["forces"]
        errors.append(relative(b, a @ matrix.T))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[2] < 1e-4


def test_direct_heads_turn_with_the_structure():
    model = create(**GATE, **DIRECT)
    crystal = bulk("NaCl", "rocksalt", 5.6)
    crystal.rattle(0.1, seed=0)
    other, matrix = turned(crystal, 1)
    a, b = model(crystal), model(other)
    assert relative(b["forces"], a["forces"] @ matrix.T) < 1e-9
    assert relative(b["stress"], matrix @ a["stress"] @ matrix.T) < 1e-9
    assert model.direct == ("forces", "stress") and not model.conservative
    # degree 0 and degree 2: neither part is missing
    trace = a["stress"].diagonal(dim1=1, dim2=2).mean(-1)
    assert abs(trace) > 1e-6 and (a["stress"] - trace * torch.eye(3)).abs().max() > 1e-6


def test_tensors_of_degree_two_are_the_matrices():
    from e3nn import o3

    from zoo.functional import from_matrix

    r = torch.randn(3, dtype=torch.float64)
    harmonics = o3.spherical_harmonics([0, 1, 2], r, normalize=False, normalization="component")
    outer = torch.outer(r, r) - r.dot(r) / 3 * torch.eye(3, dtype=torch.float64)
    expected = from_matrix(outer[:, :, None])[4:]
    found = head_tensors(harmonics[None, :, None])[:, 0]
    assert torch.allclose(found / found.norm(), expected / expected.norm())


def test_published_form_jumps_at_the_cutoff_and_an_envelope_does_not():
    def energies(model):
        pair = [Atoms("OHH", [[0, 0, 0], [0, 0, 0.97], [x, 0.1, 0]]) for x in (3.9, 4.1)]
        edge = float(np.sqrt(model.cutoff**2 - 0.1**2))
        for atoms, step in zip(pair, (-1e-7, 1e-7), strict=True):
            atoms.positions[2, 0] = edge + step
        low, high = model(pair)["energy"]
        return abs(float(high - low))

    assert energies(create(**GATE, envelope=None)) > 1e-6
    assert energies(create(**GATE)) < 1e-12


def test_only_the_nearest_neighbours_count_where_capped():
    cluster = bulk("Cu") * (2, 2, 2)
    free, capped = create(**GATE), create(**GATE, max_neighbors=4)
    assert abs(float(free(cluster)["energy"] - capped(cluster)["energy"])) > 1e-8
    water = molecule("H2O")
    assert torch.equal(free(water)["energy"], capped(water)["energy"])


def test_frames_are_the_same_in_every_call():
    model = create()
    state = torch.get_rng_state()
    first, second = model(molecule("CH4")), model(molecule("CH4"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("option", ["alpha_dropout", "drop_path", "dropout"])
def test_dropout_acts_in_training_alone(option):
    model = create(**GATE, **{option: 0.5})
    water = molecule("H2O")
    plain = create(**GATE)(water)["energy"]
    assert torch.equal(model(water)["energy"], plain)
    torch.manual_seed(0)
    draws = {float(model.train()(water)["energy"].detach()) for _ in range(8)}
    assert len(draws) > 1


@pytest.mark.parametrize(
    "option",
    [
        {"norm": "layer_norm"},
        {"norm": "rms_norm_sh"},
        {"activation": "s2", "feed_forward": "s2"},
        {"activation": "gate", "feed_forward": "separable_s2"},
        {"feed_forward": "grid_mlp"},
        {"elements": "shared"},
        {"elements": "none"},
        {"share_radial": True},
        {"renormalize": False},
        {"init": "normal"},
        {"mmax": 2},
        {"mmax": 0},
        {"grid_resolution": None},
    ],
    ids=str,
)
def test_every_option_changes_the_energy(option):
    plain = create(grid_resolution=8)(molecule("H2O"))["energy"]
    found = create(**{"grid_resolution": 8} | option)(molecule("H2O"))
    assert torch.isfinite(found["forces"]).all()
    assert abs(float(found["energy"] - plain)) > 1e-12


@pytest.mark.parametrize("kind", ["separable_grid_mlp", "grid_mlp", "separable_s2", "s2", "gate"])
def test_energies_skip_only_what_they_do_not_need(kind):
    network = create(feed_forward=kind, grid_resolution=8).heads["energy"].network
    x = torch.randn(4, 9, 6, dtype=torch.float64)
    assert torch.allclose(network.scalar(x), network(x)[:, 0], atol=1e-12)


@pytest.mark.parametrize("kind", ["gate", "separable_s2"])
@pytest.mark.parametrize("mmax", [0, 1, 2])
def test_forces_skip_only_what_they_do_not_need(kind, mmax):
    model = create(activation=kind, grid_resolution=8, mmax=mmax, heads=["energy", "forces"])
    seen = []
    model(molecule("CH4"), observe=lambda graph, x: seen.append(x.state))
    attention = model.heads["forces"].attention
    whole = attention(seen[0].nodes, seen[0].edges)
    for degree in range(3):
        part = attention.degree(seen[0].nodes, seen[0].edges, degree)
        assert torch.allclose(part, whole[:, degree**2 : (degree + 1) ** 2], atol=1e-12)


@pytest.mark.parametrize(
    "argument",
    [
        {"lmax": 0},
        {"mmax": 3},
        {"num_heads": 0},
        {"max_z": 119},
        {"envelope": "cosine"},
        {"init": "zeros"},
        {"norm": "batch"},
        {"activation": "relu"},
        {"feed_forward": "mlp"},
        {"elements": "some"},
        {"grid_resolution": 4},
        {"max_neighbors": 0},
    ],
    ids=str,
)
def test_bad_arguments_are_named(argument):
    value = next(iter(argument.values()))
    with pytest.raises(ConfigError, match=str(value)):
        EquiformerV2(**SMALL | argument)(molecule("H2O"))


def test_training_steps_reach_every_parameter_but_the_declared_ones():
    model = create(**GATE).train()
    out = model(molecule("CH4"), outputs=["energy", "forces"])
    (out["energy"].sum() + out["forces"].square().sum()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    # an energy has no use for the gates of the degrees above 0
    assert idle == [f"heads.energy.network.scalars.{name}" for name in ("weight", "bias")]
    assert model.idle_parameters
