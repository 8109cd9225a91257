"""Processes that something else starts: `srun` of SLURM, `torchrun`.

SLURM describes every task it starts in the environment (man srun, "OUTPUT ENVIRONMENT VARIABLES");
Lightning reads rank, world and address from there. What is decided here is whether the tasks are
processes of one run at all: a shell or a batch script inside an allocation has many of these
variables too, and a run that waits for processes which nobody starts waits for half an hour.
"""

import os

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from zoo.errors import RecipeError
from zoo.training.recipe import Recipe, TrainerSection


def check(recipe: Recipe) -> None:
    """Refuses processes that are not those of the recipe; every process refuses alike.

    Args:
        recipe: `devices` processes on each of `num_nodes` nodes.

    Raises:
        RecipeError: other processes were started, or nobody starts those on the other nodes.
    """
    options = recipe.trainer
    if "TORCHELASTIC_RUN_ID" in os.environ:
        started, here = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
        _compare(options, started or 1, here, "torchrun", "--nnodes and --nproc-per-node")
    elif (tasks := _tasks()) > 1:
        here = _number("SLURM_NTASKS_PER_NODE")
        if here is None:
            raise RecipeError(
                f"srun started {tasks} tasks, but not so many on each node; ask SLURM for "
                "--ntasks-per-node instead of --ntasks"
            )
        _compare(options, tasks, here, "srun", "--nodes and --ntasks-per-node")
    elif options.num_nodes > 1 and "NODE_RANK" not in os.environ:
        raise RecipeError(
            f"trainer.num_nodes is {options.num_nodes}, and nothing has started this process as "
            "one of several nodes: start it with srun (SLURM) or torchrun on every node, or set "
            "NODE_RANK, MASTER_ADDR and MASTER_PORT there"
        )


def environment() -> ClusterEnvironment | None:
    """How the trainer learns of the other processes; None where it finds that out itself.

    Returns:
        SLURM's environment inside a step of several tasks, without Lightning's own requeueing,
        which leaves states in the working directory that any later run there would take up. The
        plain one elsewhere in a SLURM allocation, where Lightning would wait for other tasks.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_NTASKS" not in os.environ:
        return None
    return SLURMEnvironment(auto_requeue=False) if _tasks() > 1 else LightningEnvironment()


def _tasks() -> int:
    """Tasks of the step that this process is one of; 1 in a batch script or an interactive shell,
    whatever the allocation holds."""
    inside = {"SLURM_STEP_ID", "SLURM_STEPID"} & set(os.environ)
    shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")  # as Lightning has it
    return _number("SLURM_NTASKS") or 1 if inside and not shell else 1


def _number(name: str) -> int | None:
    """A variable of the environment, if it is there and a number."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else None


def _compare(
    options: TrainerSection, started: int, here: int | None, command: str, settings: str
) -> None:
    wanted = options.devices * options.num_nodes
    if started == wanted and here in (None, options.devices):
        return
    on_each = f", {here} on each node" if here is not None else ""
    raise RecipeError(
        f"trainer.devices {options.devices} on trainer.num_nodes {options.num_nodes} make {wanted} "
        f"processes, but {command} started {started}{on_each}; make them equal, with "
        f"trainer.devices and trainer.num_nodes or with {settings} (a run in one process: one task)"
    )
