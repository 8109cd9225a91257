"""The section `symmetry` of a recipe: terms of the loss for models whose symmetry is learnt."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo.training._sections import NonNegative, Positive, Section

Answer = Literal["invariant", "equivariant", "vector", "tensor"]


class ConstraintSection(Section):
    """Augmentation as strong as a bound on the loss of transformed samples needs.

    The mean loss of samples moved by random elements of `group` (or, for images, turned by up to
    `angle` degrees and shifted by up to `shift` of the image) is to stay below `limit`, in the
    units of the loss; its multiplier starts at zero and moves at `rate` after each step.
    `proposals` steps of a Metropolis-Hastings chain choose the elements, each one more evaluation
    of the batch.
    """

    limit: NonNegative
    group: str | None = None
    angle: Annotated[float, Field(ge=0, le=180)] = 0.0
    shift: Annotated[float, Field(ge=0, le=1)] = 0.0
    rate: Positive = 0.1
    proposals: Annotated[int, Field(ge=1, le=100)] = 2

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        images = self.angle > 0 or self.shift > 0
        if images == (self.group is not None):
            raise ValueError("say group, or for images angle and shift: one of the two")
        return self


class SymmetrySection(Section):
    """Terms that are added to the loss of each training step.

    `penalty`: group (`O`, `SO`, `E`, `SE`) -> weight of mean |f(g x) - g f(x)|^2 for a random g.
    `weights`: group (`S`, `A`, `O`, `SO`, `Sp`) -> weight of ||W - P W||^2, the distance to
    equivariant maps, of the layers that say which tensor powers they map between.
    `constraint`: see above.

    `output` is how predictions and their labels answer: `equivariant` as positions (with E and SE
    they move with the origin), `vector`, `tensor` or `invariant`; logits, energies, forces and
    stresses are known. `vectors` names fields that turn with positions, `scale` is the standard
    deviation of random translations.
    """

    penalty: dict[str, NonNegative] = {}
    weights: dict[str, NonNegative] = {}
    constraint: ConstraintSection | None = None
    output: Answer = "invariant"
    vectors: list[str] = ["vel"]
    scale: NonNegative = 1.0

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.penalty and not self.weights and self.constraint is None:
            raise ValueError("nothing is asked for: say penalty, weights or constraint")
        return self
