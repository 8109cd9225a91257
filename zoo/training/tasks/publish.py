"""Files that a run on any domain but atoms leaves: weights, manifest, card, plots, report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data
from torch_geometric.utils import subgraph

from zoo import hub
from zoo.models._inputs import graph_like
from zoo.training import adapters, prepare
from zoo.training.metrics import UNITS
from zoo.training.page import machine, write_page
from zoo.training.report import Report, dataset_name
from zoo.training.tasks.evaluate import Outcome
from zoo.training.tasks.kinds import Task
from zoo.training.tasks.parts import Part
from zoo.training.tasks.plots import learning_curve, outcome_plot

GOLDEN = 4  # samples
NODES = 256  # of the part of a large graph that golden outputs are stored for
_NO_INPUTS = ("y", "edge_label", "weight", "rows")


@dataclass(frozen=True)
class Result:
    """What is published beside the weights.

    Attributes:
        name: of the checkpoint.
        task: what was learnt.
        train: what it was learnt from.
        after: outcome for the plot.
        before: that before training, if it means anything.
        shown: name of the split that both are of.
        settings: file with the run's settings.
    """

    name: str
    task: Task
    train: Part
    after: Outcome
    before: Outcome | None
    shown: str
    settings: str


def publish(
    report: Report,
    result: Result,
    *,
    adapted: hub.Adapted | None = None,
    merge: bool = False,
    **manifest: Any,
) -> None:
    """Writes weights, manifest, card, plots, `report.md` and, last, `report.json`.

    Args:
        report: of the run; its path is the folder.
        result: what is published.
        adapted: adapters that are stored instead of the weights.
        merge: store the merged weights as well.
        **manifest: further fields of the manifest.
    """
    if not prepare.is_first_process():
        return
    folder, model, task = report.path, report.model, result.task
    adapters.save(
        model,
        folder,
        adapted=adapted,
        merge=merge,
        name=result.name,
        golden_inputs=golden_samples(result.train, whole=model.transductive),
        **{"task": task.section.model_dump(mode="json"), **manifest},
    )
    learning_curve(folder / "learning_curve.png", report.history, task, result.name)
    title = f"{result.name}, {result.shown} split"
    drawn = outcome_plot(folder, result.after, result.before, task, title)
    report.details["machine"] = machine()
    plots = [name for name in (drawn, "learning_curve.png") if name]
    write_page(report, folder / result.settings, plots)
    report.save()


def metric_entries(outcome: Mapping[str, float], dataset: str, split: str, task: Task) -> list[Any]:
    """The manifest's entries of one evaluation."""
    target = task.kind.output or "objective"
    return [
        {
            "dataset": dataset,
            "split": split,
            "target": target,
            "name": name,
            "value": value,
            "unit": UNITS.get(name) or "1",
        }
        for name, value in outcome.items()
        if np.isfinite(value)
    ]


def data_entry(train: Part, dataset: Any) -> dict[str, Any]:
    """The manifest's account of a data set; digests that the set lacks are left out."""
    entry = {
        "name": dataset_name(dataset),
        "sha256": dataset.hash or None,
        "split_sha256": dataset.split_hash or None,
        "frames": train.labelled,
    }
    return {key: value for key, value in entry.items() if value is not None}


def golden_samples(train: Part, *, whole: bool) -> list[Any]:
    """A few inputs, of different classes where there are some; a large graph is cut.

    Args:
        train: the training split.
        whole: the model knows only whole graphs.
    """
    count = min(GOLDEN, len(train))
    places = np.unique(np.linspace(0, len(train) - 1, count).astype(np.int64))
    samples = [train.data[int(i)] for i in places]
    if graph_like(train.data.domain):
        return [_bare_graph(s, whole=whole) for s in samples if isinstance(s, Data)]
    names = [n for n in samples[0] if n not in _NO_INPUTS]
    numbers = [{name: sample[name] for name in names} for sample in samples]
    if train.domains is not None:
        for sample, i in zip(numbers, places, strict=True):
            sample["domain"] = torch.tensor(int(train.domains[i]))
    return numbers


def _bare_graph(sample: Data, *, whole: bool) -> Data:
    """A graph without labels and masks, or its part among its first nodes."""
    fields = {
        name: value
        for name, value in sample.to_dict().items()
        if name not in _NO_INPUTS and not name.endswith("_mask")
    }
    graph = Data(**fields)
    nodes = int(sample.num_nodes or 0)
    if whole or nodes <= NODES or graph.get("edge_index") is None:
        return graph
    kept = torch.arange(NODES)
    edges, attributes = subgraph(kept, graph.edge_index, graph.get("edge_attr"), num_nodes=nodes)
    cut = {
        name: value[:NODES]
        for name, value in fields.items()
        if isinstance(value, torch.Tensor) and value.ndim and len(value) == nodes
    }
    cut |= {"edge_index": edges} | ({} if attributes is None else {"edge_attr": attributes})
    pairs = graph.get("edge_label_index")
    if pairs is not None:
        inside = pairs[:, (pairs < NODES).all(0)][:, :NODES]
        cut["edge_label_index"] = inside if inside.shape[1] else edges[:, :NODES]
    return Data(**cut)


def write_links(folder: Path, parts: Mapping[str, Part]) -> None:
    """Records the pairs of every split, which link prediction was trained and measured on."""
    arrays: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        for number in range(len(part)):
            sample = part.data[number]
            stem = name if len(part) == 1 else f"{name}_{number}"
            arrays[f"{stem}_pairs"] = sample["edge_label_index"].numpy()
            arrays[f"{stem}_labels"] = sample["edge_label"].numpy()
    np.savez_compressed(folder / "links.npz", **arrays)  # type: ignore[arg-type]
