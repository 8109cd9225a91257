"""The Lightning task of a potential: losses, optimiser, schedule, averaging, validation."""

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torchmetrics import MeanMetric

from zoo.training import schedule
from zoo.training.ema import Ema
from zoo.training.losses import Reduce, energy_error, global_mean, penalty
from zoo.training.metrics import ForceFieldMetrics, named
from zoo.training.recipe import LossSection, Recipe


class ForceFieldTask(pl.LightningModule):
    """Trains energies, forces and stresses of one model.

    Args:
        model: an atomistic model, called as `model(batch, outputs=...)`.
        recipe: losses, optimiser, schedule and averaging.
        steps: optimiser steps planned in all.
        limit: seconds allowed, or None.

    Attributes:
        score: validation loss of the last validation; lower is better.
        errors: validation errors of the last validation, in meV and Å.
        clock: gives the seconds spent in training, over all resumed parts.
    """

    def __init__(
        self, model: nn.Module, recipe: Recipe, *, steps: int, limit: float | None
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.steps, self.limit = max(steps, 1), limit
        self.targets = targets(recipe.loss)
        self.ema = Ema(model, recipe.ema.decay) if recipe.ema is not None else None
        self.plateau = schedule.Plateau()
        self.clock: Callable[[], float] = lambda: 0.0
        self.score = float("inf")
        self.errors: dict[str, float] = {}
        # torchmetrics would leave a NaN out of the mean: a batch that diverged must not look good
        self.train_loss = MeanMetric(nan_strategy=math.inf)
        self.train_loss.persistent(True)  # an interrupted epoch goes on where it stopped
        self._val_losses = nn.ModuleDict(
            {name: MeanMetric(nan_strategy=math.inf) for name in self.targets}
        )
        self._val_errors = ForceFieldMetrics(frozenset(self.targets))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW or Adam; only matrices and higher tensors are decayed."""
        options = self.recipe.optimizer
        live = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in live if p.ndim > 1], "weight_decay": options.weight_decay},
            {"params": [p for p in live if p.ndim <= 1], "weight_decay": 0.0},
        ]
        kind = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
        return kind(
            [g for g in groups if g["params"]],
            lr=options.lr,
            betas=(options.betas[0], options.betas[1]),
            amsgrad=options.amsgrad,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def on_fit_start(self) -> None:
        """The average follows the model to its device."""
        if self.ema is not None:
            self.ema.to(self.device)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step's loss."""
        self._set_lr()
        out = self.model(batch, outputs=self.targets)
        loss = torch.stack(list(self.losses(out, batch, self._reduce()).values())).sum()
        self.train_loss.update(loss.detach())
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The average takes in the new weights at once, before anything can interrupt."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update()

    def on_validation_start(self) -> None:
        """Validation, and what is kept, use the averaged weights."""
        if self.ema is not None:
            self.ema.swap()
        self._val_errors.reset()
        for name in self.targets:
            named(self._val_losses, name).reset()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Losses and errors of one batch."""
        out = self.model(batch, outputs=self.targets)
        for name, value in self.losses(out, batch, None).items():
            count = batch.num_graphs if name == "energy" else getattr(batch, name).numel()
            named(self._val_losses, name).update(value, weight=count)
        self._val_errors.update(out, batch)

    def on_validation_epoch_end(self) -> None:
        """The score, and one step of the plateau schedule."""
        self.score = sum(float(named(self._val_losses, name).compute()) for name in self.targets)
        self.errors = self._val_errors.compute()
        options = self.recipe.schedule
        self.plateau.step(
            self.score, shrink=options.factor, patience=options.patience, final=options.final
        )
        self.log("val_loss", self.score)
        self.log_dict({f"val_{name}": value for name, value in self.errors.items()})

    def on_validation_end(self) -> None:
        """Training goes on with the weights it had."""
        if self.ema is not None and self.ema.swapped:
            self.ema.swap()

    def losses(
        self, out: dict[str, Tensor], batch: Batch, reduce: Reduce | None
    ) -> dict[str, Tensor]:
        """The weighted terms, each a mean over the batches of all processes."""
        terms = self.recipe.loss
        world = self.trainer.world_size if reduce is not None else 1
        result: dict[str, Tensor] = {}
        if terms.energy is not None:
            error = energy_error(
                out["energy"],
                batch.energy,
                batch.ptr[1:] - batch.ptr[:-1],
                per_atom=terms.energy.per == "atom",
            )
            mean = global_mean(penalty(error, terms.energy), reduce, world)
            result["energy"] = (terms.energy.weight * mean).to(self.dtype)
        for name, term in (("forces", terms.forces), ("stress", terms.stress)):
            if term is not None:
                mean = global_mean(penalty(out[name] - getattr(batch, name), term), reduce, world)
                result[name] = term.weight * mean
        return result

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the average and the plateau; both are plain data and tensors."""
        checkpoint["zoo_plateau"] = vars(self.plateau).copy()
        if self.ema is not None:
            checkpoint["zoo_ema"] = self.ema.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes them back."""
        self.plateau = schedule.Plateau(**checkpoint["zoo_plateau"])
        if self.ema is not None:
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
            group["lr"] = self.recipe.optimizer.lr * scale

    def _shared_progress(self) -> float:
        """The progress of the first process, whose clock all others follow."""
        if self.trainer.world_size == 1:
            return self.progress
        return float(self.trainer.strategy.broadcast(self.progress))

    def _reduce(self) -> Reduce | None:
        if self.trainer.world_size == 1:
            return None
        return lambda tensor: self.trainer.strategy.reduce(tensor, reduce_op="sum")


def targets(loss: LossSection) -> list[str]:
    """Names of the trained quantities."""
    return [name for name in ("energy", "forces", "stress") if getattr(loss, name) is not None]
