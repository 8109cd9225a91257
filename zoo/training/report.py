"""What a run hands back, and the files it leaves beside the weights."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from zoo import __version__
from zoo._files import write_atomic
from zoo.datasets import AtomsDataset
from zoo.datasets._base import Dataset
from zoo.training.metrics import UNITS, Evaluation
from zoo.training.recipe import PROPERTIES

REPORT = "report.json"
#: long names first: some begin with others
_TARGETS = sorted(("energy", "forces", "stress", *PROPERTIES), key=len, reverse=True)


@dataclass
class Report:
    """The outcome of training or fine-tuning.

    Attributes:
        model: the model with the best weights, ready to use.
        metrics: part of the data -> metric -> value, in the units of `zoo.training.UNITS`.
        path: the folder with weights, manifest, card, `report.json` and plots; `zoo.load(path)`.
        history: one row per validation.
        details: everything else that `report.json` holds.
    """

    model: Any
    metrics: dict[str, dict[str, float]]
    path: Path
    history: list[dict[str, float]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, without the model."""
        return {
            "path": str(self.path),
            **self.details,
            "metrics": self.metrics,
            "units": {k: v for k, v in UNITS.items() if any(k in m for m in self.metrics.values())},
            "history": self.history,
        }

    def save(self) -> None:
        """Writes `report.json`, whole or not at all."""
        text = json.dumps(_plain(self.to_dict()), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomic(self.path / REPORT, text + "\n")


def metric_entries(evaluation: Evaluation, dataset: str, split: str) -> list[dict[str, Any]]:
    """The manifest's entries of one evaluation."""
    entries = []
    for key, value in evaluation.metrics.items():
        target = next(name for name in _TARGETS if key.startswith(name))
        name = key.removeprefix(f"{target}_")
        entry = {"dataset": dataset, "split": split, "target": target, "name": name}
        entries.append({**entry, "value": value, "unit": UNITS[key] or "1"})
    return entries


def inputs_entry(train: AtomsDataset, elements: Mapping[int, int]) -> dict[str, Any]:
    """The manifest's account of what the weights were trained on."""
    samples = [train[i] for i in range(len(train))]
    directions = {int(sample.pbc.sum()) for sample in samples}
    kinds = {0: "none", 1: "partial", 2: "partial", 3: "full"}
    return {
        "domain": "atoms",
        "pbc": sorted({kinds[n] for n in directions}),
        "elements": {chemical_symbols[z]: int(n) for z, n in sorted(elements.items())},
        "charge": any(bool((sample.charge != 0).any()) for sample in samples),
    }


def outputs_entry(level_of_theory: str | None, outputs: Sequence[str]) -> dict[str, Any]:
    """The manifest's account of energy and properties; units are the model's business."""
    level = {"level_of_theory": level_of_theory or "not stated"}
    entries: dict[str, Any] = {name: dict(level) for name in outputs if name in PROPERTIES}
    return ({"energy": {"kind": "total", **level}} if "energy" in outputs else {}) | entries


def data_entry(dataset: AtomsDataset, frames: int) -> dict[str, Any]:
    """The manifest's account of a data set; digests that the set lacks are left out."""
    entry = {
        "name": dataset_name(dataset),
        "sha256": dataset.hash or None,
        "split_sha256": dataset.split_hash or None,
        "frames": frames,
    }
    return {key: value for key, value in entry.items() if value is not None}


def dataset_name(dataset: Dataset[Any]) -> str:
    """The name of a shipped set, or the file's name without its ending."""
    return Path(dataset.source).name.partition(".")[0] or "data"


def training_entry(recipe: str, digest: str, seed: int, seconds: float) -> dict[str, Any]:
    """The manifest's account of how the weights were made, without the data."""
    return {
        "recipe": recipe,
        "recipe_sha256": digest,
        "seed": seed,
        "version": __version__,
        "torch": torch.__version__,
        "hardware": hardware(),
        "hours": round(seconds / 3600.0, 4),
    }


def hardware() -> str:
    """The machine in words."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"


def golden_structures(dataset: AtomsDataset, count: int = 4) -> list[Atoms]:
    """A few structures, different compositions first, without labels."""
    chosen: dict[str, int] = {}
    for index in range(len(dataset)):
        chosen.setdefault(dataset.atoms(index).get_chemical_formula(), index)
        if len(chosen) == count:
            break
    rest = [i for i in range(len(dataset)) if i not in chosen.values()]
    spread = rest[:: max(len(rest) // count, 1)]
    indices = [*chosen.values(), *spread][:count]
    frames = [dataset.atoms(i) for i in indices]
    for frame in frames:
        frame.calc = None
    return frames


def _plain(value: Any) -> Any:
    """Values that JSON has: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.floating, float)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return str(value) if isinstance(value, Path) else value
