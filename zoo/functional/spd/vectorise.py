"""Symmetric matrices as vectors: the upper triangle by rows, off-diagonal entries times sqrt 2."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError


def to_vector(x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch entries"]:
    """The n (n + 1) / 2 entries; the inner product of vectors is that of the matrices."""
    n = x.shape[-1]
    index, scale = _upper(n)
    entries = x.flatten(-2).index_select(-1, index.to(x.device))
    return entries * scale.to(x)


def from_vector(v: Float[Tensor, "*batch entries"]) -> Float[Tensor, "*batch n n"]:
    """The symmetric matrix whose vector is v.

    Raises:
        ConfigError: a length that is not n (n + 1) / 2.
    """
    length = v.shape[-1]
    n = (math.isqrt(8 * length + 1) - 1) // 2
    if n * (n + 1) // 2 != length:
        raise ConfigError(
            f"{length} entries are not the triangle of a square matrix: "
            f"n (n + 1) / 2 is {n * (n + 1) // 2} for n = {n} "
            f"and {(n + 1) * (n + 2) // 2} for n = {n + 1}"
        )
    _, scale = _upper(n)
    place = _places(n).to(v.device)
    entries: Tensor = (v / scale.to(v)).index_select(-1, place)
    return entries.reshape(*v.shape[:-1], n, n)


@lru_cache(maxsize=64)
def _upper(n: int) -> tuple[Tensor, Tensor]:
    row, column = torch.triu_indices(n, n)
    off = torch.tensor(math.sqrt(2.0), dtype=torch.float64)
    return row * n + column, torch.where(row == column, 1.0, off)


@lru_cache(maxsize=64)
def _places(n: int) -> Tensor:
    """For each entry of the matrix, by rows, where it stands in the vector."""
    row, column = torch.triu_indices(n, n)
    out = torch.empty(n, n, dtype=torch.int64)
    out[row, column] = torch.arange(len(row))
    out[column, row] = torch.arange(len(row))
    return out.flatten()
