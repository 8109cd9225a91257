r"""Weights of SO(2) maps from those of Clebsch-Gordan paths, and back.

The convolution with weights w on the paths (l1, l2, l3),

    z_l3 = sum_{l1, l2} w_{l1 l2 l3} sqrt(2 l3 + 1) sum_ij wigner_3j_{ijk} x_l1,i Y_l2,j(r)

with "component" harmonics Y, sees in the frame of the edge only Y_l2,0 = sqrt(2 l2 + 1). There
wigner_3j[m1, 0, m3] vanishes unless m3 = +-m1; even l1 + l2 + l3 give W_0 and W^r, which are the
same for +m and -m, odd ones W^i. For each (l1, l3) there are as many l2 as there are
W_0, W^r_m, W^i_m with m <= min(l1, l3), and the square matrix T between them obeys

    W = T^T w,    T diag(1, 2, 2, ...) T^T = (2 l3 + 1) Id,

so that w = T diag(1, 2, 2, ...) W / (2 l3 + 1) exactly (eSCN, arXiv:2302.03655).
"""

import functools
import math
from collections.abc import Mapping, Sequence

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.clebsch_gordan import wigner_3j
from zoo.functional.so2 import OrderSizes

#: degrees of a feature, of the harmonics and of the result
Path = tuple[int, int, int]


def convolution_paths(lmax: int, *, parity: bool = False) -> list[Path]:
    """The paths (l1, l2, l3) of a convolution of degrees up to `lmax`, l2 up to 2 `lmax`.

    Args:
        lmax: highest degree of features and result.
        parity: only paths with even l1 + l2 + l3, which inversion leaves alone.
    """
    step = 2 if parity else 1
    return [
        (l1, l2, l3)
        for l1 in range(lmax + 1)
        for l3 in range(lmax + 1)
        for l2 in range(abs(l1 - l3), l1 + l3 + 1, step)
    ]


@functools.cache
def _transfer(l1: int, l3: int, parity: bool) -> Tensor:
    """T, (l2, components): W_0, W^r_1, ..., then W^i_1, ... unless parity leaves them out."""
    low = min(l1, l3)
    rows = []
    for l2 in range(abs(l1 - l3), l1 + l3 + 1, 2 if parity else 1):
        frame = math.sqrt((2 * l2 + 1) * (2 * l3 + 1)) * wigner_3j(l1, l2, l3)[:, l2]
        even = [frame[l1 + m, l3 + m] for m in range(low + 1)]
        odd = [] if parity else [frame[l1 + m, l3 - m] for m in range(1, low + 1)]
        rows.append(torch.stack(even + odd))
    return torch.stack(rows)


def so2_from_paths(
    paths: Mapping[Path, Float[Tensor, "inputs outputs"]],
    sizes: OrderSizes,
    *,
    parity: bool = False,
) -> list[Tensor]:
    """Weights of `order_linear` that do what the weighted paths do.

    Orders beyond `sizes.mmax` are dropped; with mmax = lmax the result is exact.

    Args:
        paths: the weight of each path in `convolution_paths`.
        sizes: of the map, without extra scalars.
        parity: whether the map has no W^i.

    Raises:
        ConfigError: paths that are missing or don't exist.
    """
    expected = convolution_paths(sizes.lmax, parity=parity)
    if set(paths) != set(expected):
        missing, extra = set(expected) - set(paths), set(paths) - set(expected)
        raise ConfigError(
            f"weights of {len(paths)} paths, expected the {len(expected)} of lmax={sizes.lmax}, "
            f"parity={parity}; missing: {sorted(missing)[:5]}, unknown: {sorted(extra)[:5]}"
        )
    like = paths[expected[0]]
    parts = 1 if parity else 2
    blocks = [like.new_zeros(1 if m == 0 else parts, *_block(sizes, m)) for m in _orders(sizes)]
    for l1 in range(sizes.lmax + 1):
        for l3 in range(sizes.lmax + 1):
            transfer = _transfer(l1, l3, parity).to(like)
            stacked = torch.stack([paths[p] for p in expected if (p[0], p[2]) == (l1, l3)])
            found = torch.einsum("pk,pio->koi", transfer, stacked)
            for k, (m, part) in enumerate(_components(l1, l3, parity)):
                if m <= sizes.mmax:
                    blocks[m][part, l3 - m, :, l1 - m] = found[k]
    return [block.flatten(0, 2).flatten(1) for block in blocks]


