"""Training on several processes: DDP, and FSDP with its own rules.

FSDP (Zhao et al., arXiv:2304.11277) keeps a part of the parameters, gradients and optimiser state
in each process. Forces are derivatives inside the forward pass, so training them takes second
derivatives. FSDP registers its hooks for first derivatives only: with nested units, second
derivatives are silently wrong (measured with torch 2.13). With the whole model as one unit they
are right, since it stays gathered until the backward pass is over; a test compares them with one
process. This is why the model is never divided into units here: memory is saved on what is kept
between the steps.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import (
    FullOptimStateDictConfig,
    FullStateDictConfig,
    FullyShardedDataParallel,
    StateDictType,
)
from torch.distributed.fsdp._runtime_utils import _reshard  # there is no public way
from torchmetrics import Metric

from zoo.errors import RecipeError
from zoo.training.ema import Ema
from zoo.training.recipe import Recipe


class Sharded(FSDPStrategy):
    """FSDP with the whole model as one unit, on any device.

    Lightning's own refuses the CPU, reads states with pickle, and asks torch for a state that is
    moved to the CPU, which is freed memory where it lies there already (torch 2.13).
    """

    def _setup_model(self, model: nn.Module) -> nn.Module:
        for part in model.modules():
            if isinstance(part, Metric):  # not divided, but on the same device
                part.to(self.root_device)
        return FullyShardedDataParallel(model, device_id=self.root_device, use_orig_params=True)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole state, on the CPU; every process takes part."""
        assert self.model is not None and self.lightning_module is not None
        with FullyShardedDataParallel.summon_full_params(self.model, writeback=False):
            state = self.lightning_module.state_dict()
            return {name: t.detach().cpu().clone() for name, t in state.items()}

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """The whole state of the optimiser, in the first process; every process takes part."""
        assert self.model is not None
        plain = getattr(optimizer, "_optimizer", optimizer)
        with self._whole(first_only=True):
            state = FullyShardedDataParallel.optim_state_dict(self.model, plain)
        return dict(state)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> Any:
        """Reads a whole state and gives each process its part."""
        assert self.model is not None and self.lightning_module is not None
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        with FullyShardedDataParallel.summon_full_params(self.model, writeback=True):
            self.lightning_module.load_state_dict(checkpoint["state_dict"])
        with self._whole(first_only=False):
            for plain, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
                part = FullyShardedDataParallel.optim_state_dict_to_load(self.model, plain, state)
                plain.load_state_dict(part)
        return checkpoint

    def _whole(self, *, first_only: bool) -> Any:
        assert self.model is not None
        there = self.root_device.type == "cpu"
        options = {"offload_to_cpu": not there, "rank0_only": first_only}
        return FullyShardedDataParallel.state_dict_type(
            self.model,
            StateDictType.FULL_STATE_DICT,
            FullStateDictConfig(**options),
            FullOptimStateDictConfig(**options),
        )


def strategy(recipe: Recipe, model: nn.Module) -> Any:
    """The trainer's strategy.

    Args:
        recipe: its trainer section says which.
        model: the model to train.

    Raises:
        RecipeError: a combination that would not train what it says.
    """
    options = recipe.trainer
    if options.strategy == "fsdp":
        check(recipe)
        return Sharded(state_dict_type="full")
    if options.strategy == "ddp" or options.devices * options.num_nodes > 1:
        # a head without samples in a share of the batch, the offset of an energy that is not
        # trained on, and what an architecture says of itself have no gradient
        idle = len(getattr(model, "heads", ())) > 1 or recipe.loss.energy is None
        idle = idle or getattr(model, "idle_parameters", False)
        return DDPStrategy(find_unused_parameters=idle)
    return "auto"


def check(recipe: Recipe) -> None:
    """Refuses what FSDP can't do.

    Raises:
        RecipeError: double precision.
    """
    options = recipe.trainer
    if options.strategy == "fsdp" and options.precision != "32-true":
        raise RecipeError(
            f"trainer.strategy is fsdp and trainer.precision {options.precision}: FSDP trains in "
            "32-true only; change one of the two, or use ddp"
        )


def is_sharded(trainer: pl.Trainer) -> bool:
    """Whether parameters are divided over the processes."""
    return isinstance(trainer.strategy, Sharded)


def full_state(trainer: pl.Trainer, model: nn.Module) -> dict[str, Tensor]:
    """The model's whole state, on the CPU; every process must call it.

    Returns:
        Its parameters and buffers by name.
    """
    if not is_sharded(trainer):
        return {n: t.detach().cpu().clone().contiguous() for n, t in model.state_dict().items()}
    state = trainer.strategy.lightning_module_state_dict()
    inside = {n.removeprefix("model."): t for n, t in state.items() if n.startswith("model.")}
    return {n: t.contiguous() for n, t in inside.items()}


def release(trainer: pl.Trainer) -> None:
    """Lets go of the gathered parameters, which a forward pass without a backward pass leaves.

    The parts are what the optimiser and the average change; the next pass has to gather them anew
    instead of going on with what the last one had.
    """
    root = trainer.strategy.model
    handle = getattr(root, "_handle", None)
    if isinstance(root, FullyShardedDataParallel) and handle and handle.uses_sharded_strategy:
        _reshard(root, handle, True)


def average_state(trainer: pl.Trainer, model: nn.Module, ema: Ema) -> dict[str, Any]:
    """The state of a sharded average, gathered; every process must call it."""
    with _swapped(ema):
        whole = full_state(trainer, model)
    return {"updates": ema.updates, "average": {n: t for n, t in whole.items() if n in ema.average}}


def load_average(model: nn.Module, ema: Ema, state: Mapping[str, Any], root: nn.Module) -> None:
    """Gives each process its part of a gathered average.

    Args:
        model: whose average it is.
        ema: takes the parts.
        state: what `average_state` gave.
        root: the FSDP unit that holds the model.
    """
    ema.attach(model)
    ema.updates = int(state["updates"])
    with _swapped(ema), FullyShardedDataParallel.summon_full_params(root, writeback=True):
        names = {n.replace("_fsdp_wrapped_module.", ""): p for n, p in model.named_parameters()}
        with torch.no_grad():
            for name, value in state["average"].items():
                names[name].copy_(value)


@contextmanager
def _swapped(ema: Ema) -> Iterator[None]:
    """The model carries the average inside, whatever it carried before."""
    already = ema.swapped
    if not already:
        ema.swap()
    try:
        yield
    finally:
        if not already:
            ema.swap()


def clip_gradients(trainer: pl.Trainer, model: nn.Module, limit: float) -> None:
    """Scales sharded gradients so that their norm over all processes is at most `limit`.

    FSDP's own function computes the norm in float32 and Lightning does not call it.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    first = next(model.parameters())
    squared = first.new_zeros((), dtype=torch.float64)
    for gradient in gradients:
        squared = squared + gradient.double().square().sum()
    if trainer.world_size > 1:
        squared = trainer.strategy.reduce(squared, reduce_op="sum")
    scale = (limit / (squared.sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.to(gradient.dtype))
