r"""Linear maps with factorised weights.

Novikov et al., *Tensorizing neural networks*, NeurIPS 2015 (arXiv:1509.06569) for trains; CP,
Tucker and rings likewise. y = W x + b, with W in cores: either W is multiplied out and then applied
("reconstructed"), or x goes through the cores one by one ("factorized"). Both orders and their
operations are known before anything runs; "auto" goes through the cores where that takes less than
half the operations: products with thin cores run slower than one with a full matrix.
"""

import math
from collections.abc import Sequence
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from zoo.errors import ConfigError, UnsupportedInputError, nearest
from zoo.functional import tensor_network as tn
from zoo.functional.precision import check_precision
from zoo.functional.tensor_network import Rank
from zoo.layers.tensor_network.weight import MatrixFormat, TensorizedMatrix

Contraction = Literal["auto", "factorized", "reconstructed"]
#: rows for which the order of the factorised contraction is planned
PLANNED_ROWS: Final = 256
#: numbers that stay near the processor between two cores: rows beyond go through them in blocks
_BLOCK: Final = 2**18
#: entries of a matrix from which on trains and rings have three cores
_THREE_CORES: Final = 2**18


class FactorizedLinear(nn.Module):
    """A linear map whose weight is stored in cores.

    Args:
        in_features: of the input.
        out_features: of the output.
        in_shape: factors of in_features; None: one mode for "cp", "tucker" and "dense" (a matrix
            of low rank), two or three nearly equal ones for "tt" and "tr".
        out_shape: likewise.
        format: "cp", "tucker", "tt", "tr" or "dense".
        rank: of the bonds; see `zoo.functional.tensor_network.resolve_rank`.
        bias: adds a learnt number to each output.
        contraction: "factorized", "reconstructed", or "auto": factorized where that takes less than
            half the operations, at the number of rows that come. Can be set later.

    Raises:
        ConfigError: for sizes, shapes, formats or ranks that don't fit.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        in_shape: Sequence[int] | None = None,
        out_shape: Sequence[int] | None = None,
        format: MatrixFormat = "tt",
        rank: Rank = None,
        bias: bool = True,
        contraction: Contraction = "auto",
    ) -> None:
        super().__init__()
        outs, ins = factored(in_features, out_features, in_shape, out_shape, format)
        self._set_up(TensorizedMatrix(outs, ins, format=format, rank=rank), bias, contraction)
        if self.bias is not None:
            bound = 1 / math.sqrt(in_features)
            nn.init.uniform_(self.bias, -bound, bound)

    def _set_up(self, weight: TensorizedMatrix, bias: bool, contraction: Contraction) -> None:
        check_contraction(type(self).__name__, contraction)
        self.in_features, self.out_features = (
            math.prod(weight.in_shape),
            math.prod(weight.out_shape),
        )
        self.weight, self.contraction = weight, contraction
        self.bias = nn.Parameter(torch.empty(self.out_features)) if bias else None
        letters = "abcdefghijklmnopqrstuvwxy"
        outs, ins = letters[: len(weight.out_shape)], letters[-len(weight.in_shape) :]
        equation = tn.expand(f"z{ins},{outs}{ins}->z{outs}", weight.format)
        shapes = tuple(tn.core_shapes(weight.format, weight.shape, weight.rank))
        self._plan = tn.plan(equation, ((PLANNED_ROWS, *weight.in_shape), *shapes), "z")
        self._block = max(32, _BLOCK // self._plan.widest)
        once = sum(step.operations for step in self._plan.steps if not step.scales)
        scaled = sum(step.operations for step in self._plan.steps if step.scales)
        #: operations of each contraction: once, and per row
        self._counts = {
            "factorized": (once, scaled // PLANNED_ROWS),
            "reconstructed": (weight.operations, self.in_features * self.out_features),
        }

    @staticmethod
    def from_linear(
        linear: nn.Linear,
        *,
        in_shape: Sequence[int] | None = None,
        out_shape: Sequence[int] | None = None,
        format: MatrixFormat = "tt",
        rank: Rank = None,
        max_error: float | None = None,
        contraction: Contraction = "auto",
    ) -> "FactorizedLinear":
        """The nearest layer to a given one, of a rank or within a relative error of its weight.

        Args:
            linear: any; its weight has to be near low rank for this to be near.
            in_shape: factors of the inputs, as for the class.
            out_shape: factors of the outputs.
            format: of the weight.
            rank: of the format.
            max_error: relative error of the weight to keep, in place of a rank.
            contraction: "auto", "factorized" or "reconstructed".

        Raises:
            ConfigError: for shapes, formats or ranks that don't fit.
            DataError: for weights that are not finite.
        """
        outs, ins = factored(linear.in_features, linear.out_features, in_shape, out_shape, format)
        made = FactorizedLinear.__new__(FactorizedLinear)
        nn.Module.__init__(made)
        weight = TensorizedMatrix.from_matrix(
            linear.weight, outs, ins, format=format, rank=rank, max_error=max_error
        )
        made._set_up(weight, linear.bias is not None, contraction)
        made.to(device=linear.weight.device, dtype=linear.weight.dtype).train(linear.training)
        if made.bias is not None:
            with torch.no_grad():
                made.bias.copy_(linear.bias)
        return made

    def operations(self, rows: int, contraction: Contraction | None = None) -> int:
        """Multiply-adds for so many rows.

        Args:
            rows: of the input.
            contraction: that of the layer if None.
        """
        kind = self.contraction if contraction is None else contraction
        check_contraction(type(self).__name__, kind)
        if kind == "auto":
            kind = "factorized" if self._factorized(rows) else "reconstructed"
        once, per_row = self._counts[kind]
        return once + rows * per_row

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Channels of the output.

        Raises:
            UnsupportedInputError: for other channels.
            DeviceError: in half precision.
        """
        check_precision("FactorizedLinear", x)
        if x.ndim < 1 or x.shape[-1] != self.in_features:
            raise UnsupportedInputError(
                f"FactorizedLinear takes (..., {self.in_features}), not {tuple(x.shape)}"
            )
        rows = math.prod(x.shape[:-1])
        traced = torch.compiler.is_compiling()  # a trace serves any number of rows
        if not self._factorized(PLANNED_ROWS if traced else rows):
            return functional.linear(x, self.weight.to_matrix(), self.bias)
        cores = self.weight.tensors()
        flat = x.reshape(rows, *self.weight.in_shape)
        parts = flat.split(self._block) if not traced and rows > 4 * self._block else (flat,)
        done = [tn.run(self._plan, [part, *cores]) for part in parts]
        out = done[0] if len(done) == 1 else torch.cat(done)
        out = out.reshape(*x.shape[:-1], self.out_features)
        # nothing else holds the products yet, so that they needn't be copied
        return out if self.bias is None else out.add_(self.bias)

    def _factorized(self, rows: int) -> bool:
        if self.contraction != "auto":
            return self.contraction == "factorized"
        return pays(self.operations(rows, "factorized"), self.operations(rows, "reconstructed"))

    def extra_repr(self) -> str:
        """Shown by print."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, contraction={self.contraction!r}"
        )


def pays(factorized: int, reconstructed: int) -> bool:
    """Whether to go through the cores, of the operations of both."""
    return 2 * factorized < reconstructed


def check_contraction(title: str, contraction: str) -> None:
    """Refuses unknown contractions.

    Raises:
        ConfigError: names the known ones.
    """
    known = ("auto", "factorized", "reconstructed")
    if contraction not in known:
        raise ConfigError(f"{title}: contraction={contraction!r}: {nearest(contraction, known)}")


def factored(
    in_features: int,
    out_features: int,
    in_shape: Sequence[int] | None,
    out_shape: Sequence[int] | None,
    format: MatrixFormat,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the output and of the input: those given, or nearly equal factors.

    Raises:
        ConfigError: for sizes below 1, or factors of another product.
    """
    found = []
    chain = format in ("tt", "tr")
    parts = (2 if in_features * out_features < _THREE_CORES else 3) if chain else 1
    given = (("out", out_features, out_shape, in_shape), ("in", in_features, in_shape, out_shape))
    for name, size, shape, other in given:
        if size < 1:
            raise ConfigError(f"{name}_features={size}; expected a number >= 1")
        if shape is None:
            count = len(other) if chain and other is not None else parts
            found.append(balanced(size, count))
        elif not shape or math.prod(shape) != size:
            raise ConfigError(
                f"{name}_shape={tuple(shape)} has the product {math.prod(shape)}, not "
                f"{name}_features={size}; near it: {balanced(size, max(len(shape), 1))}"
            )
        else:
            found.append(tuple(shape))
    return found[0], found[1]


def balanced(size: int, parts: int) -> tuple[int, ...]:
    """So many factors of a number, as equal as they can be, ascending; ones for primes."""
    if parts == 1:
        return (size,)
    best: tuple[int, ...] = (1,) * (parts - 1) + (size,)
    for first in range(1, round(size ** (1 / parts)) + 1):
        if size % first == 0:
            candidate = tuple(sorted((first, *balanced(size // first, parts - 1))))
            if max(candidate) < max(best) or (max(candidate) == max(best) and candidate > best):
                best = candidate
    return best
