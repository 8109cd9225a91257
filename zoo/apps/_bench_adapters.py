"""`zoo bench adapters`: what adapters cost in a training step, and in inference before merging.

The peer is the same model without adapters: in a training step all its parameters are trained, on
the shipped DFT frames of ethanol, energies and forces, one AdamW step of each in turn. `ratio` is
the median over rounds of our time over the peer's; merged weights are the peer's own tensors with
other numbers, so that row shows the noise of the measurement. Run it with OMP_NUM_THREADS=1 for
one thread.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle
from typing import Any

import torch

from zoo import datasets, registry
from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.layers import adapters
from zoo.layers.adapters import AdapterConfig
from zoo.training.data import Samples

#: frames of a step
BATCH = 4
#: distinct batches that the steps go through
BATCHES = 8


def measure(
    name: str = "tensornet-s",
    *,
    rank: int = 4,
    repeats: int = 40,
    config: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Times steps and predictions with and without adapters.

    Args:
        name: an architecture or preset on atoms.
        rank: of the adapters.
        repeats: timed rounds.
        config: arguments of the model that differ from its own.
        progress: called with (parts done, all).

    Returns:
        Rows with `what`, `ours` and `peer` (ms), `ratio` and `target`, then the machine.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = registry.create(name, **(config or {}))
    batches = _batches(plain)
    rows: list[dict[str, Any]] = []
    for number, kind in enumerate(("tucker", "lora")):
        rows += _rows(plain, batches, AdapterConfig(kind=kind, rank=rank), repeats)
        if progress is not None:
            progress(number + 1, 2)
    return [*rows, {"what": "machine", **machine()}]


def _batches(model: Any) -> list[Any]:
    frames = datasets.open("pbe-ethanol", domain="atoms").split("train")
    labels = ("energy", "forces")
    samples = Samples(frames, torch.float32, labels=labels, cutoff=float(model.cutoff))
    return [samples[range(k * BATCH, (k + 1) * BATCH)] for k in range(BATCHES)]


def _rows(
    plain: Any, batches: list[Any], config: AdapterConfig, repeats: int
) -> Iterator[dict[str, Any]]:
    adapted, merged = copy.deepcopy(plain), copy.deepcopy(plain)
    for model in (adapted, merged):
        adapters.attach(model, config)
    adapters.merge(merged)
    what = f"{config.kind}, rank {config.rank}"
    steps = {"ours": _step(adapted, batches), "peer": _step(copy.deepcopy(plain), batches)}
    yield _row(f"training step, {what}", steps, "<= 1.15", repeats)
    evaluated: dict[str, Callable[[], object]] = {"peer": _predict(plain, batches[0])}
    yield _row(
        f"inference, merged {what}",
        {"ours": _predict(merged, batches[0]), **evaluated},
        "<= 1.02",
        repeats,
    )
    yield _row(
        f"inference, {what} kept apart",
        {"ours": _predict(adapted, batches[0]), **evaluated},
        "",
        repeats,
    )


def _step(model: Any, batches: list[Any]) -> Callable[[], object]:
    """One step of training, on the next batch."""
    model.train()
    upcoming = cycle(batches)
    free = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=1e-4, fused=True)

    def run() -> None:
        batch = next(upcoming)
        out = model(batch)
        loss = (out["energy"] - batch.energy).square().mean()
        loss = loss + (out["forces"] - batch.forces).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(free, 10.0)
        optimizer.step()

    return run


def _predict(model: Any, batch: Any) -> Callable[[], object]:
    ready = copy.deepcopy(model).eval().requires_grad_(False)
    return lambda: ready(batch)


def _row(
    what: str, contestants: dict[str, Callable[[], object]], target: str, repeats: int
) -> dict[str, Any]:
    seconds = interleaved(contestants, repeats=repeats, warmup=3)
    return {
        "what": what,
        "ours": median_ms(seconds["ours"]),
        "peer": median_ms(seconds["peer"]),
        "ratio": median_ratio(seconds["ours"], seconds["peer"]),
        "target": target,
    }
