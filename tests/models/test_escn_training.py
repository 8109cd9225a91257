"""eSCN through the shipped recipe: trained, saved, loaded, fine-tuned; either kind of forces."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import molecule

import zoo
from zoo.training import train

DIRECT = {"heads": ["energy", "forces"], "nonlinearity": "grid", "lmax": 2}


@pytest.mark.parametrize("config", [{}, DIRECT], ids=["conservative", "direct"])
def test_the_smoke_tier_trains_and_loads(config: dict[str, Any], tmp_path: Path) -> None:
    overrides = {f"model.config.{key}": value for key, value in config.items()}
    report = train("pbe-ethanol/escn", output=tmp_path / "out", tier="smoke", overrides=overrides)
    model: Any = report.model
    assert model.conservative == (not config)
    assert 0 < report.metrics["test"]["forces_mae"] < 2000  # meV/Å
    loaded: Any = zoo.load(report.path)
    ethanol = molecule("CH3CH2OH")
    assert torch.equal(loaded(ethanol)["forces"], model(ethanol)["forces"])
    assert loaded.manifest.outputs["forces"].conservative is model.conservative


def test_direct_heads_are_fine_tuned_too(tmp_path: Path) -> None:
    overrides = {f"model.config.{key}": value for key, value in DIRECT.items()}
    first = train("pbe-ethanol/escn", output=tmp_path / "a", tier="smoke", overrides=overrides)
    before = {name: p.clone() for name, p in first.model.named_parameters()}
    second = zoo.finetune(
        str(first.path),
        "pbe-ethanol",
        output=tmp_path / "b",
        method="head",
        epochs=1,
        batch_size=4,
        splits={"kind": "time", "fractions": {"train": 0.05, "val": 0.02, "test": 0.93}},
    )
    moved = {n for n, p in second.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all(name.startswith("heads.") for name in moved)
    assert any(name.startswith("heads.forces.") for name in moved)
