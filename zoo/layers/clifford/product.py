r"""Geometric products with learnt weights, and the blocks made of them.

Ruhe, Brandstetter, Forré, arXiv:2305.11141, equations 11 and 12: a layer multiplies its input by a
linear map of itself, each path of grades with a weight of its own, and adds a linear map:

    (L x + sum over paths of w_(ijk) << <x>_i <N R x>_k >_j) / sqrt(2).
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.functional import clifford
from zoo.functional.clifford import Algebra
from zoo.layers.clifford._matrix import check_rows
from zoo.layers.clifford.linear import (
    Multivectors,
    MVLayerNorm,
    MVLinear,
    MVNorm,
    MVSiLU,
    check_channels,
)


class GeometricProduct(nn.Module):
    """Steerable geometric product, each channel with itself.

    Args:
        algebra: of the multivectors.
        channels: of input and output.
        normalise: the right factor, by `MVNorm`; the authors switch it off in spacetime.
    """

    def __init__(self, algebra: Algebra, channels: int, *, normalise: bool = True) -> None:
        super().__init__()
        self.algebra = algebra
        self.normalization = MVNorm(algebra, channels) if normalise else nn.Identity()
        self.linear_right = MVLinear(algebra, channels, channels, bias=False)
        self.linear_left = MVLinear(algebra, channels, channels)
        self.weight = nn.Parameter(torch.empty(channels, len(algebra.paths)))
        nn.init.normal_(self.weight, std=1 / math.sqrt(algebra.dimension + 1))

    def forward(self, x: Multivectors) -> Multivectors:
        """Multivectors of degree two in x."""
        if self._whole() and clifford.compiles(x, self.algebra):
            return self._at_once(x)
        right = self.normalization(self.linear_right(x))
        product = clifford.weighted_product(x, right, self.weight, self.algebra)
        out: Tensor = (self.linear_left(x) + product) / math.sqrt(2)
        return out

    def _whole(self) -> bool:
        """Whether all parts are as they were made: nothing put in their place, no hooks."""
        parts = (self.linear_right, self.linear_left, self.normalization)
        return all(
            type(part) in (MVLinear, MVNorm, nn.Identity) and not _is_hooked(part) for part in parts
        )

    def _at_once(self, x: Tensor) -> Tensor:
        """The same in compiled code, where the factor 1/sqrt(2) is on the weights."""
        check_rows("GeometricProduct", x, len(self.weight), self.algebra.blades)
        norm, half = self.normalization, math.sqrt(0.5)
        assert self.linear_left.bias is not None
        out = clifford.steerable_product(
            clifford.blade_major(x).flatten(1, -2),
            self.linear_right.weight,
            torch.sigmoid(norm.a.T) if isinstance(norm, MVNorm) else None,
            self.linear_left.weight * half,
            self.linear_left.bias * half,
            self.weight * half,
            self.algebra,
            least=1 / norm.max_growth if isinstance(norm, MVNorm) else 0.0,
        )
        return clifford.channels_first(out).reshape(x.shape)


class ConnectedGeometricProduct(nn.Module):
    """Fully connected geometric product: every output channel sees the product of every input.

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        out_channels: of the output.
        normalise: the right factor, by `MVNorm`.
    """

    def __init__(
        self, algebra: Algebra, in_channels: int, out_channels: int, *, normalise: bool = True
    ) -> None:
        super().__init__()
        check_channels("ConnectedGeometricProduct", in_channels, out_channels)
        self.algebra = algebra
        self.normalization = MVNorm(algebra, in_channels) if normalise else nn.Identity()
        self.linear_right = MVLinear(algebra, in_channels, in_channels, bias=False)
        self.linear_left = MVLinear(algebra, in_channels, out_channels)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, len(algebra.paths)))
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_channels * (algebra.dimension + 1)))

    def forward(self, x: Float[Tensor, "*batch inputs blades"]) -> Multivectors:
        """Multivectors of degree two in x."""
        right = self.normalization(self.linear_right(x))
        product = clifford.connected_product(x, right, self.weight, self.algebra)
        out: Tensor = (self.linear_left(x) + product) / math.sqrt(2)
        return out


class CEMLP(nn.Module):
    """Clifford group equivariant MLP: linear map, MVSiLU, geometric product, layer norm; repeated.

    Args:
        algebra: of the multivectors.
        in_channels: of the input.
        hidden_channels: between the blocks.
        out_channels: of the output.
        num_layers: blocks.
        normalise: right factors of products.
    """

    def __init__(
        self,
        algebra: Algebra,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        num_layers: int = 2,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        check_channels(type(self).__name__, in_channels, hidden_channels, out_channels, num_layers)
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        self.layers = nn.Sequential(
            *(
                self._block(algebra, *pair, normalise=normalise)
                for pair in itertools.pairwise(widths)
            )
        )

    def _block(self, algebra: Algebra, before: int, after: int, *, normalise: bool) -> nn.Module:
        return nn.Sequential(
            MVLinear(algebra, before, after),
            MVSiLU(algebra, after),
            GeometricProduct(algebra, after, normalise=normalise),
            MVLayerNorm(algebra, after),
        )

    def forward(self, x: Float[Tensor, "*batch inputs blades"]) -> Multivectors:
        """Multivectors of the output's channels."""
        out: Tensor = self.layers(x)
        return out

    def of_differences(
        self,
        h: Float[Tensor, "blades nodes channels"],
        i: Int[Tensor, " edges"],
        j: Int[Tensor, " edges"],
        *given: Float[Tensor, "blades edges some"],
    ) -> Multivectors:
        """What `forward` makes of h_i - h_j and further channels, of blade-major tensors.

        The first map is linear: it is taken of nodes, which are fewer than their pairs.

        Args:
            h: multivectors of nodes.
            i: nodes.
            j: nodes that are taken off.
            given: further channels of each pair, behind the difference.
        """
        (linear, *rest), *blocks = (list(cast(nn.Sequential, block)) for block in self.layers)
        first = cast(Any, linear)
        part = getattr(first, "part", None)
        sizes = (h.shape[0], h.shape[2] + sum(t.shape[2] for t in given))
        watched = any(map(_is_hooked, (self, self.layers, self.layers[0], first)))
        if watched or part is None or sizes != (first.algebra.blades, first.weight.shape[1]):
            x = torch.cat([h.index_select(1, i) - h.index_select(1, j), *given], 2)
            return cast(Tensor, self(clifford.channels_first(x)))
        mapped = part(h, slice(h.shape[2]), bias=False)
        x = mapped.index_select(1, i) - mapped.index_select(1, j)
        if given:
            x = x + part(torch.cat(given, 2), slice(h.shape[2], None), bias=True)
        elif getattr(first, "bias", None) is not None:
            x = torch.cat([x[:1] + first.bias.reshape(-1), x[1:]])
        out = clifford.channels_first(x)
        for layer in itertools.chain(rest, *blocks):
            out = layer(out)
        return out


