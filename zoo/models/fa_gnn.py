r"""Frame-averaged graph networks (Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, ICLR 2022).

arXiv:2110.03336, section 5.3. A plain message network, with no symmetry of its own, sees the
particles of a sample in each element R of their frame (`zoo.functional.frames`): coordinates along
the eigenvectors of the covariance of the positions, with every choice of signs. With E elements,

    h = embedding([R^T (x_i - c), R^T v_i])                 for every R
    h_i <- h_i + phi_h(h_i, sum_j phi_e(h_i, h_j, |x_i - x_j|^2, q_i q_j))

and then, after every layer but the last, the channels are read as vectors, turned back and
averaged, (1 / E) sum_R R h, which is equivariant, and seen again in the frame of these vectors. The
last layer's map of h, averaged likewise, is the step of a particle.

Frames are constants for the gradients in training (`detach`), as in the authors' code; gradients
of a model in evaluation are exact.

Deviations from the authors' code: a step is added to the position (theirs to the centre); any
number of particles and dimensions; where the positions' eigenvalues repeat, as those of one or two
particles, the velocities decide on the frame.
"""

import warnings
from typing import Literal

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError
from zoo.functional.frames import LIMIT, FrameGroup, Frames, frames, from_frames, to_frames
from zoo.functional.scatter import scatter_mean
from zoo.models._inputs import SampleBatch
from zoo.models._particles import charged, check_charged
from zoo.models._sample import SampleModel
from zoo.models.plain_gnn import message_network
from zoo.registry import register


@register("fa_gnn")
class FAGNN(SampleModel):
    """Predicts later positions of charged particles, equivariant by averages over frames.

    The graph is complete and made by the model.

    Args:
        hidden_channels: features of a particle, a multiple of `dimension`: read as vectors between
            layers.
        num_layers: steps of messages.
        dimension: of space, at most 8.
        reflections: frames of all orthogonal matrices, 2^dimension elements, equivariant under
            reflections, too; False for those of rotations alone, half as many.
        detach: whether frames are constants for the gradients of a model in training.
    """

    domain = "particles"

    def __init__(
        self,
        *,
        hidden_channels: int = 60,
        num_layers: int = 4,
        dimension: int = 3,
        reflections: bool = True,
        detach: bool = True,
    ) -> None:
        if min(hidden_channels, num_layers, dimension) < 1 or hidden_channels % dimension:
            raise ConfigError(
                f"FAGNN: hidden_channels={hidden_channels}, num_layers={num_layers}, "
                f"dimension={dimension}; expected numbers >= 1, hidden_channels a multiple of "
                "dimension"
            )
        if dimension > LIMIT:
            raise ConfigError(
                f"FAGNN: dimension={dimension}; a frame has 2^dimension elements; "
                f"dimensions are at most {LIMIT}"
            )
        super().__init__(sample_shape=(dimension,), outputs=("prediction",))
        self.dimension, self.detach = dimension, detach
        self.group: FrameGroup = "O(n)" if reflections else "SO(n)"
        #: what the contract suite measures
        self.symmetry = "S(n) x E(n)" if reflections else "S(n) x SE(n)"
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
        """Later positions, and invariant features of all particles.

        Args:
            batch: PyG's `Batch` with `pos`, `vel` (n, d) and `charge` (n,).

        Returns:
            `prediction` (n, d), and `embedding` (n, hidden_channels), the mean over the frame of
            the last features.
        """
        given = charged(batch)
        found = self._frames(given.pos, given.sample, given.samples, given.vel)
        _warn(found)
        elements, count = found.matrices.shape[1], given.pos.shape[0]
        shifts = count * torch.arange(elements, device=given.pos.device)
        edges = (given.edges[:, None] + shifts[:, None]).flatten(1)  # a copy for each element
        product, pos = given.product.repeat(elements, 1), given.pos.repeat(elements, 1)
        vectors = torch.stack([given.centred, given.vel], dim=1)
        seen = to_frames(vectors, given.sample, found, centre=False)
        h = self.embedding(seen.flatten(2).flatten(0, 1))  # (elements * n, channels)
        for k, layer in enumerate(self.layers):
            if k:
                found, h = self._seen_again(h, given.sample, given.samples, found)
            h, _ = layer(h, pos, None, edges, product)
        steps = self.decoder(h).unflatten(0, (elements, count))
        step = from_frames(steps, given.sample, found)
        return {
            "prediction": given.pos + step,
            "embedding": h.unflatten(0, (elements, count)).mean(0),
        }

    def _seen_again(
        self, h: Tensor, sample: Tensor, samples: int, found: Frames
    ) -> tuple[Frames, Tensor]:
        """Channels as vectors, averaged over one frame, and seen in their own."""
        elements, dim = found.matrices.shape[1], self.dimension
        latent = h.unflatten(0, (elements, sample.shape[0])).unflatten(
            -1, (-1, dim)
        )  # (elements, n, c, d)
        vectors = from_frames(latent, sample, found)
        owner = sample.repeat_interleave(vectors.shape[1])
        own = self._frames(vectors.flatten(0, 1), owner, samples, None)
        return own, to_frames(vectors, sample, own).flatten(2).flatten(0, 1)

    def _frames(self, points: Tensor, sample: Tensor, samples: int, extra: Tensor | None) -> Frames:
        if not (self.detach and self.training):
            return frames(points, sample, samples, group=self.group, extra=extra)
        with torch.no_grad():
            found = frames(points, sample, samples, group=self.group, extra=extra)
        if not points.requires_grad:
            return found
        centres = scatter_mean(points, sample, samples)  # a mean, and no part of the frame
        return found._replace(centres=centres)


def _warn(found: Frames) -> None:
    """Says that the answer for some samples depends on the axes of coordinates."""
    if torch.compiler.is_compiling():  # no numbers to look at
        return
    lost = found.undetermined.nonzero().flatten().tolist()
    if lost:
        warnings.warn(
            f"the positions and velocities of the samples {lost[:5]} of this batch have second "
            "moments with repeated eigenvalues: their frames are arbitrary, and what is predicted "
            "turns only approximately with them",
            UserWarning,
            stacklevel=4,
        )
