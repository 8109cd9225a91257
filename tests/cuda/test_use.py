"""What users do, on a GPU: predict, relax, dynamics, export, train, fine-tune."""

from pathlib import Path

import numpy as np
import pytest
import raw_sets
import torch
from ase import Atoms
from ase.build import bulk, molecule

import zoo
from zoo import datasets, share
from zoo.apps.predict import predict
from zoo.apps.scale import relax as scale
from zoo.apps.scale.export import Exported, export
from zoo.apps.scale.md import md
from zoo.functional import neighbor_list
from zoo.training import recipe as recipes

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]
NAME = "tensornet-s.gfn2-md10.r1"
RECIPES = sorted(share.folder("recipes").rglob("*.yaml"))


def molecules() -> list[Atoms]:
    frames = [molecule(name) for name in ("CH3CH2OH", "C6H6", "CH4", "H2O")]
    for seed, frame in enumerate(frames):
        frame.rattle(0.05, seed=seed)
    return frames


def quiet(_: str) -> None:
    """Progress that nobody reads."""


@pytest.mark.parametrize("periodic", [False, True])
def test_neighbours_are_those_of_the_cpu(periodic: bool) -> None:
    frames = [bulk("Cu", cubic=True) * 2, bulk("Al") * 2] if periodic else molecules()
    for frame in frames:
        frame.rattle(0.1, seed=3)
    batch = zoo.to_batch(frames, dtype=torch.float64)
    found = []
    for device in ("cpu", "cuda"):
        there = batch.to(device)
        cell = (there.cell, there.pbc) if periodic else (None, None)
        edges, shifts = neighbor_list(there.pos, 4.5, there.batch, *cell)
        assert edges.device.type == device
        found.append({tuple(row) for row in torch.cat([edges.T, shifts], dim=1).cpu().tolist()})
    assert found[0] == found[1] and found[0]


def test_predictions_and_the_calculator_agree_with_the_cpu() -> None:
    here = zoo.load(NAME, dtype=torch.float64)
    there = zoo.load(NAME, dtype=torch.float64, device="cuda")
    frames = molecules()
    for a, b in zip(predict(here, frames), predict(there, frames), strict=True):
        assert abs(a["energy"] - b["energy"]) < 1e-8
        assert np.abs(a["forces"] - b["forces"]).max() < 1e-8
    frames[0].calc = there.calculator()
    forces = frames[0].get_forces()
    frames[0].calc = here.calculator()
    assert np.abs(forces - frames[0].get_forces()).max() < 1e-8


def test_relaxation_finds_the_minima_of_the_cpu() -> None:
    found = [
        scale.relax(zoo.load(NAME, dtype=torch.float64, device=device), molecules(), fmax=0.02)
        for device in ("cpu", "cuda")
    ]
    for here, there in zip(*found, strict=True):
        assert here.status == there.status == "converged"
        gap = here.atoms.get_potential_energy() - there.atoms.get_potential_energy()
        assert abs(gap) < 1e-5


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "bussi"])
def test_dynamics_run_on_a_gpu(ensemble: str, tmp_path: Path) -> None:
    model = zoo.load(NAME, device="cuda")
    told = md(model, molecules(), tmp_path / "run", steps=50, ensemble=ensemble)
    assert [each["status"] for each in told] == ["done"] * 4
    if ensemble == "nve":
        assert max(abs(each["drift"]) for each in told) < 5e-3


def test_an_artefact_of_a_gpu_runs_there(tmp_path: Path) -> None:
    model = zoo.load(NAME, device="cuda")
    info = export(model, tmp_path / "model.pt2")
    assert info["device"] == "cuda"
    found = Exported(tmp_path / "model.pt2")(molecules())
    expected = model(zoo.to_batch(molecules(), dtype=model.dtype).to("cuda"))
    scale_of = expected["forces"].abs().max()
    assert (found["forces"] - expected["forces"]).abs().max() < 1e-4 * scale_of


def test_memory_is_given_back() -> None:
    """Nothing keeps what a call needed: no cache holds tensors of earlier calls."""
    model = zoo.load(NAME, device="cuda")
    batch = zoo.to_batch(molecules() * 8, dtype=model.dtype).to("cuda")
    for _ in range(2):
        model(batch, create_graph=False)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(5):
        model(batch, create_graph=False)
    assert torch.cuda.memory_allocated() <= before


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recipes_run_on_a_gpu(path: Path, tmp_path: Path) -> None:
    """As in the tests of the CPU, with whatever a recipe says of the device overruled."""
    name = recipes.load(path, tier="smoke").data.source
    changes = {"trainer.accelerator": "gpu", "trainer.devices": 1}
    if name in datasets.fetched():
        changes["data.settings.root"] = str(raw_sets.place(name, tmp_path / "cache"))
    out = tmp_path / "out"
    zoo.train(path, output=out, tier="smoke", overrides=changes, progress=quiet)
    zoo.load(out, check=True)
    zoo.load(out, device="cuda", check=True)


def test_finetuning_runs_on_a_gpu(tmp_path: Path) -> None:
    report = zoo.finetune(NAME, "pbe-ethanol", output=tmp_path / "out", epochs=1, progress=quiet)
    assert report.metrics
    again = zoo.load(tmp_path / "out", device="cuda", check=True)
    assert again.device.type == "cuda"
