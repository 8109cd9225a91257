r"""A matrix product state on pictures, pixel by pixel.

Stoudenmire, Schwab, *Supervised learning with tensor networks*, NeurIPS 2016 (arXiv:1605.05775).
The pixels, row by row, are the sites of the chain; see `zoo.layers.tensor_network.mps` for the
formula and for what differs: all cores are trained at once by an ordinary optimiser instead of
sweeps over pairs of sites with singular values cut, and the vectors that meet at the label are
divided by their lengths unless `normalise=False`.
"""

import math
from typing import Literal, cast

import numpy as np
from torch import Tensor, nn

from zoo.errors import UnsupportedInputError
from zoo.layers.tensor_network import MPSHead, MPSLabel
from zoo.layers.tensor_network.mps import FeatureMap
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register


@register("mps")
class MPS(SampleModel):
    """Classifies pictures, or vectors, by a chain of matrices.

    Args:
        n_sites: numbers of a sample: channels times rows times columns.
        out_channels: classes.
        bond_dim: rows of the matrices.
        feature_map: "cos_sin" for (cos(pi x / 2), sin(pi x / 2)), "linear" for (1 - x, x).
        label_site: how many sites lie left of the label; half of them if None.
        init_std: standard deviation of the noise on the initial matrices.
        normalise: divides the vectors that meet at the label by their lengths; False for the
            published function, which grows or shrinks exponentially with the number of sites.
        domain: "image", or "vector" for vectors of n_sites numbers.
    """

    domain = "image"
    accepts = ("vector",)

    def __init__(
        self,
        *,
        n_sites: int = 64,
        out_channels: int = 10,
        bond_dim: int = 20,
        feature_map: FeatureMap = "cos_sin",
        label_site: int | None = None,
        init_std: float = 0.1,
        normalise: bool = True,
        domain: Literal["image", "vector"] = "image",
    ) -> None:
        shape = (n_sites,) if domain == "vector" else (None, None, None)
        super().__init__(domain=domain, sample_shape=shape)
        self.n_sites, self.bond_dim = n_sites, bond_dim
        whole = MPSHead(
            n_sites,
            out_channels,
            bond_dim,
            feature_map,
            label_site,
            init_std=init_std,
            normalise=normalise,
        )
        self.chain, self.head = whole.chain, whole.label

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh core at the label."""
        return MPSLabel(self.bond_dim, out_channels)

    def check(self, batch: SampleBatch) -> None:
        """Refuses pictures of another size."""
        found = cast(dict[str, Tensor], batch)["x"][0].numel()
        if found != self.n_sites:
            raise UnsupportedInputError(
                f"MPS takes samples of {self.n_sites} numbers (n_sites), not {found}"
            )

    def examples(self, rng: np.random.Generator, count: int) -> list[dict[str, np.ndarray]]:
        """Random samples of the right size, for the contract suite."""
        return [{"x": rng.uniform(0.0, 1.0, self._shape())} for _ in range(count)]

    def odd_examples(self, rng: np.random.Generator) -> dict[str, list[dict[str, np.ndarray]]]:
        """Samples of one value, also far outside of 0 to 1."""
        values = {"zeros": 0.0, "ones": 1.0, "large": 30.0, "below zero": -5.0}
        return {name: [{"x": np.full(self._shape(), v)}] * 2 for name, v in values.items()}

    def _shape(self) -> tuple[int, ...]:
        """Of a sample, as a square picture where its size allows that."""
        side = math.isqrt(self.n_sites)
        if self.domain == "vector":
            return (self.n_sites,)
        return (1, side, side) if side**2 == self.n_sites else (1, 1, self.n_sites)

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits of a batch of pictures.

        Args:
            batch: `x` (samples, channels, rows, columns), or (samples, n_sites).

        Returns:
            `logits` (samples, classes).
        """
        left, right = self.chain(cast(dict[str, Tensor], batch)["x"].flatten(1))
        return {"logits": self.head(left, right)}
