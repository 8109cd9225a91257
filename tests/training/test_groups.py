"""Layer-wise learning rates."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from zoo.training.fit import fit
from zoo.training.groups import parameter_groups
from zoo.training.recipe import OptimizerSection, Recipe


def test_without_layers_the_groups_are_decayed_and_not(tiny: Callable[[], Any]) -> None:
    model = tiny()
    groups = parameter_groups(model, OptimizerSection(weight_decay=0.1))
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [all(p.ndim > 1 for p in group["params"]) for group in groups] == [True, False]
    assert not any("lr_scale" in group for group in groups)


def test_each_block_learns_at_its_rate(tiny: Callable[[], Any]) -> None:
    model = tiny()
    model.tensor_embedding.norm.requires_grad_(False)
    groups = parameter_groups(model, OptimizerSection(lr=2.0, layer_decay=0.5))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    blocks = model.blocks()
    for depth, block in enumerate(reversed(blocks)):
        for parameter in block.parameters():
            if parameter.requires_grad:
                assert rates[id(parameter)] == 2.0 * 0.5**depth
            else:
                assert id(parameter) not in rates
    assert len(rates) == sum(p.requires_grad for p in model.parameters())
    assert {group["lr_scale"] for group in groups} == {0.5**k for k in range(len(blocks))}


def test_a_step_moves_blocks_by_their_rates(
    tiny: Callable[[], Any], recipe: Callable[..., Recipe], dataset: Any, tmp_path: Any
) -> None:
    """Adam's first step is the rate itself, whatever the gradient."""
    settings = recipe(
        optimizer={"lr": 1e-3, "layer_decay": 0.1, "name": "adam"},
        schedule={"kind": "constant"},
        ema=None,
        trainer={"max_epochs": 1, "batch_size": 100, "precision": "64-true", "clip": None},
    )
    model, before = tiny().double(), tiny().double()
    train, val = dataset.split("train"), dataset.split("val")
    fit(model, settings, train, val, tmp_path, progress=lambda line: None)
    moved = [
        max(float((p - q).detach().abs().max()) for p, q in zip(a, b, strict=True))
        for a, b in (
            (list(new.parameters()), list(old.parameters()))
            for new, old in zip(model.blocks(), before.blocks(), strict=True)
        )
    ]
    expected = [1e-3 * 0.1**k for k in reversed(range(len(moved)))]
    torch.testing.assert_close(torch.tensor(moved), torch.tensor(expected), rtol=1e-3, atol=0)


@pytest.mark.parametrize("wrong", [0.0, 1.5, -0.5])
def test_impossible_decays_are_refused(recipe: Callable[..., Recipe], wrong: float) -> None:
    from zoo.errors import RecipeError

    with pytest.raises(RecipeError, match="layer_decay"):
        recipe(optimizer={"layer_decay": wrong})
