r"""Augmentation that is as strong as a constraint on invariance needs, and absent where it holds.

Hounie, Chamon, Ribeiro, Automatic data augmentation via invariance-constrained learning, ICML 2023,
arXiv:2209.15031. One minimises the loss on the data subject to a bound on the loss on transformed
data,

    min E loss(f(x), y)   with   E max_g loss(f(g x), y) <= limit,

by its Lagrangian, with a multiplier mu >= 0, and samples g by Metropolis-Hastings in place of the
maximum.

What the abstract leaves open is read here as follows, without having been checked against the
authors' algorithm: g' is proposed uniformly and taken with probability min(1, loss' / loss), for
each sample by itself; the last of a few proposals stands for the maximum; after each step
mu <- max(0, mu + rate (loss_g - limit)); while mu is zero the transformed loss is measured, without
gradient, and not added.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.symmetry._actions import Action, Batch

#: parameters of one transformation for each sample, every tensor with samples first
Element = tuple[Tensor, ...]


class Transform(Protocol):
    """Random transformations of the samples of a batch."""

    def draw(self, batch: Any, generator: torch.Generator | None) -> Element:
        """One for each sample."""

    def apply(self, batch: Any, element: Element) -> Any:
        """The transformed batch, labels that turn along included."""


class GroupTransform:
    """Elements of O(n), SO(n), E(n) or SE(n), uniform in the rotations.

    Args:
        action: how the group acts.
        scale: standard deviation of translations.
        labels: fields whose law the action knows as that of an output, such as "y": they turn, too.
    """

    def __init__(self, action: Action, *, scale: float = 1.0, labels: tuple[str, ...] = ()) -> None:
        self.action, self.scale, self.labels = action, scale, labels

    def draw(self, batch: Batch, generator: torch.Generator | None) -> Element:
        """Matrices (samples, d, d) and shifts (samples, d)."""
        matrices, shifts = self.action.random(batch, generator, self.scale)
        return matrices, shifts if shifts is not None else torch.zeros_like(matrices[:, 0])

    def apply(self, batch: Batch, element: Element) -> Any:
        """Inputs and labels moved."""
        matrices, shifts = element[0], element[1] if self.action.group.moves else None
        moved = self.action.moved(batch, matrices, shifts=shifts)
        for name in self.labels:
            value = batch.get(name)
            if isinstance(value, Tensor):
                moved[name] = self.action.carried(name, value, batch, matrices, shifts=shifts)
        return moved


class ImageTransform:
    """Rotations and shifts of images (samples, channels, rows, columns) in `x`, bilinear.

    Args:
        angle: largest rotation, degrees, either way.
        shift: largest shift, as a part of the image, either way.

    Raises:
        ConfigError: for neither, or numbers out of range.
    """

    def __init__(self, *, angle: float = 180.0, shift: float = 0.0) -> None:
        if not (0 <= angle <= 180 and 0 <= shift <= 1 and angle + shift > 0):
            raise ConfigError(
                f"angle={angle}, shift={shift}: expected 0 to 180 degrees and 0 to 1 of the image, "
                "one of them not zero"
            )
        self.angle, self.shift = angle, shift

    def draw(self, batch: Batch, generator: torch.Generator | None) -> Element:
        """Angles (samples,) in rad, and shifts (samples, 2)."""
        x = _image(batch)
        draws = torch.rand(len(x), 3, generator=generator, dtype=torch.float64) * 2 - 1
        draws = draws.to(x)
        return draws[:, 0] * math.radians(self.angle), 2 * draws[:, 1:] * self.shift

    def apply(self, batch: Batch, element: Element) -> Any:
        """The transformed images; what comes in at the edges is zero."""
        x, (angle, shift) = _image(batch), element
        cos, sin, ratio = angle.cos(), angle.sin(), x.shape[-2] / x.shape[-1]
        first = torch.stack([cos, -sin * ratio, shift[:, 0]], 1)
        second = torch.stack([sin / ratio, cos, shift[:, 1]], 1)
        grid = affine_grid(torch.stack([first, second], 1), list(x.shape), align_corners=False)
        return {**batch, "x": grid_sample(x, grid, align_corners=False)}


def _image(batch: Batch) -> Tensor:
    x = batch.get("x")
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        found = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise UnsupportedInputError(
            f"rotations of images take x (samples, channels, rows, columns) in real numbers, not "
            f"{found}"
        )
    return x


class InvarianceConstraint(nn.Module):
    """A term of the loss: mu times the loss on transformed samples; see the module.

        constraint = InvarianceConstraint(GroupTransform(Action("SO")), limit=0.1)
        loss = losses(batch).mean() + constraint(losses, batch)

    mu is a buffer, so that it is saved and restored with a checkpoint.

    Args:
        transform: draws and applies transformations.
        limit: the bound on the mean loss of transformed samples.
        rate: of the steps of mu.
        proposals: steps of the chain.

    Raises:
        ConfigError: for a negative limit, a rate that is not positive, or less than one proposal.
    """

    mu: Tensor
    measured: Tensor

    def __init__(
        self, transform: Transform, *, limit: float, rate: float = 0.1, proposals: int = 2
    ) -> None:
        super().__init__()
        if not (limit >= 0 and rate > 0 and proposals >= 1):
            raise ConfigError(
                f"limit={limit}, rate={rate}, proposals={proposals}: expected limit >= 0, "
                "rate > 0, proposals >= 1"
            )
        self.transform, self.limit = transform, float(limit)
        self.rate, self.proposals = float(rate), proposals
        self.register_buffer("mu", torch.zeros((), dtype=torch.float64))
        #: the loss on transformed samples in the last step
        self.register_buffer("measured", torch.zeros((), dtype=torch.float64))

    def forward(
        self,
        losses: Callable[[Any], Float[Tensor, " samples"]],
        batch: Any,
        generator: torch.Generator | None = None,
        reduce: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """mu * (loss_g - limit), and a step of mu.

        Args:
            losses: the loss of each sample of a batch, none negative.
            batch: inputs and labels.
            generator: of transformations and choices.
            reduce: the mean over processes of a number; None where there is one.
        """
        element, value = self._sampled(losses, batch, generator)
        active = float(self.mu) > 0
        if active:
            value = losses(self.transform.apply(batch, element))
        mean = value.mean()
        seen = mean.detach().double()
        self.measured = seen if reduce is None else reduce(seen)
        term = (mean - self.limit) * self.mu.to(mean.dtype) if active else mean.detach() * 0.0
        self.mu = (self.mu + self.rate * (self.measured - self.limit)).clamp(min=0.0)
        return term

    @torch.no_grad()
    def _sampled(
        self,
        losses: Callable[[Any], Tensor],
        batch: Any,
        generator: torch.Generator | None,
    ) -> tuple[Element, Tensor]:
        """The state of the chain after the last proposal, and its losses."""
        element = self.transform.draw(batch, generator)
        value = losses(self.transform.apply(batch, element))
        for _ in range(self.proposals - 1):
            other = self.transform.draw(batch, generator)
            found = losses(self.transform.apply(batch, other))
            chance = torch.rand(len(value), generator=generator, dtype=torch.float64).to(value)
            taken = chance * value <= found
            element = tuple(
                torch.where(taken.reshape(-1, *[1] * (a.ndim - 1)), b, a)
                for a, b in zip(element, other, strict=True)
            )
            value = torch.where(taken, found, value)
        return element, value
