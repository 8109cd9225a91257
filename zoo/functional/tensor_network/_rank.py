"""Ranks of tensor formats: what a user may say, and the numbers it means."""

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, get_args

from zoo.errors import ConfigError, nearest

Format = Literal["dense", "cp", "tucker", "tt", "tr", "block_tt", "block_tr"]
FORMATS: Final = get_args(Format)
#: one number for all bonds, one per bond, a fraction of the dense parameters, or as many as dense
Rank = int | float | Sequence[int] | Literal["same"] | None
#: of the dense parameters, where no rank is given
DEFAULT_FRACTION: Final = 0.1


def resolve_rank(
    format: Format,
    shape: Sequence[int],
    rank: Rank = None,
) -> tuple[int, ...]:
    """The rank of every bond.

    Args:
        format: "cp" (one number R), "tucker" (one per mode), "tt" (one between neighbouring cores),
            "tr" (one before each core, the ring closing with the first), "block_tt" and "block_tr"
            (the same, with cores that carry mode n and mode n + N of 2 N), or "dense" (none).
        shape: of the tensor.
        rank: an int for all bonds, where each bond takes at most what its modes can carry; a
            tuple with one number per bond; a float in (0, 1] for at most this fraction of the
            dense parameters; "same" for 1.0; None for 0.1 (and the only choice for "dense").

    Returns:
        One number per bond.

    Raises:
        ConfigError: for an unknown format, a shape that the format can't take, ranks that don't
            fit the shape, or a fraction that even rank 1 exceeds.
    """
    dims = check_shape(format, shape)
    if format == "dense":
        if rank not in (None, "same", 1.0):
            raise ConfigError(f"format='dense' has no rank, so rank={rank!r} says nothing; omit it")
        return ()
    if rank is None:
        rank = DEFAULT_FRACTION
    if isinstance(rank, str):
        if rank != "same":
            raise ConfigError(f"rank={rank!r}; the only word that is a rank is 'same'")
        rank = 1.0
    if isinstance(rank, bool):
        raise ConfigError(f"rank={rank!r}; expected a number >= 1, a tuple, or a fraction")
    if isinstance(rank, float):
        return _of_fraction(format, dims, rank)
    if isinstance(rank, int):
        if rank < 1:
            raise ConfigError(f"rank={rank}; expected a number >= 1")
        return tuple(min(rank, most) for most in limits(format, dims))
    return _checked(format, dims, tuple(rank))


def check_shape(format: Format, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, if the format can hold a tensor of it.

    Raises:
        ConfigError: for an unknown format, no modes, empty modes, or an odd number of modes where
            cores carry pairs.
    """
    if format not in FORMATS:
        raise ConfigError(f"format={format!r}: {nearest(str(format), FORMATS)}")
    dims = tuple(shape)
    if not dims or not all(isinstance(d, int) and d >= 1 for d in dims):
        raise ConfigError(f"shape={dims}; expected one or more sizes >= 1")
    if paired(format) and len(dims) % 2:
        raise ConfigError(
            f"format={format!r} pairs mode n with mode n + N of 2 N modes; the shape {dims} has "
            f"{len(dims)}. Add a mode of size 1"
        )
    return dims


def paired(format: Format) -> bool:
    """Whether each core carries two modes, as for matrices."""
    return format.startswith("block_")


def sites(format: Format, shape: Sequence[int]) -> tuple[int, ...]:
    """Sizes of the modes as the chain of cores sees them: products of the pairs."""
    half = len(shape) // 2
    if not paired(format):
        return tuple(shape)
    return tuple(a * b for a, b in zip(shape[:half], shape[half:], strict=True))


def limits(format: Format, shape: Sequence[int]) -> tuple[int, ...]:
    """The largest rank of each bond that can carry something.

    No tensor needs more: the size of a mode (Tucker), the smaller side of the cut (trains), the
    product of all modes but the largest (CP, and each bond of a ring, whose other bonds may be 1).
    """
    dims = sites(format, shape)
    total = math.prod(dims)
    if format == "tucker":
        return dims
    if format == "cp":
        return (total // max(dims),)
    if format in ("tt", "block_tt"):
        left = [math.prod(dims[:n]) for n in range(1, len(dims))]
        return tuple(min(size, total // size) for size in left)
    if format in ("tr", "block_tr"):
        return (total // max(dims) if len(dims) > 1 else 1,) * len(dims)
    return ()


def parameter_count(
    format: Format,
    shape: Sequence[int],
    rank: Sequence[int],
) -> int:
    """Numbers stored by the cores of given ranks (one per bond)."""
    dims = sites(format, shape)
    if format == "dense":
        return math.prod(dims)
    if format == "cp":
        return rank[0] * (1 + sum(dims))
    if format == "tucker":
        return math.prod(rank) + sum(d * r for d, r in zip(dims, rank, strict=True))
    left, right = chain_ends(format, rank)
    return sum(a * d * b for a, d, b in zip(left, dims, right, strict=True))


def chain_ends(
    format: Format,
    rank: Sequence[int],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Bonds to the left and to the right of each core of a train or ring."""
    ranks = tuple(rank)
    if format in ("tt", "block_tt"):
        return (1, *ranks), (*ranks, 1)
    return ranks, (*ranks[1:], ranks[0])


def _checked(format: Format, dims: tuple[int, ...], rank: tuple[int, ...]) -> tuple[int, ...]:
    most = limits(format, dims)
    if len(rank) != len(most):
        raise ConfigError(
            f"rank={rank} has {len(rank)} numbers; format={format!r} of a tensor of shape {dims} "
            f"has {len(most)} bonds"
        )
    for n, (value, limit) in enumerate(zip(rank, most, strict=True)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"rank={rank}: number {n} is {value!r}; expected whole numbers >= 1")
        # more terms of CP and wider rings than needed are a choice; elsewhere they carry nothing
        if value > limit and format in ("tucker", "tt", "block_tt"):
            raise ConfigError(
                f"rank={rank}: number {n} is {value}, but a tensor of shape {dims} needs at most "
                f"{limit} there; the largest rank is {most}"
            )
    return rank


def _of_fraction(format: Format, dims: tuple[int, ...], fraction: float) -> tuple[int, ...]:
    """The largest ranks, growing with what the bonds can carry, within the parameters."""
    if not 0 < fraction <= 1:
        raise ConfigError(f"rank={fraction}; a fraction of the dense parameters lies in (0, 1]")
    total = math.prod(dims)
    allowed = fraction * total
    least = parameter_count(format, dims, tuple(1 for _ in limits(format, dims)))
    if least > allowed:
        raise ConfigError(
            f"rank={fraction} allows {int(allowed)} of the {total} parameters of shape {dims}; "
            f"format={format!r} has {least} at rank 1: give rank=1 for that, or another shape or "
            "format"
        )
    most = limits(format, dims)
    top = max(most, default=1)
    if format == "tucker":  # in proportion to the modes

        def grown(step: int) -> tuple[int, ...]:
            return tuple(max(1, step * d // top) for d in dims)
    else:

        def grown(step: int) -> tuple[int, ...]:
            return tuple(min(step, limit) for limit in most)

    return _largest(grown, top, lambda ranks: parameter_count(format, dims, ranks) <= allowed)


def _largest(
    grown: Callable[[int], tuple[int, ...]], top: int, fits: Callable[[tuple[int, ...]], bool]
) -> tuple[int, ...]:
    """Bisection: the ranks of the largest step that fits."""
    low, high = 1, top
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(grown(middle)) else (low, middle - 1)
    return grown(low)
