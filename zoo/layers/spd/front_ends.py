"""From multichannel signals to SPD matrices.

`CovarianceFrontEnd` goes from (batch, channels, times) to covariance matrices in one module: delay
embedding (the augmented covariance of Carrara and Papadopoulo, arXiv:2302.04508), estimator,
shrinkage, normalisation of the trace. Its parts are layers of their own, for chains built by hand.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.functional.covariance import (
    Estimator,
    check_rank,
    covariance,
    delay_embed,
    shrink,
    trace_normalise,
)
from zoo.functional.precision import check_precision

#: named front ends: the covariance, and that of delayed copies
FrontEnd = Literal["covariance", "augmented"]
#: at which intensity a learnable shrinkage starts
START = 0.05


class Covariance(nn.Module):
    """Covariance matrices of signals.

    Args:
        estimator: "scm" (the sample's), "oas" or "ledoit_wolf" (shrunk by estimated intensities).
        centred: whether the mean over time is taken off.
        correction: 1 for the unbiased sample covariance.
        rank_deficient: whether to let singular sample covariances pass, since something behind
            this layer regularises them.

    Raises:
        ConfigError: for an unknown estimator.
    """

    def __init__(
        self,
        *,
        estimator: Estimator = "scm",
        centred: bool = True,
        correction: int = 0,
        rank_deficient: bool = False,
    ) -> None:
        super().__init__()
        if estimator not in get_args(Estimator):
            offer = nearest(str(estimator), get_args(Estimator))
            raise ConfigError(f"Covariance has no estimator {estimator!r}: {offer}")
        self.estimator, self.centred, self.correction = estimator, centred, correction
        self.rank_deficient = rank_deficient

    def forward(
        self, x: Float[Tensor, "*batch channels times"]
    ) -> Float[Tensor, "*batch channels channels"]:
        """Covariance matrices.

        Raises:
            DataError: where there are fewer samples in time than channels and nothing regularises.
            DeviceError: in half precision.
        """
        if self.estimator == "scm" and not self.rank_deficient:
            check_rank(x.shape[-2], x.shape[-1], centred=self.centred, where="Covariance")
        return covariance(
            x, estimator=self.estimator, centred=self.centred, correction=self.correction
        )

    def extra_repr(self) -> str:
        """Its options."""
        return f"estimator={self.estimator!r}, centred={self.centred}"


class DelayEmbedding(nn.Module):
    """Delayed copies of a signal stacked as channels; see `zoo.functional.covariance.delay_embed`.

    Args:
        order: number of copies, the signal itself included.
        lag: delay between two copies, in samples.

    Raises:
        ConfigError: for an order or lag below 1.
    """

    def __init__(self, order: int, lag: int = 1) -> None:
        super().__init__()
        if order < 1 or lag < 1:
            raise ConfigError(f"order={order}, lag={lag}: a delay embedding needs at least 1 each")
        self.order, self.lag = order, lag

    def forward(
        self, x: Float[Tensor, "*batch channels times"]
    ) -> Float[Tensor, "*batch rows columns"]:
        """(order channels, times - order lag) per signal; the signal itself for order 1.

        Raises:
            DataError: for signals that are too short.
        """
        return delay_embed(x, self.order, self.lag)

    def extra_repr(self) -> str:
        """Its options."""
        return f"order={self.order}, lag={self.lag}"


class Shrinkage(nn.Module):
    """(1 - g) C + g tr(C) / n Id.

    Args:
        intensity: g in (0, 1); where it is learned, where it starts.
        learn: whether g = sigmoid of a parameter.

    Raises:
        ConfigError: for an intensity out of range.
    """

    def __init__(self, intensity: float = START, *, learn: bool = False) -> None:
        super().__init__()
        if not 0 < intensity < 1:
            raise ConfigError(f"a shrinkage of {intensity} must lie between 0 and 1, both excluded")
        self.intensity = intensity
        start = torch.logit(torch.tensor(intensity, dtype=torch.float64)).float()
        self.raw: nn.Parameter | None
        self.register_parameter("raw", nn.Parameter(start) if learn else None)

    def forward(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Shrunk matrices: positive definite for every covariance that is not zero.

        Raises:
            DeviceError: in half precision.
        """
        check_precision("Shrinkage", x)
        intensity = self.intensity if self.raw is None else torch.sigmoid(self.raw)
        return shrink(x, intensity)

    def extra_repr(self) -> str:
        """Its options."""
        return f"intensity={self.intensity}, learn={self.raw is not None}"


class TraceNormalisation(nn.Module):
    """Matrices scaled to a trace.

    Args:
        trace: of the result; None for n, which leaves the identity where it is.
    """

    def __init__(self, trace: float | None = None) -> None:
        super().__init__()
        self.trace = trace

    def forward(self, x: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Scaled matrices.

        Raises:
            DataError: for a trace that is not positive.
        """
        return trace_normalise(x, float(x.shape[-1]) if self.trace is None else self.trace)

    def extra_repr(self) -> str:
        """Its options."""
        return f"trace={self.trace}"


class CovarianceFrontEnd(nn.Module):
    """Signals to SPD matrices: delays, covariance, shrinkage, trace.

    Args:
        order: copies of the delay embedding; 1 has none.
        lag: of the delays, in samples.
        estimator: of the covariance.
        shrinkage: intensity in (0, 1) of a shrinkage behind it; 0 has none.
        learn_shrinkage: whether the intensity is learned; starts at `shrinkage`, or at 0.05.
        normalise: whether the trace is scaled to the number of rows.

    Raises:
        ConfigError: for options out of range.
    """

    def __init__(
        self,
        *,
        order: int = 1,
        lag: int = 1,
        estimator: Estimator = "scm",
        shrinkage: float = 0.0,
        learn_shrinkage: bool = False,
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= shrinkage < 1:
            raise ConfigError(f"shrinkage={shrinkage} must be 0, which has none, or below 1")
        shrunk = shrinkage > 0 or learn_shrinkage
        self.delays = DelayEmbedding(order, lag)
        self.covariance = Covariance(estimator=estimator, rank_deficient=shrunk)
        steps: list[nn.Module] = []
        if shrunk:
            steps.append(Shrinkage(shrinkage or START, learn=learn_shrinkage))
        if normalise:
            steps.append(TraceNormalisation())
        self.steps = nn.Sequential(*steps)

    def channels(self, in_channels: int) -> int:
        """Rows of the matrices for signals of so many channels."""
        return self.delays.order * in_channels

    def forward(self, x: Float[Tensor, "batch channels times"]) -> Float[Tensor, "batch n n"]:
        """SPD matrices.

        Raises:
            DataError: for signals that are too short and not regularised.
            DeviceError: in half precision.
        """
        matrices: Tensor = self.steps(self.covariance(self.delays(x)))
        return matrices


def front_end(
    name: FrontEnd,
    *,
    order: int = 4,
    lag: int = 1,
    estimator: Estimator = "scm",
    shrinkage: float = 0.0,
    learn_shrinkage: bool = False,
    normalise: bool = False,
) -> CovarianceFrontEnd:
    """A front end by name, for models that offer them by an argument.

    Args:
        name: "covariance", or "augmented" for the covariance of delayed copies.
        order: copies of "augmented"; "covariance" has one.
        lag: of "augmented".
        estimator: see `CovarianceFrontEnd`, as the rest.
        shrinkage: see there.
        learn_shrinkage: see there.
        normalise: see there.

    Raises:
        ConfigError: for an unknown name or options out of range.
    """
    if name not in get_args(FrontEnd):
        raise ConfigError(f"no front end is called {name!r}: {nearest(name, get_args(FrontEnd))}")
    augmented = name == "augmented"
    return CovarianceFrontEnd(
        order=order if augmented else 1,
        lag=lag if augmented else 1,
        estimator=estimator,
        shrinkage=shrinkage,
        learn_shrinkage=learn_shrinkage,
        normalise=normalise,
    )
