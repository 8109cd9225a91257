r"""The linear layer on tensor powers of R^n that is equivariant to a group.

    y_o = sum over channels c and maps d of w_ocd W_d(x_c) + sum over constants e of b_oe B_e

W_d are the group's maps (R^n)^(x)k -> (R^n)^(x)l, B_e its invariant tensors of order l. For S_n:
Maron, Ben-Hamu, Shamir, Lipman, Invariant and equivariant graph networks, ICLR 2019
(arXiv:1812.09902); the other groups: Pearce-Crump, ICML 2023 (arXiv:2212.08630, 2301.10152) and
arXiv:2307.07810.
"""

import functools
import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import tensor_power as tp
from zoo.functional.tensor_power import Diagram, Group, Half
from zoo.layers.constants import ConstantModule

Normalize = Literal["mean", "sum"] | float
Implementation = Literal["auto", "diagram", "dense"]
#: entries of a map below which A_n and SO(n) use dense maps unless told otherwise
_DENSE = 10_000


class TensorPowerLinear(ConstantModule):
    """A linear layer from tensors of order k to tensors of order l.

    Layers of S_n, O(n) and Sp(n) don't know n unless it is given: the same weights serve any. They
    then have all diagrams, which depend on each other where n is small.

    Args:
        group: "S", "A", "O", "SO", "Sp", or a group of permutations or matrices; see
            `zoo.functional.tensor_power.as_group`.
        order_in: k.
        order_out: l.
        in_channels: tensors of each sample.
        out_channels: tensors that come out.
        n: dimension of the space; needed for A_n and SO(n).
        bias: adds invariant tensors.
        normalize: what an index that is summed over is divided by: "mean" takes n, so that outputs
            don't grow with it, "sum" 1; or a number. Orbits are divided by their size in a
            row with "mean"; numerical maps are scaled to keep variances.
        implementation: "diagram" pools, mixes and spreads; "dense" multiplies by matrices of n^l by
            n^k entries; "auto" takes diagrams but where there are none, or few entries.

    Raises:
        ConfigError: for a group that does not act on R^n, unknown names, sizes below 1, orders
            between which no map but zero is equivariant, bases that are too large.
    """

    def __init__(  # noqa: PLR0913
        self,
        group: Group | type[Group] | str,
        order_in: int,
        order_out: int,
        in_channels: int,
        out_channels: int,
        *,
        n: int | None = None,
        bias: bool = True,
        normalize: Normalize = "mean",
        implementation: Implementation = "auto",
    ) -> None:
        super().__init__()
        self.group = tp.as_group(group)
        self.n = n if n is not None else self.group.size
        if self.n is not None:
            self.group.check(self.n)
        _check(in_channels, out_channels, normalize, implementation)
        self.order_in, self.order_out = order_in, order_out
        self.in_channels, self.out_channels = in_channels, out_channels
        self.normalize = normalize
        self.diagrams: tuple[Diagram, ...] = ()
        self.constants: tuple[Diagram, ...] = ()
        own = type(self.group) not in tp.GROUPS.values()
        if own and implementation == "diagram":
            raise ConfigError(f"{self.group} has no diagrams: take implementation='dense'")
        count, constants = self._from_basis(bias) if own else self._from_diagrams(bias)
        if count == 0:
            raise ConfigError(
                f"{self.group}: no map of orders {order_in} -> {order_out} but zero is equivariant"
            )
        self.dense = own or implementation == "dense" or (implementation == "auto" and self._few())
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, count))
        self.bias = nn.Parameter(torch.empty(out_channels, constants)) if constants else None
        self.reset_parameters()

    def _from_basis(self, bias: bool) -> tuple[int, int]:
        """Sizes, for groups without diagrams: dense constants are registered."""
        assert self.n is not None
        maps = functools.partial(_scaled_basis, self.group, self.n, self.order_in, self.order_out)
        self.register_constant("maps", functools.partial(maps, self.normalize == "mean"))
        tensors = functools.partial(_scaled_basis, self.group, self.n, 0, self.order_out, False)
        count = len(tensors()) if bias else 0
        if count:
            self.register_constant("invariants", tensors)
        return len(self.get_buffer("maps")), count

    def _from_diagrams(self, bias: bool) -> tuple[int, int]:
        self.diagrams = _independent(self.group, self.n, self.order_in, self.order_out)
        if bias:
            self.constants = _independent(self.group, self.n, 0, self.order_out)
        signs = any(diagram.legs for diagram in (*self.diagrams, *self.constants))
        if signs and self.n is not None and self.n > tp.LARGEST_EPSILON:
            raise ConfigError(
                f"{self.group}, n={self.n}, orders {self.order_in} -> {self.order_out}: some maps "
                f"hold an alternating tensor, which is made for n up to {tp.LARGEST_EPSILON}; take "
                "lower orders"
            )
        return len(self.diagrams), len(self.constants)

    def _few(self) -> bool:
        """Whether dense maps are the faster ones: where an epsilon joins few entries."""
        entries = math.inf if self.n is None else self.n ** (self.order_in + self.order_out)
        return entries <= _DENSE and any(diagram.legs for diagram in self.diagrams)

    def reset_parameters(self) -> None:
        """Weights of standard deviation 1 / sqrt(in_channels x maps); no bias."""
        nn.init.normal_(self.weight, std=1 / math.sqrt(math.prod(self.weight.shape[1:])))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Float[Tensor, "batch channels *axes"],
        *,
        n: int | None = None,
        mask: Bool[Tensor, "batch nodes"] | None = None,
    ) -> Float[Tensor, "batch out_channels *out_axes"]:
        """The layer.

        Args:
            x: (batch, in_channels, n, ..., n), k axes of length n.
            n: needed where k = 0 and the layer has none of its own.
            mask: of S_n: which coordinates exist, in samples of several n padded to one. What
                stands elsewhere is ignored; there the result is zero.

        Returns:
            (batch, out_channels, n, ..., n), l axes of length n.

        Raises:
            UnsupportedInputError: for other shapes, or a mask with another group.
        """
        size = self._size(x, n)
        divisor: int | float | Tensor = size if self.normalize == "mean" else 1.0
        if not isinstance(self.normalize, str):
            divisor = self.normalize
        if mask is not None:
            self._check_mask(mask, x, size)
            x = _masked(x, mask, self.order_in)
            if self.normalize == "mean":
                divisor = mask.sum(dim=1).clamp(min=1)
        if self.dense:
            out = self._by_matrices(x, size, divisor)
        else:
            out = self._by_diagrams(x, size, divisor)
        return out if mask is None else _masked(out, mask, self.order_out)

    # --- two ways of computing it ---------------------------------------------------------------

    def _by_diagrams(self, x: Tensor, n: int, divisor: int | float | Tensor) -> Tensor:
        symplectic = isinstance(self.group, tp.SymplecticGroup)
        parts: dict[Half, Tensor] = {}
        if self.bias is not None:
            for level in tp.levels(self.constants, self.order_out):
                for half, ((number,),) in zip(level.outputs, level.index, strict=True):
                    parts[half] = self.bias[:, number].expand(x.shape[0], -1)
        for level in tp.levels(self.diagrams, self.order_out):
            pools = [tp.pool(x, half, divisor, symplectic=symplectic) for half in level.inputs]
            for half, y in zip(level.outputs, self._mixed(pools, level), strict=True):
                parts[half] = y + parts[half] if half in parts else y
        extra = self._by_signs(x, n, divisor)
        if not parts:
            assert extra is not None
            return extra
        out = tp.spread(parts, self.order_out, n, symplectic=symplectic)
        return out if extra is None else out + extra

    def _mixed(self, pools: list[Tensor], level: tp.Level) -> list[Tensor]:
        """Channels mixed: for each way to spread, (batch, out_channels, n, ..., n)."""
        pooled = pools[0] if len(pools) == 1 else torch.cat(pools, dim=1)
        index = torch.tensor(level.index, device=pooled.device)
        weight = self.weight[:, :, index.clamp(min=0)] * (index >= 0).to(self.weight)
        # (outputs, orders, out_channels, inputs, in_channels)
        weight = weight.permute(2, 3, 0, 4, 1).reshape(-1, pooled.shape[1])
        flat = weight @ pooled.flatten(2) if level.count else pooled @ weight.mT
        shape = (len(level.outputs), len(level.orders), self.out_channels)
        y = flat.reshape(pooled.shape[0], *shape, *pooled.shape[2:])
        found = []
        for row in range(shape[0]):
            terms = [
                y[:, row, column].permute(0, 1, *(2 + axis for axis in order))
                for column, order in enumerate(level.orders)
            ]
            found.append(functools.reduce(torch.add, terms))
        return found

    def _by_signs(self, x: Tensor, n: int, divisor: int | float | Tensor) -> Tensor | None:
        """The diagrams with an epsilon, and such constants."""
        total = None
        for number, diagram in enumerate(self.diagrams):
            if diagram.legs:
                compact, places = tp.contract(x, diagram, self.order_out, n)
                scale = divisor ** -_summed(diagram, self.order_out)
                mixed = torch.einsum("oc,bc...->bo...", scale * self.weight[..., number], compact)
                part = tp.diagonal(mixed, places, self.order_out, n)
                total = part if total is None else total + part
        for number, diagram in enumerate(self.constants):
            if diagram.legs and self.bias is not None:
                part = tp.apply_diagram(self.bias[:, number], diagram, self.order_out, n=n)
                total = part.expand(x.shape[0], *part.shape) if total is None else total + part
        return total

    def _by_matrices(self, x: Tensor, n: int, divisor: int | float | Tensor) -> Tensor:
        if self.diagrams:
            maps = _dense(self.diagrams, n, self.order_out, self.group).to(x)
            powers = [_summed(diagram, self.order_out) for diagram in self.diagrams]
        else:
            maps, powers = self.get_buffer("maps"), [0] * self.weight.shape[-1]
        d, outputs, inputs = maps.shape[0], n**self.order_out, n**self.order_in
        flat = x.reshape(x.shape[0], self.in_channels, inputs)
        if isinstance(divisor, Tensor):  # one for each sample: after the maps, before the channels
            scale = divisor.to(x)[:, None] ** -x.new_tensor(powers)
            each = torch.einsum("dij,bcj->bdci", maps, flat)
            mixed = torch.einsum("ocd,bdci,bd->boi", self.weight, each, scale)
        else:
            weight = self.weight * x.new_tensor([float(divisor) ** -power for power in powers])
            matrix = (weight.reshape(-1, d) @ maps.reshape(d, -1)).reshape(
                self.out_channels, self.in_channels, outputs, inputs
            )
            mixed = torch.einsum("ocij,bcj->boi", matrix, flat)
        if self.bias is not None:
            if self.constants:
                own = _dense(self.constants, n, self.order_out, self.group).to(x)
            else:
                own = self.get_buffer("invariants")
            mixed = mixed + self.bias @ own.reshape(len(own), outputs)
        return mixed.reshape(x.shape[0], self.out_channels, *[n] * self.order_out)

    # --- what fits ------------------------------------------------------------------------------

    def _size(self, x: Tensor, n: int | None) -> int:
        """The n of an input."""
        given = self.n if n is None else n
        axes = [*x.shape[2:], *([] if given is None else [given])]
        right = x.ndim == 2 + self.order_in and x.shape[1] == self.in_channels
        alike = len(axes) > 0 and all(n == axes[0] for n in axes)
        if not right or not alike or (self.n is not None and axes[0] != self.n):
            wanted = "n" if self.n is None else str(self.n)
            raise UnsupportedInputError(
                f"{self.group}, orders {self.order_in} -> {self.order_out}: got a tensor of shape "
                f"{tuple(x.shape)} and n={n}; expected (batch, {self.in_channels}"
                f"{(', ' + wanted) * self.order_in}), and n where order_in is 0"
            )
        size: int = axes[0]
        if self.n is None:
            self.group.check(size)
        return size

    def _check_mask(self, mask: Tensor, x: Tensor, n: int) -> None:
        if not isinstance(self.group, tp.SymmetricGroup) or self.n is not None:
            raise UnsupportedInputError(
                f"samples of several n are for layers of S(n) without an n of their own, not for "
                f"{self.group} with n={self.n}"
            )
        if tuple(mask.shape) != (x.shape[0], n):
            raise UnsupportedInputError(
                f"the mask has the shape {tuple(mask.shape)}; expected ({x.shape[0]}, {n})"
            )

    def extra_repr(self) -> str:
        """Shown by print."""
        size = "" if self.n is None else f", n={self.n}"
        return (
            f"{self.group}{size}, orders {self.order_in} -> {self.order_out}, "
            f"channels {self.in_channels} -> {self.out_channels}, {self.weight.shape[-1]} maps"
        )


