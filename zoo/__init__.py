"""Geometric deep learning architectures with pretrained weights, recipes and measured symmetry.

    model = zoo.load("tensornet-s.gfn2-md10.r1")
    out = model(atoms)

Importing this package imports no torch: each name below is looked up when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import datasets as datasets
    from zoo.apps.compress import compress as compress
    from zoo.apps.evaluate import evaluate as evaluate
    from zoo.apps.reproduce import reproduce as reproduce
    from zoo.apps.scale.relax import relax as relax
    from zoo.apps.verify import verify as verify
    from zoo.datasets.atoms import to_batch as to_batch
    from zoo.errors import ZooError as ZooError
    from zoo.hub import convert as convert
    from zoo.hub import load as load
    from zoo.hub import save as save
    from zoo.registry import card as card
    from zoo.registry import create as create
    from zoo.registry import info as info
    from zoo.registry import list_models as list_models
    from zoo.registry import register as register
    from zoo.training.finetune import finetune as finetune
    from zoo.training.runner import train as train

__version__ = "0.1.0"

_HOME = {
    "ZooError": "zoo.errors",
    "card": "zoo.registry",
    "compress": "zoo.apps.compress",
    "convert": "zoo.hub",
    "create": "zoo.registry",
    "evaluate": "zoo.apps.evaluate",
    "finetune": "zoo.training.finetune",
    "info": "zoo.registry",
    "list_models": "zoo.registry",
    "load": "zoo.hub",
    "register": "zoo.registry",
    "relax": "zoo.apps.scale.relax",
    "reproduce": "zoo.apps.reproduce",
    "save": "zoo.hub",
    "to_batch": "zoo.datasets.atoms",
    "train": "zoo.training.runner",
    "verify": "zoo.apps.verify",
}
_MODULES = ("apps", "datasets", "functional", "hub", "layers", "models", "testing", "training")

__all__ = [
    "ZooError",
    "__version__",
    "card",
    "compress",
    "convert",
    "create",
    "datasets",
    "evaluate",
    "finetune",
    "info",
    "list_models",
    "load",
    "register",
    "relax",
    "reproduce",
    "save",
    "to_batch",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_MODULES})
