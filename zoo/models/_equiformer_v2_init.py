"""Initial weights of EquiformerV2, as its authors draw them."""

import math

import torch
from torch import nn

from zoo.layers.equivariant import RadialNetwork, SO3Linear


def initialise(model: nn.Module, kind: str) -> None:
    """Sets biases of linear maps to zero and, for "normal", redraws the weights.

    Args:
        model: whose parts have drawn their weights uniformly already.
        kind: "uniform" keeps U(-1/sqrt(n), 1/sqrt(n)) for n inputs; "normal" draws N(0, 1/n),
            but for radial networks, which stay uniform.
    """
    radial = {
        part for net in model.modules() if isinstance(net, RadialNetwork) for part in net.modules()
    }
    with torch.no_grad():
        for part in model.modules():
            if not isinstance(part, nn.Linear | SO3Linear):
                continue
            if part.bias is not None:
                nn.init.zeros_(part.bias)
            if kind == "normal" and part not in radial:
                nn.init.normal_(part.weight, 0.0, 1.0 / math.sqrt(part.weight.shape[-1]))
