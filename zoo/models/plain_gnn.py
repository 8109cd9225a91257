r"""A message network on particles with no symmetry but that of their order.

Gilmer, Schoenholz, Riley, Vinyals, Dahl, Neural message passing for quantum chemistry, ICML 2017,
arXiv:1704.01212, in the form that Satorras, Hoogeboom, Welling (EGNN, ICML 2021) hold equivariant
networks against: coordinates and velocities are features like others,

    h_i = embedding([x_i, v_i])
    h_i <- h_i + phi_h(h_i, sum_j phi_e(h_i, h_j, |x_i - x_j|^2, q_i q_j))

and a perceptron reads the step of each particle from h_i. Rotated or shifted samples are other
samples. It is what `frame_averaged` makes equivariant, and what that is compared with.

Deviations from the authors of EGNN: messages know squared distances, as in FA-GNN; a step is added
to the position.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.models._inputs import SampleBatch
from zoo.models._particles import charged, check_charged
from zoo.models._sample import SampleModel
from zoo.models.egnn import EGNNLayer
from zoo.registry import register


def message_network(
    dimension: int, hidden_channels: int, num_layers: int
) -> tuple[nn.Linear, nn.ModuleList, nn.Sequential]:
    """Embedding of positions and velocities, message layers, and the perceptron of the step.

    Args:
        dimension: of space.
        hidden_channels: features of a particle.
        num_layers: steps of messages.
    """
    embedding = nn.Linear(2 * dimension, hidden_channels)
    layers = nn.ModuleList(
        EGNNLayer(hidden_channels, 1, moves=False, velocity=False) for _ in range(num_layers)
    )
    decoder = nn.Sequential(
        nn.Linear(hidden_channels, hidden_channels),
        nn.SiLU(),
        nn.Linear(hidden_channels, dimension),
    )
    return embedding, layers, decoder


@register("plain_gnn")
class PlainGNN(SampleModel):
    """Predicts later positions of charged particles.

    The graph is complete and made by the model.

    Args:
        hidden_channels: features of a particle.
        num_layers: steps of messages.
        dimension: of space.
    """

    domain = "particles"
    symmetry = "S(n)"

    def __init__(
        self, *, hidden_channels: int = 60, num_layers: int = 4, dimension: int = 3
    ) -> None:
        if min(hidden_channels, num_layers, dimension) < 1:
            raise ConfigError(
                f"PlainGNN: hidden_channels={hidden_channels}, num_layers={num_layers}, "
                f"dimension={dimension}; expected numbers >= 1"
            )
        super().__init__(sample_shape=(dimension,), outputs=("prediction",))
        #: under any group that moves positions
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {"prediction": "equivariant"}
        self.embedding, self.layers, self.decoder = message_network(
            dimension, hidden_channels, num_layers
        )

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output."""
        return [self.embedding, *self.layers, self.decoder]

    def check(self, batch: SampleBatch) -> None:
        """Refuses particles without velocities or charges."""
        check_charged(batch, self._title())

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Later positions, and the features of all particles.

        Args:
            batch: PyG's `Batch` with `pos`, `vel` (n, d) and `charge` (n,).

        Returns:
            `prediction` (n, d), and `embedding` (n, hidden_channels).
        """
        given = charged(batch)
        h = self.embedding(torch.cat([given.pos, given.vel], dim=1))
        for layer in self.layers:
            h, _ = layer(h, given.pos, None, given.edges, given.product)
        return {"prediction": given.pos + self.decoder(h), "embedding": h}
