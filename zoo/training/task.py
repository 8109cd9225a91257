"""The Lightning task of a potential: losses, optimiser, schedule, averaging, validation."""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from zoo.training import schedule, sharding
from zoo.training.ema import Ema
from zoo.training.groups import parameter_groups
from zoo.training.losses import (
    Reduce,
    Sums,
    batch_sums,
    global_weights,
    ratio,
    targets,
    term_losses,
)
from zoo.training.metrics import ForceFieldMetrics, WeightedMean, named
from zoo.training.recipe import Recipe

Penalty = Callable[[nn.Module], Tensor]


class ForceFieldTask(pl.LightningModule):
    """Trains energies, forces and stresses of one model.

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
        clock: gives the seconds spent in training, over all resumed parts.
        first_step: with several energy heads, of each: its loss, its structures and the norm of
            its loss's gradient in the first step.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        steps: int,
        limit: float | None,
        penalty: Penalty | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.steps, self.limit = max(steps, 1), limit
        self.targets = targets(recipe.loss)
        self.heads = energy_heads(model)
        self.penalty = penalty
        self.ema = Ema(model, recipe.ema.decay) if recipe.ema is not None else None
        self.plateau = schedule.Plateau()
        self.clock: Callable[[], float] = lambda: 0.0
        self.score = math.inf
        self.errors: dict[str, float] = {}
        self.first_step: dict[str, dict[str, float]] = {}
        self._groups = _named_groups(model, recipe)
        # every process adds the same, global, losses
        self.train_loss = WeightedMean(sync_on_compute=False)
        self.train_loss.persistent(True)  # an interrupted epoch goes on where it stopped
        self._val_losses = nn.ModuleDict(
            {name: WeightedMean((max(len(self.heads), 1),)) for name in self.targets}
        )
        labels = frozenset(self.targets)
        self._val_errors = ForceFieldMetrics(labels)
        self._head_errors = nn.ModuleList([ForceFieldMetrics(labels) for _ in self.heads])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW or Adam; only matrices and higher tensors are decayed."""
        options = self.recipe.optimizer
        # the groups were made of the whole parameters; FSDP has put parts in their place
        now = dict(self.model.named_parameters())
        groups = [{**g, "params": [now[name] for name in g["params"]]} for g in self._groups]
        kind = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
        return kind(
            groups,
            lr=options.lr,
            betas=(options.betas[0], options.betas[1]),
            amsgrad=options.amsgrad,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def on_fit_start(self) -> None:
        """The average follows the model to its device, or into its parts."""
        if self.ema is not None and sharding.is_sharded(self.trainer):
            self.ema.attach(self.model)
        elif self.ema is not None:
            self.ema.to(self.device)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step's loss."""
        self._set_lr()
        out = self.model(batch, outputs=self.targets)
        sums = batch_sums(out, batch, self.recipe.loss, max(len(self.heads), 1))
        whole = global_weights(sums, self._reduce())
        losses = term_losses(sums, whole, self.recipe.loss, self.trainer.world_size)
        if self.heads:
            losses = losses * self._importance(losses)
        if self.heads and self.global_step == 0:
            self._look_at_heads(losses, whole, batch)
        loss = mean = losses.sum()
        if self.trainer.world_size > 1:  # its own share is not what the others have
            mean = self._weighted({name: ratio(*whole[name]) for name in whole}).sum()
        self.train_loss.update(mean, torch.ones_like(mean))
        if not loss.requires_grad:  # forces alone, and no atom near another
            loss = loss + 0.0 * torch.stack([p.sum() for p in self.model.parameters()]).sum()
        return loss if self.penalty is None else loss + self.penalty(self.model)

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
        for errors in (self._val_errors, *self._each_head()):
            errors.reset()
        for name in self.targets:
            named(self._val_losses, name).reset()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Losses and errors of one batch."""
        out = self.model(batch, outputs=self.targets)
        sums = batch_sums(out, batch, self.recipe.loss, max(len(self.heads), 1))
        for name, (above, below) in sums.items():
            named(self._val_losses, name).update(above, below)
        # a weight of zero leaves a structure out; otherwise errors count each structure once
        counted = batch.weight > 0 if "weight" in batch else None
        self._val_errors.update(out, batch, counted)
        for number, errors in enumerate(self._each_head()):
            mine = self._head(batch) == number
            errors.update(out, batch, mine if counted is None else mine & counted)

    def on_validation_epoch_end(self) -> None:
        """The score, and one step of the plateau schedule."""
        means = {name: named(self._val_losses, name).compute() for name in self.targets}
        score = float(self._weighted(means).sum())
        self.score = score if math.isfinite(score) else math.inf
        self.errors = self._val_errors.compute()
        for head, errors in zip(self.heads, self._each_head(), strict=True):
            found = errors.compute()
            self.errors |= {f"{k}/{head}": v for k, v in found.items() if not math.isnan(v)}
        options = self.recipe.schedule
        self.plateau.step(
            self.score, shrink=options.factor, patience=options.patience, final=options.final
        )
        self.log("val_loss", self.score)
        self.log_dict({f"val_{name}": value for name, value in self.errors.items()})

    def on_validation_end(self) -> None:
        """Training goes on with the weights it had."""
        sharding.release(self.trainer)
        if self.ema is not None and self.ema.swapped:
            self.ema.swap()

    def _weighted(self, means: dict[str, Tensor]) -> Tensor:
        """The loss of each head (heads,) from the means of its terms."""
        terms = [getattr(self.recipe.loss, name).weight * mean for name, mean in means.items()]
        total = torch.stack(terms).sum(0)
        return total * self._importance(total)

    def _importance(self, like: Tensor) -> Tensor:
        """The weight of each head's loss (heads,)."""
        weights = [self.recipe.loss.heads.get(name, 1.0) for name in self.heads]
        return like.new_tensor(weights or [1.0])

    def _each_head(self) -> list[ForceFieldMetrics]:
        return [part for part in self._head_errors if isinstance(part, ForceFieldMetrics)]

    def _head(self, batch: Batch) -> Tensor:
        """The head of each structure (graphs,)."""
        head: Tensor | None = batch.get("head")
        return torch.zeros_like(batch.ptr[1:]) if head is None else head

    def _look_at_heads(self, losses: Tensor, whole: dict[str, Sums], batch: Batch) -> None:
        """Whether the heads pull equally hard: loss, structures and gradient of each."""
        reduce, world = self._reduce() or _identity, self.trainer.world_size
        counted = batch.weight > 0 if "weight" in batch else torch.ones_like(batch.ptr[1:]) > 0
        counts = reduce(torch.bincount(self._head(batch)[counted], minlength=len(self.heads)))
        values = self._weighted({name: ratio(*whole[name]) for name in whole})
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

    def _set_lr(self) -> None:
        options = self.recipe.schedule
        scale = schedule.factor(
            options.kind,
            step=self.global_step,
            progress=self._shared_progress(),
            warmup=options.warmup_steps,
            final=options.final,
            plateau=self.plateau.factor,
        )
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.recipe.optimizer.lr * scale * group.get("lr_scale", 1.0)

    def _shared_progress(self) -> float:
        """The progress of the first process, whose clock all others follow."""
        if self.trainer.world_size == 1 or not self.limit:
            return self.progress
        return float(self.trainer.strategy.broadcast(self.progress))

    def _reduce(self) -> Reduce | None:
        if self.trainer.world_size == 1:
            return None
        return lambda tensor: self.trainer.strategy.reduce(tensor, reduce_op="sum")


def energy_heads(model: Any) -> tuple[str, ...]:
    """Names of the energy heads of a model that has several; none of one that has one."""
    names = tuple(getattr(model, "energy_heads", ()))
    return names if len(names) > 1 else ()


def _named_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The optimiser's groups, with the parameters' names in their place."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = parameter_groups(model, recipe.optimizer)
    return [{**g, "params": [names[id(p)] for p in g["params"]]} for g in groups]


def _identity(tensor: Tensor) -> Tensor:
    return tensor
