"""The optimisers of a recipe.

`riemannian_adam` and `riemannian_sgd` are geoopt's (Bécigneul, Ganea, arXiv:1810.00760); they move
parameters of the class `geoopt.ManifoldParameter` along their manifolds and all others as Adam and
SGD do. Every `STABILIZE` steps the points are projected onto their manifolds again.

Deviation: geoopt 0.5.1 starts the momentum of `RiemannianSGD` with the first Euclidean gradient,
which is no tangent vector. Here it starts at zero, so the first buffer is the Riemannian gradient.
Its `RiemannianAdam` counts steps in float32 after a state was loaded, which changes the corrections
of the bias by rounding; here the count is a whole number again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from geoopt.optim import RiemannianAdam, RiemannianSGD
from torch import nn

from zoo.training._sections import OptimizerSection
from zoo.training.groups import parameter_groups

STABILIZE = 10
Groups = Sequence[Mapping[str, Any]]


class ResumableAdam(RiemannianAdam):  # type: ignore[misc]  # geoopt has no types
    """geoopt's, which goes on after a resume as if there had been none."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state, its counts of steps as whole numbers."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            if "step" in state:
                state["step"] = int(state["step"])


def make_optimizer(
    groups: Groups, options: OptimizerSection, device: torch.device
) -> torch.optim.Optimizer:
    """The optimiser that a recipe names.

    Args:
        groups: from `parameter_groups`.
        options: its name and arguments.
        device: of the parameters.
    """
    return _MAKERS[options.name]([dict(group) for group in groups], options, device)


def named_groups(model: nn.Module, options: OptimizerSection) -> list[dict[str, Any]]:
    """The optimiser's groups, with the parameters' names in their place."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, options)
    return [{**g, "params": [names[id(p)] for p in g["params"]]} for g in groups]


def _fused(device: torch.device) -> bool:
    return device.type in ("cpu", "cuda")


def _adam(groups: Any, options: OptimizerSection, device: torch.device) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
    return kind(
        groups,
        lr=options.lr,
        betas=(options.betas[0], options.betas[1]),
        amsgrad=options.amsgrad,
        fused=_fused(device),
    )


def _sgd(groups: Any, options: OptimizerSection, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        fused=_fused(device),
    )


def _riemannian_adam(
    groups: Any, options: OptimizerSection, device: torch.device
) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = ResumableAdam(
        groups,
        lr=options.lr,
        betas=(options.betas[0], options.betas[1]),
        amsgrad=options.amsgrad,
        stabilize=STABILIZE,
    )
    return made


def _riemannian_sgd(
    groups: Any, options: OptimizerSection, device: torch.device
) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = RiemannianSGD(
        groups,
        lr=options.lr,
        momentum=options.momentum,
        nesterov=options.nesterov,
        stabilize=STABILIZE,
    )
    if options.momentum > 0:
        for group in made.param_groups:
            for point in group["params"]:
                made.state[point]["momentum_buffer"] = torch.zeros_like(point)
    return made


_MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": _adam,
    "adam": _adam,
    "sgd": _sgd,
    "riemannian_adam": _riemannian_adam,
    "riemannian_sgd": _riemannian_sgd,
}
