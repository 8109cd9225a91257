"""Sums over groups of rows: the one place where torch-scatter may step in."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo._extras import require

Backend = Literal["torch", "torch_scatter"]


def scatter_sum(
    source: Float[Tensor, "rows *rest"],
    index: Int[Tensor, " rows"],
    size: int,
    *,
    backend: Backend = "torch",
) -> Float[Tensor, "size *rest"]:
    """Adds the rows of `source` that share an index.

    Args:
        source: rows to add.
        index: group of each row, in [0, size).
        size: number of groups; empty ones give zeros.
        backend: "torch" (`index_add`), or "torch_scatter" where that package is installed.

    Returns:
        One row per group.

    Raises:
        MissingExtraError: for "torch_scatter" where it is not installed.
    """
    if backend == "torch_scatter":
        extra = require("torch_scatter", extra="scatter", package="torch-scatter")
        result: Tensor = extra.scatter_add(source, index, dim=0, dim_size=size)
        return result
    zeros = source.new_zeros((size, *source.shape[1:]))
    return zeros.index_add(0, index, source)


def scatter_mean(
    source: Float[Tensor, "rows *rest"], index: Int[Tensor, " rows"], size: int
) -> Float[Tensor, "size *rest"]:
    """Averages the rows of `source` that share an index; empty groups give zeros."""
    # in whole numbers: half precision can't count to 300; and in a trace there is no bincount
    count = index.new_zeros(size).index_add(0, index, torch.ones_like(index))
    count = count.clamp(min=1).to(source.dtype)
    return scatter_sum(source, index, size) / count.reshape(-1, *[1] * (source.ndim - 1))
