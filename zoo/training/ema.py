"""Exponential moving average of a model's parameters.

a <- d a + (1 - d) w after each step, with d = min(decay, (1 + t) / (10 + t)) so that the random
start is forgotten early. Buffers are not averaged: they hold constants, reference energies and
running statistics. The average of points of a manifold is projected onto it after each update.
"""

from collections.abc import Mapping

import torch
from geoopt import ManifoldParameter
from torch import Tensor, nn


class Ema:
    """Averages the trainable parameters of one model.

    Args:
        model: whose parameters are averaged, by name.
        decay: d of the formula above, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._live = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.average = {n: _plain(p) for n, p in self._live.items()}
        self._swapped = False

    @torch.no_grad()
    def update(self) -> None:
        """Takes the current parameters into the average."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        if self.average:
            live = [_plain(p, copy=False) for p in self._live.values()]
            torch._foreach_lerp_(list(self.average.values()), live, 1.0 - decay)
        for name, point in self._live.items():
            if isinstance(point, ManifoldParameter):
                self.average[name].copy_(point.manifold.projx(self.average[name]))

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges average and parameters; a second call restores them."""
        for name, live in self._live.items():
            kept = _plain(live)
            live.copy_(self.average[name])
            self.average[name].copy_(kept)
        self._swapped = not self._swapped

    @property
    def swapped(self) -> bool:
        """Whether the model now carries the average."""
        return self._swapped

    def attach(self, model: nn.Module) -> None:
        """Starts again from the parameters of a model whose parameters have become others.

        Sharding leaves each process a part of them; the average has the same parts.
        """
        self._live = {n: p for n, p in model.named_parameters() if n in self.average}
        self.average = {n: _plain(p) for n, p in self._live.items()}

    def to(self, device: torch.device) -> None:
        """Moves the average to the model's device, where the model moved after construction."""
        self.average = {n: t.to(device) for n, t in self.average.items()}

    def state_dict(self) -> dict[str, Tensor | int | dict[str, Tensor]]:
        """The average and the number of updates."""
        return {"updates": self.updates, "average": dict(self.average)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restores what `state_dict` gave; names must agree."""
        average = state["average"]
        assert isinstance(average, dict) and set(average) == set(self.average)
        self.updates = int(str(state["updates"]))
        for name, value in average.items():
            self.average[name].copy_(value)


def _plain(parameter: Tensor, *, copy: bool = True) -> Tensor:
    """A tensor of no further class: states hold nothing else."""
    tensor = parameter.detach()
    tensor = tensor.as_subclass(Tensor) if type(tensor) is not Tensor else tensor
    return tensor.clone() if copy else tensor
