r"""Graph attention between spherical features (EquiformerV2, arXiv:2306.12059).

Along an edge j -> i the features of both atoms are taken into the frame of the edge, D [x_j, x_i],
weighted by functions s of distance and elements, and mixed by SO(2) convolutions around a
nonlinearity:

    f, a, g = SO2_1(s * D [x_j, x_i])     a for the weights of each head, g scalars for the
    v       = SO2_2(activation(f, g))     activation; v a slice of the channels per head
    e_h     = q_h . SmoothLeakyReLU(LayerNorm(a_h))
    out_i   = W sum_j D^T (alpha_h v_h)

The authors' weights are a softmax over the edges of each atom, alpha = exp(e) / sum exp(e); it
jumps when a neighbour crosses the cutoff. With an envelope u of the distance the weights are
u exp(e) / (1e-6 + sum u exp(e)) and each message is multiplied by u once more,

    alpha = u^2 exp(e) / (1e-6 + sum u exp(e)),

as smooth as u, and zero with the last neighbour. In both cases numerator and denominator carry the
same factor exp(-max e) of each atom (with an envelope no larger than 1): exactly the same function,
without overflow.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.functional import scatter_sum
from zoo.layers.equivariant.edge_features import BackScale, EdgeBatch, RadialNetwork
from zoo.layers.equivariant.feature_activation import FeatureActivation
from zoo.layers.equivariant.so2 import SO2Linear
from zoo.layers.equivariant.so3_linear import SO3Linear

#: added to the sum of the weights under an envelope
WEIGHT_EPS = 1e-6


class AttentionSizes(NamedTuple):
    """Channels inside the attention: hidden features, heads, and per head of weights and values."""

    hidden: int
    heads: int
    alpha: int
    value: int


def smooth_leaky_relu(x: Float[Tensor, "*shape"], slope: float = 0.2) -> Float[Tensor, "*shape"]:
    """A leaky ReLU without kink: (1 + s) x / 2 + (1 - s) x (2 sigmoid(x) - 1) / 2."""
    return x * (slope + (1.0 - slope) * torch.sigmoid(x))


def attention_weights(
    logits: Float[Tensor, "edges heads"],
    target: Int[Tensor, " edges"],
    size: int,
    envelope: Float[Tensor, " edges"] | None = None,
) -> Float[Tensor, "edges heads"]:
    """Weights of messages, see the module: a softmax per target, or its smooth form.

    Args:
        logits: e of each edge.
        target: of each edge.
        size: number of targets.
        envelope: u of each edge, not negative; None for the softmax.
    """
    lowest = -torch.inf if envelope is None else 0.0
    top = torch.full((size, logits.shape[1]), lowest, dtype=logits.dtype, device=logits.device)
    index = target[:, None].expand_as(logits)
    top = top.scatter_reduce(0, index, logits.detach(), "amax")
    weights = torch.exp(logits - top.index_select(0, target))
    if envelope is None:
        return weights / scatter_sum(weights, target, size).index_select(0, target)
    weights = weights * envelope[:, None]
    # the least number keeps 0 / 0 away where everything underflows
    least = torch.finfo(logits.dtype).tiny
    total = scatter_sum(weights, target, size) + (WEIGHT_EPS * torch.exp(-top) + least)
    return weights * envelope[:, None] / total.index_select(0, target)


def radial_width(lmax: int, mmax: int, channels: int, *, shared: bool) -> int:
    """How many radial weights an attention takes per edge.

    Args:
        lmax: highest degree.
        mmax: highest order in the frames.
        channels: of the features; source and target have weights of their own.
        shared: one weight per degree, whatever the order.
    """
    rows = lmax + 1 if shared else sum(lmax - m + 1 for m in range(mmax + 1))
    return 2 * channels * rows


def _degree_rows(lmax: int, mmax: int) -> Int[Tensor, " rows"]:
    """The degree of each row of weights by order m >= 0 and degree."""
    return torch.tensor([degree for m in range(mmax + 1) for degree in range(m, lmax + 1)])


class GraphAttention(nn.Module):
    """Equivariant graph attention with values and weights from SO(2) convolutions.

    Args:
        lmax: highest degree.
        mmax: highest order in the frames.
        channels: of the features.
        sizes: channels inside.
        out_channels: of the output.
        radial: gives `radial_width` weights per edge.
        activation: of `sizes.hidden` channels between the convolutions, order-major.
        share_radial: one radial weight per degree and channel, whatever the order.
        renormalize: whether the features of the weights pass a LayerNorm.
        dropout: of attention weights, while training.
    """

    degree_row: Tensor

    def __init__(
        self,
        lmax: int,
        mmax: int,
        channels: int,
        sizes: AttentionSizes,
        out_channels: int,
        *,
        radial: RadialNetwork,
        activation: FeatureActivation,
        share_radial: bool = False,
        renormalize: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.dropout = dropout
        self.radial = radial
        self.act = activation
        extra = sizes.heads * sizes.alpha + activation.scalars
        self.first = SO2Linear(lmax, mmax, 2 * channels, sizes.hidden, extra_scalars=extra)
        self.second = SO2Linear(lmax, mmax, sizes.hidden, sizes.heads * sizes.value)
        self.share_radial = share_radial
        self.register_buffer("degree_row", _degree_rows(lmax, mmax), persistent=False)
        self.alpha_norm = nn.LayerNorm(sizes.alpha) if renormalize else nn.Identity()
        bound = sizes.alpha**-0.5
        self.query = nn.Parameter(torch.empty(sizes.heads, sizes.alpha).uniform_(-bound, bound))
        self.back = BackScale(lmax, mmax)
        self.out = SO3Linear(lmax, sizes.heads * sizes.value, out_channels)

    def forward(
        self, x: Float[Tensor, "nodes coefficients channels"], edges: EdgeBatch
    ) -> Float[Tensor, "nodes coefficients out_channels"]:
        """Messages summed over the edges of each node.

        Args:
            x: features, degree-major.
            edges: with everything about them.
        """
        hidden, weights = self._hidden(x, edges)
        values = self._weighted(self.second(hidden), weights)
        out: Tensor = self.out(self.back(edges.rotation.scatter(values)))
        return out

    def degree(
        self, x: Float[Tensor, "nodes coefficients channels"], edges: EdgeBatch, degree: int
    ) -> Float[Tensor, "nodes components out_channels"]:
        """One degree of the output, without what the others alone need.

        Args:
            x: features, degree-major.
            edges: with everything about them.
            degree: which.
        """
        hidden, weights = self._hidden(x, edges)
        values = self._weighted(self._second_degree(hidden, degree), weights)
        rows = [self.second.sizes.begins(m) + degree - m for m in range(self._orders(degree))]
        rows += [begin + self.second.sizes.degrees(m) for m, begin in enumerate(rows[1:], start=1)]
        columns = slice(degree * degree, (degree + 1) ** 2)
        turned = edges.rotation.matrix.to(x.dtype)[:, rows, columns].mT @ values
        summed = scatter_sum(turned, edges.target, edges.num_nodes)
        return self.out.degree(summed * self.back.factor[degree * degree], degree)

    def _orders(self, degree: int) -> int:
        """How many orders m >= 0 a degree has in the frames."""
        return min(degree, self.second.sizes.mmax) + 1

    def _second_degree(self, x: Tensor, degree: int) -> Tensor:
        """One degree of the second convolution: orders 0, 1, ..., then -1, ..."""
        sizes, weights, bias = self.second.sizes, list(self.second.weight), self.second.bias
        assert bias is not None  # `SO2Linear` has one unless told otherwise
        counts = [sizes.degrees(m) for m in range(sizes.mmax + 1)]
        rows = x.split([counts[0], *(n for n in counts[1:] for _ in range(2))], dim=1)
        flat = [row.flatten(1) for row in rows]
        scalar = weights[0].unflatten(0, (counts[0], sizes.outputs))[degree]
        plus = [nn.functional.linear(flat[0], scalar, bias.view(counts[0], -1)[degree])]
        minus = []
        for m in range(1, self._orders(degree)):
            real, imaginary = weights[m].unflatten(0, (2, counts[m], -1))[:, degree - m]
            a, b = flat[2 * m - 1], flat[2 * m]
            plus.append(a @ real.T - b @ imaginary.T)
            minus.append(a @ imaginary.T + b @ real.T)
        return torch.stack(plus + minus, dim=1)  # (edges, orders, channels)

    def _hidden(self, x: Tensor, edges: EdgeBatch) -> tuple[Tensor, Tensor]:
        """Activated features in the frames, and the weights of the heads."""
        both = edges.rotation.gather_both(x)
        radial = self.radial(edges)
        if self.share_radial:
            degrees = radial.unflatten(1, (-1, both.shape[2]))
            radial = degrees.index_select(1, self.degree_row).flatten(1)
        hidden, extra = self.first(both, radial)
        alphas = self.sizes.heads * self.sizes.alpha
        alpha, scalars = extra.split([alphas, self.act.scalars], dim=1)
        alpha = self.alpha_norm(alpha.unflatten(1, (self.sizes.heads, self.sizes.alpha)))
        logits = (smooth_leaky_relu(alpha) * self.query).sum(-1)  # (edges, heads)
        weights = attention_weights(logits, edges.target, edges.num_nodes, edges.envelope)
        weights = nn.functional.dropout(weights, self.dropout, self.training)
        return self.act(scalars, hidden), weights

    def _weighted(self, values: Tensor, weights: Tensor) -> Tensor:
        """Each head's values times its weight."""
        # expanded first: the sum over rows in backward then runs along contiguous channels
        spread = weights[:, :, None].expand(-1, -1, self.sizes.value).flatten(1)
        return values * spread[:, None]
