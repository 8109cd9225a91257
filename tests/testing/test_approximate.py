"""Bounds of symmetries that hold approximately."""

from pathlib import Path

import pytest
from torch import nn

from zoo import _spec
from zoo.errors import ConfigError
from zoo.testing import APPROXIMATE_CAPS, CAPS, Subject, run_check, tolerance
from zoo.testing._honest import HonestPotential

LOOSE = {"rotation": {"float64": 1e-2}}


def test_only_an_approximate_model_may_declare_more_than_the_caps() -> None:
    assert tolerance("rotation", "float64", LOOSE, exact=False) == 1e-2
    with pytest.raises(ConfigError, match="cap of 1e-09"):
        tolerance("rotation", "float64", LOOSE)
    with pytest.raises(ConfigError, match=r"cap of 0\.1"):
        tolerance("rotation", "float64", {"rotation": {"float64": 0.2}}, exact=False)
    # what depends on no grid stays what it is for everyone
    with pytest.raises(ConfigError, match="permutation in float64"):
        tolerance("permutation", "float64", {"permutation": {"float64": 1e-2}}, exact=False)
    assert tolerance("rotation", "float64", {}, exact=False) == CAPS["rotation"]["float64"]
    assert all(set(bounds) == set(CAPS[name]) for name, bounds in APPROXIMATE_CAPS.items())


class Approximate(HonestPotential):
    exact = False


def test_a_model_says_so_itself() -> None:
    model: nn.Module = Approximate()
    assert run_check("rotation", Subject(model, "float64"), LOOSE).tolerance == 1e-2
    with pytest.raises(ConfigError, match="cap"):
        run_check("rotation", Subject(HonestPotential(), "float64"), LOOSE)


def test_a_spec_has_bounds_for_either() -> None:
    spec = _spec.shipped()["escn"]
    assert spec.bounds()["rotation"]["float64"] == 1e-9
    assert spec.bounds(exact=False)["rotation"]["float64"] == 1e-2
    assert set(spec.bounds(exact=False)) >= set(spec.bounds())


def test_bounds_are_checked(tmp_path: Path) -> None:
    text = "class: a.b:C\ndomain: atoms\ntitle: T\npaper: {}\nsymmetry: {group: O(3)}\n"
    path = tmp_path / "odd.yaml"
    path.write_text(text + "approximate: {rotation: {float16: 1}}\n")
    with pytest.raises(ConfigError, match=r"approximate\.rotation must map"):
        _spec.parse(path)
