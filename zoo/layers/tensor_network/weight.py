"""Tensors and matrices that are stored as cores of a tensor format.

Formats, ranks and the sources of both: `zoo.functional.tensor_network`. The entries of a fresh
tensor have the standard deviation that is asked for, in every format and at every rank.
"""

import math
from collections.abc import Sequence
from typing import Literal, Self, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zoo.errors import ConfigError, nearest
from zoo.functional import tensor_network as tn
from zoo.functional.tensor_network import Format, Rank

MatrixFormat = Literal["dense", "cp", "tucker", "tt", "tr"]


class FactorizedTensor(nn.Module):
    """A tensor stored as cores.

    Args:
        shape: of the tensor.
        format: "cp", "tucker", "tt", "tr", "block_tt", "block_tr" or "dense".
        rank: of the bonds; see `zoo.functional.tensor_network.resolve_rank`.
        std: of the entries at the start; of complex ones the root of the mean square modulus.
        is_complex: entries are complex; cores are stored as pairs of real numbers, so that
            `.double()` and safetensors treat them like all others.

    Attributes:
        shape, format, rank: as above, the rank resolved to one number per bond.
        cores: the parameters.

    Raises:
        ConfigError: for a shape, format, rank or std that doesn't fit.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        format: Format = "tucker",
        rank: Rank = None,
        std: float,
        is_complex: bool = False,
    ) -> None:
        super().__init__()
        if not (math.isfinite(std) and std > 0):
            raise ConfigError(f"std={std}; expected a positive number")
        self.rank = tn.resolve_rank(format, shape, rank)
        self.shape, self.format, self.std, self.is_complex = tuple(shape), format, std, is_complex
        pair = (2,) if is_complex else ()
        self.cores = nn.ParameterList(
            nn.Parameter(torch.empty(*core, *pair))
            for core in tn.core_shapes(format, self.shape, self.rank)
        )
        modes = "abcdefghijklmnopqrstuvwxyz"[: len(self.shape)]
        if len(modes) < len(self.shape):
            raise ConfigError(f"shape={self.shape}: at most 26 modes")
        equation = tn.expand(f"{modes}->{modes}", format)
        self._plan = tn.plan(equation, tuple(tn.core_shapes(format, self.shape, self.rank)))
        self.reset_parameters()

    @staticmethod
    def from_tensor(
        tensor: Tensor,
        *,
        format: Format = "tucker",
        rank: Rank = None,
        max_error: float | None = None,
    ) -> "FactorizedTensor":
        """The nearest tensor of a format and rank; see `decompose`.

        Args:
            tensor: real or complex, finite.
            format: of the cores.
            rank: of the bonds.
            max_error: relative error to keep in place of a rank.

        Raises:
            ConfigError: for ranks that don't fit.
            DataError: for a tensor that is not finite.
        """
        cores = tn.decompose(tensor, format, rank, max_error=max_error)
        found, is_complex = rank_of(format, cores), tensor.is_complex()
        made = FactorizedTensor(
            tensor.shape, format=format, rank=found, std=1.0, is_complex=is_complex
        )
        return made._filled(tensor, cores)

    @torch.no_grad()
    def _filled(self, tensor: Tensor, cores: Sequence[Tensor]) -> Self:
        """This module with given cores, in the tensor's precision, on its device."""
        self.to(device=tensor.device, dtype=tensor.abs().dtype)
        for parameter, core in zip(self.cores, cores, strict=True):
            parameter.copy_(torch.view_as_real(core) if self.is_complex else core)
        self.std = max(float(tensor.detach().abs().square().mean().sqrt()), 1e-30)
        return self

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the cores afresh, for entries whose root mean square is `std`.

        Products of many small cores scatter widely around the variance that `core_std` gives on
        average, so each draw is scaled to have it.
        """
        scales = tn.core_std(self.format, self.shape, self.rank, self.std)
        for core, scale in zip(self.cores, scales, strict=True):
            if scale == 0:  # the weights of CP
                nn.init.ones_(core)
                if self.is_complex:
                    core[..., 1] = 0
            else:
                nn.init.normal_(core, std=scale / math.sqrt(2) if self.is_complex else scale)
        if self.format != "dense":
            drawn = [core.double() for core in self.cores]
            double = [torch.view_as_complex(c) for c in drawn] if self.is_complex else drawn
            norm = float(tn.frobenius(self.format, double))
            wanted = self.std * math.sqrt(math.prod(self.shape))
            factor = (wanted / norm) ** (1 / sum(scale > 0 for scale in scales))
            for core, scale in zip(self.cores, scales, strict=True):
                core.mul_(factor if scale else 1.0)

    def tensors(self) -> list[Tensor]:
        """The cores as tensors, complex ones as such."""
        if parametrize.is_parametrized(self.cores):  # adapters: what is used is not what is stored
            cores: list[Tensor] = list(self.cores)
        else:  # faster than by index; by number, since cores that were adapted once come last
            named = dict(self.cores.named_parameters(recurse=False))
            cores = [named[str(n)] for n in range(len(named))]
        return [torch.view_as_complex(core) for core in cores] if self.is_complex else cores

    def to_tensor(self) -> Tensor:
        """The tensor, of `shape`."""
        return tn.run(self._plan, self.tensors())

    def contract(self, equation: str, x: Tensor) -> Tensor:
        """einsum of x and this tensor, the cores taken one by one in the cheapest order.

        Args:
            equation: such as "bixy,ioxy->boxy", every index one letter.
            x: the first tensor; this one is the second.

        Raises:
            ConfigError: for an equation that doesn't fit.
        """
        return tn.apply(equation, x, self.format, self.tensors())

    @property
    def num_parameters(self) -> int:
        """Real numbers stored."""
        return sum(core.numel() for core in self.cores)

    @property
    def operations(self) -> int:
        """Multiply-adds of `to_tensor`."""
        return self._plan.operations

    @property
    def compression(self) -> float:
        """Numbers of the dense tensor per number stored."""
        return math.prod(self.shape) * (1 + self.is_complex) / self.num_parameters

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"{self.shape}, format={self.format!r}, rank={self.rank}"


class TensorizedMatrix(FactorizedTensor):
    """A matrix whose rows and columns are cut into modes, stored as cores.

    Args:
        out_shape: factors of the rows.
        in_shape: factors of the columns.
        format: "cp", "tucker" (modes: all of out_shape, then of in_shape), "tt" or "tr" (cores with
            one mode of each, for which both have as many), or "dense".
        rank: of the bonds.
        std: of the entries at the start; 1 / sqrt(3 in), that of `nn.Linear`, if None.

    Raises:
        ConfigError: for shapes, formats or ranks that don't fit.
    """

    def __init__(
        self,
        out_shape: Sequence[int],
        in_shape: Sequence[int],
        *,
        format: MatrixFormat = "tt",
        rank: Rank = None,
        std: float | None = None,
    ) -> None:
        tensor_format = matrix_format(format, out_shape, in_shape)
        self.out_shape, self.in_shape = tuple(out_shape), tuple(in_shape)
        super().__init__(
            (*out_shape, *in_shape),
            format=tensor_format,
            rank=rank,
            std=1 / math.sqrt(3 * math.prod(in_shape)) if std is None else std,
        )

    def to_matrix(self) -> Tensor:
        """The matrix (outputs, inputs)."""
        return self.to_tensor().reshape(math.prod(self.out_shape), math.prod(self.in_shape))

    @staticmethod
    def from_matrix(
        matrix: Float[Tensor, "outputs inputs"],
        out_shape: Sequence[int],
        in_shape: Sequence[int],
        *,
        format: MatrixFormat = "tt",
        rank: Rank = None,
        max_error: float | None = None,
    ) -> "TensorizedMatrix":
        """The nearest matrix of a format and rank.

        Args:
            matrix: finite.
            out_shape: factors of the rows.
            in_shape: factors of the columns.
            format: of the cores.
            rank: of the bonds.
            max_error: relative error to keep in place of a rank.

        Raises:
            ConfigError: for shapes, formats or ranks that don't fit.
            DataError: for a matrix that is not finite.
        """
        wanted = (math.prod(out_shape), math.prod(in_shape))
        if tuple(matrix.shape) != wanted:
            raise ConfigError(
                f"a matrix of shape {tuple(matrix.shape)}; out_shape={tuple(out_shape)} and "
                f"in_shape={tuple(in_shape)} make {wanted}"
            )
        kind = matrix_format(format, out_shape, in_shape)
        tensor = matrix.detach().reshape(*out_shape, *in_shape)
        cores = tn.decompose(tensor, kind, rank, max_error=max_error)
        made = TensorizedMatrix(out_shape, in_shape, format=format, rank=rank_of(kind, cores))
        return made._filled(tensor, cores)


def matrix_format(
    format: MatrixFormat, out_shape: Sequence[int], in_shape: Sequence[int]
) -> Format:
    """The format of the tensor that a tensorised matrix is.

    Raises:
        ConfigError: for an unknown format, or a train or ring of unequally many modes.
    """
    known = ("dense", "cp", "tucker", "tt", "tr")
    if format not in known:
        raise ConfigError(f"format={format!r}: {nearest(str(format), known)}")
    if format not in ("tt", "tr"):
        return format
    if len(out_shape) != len(in_shape):
        raise ConfigError(
            f"format={format!r}: each core has one mode of out_shape={tuple(out_shape)} and one of "
            f"in_shape={tuple(in_shape)}, which have {len(out_shape)} and {len(in_shape)}; fill up "
            "with modes of size 1"
        )
    return cast(Format, f"block_{format}")


def rank_of(format: Format, cores: Sequence[Tensor]) -> tuple[int, ...] | None:
    """The bonds of given cores; None where the format has none."""
    if format == "dense":
        return None
    if format == "cp":
        return (len(cores[0]),)
    if format == "tucker":
        return tuple(cores[0].shape)
    if format in ("tt", "block_tt"):
        return tuple(core.shape[-1] for core in cores[:-1])
    return tuple(core.shape[0] for core in cores)
