"""An architecture that was changed twice since the weights beside this file were written.

Version 1 called the readout `out` and its number of layers `layers`. Version 2 kept the scale of
energies halved. The files of `relic-t.archive.r1` are as version 1 wrote them; they stay as they
are, and must load in every later release.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from zoo.models.tensornet import TensorNet
from zoo.registry import register

State = dict[str, Tensor]
Step = Callable[[dict[str, Any], State], tuple[dict[str, Any], State]]


@register("relic")
class Relic(TensorNet):
    """A TensorNet under a name of its own, so that its versions are counted apart."""

    def __init__(
        self,
        *,
        hidden_channels: int = 8,
        num_layers: int = 1,
        num_rbf: int = 4,
        cutoff: float = 4.5,
        max_z: int = 20,
    ) -> None:
        super().__init__(
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            num_rbf=num_rbf,
            cutoff=cutoff,
            max_z=max_z,
        )


def _names(config: dict[str, Any], state: State) -> tuple[dict[str, Any], State]:
    config = dict(config)
    config["num_layers"] = config.pop("layers")
    renamed = {
        f"readout{name.removeprefix('out')}" if name.startswith("out.") else name: tensor
        for name, tensor in state.items()
    }
    return config, renamed


def _scale(config: dict[str, Any], state: State) -> tuple[dict[str, Any], State]:
    return config, state | {"energy_scale.scale": 2 * state["energy_scale.scale"]}


UPGRADES: dict[int, Step | None] = {1: _names, 2: _scale}
CONVENTIONS = {"edges": "j to i"}
