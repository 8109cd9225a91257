"""Errors of a model on atoms, in meV and meV/Å, computed by torchmetrics.

`energy_mae_offset` is the mean absolute energy error after the best constant per element is taken
off (least squares over the evaluated structures): models and labels of different levels of theory
differ by such constants, which no energy difference within one composition depends on.
`<property>_r2` is the share of a property's variance over the evaluated structures that the model
explains.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torch_geometric.data import Batch
from torchmetrics import MeanAbsoluteError, MeanSquaredError, Metric
from torchmetrics.functional import r2_score

from zoo.datasets import AtomsDataset, collate
from zoo.training.losses import PER_ATOM, ratio
from zoo.training.properties import ERROR_FACTORS, ERROR_UNITS
from zoo.training.references import compositions

Array = npt.NDArray[np.float64]

UNITS = {
    "energy_mae": "meV",
    "energy_mae_offset": "meV",
    "energy_mae_per_atom": "meV/atom",
    "forces_mae": "meV/Å",
    "forces_rmse": "meV/Å",
    "forces_cosine": "",
    "stress_mae": "meV/Å³",
    **{f"{name}_mae": unit for name, unit in ERROR_UNITS.items()},
    **dict.fromkeys((f"{name}_r2" for name in ERROR_UNITS), ""),
    # of the tasks of other domains; errors of regression in the units of the labels
    "accuracy": "",
    "balanced_accuracy": "",
    "auroc": "",
    "f1": "",
    "average_precision": "",
    "mean_average_precision": "",
    "perplexity": "",
    "mae": "",
    "rmse": "",
    "mse": "",
    "relative_l2": "",
    "angle": "deg",
    "distortion": "",
    "loss": "",
}
#: metrics that are better when higher; all others are errors
HIGHER = frozenset(
    {
        "forces_cosine",
        "accuracy",
        "balanced_accuracy",
        "auroc",
        "f1",
        "average_precision",
        "mean_average_precision",
        *(f"{name}_r2" for name in ERROR_UNITS),
    }
)
_MILLI = 1000.0


class ForceFieldMetrics(nn.Module):
    """Accumulates errors over batches and processes.

    Args:
        labels: which of energy, forces, stress and properties to compare.
    """

    def __init__(self, labels: frozenset[str]) -> None:
        super().__init__()
        chosen: dict[str, Metric] = {}
        if "energy" in labels:
            chosen |= {
                "energy_mae": MeanAbsoluteError(),
                "energy_mae_per_atom": MeanAbsoluteError(),
            }
        if "forces" in labels:
            chosen |= {
                "forces_mae": MeanAbsoluteError(),
                "forces_rmse": MeanSquaredError(squared=False),
                "forces_cosine": WeightedMean(empty=math.nan),
            }
        if "stress" in labels:
            chosen["stress_mae"] = MeanAbsoluteError()
        self.properties = tuple(name for name in ERROR_UNITS if name in labels)
        chosen |= {f"{name}_mae": MeanAbsoluteError() for name in self.properties}
        self.metrics = nn.ModuleDict()
        for name, metric in chosen.items():
            self.metrics[name] = metric.set_dtype(torch.float64)

    def update(
        self, out: Mapping[str, Tensor], batch: Batch, chosen: Bool[Tensor, " graphs"] | None = None
    ) -> None:
        """Takes one batch in.

        Args:
            out: predictions, in eV and Å.
            batch: with labels.
            chosen: which structures count, each once; all if None.
        """
        keep: Any = slice(None)
        atoms_kept: Any = keep
        if chosen is not None and not bool(chosen.all()):
            if not bool(chosen.any()):
                return
            keep, atoms_kept = chosen, chosen[batch.batch]
        if "energy_mae" in self.metrics:
            error = _MILLI * (out["energy"] - batch.energy)[keep].double()
            atoms = (batch.ptr[1:] - batch.ptr[:-1])[keep].double()
            self._add("energy_mae", error)
            self._add("energy_mae_per_atom", error / atoms)
        if "forces_mae" in self.metrics:
            forces = out["forces"][atoms_kept].double()
            target = batch.forces[atoms_kept].double()
            self._add("forces_mae", _MILLI * (forces - target))
            self._add("forces_rmse", _MILLI * (forces - target))
            # atoms on which no force acts, by symmetry or alone, have no direction to compare
            some = (target.norm(dim=-1) > 1e-9).double()
            # a force that is not a number counts as pointing the wrong way, not as absent
            cosine = cosine_similarity(forces, target, dim=-1).nan_to_num(nan=-1.0)
            named(self.metrics, "forces_cosine").update((some * cosine).sum(), some.sum())
        if "stress_mae" in self.metrics:
            self._add("stress_mae", _MILLI * (out["stress"] - batch.stress)[keep].double())
        for name in self.properties:
            error = (out[name] - batch[name])[atoms_kept if name in PER_ATOM else keep].double()
            self._add(f"{name}_mae", ERROR_FACTORS[name] * error)

    def compute(self) -> dict[str, float]:
        """The errors so far, over all processes; no cosine where no atom felt a force."""
        found = {name: float(named(self.metrics, name).compute()) for name in self.metrics}
        if math.isnan(found.get("forces_cosine", 0.0)):
            del found["forces_cosine"]
        return found

    def reset(self) -> None:
        """Forgets everything."""
        for name in self.metrics:
            named(self.metrics, name).reset()

    def _add(self, name: str, error: Tensor) -> None:
        flat = error.reshape(-1)
        named(self.metrics, name).update(flat, torch.zeros_like(flat))


class WeightedMean(Metric):
    """Sums of weighted values and of weights over batches and processes, in float64.

    torchmetrics' own mean rounds what it is given to float32.

    Args:
        size: number of means, one for each head; () for a single one.
        empty: the mean of nothing.
        **options: of `torchmetrics.Metric`.
    """

    above: Tensor
    below: Tensor

    def __init__(self, size: tuple[int, ...] = (), *, empty: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.empty = empty
        zeros = torch.zeros(size, dtype=torch.float64)
        for name in ("above", "below"):
            self.add_state(name, zeros.clone(), dist_reduce_fx="sum")

    def update(self, above: Tensor, below: Tensor) -> None:
        """Takes the sums of one batch in, in the shape of the means."""
        self.above = self.above + above.detach().double()
        self.below = self.below + below.detach().double()

    def compute(self) -> Tensor:
        """The means."""
        counted = self.below > 0
        return torch.where(counted, ratio(self.above, self.below), self.empty)


def named(metrics: nn.ModuleDict, name: str) -> Metric:
    """One metric of a collection, as what it is."""
    metric = metrics[name]
    assert isinstance(metric, Metric)
    return metric


@dataclass
class Evaluation:
    """Predictions beside labels.

    Attributes:
        metrics: name -> error, in the units of `UNITS`.
        numbers: atomic numbers of each structure.
        energy: predicted and labelled energies, eV, (structures,) each; empty without labels.
        forces: predicted and labelled force components, eV/Å, flat.
        stress: predicted and labelled stress components, eV/Å³, flat.
        properties: predicted and labelled values of each property, in the label's unit, flat.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    numbers: list[npt.NDArray[np.int64]] = field(default_factory=list)
    energy: tuple[Array, Array] = field(default_factory=lambda: (np.zeros(0), np.zeros(0)))
    forces: tuple[Array, Array] = field(default_factory=lambda: (np.zeros(0), np.zeros(0)))
    stress: tuple[Array, Array] = field(default_factory=lambda: (np.zeros(0), np.zeros(0)))
    properties: dict[str, tuple[Array, Array]] = field(default_factory=dict)


