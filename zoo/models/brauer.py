r"""Networks on tensors that rotations turn: Brauer's diagrams, products and gates.

The linear maps between tensor powers of R^n that are equivariant to O(n), SO(n) or Sp(n) are those
of Pearce-Crump, Brauer's group equivariant neural networks, ICML 2023 (arXiv:2212.08630). The paper
has no network beyond them, and a pointwise activation of tensors would break the symmetry (Pacini
et al., ICLR 2024). So this one is our own, of features x_k for each of some orders k:

    u_k = sum over a of D(x_a) + sum over a <= b of D(x_a (x) M x_b),
    x_0 <- x_0 + SiLU(u_0),   x_k <- x_k + sigmoid(W u_0 + b) u_k,

where D are sums over all diagrams with channels mixed, (x) is the product of tensors channel by
channel, and M mixes channels. Products of tensors make it able to square a matrix; gates are made
of scalars alone, which suits Sp(n), under which lengths of tensors aren't invariant.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from zoo.errors import CapabilityError, ConfigError
from zoo.functional import tensor_power as tp
from zoo.layers.tensor_power import TensorPowerLinear
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

GroupName = Literal["O", "SO", "Sp"]
Features = Mapping[int, Tensor]
_ORDERS = (0, 2)


@register("brauer")
class Brauer(SampleModel):
    """Numbers, classes, or a tensor, from a tensor; equivariant to O(n), SO(n) or Sp(n).

    Args:
        group: "O", "SO" or "Sp".
        dimension: n.
        order_in: of the tensor that a sample is.
        order_out: of the tensor that is predicted; 0 for invariant numbers or classes.
        out_channels: numbers or classes; 1 where a tensor is predicted.
        hidden_channels: tensors of each order.
        num_layers: products and gates.
        orders: of hidden tensors; 0 is always among them.
        max_order: of products.
        regression: `prediction` instead of `logits`; a tensor is always a prediction.

    Raises:
        ConfigError: for sizes below 1, unknown names, Sp(n) with an odd n, orders that can't be
            reached from the input, or from which the output can't.
    """

    domain = "tensor"

    def __init__(  # noqa: PLR0913
        self,
        *,
        group: GroupName = "O",
        dimension: int = 3,
        order_in: int = 2,
        order_out: int = 0,
        out_channels: int = 1,
        hidden_channels: int = 16,
        num_layers: int = 2,
        orders: list[int] | None = None,
        max_order: int = 4,
        regression: bool = True,
    ) -> None:
        of = _checked(group, dimension, hidden_channels, num_layers, order_in, order_out)
        if order_out and (not regression or out_channels != 1):
            raise ConfigError(
                f"order_out={order_out} with regression={regression}, out_channels={out_channels}: "
                "a tensor is one prediction"
            )
        super().__init__(
            sample_shape=(dimension,) * order_in,
            outputs=("prediction" if regression else "logits",),
        )
        self.symmetry = f"{group}(n)"
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {}
        if order_out:
            self.laws["prediction"] = "equivariant"
        self.orders = tuple(sorted({0, *(_ORDERS if orders is None else orders)}))
        if self.orders[0] < 0:
            raise ConfigError(f"orders={orders}: expected 0 or more")
        self.order_in, self.order_out, self.hidden_channels = order_in, order_out, hidden_channels
        sizes = dict.fromkeys(self.orders, hidden_channels)
        self.embedding = _Maps(of, dimension, {order_in: 1}, sizes)
        if not len(self.embedding.maps):
            raise ConfigError(
                f"no hidden order of {list(self.orders)} can be reached from order {order_in} "
                f"under {of}: add {order_in} to orders"
            )
        used = {0, *(k for k in sizes if tp.hom_dimension(of, dimension, k, order_out))}
        # the last layer gives what the head reads, and scalars for its gates
        last = dict.fromkeys(sorted(used) if order_out else [0], hidden_channels)
        self.layers = nn.ModuleList(
            _Layer(of, dimension, sizes, sizes if number else last, max_order)
            for number in range(num_layers - 1, -1, -1)
        )
        if order_out == 0:
            self.head = self.make_head(out_channels)
            return
        self.readout = _Maps(of, dimension, last, {order_out: 1})
        if not len(self.readout.maps):
            raise ConfigError(
                f"order {order_out} can't be reached from the hidden orders {list(self.orders)} "
                f"under {of}: add it to orders"
            )

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh head.

        Raises:
            CapabilityError: where a tensor is predicted.
        """
        if self.order_out == 0:
            return nn.Linear(self.hidden_channels, out_channels)
        raise CapabilityError(
            f"{self._title()} predicts a tensor of order {self.order_out}, and has no head to "
            "replace; make one with order_out=0 for numbers or classes"
        )

    def blocks(self) -> list[nn.Module]:
        """Embedding, layers and head."""
        last = self.readout if self.order_out else self.head
        return [self.embedding, *self.layers, last]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Predictions.

        Args:
            batch: `x` (samples, n, ..., n).

        Returns:
            `prediction` or `logits` (samples, out_channels), or (samples, n, ..., n); `embedding`
            (samples, hidden_channels), the last scalars.
        """
        x = cast(dict[str, Tensor], batch)["x"]
        features = self.embedding({self.order_in: x[:, None]})
        for order in self.orders:  # what only products reach begins at zero
            if order not in features:
                shape = (x.shape[0], self.hidden_channels, *[x.shape[-1]] * order)
                features[order] = x.new_zeros(shape)
        for layer in self.layers:
            features = layer(features)
        if self.order_out:
            out = self.readout(features)[self.order_out][:, 0]
        else:
            out = self.head(features[0])
        return {self.outputs[0]: out, "embedding": features[0]}


class _Maps(nn.Module):
    """Linear maps between features of several orders, wherever there are any."""

    def __init__(
        self, group: tp.Group, n: int, inputs: Mapping[int, int], outputs: Mapping[int, int]
    ) -> None:
        super().__init__()
        self.maps = nn.ModuleDict()
        biased: set[int] = set()
        for a, b in _pairs(group, n, inputs, outputs):
            # one bias for each order is enough
            self.maps[f"{a}_{b}"] = TensorPowerLinear(
                group, a, b, inputs[a], outputs[b], n=n, bias=b not in biased
            )
            biased.add(b)

    def forward(self, features: Features) -> dict[int, Tensor]:
        """Order -> (samples, channels, n, ..., n); orders that nothing leads to are absent."""
        found: dict[int, Tensor] = {}
        for name, layer in self.maps.items():
            a, b = map(int, name.split("_"))
            if a in features:
                out = layer(features[a])
                found[b] = found[b] + out if b in found else out
        return found


def _pairs(
    group: tp.Group, n: int, inputs: Mapping[int, int], outputs: Mapping[int, int]
) -> Iterator[tuple[int, int]]:
    for a in inputs:
        yield from ((a, b) for b in outputs if tp.hom_dimension(group, n, a, b))


class _Layer(nn.Module):
    def __init__(
        self,
        group: tp.Group,
        n: int,
        inputs: Mapping[int, int],
        outputs: Mapping[int, int],
        max_order: int,
    ) -> None:
        super().__init__()
        channels = inputs[0]
        self.linear = _Maps(group, n, inputs, outputs)
        tensors = [order for order in inputs if order]
        every = [(a, b) for a in tensors for b in tensors if a <= b and a + b <= max_order]
        # products that reach no order of the outputs are left out
        self.pairs = [(a, b) for a, b in every if [*_pairs(group, n, {a + b: 0}, outputs)]]
        self.partners = nn.ModuleDict(
            {str(b): nn.Linear(channels, channels, bias=False) for _, b in self.pairs}
        )
        self.products = nn.ModuleList(
            _Products(group, n, a + b, channels, outputs) for a, b in self.pairs
        )
        self.tensors = [order for order in outputs if order]
        self.gates = nn.Linear(channels, channels * len(self.tensors)) if self.tensors else None

    def forward(self, features: Features) -> dict[int, Tensor]:
        out = self.linear(features)
        partners = {
            int(order): mix(features[int(order)].movedim(1, -1)).movedim(-1, 1)
            for order, mix in self.partners.items()
        }
        for (a, b), layer in zip(self.pairs, self.products, strict=True):
            for order, value in layer({a + b: _outer(features[a], partners[b])}).items():
                out[order] = out[order] + value if order in out else value
        found = {0: features[0] + silu(out[0])}
        if self.gates is not None:
            gates = torch.sigmoid(self.gates(out[0])).chunk(len(self.tensors), dim=1)
            for order, gate in zip(self.tensors, gates, strict=True):
                wide = gate.reshape(*gate.shape, *[1] * order)
                found[order] = features[order] + wide * out[order]
        return found


class _Products(_Maps):
    """The maps of one product; biases are with the linear part."""

    def __init__(
        self, group: tp.Group, n: int, order: int, channels: int, sizes: Mapping[int, int]
    ) -> None:
        nn.Module.__init__(self)
        self.maps = nn.ModuleDict(
            {
                f"{a}_{b}": TensorPowerLinear(group, a, b, channels, sizes[b], n=n, bias=False)
                for a, b in _pairs(group, n, {order: channels}, sizes)
            }
        )


def _outer(x: Tensor, y: Tensor) -> Tensor:
    """x (x) y channel by channel."""
    a, b = x.ndim - 2, y.ndim - 2
    return x.reshape(*x.shape, *[1] * b) * y.reshape(*y.shape[:2], *[1] * a, *y.shape[2:])


def _checked(
    group: str, dimension: int, hidden: int, layers: int, order_in: int, order_out: int
) -> tp.Group:
    if group not in get_args(GroupName):
        raise ConfigError(f"group={group!r}: expected one of {', '.join(get_args(GroupName))}")
    if min(hidden, layers, order_in) < 1 or order_out < 0:
        raise ConfigError(
            f"hidden_channels={hidden}, num_layers={layers}, order_in={order_in}, "
            f"order_out={order_out}: expected at least 1 of each, 0 of the last"
        )
    of = tp.as_group(group)
    of.check(dimension)
    return of
