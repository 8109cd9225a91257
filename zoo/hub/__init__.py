"""Trained weights: manifests, cache, download, integrity, saving, loading and conversion.

model = load("tensornet-s.gfn2-md10.r1", check=True)
save(model, "out", name="tensornet-s.mine.r1", golden_inputs=structures)
"""

from zoo.hub._convert import convert as convert
from zoo.hub._load import check_golden as check_golden
from zoo.hub._load import find as find
from zoo.hub._load import golden_tensors as golden_tensors
from zoo.hub._load import load as load
from zoo.hub._load import pull as pull
from zoo.hub._publish import annotate as annotate
from zoo.hub._publish import publish as publish
from zoo.hub._save import save as save
from zoo.hub.cache import root as cache_root
from zoo.hub.golden import GoldenResult as GoldenResult
from zoo.hub.golden import compare as compare_golden
from zoo.hub.golden import decode as golden_structures
from zoo.hub.manifest import Manifest as Manifest
from zoo.hub.manifest import derive_name as derive_name
from zoo.hub.manifest import read as read_manifest

__all__ = [
    "GoldenResult",
    "Manifest",
    "annotate",
    "cache_root",
    "check_golden",
    "compare_golden",
    "convert",
    "derive_name",
    "find",
    "golden_structures",
    "golden_tensors",
    "load",
    "publish",
    "pull",
    "read_manifest",
    "save",
]
