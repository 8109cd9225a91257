"""Fine-tuning with adapters: what moves, what is stored, what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_data
import torch
from ase import Atoms
from ase.io import write
from task_runs import quiet, run

import zoo
from zoo.errors import ConfigError
from zoo.layers import adapters
from zoo.training.methods import parse

pytestmark = pytest.mark.usefixtures("undrawn")
Labeller = Callable[..., list[Atoms]]
SHIFTED = {1: 86.5, 6: -430.0, 7: -780.0, 8: -1241.0}


@pytest.fixture(scope="module")
def frames(labelled: Labeller, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.extxyz"
    write(path, labelled("CH3OH", 20, seed=5, shift=SHIFTED) + labelled("CH4", 10, shift=SHIFTED))
    return path


@pytest.fixture(scope="module")
def tuned(pretrained: Path, frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One complete run."""
    return zoo.finetune(
        pretrained,
        frames,
        output=tmp_path_factory.mktemp("tuned") / "out",
        method="adapter:r=2",
        old_data=pretrained.parent / "emt.extxyz",
        epochs=6,
        merge=True,
        progress=quiet,
    )


def test_adapters_learn_and_are_stored_alone(tuned: Any, pretrained: Path, frames: Path) -> None:
    assert tuned.metrics["fine_tuned"]["forces_mae"] < tuned.metrics["zero_shot"]["forces_mae"]
    assert {"old_before", "old_after"} <= set(tuned.metrics)
    assert tuned.details["trained_parameters"] < 0.6 * tuned.details["parameters"]
    before, after = zoo.load(pretrained).state_dict(), tuned.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {*tuned.details["adapted"], "energy_scale.reference"}
    assert all(p.requires_grad for p in tuned.model.parameters())
    model = zoo.load(tuned.path, check=True)
    atoms = zoo.datasets.open(frames).atoms(0)
    for name in ("energy", "forces"):
        assert torch.equal(model(atoms)[name], tuned.model(atoms)[name])
        whole = zoo.load(tuned.path / "merged", check=True)
        assert torch.equal(model(atoms)[name], whole(atoms)[name])
    assert model.trust is not None and whole.trust is not None
    entry = model.manifest.adapter
    assert entry.whole == ["energy_scale.reference"] and whole.manifest.adapter is None
    assert entry.parameters == tuned.details["trained_parameters"]
    assert json.loads((tuned.path / "report.json").read_text())["adapted"]


def test_forces_pass_through_adapters(tuned: Any, frames: Path) -> None:
    apart = zoo.load(tuned.path, merge=False)
    atoms = zoo.datasets.open(frames).atoms(0)
    assert len(list(adapters.adapters(apart))) == apart.manifest.adapter.adapted
    merged = zoo.load(tuned.path)(atoms)["forces"]
    torch.testing.assert_close(apart(atoms)["forces"], merged)


def test_a_finished_run_is_taken_up_as_it_is(tuned: Any, pretrained: Path, frames: Path) -> None:
    again = zoo.finetune(
        pretrained,
        frames,
        output=tuned.path,
        method="adapter:r=2",
        old_data=pretrained.parent / "emt.extxyz",
        epochs=6,
        resume=True,
        progress=quiet,
    )
    expected = tuned.model.state_dict()
    found = again.model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_new_head_is_trained_whole(pretrained: Path, frames: Path, tmp_path: Path) -> None:
    report = zoo.finetune(
        pretrained,
        frames,
        output=tmp_path / "out",
        method="adapter:kind=lora,r=1,targets=layers.*,dropout=0.1",
        heads="new:dft",
        epochs=1,
        progress=quiet,
    )
    own = report.details["trained_whole"]
    assert own and all(name.startswith("heads.energy/dft.") for name in own)
    model = zoo.load(tmp_path / "out", check=True)
    assert model.energy_heads == ("dft", "energy")
    stored = set(model.manifest.adapter.whole)
    assert set(own) <= stored and not any(name.startswith("layers.") for name in stored)
    atoms = zoo.datasets.open(frames).atoms(0)
    for head in model.energy_heads:
        found = [each(atoms, head=head)["forces"] for each in (model, report.model)]
        assert torch.equal(*found)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with a batch norm, trained on three classes."""
    folder = tmp_path_factory.mktemp("parent")
    tiny_data.vectors(folder / "data.npz")
    run(folder, model={"name": "tinyvector", "config": {"extra": "norm"}})
    return folder / "out"


@pytest.mark.parametrize("fresh", [False, True])
def test_other_domains_have_the_same_call(parent: Path, tmp_path: Path, fresh: bool) -> None:
    """A fresh head is stored whole; what is frozen keeps its running statistics."""
    options: dict[str, Any] = {"epochs": 20, "lr": 0.03}
    if fresh:
        data = tiny_data.words(tmp_path / "trees.npz")
        options["keys"] = {"x": "vecs", "y": "species"}
    else:
        data = tiny_data.vectors(tmp_path / "mine.npz", seed=3)
    report = zoo.finetune(
        parent, data, output=tmp_path / "out", method="adapter:r=1", progress=quiet, **options
    )
    assert report.details["head"] == ("new, 4 outputs" if fresh else "kept")
    assert bool(report.details["trained_whole"]) is fresh
    if fresh:
        assert report.metrics["fine_tuned"]["accuracy"] > report.metrics["zero_shot"]["accuracy"]
    model = zoo.load(tmp_path / "out", check=True)
    x = np.random.default_rng(0).normal(size=(5, 4))
    assert torch.equal(model({"x": x})["logits"], report.model({"x": x})["logits"])
    assert model.classes == report.model.classes
    assert model.manifest.adapter.whole == report.details["trained_whole"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("adapter:rank=4", "no option 'rank=4'; "),
        ("adapter:r=x", "r must be a number, not 'x'"),
        ("adapter:r=0", "at least 1"),
        ("adapter:kind=lokr", "no adapter is called 'lokr'"),
        ("adapter:scale=0", "scale"),
        ("adapter:dropout=1", "dropout"),
        ("adapter:targets=", "targets are patterns"),
        ("adaptor", "did you mean 'adapter'"),
    ],
)
def test_methods_that_do_not_read(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse(text)


def test_methods_are_read_in_any_order() -> None:
    found = parse("adapter:targets=layers.*+-*.bias,dropout=0.1,kind=lora,scale=2,r=3").adapter
    assert found == adapters.AdapterConfig("lora", 3, 2.0, 0.1, ("layers.*", "-*.bias"))
    assert parse("adapter").adapter == adapters.AdapterConfig()
    assert parse("full").rate < parse("adapter").rate < parse("adapter:kind=tucker").rate


def test_what_adapters_can_not_do_is_refused(
    pretrained: Path, frames: Path, parent: Path, tmp_path: Path
) -> None:
    for match, options in (
        ("matches no parameter; did you mean", {"method": "adapter:targets=layer.*"}),
        ("nothing can be adapted with lora of rank 64", {"method": "adapter:r=64"}),
        ("everything is frozen but what targets= names", {"method": "adapter", "freeze": "a.*"}),
        ("merge is for method='adapter'", {"method": "head", "merge": True}),
    ):
        with pytest.raises(ConfigError, match=match):
            zoo.finetune(pretrained, frames, output=tmp_path, progress=quiet, **options)
    data = tiny_data.vectors(tmp_path / "mine.npz")
    with pytest.raises(ConfigError, match="merge is for method='adapter'"):
        zoo.finetune(parent, data, output=tmp_path, merge=True, progress=quiet)
