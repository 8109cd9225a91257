"""Trained weights: manifests, cache, download, integrity, saving, loading and conversion.

model = load("tensornet-s.gfn2-md10.r1", check=True)
save(model, "out", name="tensornet-s.mine.r1", golden_inputs=structures)
bundle(["tensornet-s.gfn2-md10.r1"], "weights.zoo")

Each name is looked up when it is first used: what only moves files needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.hub._adapter import Adapted as Adapted
    from zoo.hub._attach import attach_trust as attach_trust
    from zoo.hub._attach import note_separation as note_separation
    from zoo.hub._bundle import bundle as bundle
    from zoo.hub._convert import convert as convert
    from zoo.hub._ensemble import combine as combine
    from zoo.hub._load import check_golden as check_golden
    from zoo.hub._load import find_device as find_device
    from zoo.hub._load import golden_tensors as golden_tensors
    from zoo.hub._load import load as load
    from zoo.hub._obtain import at_hand as at_hand
    from zoo.hub._obtain import find as find
    from zoo.hub._obtain import pull as pull
    from zoo.hub._publish import annotate as annotate
    from zoo.hub._publish import publish as publish
    from zoo.hub._release import release as release
    from zoo.hub._release import upload as upload
    from zoo.hub._save import save as save
    from zoo.hub.cache import root as cache_root
    from zoo.hub.datasets import get_dataset as get_dataset
    from zoo.hub.golden import GoldenResult as GoldenResult
    from zoo.hub.golden import compare as compare_golden
    from zoo.hub.golden import decode as golden_structures
    from zoo.hub.manifest import Manifest as Manifest
    from zoo.hub.manifest import derive_name as derive_name
    from zoo.hub.manifest import read as read_manifest
    from zoo.hub.upkeep import entries as cache_entries
    from zoo.hub.upkeep import prune as cache_prune
    from zoo.hub.upkeep import remove_dataset as cache_remove_dataset
    from zoo.hub.upkeep import verify as cache_verify

_HOME = {
    "Adapted": ("_adapter", "Adapted"),
    "GoldenResult": ("golden", "GoldenResult"),
    "Manifest": ("manifest", "Manifest"),
    "annotate": ("_publish", "annotate"),
    "at_hand": ("_obtain", "at_hand"),
    "attach_trust": ("_attach", "attach_trust"),
    "bundle": ("_bundle", "bundle"),
    "cache_entries": ("upkeep", "entries"),
    "cache_prune": ("upkeep", "prune"),
    "cache_remove_dataset": ("upkeep", "remove_dataset"),
    "cache_root": ("cache", "root"),
    "cache_verify": ("upkeep", "verify"),
    "check_golden": ("_load", "check_golden"),
    "combine": ("_ensemble", "combine"),
    "compare_golden": ("golden", "compare"),
    "convert": ("_convert", "convert"),
    "derive_name": ("manifest", "derive_name"),
    "find": ("_obtain", "find"),
    "find_device": ("_load", "find_device"),
    "golden_structures": ("golden", "decode"),
    "get_dataset": ("datasets", "get_dataset"),
    "golden_tensors": ("_load", "golden_tensors"),
    "load": ("_load", "load"),
    "note_separation": ("_attach", "note_separation"),
    "publish": ("_publish", "publish"),
    "pull": ("_obtain", "pull"),
    "read_manifest": ("manifest", "read"),
    "release": ("_release", "release"),
    "save": ("_save", "save"),
    "upload": ("_release", "upload"),
}

__all__ = [
    "Adapted",
    "GoldenResult",
    "Manifest",
    "annotate",
    "at_hand",
    "attach_trust",
    "bundle",
    "cache_entries",
    "cache_prune",
    "cache_remove_dataset",
    "cache_root",
    "cache_verify",
    "check_golden",
    "combine",
    "compare_golden",
    "convert",
    "derive_name",
    "find",
    "find_device",
    "get_dataset",
    "golden_structures",
    "golden_tensors",
    "load",
    "note_separation",
    "publish",
    "pull",
    "read_manifest",
    "release",
    "save",
    "upload",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo.hub' has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(importlib.import_module(f"zoo.hub.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