def paths_from_so2(
    weights: Sequence[Tensor], sizes: OrderSizes, *, parity: bool = False
) -> dict[Path, Float[Tensor, "inputs outputs"]]:
    """The inverse of `so2_from_paths`.

    Args:
        weights: of the map.
        sizes: of the map, without extra scalars and with mmax = lmax.
        parity: whether the map has no W^i.

    Raises:
        ConfigError: mmax < lmax, where no weights of paths do the same, or extra scalars.
    """
    if sizes.mmax != sizes.lmax or sizes.extra:
        raise ConfigError(
            f"mmax={sizes.mmax}, lmax={sizes.lmax}, {sizes.extra} extra scalars: only a map with "
            "all orders and no extra scalars is a sum of Clebsch-Gordan paths"
        )
    blocks = [w.view(-1, *_block(sizes, m)) for m, w in enumerate(weights)]
    out: dict[Path, Tensor] = {}
    for l1 in range(sizes.lmax + 1):
        for l3 in range(sizes.lmax + 1):
            transfer = _transfer(l1, l3, parity).to(weights[0])
            parts = [
                (2.0 if m else 1.0) * blocks[m][part, l3 - m, :, l1 - m]
                for m, part in _components(l1, l3, parity)
            ]
            found = torch.einsum("pk,koi->pio", transfer, torch.stack(parts)) / (2 * l3 + 1)
            step = 2 if parity else 1
            degrees = range(abs(l1 - l3), l1 + l3 + 1, step)
            out |= {(l1, l2, l3): found[p] for p, l2 in enumerate(degrees)}
    return out


def _orders(sizes: OrderSizes) -> range:
    return range(sizes.mmax + 1)


def _block(sizes: OrderSizes, order: int) -> tuple[int, int, int, int]:
    """Degrees and channels of the outputs, then of the inputs."""
    count = sizes.degrees(order)
    return count, sizes.outputs, count, sizes.inputs


def _components(l1: int, l3: int, parity: bool) -> list[tuple[int, int]]:
    """(order, 0 for W^r and 1 for W^i) of the columns of T."""
    low = min(l1, l3)
    even = [(m, 0) for m in range(low + 1)]
    return even if parity else even + [(m, 1) for m in range(1, low + 1)]


def to_tensor_product(paths: Mapping[Path, Tensor], product: o3.TensorProduct) -> Tensor:
    """The flat weight with which e3nn's tensor product does what the paths do.

    Args:
        paths: the weight of each path.
        product: e3nn's `FullyConnectedTensorProduct` of features, harmonics ("component"), and
            results, each degree once, laid out as `channel_irreps` has them.
    """
    parts = []
    for path, factor in _instructions(product):
        parts.append((paths[path] / factor).flatten())
    return torch.cat(parts)


def from_tensor_product(product: o3.TensorProduct, weight: Tensor) -> dict[Path, Tensor]:
    """The inverse of `to_tensor_product`.

    Args:
        product: e3nn's tensor product.
        weight: its flat weight.
    """
    sizes = [math.prod(instruction.path_shape) for instruction in product.instructions]
    inputs, outputs = product.irreps_in1[0].mul, product.irreps_out[0].mul
    return {
        path: part.view(inputs, outputs) * factor
        for part, (path, factor) in zip(weight.split(sizes), _instructions(product), strict=True)
    }


def _instructions(product: o3.TensorProduct) -> list[tuple[Path, float]]:
    """The path of each instruction, and e3nn's factor before wigner_3j over sqrt(2 l3 + 1)."""
    found = []
    for instruction in product.instructions:
        l1 = product.irreps_in1[instruction.i_in1].ir.l
        l2 = product.irreps_in2[instruction.i_in2].ir.l
        l3 = product.irreps_out[instruction.i_out].ir.l
        found.append(((l1, l2, l3), instruction.path_weight / math.sqrt(2 * l3 + 1)))
    return found
