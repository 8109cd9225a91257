"""Training runs that one process or several do alike; as a script, one of two processes.

`python training_jobs.py FOLDER` reads `FOLDER/frames.extxyz` and runs every job, as the process
that `LOCAL_RANK` says; each job leaves `FOLDER/<job>.safetensors` and `FOLDER/<job>.json`. With
`killed` as a second word it runs one job that kills itself.
"""

import contextlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ase.io import read
from safetensors.torch import save_file

import zoo
from zoo.datasets import AtomsDataset
from zoo.errors import Interrupted
from zoo.training import prepare
from zoo.training.fit import FitResult, fit
from zoo.training.recipe import Recipe, resolve

CONFIG = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 6, "cutoff": 3.0}
SPLITS = {"kind": "random", "fractions": {"train": 0.6, "val": 0.4}, "seed": 0}


def recipe(**trainer: Any) -> Recipe:
    """A small recipe; 21 training frames in batches of four leave one frame for the last batch."""
    several = int(trainer.pop("world", 1))
    extra = {"devices": several, "strategy": "ddp"} if several > 1 else {}
    values = {
        "recipe": 1,
        "name": "tensornet-tiny.emt.r1",
        "model": {"name": "tensornet", "config": CONFIG},
        "data": {"source": "emt.extxyz"},
        "loss": {"energy": {"weight": 10.0}, "forces": {"kind": "huber", "delta": 0.5}},
        "optimizer": {"lr": 5e-3, "weight_decay": 1e-3},
        "schedule": {"kind": "plateau", "warmup_steps": 2, "patience": 1},
        "ema": {"decay": 0.9},
        "trainer": {
            "max_epochs": 4,
            "batch_size": 4,
            "eval_batch_size": 3,
            "precision": "64-true",
            "accelerator": "cpu",
            "clip": 0.5,
        }
        | extra
        | trainer,
    }
    return resolve(values, where="job")


def fresh(*heads: str) -> Any:
    """The same model each time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return zoo.create("tensornet", **CONFIG, **({"heads": list(heads)} if heads else {}))


def run(
    folder: Path, name: str, model: Any, chosen: Recipe, columns: bool = False, **options: Any
) -> FitResult:
    """Trains, and leaves weights and history."""
    frames = read(folder / "frames.extxyz", ":")
    for number, frame in enumerate(frames):
        if columns:
            frame.info |= {"weight": [1.0, 0.25, 3.0][number % 3], "head": number % 2}
    data = AtomsDataset.from_atoms(frames, splits=SPLITS)
    prepare.set_scales(model, chosen, data.split("train"))
    place = folder / options.pop("place", name)
    result = fit(
        model, chosen, data.split("train"), data.split("val"), place, progress=_quiet, **options
    )
    if prepare.is_first_process():
        save_file(model.state_dict(), folder / f"{name}.safetensors")
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in result.history]
        about = {"steps": result.steps, "first_step": result.first_step, "history": rows}
        (folder / f"{name}.json").write_text(json.dumps(about))
    return result


def plain(folder: Path, world: int) -> None:
    """Structures of equal weight; the last batch of each pass is a single frame."""
    run(folder, "plain", fresh(), recipe(world=world))


def atoms(folder: Path, world: int) -> None:
    """Batches of at most so many atoms, frames of unequal weight."""
    chosen = recipe(world=world, batch_by="atoms", batch_size=20, val_every=2)
    run(folder, "atoms", fresh(), chosen, columns=True)


def heads(folder: Path, world: int) -> None:
    """Two energy heads, batches of at most so many edges, a penalty on the weights."""
    chosen = recipe(world=world, batch_by="edges", batch_size=80, num_workers=1)
    model = fresh("energy", "energy/other")
    model.set_references({1: -13.5, 6: -1030.0, 8: -2041.0}, head="other")
    run(folder, "heads", model, chosen, columns=True, penalty=_penalty)


def noisy(folder: Path, world: int, **extra: Any) -> None:
    """Uninterrupted, and stopped after eight steps and taken up; the model draws random numbers."""
    chosen = recipe(world=world, **extra)
    name = str(extra.get("strategy", "noisy"))
    run(folder, name, _shaken(fresh()), chosen, place=f"{name}-whole")
    stopped = _shaken(fresh())
    stopped.register_forward_hook(_Stop(8))
    with contextlib.suppress(Interrupted):
        run(folder, "never", stopped, chosen, place=f"{name}-parts")
    run(folder, f"{name}_resumed", _shaken(fresh()), chosen, place=f"{name}-parts", resume=True)


def fsdp(folder: Path, world: int) -> None:
    """Parameters, gradients, optimiser state and average divided over the processes."""
    noisy(folder, world, strategy="fsdp", precision="32-true")
    run(folder, "sharded", fresh(), recipe(world=world, strategy="fsdp", precision="32-true"))


#: jobs whose result does not depend on the number of processes
ALIKE: dict[str, Callable[[Path, int], None]] = {"plain": plain, "atoms": atoms, "heads": heads}
JOBS = ALIKE | {"noisy": noisy, "fsdp": fsdp}


def killed(folder: Path, *, dies: bool = False, name: str = "killed", **options: Any) -> FitResult:
    """A run that saves its state after every step and, if it `dies`, is killed in the ninth."""
    model = _shaken(fresh())
    if dies:
        model.register_forward_hook(_Stop(9, signal.SIGKILL))
    chosen = recipe(batch_by="atoms", batch_size=20, val_every=2, num_workers=1)
    return run(folder, name, model, chosen, columns=True, every=0.0, **options)


class _Stop:
    """A signal during a step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.left, self.number = step, number

    def __call__(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        self.left -= module.training
        if self.left == 0 and module.training:
            signal.raise_signal(self.number)


def _shaken(model: Any) -> Any:
    """Training inputs get random displacements."""
    model.register_forward_pre_hook(_shake)
    return model


def _shake(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
    if module.training:
        inputs[0].pos = inputs[0].pos + 1e-2 * torch.randn_like(inputs[0].pos)


def _penalty(model: torch.nn.Module) -> torch.Tensor:
    return 1e-3 * torch.stack([p.square().sum() for p in model.parameters()]).sum()


def _quiet(line: str) -> None:
    """Takes progress lines."""


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if sys.argv[2:] == ["killed"]:
        killed(target, dies=True)
    for job in JOBS.values():
        job(target, 2)
