"""Terms of the loss that draw a model towards symmetries, as a recipe's `symmetry` has them."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zoo.errors import ConfigError, RecipeError
from zoo.layers.symmetry import (
    Action,
    EquivariancePenalty,
    GroupTransform,
    ImageTransform,
    InvarianceConstraint,
    Transform,
)
from zoo.models._atomistic import AtomisticModel
from zoo.training.recipe import ConstraintSection, Recipe, SymmetrySection

if TYPE_CHECKING:
    from zoo.training._base import TrainingTask
else:
    TrainingTask = Any  # it has these terms

#: domains whose samples have axes that groups turn, and those of images
_AXES = ("atoms", "particles", "points", "vector", "sequence", "tensor")
_IMAGES = ("image", "field")
#: labels that turn
_LABELS = {"atoms": ("forces", "stress")}
_STEPS = 1_000_003


class SymmetryTerms(nn.Module):
    """The terms of one run. The multiplier of a constraint is saved with the run's state.

    Args:
        model: that is trained.
        recipe: with a `symmetry`.

    Raises:
        RecipeError: groups, layers or a domain that don't fit; names the key.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        assert recipe.symmetry is not None
        section = recipe.symmetry
        self.seed = recipe.trainer.seed
        domain = str(getattr(model, "domain", "atoms"))
        self.penalties = _penalties(model, section, domain)
        self.constraint: InvarianceConstraint | None = None
        if section.constraint is not None:
            self.constraint = _constraint(model, section.constraint, domain, recipe)

    def forward(self, task: TrainingTask, batch: Any) -> Tensor:
        """The sum of the terms on one batch; the same in a resumed run.

        Args:
            task: knows the loss of each sample, and the step.
            batch: inputs and labels.
        """
        rank = task.global_rank
        generator = torch.Generator().manual_seed(
            (self.seed * _STEPS + task.global_step) * 1024 + rank
        )
        terms = [penalty(batch, generator) for penalty in self.penalties]
        if self.constraint is not None:
            terms.append(self.constraint(task.sample_losses, batch, generator, task.averager()))
            task.log("invariance_mu", self.constraint.mu)
        return torch.stack([term.to(terms[0].dtype) for term in terms]).sum()


def check(model: nn.Module, recipe: Recipe) -> None:
    """Refuses terms that can't be made, before anything is trained.

    Raises:
        RecipeError: names the key.
    """
    if recipe.symmetry is not None:
        SymmetryTerms(model, recipe)


def _penalties(
    model: nn.Module, section: SymmetrySection, domain: str
) -> list[EquivariancePenalty]:
    made = []
    atoms = isinstance(model, AtomisticModel)
    if section.penalty:
        _check_domain(domain, _AXES, "penalty")
        called = _outputs(model) if atoms else model
        try:
            made.append(
                EquivariancePenalty(
                    called,
                    section.penalty,
                    form="outputs",
                    output=section.output,
                    vectors=section.vectors,
                    scale=section.scale,
                    order=_order(model, domain),
                )
            )
        except ConfigError as problem:
            raise RecipeError(f"symmetry.penalty: {problem}") from None
    if section.weights:
        try:
            made.append(EquivariancePenalty(model, section.weights))
        except ConfigError as problem:
            raise RecipeError(f"symmetry.weights: {problem}") from None
    return made


def _order(model: Any, domain: str) -> int:
    """How many axes of a sample turn: all of a tensor's, else the last."""
    return len(model.sample_shape) if domain == "tensor" else 1


def _outputs(model: Any) -> Any:
    """A potential's energies and forces alone: a stress needs three periodic directions."""
    return lambda batch: model(
        batch, outputs=[n for n in ("energy", "forces") if n in model.outputs]
    )


def _constraint(
    model: nn.Module, options: ConstraintSection, domain: str, recipe: Recipe
) -> InvarianceConstraint:
    section = recipe.symmetry
    assert section is not None
    transform: Transform
    if options.group is None:
        _check_domain(domain, _IMAGES, "constraint.angle")
        transform = ImageTransform(angle=options.angle, shift=options.shift)
    else:
        _check_domain(domain, _AXES, "constraint.group")
        try:
            order = _order(model, domain)
            action = Action(options.group, section.output, vectors=section.vectors, order=order)
        except ConfigError as problem:
            raise RecipeError(f"symmetry.constraint.group: {problem}") from None
        task = recipe.task
        own = (task.target or "y",) if task is not None and task.kind == "regression" else ()
        labels = _LABELS.get(domain, own)
        transform = GroupTransform(action, scale=section.scale, labels=labels)
    return InvarianceConstraint(
        transform, limit=options.limit, rate=options.rate, proposals=options.proposals
    )


def _check_domain(domain: str, wanted: tuple[str, ...], key: str) -> None:
    if domain not in wanted:
        raise RecipeError(
            f"symmetry.{key}: the model takes samples of the domain {domain!r}; this acts on "
            f"{', '.join(wanted)}"
        )
