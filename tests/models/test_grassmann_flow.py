"""Grassmann flow: causality, padding, the attention in its place, refusals."""

import pytest
import torch

import zoo
from zoo.errors import ConfigError, UnsupportedInputError
from zoo.models.grassmann_flow import GrassmannFlow


def flow(**options: object) -> GrassmannFlow:
    torch.manual_seed(0)
    config = {"vocab_size": 7, "out_channels": 7, "hidden_channels": 16, "reduced_channels": 4}
    model = zoo.create("grassmann_flow", **{**config, "num_layers": 2, "max_length": 32, **options})
    assert isinstance(model, GrassmannFlow)
    return model.double().eval()


def tokens(count: int, length: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 7, (count, length), generator=generator)


@pytest.mark.parametrize("mixer", ["grassmann", "attention"])
def test_language_models_are_strictly_causal(mixer: str) -> None:
    model = flow(task="language_model", mixer=mixer)
    x = tokens(2, 24)
    logits = model({"x": x})["logits"]
    assert logits.shape == (2, 24, 7)
    for t in (1, 5, 16, 23):
        changed = x.clone()
        changed[:, t:] = (changed[:, t:] + 1) % 7
        other = model({"x": changed})["logits"]
        assert torch.equal(other[:, :t], logits[:, :t])
        assert not torch.allclose(other[:, t], logits[:, t])
        short = model({"x": x[:, :t]})["logits"]
        assert torch.allclose(short, logits[:, :t], atol=1e-12)


def test_padding_does_not_matter() -> None:
    model = flow()
    x = tokens(1, 9)
    alone = model({"x": x})["logits"]
    padded = torch.cat([x, torch.zeros(1, 5, dtype=torch.int64)], dim=1)
    batch = {"x": torch.cat([padded, tokens(1, 14, 1)]), "lengths": torch.tensor([9, 14])}
    assert torch.allclose(model(batch)["logits"][:1], alone, atol=1e-12)


def test_a_second_derivative_is_finite() -> None:
    model = flow(vocab_size=None, in_channels=3)
    x = torch.ones(1, 6, 3, dtype=torch.float64, requires_grad=True)  # parallel: no planes
    (grad,) = torch.autograd.grad(model({"x": x})["logits"].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.square().sum(), x)
    assert torch.isfinite(grad).all() and torch.isfinite(second).all()


def test_the_counterpart_has_as_many_parameters() -> None:
    sizes = [
        sum(p.numel() for p in zoo.create(name).parameters())
        for name in ("grassmann_flow-s", "grassmann_flow-s-attention")
    ]
    assert abs(sizes[0] / sizes[1] - 1) < 0.01


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="vocab_size for sequences of tokens"):
        flow(in_channels=3)
    with pytest.raises(ConfigError, match="5 heads"):
        flow(mixer="attention", heads=5)
    with pytest.raises(UnsupportedInputError, match="33 steps"):
        flow()({"x": tokens(1, 33)})
    with pytest.raises(UnsupportedInputError, match=r"0\.\.6"):
        flow()({"x": tokens(1, 9) + 1})
