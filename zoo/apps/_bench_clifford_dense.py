"""Dense tables of Clifford algebras, which only the peers of `zoo bench clifford` multiply by."""

import numpy as np
import torch
from torch import Tensor

from zoo.functional.clifford import Algebra


def spread(weight: Tensor, of: Algebra) -> Tensor:
    """(..., paths) as (..., left, output, right): first per grades, then per blades."""
    grades = of.dimension + 1
    left, out, right = torch.tensor(of.paths).T
    by_grade = weight.new_zeros((*weight.shape[:-1], grades, grades, grades))
    by_grade[..., left, out, right] = weight
    sizes = torch.tensor(of.sizes)
    for axis in (-3, -2, -1):
        by_grade = by_grade.repeat_interleave(sizes, dim=axis)
    return by_grade


def dense_table(of: Algebra) -> Tensor:
    """The dense table (left, output, right) of signs, in float32."""
    table = np.zeros((of.blades,) * 3, dtype=np.float32)
    i, k = np.nonzero(of.signs)
    table[i, of.target[i, k], k] = of.signs[i, k]
    return torch.from_numpy(table)
