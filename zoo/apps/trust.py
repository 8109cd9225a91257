"""The training domain of trained weights: fitting it, storing it, and testing what it separates.

    attach("out/", "mine.extxyz")                      # beside the weights, from the data's splits
    predict(zoo.load("out/"), structures, trust=True)  # says which structures lie outside
    separate("out/", inside=test, outside=others)      # how well it tells them apart

How scores are made: `zoo.models._trust`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional import spearman_corrcoef
from torchmetrics.functional.classification import binary_auroc

from zoo import datasets, hub
from zoo.datasets import AtomsDataset
from zoo.errors import DataError
from zoo.models._atomistic import AtomisticModel
from zoo.models._trust import MEASURES, Trust, Verdict, trust_of
from zoo.models._trust_fit import batches
from zoo.models._trust_fit import fit as fit

Progress = Callable[[int, int], None]


def attach(
    ref: str | Path,
    data: AtomsDataset | str | Path,
    *,
    train: str = "train",
    val: str = "val",
    quantile: float = 0.99,
    max_frames: int | None = None,
    batch_size: int = 64,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    splits: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fits the training domain of saved weights and stores it beside them.

    Args:
        ref: a folder written by `zoo.save`, or a checkpoint's name.
        data: what the weights were trained on: an open data set, a file, or a shipped set's name.
        train: the split that they were trained on.
        val: a split that they were not.
        quantile: share of `val` frames that shall lie inside.
        max_frames: of each split, spread evenly; all if None.
        batch_size: structures per model call.
        keys: as for `zoo.datasets.open` (with a file).
        units: as for `zoo.datasets.open` (with a file).
        splits: as for `zoo.datasets.open` (with a file).
        overwrite: replace a training domain that is stored already.
        progress: called with (structures done, structures in all).

    Returns:
        The manifest's path.

    Raises:
        DataError: for splits without frames.
        UnknownNameError: for a split that the data do not have.
        OutputError: if one is stored already, or the place can't be written.
    """
    model = hub.load(ref, domain="atoms")
    opened = data
    if not isinstance(opened, AtomsDataset):
        opened = datasets.open(opened, keys=keys, units=units, splits=splits, domain="atoms")
    dataset: AtomsDataset = opened
    trust = fit(
        model,
        dataset.split(train),
        dataset.split(val),
        quantile=quantile,
        max_frames=max_frames,
        batch_size=batch_size,
        progress=progress,
    )
    return hub.attach_trust(ref, trust, data=_title(dataset), overwrite=overwrite)


@dataclass(frozen=True)
class Judged:
    """Verdicts on the frames of a data set, and the model's errors on it.

    Attributes:
        verdicts: one per frame.
        errors: length of the force error of each atom (eV/Å), frame after frame; None without
            force labels.
        components: mean absolute error of the force components of each frame (eV/Å).
        names: kind of each frame: its `name`, else its formula.
    """

    verdicts: Sequence[Verdict]
    errors: Tensor | None
    components: np.ndarray | None
    names: Sequence[str]

    def scores(self, measure: str) -> Tensor:
        """The structures' scores by one measure, or by all ("score")."""
        values = [v.score if measure == "score" else v.measures[measure] for v in self.verdicts]
        return torch.tensor(values, dtype=torch.float64)

    @property
    def atoms(self) -> Tensor:
        """The score of each atom, frame after frame."""
        return torch.from_numpy(np.concatenate([v.atoms for v in self.verdicts]))


