"""Which parameters fine-tuning leaves alone."""

from collections.abc import Callable
from typing import Any

import pytest

from zoo.errors import ConfigError
from zoo.training.freeze import apply_method, check_method
from zoo.training.methods import parse


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


@pytest.mark.parametrize("method", ["ful", "freeze", "freeze:", "lora", "full:1", "heads"])
def test_unknown_methods_are_refused(method: str) -> None:
    with pytest.raises(ConfigError, match="full|freeze|head"):
        check_method(method)


def test_names_are_frozen_by_pattern(tiny: Callable[[], Any]) -> None:
    model = tiny()
    everything = {name for name, _ in model.named_parameters()}
    apply_method(model, "freeze:layers.*,*.bias")
    frozen = {n for n in everything if n.startswith("layers.") or n.endswith(".bias")}
    assert trained(model) == everything - frozen
    assert apply_method(model, "full", freeze=["readout*"])["frozen_by_name"] == 4
    assert trained(model) == {n for n in everything if not n.startswith("readout")}
    apply_method(model, "freeze:1", freeze=["heads.*"])
    kept = ("tensor_embedding.", "heads.")
    assert trained(model) == {n for n in everything if not n.startswith(kept)}


def test_patterns_without_a_match_are_refused(tiny: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match=r"'layer.\*' matches no.*did you mean 'layers\.\*'"):
        apply_method(tiny(), "freeze:layer.*")
    with pytest.raises(ConfigError, match="'readout' matches no parameter.*'readout"):
        apply_method(tiny(), "full", freeze=["readout"])
    with pytest.raises(ConfigError, match="'one' matches no parameter"):
        apply_method(tiny(), "freeze:one")
    with pytest.raises(ConfigError, match="nothing is left to train"):
        apply_method(tiny(), "full", freeze=["*"])
    with pytest.raises(ConfigError, match="give a number of blocks"):
        check_method("freeze:a.*,,b.*")


def test_other_heads_are_frozen(tiny: Callable[[], Any]) -> None:
    model = tiny()
    model.add_head("pbe")
    apply_method(model, "full", heads={"pbe"})
    heads = {name for name in trained(model) if name.startswith("heads.")}
    assert heads and all(name.startswith("heads.energy/pbe.") for name in heads)
    apply_method(model, "head", heads={"pbe"})
    assert trained(model) == heads


def test_methods_are_read() -> None:
    replay = parse("replay:frac=0.2,frames=50")
    assert (replay.kind, replay.fraction, replay.frames) == ("replay", 0.2, 50)
    assert parse("replay").fraction == 0.3 and parse("replay").frames == 500
    ewc = parse("ewc:lambda=1e3")
    assert (ewc.kind, ewc.strength, ewc.frames) == ("ewc", 1000.0, 200)
    assert parse("freeze:-2").blocks == -2
    assert parse("freeze:a.*,b").patterns == ("a.*", "b")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("replay:fraction=0.3", "did you mean 'frac'"),
        ("replay:frac=1", "between 0 and 1"),
        ("replay:frac=x", "must be a number"),
        ("replay:frames=0", "at least 1"),
        ("ewc:lambda=-1", "must be positive"),
        ("ewc:lambda=nan", "must be positive"),
        ("ewc:1", "no option '1'"),
        ("rplay", "did you mean 'replay'"),
    ],
)
def test_wrong_options_of_methods_are_refused(method: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(method)
