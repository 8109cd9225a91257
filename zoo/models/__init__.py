"""Architectures, one file each; create them by name with `zoo.create`.

Those of your own derive from a base class: `AtomisticModel` on atoms, `SampleModel` elsewhere. Each
name is looked up when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.models._atomistic import AtomisticModel as AtomisticModel
    from zoo.models._sample import SampleModel as SampleModel

_HOME = {"AtomisticModel": "zoo.models._atomistic", "SampleModel": "zoo.models._sample"}

__all__ = ["AtomisticModel", "SampleModel"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'zoo.models' has no attribute {name!r}")
