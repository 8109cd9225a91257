"""EquiformerV2 through its shipped recipe: trained, saved, loaded, with either kind of forces."""

from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import molecule

import zoo
from zoo.training import train

#: as the authors train it, dropout included
PUBLISHED = {
    "heads": ["energy", "forces"],
    "envelope": None,
    "max_neighbors": 20,
    "activation": "separable_s2",
    "feed_forward": "separable_grid_mlp",
    "grid_resolution": 8,
    "alpha_dropout": 0.1,
    "drop_path": 0.1,
}


@pytest.mark.parametrize("config", [{}, PUBLISHED], ids=["conservative", "published"])
def test_the_smoke_tier_trains_and_loads(config: dict[str, Any], tmp_path: Path) -> None:
    overrides = {f"model.config.{key}": value for key, value in config.items()}
    report = train(
        "pbe-ethanol/equiformer_v2", output=tmp_path / "out", tier="smoke", overrides=overrides
    )
    model: Any = report.model
    assert model.conservative == (not config)
    assert 0 < report.metrics["test"]["forces_mae"] < 2000  # meV/Å
    ethanol = molecule("CH3CH2OH")
    loaded: Any = zoo.load(report.path)
    for name, value in model(ethanol).items():
        assert torch.equal(loaded(ethanol)[name], value)
    assert loaded.manifest.outputs["forces"].conservative is model.conservative