class CliffordMessage(nn.Module):
    """Messages between multivectors of nodes: h_i + update(h_i, mean over j of message(h_i - h_j)).

    Args:
        algebra: of the multivectors.
        channels: of the nodes' multivectors.
        edge_channels: multivectors per edge beside the difference.
        node_channels: multivectors per node that only the update sees.
        residual: adds the input.
        normalise: right factors of products.
        mlp: makes messages and updates, as `CEMLP` does.
    """

    def __init__(
        self,
        algebra: Algebra,
        channels: int,
        *,
        edge_channels: int = 0,
        node_channels: int = 0,
        residual: bool = True,
        normalise: bool = True,
        mlp: Callable[..., nn.Module] = CEMLP,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.edge_model = mlp(
            algebra, channels + edge_channels, channels, channels, normalise=normalise
        )
        self.node_model = mlp(
            algebra, 2 * channels + node_channels, channels, channels, normalise=normalise
        )

    def forward(
        self,
        h: Float[Tensor, "nodes channels blades"],
        edge_index: Int[Tensor, "2 edges"],
        edge_attr: Float[Tensor, "edges some blades"] | None = None,
        node_attr: Float[Tensor, "nodes more blades"] | None = None,
    ) -> Float[Tensor, "nodes channels blades"]:
        """New multivectors of the nodes.

        Args:
            h: multivectors of the nodes.
            edge_index: senders j (row 0) and receivers i (row 1).
            edge_attr: multivectors of the edges.
            node_attr: further multivectors of the nodes.
        """
        j, i = edge_index
        major, given = clifford.blade_major(h), []
        if edge_attr is not None:
            given.append(clifford.blade_major(edge_attr))
        if isinstance(self.edge_model, CEMLP):
            messages = self.edge_model.of_differences(major, i, j, *given)
        else:
            difference = major.index_select(1, i) - major.index_select(1, j)
            messages = self.edge_model(clifford.channels_first(torch.cat([difference, *given], 2)))
        seen = [major, _mean(clifford.blade_major(messages), i, h.shape[0])]
        if node_attr is not None:
            seen.append(clifford.blade_major(node_attr))
        update: Tensor = self.node_model(clifford.channels_first(torch.cat(seen, 2)))
        return h + update if self.residual else update


def _mean(
    messages: Float[Tensor, "blades edges channels"], index: Int[Tensor, " edges"], size: int
) -> Float[Tensor, "blades size channels"]:
    """Of the messages to each node; zeros where there are none. Rows of channels stay together."""
    total = messages.new_zeros((messages.shape[0], size, messages.shape[2]))
    count = torch.bincount(index, minlength=size).clamp(min=1).to(messages.dtype)
    return total.index_add(1, index, messages) / count[:, None]


def _is_hooked(module: nn.Module) -> bool:
    """Whether something wants to see what goes through a module."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )
