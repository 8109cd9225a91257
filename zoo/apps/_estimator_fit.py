"""The training loop of scikit-learn estimators: cross entropy, AdamW, a cosine schedule.

At the end the statistics of batch norms are those of all training samples under the final weights:
running averages of a short training would still remember where they started.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from zoo.layers.spd import spd_norms
from zoo.models._sample import SampleModel

#: gradients longer than this are shortened
_CLIP = 5.0
#: samples in one call when predicting
_CHUNK = 512


@dataclass(frozen=True)
class Training:
    """How an estimator is fitted.

    Args:
        epochs: passes over the data.
        batch_size: at most; batches of an epoch are equally large.
        lr: of AdamW at the start; it falls to a hundredth.
        weight_decay: of AdamW, on matrices of linear layers alone.
        label_smoothing: of the cross entropy.
        seed: of the order of samples.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    label_smoothing: float
    seed: int


def train(
    model: SampleModel,
    batch: dict[str, Tensor],
    target: Tensor,
    training: Training,
) -> list[float]:
    """Trains a classifier in place.

    Args:
        model: with logits.
        batch: all samples.
        target: the number of each one's class.
        training: how.

    Returns:
        The mean loss of each epoch.
    """
    generator = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.AdamW(_groups(model, training.weight_decay), lr=training.lr)
    steps = training.epochs * math.ceil(len(target) / training.batch_size)

    def rate(step: int) -> float:
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    begin = getattr(model, "begin_epoch", None)
    history = []
    model.train()
    for epoch in range(1, training.epochs + 1):
        if begin is not None:
            begin(epoch, training.epochs)
        total = 0.0
        for rows in _batches(len(target), training.batch_size, generator):
            optimizer.zero_grad(set_to_none=True)
            logits = model({name: value[rows] for name, value in batch.items()})["logits"]
            loss = cross_entropy(logits, target[rows], label_smoothing=training.label_smoothing)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        history.append(total / len(target))
    model.eval()
    if spd_norms(model):
        adapt: Any = model.adapt
        adapt(batch)
    return history


@torch.no_grad()
def logits(model: SampleModel, batch: dict[str, Tensor]) -> Tensor:
    """Logits of all samples, in chunks."""
    count = len(batch["x"])
    parts = [
        model({name: value[start : start + _CHUNK] for name, value in batch.items()})["logits"]
        for start in range(0, count, _CHUNK)
    ]
    return torch.cat(parts)


def _groups(model: SampleModel, decay: float) -> list[dict[str, object]]:
    """Weights of linear layers decay; points of manifolds, scales and offsets don't."""
    heavy = {
        id(part.weight)
        for part in model.modules()
        if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d))
    }
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if id(p) in heavy], "weight_decay": decay},
        {"params": [p for p in parameters if id(p) not in heavy], "weight_decay": 0.0},
    ]


def _batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """A random order cut into equal batches, so that none has a sample alone."""
    order = torch.randperm(count, generator=generator)
    yield from torch.tensor_split(order, max(1, math.ceil(count / size)))
