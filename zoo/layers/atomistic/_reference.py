"""From dimensionless atomic outputs to total energies, in float64."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional import scatter_sum

ELEMENTS = 119  # rows for atomic numbers 0 to 118


class _Float64(nn.Module):
    """A module whose buffers keep float64 through `.float()` and `.half()`."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        kept = {name: buffer for name, buffer in self._buffers.items() if buffer is not None}
        module: Any = super()._apply(fn, recurse)
        for name, before in kept.items():
            # the device may change, the precision may not
            setattr(self, name, before.to(device=getattr(self, name).device))
        return module  # type: ignore[no-any-return]


class OutputScale(_Float64):
    """A factor on what a direct head gives, in the head's own precision."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The scaled output."""
        return value * self.scale.to(value.dtype)


class EnergyScale(_Float64):
    """E = sum_i (scale e_i + shift + reference[z_i]) + offset, in float64 whatever the model's.

    Total energies of molecules are 1e4 times larger than what a model has to resolve; float32
    would round them by more than the error of a good model. The buffers therefore keep float64
    through `.float()` and `.half()`, and the atoms are summed in float64.
    """

    reference: Tensor
    scale: Tensor
    shift: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        double = torch.float64
        self.register_buffer("reference", torch.zeros(ELEMENTS, dtype=double))
        self.register_buffer("scale", torch.ones((), dtype=double))
        self.register_buffer("shift", torch.zeros((), dtype=double))
        #: per structure; zero but for converted weights whose authors shift whole structures
        self.register_buffer("offset", torch.zeros((), dtype=double))

    def forward(
        self,
        atomic: Float[Tensor, " atoms"],
        atomic_numbers: Int[Tensor, " atoms"],
        batch: Int[Tensor, " atoms"],
        size: int,
    ) -> Float[Tensor, " graphs"]:
        """Total energies (eV), float64."""
        return scatter_sum(self.shifted(atomic, atomic_numbers), batch, size) + self.offset

    def shifted(
        self, atomic: Float[Tensor, " atoms"], atomic_numbers: Int[Tensor, " atoms"]
    ) -> Float[Tensor, " atoms"]:
        """What each atom adds, float64: scale times the network's number, shift and reference."""
        values = self.scale * atomic.double() + self.shift
        return values + self.reference.index_select(0, atomic_numbers)

    def set_reference(self, values: Mapping[int, float] | Tensor) -> None:
        """Replaces the reference energies (eV) of the given elements, or of all by a (119,) tensor.

        Raises:
            ConfigError: for an atomic number outside 1 to 118 or a tensor of another shape.
        """
        if isinstance(values, Tensor):
            if values.shape != self.reference.shape:
                raise ConfigError(
                    f"reference energies have shape {tuple(values.shape)}; expected ({ELEMENTS},), "
                    "indexed by atomic number"
                )
            self.reference.copy_(values)
            return
        for number, value in values.items():
            if not 0 < number < ELEMENTS:
                raise ConfigError(f"no element has atomic number {number}; expected 1 to 118")
            self.reference[number] = value
