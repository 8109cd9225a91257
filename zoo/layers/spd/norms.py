"""Batch norms of SPD matrices by name, for models that offer them by an argument."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, get_args

from torch import Tensor, nn

from zoo.errors import ConfigError, nearest
from zoo.layers.spd.batch_norm import RiemannianBatchNorm, SPDBatchNorm
from zoo.layers.spd.domain_bn import DomainBatchNorm
from zoo.layers.spd.gbw_bn import GBWBatchNorm
from zoo.layers.spd.gyro_bn import GyroBatchNorm
from zoo.layers.spd.lie_bn import LieBatchNorm

#: "brooks" mean only, "riemannian" mean and dispersion, "domain" TSMNet's, LieBN, GyroBN, GBWBN
SPDNorm = Literal[
    "brooks",
    "riemannian",
    "domain",
    "lie_aim",
    "lie_lem",
    "lie_lcm",
    "lie_crim",
    "gyro_aim",
    "gyro_lem",
    "gyro_lcm",
    "gbw",
]

_MAKERS: dict[str, Callable[..., SPDBatchNorm]] = {
    "brooks": RiemannianBatchNorm,
    "riemannian": partial(RiemannianBatchNorm, dispersion=True),
    "domain": DomainBatchNorm,
    "lie_aim": partial(LieBatchNorm, metric="AIM"),
    "lie_lem": partial(LieBatchNorm, metric="LEM"),
    "lie_lcm": partial(LieBatchNorm, metric="LCM"),
    "lie_crim": partial(LieBatchNorm, metric="CRIM"),
    "gyro_aim": partial(GyroBatchNorm, metric="AIM"),
    "gyro_lem": partial(GyroBatchNorm, metric="LEM"),
    "gyro_lcm": partial(GyroBatchNorm, metric="LCM"),
    "gbw": GBWBatchNorm,
}


def make_spd_norm(
    name: SPDNorm, size: int, *, num_domains: int | None = None, **options: Any
) -> SPDBatchNorm:
    """A batch norm by name.

    Args:
        name: which one.
        size: n of the matrices.
        num_domains: statistics for so many domains; None for one set of all.
        **options: of its class, such as `theta` and `steps`.

    Raises:
        ConfigError: for an unknown name, or options that the norm does not have.
    """
    if name not in get_args(SPDNorm):
        offer = nearest(str(name), get_args(SPDNorm))
        raise ConfigError(f"no batch norm of SPD matrices is called {name!r}: {offer}")
    if name == "domain":
        num_domains = num_domains or 1
    try:
        return _MAKERS[name](size, num_domains=num_domains, **options)
    except TypeError as error:
        raise ConfigError(f"the batch norm {name!r} has other options: {error}") from error


def spd_norms(module: nn.Module) -> list[SPDBatchNorm]:
    """The batch norms of SPD matrices inside a module, in order."""
    return [part for part in module.modules() if isinstance(part, SPDBatchNorm)]


def refit(module: nn.Module, call: Callable[[], Tensor | dict[str, Tensor]]) -> None:
    """Runs a call during which every norm takes its input's statistics as the running ones.

    Args:
        module: holds the norms.
        call: evaluates the module, on unlabelled samples of the target.
    """
    norms = spd_norms(module)
    for norm in norms:
        norm.refitting = True
    try:
        call()
    finally:
        for norm in norms:
            norm.refitting = False
