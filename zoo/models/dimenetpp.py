"""DimeNet++: directional messages, faster (Gasteiger et al., arXiv:2011.14115).

Every directed edge j -> i carries a message, which the messages k -> j flow into by way of the
angle between the two. With d = r / cutoff, the envelope u of eq. 8 of the first paper
(arXiv:2003.03123) and s = SiLU:

    bases        e_n(d) = u(d) sin(f_n d) / d;   a_ln = u(d) N_ln j_l(z_ln d) P_l(cos angle)
    embedding    m_ji = s(W [h_i, h_j, s(W e(d_ji) + b)] + b)
    interaction  x_kj = s(W_down (s(W m_kj + b) * W W e(d_kj)))
                 y_ji = s(W_up sum_k (W W a_kji) * x_kj)
                 m_ji <- residual layers of s(W m_ji + b) + y_ji, added to m_ji
    output       t_i = sum_j (W e(d_ji)) * m_ji after the embedding and each interaction;
                 E = sum over blocks and atoms of a perceptron of t_i

How it is computed here differs from how it is written: the sum over triplets is a product of small
dense matrices for each atom (`zoo.layers.atomistic.Triplets`), to which the radial parts of the
spherical basis, of which there is one set for each edge, are applied before any angle.

Deviations from the paper, which are those of the authors' code and needed by its weights; with
`fixed=True` the paper's formulas hold instead: u is divided by d in the spherical basis (u / d
there); that basis is taken at d_kj, not d_ji; the radial part of the embedding has a bias and an
activation. The factor sqrt(2 / cutoff) of e_n is left out in both. Between periodic images, the
edge that is left out of the sum over k is the reverse of j -> i alone, not all edges from atom i.
"""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.functional.pair_factors import pair_factors
from zoo.models import _dimenet_pyg, _dimenet_tensorflow
from zoo.models._dimenet_base import DirectionalNetwork, OutputInit
from zoo.models._dimenet_blocks import BlockSumHead, Edges, Interaction, both, dense, linear
from zoo.registry import register


class ProductInteraction(Interaction):
    """The interaction of DimeNet++: products of messages and bases, in fewer channels.

    Args:
        channels: of messages.
        int_emb_size: channels of the products.
        basis_emb_size: channels between the two linear maps of each basis.
        num_radial: radial functions.
        num_spherical: degrees.
        num_before_skip: residual layers before the skip connection.
        num_after_skip: residual layers after it.
        fixed: spherical basis at d_ji.
    """

    def __init__(
        self,
        channels: int,
        int_emb_size: int,
        basis_emb_size: int,
        num_radial: int,
        num_spherical: int,
        num_before_skip: int,
        num_after_skip: int,
        *,
        fixed: bool,
    ) -> None:
        super().__init__(channels, num_before_skip, num_after_skip)
        self.fixed = fixed
        self.radial = nn.ModuleList(
            [
                linear(num_radial, basis_emb_size, bias=False),
                linear(basis_emb_size, channels, bias=False),
            ]
        )
        self.spherical = nn.ModuleList(
            [
                linear(num_spherical * num_radial, basis_emb_size, bias=False),
                linear(basis_emb_size, int_emb_size, bias=False),
            ]
        )
        self.down = dense(channels, int_emb_size, bias=False)
        self.up = dense(int_emb_size, channels, bias=False)

    def angular(
        self, x: Float[Tensor, "edges channels"], edges: Edges
    ) -> Float[Tensor, "edges channels"]:
        """What each edge j -> i hears from the edges k -> j."""
        radial = pair_factors(x, edges.radial[:, None], _composed(self.radial)[None])
        x = self.down(radial[:, 0])
        if edges.triplets is not None:
            weight = _composed(self.spherical).unflatten(0, edges.spherical.shape[1:])
            if self.fixed:
                basis = both(torch.einsum("pln,lnc->plc", edges.spherical, weight))
                x = (basis * edges.triplets.project(x)).sum(1)
            else:
                x = edges.triplets.messages(x, edges.spherical, weight)
        heard: Tensor = self.up(x)
        return heard


def _composed(layers: nn.ModuleList) -> Tensor:
    """Two linear layers without bias as one matrix (inputs, outputs)."""
    first, second = (cast(nn.Linear, layer).weight for layer in layers)
    return first.T @ second.T


@register("dimenetpp")
class DimeNetPlusPlus(DirectionalNetwork):
    """DimeNet++ on molecules and crystals.

    Args:
        hidden_channels: of messages.
        num_blocks: rounds of messages.
        int_emb_size: channels of the products of messages and angles.
        basis_emb_size: channels between the two linear maps of each basis.
        out_emb_channels: of the output blocks.
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
        num_blocks: int = 4,
        int_emb_size: int = 64,
        basis_emb_size: int = 8,
        out_emb_channels: int = 256,
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
            architecture="dimenetpp",
            channels=hidden_channels,
            sizes={
                "num_blocks": num_blocks,
                "int_emb_size": int_emb_size,
                "basis_emb_size": basis_emb_size,
                "out_emb_channels": out_emb_channels,
            },
            num_spherical=num_spherical,
            num_radial=num_radial,
            cutoff=cutoff,
            envelope_exponent=envelope_exponent,
            fixed=fixed,
            vertex="middle",
            max_z=max_z,
            heads=heads,
            extensive=extensive,
            output_init=output_init,
            interactions=lambda: [
                ProductInteraction(
                    hidden_channels,
                    int_emb_size,
                    basis_emb_size,
                    num_radial,
                    num_spherical,
                    num_before_skip,
                    num_after_skip,
                    fixed=fixed,
                )
                for _ in range(num_blocks)
            ],
            new_head=lambda zeros: BlockSumHead(
                num_blocks + 1, hidden_channels, out_emb_channels, num_output_layers, zeros=zeros
            ),
        )


#: what turns other packages' state dicts and configurations into constructor arguments and weights
CONVERTERS = {
    "pyg": _dimenet_pyg.convert_state,
    "tensorflow": _dimenet_tensorflow.convert_state,
}
