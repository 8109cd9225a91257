"""GLGENN: the authors' numbers of parameters, symmetries, and the inherited contract."""

import pytest
import torch

import zoo
from zoo.errors import CapabilityError, ConfigError
from zoo.layers.clifford import CEMLP, GeometricProduct, MVLayerNorm, MVLinear, QuaternionMLP
from zoo.testing import SampleContract


@pytest.mark.parametrize(
    ("preset", "count", "algebraic"),
    [("glgenn-hull", 24_129, 23_040), ("glgenn-o5", 149_189, 608)],
)
def test_the_authors_networks_have_as_many_parameters(
    preset: str, count: int, algebraic: int
) -> None:
    model = zoo.create(preset)
    assert sum(p.numel() for p in model.parameters()) == count
    assert sum(p.numel() for p in model.layers.parameters()) == algebraic


def test_messages_are_made_of_its_own_layers() -> None:
    light, full = zoo.create("glgenn-nbody"), zoo.create("cgenn-nbody")
    kinds = {type(m) for m in light.modules()}
    assert QuaternionMLP in kinds and not kinds & {CEMLP, GeometricProduct, MVLinear, MVLayerNorm}
    count, whole = (sum(p.numel() for p in m.parameters()) for m in (light, full))
    assert count == 97_552 < whole


def test_hparams_are_those_of_glgenn() -> None:
    model = zoo.create("glgenn", task="regression", dimension=3)
    assert model.architecture == "glgenn"
    assert model.hparams["task"] == "regression" and model.hparams["mlp_channels"] is None
    assert model.mlp_channels == 380 and model({"x": torch.randn(4, 2, 3)})["prediction"].ndim == 2


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="task"):
        zoo.create("glgenn", task="o3")
    with pytest.raises(ConfigError, match="GLGENN for hull: .*num_layers=0"):
        zoo.create("glgenn", num_layers=0)
    with pytest.raises(ConfigError, match="GLGENN: dimension=4"):
        zoo.create("glgenn", task="nbody", dimension=4)
    model = zoo.create("glgenn", task="nbody", hidden_channels=2, num_layers=1)
    with pytest.raises(CapabilityError, match="GLGENN with task='nbody' has no head"):
        model.replace_head(2)


class TestGLGENN(SampleContract):
    architecture = "glgenn"


class TestGLGENNOnInvariants(SampleContract):
    architecture = "glgenn"
    config = {"task": "regression", "hidden_channels": 3, "dimension": 3, "mlp_channels": 7}


class TestGLGENNOnParticles(SampleContract):
    architecture = "glgenn"
    config = {"task": "nbody", "hidden_channels": 4, "num_layers": 2}
