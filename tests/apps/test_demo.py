"""The demo runs from end to end; how good the result is depends on the time it gets."""

from pathlib import Path
from typing import Any

import pytest
import torch

import zoo
from zoo import hub
from zoo.apps import demo


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A tiny untrained model of H, C and O."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model: Any = zoo.create("tensornet", hidden_channels=4, num_layers=0, num_rbf=4, cutoff=3.0)
    model.restrict_elements({1: 1, 6: 1, 8: 1})
    atoms = zoo.datasets.open(demo.DATA).atoms(0)
    return hub.save(model, tmp_path / "in", name="tensornet-tiny.none.r1", golden_inputs=[atoms])


def test_the_demo_prints_its_table_and_leaves_its_files(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--time", "00:00:01", "--output", str(out), "--checkpoint", str(checkpoint)]
    assert demo.main(arguments) in (0, 3)
    printed = capsys.readouterr().out
    for label in (*demo.ROWS.values(), "(meV/Å)", "ten steps of dynamics", "done in"):
        assert label in printed
    for name in ("parity.png", "learning_curve.png", "report.json", "card.md"):
        assert (out / "seed-0" / "fine-tuned" / name).is_file()
    assert zoo.load(out / "seed-0" / "from-scratch").hparams == zoo.load(checkpoint).hparams


def test_the_verdict_is_about_forces() -> None:
    errors = {key: {"forces_mae": 2.0} for key in demo.ROWS}
    assert not demo._tuned_is_best(errors)
    assert demo._tuned_is_best(errors | {"fine_tuned": {"forces_mae": 1.9}})
