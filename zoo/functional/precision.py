"""The precisions in which geometry is computed: float32 and float64."""

import torch
from torch import Tensor

from zoo.errors import DeviceError

PRECISIONS = (torch.float32, torch.float64)


def check_precision(where: str, *tensors: Tensor) -> None:
    """Refuses half and integer precision, in which manifolds lose their points.

    Args:
        where: names the function or layer in the message.
        tensors: what it was given.

    Raises:
        DeviceError: names the precision.
    """
    for x in tensors:
        if x.dtype not in PRECISIONS:
            raise DeviceError(
                f"{where} computes in float32 or float64, not in {_name(x.dtype)}: "
                "cast with .float() or .double(), and keep autocast off around it"
            )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
