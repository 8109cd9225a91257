"""After saving: adding measurements to a manifest, and shipping weights with the package."""

from pathlib import Path
from typing import Any

from zoo import _card, _catalog
from zoo._files import write_atomic
from zoo.errors import ConfigError, OutputError
from zoo.hub import cache
from zoo.hub._obtain import find
from zoo.hub._release import require_certified
from zoo.hub._save import OURS, plain
from zoo.hub.manifest import Manifest, build, read

SHIP_LIMIT = 5_000_000
SHIP_TOTAL = 40_000_000


def annotate(ref: str | Path, **fields: Any) -> Path:
    """Replaces fields of a saved model's manifest, and writes its card anew.

    Args:
        ref: as for `load`.
        **fields: what does not touch the weights: `certificate` (from `zoo.verify(...).to_dict()`),
            `metrics`, `limits`, `license`, `citation`, `training`, `outputs`, `urls`.

    Returns:
        The manifest's path.

    Raises:
        ConfigError: for a field that follows from the weights.
        ManifestError: for a field that does not follow the schema.
        OutputError: if the folder can't be written, or is the cache.
    """
    path = find(ref)
    if cache.holds(path):
        raise OutputError(f"{ref} is in the cache, where nothing changes; save it in a folder")
    for key in fields:
        if key in (*OURS, "name", "inputs", "authors", "ensemble"):
            raise ConfigError(f"{key!r} belongs to the weights; save them again to change it")
    given = {key: plain(value) for key, value in fields.items()}
    manifest = build(read(path).to_dict() | given, where=str(path))
    write_atomic(path, manifest.to_yaml())
    if path.name == _catalog.MANIFEST:
        card = _card.checkpoint(manifest.to_dict(), place=path.parent.as_posix())
        write_atomic(path.with_name(_catalog.CARD), card)
    return path


def publish(folder: str | Path, *, into: str | Path) -> Path:
    """Copies a saved model into a folder of shipped checkpoints, under its own name.

    Args:
        folder: written by `save`.
        into: such as `checkpoints/`.

    Returns:
        The manifest there, `<name>.yaml`; its files lie beside it.

    Raises:
        CertificateError: if it has no certificate, or one that did not pass.
        OutputError: if other weights of this name are there already, since names are immutable,
            or the files are larger than the package ships (5 MB each, 40 MB in all).
    """
    folder, into = Path(folder), Path(into)
    manifest = read(folder / _catalog.MANIFEST)
    require_certified([manifest])
    target = into / f"{manifest.name}.yaml"
    if target.exists() and read(target).weights.sha256 != manifest.weights.sha256:
        raise OutputError(
            f"{target} exists with other weights; names are immutable: save these under the next "
            "revision (.r<k>)"
        )
    _require_small(manifest, into)
    ending = {
        "weights": ".safetensors",
        "golden": ".golden.safetensors",
        "trust": ".trust.safetensors",
    }
    values = manifest.to_dict()
    for item in values["files"]:
        source = folder / item["path"]
        item["path"] = manifest.name + ending[item["role"]]
        write_atomic(into / item["path"], source.read_bytes())
        if item["role"] in ("golden", "trust"):
            values[item["role"]]["file"] = item["path"]
    write_atomic(target, build(values, where=str(target)).to_yaml())
    return target


def _require_small(manifest: Manifest, into: Path) -> None:
    present = {path.name: path.stat().st_size for path in into.glob("*.safetensors")}
    total = sum(size for name, size in present.items() if not name.startswith(manifest.name + "."))
    total += sum(item.bytes for item in manifest.files)
    if manifest.weights.bytes > SHIP_LIMIT or total > SHIP_TOTAL:
        raise OutputError(
            f"{manifest.name}: {manifest.weights.bytes} bytes of weights, {total} in all; the "
            f"package ships {SHIP_LIMIT} bytes each and {SHIP_TOTAL} in all. Publish by URL instead"
        )
