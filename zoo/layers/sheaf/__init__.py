"""Sheaf learners and diffusion on sheaves."""

from zoo.layers.sheaf._diffusion import ShareableSheaf, SheafDiffusion, diffuse
from zoo.layers.sheaf._learner import EdgeWeights, Learner, SheafKind, SheafLearner

__all__ = [
    "EdgeWeights",
    "Learner",
    "ShareableSheaf",
    "SheafDiffusion",
    "SheafKind",
    "SheafLearner",
    "diffuse",
]
