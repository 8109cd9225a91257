"""Fields as targets: their loss, constants by channel, and heads for other channels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo.training._task_section import TaskLoss
from zoo.training.tasks.losses import task_sums
from zoo.training.tasks.rows import Rows


def test_relative_l2() -> None:
    generator = torch.Generator().manual_seed(0)
    target, error = torch.randn(2, 3, 1, 4, 5, dtype=torch.float64, generator=generator)
    output = (target + error).requires_grad_()
    values, weights = task_sums(Rows(output, target, None), "relative_l2", TaskLoss())
    expected = error.flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1)
    assert float(values.detach()) == pytest.approx(float(expected.sum()), rel=1e-12)
    assert float(weights) == 3
    scale = torch.tensor(2.5, dtype=torch.float64)
    scaled, _ = task_sums(Rows(output, target, None), "relative_l2", TaskLoss(), scale=scale)
    assert float(scaled.detach()) == pytest.approx(float(values.detach()), rel=1e-12)
    right = target.clone().requires_grad_()
    exact, _ = task_sums(Rows(right, target, None), "relative_l2", TaskLoss())
    (gradient,) = torch.autograd.grad(exact.sum(), right)
    assert float(exact.detach()) == 0 and bool(torch.isfinite(gradient).all())
    none = torch.zeros_like(target)
    empty, _ = task_sums(Rows(none, none, None), "relative_l2", TaskLoss())
    assert float(empty) == 0


def fields(path: Path, channels: int) -> Path:
    rng = np.random.default_rng(0)
    size = np.array([1.0, 10.0, 100.0])[:channels, None, None]
    y = 3 * size + size * rng.normal(size=(16, channels, 6, 7))
    np.savez(path, a=rng.normal(size=(16, 1, 6, 7)), u=y)
    return path


def test_constants_belong_to_channels_and_heads_to_labels(tmp_path: Path) -> None:
    """Not to columns of the grid, so that another grid can follow."""
    torch.manual_seed(0)
    config: dict[str, Any] = {"hidden_channels": 4, "n_modes": [2, 2], "num_layers": 1, "rank": 0.5}
    model = zoo.create("tfno", **config)
    zoo.save(model, tmp_path / "base", name="tfno-test.none.r1")
    path = fields(tmp_path / "three.npz", 3)
    report = zoo.finetune(tmp_path / "base", path, output=tmp_path / "out", epochs=1)
    tuned: Any = report.model
    assert tuned.hparams["out_channels"] == 3
    std = np.array(tuned.normalisation["prediction"]["std"])
    assert std.shape == (3, 1, 1)
    np.testing.assert_allclose(std[:, 0, 0], [1.0, 10.0, 100.0], rtol=0.2)
    out = tuned({"x": torch.randn(2, 1, 9, 5)})["prediction"]
    assert out.shape == (2, 3, 9, 5)
