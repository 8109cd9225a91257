"""Constant tensors of modules, exact in every precision."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class ConstantModule(nn.Module):
    """A module whose constants are computed in float64 and rebuilt on every change of precision.

    A plain buffer that went through float32 stays rounded after `.double()`. Constants registered
    here are non-persistent buffers, computed anew from their float64 source whenever the module
    is moved or cast, and never enter a checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self._constants: dict[str, Callable[[], Tensor]] = {}

    def register_constant(self, name: str, source: Callable[[], Tensor]) -> None:
        """Adds a constant, available as an attribute of this name.

        Args:
            name: of the buffer.
            source: returns the float64 tensor; called again after each cast.
        """
        self._constants[name] = source
        dtype = torch.get_default_dtype()
        self.register_buffer(name, source().to(dtype), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        module: Any = super()._apply(fn, recurse)
        for name, source in self._constants.items():
            target = getattr(self, name)
            setattr(self, name, source().to(dtype=target.dtype, device=target.device))
        return module  # type: ignore[no-any-return]
