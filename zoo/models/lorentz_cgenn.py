r"""The Clifford group equivariant network for jets (Ruhe, Brandstetter, Forré, NeurIPS 2023).

arXiv:2305.11141, section 5 (top tagging). A jet is a set of four-momenta, time first; the metric is
(+, -, -, -). Each particle has multivectors x of Cl(1, 3) and scalars h, and hears of all others:

    m_ij = phi_x(x_i, x_j, x_i - x_j, p_i - p_j, p_i, p_j)
    n_ij = phi_h(invariants of m_ij, h_i, h_j, h_i - h_j)
    x_i <- s(chi(h_i')) theta_x(x_i, mean_j s(psi(n_ij)) m_ij, p_i)
    h_i <- h_i' = theta_h(h_i, mean_j n_ij, invariants of x_i, a_i)

phi_x and theta_x are fully connected geometric products, whose right factors aren't normalised, and
a layer norm; the others are perceptrons; s is a gate for each channel and grade. The invariants of
a multivector are its scalar and the quadratic forms of its other grades. a_i, at first also h_i, is
sgn(m) log(1 + |m|) of the mass, in a place of its own for beams. The answer comes from the mean
over particles of scalars and invariants.

Deviations from the authors' code: the mean over particles counts the particles of a jet, not of the
longest jet in its batch, so that the answer doesn't depend on company; layer norms let nothing
grow by more than a factor of 10 (light-like multivectors have a norm of zero); masses are
(q^2 + 1e-16)^(1/4), smooth at zero; batch norms use their running statistics where there are less
than two rows.
"""

from contextlib import AbstractContextManager
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import batch_norm, pad

from zoo.errors import ConfigError
from zoo.functional import clifford
from zoo.functional.clifford import Algebra
from zoo.functional.complete_graph import complete_edges
from zoo.functional.scatter import scatter_mean
from zoo.layers.clifford import ConnectedGeometricProduct, MVLayerNorm, MVLinear, per_blade
from zoo.models._inputs import SampleBatch, check_lengths
from zoo.models._sample import SampleModel
from zoo.registry import register

#: of the beams, in the direction of the third axis and against it; their mass is 1
_BEAMS = ((2**0.5, 0.0, 0.0, 1.0), (2**0.5, 0.0, 0.0, -1.0))
#: multivectors of a pair and of a particle beside the learnt ones: momenta
_EDGE, _NODE = 3, 1
#: scalars of a particle: its mass, in one place for particles and one for beams
_SCALARS = 2


