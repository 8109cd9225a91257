"""What models under test of all domains share: a copy in one precision, randomness, comparison."""

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import ConfigError

DTYPES: Mapping[str, torch.dtype] = {"float64": torch.float64, "float32": torch.float32}
_ZERO = 1e-12


class BaseSubject(ABC):
    """A copy of a model in one precision, called on raw inputs.

    Args:
        model: never changed.
        dtype: "float64" or "float32".
        seed: of the random inputs.

    Attributes:
        checks: what is measured, by name.
        group: the symmetry group that the model is held to.

    Raises:
        ConfigError: for an unknown precision.
    """

    checks: Mapping[str, Callable[[Any], dict[str, Any]]]
    group: str

    def __init__(self, model: nn.Module, dtype: str, *, seed: int) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"checks run in {' or '.join(DTYPES)}, not in {dtype!r}")
        self.original = model
        self.dtype = dtype
        self.seed = seed
        self.model = copy.deepcopy(model).to(DTYPES[dtype]).eval()

    @abstractmethod
    def __call__(self, inputs: Sequence[Any], *outputs: str) -> dict[str, Tensor]:
        """The outputs of a batch, detached; `outputs` are a hint that models may ignore."""

    @abstractmethod
    def rebuilt(self, model: nn.Module) -> Self:
        """The same tests of another model."""

    @property
    @abstractmethod
    def groups(self) -> list[list[Any]]:
        """Inputs to measure with; each list fits into one batch."""

    @property
    @abstractmethod
    def companies(self) -> list[list[Any]]:
        """Batches whose members must not see each other."""

    @abstractmethod
    def law_known(self, name: str) -> bool:
        """Whether it is known how an output transforms."""

    @abstractmethod
    def precisions(self, name: str) -> set[torch.dtype]:
        """The precisions that an output may have."""

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision as torch knows it."""
        return DTYPES[self.dtype]

    def rng(self, name: str) -> np.random.Generator:
        """Randomness of one check: the same in every run, different between checks."""
        return np.random.default_rng([self.seed, *name.encode()])

    @property
    def exact(self) -> bool:
        """Whether the model's symmetry is exact; false only if it says so itself."""
        return bool(getattr(self.model, "exact", True))

    @property
    def device(self) -> torch.device:
        """Where the model's tensors are."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    def accepts(self, argument: str) -> bool:
        """Whether the model can be called with this keyword."""
        return argument in inspect.signature(self.model.forward).parameters

    @cached_property
    def references(self) -> list[dict[str, Tensor]]:
        """The outputs of each of `groups`."""
        return [self(group) for group in self.groups]

    @cached_property
    def scales(self) -> dict[str, float]:
        """Size of each output: what errors are divided by."""
        sizes: dict[str, float] = {}
        for found in self.references:
            for name, value in found.items():
                if value.numel():
                    sizes[name] = max(sizes.get(name, 0.0), float(value.abs().max()))
        return sizes

    def compare(
        self, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Largest difference of each output relative to its scale; infinite if not finite."""
        errors: dict[str, float] = {}
        for name in expected:
            if not self.law_known(name) or name not in found:
                continue
            if expected[name].shape != found[name].shape:
                errors[name] = float("inf")
                continue
            difference = (expected[name].double() - found[name].double()).abs()
            if not bool(torch.isfinite(difference).all()):
                errors[name] = float("inf")
            elif difference.numel():
                scale = max(self.scales.get(name, 1.0), _ZERO)
                errors[name] = float(difference.max()) / scale
        return errors


def worst(errors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The largest error of each output over several measurements."""
    found: dict[str, float] = {}
    for each in errors:
        for name, value in each.items():
            found[name] = max(found.get(name, 0.0), value)
    return found
