"""What the Lightning tasks of all domains share: schedule, averaging, validation, resuming."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from zoo.training import schedule, sharding
from zoo.training.ema import Ema
from zoo.training.losses import Reduce, Sums, global_weights, ratio, term_losses
from zoo.training.metrics import WeightedMean, named
from zoo.training.optimizers import make_optimizer, named_groups
from zoo.training.recipe import Recipe
from zoo.training.symmetry import SymmetryTerms

Penalty = Callable[[nn.Module], Tensor]
Outputs = Mapping[str, Tensor]


class TrainingTask(pl.LightningModule):
    """Trains one model: a domain says what is lost on a batch, and which errors are measured.

    Args:
        model: what is trained.
        recipe: optimiser, schedule and averaging.
        weights: of the terms of the loss, by name.
        steps: optimiser steps planned in all.
        limit: seconds allowed, or None.
        penalty: of the model, added to the loss of each step.
        heads: number of parts that each term is averaged over separately.

    Attributes:
        loss: loss of the last validation.
        score: of the last validation; lower is better.
        errors: of the last validation, by name.
        clock: gives the seconds spent in training, over all resumed parts.
        first_step: what was noted in the first step.
        headline: errors that progress lines show, with their labels and formats.
    """

    headline: Mapping[str, tuple[str, str]] = {}

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        weights: Mapping[str, float],
        *,
        steps: int,
        limit: float | None,
        penalty: Penalty | None = None,
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.model, self.recipe, self.penalty = model, recipe, penalty
        self.weights = dict(weights)
        self.steps, self.limit = max(steps, 1), limit
        self.ema = Ema(model, recipe.ema.decay) if recipe.ema is not None else None
        self.symmetry = None if recipe.symmetry is None else SymmetryTerms(model, recipe)
        self.plateau = schedule.Plateau()
        self.clock: Callable[[], float] = lambda: 0.0
        self.loss = self.score = math.inf
        self.errors: dict[str, float] = {}
        self.first_step: dict[str, dict[str, float]] = {}
        self._groups = named_groups(model, recipe.optimizer)
        # every process adds the same, global, losses
        self.train_loss = WeightedMean(sync_on_compute=False)
        self.train_loss.persistent(True)  # an interrupted epoch goes on where it stopped
        self._val_losses = nn.ModuleDict({name: WeightedMean((heads,)) for name in self.weights})

    @abstractmethod
    def measure(self, batch: Any) -> tuple[Outputs, dict[str, Sums]]:
        """Outputs of the model, and the sums of each term of the loss on this process."""

    @abstractmethod
    def reset_errors(self) -> None:
        """Forgets the errors of the last validation."""

    @abstractmethod
    def update_errors(self, out: Outputs, batch: Any) -> None:
        """Takes the errors of one batch in."""

    @abstractmethod
    def compute_errors(self) -> dict[str, float]:
        """The errors so far, over all processes."""

    def sample_losses(self, batch: Any) -> Tensor:
        """The loss of each sample (samples,), or of all of them together (1,)."""
        _, sums = self.measure(batch)
        return self.weighted({name: ratio(*sums[name]) for name in sums}).sum().reshape(1)

    def importance(self, like: Tensor) -> Tensor:
        """The weight of each head's loss (heads,)."""
        return torch.ones_like(like)

    def look_at(self, losses: Tensor, whole: dict[str, Sums], batch: Any) -> None:
        """Notes what is worth knowing of the first step."""

    def rate(self, loss: float, errors: Mapping[str, float]) -> float:
        """What chooses the best weights, lower is better: the loss."""
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The recipe's optimiser over its groups."""
        # the groups were made of the whole parameters; FSDP has put parts in their place
        now = dict(self.model.named_parameters())
        groups = [{**g, "params": [now[name] for name in g["params"]]} for g in self._groups]
        return make_optimizer(groups, self.recipe.optimizer, self.device)

    def on_fit_start(self) -> None:
        """The average follows the model to its device, or into its parts."""
        if self.ema is not None and sharding.is_sharded(self.trainer):
            self.ema.attach(self.model)
        elif self.ema is not None:
            self.ema.to(self.device)

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        """One step's loss."""
        self._set_lr()
        _, sums = self.measure(batch)
        whole = global_weights(sums, self.reducer())
        losses = term_losses(sums, whole, self.weights, self.trainer.world_size)
        losses = losses * self.importance(losses)
        if self.global_step == 0:
            self.look_at(losses, whole, batch)
        loss = mean = losses.sum()
        if self.trainer.world_size > 1:  # its own share is not what the others have
            mean = self.weighted({name: ratio(*whole[name]) for name in whole}).sum()
        self.train_loss.update(mean, torch.ones_like(mean))
        if not loss.requires_grad:  # forces alone, and no atom near another
            loss = loss + 0.0 * torch.stack([p.sum() for p in self.model.parameters()]).sum()
        if self.penalty is not None:
            loss = loss + self.penalty(self.model)
        return loss if self.symmetry is None else loss + self.symmetry(self, batch)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """The norm is that of the whole gradient, on any number of processes."""
        if sharding.is_sharded(self.trainer):
            if gradient_clip_val is not None:
                sharding.clip_gradients(self.trainer, self.model, float(gradient_clip_val))
            return
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The average takes in the new weights at once, before anything can interrupt."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update()

    def on_validation_start(self) -> None:
        """Validation, and what is kept, use the averaged weights."""
        if self.ema is not None:
            self.ema.swap()
        self.reset_errors()
        for name in self.weights:
            named(self._val_losses, name).reset()

    def validation_step(self, batch: Any, batch_index: int) -> None:
        """Losses and errors of one batch."""
        out, sums = self.measure(batch)
        for name, (above, below) in sums.items():
            named(self._val_losses, name).update(above, below)
        self.update_errors(out, batch)

    def on_validation_epoch_end(self) -> None:
        """The score, and one step of the plateau schedule."""
        means = {name: named(self._val_losses, name).compute() for name in self.weights}
        self.loss = _finite(float(self.weighted(means).sum()))
        self.errors = self.compute_errors()
        self.score = _finite(self.rate(self.loss, self.errors))
        options = self.recipe.schedule
        self.plateau.step(
            self.score, shrink=options.factor, patience=options.patience, final=options.final
        )
        self.log("val_loss", self.loss)
        self.log_dict({f"val_{name}": value for name, value in self.errors.items()})

    def on_validation_end(self) -> None:
        """Training goes on with the weights it had."""
        sharding.release(self.trainer)
        if self.ema is not None and self.ema.swapped:
            self.ema.swap()

    def weighted(self, means: Mapping[str, Tensor]) -> Tensor:
        """The loss of each head (heads,) from the means of its terms."""
        total = torch.stack([self.weights[name] * mean for name, mean in means.items()]).sum(0)
        return total * self.importance(total)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the average and the plateau; both are plain data and tensors."""
        checkpoint["zoo_plateau"] = vars(self.plateau).copy()
        checkpoint["zoo_first_step"] = self.first_step
        if self.ema is not None and sharding.is_sharded(self.trainer):
            checkpoint["zoo_ema"] = sharding.average_state(self.trainer, self.model, self.ema)
        elif self.ema is not None:
            checkpoint["zoo_ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes them back."""
        self.plateau = schedule.Plateau(**checkpoint["zoo_plateau"])
        self.first_step = dict(checkpoint.get("zoo_first_step", {}))
        if self.ema is not None and sharding.is_sharded(self.trainer):
            root = self.trainer.strategy.model
            assert root is not None
            sharding.load_average(self.model, self.ema, checkpoint["zoo_ema"], root)
        elif self.ema is not None:
            self.ema.load_state_dict(checkpoint["zoo_ema"])

    @property
    def progress(self) -> float:
        """Part of the planned steps or of the allowed time that is over, whichever is more."""
        by_steps = self.global_step / self.steps
        return max(by_steps, self.clock() / self.limit) if self.limit else by_steps

    def reducer(self) -> Reduce | None:
        """Adds a tensor over all processes; None where there is one."""
        if self.trainer.world_size == 1:
            return None
        return lambda tensor: self.trainer.strategy.reduce(tensor, reduce_op="sum")

    def averager(self) -> Reduce | None:
        """The mean of a tensor over all processes; None where there is one."""
        if self.trainer.world_size == 1:
            return None
        return lambda tensor: self.trainer.strategy.reduce(tensor, reduce_op="mean")

    def _set_lr(self) -> None:
        options = self.recipe.schedule
        scale = schedule.factor(
            options.kind,
            step=self.global_step,
            progress=self._shared_progress(),
            warmup=options.warmup_steps,
            final=options.final,
            plateau=self.plateau.factor,
            milestones=options.milestones,
            shrink=options.factor,
        )
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.recipe.optimizer.lr * scale * group.get("lr_scale", 1.0)

    def _shared_progress(self) -> float:
        """The progress of the first process, whose clock all others follow."""
        if self.trainer.world_size == 1 or not self.limit:
            return self.progress
        return float(self.trainer.strategy.broadcast(self.progress))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