def _check(in_channels: int, out_channels: int, normalize: Normalize, implementation: str) -> None:
    if min(in_channels, out_channels) < 1:
        raise ConfigError(
            f"in_channels={in_channels}, out_channels={out_channels}: expected 1 or more of each"
        )
    known = normalize in ("mean", "sum") if isinstance(normalize, str) else 0 < normalize < math.inf
    if not known:
        raise ConfigError(f"normalize={normalize!r}: expected mean, sum, or a positive number")
    if implementation not in ("auto", "diagram", "dense"):
        raise ConfigError(f"implementation={implementation!r}: expected auto, diagram or dense")


def _independent(group: Group, n: int | None, order_in: int, order_out: int) -> tuple[Diagram, ...]:
    """Diagrams; without those that depend on others where n is known."""
    found = tp.diagrams(group, n, order_in, order_out)
    if n is None or len(found) == tp.hom_dimension(group, n, order_in, order_out):
        return found
    return tp.equivariant_basis(group, n, order_in, order_out).diagrams


def _summed(diagram: Diagram, order_out: int) -> int:
    """Indices that only inputs have, and no epsilon: what is divided by n for means."""
    return sum(number not in diagram.legs for number in diagram.sides(order_out)[2])


@functools.lru_cache(maxsize=64)
def _dense(diagrams: tuple[Diagram, ...], n: int, order_out: int, group: Group) -> Tensor:
    """Matrices (maps, n^l, n^k) in float64."""
    order_in = sum(map(len, diagrams[0].blocks)) - order_out
    tp.check_memory(group, n, order_in, order_out, len(diagrams))
    tensors = torch.stack([tp.dense(diagram, n, order_out) for diagram in diagrams])
    return tensors.reshape(len(diagrams), n**order_out, n**order_in)


def _scaled_basis(group: Group, n: int, order_in: int, order_out: int, means: bool) -> Tensor:
    """Matrices (maps, n^l, n^k) in float64 of a group without diagrams."""
    kind: tp.Kind = "orbit" if group.permutes else "numerical"
    maps = tp.equivariant_basis(group, n, order_in, order_out, kind).matrices
    if kind == "numerical":  # of length 1: entries of the output get the variance of the input's
        return maps * math.sqrt(n**order_out)
    return maps / maps.sum(dim=2).amax(dim=1)[:, None, None] if means else maps


def _masked(x: Tensor, mask: Tensor, order: int) -> Tensor:
    """Zeros where one of the last axes stands at a coordinate that isn't there."""
    for axis in range(order):
        shape = [x.shape[0], 1] + [mask.shape[1] if k == axis else 1 for k in range(order)]
        x = x.masked_fill(~mask.reshape(shape), 0.0)
    return x
