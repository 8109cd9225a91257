"""What one of several tasks of a SLURM step does; as a script it is that task.

`python cluster_jobs.py FOLDER JOB...` runs jobs one after the other, as the task that SLURM's
variables name, through the command `zoo`. Exit codes go to `FOLDER/<job>.<task>.json`.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.nn.modules.module import register_module_forward_hook

from zoo.cli.main import run

#: a recipe's smoke tier, as it is apart from its length and precision: four passes of three steps
RECIPE = ["train", "gfn2-md10/tensornet", "--tier", "smoke", "--set", "trainer.precision=64-true"]
RECIPE += ["--set", "trainer.max_epochs=4", "--set", "schedule.warmup_steps=1"]
# a schedule that follows the clock is never the same twice
RECIPE += ["--set", "trainer.accelerator=cpu", "--set", "trainer.max_time=null"]


def train(folder: Path, *words: str) -> int:
    """The exit code of `zoo train`."""
    return run([*RECIPE, "-o", str(folder), *words])


def _placed(folder: Path, *words: str) -> int:
    nodes, tasks = os.environ["SLURM_NNODES"], os.environ["SLURM_NTASKS_PER_NODE"]
    where = ("--set", f"trainer.num_nodes={nodes}", "--set", f"trainer.devices={tasks}")
    return train(folder, *where, *words)


@contextmanager
def _signal(number: signal.Signals, steps: dict[str, int]) -> Iterator[None]:
    """Sends this task a signal during a step: which one, by task."""
    left = steps.get(os.environ["SLURM_PROCID"], -1)

    def send(module: Any, inputs: Any, output: Any) -> None:
        nonlocal left
        if type(module).__name__ == "TensorNet" and module.training:
            left -= 1
            if left == 0:
                signal.raise_signal(number)

    hook = register_module_forward_hook(send)
    try:
        yield
    finally:
        hook.remove()


def whole(folder: Path) -> list[int]:
    """A run that nothing disturbs, the same again, and one with other numbers than SLURM's."""
    return [
        _placed(folder / "whole"),
        _placed(folder / "whole"),
        train(folder / "unequal", "--set", "trainer.devices=3"),
    ]


def stopped(folder: Path) -> list[int]:
    """The second task alone hears that time is nearly up, inside a pass; then both are to end, and
    hear of it in different steps."""
    with _signal(signal.SIGUSR1, {"1": 5}):
        asked = _placed(folder / "parts", "--resume")
    with _signal(signal.SIGTERM, {"0": 3, "1": 2}):
        return [asked, _placed(folder / "parts", "--resume")]


def killed(folder: Path) -> list[int]:
    """The second task dies inside a pass; the first one can't go on."""
    with _signal(signal.SIGKILL, {"1": 3}):
        return [_placed(folder / "parts", "--resume")]


def resumed(folder: Path) -> list[int]:
    """Goes on with what is left."""
    return [_placed(folder / "parts", "--resume")]


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for job in sys.argv[2:]:
        codes = globals()[job](place)
        (place / f"{job}.{os.environ['SLURM_PROCID']}.json").write_text(json.dumps(codes))
