"""Layers on subspaces: orthonormal bases, projectors, classes that are subspaces, planes."""

from zoo.layers.grassmann.batch_norm import GyroBatchNorm
from zoo.layers.grassmann.gyro import GyroMLR, GyroTranslation, ProjectorMLR
from zoo.layers.grassmann.heads import SubspaceHead
from zoo.layers.grassmann.manifold import Grassmann, GrassmannExact
from zoo.layers.grassmann.maps import FRMap, OrthMap, ProjectorLinear, ProjMap, ProjPool, ReOrth
from zoo.layers.grassmann.mixing import OFFSETS, PluckerMixing, pluecker
from zoo.layers.grassmann.parameter import Parametrization, SubspaceParameter

__all__ = [
    "FRMap",
    "Grassmann",
    "GrassmannExact",
    "GyroBatchNorm",
    "GyroMLR",
    "GyroTranslation",
    "OFFSETS",
    "OrthMap",
    "Parametrization",
    "PluckerMixing",
    "ProjMap",
    "ProjPool",
    "ProjectorLinear",
    "ProjectorMLR",
    "ReOrth",
    "SubspaceHead",
    "SubspaceParameter",
    "pluecker",
]