def assess(
    model: Any,
    dataset: AtomsDataset,
    *,
    batch_size: int = 64,
    head: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Evaluates a potential on labelled structures; the model's mode is left as it was.

    Args:
        model: an atomistic model.
        dataset: frames with any of energy, forces, stress and properties.
        batch_size: structures at once.
        head: the energy head to evaluate; the model's first if None.
        progress: called with structures done and their number.

    Returns:
        Errors, and what parity plots need.
    """
    known = ("forces", "stress", *ERROR_UNITS)
    labels = frozenset(dataset.labels & {"energy", *known} & set(model.outputs))
    if not all(bool(dataset[i].pbc.all()) for i in range(len(dataset))):
        labels -= {"stress"}  # only three periodic directions have one
    metrics = ForceFieldMetrics(labels).to(model.device)
    result = Evaluation()
    energies: list[Tensor] = []
    components: dict[str, list[Tensor]] = {name: [] for name in known if name in labels}
    chosen = {} if head is None else {"head": head}
    was_training = model.training
    model.eval()
    try:
        for start in range(0, len(dataset), batch_size):
            stop = min(start + batch_size, len(dataset))
            samples = [dataset[i] for i in range(start, stop)]
            batch = collate(samples, model.dtype).to(model.device)
            out = model(batch, outputs=sorted(labels), **chosen)
            metrics.update(out, batch)
            result.numbers += [z.cpu().numpy() for z in _split(batch.atomic_numbers, batch.ptr)]
            if "energy" in labels:
                energies.append(torch.stack([out["energy"], batch.energy]).cpu())
            for name, parts in components.items():
                parts.append(torch.stack([out[name], batch[name]]).double().cpu())
            if progress is not None:
                progress(stop, len(dataset))
    finally:
        model.train(was_training)
    result.metrics = metrics.compute()
    if energies:
        predicted, target = torch.cat(energies, dim=1).numpy()
        result.energy = (predicted, target)
        residual = remove_offsets(result.numbers, predicted - target)
        result.metrics["energy_mae_offset"] = _MILLI * float(np.abs(residual).mean())
    for name, parts in components.items():
        pair = torch.cat(parts, dim=1)
        predicted, target = pair.flatten(1).numpy()
        if name in ERROR_UNITS:
            result.properties[name] = (predicted, target)
            if (explained := determination(*pair)) is not None:
                result.metrics[f"{name}_r2"] = explained
        else:
            setattr(result, name, (predicted, target))
    return result


def determination(
    predicted: Float[Tensor, "values *components"], target: Float[Tensor, "values *components"]
) -> float | None:
    """R²: 1 - sum (y - p)^2 / sum (y - mean)^2, over values and the components of each.

    The mean is that of each component, so that turning all vectors or tensors changes nothing.

    Args:
        predicted: p.
        target: y.

    Returns:
        At most 1; None where fewer than two values, or equal ones, have no variance.
    """
    centre = target.mean(0)
    spread = (target - centre).square().mean().sqrt()
    if len(target) < 2 or not bool(spread > 0):
        return None
    # torchmetrics takes a variance of less than 1e-4, whatever the unit, for none
    ours, theirs = (((value - centre) / spread).reshape(-1) for value in (predicted, target))
    return float(r2_score(ours, theirs))


def remove_offsets(numbers: list[npt.NDArray[np.int64]], error: Array) -> Array:
    """Takes the least-squares constant per element off the energy errors, eV (structures,)."""
    counts, _ = compositions(numbers)
    solution, *_ = np.linalg.lstsq(counts, error, rcond=None)
    residual: Array = error - counts @ solution
    return residual


def _split(values: Tensor, ptr: Tensor) -> tuple[Tensor, ...]:
    return values.tensor_split(ptr[1:-1].cpu())
