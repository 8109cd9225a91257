r"""A perceptron on sums of tensor powers, whose symmetry is a matter of penalties.

Kim, Lee, Yang, Lee, Regularizing towards soft equivariance under mixed symmetries, ICML 2023,
arXiv:2306.00356, on the architecture of Finzi, Welling, Wilson, ICML 2021, arXiv:2104.09459: linear
layers without constraints between spaces of scalars, vectors and matrices of R^n, each followed by

    scalars     SiLU
    tensors     times sigmoid of a scalar of their own (gates)
    products    v_a (x) v_b and v_a . v_b of pairs of vectors, beside the others.

All but the linear layers commute with O(n), so that the network is as equivariant under a group as
their weights are; `EquivariancePenalty` (a recipe's `symmetry: {weights: ...}`) draws these towards
O(n), SO(n) or S_n, each with a weight of its own.

Deviations: the authors' bilinear layers are learnt sums of products; here products are of fixed
pairs of learnt vectors. Their tuning of the weights of the penalties in training is left out.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from zoo.errors import ConfigError
from zoo.layers.symmetry import TensorLinear, TensorSpace
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register


class SoftLayer(nn.Module):
    """A linear layer, gates and products.

    Args:
        space: of its inputs.
        scalars: of its outputs, those of products not counted.
        vectors: of its outputs, an even number.
        matrices: of its outputs, those of products not counted.

    Attributes:
        space: of its outputs.
    """

    def __init__(self, space: TensorSpace, scalars: int, vectors: int, matrices: int) -> None:
        super().__init__()
        self.n, self.sizes = space.n, (scalars, vectors, matrices)
        inner = f"{scalars + vectors + matrices}x0+{vectors}x1+{matrices}x2"
        self.linear = TensorLinear(space, TensorSpace(inner, space.n))
        pairs = vectors // 2
        self.space = TensorSpace(f"{scalars + pairs}x0+{vectors}x1+{matrices + pairs}x2", space.n)

    def forward(self, x: Float[Tensor, "samples inputs"]) -> Float[Tensor, "samples outputs"]:
        """Outputs in the order of `space`."""
        n, (scalars, vectors, matrices) = self.n, self.sizes
        sizes = [scalars, vectors + matrices, n * vectors, n * n * matrices]
        s, gates, v, m = self.linear(x).split(sizes, dim=1)
        first, second = torch.sigmoid(gates).split([vectors, matrices], dim=1)
        v = v.unflatten(1, (vectors, n)) * first[..., None]
        m = m.unflatten(1, (matrices, n * n)) * second[..., None]
        a, b = v[:, ::2], v[:, 1::2]
        outer = (a[..., :, None] * b[..., None, :]).flatten(2)  # (samples, pairs, n * n)
        dots = (a * b).sum(-1)
        parts = [silu(s), dots, v.flatten(1), torch.cat([m, outer], 1).flatten(1)]
        return torch.cat(parts, dim=1)


@register("soft_mlp")
class SoftMLP(SampleModel):
    """Predicts tensors of a few scalars and vectors.

    Args:
        space_in: what `x` holds, such as "5x0+5x1": five scalars, then five vectors.
        space_out: what is predicted, such as "1x2": a matrix, row by row.
        dimension: n of R^n.
        scalars: of the hidden layers.
        vectors: of the hidden layers, an even number.
        matrices: of the hidden layers.
        num_layers: hidden layers.
    """

    domain = "vector"
    symmetry = "none"

    def __init__(
        self,
        *,
        space_in: str = "5x0+5x1",
        space_out: str = "1x2",
        dimension: int = 3,
        scalars: int = 16,
        vectors: int = 8,
        matrices: int = 4,
        num_layers: int = 2,
    ) -> None:
        if min(scalars, matrices, num_layers) < 1 or vectors < 2 or vectors % 2:
            raise ConfigError(
                f"SoftMLP: scalars={scalars}, vectors={vectors}, matrices={matrices}, "
                f"num_layers={num_layers}; expected numbers >= 1, and vectors in pairs"
            )
        space = TensorSpace(space_in, dimension)
        super().__init__(sample_shape=(space.size,), outputs=("prediction",))
        self.layers = nn.ModuleList()
        for _ in range(num_layers):
            layer = SoftLayer(space, scalars, vectors, matrices)
            self.layers.append(layer)
            space = layer.space
        self.last = TensorLinear(space, TensorSpace(space_out, dimension))

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output."""
        return [*self.layers, self.last]

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """The predicted tensors.

        Args:
            batch: `x` (samples, size of `space_in`).

        Returns:
            `prediction` (samples, size of `space_out`).
        """
        h: Tensor = batch["x"]
        for layer in self.layers:
            h = layer(h)
        return {"prediction": self.last(h), "embedding": h}
