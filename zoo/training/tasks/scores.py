"""Metrics of every kind of task, by torchmetrics alone, so that they are right across processes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchmetrics.text import Perplexity

from zoo.training.losses import ratio
from zoo.training.metrics import WeightedMean, named
from zoo.training.tasks.kinds import Task
from zoo.training.tasks.losses import rotation_angle
from zoo.training.tasks.rows import Rows


class BalancedAccuracy(MulticlassConfusionMatrix):
    """Mean of the recalls of the classes that occur among the labels."""

    def compute(self) -> Tensor:
        """The mean; 0 without labels."""
        matrix = super().compute().double()
        support = matrix.sum(1)
        recall = ratio(matrix.diagonal(), support)
        return ratio(recall.sum(), (support > 0).sum().double())


@dataclass(frozen=True)
class Score:
    """A row: one metric.

    Attributes:
        make: takes the number of classes.
        update: takes the metric and the rows of a batch.
        keeps: whether the metric keeps all rows. Then a process without any must say so, or what
            the processes exchange does not fit together.
    """

    make: Callable[[int], Metric]
    update: Callable[[Metric, Rows], None]
    keeps: bool = False


def _direct(metric: Metric, rows: Rows) -> None:
    metric.update(rows.output, rows.target)


def _flat(metric: Metric, rows: Rows) -> None:
    metric.update(rows.output.double().reshape(-1), rows.target.double().reshape(-1))


def _steps(metric: Metric, rows: Rows) -> None:
    metric.update(rows.output.double()[None], rows.target[None])


def _pairs(metric: Metric, rows: Rows) -> None:
    metric.update(rows.output.sigmoid(), rows.target.long())


def _classes(metric: Metric, rows: Rows) -> None:
    metric.update(rows.output.softmax(-1), rows.target)


def _relative(metric: Metric, rows: Rows) -> None:
    error = (rows.output - rows.target).double().flatten(1).norm(dim=1)
    size = rows.target.double().flatten(1).norm(dim=1)
    tiny = torch.finfo(size.dtype).tiny
    metric.update((error / size.clamp(min=tiny)).sum(), size.new_tensor(float(len(size))))


def _degrees(metric: Metric, rows: Rows) -> None:
    angle = torch.rad2deg(rotation_angle(rows.output.double(), rows.target.double()))
    metric.update(angle.sum(), angle.new_tensor(float(len(angle))))


def _mean(size: int) -> Metric:
    return WeightedMean()


SCORES: dict[str, dict[str, Score]] = {
    "classification": {
        "accuracy": Score(lambda n: MulticlassAccuracy(n, average="micro"), _direct),
        "balanced_accuracy": Score(BalancedAccuracy, _direct),
        "auroc": Score(
            lambda n: MulticlassAUROC(n, average="macro", validate_args=False), _classes, True
        ),
        "f1": Score(lambda n: MulticlassF1Score(n, average="macro"), _direct),
    },
    "regression": {
        "mae": Score(lambda n: MeanAbsoluteError(), _flat),
        "rmse": Score(lambda n: MeanSquaredError(squared=False), _flat),
        "mse": Score(lambda n: MeanSquaredError(), _flat),
        "relative_l2": Score(_mean, _relative),
        "angle": Score(_mean, _degrees),
    },
    "link_prediction": {
        "auroc": Score(lambda n: BinaryAUROC(validate_args=False), _pairs, True),
        "average_precision": Score(
            lambda n: BinaryAveragePrecision(validate_args=False), _pairs, True
        ),
        "accuracy": Score(lambda n: BinaryAccuracy(), _pairs),
    },
    "language_model": {
        "perplexity": Score(lambda n: Perplexity(), _steps),
        "accuracy": Score(lambda n: MulticlassAccuracy(n, average="micro"), _direct),
    },
    "own": {},
}


class TaskMetrics(nn.Module):
    """Accumulates the metrics of a task over batches and processes.

    Args:
        task: which metrics.
        classes: number of classes, tokens included.
    """

    def __init__(self, task: Task, classes: int) -> None:
        super().__init__()
        self._table = SCORES[task.name]
        self.metrics = nn.ModuleDict()
        wanted = [name for name in task.metrics if name in self._table]
        for name in wanted:
            self.metrics[name] = self._table[name].make(classes).set_dtype(torch.float64)

    def update(self, rows: Rows) -> None:
        """Takes the rows of one batch in, those of weight zero left out."""
        rows = rows.counted()
        for name in self.metrics:
            if len(rows.target) or self._table[name].keeps:
                self._table[name].update(named(self.metrics, name), rows)

    def compute(self) -> dict[str, float]:
        """The metrics so far, over all processes."""
        return {name: float(named(self.metrics, name).compute()) for name in self.metrics}

    def reset(self) -> None:
        """Forgets everything."""
        for name in self.metrics:
            named(self.metrics, name).reset()
