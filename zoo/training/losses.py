"""Losses on energy, forces, stress and properties: weighted means over the batch of all processes.

Each term is the sum of weight * f(error) over the sum of weights, where f(error) is taken per
structure (energy, scalar properties), per atom (charges) or per component (the others), and both
sums run over all processes. With several energy heads the means are taken per head and added. DDP
and FSDP average gradients over processes, so each process divides by its share, (sum of weights) /
(number of processes): the mean of the gradients is then the gradient of the global mean, however
unevenly the atoms are spread.
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Batch

from zoo.training.recipe import EnergyTerm, LossSection, Term

#: quantities with a row for each atom
PER_ATOM = ("forces", "charges")
Reduce = Callable[[Tensor], Tensor]
#: per head: the sum of weight * f(error), and the sum of weights
Sums = tuple[Float[Tensor, " heads"], Float[Tensor, " heads"]]


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


def weighted_sums(
    values: Float[Tensor, "rows *shape"],
    weight: Float[Tensor, " rows"] | None = None,
    head: Int[Tensor, " rows"] | None = None,
    heads: int = 1,
) -> Sums:
    """Sums values and weights of this process, per head.

    Args:
        values: one row per structure or atom; each number of a row has the row's weight.
        weight: of each row; 1 if None.
        head: of each row; the first if None.
        heads: number of heads.
    """
    if weight is None and head is None and heads == 1:
        return values.sum().reshape(1), values.new_full((1,), float(values.numel()))
    rows = values.flatten(1).sum(1) if values.ndim > 1 else values
    width = values.new_tensor(float(values[0].numel())) if len(values) else values.new_tensor(1.0)
    scale = values.new_ones(len(rows)) if weight is None else weight.to(values.dtype)
    place = torch.zeros(len(rows), dtype=torch.long, device=rows.device) if head is None else head
    empty = values.new_zeros(heads)
    return empty.index_add(0, place, scale * rows), empty.index_add(0, place, scale * width)


def batch_sums(
    out: Mapping[str, Tensor], batch: Batch, loss: LossSection, heads: int = 1
) -> dict[str, Sums]:
    """The sums of every term of the loss over one batch of this process.

    Args:
        out: the model's outputs, eV and Å.
        batch: with labels, and perhaps `weight` and `head`.
        loss: the terms.
        heads: number of energy heads.
    """
    weight, head = batch.get("weight"), batch.get("head")
    result: dict[str, Sums] = {}
    for name in targets(loss):
        term = term_of(loss, name)
        if isinstance(term, EnergyTerm):
            atoms = batch.ptr[1:] - batch.ptr[:-1]
            per_atom = term.per == "atom"
            error = energy_error(out[name], batch[name], atoms, per_atom=per_atom)
        else:
            error = out[name] - batch[name]
        rows = batch.batch if name in PER_ATOM else slice(None)
        result[name] = weighted_sums(
            penalty(error, term),
            None if weight is None else weight[rows],
            None if head is None else head[rows],
            heads,
        )
    return result


def global_weights(sums: Mapping[str, Sums], total: Reduce | None) -> dict[str, Sums]:
    """The same sums over all processes, without gradients; one exchange for all, in float64."""
    if total is None:
        return {name: (above.detach(), below) for name, (above, below) in sums.items()}
    flat = total(torch.cat([part.detach().double() for pair in sums.values() for part in pair]))
    parts = iter(flat.chunk(2 * len(sums)))
    return {name: (next(parts), next(parts)) for name in sums}


def ratio(
    above: Float[Tensor, "*heads"], below: Float[Tensor, "*heads"]
) -> Float[Tensor, "*heads"]:
    """above / below, and zero where nothing was counted."""
    counted = below > 0
    return torch.where(counted, above / torch.where(counted, below, 1.0), 0.0)


def term_losses(
    sums: Mapping[str, Sums], whole: Mapping[str, Sums], weights: Mapping[str, float], world: int
) -> Float[Tensor, " heads"]:
    """The loss of each head on this process, all terms together.

    Args:
        sums: of this process, differentiable.
        whole: of all processes.
        weights: of the terms, by name.
        world: number of processes.

    Returns:
        In float64; its mean over the processes is the global loss of each head.
    """
    terms = []
    for name, (above, _) in sums.items():
        below = whole[name][1].double()
        scale = ratio(torch.full_like(below, weights[name] * world), below)
        terms.append(above.double() * scale)
    return torch.stack(terms).sum(0)


def targets(loss: LossSection) -> list[str]:
    """Names of the trained quantities."""
    own = [name for name in ("energy", "forces", "stress") if getattr(loss, name) is not None]
    return [*own, *loss.properties]


def term_of(loss: LossSection, name: str) -> Term:
    """The term of one of the `targets`."""
    term: Term = loss.properties[name] if name in loss.properties else getattr(loss, name)
    return term