class _RowNorm(nn.BatchNorm1d):
    """Batch norm that takes any number of rows."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised rows."""
        if x.shape[0] > 1:
            return super().forward(x)
        return batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class JetLayer(nn.Module):
    """One step of messages between particles of a jet; see the module.

    Args:
        algebra: of the multivectors.
        channels: multivectors of each particle.
        scalars: scalars of each particle.
    """

    def __init__(self, algebra: Algebra, channels: int, scalars: int) -> None:
        super().__init__()
        self.algebra = algebra
        invariants = channels * len(algebra.sizes)
        self.phi_x = _product(algebra, 3 * channels + _EDGE, channels)
        self.theta_x = _product(algebra, 2 * channels + _NODE, channels)
        self.phi_h = nn.Sequential(
            nn.Linear(3 * scalars + invariants, scalars, bias=False),
            _RowNorm(scalars),
            nn.ReLU(),
            nn.Linear(scalars, scalars),
            nn.ReLU(),
        )
        self.theta_h = nn.Sequential(
            nn.Linear(2 * scalars + invariants + _SCALARS, scalars),
            _RowNorm(scalars),
            nn.ReLU(),
            nn.Linear(scalars, scalars),
        )
        self.psi, self.chi = (
            nn.Sequential(nn.Linear(scalars, scalars), nn.ReLU(), nn.Linear(scalars, invariants))
            for _ in range(2)
        )

    def forward(
        self,
        x: Float[Tensor, "nodes channels blades"],
        h: Float[Tensor, "nodes scalars"],
        edge_index: Int[Tensor, "2 edges"],
        momenta: Float[Tensor, "nodes 1 blades"],
        masses: Float[Tensor, "nodes two"],
    ) -> tuple[Float[Tensor, "nodes channels blades"], Float[Tensor, "nodes scalars"]]:
        """New multivectors and scalars.

        Args:
            x: multivectors.
            h: scalars.
            edge_index: who is heard (row 0), and by whom (row 1).
            momenta: of the particles.
            masses: on a logarithmic scale.
        """
        j, i = edge_index
        x_i, x_j, p_i, p_j = (t.index_select(0, k) for t in (x, momenta) for k in (i, j))
        message = self.phi_x(torch.cat([x_i, x_j, x_i - x_j, p_i - p_j, p_i, p_j], dim=1))
        h_i, h_j = h.index_select(0, i), h.index_select(0, j)
        about = torch.cat([invariants(message, self.algebra), h_i, h_j, h_i - h_j], dim=1)
        scalar_message = self.phi_h(about)
        message = message * self._gates(self.psi(scalar_message))
        update = self.theta_x(torch.cat([x, scatter_mean(message, i, x.shape[0]), momenta], dim=1))
        heard = scatter_mean(scalar_message, i, x.shape[0])
        h = self.theta_h(torch.cat([h, heard, invariants(x, self.algebra), masses], dim=1))
        return update * self._gates(self.chi(h)), h

    def _gates(self, values: Tensor) -> Tensor:
        grades = len(self.algebra.sizes)
        by_grade = values.reshape(len(values), values.shape[1] // grades, grades)
        return per_blade(torch.sigmoid(by_grade), self.algebra)


@register("lorentz_cgenn")
class LorentzCGENN(SampleModel):
    """Classifies jets by the four-momenta of their particles.

    Args:
        hidden_channels: multivectors of each particle.
        scalar_channels: scalars of each particle.
        num_layers: steps of messages.
        decoder_channels: hidden channels of the head.
        out_channels: classes.
        dropout: in the head.
        beams: adds the two beams to each jet, as the authors do. They single out an axis, so that
            the answer changes with boosts and rotations that move it.
    """

    domain = "sequence"

    def __init__(
        self,
        *,
        hidden_channels: int = 8,
        scalar_channels: int = 72,
        num_layers: int = 4,
        decoder_channels: int = 64,
        out_channels: int = 2,
        dropout: float = 0.2,
        beams: bool = False,
    ) -> None:
        sizes = (hidden_channels, scalar_channels, num_layers, decoder_channels)
        if min(sizes) < 1:
            raise ConfigError(
                f"LorentzCGENN: hidden_channels={sizes[0]}, scalar_channels={sizes[1]}, "
                f"num_layers={sizes[2]}, decoder_channels={sizes[3]}; expected numbers >= 1"
            )
        if not 0 <= dropout < 1:
            raise ConfigError(f"LorentzCGENN: dropout is {dropout}; expected 0 <= dropout < 1")
        super().__init__(domain="sequence", sample_shape=(None, 4), outputs=("logits",))
        self.algebra = clifford.algebra(1, 3)
        self.beams = beams
        #: what the contract suite measures
        self.symmetry = "none" if beams else "O(1, n)"
        self._sizes = (scalar_channels, hidden_channels, decoder_channels, dropout)
        self.embedding_x = MVLinear(self.algebra, 1, hidden_channels, by_grade=False)
        self.embedding_h = nn.Linear(_SCALARS, scalar_channels)
        self.layers = nn.ModuleList(
            JetLayer(self.algebra, hidden_channels, scalar_channels) for _ in range(num_layers)
        )
        self.head = self.make_head(out_channels)

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh perceptron on the mean over particles."""
        scalars, channels, width, dropout = self._sizes
        return nn.Sequential(
            nn.Linear(scalars + channels * len(self.algebra.sizes), width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, out_channels),
        )

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last."""
        first = nn.ModuleList([self.embedding_x, self.embedding_h])
        return [first, *self.layers, self.head]

    def compiled(self) -> AbstractContextManager[None]:
        """A block in which products, norms and gates run as C code, for small batches too."""
        return clifford.compiled_products()

    def check(self, batch: SampleBatch) -> None:
        """Refuses lengths that the jets don't have."""
        check_lengths(batch, self._title())

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """Logits.

        Args:
            batch: `x` (jets, particles, 4), energy first, with `lengths` (jets,) where jets differ
                in their number of particles.

        Returns:
            `logits` (jets, out_channels).
        """
        given = cast(dict[str, Tensor], batch)
        momenta, beam, counts = self._particles(given["x"], given.get("lengths"))
        of = self.algebra
        p = clifford.embed(momenta, 1, of)[:, None]
        mass = clifford.norm(p, of)
        masses = torch.log1p(mass * torch.stack([~beam, beam], dim=1).to(mass))
        x, h = self.embedding_x(p), self.embedding_h(masses)
        edges = complete_edges(counts).flip(0)
        for layer in self.layers:
            x, h = layer(x, h, edges, p, masses)
        features = torch.cat([h, invariants(x, of)], dim=1)
        jet = torch.repeat_interleave(counts)
        return {"logits": self.head(scatter_mean(features, jet, counts.shape[0]))}

    def _particles(
        self, x: Tensor, lengths: Tensor | None
    ) -> tuple[Float[Tensor, "nodes 4"], Tensor, Int[Tensor, " jets"]]:
        """Momenta jet by jet without the padding, which are beams, and how many are in a jet."""
        jets, longest = x.shape[:2]
        counts = torch.full((jets,), longest, device=x.device) if lengths is None else lengths
        place = torch.arange(longest, device=x.device).expand(jets, -1)
        if self.beams:
            beams = x.new_tensor(_BEAMS).expand(jets, -1, -1)
            x, counts = torch.cat([beams, x], dim=1), counts + len(_BEAMS)
            place = pad(place + len(_BEAMS), (len(_BEAMS), 0))
        inside = place < counts[:, None]
        beam = torch.zeros_like(inside)
        beam[:, : len(_BEAMS) * self.beams] = True
        return x[inside], beam[inside], counts


def invariants(
    x: Float[Tensor, "*batch channels blades"], of: Algebra
) -> Float[Tensor, "*batch features"]:
    """The scalar of each channel, and the quadratic forms of its other grades."""
    forms = clifford.grade_forms(x, of)
    return torch.cat([x[..., :1], forms[..., 1:]], dim=-1).flatten(-2)


def _product(algebra: Algebra, before: int, after: int) -> nn.Module:
    product = ConnectedGeometricProduct(algebra, before, after, normalise=False)
    return nn.Sequential(product, MVLayerNorm(algebra, after))
