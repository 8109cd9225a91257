"""Spaces that are sums of tensor powers of R^n, and linear layers that say which they map between.

"4x0+2x1+1x2" is four scalars, two vectors and a matrix: 4 + 2 n + n^2 numbers in this order, each
tensor with its axes in row-major order.
"""

import re
from collections.abc import Iterator

from torch import nn

from zoo.errors import ConfigError

_TERM = re.compile(r"(\d+)x(\d+)")
_NUMBERS = 2**24


class TensorSpace:
    """A sum of tensor powers of R^n.

    Args:
        terms: such as "4x0+2x1+1x2": how many tensors of which order.
        n: dimension of the space.

    Attributes:
        terms: pairs of number and order.
        n: dimension.

    Raises:
        ConfigError: for anything else, or a space of more than 2^24 numbers.
    """

    def __init__(self, terms: str, n: int) -> None:
        found = [_TERM.fullmatch(part.strip()) for part in terms.split("+")]
        if n < 1 or not all(found):
            raise ConfigError(
                f"TensorSpace({terms!r}, n={n}): expected a sum of terms such as 4x0+2x1+1x2, "
                "numbers of scalars, vectors, matrices, and n >= 1"
            )
        self.n = n
        self.terms = tuple((int(m[1]), int(m[2])) for m in found if m is not None)
        if any(order > 12 for _, order in self.terms) or not 0 < self.size <= _NUMBERS:
            raise ConfigError(
                f"TensorSpace({terms!r}, n={n}) holds {self.size} numbers; expected 1 to {_NUMBERS}"
            )

    @property
    def size(self) -> int:
        """How many numbers an element has."""
        return sum(count * self.n**order for count, order in self.terms)

    def blocks(self) -> Iterator[tuple[slice, int, int]]:
        """The place of each term, how many tensors it has, and their order."""
        start = 0
        for count, order in self.terms:
            stop = start + count * self.n**order
            yield slice(start, stop), count, order
            start = stop

    def __repr__(self) -> str:
        terms = "+".join(f"{count}x{order}" for count, order in self.terms)
        return f"TensorSpace({terms!r}, n={self.n})"


class TensorLinear(nn.Linear):
    """A linear layer without constraints that says which sums of tensor powers it maps between.

    `EquivariancePenalty` draws it towards the maps that groups leave alone.

    Args:
        space_in: of its inputs.
        space_out: of its outputs.
        bias: whether a constant is added.

    Raises:
        ConfigError: for spaces of different n.
    """

    def __init__(self, space_in: TensorSpace, space_out: TensorSpace, bias: bool = True) -> None:
        if space_in.n != space_out.n:
            raise ConfigError(f"TensorLinear from {space_in} to {space_out}: n must be the same")
        super().__init__(space_in.size, space_out.size, bias)
        #: where the weight maps from, and to
        self.spaces = (space_in, space_out)
