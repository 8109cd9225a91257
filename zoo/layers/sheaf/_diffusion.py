"""One step of diffusion on a sheaf."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout

from zoo.functional import sheaf

#: Laplacians of successive groups of stalk coordinates
ShareableSheaf: TypeAlias = tuple[sheaf.SheafLaplacian, ...]


def diffuse(
    laplacians: ShareableSheaf,
    x: Float[Tensor, "nodes width channels"],
    pattern: sheaf.Pattern | None = None,
) -> Float[Tensor, "nodes width channels"]:
    """Delta x, where each Laplacian acts on its own stalk coordinates, in order.

    Args:
        laplacians: of one graph.
        x: features.
        pattern: of the graph's pairs; made anew if None.
    """
    pattern = sheaf.Pattern(laplacians[0].pairs, x.shape[0]) if pattern is None else pattern
    if len(laplacians) == 1:
        return sheaf.apply(laplacians[0], x, pattern)
    groups = x.split([part.stalk for part in laplacians], dim=1)
    parts = zip(laplacians, groups, strict=True)
    return torch.cat([sheaf.apply(a, b, pattern) for a, b in parts], dim=1)


class SheafDiffusion(nn.Module):
    r"""X <- (1 + tanh eps) X - act(Delta (I (x) W_1) X W_2).

    Neural Sheaf Diffusion (arXiv:2202.04579), equation 5. W_1 mixes stalk coordinates and starts
    as the identity, W_2 mixes channels and starts orthogonal, eps starts at zero.

    Args:
        width: stalk coordinates.
        channels: of the features.
        activation: whether ELU follows the Laplacian.
        dropout: of the features that diffuse.
        left: whether there is a W_1.
        right: whether there is a W_2.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        *,
        activation: bool = True,
        dropout: float = 0.0,
        left: bool = True,
        right: bool = True,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.left = nn.Linear(width, width, bias=False) if left else None
        self.right = nn.Linear(channels, channels, bias=False) if right else None
        self.epsilon = nn.Parameter(torch.zeros(width, 1))
        self.act = nn.ELU() if activation else nn.Identity()
        if self.left is not None:
            nn.init.eye_(self.left.weight)
        if self.right is not None:
            nn.init.orthogonal_(self.right.weight)

    def velocity(
        self,
        laplacians: ShareableSheaf,
        x: Float[Tensor, "nodes width channels"],
        pattern: sheaf.Pattern | None = None,
    ) -> Float[Tensor, "nodes width channels"]:
        """act(Delta (I (x) W_1) X W_2), what the features lose in a unit of time."""
        if self.left is not None:
            x = self.left.weight @ x
        if self.right is not None:
            x = self.right(x)
        out: Tensor = self.act(diffuse(laplacians, x, pattern))
        return out

    def forward(
        self,
        laplacians: ShareableSheaf,
        x: Float[Tensor, "nodes width channels"],
        pattern: sheaf.Pattern | None = None,
    ) -> Float[Tensor, "nodes width channels"]:
        """The features after the step.

        Args:
            laplacians: of the sheaf, and of the fixed coordinates.
            x: features.
            pattern: of the graph's pairs, which all layers share; made anew if None.
        """
        change = self.velocity(laplacians, dropout(x, self.dropout, self.training), pattern)
        out: Tensor = (1.0 + torch.tanh(self.epsilon)) * x - change
        return out
