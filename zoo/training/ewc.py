"""Elastic weight consolidation (Kirkpatrick et al., arXiv:1612.00796, eq. 3).

    L(θ) = L_new(θ) + λ/2 sum_i F_i (θ_i - θ0_i)^2

holds each parameter near its old value θ0 by a spring as stiff as the old task needs. F is the
diagonal of the Fisher information of the old task, estimated on old frames. For a regression whose
loss is sum_k w_k (y_k - t_k)^2, read as the negative logarithm of a Gaussian likelihood, it is

    F_i = mean over frames of sum_k 2 w_k (dy_k/dθ_i)^2,

which needs no labels: the Fisher information is an average over what the model itself expects, not
over the data's residuals, and is also the Gauss-Newton diagonal of the old loss. With λ = 1 the
penalty is therefore the old loss to second order, added to the new one, as far as each parameter
acts alone. Many act together, which a diagonal does not see; a much larger λ drives the change into
directions that the diagonal takes for free, and protects no better. Nor can a spring mend labels
that contradict each other: give another level of theory a head of its own. The sum over outputs k
is estimated with random signs s_k: E[(sum_k s_k sqrt(2 w_k) dy_k/dθ_i)^2] is the sum of
squares. One backward pass per frame and draw replaces one per force component.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from zoo._files import write_atomic
from zoo.datasets import AtomsDataset, collate
from zoo.training.recipe import LossSection

FILE = "ewc.safetensors"
_FISHER, _ANCHOR = "fisher.", "anchor."


@dataclass(frozen=True)
class Consolidation:
    """Old values of the parameters and how much each of them mattered.

    Attributes:
        fisher: name -> F, of the parameter's shape.
        anchor: name -> θ0.
        strength: λ.
    """

    fisher: Mapping[str, Tensor]
    anchor: Mapping[str, Tensor]
    strength: float

    def __call__(self, model: nn.Module) -> Tensor:
        """λ/2 sum F (θ - θ0)^2 over the parameters that are trained."""
        total = next(model.parameters()).new_zeros(())
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name in self.fisher:
                moved = parameter - self.anchor[name].to(parameter)
                total = total + (self.fisher[name].to(parameter) * moved.square()).sum()
        return 0.5 * self.strength * total


def consolidate(
    model: Any,
    old: AtomsDataset,
    loss: LossSection,
    *,
    strength: float,
    head: str | None = None,
    seed: int = 0,
    path: Path | None = None,
    key: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Consolidation:
    """Measures what mattered to the old task, or takes it from an interrupted run.

    Args:
        model: at the old task's optimum; its parameters are left as they are.
        old: frames of the old task; labels are not needed.
        loss: weights of the terms.
        strength: λ.
        head: the energy head of the old task.
        seed: of the random signs.
        path: where the result is kept for a resumed run.
        key: what the result depends on; a kept one with another key is not used.
        progress: called with (frames done, frames in all).
    """
    if path is not None and path.is_file():
        kept = _read(path, key, strength)
        if kept is not None:
            return kept
    fisher = fisher_diagonal(model, old, loss, head=head, seed=seed, progress=progress)
    anchor = {name: p.detach().clone() for name, p in model.named_parameters() if name in fisher}
    if path is not None:
        tensors = {f"{_FISHER}{n}": v for n, v in fisher.items()}
        tensors |= {f"{_ANCHOR}{n}": v for n, v in anchor.items()}
        write_atomic(path, save(tensors, {"key": key}))
    return Consolidation(fisher, anchor, strength)


def fisher_diagonal(
    model: Any,
    old: AtomsDataset,
    loss: LossSection,
    *,
    head: str | None = None,
    seed: int = 0,
    draws: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Tensor]:
    """The diagonal of the Fisher information of the trained parameters.

    Args:
        model: an atomistic model.
        old: frames.
        loss: weights of the terms.
        head: the energy head.
        seed: of the random signs.
        draws: of signs for each frame.
        progress: called with (frames done, frames in all).

    Returns:
        Name -> diagonal, of the parameter's shape, for parameters that matter at all.
    """
    generator = torch.Generator().manual_seed(seed)
    live = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in live.items()}
    for index in range(len(old)):
        batch = collate([old[index]], model.dtype).to(model.device)
        names = _outputs(loss, bool(batch.pbc.all()))
        out = model(batch, outputs=names, create_graph=True, **_chosen(head))
        for draw in range(draws):
            signed = _signed(out, loss, len(batch.pos), generator)
            slopes = torch.autograd.grad(
                signed, list(live.values()), allow_unused=True, retain_graph=draw + 1 < draws
            )
            for name, slope in zip(live, slopes, strict=True):
                if slope is not None:
                    total[name] += slope.double().square()
        if progress is not None:
            progress(index + 1, len(old))
    scale = 1.0 / (draws * max(len(old), 1))
    return {name: (scale * v).to(live[name]) for name, v in total.items() if bool(v.any())}


def _outputs(loss: LossSection, periodic: bool) -> list[str]:
    names = [name for name in ("energy", "forces") if getattr(loss, name) is not None]
    return [*names, "stress"] if loss.stress is not None and periodic else names


def _signed(
    out: Mapping[str, Tensor], loss: LossSection, atoms: int, generator: torch.Generator
) -> Tensor:
    """sum_k s_k sqrt(2 w_k) y_k, with the weights that a frame's outputs have in the loss."""
    total = torch.zeros((), dtype=torch.float64, device=out[next(iter(out))].device)
    for name, value in out.items():
        weight: float = getattr(loss, name).weight / value.numel()
        if name == "energy" and loss.energy is not None and loss.energy.per == "atom":
            weight /= atoms**2
        signs = torch.randint(0, 2, value.shape, generator=generator).to(value) * 2 - 1
        total = total + (2.0 * weight) ** 0.5 * (signs * value).sum().double()
    return total


def _chosen(head: str | None) -> dict[str, str]:
    return {} if head is None else {"head": head}


def _read(path: Path, key: str, strength: float) -> Consolidation | None:
    with safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("key") != key:
            return None
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    fisher = {n.removeprefix(_FISHER): v for n, v in tensors.items() if n.startswith(_FISHER)}
    anchor = {n.removeprefix(_ANCHOR): v for n, v in tensors.items() if n.startswith(_ANCHOR)}
    return Consolidation(fisher, anchor, strength)
