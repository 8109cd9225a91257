"""Which parameters fine-tuning leaves alone."""

from collections.abc import Callable
from typing import Any

import pytest

from zoo.errors import ConfigError
from zoo.training.freeze import apply_method, check_method


def trained(model: Any) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_full_and_head(tiny: Callable[[], Any]) -> None:
    model = tiny()
    everything = {name for name, _ in model.named_parameters()}
    assert apply_method(model, "full")["trained_parameters"] == sum(
        p.numel() for p in model.parameters()
    )
    assert trained(model) == everything
    summary = apply_method(model, "head")
    assert trained(model) == set(model.head_parameters()) != everything
    assert 0 < summary["trained_parameters"] < summary["parameters"]


def test_freeze_counts_from_both_ends(tiny: Callable[[], Any]) -> None:
    model = tiny()
    blocks = len(model.blocks())
    for positive in range(1, blocks):
        forward, backward = tiny(), tiny()
        apply_method(forward, f"freeze:{positive}")
        assert apply_method(backward, f"freeze:{positive - blocks}")["frozen_blocks"] == positive
        assert trained(forward) == trained(backward)
        flags = [[p.requires_grad for p in b.parameters()] for b in forward.blocks()]
        assert not any(flag for block in flags[:positive] for flag in block)
        assert all(flag for block in flags[positive:] for flag in block)
    apply_method(model, "freeze:-1")
    assert trained(model) == set(model.head_parameters())


@pytest.mark.parametrize("number", [0, 9, -9])
def test_out_of_range_is_refused(tiny: Callable[[], Any], number: int) -> None:
    with pytest.raises(ConfigError, match="blocks, so N must be 1 to"):
        apply_method(tiny(), f"freeze:{number}")


@pytest.mark.parametrize("method", ["ful", "freeze", "freeze:one", "lora"])
def test_unknown_methods_are_refused(method: str) -> None:
    with pytest.raises(ConfigError, match="full|freeze"):
        check_method(method)
