"""Which energy head is trained, and what each head has to learn from at the first step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zoo.errors import DataError
from zoo.layers.atomistic._names import NEW, choose
from zoo.training.data import Samples
from zoo.training.losses import batch_sums, ratio, targets, term_of
from zoo.training.recipe import LossSection

#: frames that the first gradient of a head is measured on
FRAMES = 16


@dataclass(frozen=True)
class Target:
    """The head that learns the new labels.

    Attributes:
        name: of the head; empty for a model of properties alone.
        parent: the head it was before; another one for a new head.
        several: whether the model has other energy heads beside it.
    """

    name: str
    parent: str
    several: bool

    @property
    def new(self) -> bool:
        """Whether the head was made for these labels."""
        return self.name != self.parent


def choose_head(model: Any, heads: str | None) -> Target:
    """Finds the head to train; `new:<name>` makes one, as a copy of the default head.

    Args:
        model: gets the new head.
        heads: `new:<name>`, the name of a head, or None for the default head.

    Raises:
        UnknownHeadError: no such head.
        ConfigError: a name that a head can't have.
        CapabilityError: for a name, if the model has no energy heads.
    """
    if not model.energy_heads and heads is None:
        return Target("", "", several=False)
    first: str = model.find_head(None)
    if heads is not None and heads.startswith(NEW):
        model.add_head(heads.removeprefix(NEW), like=first)
        return Target(model.energy_heads[0], first, several=True)
    name = model.find_head(heads)
    return Target(name, name, several=len(model.energy_heads) > 1)


def check_weights(model: Any, weights: Mapping[str, float]) -> dict[str, float]:
    """Checks the weights of heads in the loss.

    Raises:
        UnknownHeadError: for a head that the model does not have.
    """
    owner = model.checkpoint_name or model.architecture
    return {choose(name, model.energy_heads, owner=owner): w for name, w in weights.items()}


def survey(model: Any, loss: LossSection, train: Any) -> list[dict[str, Any]]:
    """What each head has to learn from, before the first step.

    Args:
        model: with the parameters to train requiring gradients.
        loss: the terms and the weights of the heads.
        train: training frames; its column `head` counts the model's energy heads.

    Returns:
        For each head with frames: `head`, `frames`, `weight` (of its loss), `loss` (weighted, in
        powers of eV and Å), `gradient_norm` (of that), both on at most 16 frames.

    Raises:
        DataError: for a head whose loss trains nothing.
    """
    if not model.energy_heads:
        return []
    column = train.columns.get("head")
    owner = np.zeros(len(train), dtype=np.int64) if column is None else np.asarray(column)
    names = model.energy_heads
    samples = Samples(
        train, model.dtype, labels=targets(loss), cutoff=model.cutoff, heads=names, keep=0
    )
    rows = []
    for k, name in enumerate(names):
        frames = np.flatnonzero(owner == k)
        if not len(frames):
            continue
        weight = loss.heads.get(name, 1.0)
        chosen = frames[np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))]
        value, norm = _gradient(model, loss, samples[chosen.tolist()], k, weight)
        if norm == 0 and weight > 0:
            raise DataError(
                f"the head {name!r} has {len(frames)} frames, but its loss changes no parameter; "
                "leave fewer parameters frozen, or look at its labels"
            )
        row = {"head": name, "frames": len(frames), "weight": weight}
        rows.append({**row, "loss": value, "gradient_norm": norm})
    return rows


def _gradient(
    model: Any, loss: LossSection, batch: Any, k: int, weight: float
) -> tuple[float, float]:
    """The weighted loss of one head's frames, and the norm of its gradient."""
    heads = len(model.energy_heads)
    batch = batch.to(model.device)
    out = model(batch, outputs=targets(loss), create_graph=True)
    sums = batch_sums(out, batch, loss, heads)
    terms = [term_of(loss, name).weight * ratio(*pair)[k] for name, pair in sums.items()]
    total = weight * torch.stack([term.double() for term in terms]).sum()
    live = [p for p in model.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(total, live, allow_unused=True)
    norms = [slope.double().square().sum() for slope in slopes if slope is not None]
    squared = torch.stack(norms).sum() if norms else torch.zeros(())
    return float(total.detach()), float(squared.sqrt())
