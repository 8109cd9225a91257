r"""Linear layers that let elements of a group act on multivectors, and what stands between them.

Ruhe, Gupta, de Keninck, Welling, Brandstetter, *Geometric Clifford algebra networks*, ICML 2023
(arXiv:2302.06594): y_o = sum_i w_oi k_oi x_i reverse(k_oi), with a learnt even multivector k_oi and
number w_oi for each pair of channels. In P(R_{3,0,1}), here Cl(3, 0, 1) whose last generator
squares to zero, k_oi is a rotation with a translation (times a size), and points are trivectors;
grades stay what they are.

These layers turn their inputs by rotations that they learn. They are no equivariant maps: turning
the input does not turn the output, unless every k_oi is turned along.

Deviations from the authors' code. The weights of e123 of the input points, through which the
translations act, start at 1: theirs start at 0 as the translations do, where neither ever has a
gradient (`start=0.0`). The whole layer is one matrix, computed from a table of its quadratic
entries once per call, whatever the batch.
"""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional.clifford import Algebra, algebra
from zoo.functional.precision import check_precision
from zoo.functional.squares import safe_norm
from zoo.layers.clifford._matrix import check_multivectors
from zoo.layers.clifford.batch_norm import check_groups
from zoo.layers.clifford.linear import check_channels

Gate = Literal["linear", "sum", "mean"]
GATES = ("linear", "sum", "mean")
#: of P(R_{3,0,1}): which blades hold a point x, y, z, and with which signs:
#: e123 - x e234 + y e134 - z e124
POINT = (14, 13, 12)
POINT_SIGNS = (-1.0, 1.0, -1.0)
#: the blade e123, whose component is the weight of a point
ORIGIN = 11


