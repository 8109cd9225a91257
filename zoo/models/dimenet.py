"""DimeNet: directional message passing (Gasteiger, Groß, Günnemann, arXiv:2003.03123).

Every directed edge j -> i carries a message, which the messages k -> j flow into by way of the
angle between the two. With d = r / cutoff, the envelope u of eq. 8 and s = SiLU:

    bases        e_n(d) = u(d) sin(f_n d) / d;   a_ln = u(d) N_ln j_l(z_ln d) P_l(cos angle)
    embedding    m_ji = s(W [h_i, h_j, s(W e(d_ji) + b)] + b)
    interaction  x_kj = s(W m_kj + b) * W e(d_kj)
                 y_ji = sum_k sum_b (W a_kji)_b B_b x_kj, with one matrix B_b for each b
                 m_ji <- residual layers of s(W m_ji + b) + y_ji, added to m_ji
    output       t_i = sum_j (W e(d_ji)) * m_ji after the embedding and each interaction;
                 E = sum over blocks and atoms of a perceptron of t_i

How it is computed here differs from how it is written: B_b is applied to edges, not to triplets,
of which there are a dozen times as many; the radial parts of the spherical basis are applied
before any angle; and the sum over triplets is a product of small dense matrices for each atom
(`zoo.layers.atomistic.Triplets`).

Deviations from the paper, which are those of the authors' code and needed by its weights; with
`fixed=True` the paper's formulas hold instead: the angle is the one at i between j and k, not the
one between k -> j and j -> i; u is divided by d in the spherical basis (u / d there); that basis
is taken at d_kj, not d_ji; the radial part of the embedding has a bias and an activation. The
factor sqrt(2 / cutoff) of e_n is left out in both. Between periodic images, the edge that is left
out of the sum over k is the reverse of j -> i alone, not all edges from atom i.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional.pair_factors import pair_factors
from zoo.models import _dimenet_pyg, _dimenet_tensorflow
from zoo.models._dimenet_base import DirectionalNetwork, OutputInit
from zoo.models._dimenet_blocks import BlockSumHead, Edges, Interaction, both, linear
from zoo.registry import register


class BilinearInteraction(Interaction):
    """The interaction of DimeNet: a bilinear map of messages and the spherical basis.

    Args:
        channels: of messages.
        num_bilinear: what the spherical basis is mapped to.
        num_radial: radial functions.
        num_spherical: degrees.
        num_before_skip: residual layers before the skip connection.
        num_after_skip: residual layers after it.
        fixed: spherical basis at d_ji.
    """

    def __init__(
        self,
        channels: int,
        num_bilinear: int,
        num_radial: int,
        num_spherical: int,
        num_before_skip: int,
        num_after_skip: int,
        *,
        fixed: bool,
    ) -> None:
        super().__init__(channels, num_before_skip, num_after_skip)
        self.fixed = fixed
        self.radial = linear(num_radial, channels, bias=False)
        self.spherical = linear(num_spherical * num_radial, num_bilinear, bias=False)
        #: (out, bilinear, in)
        self.bilinear = nn.Parameter(torch.empty(channels, num_bilinear, channels))
        nn.init.normal_(self.bilinear, std=2.0 / channels)

    def angular(
        self, x: Float[Tensor, "edges channels"], edges: Edges
    ) -> Float[Tensor, "edges channels"]:
        """What each edge j -> i hears from the edges k -> j."""
        x = pair_factors(x, edges.radial[:, None], self.radial.weight.T[None])[:, 0]
        if edges.triplets is None:
            return x
        weight = self.spherical.weight.T.unflatten(0, edges.spherical.shape[1:])
        basis = both(torch.einsum("pln,lnb->plb", edges.spherical, weight))
        channels, terms, _ = self.bilinear.shape
        if self.fixed:
            gathered = basis.mT @ edges.triplets.project(x)  # (edges, terms, channels)
            return gathered.flatten(1) @ self.bilinear.flatten(1).T
        matrices = self.bilinear.transpose(0, 1).flatten(0, 1)  # (terms * out, in)
        mapped = (x @ matrices.T).reshape(x.shape[0], terms, channels)
        return edges.triplets.sum(basis @ mapped)


@register("dimenet")
class DimeNet(DirectionalNetwork):
    """DimeNet on molecules and crystals.

    Args:
        hidden_channels: of messages.
        num_blocks: rounds of messages.
        num_bilinear: what the spherical basis is mapped to.
        num_spherical: degrees of the spherical basis.
        num_radial: radial functions of both bases.
        cutoff: distance (Å) below which atoms are neighbours.
        envelope_exponent: the envelope's polynomial has one more.
        num_before_skip: residual layers before the skip connection of an interaction.
        num_after_skip: residual layers after it.
        num_output_layers: layers with SiLU in an output block.
        output_init: of the last layer of output blocks, "zeros" or "glorot_orthogonal"; by target
            as the authors configured it: zeros for dipole_norm, homo, lumo, gap and zpve.
        extensive: scalar properties are sums over the atoms; False takes means. Every published
            model of QM9's targets has sums.
        fixed: the paper's formulas where the authors' code departs from them (module docstring);
            published weights need False.
        max_z: largest atomic number.
        heads: "energy" (eV, with forces and stress as derivatives), further ones as
            "energy/<name>", "charges" (e), and scalar properties: "dipole_norm" (e Å), "alpha"
            (Å³), "homo", "lumo", "gap", "zpve", "u0", "u298", "h298", "g298" (eV), "r2" (Å²),
            "cv" (eV/K).
    """

    def __init__(  # noqa: PLR0913 - every hyper-parameter is an argument
        self,
        *,
        hidden_channels: int = 128,
        num_blocks: int = 6,
        num_bilinear: int = 8,
        num_spherical: int = 7,
        num_radial: int = 6,
        cutoff: float = 5.0,
        envelope_exponent: int = 5,
        num_before_skip: int = 1,
        num_after_skip: int = 2,
        num_output_layers: int = 3,
        output_init: OutputInit = "by_target",
        extensive: bool = True,
        fixed: bool = False,
        max_z: int = 94,
        heads: Sequence[str] = ("energy",),
    ) -> None:
        super().__init__(
            architecture="dimenet",
            channels=hidden_channels,
            sizes={"num_blocks": num_blocks, "num_bilinear": num_bilinear},
            num_spherical=num_spherical,
            num_radial=num_radial,
            cutoff=cutoff,
            envelope_exponent=envelope_exponent,
            fixed=fixed,
            vertex="end",
            max_z=max_z,
            heads=heads,
            extensive=extensive,
            output_init=output_init,
            interactions=lambda: [
                BilinearInteraction(
                    hidden_channels,
                    num_bilinear,
                    num_radial,
                    num_spherical,
                    num_before_skip,
                    num_after_skip,
                    fixed=fixed,
                )
                for _ in range(num_blocks)
            ],
            new_head=lambda zeros: BlockSumHead(
                num_blocks + 1, hidden_channels, None, num_output_layers, zeros=zeros
            ),
        )


#: what turns other packages' state dicts and configurations into constructor arguments and weights
CONVERTERS = {
    "pyg": _dimenet_pyg.convert_state,
    "tensorflow": _dimenet_tensorflow.convert_state,
}
