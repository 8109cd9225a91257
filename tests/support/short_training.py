"""Some steps of training, to see that a network learns."""

from typing import Any

import torch


def error_after(
    model: Any, dataset: Any, *, train: int, val: int, batch_size: int, steps: int, rate: float
) -> float:
    """The mean squared error on the first `val` validation samples.

    Args:
        model: gives a `prediction`; trained in place by Adam.
        dataset: with the splits `train` and `val`.
        train: the first samples, in batches of `batch_size`, taken in turn.
        val: samples for the error.
        batch_size: divides `train`.
        steps: of training.
        rate: of learning.
    """
    samples = list(dataset.split("train"))[:train]
    batches = [model.prepare(samples[k : k + batch_size]) for k in range(0, train, batch_size)]
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(steps):
        batch = batches[step % len(batches)]
        loss = (model(batch)["prediction"] - batch.y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = model.prepare(list(dataset.split("val"))[:val])
    with torch.no_grad():
        return float((model(batch)["prediction"] - batch.y).square().mean())
