"""Power deformations: the pull-back of a metric along X -> X^theta, divided by theta^2.

At the identity the deformed metric equals the original one, whatever theta is (Thanwerdas and
Pennec, GSI 2019; Chen et al., LieBN, ICLR 2024).
"""

from jaxtyping import Float
from torch import Tensor

from zoo.errors import ConfigError
from zoo.functional.spd import matrix
from zoo.functional.spd._checks import refuse_rectangular

Number = float | Float[Tensor, ""]


def magnitude(theta: Number) -> Number:
    """|theta|."""
    return theta.abs() if isinstance(theta, Tensor) else abs(theta)


def deform(x: Tensor, theta: Number) -> Tensor:
    """X^theta.

    Raises:
        ConfigError: theta is zero.
        ManifoldError: matrices that are not square.
    """
    refuse_rectangular(x, "the metric")
    if not isinstance(theta, Tensor) and theta == 0.0:
        raise ConfigError("theta = 0: the limit is the log-Euclidean metric, use that one")
    return matrix.power(x, theta)


def deform_vector(x: Tensor, v: Tensor, theta: Number) -> Tensor:
    """The tangent vector at X^theta that belongs to V at X."""
    return matrix.differential_power(x, v, theta)


def restore(y: Tensor, theta: Number) -> Tensor:
    """Y^(1/theta)."""
    return matrix.power(y, 1.0 / theta)


def restore_vector(y: Tensor, v: Tensor, theta: Number) -> Tensor:
    """The tangent vector at Y^(1/theta) that belongs to V at Y."""
    return matrix.differential_power(y, v, 1.0 / theta)
