"""Runs that SIGKILL themselves before a file takes its place; as a script, each in a fork.

`python killed.py FOLDER` runs every job of `JOBS` in `FOLDER`, on the model `FOLDER/model` and the
structures `FOLDER/frames.extxyz`, and prints how each ended.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ase.io import read

import zoo
from zoo.apps.scale import relax, screen

#: so that there are several parts
PART = 3
RELAX: dict[str, Any] = {"fmax": 1e-6, "steps": 7, "batch_atoms": 18}
SCREEN: dict[str, Any] = {"shards": 4, "forces": True, "batch_atoms": 12, "top": 3}
#: the job and which of its files never takes its place; the first one names the run
JOBS = {
    "relax-state": ("relax", 4),
    "relax-part": ("relax", 5),
    "relax-end": ("relax", 0),
    "screen-shard": ("screen", 4),
    "screen-end": ("screen", 0),
}
#: of the last files: what was computed stands in others
LAST = {"relax": "out.extxyz", "screen": "kept.extxyz"}


def relaxed(folder: Path, name: str) -> list[relax.Relaxed]:
    """Relaxes the structures into `FOLDER/<name>/out.extxyz`."""
    relax.PART = PART
    model = zoo.load(str(folder / "model"))
    (folder / name).mkdir(exist_ok=True)
    frames = read(folder / "frames.extxyz", ":")
    return relax.relax_to(folder / name / LAST["relax"], model, frames, **RELAX)


def screened(folder: Path, name: str, **options: Any) -> dict[str, Any]:
    """Screens the structures into `FOLDER/<name>`."""
    source = folder / "frames.extxyz"
    return screen.screen(str(folder / "model"), source, folder / name, **SCREEN, **options)


RUNS: dict[str, Callable[..., Any]] = {"relax": relaxed, "screen": screened}


def dies(folder: Path, name: str) -> None:
    """Runs a job until the moment at which it is killed."""
    kind, number = JOBS[name]
    replace, count = os.replace, 0

    def killed(old: str | Path, new: str | Path) -> None:
        nonlocal count
        count += 1
        if count == number or (number == 0 and Path(new).name == LAST[kind]):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(old, new)

    os.replace = killed  # type: ignore[assignment]
    RUNS[kind](folder, name)


def main(folder: Path, threads: int) -> None:
    """A fork for each job: torch is imported once, and has started no thread that a fork lacks."""
    torch.set_num_threads(threads)
    for name in JOBS:
        child = os.fork()
        if child == 0:
            try:
                dies(folder, name)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{name} {os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
