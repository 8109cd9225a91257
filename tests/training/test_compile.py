"""`trainer.compile`: the model's own block surrounds the run, and others are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny_data
from task_runs import quiet

import zoo
from zoo.errors import RecipeError
from zoo.training.recipe import TrainerSection

RECIPE = """\
recipe: 1
name: tinyvector-s.mine.r1
model: {name: tinyvector, config: {out_channels: 3}}
data:
  source: data.npz
  splits: {kind: random, fractions: {train: 0.6, val: 0.4}, seed: 0}
task: {kind: classification, loss: {kind: cross_entropy}}
ema: null
trainer: {max_epochs: 1, compile: true}
"""


def _train(folder: Path) -> None:
    tiny_data.vectors(folder / "data.npz")
    (folder / "r.yaml").write_text(RECIPE)
    zoo.train(folder / "r.yaml", output=folder / "out", progress=quiet)


def test_a_model_without_compiled_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"trainer\.compile: tinyvector has no layers"):
        _train(tmp_path)
    assert not (tmp_path / "out" / "manifest.yaml").exists()


@pytest.mark.usefixtures("undrawn")
def test_every_step_is_inside_the_models_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = [False]
    seen = []

    @contextmanager
    def compiled(_: Any) -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    kind = type(zoo.create("tinyvector", out_channels=3))
    forward = kind.forward

    def watched(self: Any, batch: Any) -> Any:
        if self.training:
            seen.append(inside[0])
        return forward(self, batch)

    monkeypatch.setattr(kind, "compiled", compiled, raising=False)
    monkeypatch.setattr(kind, "forward", watched)
    _train(tmp_path)
    assert seen and all(seen)
    assert not inside[0]


def test_older_recipes_keep_their_digest() -> None:
    assert "compile" not in TrainerSection().model_dump()
    assert TrainerSection(compile=True).model_dump()["compile"] is True
