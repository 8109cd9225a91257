"""One run of the trainer on a data set that is split."""

from pathlib import Path
from typing import Any

from zoo.datasets import AtomsDataset
from zoo.training import prepare
from zoo.training.fit import FitResult, fit
from zoo.training.recipe import Recipe


def quiet(line: str) -> None:
    """Takes progress lines."""


def run(model: Any, recipe: Recipe, data: AtomsDataset, folder: Path, **options: Any) -> FitResult:
    """Sets the scales, trains on `train`, validates on `val`."""
    prepare.set_scales(model, recipe, data.split("train"))
    options = {"progress": quiet} | options
    return fit(model, recipe, data.split("train"), data.split("val"), folder, **options)
