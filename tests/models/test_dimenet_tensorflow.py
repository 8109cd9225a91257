"""The authors' weights of DimeNet and DimeNet++, in files of their format."""

import re

import numpy as np
import pytest
import torch
from ase import units
from ase.build import molecule

import zoo
from tests.support.tensor_bundle import write
from zoo.errors import CapabilityError, ConfigError, StateMismatchError
from zoo.models._dimenet_tensorflow import ATOMS

#: entries of the authors' configuration files, in small
SHARED = {
    "emb_size": 8,
    "num_blocks": 2,
    "num_spherical": 3,
    "num_radial": 4,
    "cutoff": 4.0,
    "num_before_skip": 1,
    "num_after_skip": 2,
    "num_dense_output": 2,
    "output_init": "zeros",
    "learning_rate": 0.001,
}
CONFIGS = {
    "dimenet": {"model_name": "dimenet", **SHARED, "num_bilinear": 3},
    "dimenet++": {
        "model_name": "dimenet++",
        **SHARED,
        "out_emb_size": 6,
        "int_emb_size": 5,
        "basis_emb_size": 2,
        "extensive": True,
    },
}


def dense(name, inputs, size, bias=True):
    """Shapes of a layer of theirs."""
    return {f"{name}/kernel": (inputs, size)} | ({f"{name}/bias": (size,)} if bias else {})


def interaction(block, config):
    """Shapes of an interaction of theirs."""
    emb, radial = config["emb_size"], config["num_radial"]
    basis, found = config["num_spherical"] * radial, {}
    for name in ("dense_ji", "dense_kj", "final_before_skip"):
        found |= dense(f"{block}/{name}", emb, emb)
    for place in ("before_skip/0", "after_skip/0", "after_skip/1"):
        for number in (1, 2):
            found |= dense(f"{block}/layers_{place}/dense_{number}", emb, emb)
    if "num_bilinear" in config:
        found |= dense(f"{block}/dense_rbf", radial, emb, bias=False)
        found |= dense(f"{block}/dense_sbf", basis, config["num_bilinear"], bias=False)
        return found | {f"{block}/bilinear": (emb, config["num_bilinear"], emb)}
    small, inner = config["basis_emb_size"], config["int_emb_size"]
    for name, size, out in (("rbf", radial, emb), ("sbf", basis, inner)):
        found |= dense(f"{block}/dense_{name}1", size, small, bias=False)
        found |= dense(f"{block}/dense_{name}2", small, out, bias=False)
    found |= dense(f"{block}/down_projection", emb, inner, bias=False)
    return found | dense(f"{block}/up_projection", inner, emb, bias=False)


def output(block, outputs, config):
    """Shapes of an output block of theirs."""
    emb = config["emb_size"]
    width = config.get("out_emb_size", emb)
    found = dense(f"{block}/dense_rbf", config["num_radial"], emb, bias=False)
    if width != emb:
        found |= dense(f"{block}/up_projection", emb, width, bias=False)
    for j in range(config["num_dense_output"]):
        found |= dense(f"{block}/dense_layers/{j}", width, width)
    return found | dense(f"{block}/dense_final", width, outputs, bias=False)


def variables(outputs, config):
    """Names and shapes as the authors' modules have them, filled at random."""
    generator = np.random.default_rng(0)
    emb, radial = config["emb_size"], config["num_radial"]
    shapes = {"rbf_layer/frequencies": (radial,), "emb_block/embeddings": (95, emb)}
    shapes |= dense("emb_block/dense_rbf", radial, emb) | dense("emb_block/dense", 3 * emb, emb)
    for k in range(config["num_blocks"] + 1):
        shapes |= output(f"output_blocks/{k}", outputs, config)
    for k in range(config["num_blocks"]):
        shapes |= interaction(f"int_blocks/{k}", config)
    return {n: generator.normal(size=s, scale=0.3).astype("f4") for n, s in shapes.items()}


def test_a_file_of_their_format_gives_the_model_that_it_describes(tmp_path):
    config = CONFIGS["dimenet++"]
    weights = variables(1, config)
    write(tmp_path / "ckpt", weights)
    model = zoo.convert("dimenet++", tmp_path / "ckpt", config, source="tensorflow")
    state = model.state_dict()
    assert model.outputs[0] == "energy"
    assert not model.training
    kernel = weights["int_blocks/1/layers_after_skip/0/dense_2/kernel"]
    ours = state["interactions.1.after.0.layers.1.0.weight"]
    assert np.array_equal(ours.numpy(), kernel.T)
    fresh = zoo.create("dimenetpp", **{k: v for k, v in model.hparams.items()})
    assert sum(v.size for v in weights.values()) == sum(p.numel() for p in fresh.parameters())


@pytest.mark.parametrize("name", ["dimenet", "dimenet++"])
def test_each_target_has_a_head_in_our_units(name):
    config = CONFIGS[name]
    weights = {k: torch.from_numpy(v) for k, v in variables(3, config).items()}
    several = {**config, "targets": ["mu", "U0", "Cv"]}
    model = zoo.convert(name, weights, several, source="tensorflow").double()
    assert model.outputs == ("dipole_norm", "u0", "cv")
    water = molecule("H2O")
    out = {k: float(v) for k, v in model(water).items()}
    for row, (ours, unit, atoms) in enumerate(
        (
            ("dipole_norm", units.Debye, 0.0),
            ("u0", 1.0, 2 * ATOMS["u0"][1] + ATOMS["u0"][8]),
            ("cv", units.kcal / units.mol / 1000, 0.0),
        )
    ):
        finals = {k for k in weights if k.endswith("dense_final/kernel")}
        single = {k: v[:, row : row + 1] if k in finals else v for k, v in weights.items()}
        plain = zoo.convert(name, single, config, source="tensorflow").double()
        raw = float(plain(water, outputs=["energy"])["energy"])
        assert out[ours] == pytest.approx(raw * unit + atoms, rel=1e-12)


def test_means_over_atoms():
    config = {**CONFIGS["dimenet++"], "targets": ["homo"]}
    weights = {k: torch.from_numpy(v) for k, v in variables(1, config).items()}
    add, mean = (
        zoo.convert("dimenet++", weights, {**config, "extensive": e}, source="tensorflow")
        for e in (True, False)
    )
    water = molecule("H2O")
    assert float(add(water)["homo"]) == pytest.approx(3 * float(mean(water)["homo"]), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"targets": ["U00"]}, ConfigError, "no 'U00'; known: Cv, G, H"),
        ({"targets": ["U", "H"]}, StateMismatchError, r"\[1\] outputs, but targets names 2"),
        ({"emb_sise": 8}, ConfigError, "no 'emb_sise'"),
        ({"extensive": False}, CapabilityError, "name the targets"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, words):
    config = CONFIGS["dimenet++"]
    weights = {k: torch.from_numpy(v) for k, v in variables(1, config).items()}
    with pytest.raises(error, match=words):
        zoo.convert("dimenet++", weights, {**config, **change}, source="tensorflow")


def test_variables_of_the_optimizer_are_passed_over_and_others_refused():
    config = CONFIGS["dimenet"]
    weights = {k: torch.from_numpy(v) for k, v in variables(1, config).items()}
    slot = next(iter(weights)) + "/.OPTIMIZER_SLOT/optimizer/m"
    zoo.convert("dimenet", {**weights, slot: torch.ones(1)}, config, source="tensorflow")
    with pytest.raises(StateMismatchError, match=re.escape("authors' DimeNet: foo/kernel")):
        zoo.convert(
            "dimenet", {**weights, "foo/kernel": torch.ones(1)}, config, source="tensorflow"
        )
