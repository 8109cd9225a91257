"""Products with weights as matrices: what turns a Clifford layer into one ordinary layer.

x -> x w and x -> w x are linear in x. Row (output blade, output channel), column (input blade,
input channel) of their matrix holds one component of the weight with a sign, so that linear maps
and convolutions of any signature run on torch's own, once.
"""

import functools
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import UnsupportedInputError
from zoo.functional.clifford import Algebra, algebra
from zoo.functional.precision import check_precision

Side = Literal["left", "right"]


def product_matrix(
    weight: Float[Tensor, "blades outputs inputs *kernel"], of: Algebra, *, side: Side = "right"
) -> Float[Tensor, "blades outputs blades inputs *kernel"]:
    """The matrix of x -> x w, or of x -> w x.

    Args:
        weight: a multivector for each pair of channels and place of the kernel.
        of: the algebra.
        side: where the weight stands in the product.

    Returns:
        From input blades and channels (axes 2 and 3) to output blades and channels (0 and 1).
    """
    pick, sign = _tables(*of.signature, side)
    chosen = weight.index_select(0, torch.as_tensor(pick, device=weight.device))
    factors = torch.as_tensor(sign, dtype=weight.dtype, device=weight.device)
    signed = chosen * factors.reshape(-1, *[1] * (weight.ndim - 1))
    return signed.reshape(of.blades, of.blades, *weight.shape[1:]).movedim(1, 2)


@functools.cache
def _tables(p: int, q: int, r: int, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """For each (output, input) blade, flat: which blade of the weight, and its sign."""
    of = algebra(p, q, r)
    blades = np.arange(of.blades)
    pick = of.target[blades[None, :], blades[:, None]]  # blades are their own partners: i k = j
    first, second = (blades[None, :], pick) if side == "right" else (pick, blades[None, :])
    return pick.ravel(), of.signs[first, second].ravel().astype(np.float64)


def check_multivectors(where: str, x: Tensor, channels: int, blades: int, *, dims: int) -> None:
    """Refuses what is not (batch, channels, *grid, blades).

    Args:
        where: names the layer.
        x: the input.
        channels: wanted.
        blades: wanted.
        dims: axes of the grid; -1 for any number.

    Raises:
        UnsupportedInputError: names the shape.
        DeviceError: half precision.
    """
    check_precision(where, x)
    fits = x.ndim >= 3 and x.shape[1] == channels and x.shape[-1] == blades
    if not fits or (dims >= 0 and x.ndim != dims + 3):
        axes = {-1: "*grid, ", 0: "", 1: "n, ", 2: "h, w, ", 3: "d, h, w, "}[dims]
        raise UnsupportedInputError(
            f"{where} takes (batch, {channels}, {axes}{blades}), channels second and blades last; "
            f"the shape is {tuple(x.shape)}"
        )


def check_rows(where: str, x: Tensor, channels: int, blades: int) -> None:
    """Refuses what is not (..., channels, blades).

    Args:
        where: names the layer.
        x: the input.
        channels: wanted.
        blades: wanted.

    Raises:
        UnsupportedInputError: names the shape.
        DeviceError: half precision.
    """
    check_precision(where, x)
    if x.ndim < 2 or tuple(x.shape[-2:]) != (channels, blades):
        raise UnsupportedInputError(
            f"{where} takes (..., {channels}, {blades}), channels and blades; not {tuple(x.shape)}"
        )
