"""What the trainer costs on top of a bare loop over ready batches."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zoo import datasets, registry
from zoo.training.data import Samples
from zoo.training.fit import fit
from zoo.training.recipe import Recipe, resolve

ROUNDS = 3


def overhead(name: str, *, steps: int) -> tuple[float, float]:
    """Median seconds of a training step in a bare loop and in the trainer.

    Both train fresh copies on the same frames (the shipped DFT frames of ethanol, batches of 8),
    in turn; the bare loop has its batches and neighbour lists ready in memory. The first pass, in
    which the trainer builds samples and neighbour lists once, is not timed.

    Args:
        name: architecture or preset.
        steps: timed steps of each, over all rounds.
    """
    frames = datasets.open("pbe-ethanol").split("train")
    part = -(-steps // ROUNDS)
    recipe = _recipe(name, passes=2 + part * 8 // len(frames))
    bare: list[float] = []
    trained: list[float] = []
    for _ in range(ROUNDS):
        bare += _gaps(lambda model: _bare_loop(model, frames, part + 5), name)[-part:]
        trained += _gaps(lambda model: _trainer(model, recipe, frames), name)[-part:]
    return statistics.median(bare), statistics.median(trained)


def _gaps(run: Callable[[Any], None], name: str) -> list[float]:
    """Seconds between the starts of successive training steps."""
    model = registry.create(name)
    starts: list[float] = []
    model.register_forward_pre_hook(
        lambda module, _: starts.append(time.perf_counter()) if module.training else None
    )
    run(model)
    return [b - a for a, b in zip(starts, starts[1:], strict=False)]


def _bare_loop(model: Any, frames: Any, steps: int) -> None:
    samples = Samples(
        frames, torch.float32, labels=("energy", "forces"), cutoff=float(model.cutoff)
    )
    batches = [samples[range(k, k + 8)] for k in range(0, len(frames) - 7, 8)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()
    for step in range(steps):
        batch = batches[step % len(batches)]
        out = model(batch)
        loss = (out["energy"] - batch.energy).square().mean()
        loss = loss + (out["forces"] - batch.forces).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()


def _trainer(model: Any, recipe: Recipe, frames: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fit(model, recipe, frames, frames.take(range(2)), Path(folder), progress=lambda _: None)


def _recipe(name: str, *, passes: int) -> Recipe:
    return resolve(
        {
            "recipe": 1,
            "name": "bench",
            "model": {"name": name},
            "data": {"source": "pbe-ethanol"},
            "loss": {"energy": {}, "forces": {}},
            "trainer": {"max_epochs": passes, "val_every": passes, "batch_size": 8},
        },
        where="the benchmark",
    )
