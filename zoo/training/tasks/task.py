"""The Lightning task of every domain but atoms: a loss over rows, metrics, adaptation."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.functional.scatter import scatter_mean
from zoo.models._inputs import SampleBatch, count, get
from zoo.training._base import Outputs, Penalty, TrainingTask
from zoo.training.losses import Sums
from zoo.training.metrics import HIGHER, WeightedMean, named
from zoo.training.recipe import Recipe
from zoo.training.tasks.kinds import Task
from zoo.training.tasks.losses import LOSSES, task_sums
from zoo.training.tasks.rows import Rows, rows_of
from zoo.training.tasks.scores import TaskMetrics


class SampleTask(TrainingTask):
    """Trains one model on samples of one domain.

    Args:
        model: takes a batch and returns named outputs.
        recipe: with a `task`.
        task: it, resolved.
        steps: optimiser steps planned in all.
        limit: seconds allowed, or None.
        classes: number of classes or tokens; 0 where there are none.
        class_weights: of each class (classes,), or None.
        inputs: unlabelled inputs of the validation split, for a model that adapts to them.
        penalty: of the model, added to the loss of each step.

    Attributes:
        score: of the last validation; the metric that chooses the weights, its sign turned where
            higher is better.
    """

    def __init__(
        self,
        model: Any,
        recipe: Recipe,
        task: Task,
        *,
        steps: int,
        limit: float | None,
        classes: int = 0,
        class_weights: Tensor | None = None,
        inputs: SampleBatch | None = None,
        penalty: Penalty | None = None,
    ) -> None:
        super().__init__(model, recipe, {"loss": 1.0}, steps=steps, limit=limit, penalty=penalty)
        self.task = task
        self.headline = {name: (f"val {name}", "{:.4g}") for name in task.metrics}
        self.meter = TaskMeter(task, classes, class_weights)
        self._inputs = inputs
        self._resting = resting(model)
        self._before: dict[str, Tensor] = {}

    def on_train_epoch_start(self) -> None:
        """Models with a schedule of their own (momentum of batch norms) hear of the epoch."""
        super().on_train_epoch_start()
        begin: Any = getattr(self.model, "begin_epoch", None)
        if begin is not None:
            begin(self.current_epoch + 1, self.trainer.max_epochs or 0)

    def on_train_batch_start(self, batch: SampleBatch, batch_index: int) -> None:
        """What is frozen stays as it is, running statistics included."""
        for name, module in self.model.named_modules():
            if name in self._resting:
                module.eval()

    def measure(self, batch: SampleBatch) -> tuple[Outputs, dict[str, Sums]]:
        """Outputs, and the sums of the loss."""
        out = self.model(batch)
        return out, {"loss": self.meter.sums(self.model, out, batch)}

    def sample_losses(self, batch: SampleBatch) -> Tensor:
        """The loss of each sample, where its rows are those of samples or of their nodes."""
        if self.task.name == "own":
            return super().sample_losses(batch)
        return self.meter.each(self.model, self.model(batch), batch)

    def reset_errors(self) -> None:
        """Forgets the metrics of the last validation."""
        self.meter.reset()

    def update_errors(self, out: Outputs, batch: SampleBatch) -> None:
        """Metrics of one batch."""
        self.meter.update(self.model, out, batch)

    def compute_errors(self) -> dict[str, float]:
        """The metrics so far, over all processes."""
        return self.meter.compute()

    def rate(self, loss: float, errors: Mapping[str, float]) -> float:
        """The task's score, lower is better."""
        name = self.task.score
        if name == "loss" or name not in errors:
            return loss
        return -errors[name] if name in HIGHER else errors[name]

    def on_validation_start(self) -> None:
        """Every process validates the same statistics; a model that adapts does so first."""
        super().on_validation_start()
        if self.trainer.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)
        if self._inputs is not None:
            self._before = {n: b.detach().clone() for n, b in self.model.named_buffers()}
            inputs = self.transfer_batch_to_device(self._inputs, self.device, 0)
            adapt: Any = self.model.adapt
            with torch.no_grad():
                adapt(inputs)

    def on_validation_end(self) -> None:
        """Training goes on with the weights and statistics it had."""
        super().on_validation_end()
        for name, buffer in self.model.named_buffers():
            if name in self._before:
                buffer.copy_(self._before[name])
        self._before = {}


class TaskMeter(torch.nn.Module):
    """Loss and metrics of one task, for training and for evaluation.

    Args:
        task: the task.
        classes: number of classes or tokens; 0 where there are none.
        class_weights: of each class (classes,), or None.
    """

    class_weights: Tensor | None

    def __init__(self, task: Task, classes: int = 0, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.task = task
        self.metrics = TaskMetrics(task, classes)
        self.register_buffer("class_weights", class_weights, persistent=False)
        own = task.metrics if task.name == "own" else ()
        self.own = torch.nn.ModuleDict({name: WeightedMean() for name in own})

    def sums(self, model: Any, out: Outputs, batch: SampleBatch) -> Sums:
        """The sums of the loss over one batch."""
        if self.task.name == "own":
            number = counted(batch)
            value = model.objective(out, batch)
            weight = value.new_tensor([float(number)]).detach()
            return value.reshape(1) * weight, weight
        return task_sums(
            rows_of(out, batch, self.task),
            self.task.loss,
            self.task.section.loss,
            class_weights=self.class_weights,
            scale=target_scale(model, self.task),
        )

    def each(self, model: Any, out: Outputs, batch: SampleBatch) -> Tensor:
        """The loss of each sample (samples,), or of all labelled rows together (1,)."""
        rows, scale = rows_of(out, batch, self.task), target_scale(model, self.task)
        if scale is not None:
            rows = Rows(rows.output / scale, rows.target / scale, rows.weight)
        values, _ = LOSSES[self.task.loss](rows, self.task.section.loss)
        if not len(values):
            return rows.output.sum().reshape(1) * 0.0
        values = values.flatten(1).mean(1) if values.ndim > 1 else values
        owner = get(batch, "batch")
        if len(values) == count(batch):
            return values
        if owner is None or len(owner) != len(values):
            return values.mean().reshape(1)
        return scatter_mean(values, owner, count(batch))

    def update(self, model: Any, out: Outputs, batch: SampleBatch) -> None:
        """Takes the metrics of one batch in."""
        if self.task.name != "own":
            self.metrics.update(rows_of(out, batch, self.task))
        elif len(self.own) and counted(batch):
            found = model.measures(out, batch)
            for name in self.own:
                named(self.own, name).update(*found[name])

    def compute(self) -> dict[str, float]:
        """The metrics so far, over all processes."""
        own = {name: float(named(self.own, name).compute()) for name in self.own}
        return {**self.metrics.compute(), **own}

    def reset(self) -> None:
        """Forgets everything."""
        self.metrics.reset()
        for name in self.own:
            named(self.own, name).reset()


def resting(model: torch.nn.Module) -> set[str]:
    """Names of the modules all of whose parameters are frozen."""
    found = set()
    for name, module in model.named_modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            found.add(name)
    return found


def counted(batch: SampleBatch) -> int:
    """Number of samples that count."""
    weight = get(batch, "weight")
    return count(batch) if weight is None else int((weight > 0).sum())


def target_scale(model: Any, task: Task) -> Tensor | None:
    """Standard deviation of the targets, where they are standardised."""
    constants = getattr(model, "normalisation", {}).get("prediction")
    if task.name != "regression" or constants is None:
        return None
    return torch.tensor(constants["std"], dtype=model.dtype, device=model.device)
