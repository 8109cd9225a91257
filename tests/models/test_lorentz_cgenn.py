"""The Lorentz network for jets: its symmetries, its limits, and the inherited contract."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.testing import SampleContract

SMALL = {"hidden_channels": 2, "scalar_channels": 6, "num_layers": 2, "decoder_channels": 5}


def _model(**options: Any) -> Any:
    torch.manual_seed(0)
    model = zoo.create("lorentz_cgenn", **(SMALL | options)).double().eval()
    for module in model.modules():  # statistics that training leaves behind
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model


def _jets(*shape: int) -> Tensor:
    """Massive particles."""
    space = torch.randn(*shape, 3, dtype=torch.float64)
    energy = (space.square().sum(-1, keepdim=True) + 0.1).sqrt()
    return torch.cat([energy, space], dim=-1)


def _boost(rapidity: float, axis: int) -> Tensor:
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[0, 0] = matrix[axis, axis] = math.cosh(rapidity)
    matrix[0, axis] = matrix[axis, 0] = math.sinh(rapidity)
    return matrix


def test_it_has_the_authors_number_of_parameters() -> None:
    model = zoo.create("lorentz_cgenn-toptagging")
    assert sum(p.numel() for p in model.parameters()) == 320_594


def test_only_boosts_along_the_beams_leave_an_answer_with_beams_as_it_is() -> None:
    x = _jets(3, 5)
    free, bound = _model(), _model(beams=True)
    along, across = x @ _boost(0.8, 3), x @ _boost(0.8, 1)
    torch.testing.assert_close(free({"x": across})["logits"], free({"x": x})["logits"])
    with_beams = bound({"x": x})["logits"]
    assert not torch.allclose(bound({"x": across})["logits"], with_beams, rtol=1e-3)
    # the beams themselves are moved by boosts along them; turning about them leaves all as it is
    assert not torch.allclose(bound({"x": along})["logits"], with_beams, rtol=1e-6)
    turned = x[..., [0, 2, 1, 3]] * torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(bound({"x": turned})["logits"], with_beams)


@pytest.mark.parametrize("beams", [False, True])
def test_order_and_padding_do_not_matter(beams: bool) -> None:
    model = _model(beams=beams)
    x = _jets(4, 5)
    whole = model({"x": x})["logits"]
    torch.testing.assert_close(model({"x": x[:, torch.randperm(5)]})["logits"], whole)
    jets = [{"x": x[0]}, {"x": x[1, :3]}, {"x": x[2, :1]}]
    together = model(jets)["logits"]
    for jet, found in zip(jets, together, strict=True):
        torch.testing.assert_close(model([jet])["logits"][0], found)


def test_light_like_momenta_stay_in_bounds() -> None:
    model = _model()
    space = torch.randn(2, 4, 3, dtype=torch.float64)
    light = torch.cat([space.norm(dim=-1, keepdim=True), space], dim=-1)
    one = light[:, :1].expand(-1, 4, -1)  # all parallel: every product of two momenta vanishes
    for x in (light, one, torch.zeros_like(light)):
        x = x.clone().requires_grad_()
        out = model({"x": x})["logits"]
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert out.abs().max() < 1e3
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("beams", [False, True])
def test_derivatives(beams: bool) -> None:
    model = _model(beams=beams)
    x = _jets(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model({"x": x})["logits"], x)


def test_training_takes_one_jet_of_one_particle() -> None:
    model = _model().train()
    assert torch.isfinite(model([{"x": _jets(1)}])["logits"]).all()
    pair = model([{"x": _jets(1)}, {"x": _jets(2)}])["logits"]
    pair.sum().backward()
    assert model.layers[0].phi_x[0].weight.grad is not None


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="num_layers=0"):
        zoo.create("lorentz_cgenn", num_layers=0)
    with pytest.raises(ConfigError, match="dropout is 1"):
        zoo.create("lorentz_cgenn", dropout=1.0)
    with pytest.raises(UnsupportedInputError, match=r"\(any, 4\)"):
        _model()({"x": torch.zeros(2, 5, 3, dtype=torch.float64)})
    for lengths, words in (
        ([6, 5], r"lengths lie in 5\.\.6, but x has 5 steps"),
        ([5], r"lengths have the shape \(1,\)"),
        ([5.0, 5.0], "in torch.float32"),
    ):
        with pytest.raises(UnsupportedInputError, match=words):
            _model()(
                {
                    "x": torch.zeros(2, 5, 4, dtype=torch.float64),
                    "lengths": torch.tensor(lengths),
                }
            )


class TestLorentzCGENN(SampleContract):
    architecture = "lorentz_cgenn"
