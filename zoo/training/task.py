"""The Lightning task of a model on atoms: losses on energies, forces, stresses and properties."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from zoo.functional.scatter import scatter_mean
from zoo.training import sharding
from zoo.training._base import Outputs, Penalty, TrainingTask
from zoo.training.losses import (
    PER_ATOM,
    Sums,
    batch_sums,
    energy_error,
    penalty,
    ratio,
    targets,
    term_of,
)
from zoo.training.metrics import ForceFieldMetrics
from zoo.training.recipe import EnergyTerm, Recipe


class ForceFieldTask(TrainingTask):
    """Trains energies, forces, stresses and properties of one model.

    Args:
        model: an atomistic model, called as `model(batch, outputs=...)`.
        recipe: losses, optimiser, schedule and averaging.
        steps: optimiser steps planned in all.
        limit: seconds allowed, or None.
        penalty: of the model, added to the loss of each step.

    Attributes:
        score: validation loss of the last validation; lower is better.
        errors: validation errors of the last validation, in meV and Å; with several energy heads
            also of each head, as `<error>/<head>`.
        first_step: with several energy heads, of each: its loss, its structures and the norm of
            its loss's gradient in the first step.
    """

    headline = {
        "forces_mae": ("val forces", "{:.1f} meV/Å"),
        "energy_mae_per_atom": ("energy", "{:.2f} meV/atom"),
    }

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        steps: int,
        limit: float | None,
        penalty: Penalty | None = None,
    ) -> None:
        self.targets = targets(recipe.loss)
        self.heads = energy_heads(model)
        weights = {name: term_of(recipe.loss, name).weight for name in self.targets}
        super().__init__(
            model,
            recipe,
            weights,
            steps=steps,
            limit=limit,
            penalty=penalty,
            heads=max(len(self.heads), 1),
        )
        labels = frozenset(self.targets)
        self._val_errors = ForceFieldMetrics(labels)
        self._head_errors = nn.ModuleList([ForceFieldMetrics(labels) for _ in self.heads])

    def measure(self, batch: Batch) -> tuple[Outputs, dict[str, Sums]]:
        """Predictions, and the sums of each term."""
        out = self.model(batch, outputs=self.targets)
        return out, batch_sums(out, batch, self.recipe.loss, max(len(self.heads), 1))

    def sample_losses(self, batch: Batch) -> Tensor:
        """The loss of each structure (graphs,), forces averaged over its atoms."""
        out = self.model(batch, outputs=self.targets)
        losses = []
        for name in self.targets:
            term = term_of(self.recipe.loss, name)
            error = out[name] - batch[name].to(out[name].dtype)
            if isinstance(term, EnergyTerm):
                atoms = torch.diff(batch.ptr)
                error = energy_error(out[name], batch[name], atoms, per_atom=term.per == "atom")
            rows = (
                penalty(error, term).flatten(1).mean(1) if error.ndim > 1 else penalty(error, term)
            )
            if name in PER_ATOM:
                rows = scatter_mean(rows, batch.batch, batch.num_graphs)
            losses.append(term.weight * rows.double())
        return torch.stack(losses).sum(0)

    def reset_errors(self) -> None:
        """Forgets the errors of the last validation."""
        for errors in (self._val_errors, *self._each_head()):
            errors.reset()

    def update_errors(self, out: Outputs, batch: Batch) -> None:
        """Errors of one batch, of all structures and of each head's."""
        # a weight of zero leaves a structure out; otherwise errors count each structure once
        counted = batch.weight > 0 if "weight" in batch else None
        self._val_errors.update(out, batch, counted)
        for number, errors in enumerate(self._each_head()):
            mine = self._head(batch) == number
            errors.update(out, batch, mine if counted is None else mine & counted)

    def compute_errors(self) -> dict[str, float]:
        """The errors so far, over all processes."""
        found = self._val_errors.compute()
        for head, errors in zip(self.heads, self._each_head(), strict=True):
            own = errors.compute()
            found |= {f"{k}/{head}": v for k, v in own.items() if not math.isnan(v)}
        return found

    def importance(self, like: Tensor) -> Tensor:
        """The weight of each head's loss (heads,)."""
        weights = [self.recipe.loss.heads.get(name, 1.0) for name in self.heads]
        return like.new_tensor(weights or [1.0])

    def look_at(self, losses: Tensor, whole: dict[str, Sums], batch: Batch) -> None:
        """Whether the heads pull equally hard: loss, structures and gradient of each."""
        if not self.heads:
            return
        reduce, world = self.reducer() or _identity, self.trainer.world_size
        counted = batch.weight > 0 if "weight" in batch else torch.ones_like(batch.ptr[1:]) > 0
        counts = reduce(torch.bincount(self._head(batch)[counted], minlength=len(self.heads)))
        values = self.weighted({name: ratio(*whole[name]) for name in whole})
        live = [p for p in self.model.parameters() if p.requires_grad]
        for number, head in enumerate(self.heads):
            entry = {"loss": float(values[number]), "structures": float(counts[number])}
            if not sharding.is_sharded(self.trainer):
                slopes = torch.autograd.grad(
                    losses[number], live, retain_graph=True, materialize_grads=True
                )
                flat = torch.cat([slope.reshape(-1) for slope in slopes]).double() / world
                entry["gradient"] = float(reduce(flat).norm())
            self.first_step[head] = entry

    def _each_head(self) -> list[ForceFieldMetrics]:
        return [part for part in self._head_errors if isinstance(part, ForceFieldMetrics)]

    def _head(self, batch: Batch) -> Tensor:
        """The head of each structure (graphs,)."""
        head: Tensor | None = batch.get("head")
        return torch.zeros_like(batch.ptr[1:]) if head is None else head


def energy_heads(model: Any) -> tuple[str, ...]:
    """Names of the energy heads of a model that has several; none of one that has one."""
    names = tuple(getattr(model, "energy_heads", ()))
    return names if len(names) > 1 else ()


def _identity(tensor: Tensor) -> Tensor:
    return tensor
