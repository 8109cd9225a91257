"""Covariance matrices of multichannel signals: estimators, shrinkage, delay embedding.

Sources: O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance
matrices" (2004), Lemma 3.2 and section 3.3; Y. Chen et al., "Shrinkage algorithms for MMSE
covariance estimation" (2010, arXiv:0907.4698), equation (23); the augmented covariance of
I. Carrara, T. Papadopoulo (arXiv:2302.04508).

Deviation: the oracle-approximating shrinkage leaves out the terms 2 / channels of equation (23),
as scikit-learn does and with it every published pipeline of covariances.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError, DataError, nearest
from zoo.functional.precision import check_precision

#: how a covariance matrix is estimated: the sample's, or shrunk towards a multiple of identity
Estimator = Literal["scm", "ledoit_wolf", "oas"]


def covariance(
    x: Float[Tensor, "*batch channels times"],
    *,
    estimator: Estimator = "scm",
    centred: bool = True,
    correction: int = 0,
) -> Float[Tensor, "*batch channels channels"]:
    """The covariance matrix of each signal.

    Args:
        x: signals.
        estimator: "scm" is the sample's, sum_t (x_t - m)(x_t - m)^T / (times - correction);
            "ledoit_wolf" and "oas" shrink it by an intensity that they estimate.
        centred: whether the mean over time is taken off first.
        correction: 1 for the unbiased sample covariance; 0 for the shrunk ones.

    Returns:
        Symmetric matrices, positive definite where there are more independent samples than
        channels, or where shrinkage makes them so.

    Raises:
        ConfigError: for an unknown estimator, or a correction that leaves no sample.
        DeviceError: in half precision.
    """
    check_precision("covariance", x)
    if estimator not in get_args(Estimator):
        known = get_args(Estimator)
        raise ConfigError(f"unknown estimator {estimator!r}: {nearest(str(estimator), known)}")
    times = x.shape[-1]
    if times - correction < 1:
        raise ConfigError(
            f"correction={correction} leaves nothing of {times} samples in time; take 0"
        )
    if centred:
        x = x - x.mean(-1, keepdim=True)
    if estimator == "scm":
        return x @ x.mT / (times - correction)
    sample = x @ x.mT / times
    weigh = ledoit_wolf_intensity if estimator == "ledoit_wolf" else oas_intensity
    return shrink(sample, weigh(x, sample))


def shrink(
    matrix: Float[Tensor, "*batch n n"], intensity: Float[Tensor, "*some"] | float
) -> Float[Tensor, "*batch n n"]:
    """(1 - g) C + g tr(C) / n Id: the trace stays, the condition number falls.

    Args:
        matrix: C.
        intensity: g in [0, 1], a number or one for each matrix.
    """
    n = matrix.shape[-1]
    level = matrix.diagonal(dim1=-2, dim2=-1).mean(-1)
    g = torch.as_tensor(intensity, dtype=matrix.dtype, device=matrix.device)[..., None, None]
    eye = torch.eye(n, dtype=matrix.dtype, device=matrix.device)
    return (1 - g) * matrix + g * level[..., None, None] * eye


def ledoit_wolf_intensity(
    x: Float[Tensor, "*batch channels times"], sample: Float[Tensor, "*batch channels channels"]
) -> Float[Tensor, "*batch"]:
    """Ledoit and Wolf's shrinkage intensity, between 0 and 1.

    b^2 / d^2 with d^2 = |S - m Id|^2, b^2 = sum_t |x_t x_t^T - S|^2 / times^2, b^2 <= d^2, and
    m = tr S / channels.

    Args:
        x: centred signals.
        sample: S, their covariance with correction 0.
    """
    times = x.shape[-1]
    spread = _spread(sample)
    fourth = x.square().sum(-2).square().mean(-1)  # mean of |x_t|^4
    noise = (fourth - sample.square().sum((-2, -1))) / times
    return _ratio(noise.clamp(min=0), spread)


def oas_intensity(
    x: Float[Tensor, "*batch channels times"], sample: Float[Tensor, "*batch channels channels"]
) -> Float[Tensor, "*batch"]:
    """The oracle-approximating shrinkage intensity, between 0 and 1.

    (tr S^2 + tr^2 S) / ((times + 1)(tr S^2 - tr^2 S / channels)).

    Args:
        x: centred signals, of which only the number of samples counts.
        sample: S, their covariance with correction 0.
    """
    times = x.shape[-1]
    trace = sample.diagonal(dim1=-2, dim2=-1).sum(-1)
    square = sample.square().sum((-2, -1))
    return _ratio(square + trace.square(), (times + 1) * _spread(sample))


def _spread(sample: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """|S - (tr S / n) Id|^2."""
    n = sample.shape[-1]
    level = sample.diagonal(dim1=-2, dim2=-1).mean(-1)
    eye = torch.eye(n, dtype=sample.dtype, device=sample.device)
    return (sample - level[..., None, None] * eye).square().sum((-2, -1))


def _ratio(
    noise: Float[Tensor, "*batch"], spread: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """min(noise / spread, 1); 1 where the spread vanishes, since shrinking changes nothing."""
    whole = noise >= spread
    return torch.where(whole, 1.0, noise / torch.where(whole, 1.0, spread))


def trace_normalise(
    matrix: Float[Tensor, "*batch n n"], trace: float = 1.0
) -> Float[Tensor, "*batch n n"]:
    """Each matrix scaled to this trace, which takes the overall power of a signal out.

    Args:
        matrix: positive definite.
        trace: of the result; n keeps the identity where it is.

    Raises:
        DataError: for a matrix whose trace is not positive, as of a signal that never changes.
    """
    found = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
    if not bool((found > 0).all()):
        raise DataError(
            f"a matrix has the trace {float(found.min()):g}, so it can't be normalised: its signal "
            "is flat or its entries are wrong; leave such samples out"
        )
    return matrix * (trace / found)[..., None, None]


def delay_embed(
    x: Float[Tensor, "*batch channels times"], order: int, lag: int
) -> Float[Tensor, "*batch rows columns"]:
    """Delayed copies of a signal stacked as channels: (order channels, times - order lag).

    Copy i of 0..order-1 is x[:, i lag : times - (order - i) lag]; order 1 is the signal itself.
    The covariance of the result is the augmented covariance.

    Args:
        x: signals.
        order: number of copies p.
        lag: delay between two copies, in samples.

    Raises:
        ConfigError: for an order or lag below 1.
        DataError: for a signal too short for them.
    """
    if order < 1 or lag < 1:
        raise ConfigError(f"order={order}, lag={lag}: a delay embedding needs both of at least 1")
    if order == 1:
        return x
    times = x.shape[-1]
    length = times - order * lag
    if length < 1:
        raise DataError(
            f"{times} samples in time are too few for order={order} copies with lag={lag}, which "
            f"use up {order * lag}; take longer signals, or a smaller order or lag"
        )
    return torch.cat([x[..., i * lag : i * lag + length] for i in range(order)], dim=-2)


def check_rank(channels: int, times: int, *, centred: bool, where: str) -> None:
    """Refuses covariances that can't be positive definite for want of samples.

    Args:
        channels: of the signals, delayed copies included.
        times: samples in time.
        centred: whether the mean is taken off, which costs one.
        where: names the layer in the message.

    Raises:
        DataError: names both numbers and the remedies.
    """
    rank = times - 1 if centred else times
    if rank < channels:
        raise DataError(
            f"{where}: {times} samples in time of {channels} channels give covariances of rank "
            f"{max(rank, 0)} at most, which are not positive definite; take longer signals or "
            "fewer channels, or regularise: estimator='oas' or 'ledoit_wolf', or shrinkage > 0"
        )
