r"""Which Tucker rank to take for so many parameters.

Ghadiri, Fahrbach, Fu, Mirrokni, *Approximately optimal core shapes for tensor decompositions*, ICML
2023 (arXiv:2302.03886): among ranks with prod r_n + sum r_n I_n <= c take the one that keeps most
of the squared singular values of the unfoldings, sum over n of sum over i <= r_n of sigma_i^2. Up
to four modes all ranks are tried; beyond, the mode with most kept per parameter grows by one.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.tensor_network._cores import check_values
from zoo.functional.tensor_network._decompose import unfold
from zoo.functional.tensor_network._rank import parameter_count

_EXACT_MODES = 4


def select_tucker_rank(tensor: Tensor, max_parameters: int | None = None) -> tuple[int, ...]:
    """The Tucker rank that keeps most of a tensor within a number of parameters.

    Args:
        tensor: two or more modes.
        max_parameters: of core and factors together.

    Returns:
        One rank per mode.

    Raises:
        ConfigError: without a number of parameters, or for one that rank 1 exceeds.
        DataError: for a tensor that is not finite.
        DeviceError: in half or integer precision.
    """
    allowed = require_budget("select_tucker_rank", "max_parameters", max_parameters)
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ConfigError(f"select_tucker_rank: shape={shape}; expected two modes or more")
    least = parameter_count("tucker", shape, (1,) * len(shape))
    if allowed < least:
        raise ConfigError(
            f"select_tucker_rank: max_parameters={allowed}; rank 1 of shape {shape} has {least}"
        )
    check_values("select_tucker_rank", tensor)
    kept = [
        torch.linalg.svdvals(unfold(tensor.detach(), n)).double().square().cumsum(0)
        for n in range(len(shape))
    ]
    search = _all if len(shape) <= _EXACT_MODES else _greedy
    return search(shape, kept, allowed)


def require_budget(where: str, name: str, value: int | None) -> int:
    """The budget of a search, which has to be given.

    Raises:
        ConfigError: without one, or for one below 1.
    """
    if value is None or isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{where}: {name}={value!r}; a search needs a budget: give a whole number >= 1"
        )
    return value


def _all(shape: tuple[int, ...], kept: Sequence[Tensor], allowed: int) -> tuple[int, ...]:
    """Every rank of all modes but the largest, with as much as fits of that one."""
    last = max(range(len(shape)), key=lambda n: shape[n])
    others = [n for n in range(len(shape)) if n != last]
    grids = torch.meshgrid(*(torch.arange(1, shape[n] + 1) for n in others), indexing="ij")
    ranks = torch.stack([grid.flatten() for grid in grids])  # (modes - 1, choices)
    sizes = torch.tensor([shape[n] for n in others])
    volume = ranks.prod(0)
    room = allowed - (ranks * sizes[:, None]).sum(0)
    fits = room // (volume + shape[last])
    # a mode beyond the product of the others carries nothing
    limit = torch.minimum(volume.clamp_max(shape[last]), fits)
    value = _of_rank(kept[last], limit)
    for n, r in zip(others, ranks, strict=True):
        value = value + _of_rank(kept[n], r)
    value = torch.where(limit >= 1, value, -math.inf)
    # of equal choices the smallest
    cost = volume * limit + (ranks * sizes[:, None]).sum(0) + limit * shape[last]
    best = value >= value.max() * (1 - 1e-12)
    index = int(torch.where(best, cost, cost.max() + 1).argmin())
    found = dict(zip(others, ranks[:, index].tolist(), strict=True))
    found[last] = int(limit[index])
    return tuple(found[n] for n in range(len(shape)))


def _of_rank(kept: Tensor, rank: Tensor) -> Tensor:
    """What so many singular values hold; all of them from their number on."""
    return kept.cpu()[(rank - 1).clamp(0, len(kept) - 1)]


def _greedy(shape: tuple[int, ...], kept: Sequence[Tensor], allowed: int) -> tuple[int, ...]:
    """One mode grows by one at a time, as long as one fits and keeps more."""
    rank = [1] * len(shape)
    while True:
        before, options = parameter_count("tucker", shape, rank), []
        for n, r in enumerate(rank):
            more = [*rank[:n], r + 1, *rank[n + 1 :]]
            cost = parameter_count("tucker", shape, more)
            if r < len(kept[n]) and cost <= allowed:
                gain = float(kept[n][r] - kept[n][r - 1])
                options.append((gain / (cost - before), n))
        if not options or max(options)[0] <= 0:
            return tuple(rank)
        rank[max(options)[1]] += 1