class ConjugateLinear(nn.Module):
    """y_o = sum over inputs of w_oi k_oi x_i reverse(k_oi).

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        out_channels: of the output.
        blades: places of the blades that inputs and outputs hold; None for all. They must stay
            among themselves under the action, as whole grades do.
        constant: place of a further blade, whose component in each input channel is learnt.
        start: what the learnt components are at first.
    """

    def __init__(
        self,
        algebra: Algebra,
        in_channels: int,
        out_channels: int,
        *,
        blades: Sequence[int] | None = None,
        constant: int | None = None,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        check_channels("ConjugateLinear", in_channels, out_channels)
        self.algebra = algebra
        self.blades = tuple(range(algebra.blades) if blades is None else blades)
        extra = () if constant is None else (constant,)
        self.table_of = (algebra.signature, self.blades, self.blades + extra)
        action_table(*self.table_of)  # refuses blades that aren't there, or leave
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.action = nn.Parameter(torch.empty(out_channels, in_channels, len(even(algebra))))
        self.constant = (
            None if constant is None else nn.Parameter(torch.full((in_channels,), start))
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """w as of a linear layer, k a random rotation without translation."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        squares = [self.algebra.squares[b] for b in even(self.algebra)]
        turns = torch.tensor([float(square != 0) for square in squares])
        with torch.no_grad():
            k = torch.empty_like(self.action).uniform_(-1, 1) * turns
            self.action.copy_(k / k.norm(dim=-1, keepdim=True).clamp(min=1e-3))

    def forward(
        self, x: Float[Tensor, "*batch inputs parts"]
    ) -> Float[Tensor, "*batch outputs parts"]:
        """Multivectors of the output's channels, on the same blades.

        Raises:
            UnsupportedInputError: for other channels or blades.
        """
        check_precision("ConjugateLinear", x)
        outputs, inputs = self.weight.shape
        size = len(self.blades)
        if x.ndim < 2 or tuple(x.shape[-2:]) != (inputs, size):
            raise UnsupportedInputError(
                f"ConjugateLinear takes (..., {inputs}, {size}), channels and the blades "
                f"{[self.algebra.names()[b] for b in self.blades]}; not {tuple(x.shape)}"
            )
        matrices = self.weight[..., None, None] * action_matrices(self.action, *self.table_of)
        matrix = matrices[..., :size].permute(1, 3, 0, 2).reshape(inputs * size, outputs * size)
        flat = x.reshape(*x.shape[:-2], inputs * size)
        out = (flat @ matrix).reshape(*x.shape[:-2], outputs, size)
        if self.constant is None:
            return out
        return out + torch.einsum("oia,i->oa", matrices[..., -1], self.constant)


class MultivectorGate(nn.Module):
    """Multivectors times the sigmoid of a number of theirs.

    Args:
        channels: of the input.
        parts: blades of the input.
        kind: the number: "linear", a learnt combination of the blades' components and a constant
            for each channel; "sum" or "mean" of the components.
    """

    def __init__(self, channels: int, parts: int, *, kind: Gate = "linear") -> None:
        super().__init__()
        check_channels("MultivectorGate", channels, parts)
        if kind not in GATES:
            raise ConfigError(f"MultivectorGate: kind is {kind!r}; one of {', '.join(GATES)}")
        self.kind: Gate = kind
        self.channels, self.parts = channels, parts
        self.weight, self.bias = None, None
        if kind == "linear":
            bound = 1 / math.sqrt(parts)
            self.weight = nn.Parameter(torch.empty(channels, parts).uniform_(-bound, bound))
            self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(
        self, x: Float[Tensor, "batch channels *grid parts"]
    ) -> Float[Tensor, "batch channels *grid parts"]:
        """Gated multivectors.

        Raises:
            UnsupportedInputError: for other channels or blades.
        """
        check_multivectors("MultivectorGate", x, self.channels, self.parts, dims=-1)
        if self.weight is None or self.bias is None:
            number = x.sum(-1) if self.kind == "sum" else x.mean(-1)
        else:
            free = (1,) * (x.ndim - 3)
            number = (x * self.weight.reshape(-1, *free, x.shape[-1])).sum(-1)
            number = number + self.bias.reshape(-1, *free)
        return x * torch.sigmoid(number)[..., None]


class MultivectorGroupNorm(nn.Module):
    """Subtracts the mean multivector of each group, and divides by the mean length.

    The authors divide by the mean length alone, which is 0 / 0 for groups of equal multivectors;
    here `eps` is added.

    Args:
        channels: of the input.
        parts: blades of the input.
        groups: of channels, each normalised over its channels and the grid.
        center: whether the mean is subtracted.
        scale: whether lengths are divided by their mean.
        eps: added to the mean length.
    """

    def __init__(
        self,
        channels: int,
        parts: int,
        *,
        groups: int = 1,
        center: bool = True,
        scale: bool = True,
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        check_channels("MultivectorGroupNorm", channels, parts)
        check_groups("MultivectorGroupNorm", channels, groups)
        self.groups, self.center, self.scale, self.eps = groups, center, scale, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels, parts))

    def forward(
        self, x: Float[Tensor, "batch channels *grid parts"]
    ) -> Float[Tensor, "batch channels *grid parts"]:
        """Normalised multivectors.

        Raises:
            UnsupportedInputError: for other channels or blades.
        """
        check_multivectors("MultivectorGroupNorm", x, *self.bias.shape, dims=-1)
        rows = x.unflatten(1, (self.groups, -1)).flatten(2, -2)  # (batch, groups, places, parts)
        if self.center:
            rows = rows - rows.mean(2, keepdim=True)
        if self.scale:
            rows = rows / (safe_norm(rows).mean(2)[..., None, None] + self.eps)
        free = (1,) * (x.ndim - 3)
        weight = self.weight.reshape(-1, *free, 1)
        result: Tensor = weight * rows.reshape(x.shape) + self.bias.reshape(-1, *free, x.shape[-1])
        return result


def embed_points(pos: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Places in space on the blades `POINT` of P(R_{3,0,1}); the part e123 is 1 and not held."""
    return pos * pos.new_tensor(POINT_SIGNS)


#: the same signs lead back
read_points = embed_points


def even(of: Algebra) -> tuple[int, ...]:
    """Places of the blades of even grade."""
    return tuple(b for b, grade in enumerate(of.grades) if grade % 2 == 0)


def action_matrices(
    k: Float[Tensor, "*batch even"],
    signature: tuple[int, int, int],
    rows: tuple[int, ...],
    columns: tuple[int, ...],
) -> Float[Tensor, "*batch outputs inputs"]:
    """The matrices of x -> k x reverse(k) on some blades.

    Args:
        k: components on the blades of even grade.
        signature: of the algebra.
        rows: blades of the result.
        columns: blades of x.
    """
    table = torch.as_tensor(action_table(signature, rows, columns), dtype=k.dtype, device=k.device)
    pairs = (k[..., :, None] * k[..., None, :]).flatten(-2)
    result: Tensor = (pairs @ table.flatten(1)).unflatten(-1, (len(rows), len(columns)))
    return result


@functools.cache
def action_table(
    signature: tuple[int, int, int], rows: tuple[int, ...], columns: tuple[int, ...]
) -> np.ndarray:
    """T with k x reverse(k) = sum of k_p k_q x_b T[p q, a, b] e_a, symmetric in p and q.

    Raises:
        ConfigError: for blades that aren't there, or that the action takes out of them.
    """
    of = algebra(*signature)
    for b in (*rows, *columns):
        if not 0 <= b < of.blades:
            raise ConfigError(f"blade {b} is not one of Cl{signature}, 0..{of.blades - 1}")
    places = even(of)
    full = np.zeros((len(places), len(places), of.blades, len(columns)))
    for i, p in enumerate(places):
        for j, q in enumerate(places):
            turned = -1 if of.grades[q] % 4 in (2, 3) else 1
            for column, b in enumerate(columns):
                middle = of.target[p, b]
                sign = turned * of.signs[p, b] * of.signs[middle, q]
                full[i, j, of.target[middle, q], column] += sign
    full = (full + full.swapaxes(0, 1)) / 2
    held = (*rows, *columns)
    outside = [a for a in range(of.blades) if a not in held and full[:, :, a].any()]
    if outside:
        names = of.names()
        raise ConfigError(
            f"the action takes the blades {[names[b] for b in columns]} of Cl{signature} to "
            f"{[names[a] for a in outside]} as well; hold those too, or whole grades"
        )
    return full[:, :, list(rows)].reshape(len(places) ** 2, len(rows), len(columns))
