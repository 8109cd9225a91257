r"""GLGENN: generalised Lipschitz group equivariant networks (Filimoshina, Shirokov, ICML 2025).

arXiv:2506.09625. CGENN's networks with layers whose weights belong to quaternion types, grades
modulo 4, in the place of grades (`zoo.layers.clifford.quaternion`): no biases, products without a
linear map beside them, and where CGENN's messages end in a layer norm, a norm of each type. It is
equivariant under the same groups with fewer parameters, half of CGENN's and less in Cl(5).

Tasks, as in `zoo.models.cgenn`: "hull" and "regression", an invariant number of points in Cl(5),
and "nbody", where charged particles are later, in Cl(3). The authors' own N-body experiment is in
five dimensions; ours is the usual one in three.

Deviation from the authors' code: a vector whose quadratic form vanishes grows by no more than a
limit in a normalisation.
"""

from typing import Literal

from torch import nn

from zoo.layers.clifford import CliffordMessage, QuaternionLinear, QuaternionMLP, QuaternionProduct
from zoo.models.cgenn import CGENN
from zoo.registry import register

#: of the perceptron that the authors end "regression" with, in the runs that they publish
_MLP = 380


@register("glgenn")
class GLGENN(CGENN):
    """Multivectors of points or particles, to positions or an invariant number.

    Args:
        task: "hull", "regression" or "nbody"; see the module.
        hidden_channels: multivectors of each particle or sample; None for the authors' number, 32,
            8 and 28.
        num_layers: geometric products, or message layers; None for theirs, 4, 1 and 3.
        in_channels: points in a sample of "hull" and "regression", in the order given; None for
            16 and 2.
        out_channels: numbers that "hull" and "regression" predict.
        dimension: of the space of "hull" and "regression", at most 8; None for the authors', 5.
        mlp_channels: width of the perceptron of "hull", which has one hidden layer, and of
            "regression", which has two; None for theirs, `hidden_channels` and 380.
    """

    domain = "sequence"
    accepts = ("particles",)

    def __init__(
        self,
        *,
        task: Literal["hull", "regression", "nbody"] = "hull",
        hidden_channels: int | None = None,
        num_layers: int | None = None,
        in_channels: int | None = None,
        out_channels: int = 1,
        dimension: int | None = None,
        mlp_channels: int | None = None,
    ) -> None:
        if task == "regression" and mlp_channels is None:
            mlp_channels = _MLP
        super().__init__(
            task=task,
            hidden_channels=hidden_channels,
            num_layers=num_layers,
            in_channels=in_channels,
            out_channels=out_channels,
            dimension=dimension,
            mlp_channels=mlp_channels,
        )

    def _first(self, channels: int, hidden: int) -> nn.Module:
        return QuaternionLinear(self.algebra, channels, hidden)

    def _last(self, hidden: int) -> nn.Module:
        return QuaternionLinear(self.algebra, hidden, 1)

    def _product(self, hidden: int) -> nn.Module:
        return QuaternionProduct(self.algebra, hidden)

    def _message(self, hidden: int) -> nn.Module:
        return CliffordMessage(self.algebra, hidden, edge_channels=1, mlp=QuaternionMLP)
