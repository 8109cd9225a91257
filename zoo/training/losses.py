"""Losses on energy, forces and stress, as sums over the whole batch of all processes.

Each term is weight * sum(f(error)) / count, where the count (structures, or components of forces
and stress) is taken over all processes. DDP averages gradients over processes, so each process
divides by its share, count / world size, and the mean of the gradients is the gradient of the
global mean, however unevenly the atoms are spread.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.training.recipe import Term

Reduce = Callable[[Tensor], Tensor]


def penalty(error: Float[Tensor, "*shape"], term: Term) -> Float[Tensor, "*shape"]:
    """Applies the term's function: e^2, |e|, or Huber's (e^2/2 inside `delta`, linear outside)."""
    if term.kind == "mse":
        return error.square()
    if term.kind == "mae":
        return error.abs()
    inside = error.abs() <= term.delta
    return torch.where(inside, 0.5 * error.square(), term.delta * (error.abs() - 0.5 * term.delta))


def energy_error(
    predicted: Float[Tensor, " graphs"],
    target: Float[Tensor, " graphs"],
    atoms: Int[Tensor, " graphs"],
    *,
    per_atom: bool,
) -> Float[Tensor, " graphs"]:
    """Energy error in eV, or eV per atom; subtracted in the energies' own (double) precision."""
    error = predicted - target.to(predicted.dtype)
    return error / atoms.to(error.dtype) if per_atom else error


def global_mean(values: Float[Tensor, "*shape"], total: Reduce | None, world: int) -> Tensor:
    """Sum over this process, divided by its share of the global count.

    Args:
        values: penalties of this process.
        total: sums a tensor over all processes; None for one process.
        world: number of processes.

    Returns:
        A scalar whose mean over the processes is the global mean; zero for an empty batch.
    """
    count = values.new_tensor(float(values.numel()))
    if total is not None:
        count = total(count) / world
    return values.sum() / count.clamp(min=1.0)
