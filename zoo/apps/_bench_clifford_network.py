"""CGENN's N-body network by einsum over dense tables, the peer of `zoo bench clifford`.

Written from the formulas of Ruhe, Brandstetter, Forré, arXiv:2305.11141: every linear map, product
and quadratic form is one einsum of tensors (batch, channels, blades), products with the weights of
the paths spread over the dense table (left, output, right). It runs with the weights of a model of
ours, so that both can be seen to compute the same.
"""

import itertools
import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from zoo.apps._bench_clifford_dense import dense_table, spread
from zoo.functional.clifford import Algebra
from zoo.layers.clifford import (
    CEMLP,
    CliffordMessage,
    GeometricProduct,
    MVLayerNorm,
    MVLinear,
    MVNorm,
    MVSiLU,
)
from zoo.models.cgenn import CGENN


class Einsum:
    """The network of a CGENN for N-body, by einsum.

    Args:
        model: gives the weights.
    """

    def __init__(self, model: CGENN) -> None:
        self.model = model
        self.algebra: Algebra = model.algebra
        like = next(model.parameters())
        self.table = dense_table(self.algebra).to(like)
        self.reversion = like.new_tensor(
            [(-1.0) ** (g * (g - 1) // 2) for g in self.algebra.grades]
        )

    def __call__(self, batch: Data) -> Tensor:
        """Later positions of a batch of samples of five particles each."""
        graph = cast(Batch, batch)
        samples, size = graph.num_graphs, graph.num_nodes // graph.num_graphs
        place = torch.arange(samples).repeat_interleave(size)
        centre = graph.pos.reshape(samples, size, -1).mean(1)[place]
        h = graph.pos.new_zeros(graph.num_nodes, 3, self.algebra.blades)
        h[:, 0, 0] = graph.charge
        h[:, 1, self.algebra.slice(1)] = graph.pos - centre
        h[:, 2, self.algebra.slice(1)] = graph.vel
        pairs = torch.tensor(list(itertools.permutations(range(size), 2)))
        edges = (pairs[None] + size * torch.arange(samples)[:, None, None]).reshape(-1, 2).T
        attributes = graph.pos.new_zeros(edges.shape[1], 1, self.algebra.blades)
        attributes[:, 0, 0] = graph.charge[edges[0]] * graph.charge[edges[1]]
        h = self._linear(cast(MVLinear, self.model.embedding), h)
        for layer in cast(nn.ModuleList, self.model.layers):
            h = self._message(cast(CliffordMessage, layer), h, edges, attributes)
        step = self._linear(cast(MVLinear, self.model.projection), h)[:, 0, self.algebra.slice(1)]
        out: Tensor = graph.pos + step
        return out

    def _message(self, layer: CliffordMessage, h: Tensor, edges: Tensor, about: Tensor) -> Tensor:
        i, j = edges
        messages = self._mlp(layer.edge_model, torch.cat([h[i] - h[j], about], dim=1))
        total = torch.zeros_like(h).index_add(0, i, messages)
        count = torch.bincount(i, minlength=len(h)).to(h)[:, None, None]
        return h + self._mlp(layer.node_model, torch.cat([h, total / count], dim=1))

    def _mlp(self, module: nn.Module, x: Tensor) -> Tensor:
        for block in cast(CEMLP, module).layers:
            for layer in cast(nn.Sequential, block):
                x = self._apply(layer, x)
        return x

    def _apply(self, layer: nn.Module, x: Tensor) -> Tensor:
        if isinstance(layer, MVLinear):
            return self._linear(layer, x)
        if isinstance(layer, MVSiLU):
            forms = torch.cat([x[..., :1], *self._forms(x)[1:]], dim=-1)
            return x * self._per_blade(torch.sigmoid(layer.a * forms + layer.b))
        if isinstance(layer, MVLayerNorm):
            form = torch.einsum("...i,ijk,...k->...j", x * self.reversion, self.table, x)[..., :1]
            return layer.a[..., None] * x / (_root(form).mean(1, keepdim=True) + 1e-6)
        return self._product(cast(GeometricProduct, layer), x)

    def _product(self, layer: GeometricProduct, x: Tensor) -> Tensor:
        right = self._linear(layer.linear_right, x)
        if isinstance(layer.normalization, MVNorm):
            norms = torch.cat([_root(form) for form in self._forms(right)], dim=-1)
            divisor = torch.sigmoid(layer.normalization.a) * (norms - 1) + 1
            limit = 1 / layer.normalization.max_growth
            right = right / (self._per_blade(divisor.clamp(min=limit)) + 1e-6)
        weight = spread(layer.weight, self.algebra) * self.table
        product = torch.einsum("bni,nijk,bnk->bnj", x, weight, right)
        return (self._linear(layer.linear_left, x) + product) / math.sqrt(2)

    def _linear(self, layer: MVLinear, x: Tensor) -> Tensor:
        if layer.weight.ndim == 3:
            out = torch.einsum("bmi,nmi->bni", x, self._per_blade(layer.weight))
        else:
            out = torch.einsum("bmi,nm->bni", x, layer.weight)
        if layer.bias is None:
            return out
        scalar = torch.zeros_like(out[:1])
        scalar[..., :1] = layer.bias
        return out + scalar

    def _forms(self, x: Tensor) -> list[Tensor]:
        """The quadratic form of each grade (batch, channels, 1), by a product of its blades."""
        found = []
        for grade in range(len(self.algebra.sizes)):
            part, rows = x[..., self.algebra.slice(grade)], self.algebra.slice(grade)
            table = self.table[rows, :1, rows]
            turned = part * self.reversion[rows]
            found.append(torch.einsum("...i,ijk,...k->...j", turned, table, part))
        return found

    def _per_blade(self, values: Tensor) -> Tensor:
        return values.repeat_interleave(torch.tensor(self.algebra.sizes), dim=-1)


def contestants(*, samples: int = 100, seed: int = 0) -> tuple[CGENN, Einsum, Batch]:
    """Our network, the peer with the same weights, and a batch with targets.

    Args:
        samples: of five particles each.
        seed: of weights and batch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CGENN()
        charges = torch.randint(0, 2, (samples, 5)) * 2.0 - 1
        particles: list[Any] = [
            Data(pos=torch.randn(5, 3), vel=torch.randn(5, 3) / 2, charge=c, y=torch.randn(5, 3))
            for c in charges
        ]
    batch = Batch.from_data_list(particles)
    return model, Einsum(model), batch


def _root(form: Tensor) -> Tensor:
    return (form.square() + 1e-16) ** 0.25
