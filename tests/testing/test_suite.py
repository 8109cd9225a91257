"""The inherited pytest class fails, skips and passes when it should."""

import unittest
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import zoo
from zoo.errors import UnknownModelError
from zoo.testing import BROKEN, AtomisticContract, Subject, plan, unsettled
from zoo.testing._honest import HonestPotential


def suite(model: Callable[[], nn.Module], group: str = "O(3)") -> AtomisticContract:
    class Contract(AtomisticContract):
        architecture = "tensornet"  # whose tolerances hold

        @classmethod
        def subject(cls, dtype: str) -> Subject:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return Subject(model(), dtype, group=group)

    return Contract()


def test_a_broken_model_fails_its_test() -> None:
    broken = next(each for each in BROKEN if each.check == "translation")
    with pytest.raises(AssertionError, match="translation .float64. failed: error"):
        suite(broken.model).test_contract("translation", "float64")
    suite(HonestPotential).test_contract("translation", "float64")


def test_what_can_not_be_measured_is_skipped() -> None:
    with pytest.raises(unittest.SkipTest, match="SO"):
        suite(HonestPotential, "SO(3)").test_contract("reflection", "float64")


def test_every_check_becomes_a_test() -> None:
    class Metafunc:
        fixturenames = ("check", "dtype")
        given: tuple[Any, ...] = ()

        def parametrize(self, names: Any, values: Any, ids: Any) -> None:
            self.given = (names, values, ids)

    metafunc = Metafunc()
    suite(HonestPotential).pytest_generate_tests(metafunc)
    names, values, ids = metafunc.given
    assert names == ("check", "dtype") and values == plan()
    assert ids[0] == "outputs-float64" and len(set(ids)) == len(ids)


def test_subclasses_share_no_models() -> None:
    class First(AtomisticContract):
        architecture = "tensornet"
        config = {"hidden_channels": 4, "num_layers": 0, "num_rbf": 4}

    class Second(First):
        config = {"hidden_channels": 6, "num_layers": 0, "num_rbf": 4}

    first, second = First.subject("float32"), Second.subject("float32")
    assert first.model.hparams["hidden_channels"] == 4  # type: ignore[index]
    assert second.model.hparams["hidden_channels"] == 6  # type: ignore[index]
    assert First.subject("float32") is first


def test_an_unknown_architecture_is_said() -> None:
    class Nobody(AtomisticContract):
        architecture = "tensornett"

    with pytest.raises(UnknownModelError, match="tensornet"):
        Nobody.subject("float64")


def test_unsettled_moves_every_parameter_of_a_copy() -> None:
    model = zoo.create("tensornet", hidden_channels=4, num_layers=1, num_rbf=4)
    before = {name: value.clone() for name, value in model.named_parameters()}
    moved = unsettled(model)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    assert all(bool((value != before[name]).any()) for name, value in moved.named_parameters())
    again = dict(unsettled(model).named_parameters())
    assert all(torch.equal(value, again[name]) for name, value in moved.named_parameters())
    assert not torch.equal(moved.energy_scale.reference, model.energy_scale.reference)  # type: ignore[union-attr,arg-type]
