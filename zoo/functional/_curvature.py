"""The curvature of hyperbolic space, as all its models take it."""

import math
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ConfigError


def curvature_root(c: float | Tensor) -> Any:
    """sqrt(c) of a number or a tensor.

    Args:
        c: absolute curvature.

    Raises:
        ConfigError: a curvature that is not positive. Of a tensor on a GPU, or while a graph is
            compiled, this is not looked at, as it would wait for the device.
    """
    if isinstance(c, Tensor):
        seen = not (c.is_cuda or torch.compiler.is_compiling())
        if seen and not bool((c.detach() > 0).all()):
            raise _refused(float(c.detach().min()))
        return torch.sqrt(c)
    if not 0 < c < math.inf:
        raise _refused(c)
    return math.sqrt(c)


def _refused(c: float) -> ConfigError:
    return ConfigError(
        f"c={c:g}: hyperbolic space needs a finite c > 0 (its sectional curvature is -c; a "
        "curvature that is learnt stays positive as softplus of a parameter)"
    )
