"""Layers on symmetric positive definite matrices."""

from zoo.layers.spd.batch_norm import NormOptions, RiemannianBatchNorm, SPDBatchNorm
from zoo.layers.spd.bimap import BiMap, StiefelParametrization
from zoo.layers.spd.domain_bn import DomainBatchNorm, MomentumSchedule
from zoo.layers.spd.front_ends import (
    Covariance,
    CovarianceFrontEnd,
    DelayEmbedding,
    FrontEnd,
    Shrinkage,
    TraceNormalisation,
    front_end,
)
from zoo.layers.spd.gbw_bn import GBWBatchNorm
from zoo.layers.spd.gyro import GyroMLR, GyroScaling, GyroTranslation
from zoo.layers.spd.gyro_bn import GyroBatchNorm, GyroMetric
from zoo.layers.spd.lie_bn import LieBatchNorm, LieMetric
from zoo.layers.spd.norms import SPDNorm, make_spd_norm, refit, spd_norms
from zoo.layers.spd.parameter import Parametrization, SPDParameter
from zoo.layers.spd.spectral import ExpEig, LogEig, ReEig, SymmetricVector

__all__ = [
    "BiMap",
    "Covariance",
    "CovarianceFrontEnd",
    "DelayEmbedding",
    "DomainBatchNorm",
    "ExpEig",
    "FrontEnd",
    "GBWBatchNorm",
    "GyroBatchNorm",
    "GyroMLR",
    "GyroMetric",
    "GyroScaling",
    "GyroTranslation",
    "LieBatchNorm",
    "LieMetric",
    "LogEig",
    "MomentumSchedule",
    "NormOptions",
    "Parametrization",
    "ReEig",
    "RiemannianBatchNorm",
    "SPDBatchNorm",
    "SPDNorm",
    "SPDParameter",
    "Shrinkage",
    "StiefelParametrization",
    "SymmetricVector",
    "TraceNormalisation",
    "front_end",
    "make_spd_norm",
    "refit",
    "spd_norms",
]