def judge(
    model: AtomisticModel,
    dataset: AtomsDataset,
    *,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Judged:
    """Scores the frames of a data set and compares the forces with its labels, if it has any.

    Raises:
        CapabilityError: if no training domain is stored with the weights.
    """
    trust: Trust = trust_of(model)
    labelled = "forces" in dataset.labels and "forces" in model.outputs
    outputs = ["forces"] if labelled else list(model.outputs[:1])
    verdicts: list[Verdict] = []
    errors, components = [], []
    for batch in batches(model, dataset, range(len(dataset)), batch_size):
        found = model(
            batch.to(model.device),
            outputs=outputs,
            create_graph=False,
            observe=lambda graph, x: verdicts.extend(
                trust.judge(trust.measure(graph, x), graph.num_graphs)
            ),
        )
        if labelled:
            difference = (found["forces"].double() - batch.forces.double()).cpu()
            errors.append(difference.norm(dim=1))
            sizes = torch.bincount(batch.batch.cpu()).tolist()
            components += [float(part.abs().mean()) for part in difference.split(sizes)]
        if progress is not None:
            progress(len(verdicts), len(dataset))
    names = [str(n) for n in dataset.columns.get("name", [])]
    return Judged(
        verdicts=verdicts,
        errors=torch.cat(errors) if labelled else None,
        components=np.array(components) if labelled else None,
        names=names or [dataset.atoms(i).get_chemical_formula() for i in range(len(dataset))],
    )


def separate(
    ref: str | Path | AtomisticModel,
    *,
    inside: AtomsDataset,
    outside: AtomsDataset,
    inside_name: str | None = None,
    outside_name: str | None = None,
    write: bool = True,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures how well the scores tell one set of structures from another.

    Args:
        ref: weights with a training domain, or a loaded model of such.
        inside: frames like those of training that it has not seen, best of other trajectories.
        outside: frames of other kinds.
        inside_name: in words; the source if None.
        outside_name: in words; the source if None.
        write: add the result to the manifest and card of `ref`, if that is no model.
        batch_size: structures per model call.
        progress: called with (structures done, structures in all), for one set after the other.

    Returns:
        The fields of `zoo.hub.manifest.Separation`: `auroc` by measure and of the score, the share
        of each set that is flagged, Spearman's correlation of an atom's score with the error of
        its force, and for each kind of outside frame how many are flagged and the force error
        (meV/Å). 0.5 is what guessing gives, 1 is perfect separation.

    Raises:
        DataError: if one of the sets is empty.
        CapabilityError: if no training domain is stored with the weights.
    """
    if not len(inside) or not len(outside):
        raise DataError("both sets need frames; one has none")
    model = ref if isinstance(ref, AtomisticModel) else hub.load(ref, domain="atoms")
    near = judge(model, inside, batch_size=batch_size, progress=progress)
    far = judge(model, outside, batch_size=batch_size, progress=progress)
    names = (*MEASURES, "score")
    found: dict[str, Any] = {
        "inside": inside_name or _title(inside),
        "inside_frames": len(inside),
        "outside": outside_name or _title(outside),
        "outside_frames": len(outside),
        "auroc": {name: auroc(near.scores(name), far.scores(name)) for name in names},
        "false_alarms": _flagged(near.verdicts),
        "detected": _flagged(far.verdicts),
        "groups": groups(far),
    }
    if near.errors is not None and far.errors is not None:
        scores = torch.cat([near.atoms, far.atoms])
        found["rank_correlation"] = rank_correlation(scores, torch.cat([near.errors, far.errors]))
    if write and not isinstance(ref, AtomisticModel):
        hub.note_separation(ref, found)
    return found


def auroc(inside: Tensor, outside: Tensor) -> float:
    """Probability that a score of `outside` is larger than one of `inside`, ties counted half."""
    scores = torch.cat([inside, outside])
    target = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).long()
    # ranks between 0 and 1, since torchmetrics takes anything else for logits
    distinct, rank = torch.unique(scores, return_inverse=True)
    return float(binary_auroc(rank.double() / max(len(distinct), 2), target))


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's correlation of two lists of numbers."""
    return float(spearman_corrcoef(first.double(), second.double()))


def groups(judged: Judged) -> dict[str, dict[str, Any]]:
    """For each kind of frame how many there are, the share flagged, and the force MAE (meV/Å)."""
    kinds = np.array(judged.names)
    flagged = np.array([not verdict.inside for verdict in judged.verdicts])
    found = {}
    for kind in dict.fromkeys(judged.names):
        here = kinds == kind
        row: dict[str, Any] = {"frames": int(here.sum()), "flagged": float(flagged[here].mean())}
        if judged.components is not None:
            row["forces_mae"] = 1000.0 * float(judged.components[here].mean())
        found[kind] = row
    return found


def _flagged(verdicts: Sequence[Verdict]) -> float:
    return sum(not verdict.inside for verdict in verdicts) / len(verdicts)


def _title(dataset: AtomsDataset) -> str:
    return Path(dataset.source).name.partition(".")[0] or "data"
