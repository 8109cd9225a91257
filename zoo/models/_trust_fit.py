"""Fitting the training domain of a model: one pass over training frames, one over others.

Nothing is kept of a frame but sums, filled bins and rounded coordination numbers, so memory does
not grow with the number of frames.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.datasets import collate
from zoo.errors import ConfigError, DataError
from zoo.functional.gaussian import (
    Moments,
    centred,
    group_maximum,
    ledoit_wolf,
    moments,
    pack_lower,
)
from zoo.layers.atomistic import AtomFeatures, AtomGraph
from zoo.models import _trust_support as support
from zoo.models._trust import FORMAT, Trust

#: a measure whose limit would be lower keeps this one: features (1 is typical of training),
#: a gap in Å, a number of neighbours
LEAST = (1.0, 0.05, 0.5)
#: bytes for covariances; beyond, elements share one
BUDGET = 500_000
#: atoms of an element per feature that a covariance of its own takes
ENOUGH = 2
_RIDGE = 1e-6

Observer = Callable[[AtomGraph, AtomFeatures], None]
Progress = Callable[[int, int], None]


class Gathered:
    """Sums over the training atoms.

    Args:
        cutoff: of the model (Å).
    """

    def __init__(self, cutoff: float) -> None:
        self.cutoff = cutoff
        self.frames = 0
        self.moments: dict[int, Moments] = {}
        self.shifts: dict[int, Tensor] = {}
        self.pairs: dict[int, Tensor] = {}
        self.surroundings: dict[tuple[int, ...], int] = {}

    def add(self, graph: AtomGraph, x: AtomFeatures) -> None:
        """Takes one batch in."""
        self.frames += graph.num_graphs
        numbers = graph.atomic_numbers.cpu()
        scalars = x.scalars.detach().cpu().double()
        if not bool(torch.isfinite(scalars).all()):
            raise DataError("the model's features are not finite on a training frame")
        for z in numbers.unique().tolist():
            here = scalars[numbers == z]
            shift = self.shifts.setdefault(z, here.mean(0))
            new, old = moments(here - shift), self.moments.get(z)
            self.moments[z] = new if old is None else Moments(*map(torch.add, old, new))
        self._add_pairs(graph)
        found = support.coordination(graph, self.cutoff).round().clamp(max=255).to(torch.uint8)
        rows, count = torch.unique(
            torch.cat([numbers[:, None].to(torch.uint8), found], 1), dim=0, return_counts=True
        )
        for row, n in zip(rows.tolist(), count.tolist(), strict=True):
            key = tuple(row)
            self.surroundings[key] = self.surroundings.get(key, 0) + n

    def _add_pairs(self, graph: AtomGraph) -> None:
        distance = graph.distances.detach().cpu().double()
        keys, row = torch.unique(support.pair_key(graph).cpu(), return_inverse=True)
        column = support.pair_bin(distance, self.cutoff, support.BINS)
        size = len(keys) * support.BINS
        counts = torch.bincount(row * support.BINS + column, minlength=size)
        for key, more in zip(keys.tolist(), counts.reshape(-1, support.BINS), strict=True):
            self.pairs[key] = self.pairs.get(key, 0) + more

    def tensors(self) -> dict[str, Tensor]:
        """What `Trust` holds, but for the limits."""
        elements = sorted(self.moments)
        around = {z: centred(self.moments[z]) for z in elements}
        sums = {z: found[1] for z, found in around.items()}
        factor, which = _factors(sums)
        return {
            "elements": torch.tensor(elements),
            "counts": torch.tensor([int(self.moments[z].number) for z in elements]),
            "mean": torch.stack([self.shifts[z] + around[z][0] for z in elements]),
            "factor": factor,
            "factor_of": which,
            **self._tables(elements),
        }

    def _tables(self, elements: list[int]) -> dict[str, Tensor]:
        keys = sorted(self.pairs)
        counts = torch.zeros(0, support.BINS, dtype=torch.long)
        if keys:
            counts = torch.stack([self.pairs[key] for key in keys])
        if len(keys) > support.MANY_PAIRS:
            counts = counts.unflatten(1, (support.FEW_BINS, -1)).sum(2)
        common = sorted(self.surroundings.items(), key=lambda item: (-item[1], item[0]))
        kept = sorted(row for row, _ in common[: support.MAX_SURROUNDINGS])
        rows = torch.tensor(kept, dtype=torch.uint8)
        columns = [0, *(1 + z for z in elements)]
        return {
            "pair_keys": torch.tensor(keys, dtype=torch.long),
            "pair_counts": counts.clamp(max=255).to(torch.uint8),
            "surroundings": torch.nn.functional.pad(rows[:, columns], (0, 1)),
        }


def _factors(sums: dict[int, Moments]) -> tuple[Tensor, Tensor]:
    """Packed Cholesky factors (the first one shared), and which of them each element uses."""
    shared = Moments(*(torch.stack(parts).sum(0) for parts in zip(*sums.values(), strict=True)))
    features = len(shared.first)
    room = BUDGET // (4 * features * (features + 1))
    own = [z for z, s in sums.items() if float(s.number) >= ENOUGH * features]
    own = sorted(own, key=lambda z: -float(sums[z].number))[: max(room - 1, 0)]
    chosen = [shared, *(sums[z] for z in own)]
    factors = torch.stack([_cholesky(ledoit_wolf(s)[0]) for s in chosen])
    which = [1 + own.index(z) if z in own else 0 for z in sums]
    return pack_lower(factors), torch.tensor(which)


def _cholesky(covariance: Tensor) -> Tensor:
    level = float(covariance.diagonal().mean())
    ridge = max(_RIDGE * level, 1e-12)
    identity = torch.eye(len(covariance), dtype=covariance.dtype)
    factor: Tensor = torch.linalg.cholesky(covariance + ridge * identity)
    return factor


def fit(
    model: Any,
    training: Any,
    calibration: Any,
    *,
    quantile: float = 0.99,
    batch_size: int = 64,
    max_frames: int | None = None,
    progress: Progress | None = None,
) -> Trust:
    """Fits the training domain of a model.

    Args:
        model: an atomistic model; it is left in the mode it was in.
        training: the data set that it was trained on, or samples of it.
        calibration: frames that were kept out of training.
        quantile: share of the latter that shall lie inside.
        batch_size: structures per model call.
        max_frames: of each of the two, spread evenly; all if None.
        progress: called with (structures done, structures in all).

    Returns:
        The training domain. The limits are order statistics, number ceil((n + 1) quantile) of n
        calibration frames, so with few frames the largest counts.

    Raises:
        ConfigError: if `quantile` is not between 0 and 1.
        DataError: if there is no training or no calibration frame.
    """
    if not 0.0 < quantile < 1.0:
        raise ConfigError(f"quantile is {quantile}; expected a number between 0 and 1, like 0.99")
    chosen = [spread(len(data), max_frames) for data in (training, calibration)]
    if not all(chosen):
        raise DataError(
            f"{len(training)} training and {len(calibration)} calibration frames; the training "
            "domain needs some of both, the latter kept out of training (a split such as val)"
        )
    gathered = Gathered(model.cutoff)
    total = len(chosen[0]) + len(chosen[1])
    for done in observed(model, batches(model, training, chosen[0], batch_size), gathered.add):
        _tell(progress, done, total)
    tensors = gathered.tensors() | {
        "format": torch.tensor(FORMAT),
        "cutoff": torch.tensor(gathered.cutoff, dtype=torch.float64),
        "quantile": torch.tensor(quantile, dtype=torch.float64),
        "frames": torch.tensor([len(chosen[0]), len(chosen[1])]),
        "limits": torch.tensor(LEAST, dtype=torch.float64),
    }
    measured: list[Tensor] = []
    trust = Trust(tensors)

    def take(graph: AtomGraph, x: AtomFeatures) -> None:
        found = trust.measure(graph, x)
        size = graph.num_graphs
        measured.append(torch.stack([group_maximum(m, found.batch, size) for m in found.raw], 1))

    for done in observed(model, batches(model, calibration, chosen[1], batch_size), take):
        _tell(progress, len(chosen[0]) + done, total)
    return Trust(tensors | {"limits": _limits(torch.cat(measured), quantile)})


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def spread(count: int, most: int | None) -> list[int]:
    """At most so many of `count` indices, evenly spread."""
    if most is None or count <= most:
        return list(range(count))
    return [k * count // most for k in range(most)]


def batches(model: Any, dataset: Any, indices: Sequence[int], size: int) -> Iterator[Any]:
    """Batches of a data set's samples in the model's precision."""
    for start in range(0, len(indices), size):
        samples = [dataset[i] for i in indices[start : start + size]]
        yield collate(samples, model.dtype)


def _limits(found: Tensor, quantile: float) -> Tensor:
    """Limits of the measures such that the stated share of frames (n, 3) keeps all of them."""
    rank = min(math.ceil((len(found) + 1) * quantile), len(found)) - 1
    single = found.sort(0).values[rank].maximum(torch.tensor(LEAST, dtype=torch.float64))
    joint = (found / single).amax(1).sort().values[rank]
    return single * joint.clamp(min=1.0)


def observed(model: Any, batches: Iterable[Any], observer: Observer) -> Iterator[int]:
    """Runs a model without derivatives, showing its features; yields structures done."""
    outputs = ["energy"] if "energy" in model.outputs else list(model.outputs[:1])
    training = model.training
    model.eval()
    done = 0
    try:
        for batch in batches:
            with torch.no_grad():
                moved = batch.to(model.device)
                model(moved, outputs=outputs, observe=observer)
            done += moved.num_graphs
            yield done
    finally:
        model.train(training)
