"""The contract as an inherited pytest class: a new architecture gives a configuration.

    class TestMine(AtomisticContract):  # outside atoms: SampleContract
        architecture = "mine"
        config = {"hidden_channels": 8}

pytest is not imported here: it finds the class, and the hook of the class names its tests.
"""

import copy
import unittest
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from zoo import registry
from zoo.testing._base import BaseSubject
from zoo.testing._sample_subject import SampleSubject
from zoo.testing.checks import domain_of, plan, run_check, subject_of

#: reference energies (eV) of the size of DFT total energies; precision must survive them
REFERENCES = {1: -13.6, 6: -1029.0, 7: -1484.9, 8: -2042.6, 9: -2713.5}


def unsettled(model: nn.Module, *, noise: float = 0.05, seed: int = 0) -> nn.Module:
    """A copy with noise on every parameter and, where the model has them, reference energies.

    Zeros of an initialisation (biases, gates, last layers) would hide what multiplies them.

    Args:
        model: left as it is.
        noise: standard deviation.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    result = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in result.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise * draw.to(parameter))
            manifold = getattr(parameter, "manifold", None)
            if manifold is not None:  # geoopt's: noise leads off it
                parameter.copy_(manifold.projx(parameter))
    set_references = getattr(result, "set_references", None)
    if set_references is not None:
        set_references(REFERENCES)
    if domain_of(result) != "atoms":
        _warm(result, seed)
    return result


def _warm(model: nn.Module, seed: int) -> None:
    """One training step's forward pass, so that running statistics are those of data."""
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    subject = subject_of(model, dtype, seed=seed)
    assert isinstance(subject, SampleSubject)
    training = model.training
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        subject.evaluate(subject.batch(subject.groups[0]), model.train())
    model.train(training)


class Contract:
    """Every check in every precision, one test each.

    Attributes:
        architecture: name in the registry (an architecture, alias or preset).
        config: constructor arguments of a small model; the spec's `test_config` if empty.
        noise: standard deviation of what is added to the initial parameters.
        seed: of the weights and inputs.
    """

    architecture: ClassVar[str]
    config: ClassVar[Mapping[str, Any]] = {}
    noise: ClassVar[float] = 0.05
    seed: ClassVar[int] = 0
    #: which table of checks
    domain: ClassVar[str]
    _subjects: ClassVar[dict[str, BaseSubject]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._subjects = {}  # built once for all tests of the class

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Names one test for each check and precision."""
        if {"check", "dtype"} <= set(metafunc.fixturenames):
            pairs = plan(domain=self.domain)
            metafunc.parametrize(("check", "dtype"), pairs, ids=["-".join(pair) for pair in pairs])

    @classmethod
    def model(cls) -> nn.Module:
        """A fresh model with noise on its parameters."""
        spec, _ = registry.resolve(cls.architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(cls.seed)
            config = cls.config or spec.test_config
            model = registry.create(cls.architecture, **config)
        return unsettled(model, noise=cls.noise, seed=cls.seed)

    @classmethod
    def subject(cls, dtype: str) -> BaseSubject:
        """The model under test in one precision."""
        if dtype not in cls._subjects:
            cls._subjects[dtype] = subject_of(cls.model(), dtype, seed=cls.seed)
        return cls._subjects[dtype]

    def test_contract(self, check: str, dtype: str) -> None:
        """The check passes; skipped if the model has nothing of the kind."""
        spec, _ = registry.resolve(self.architecture)
        subject = self.subject(dtype)
        result = run_check(check, subject, spec.bounds(exact=subject.exact))
        if result.skipped:
            raise unittest.SkipTest(result.reason)
        if not result.passed:
            raise AssertionError(result.describe())


class AtomisticContract(Contract):
    """The contract of a model on atoms; see `Contract`."""

    domain = "atoms"


class SampleContract(Contract):
    """The contract of a model on anything but atoms; see `Contract`."""

    domain = "samples"
