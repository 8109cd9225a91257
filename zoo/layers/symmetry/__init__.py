"""Symmetry for models that have none, or not enough: averages over frames, and how groups act."""

from zoo.layers.symmetry._actions import Action, Laws, read_group, read_law
from zoo.layers.symmetry._averaging import FrameAveraging, FrameKind

__all__ = ["Action", "FrameAveraging", "FrameKind", "Laws", "read_group", "read_law"]
