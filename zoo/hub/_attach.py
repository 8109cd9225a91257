"""Adding the training domain to weights that are saved already; the weights stay as they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import _card, _catalog
from zoo._files import write_atomic
from zoo.errors import CapabilityError, OutputError
from zoo.hub import cache
from zoo.hub._obtain import find
from zoo.hub._save import _sha256
from zoo.hub._trust import dump_trust, trust_entry
from zoo.hub.manifest import Manifest, build, read
from zoo.models._trust import Trust


def attach_trust(
    ref: str | Path, trust: Trust, *, data: str | None = None, overwrite: bool = False
) -> Path:
    """Puts a training domain beside saved weights, and into their manifest and card.

    The file is written under a name that nothing points to yet, then the manifest in one step.

    Args:
        ref: as for `load`; a folder written by `save`, or a checkpoint in `checkpoints/`.
        trust: from `zoo.apps.trust.fit`, of the same weights.
        data: name of the data set, for the card.
        overwrite: replace the one that is there.

    Returns:
        The manifest's path.

    Raises:
        OutputError: if there is one already, or the place can't be written.
        CapabilityError: for the authors' own weights.
    """
    path, manifest = _writable(ref)
    if manifest.source == "authors":
        raise CapabilityError(
            f"{manifest.name}: the weights are the authors' file; save them to a folder first"
        )
    before = manifest.trust_file
    if before is not None and not overwrite:
        raise OutputError(
            f"{manifest.name} has trust data already; say overwrite (--overwrite) to replace them"
        )
    blob = dump_trust(trust, weights_sha256=manifest.weights.sha256, name=manifest.name)
    digest = _sha256(blob)
    stem = "trust" if path.name == _catalog.MANIFEST else f"{manifest.name}.trust"
    file = f"{stem}.safetensors"
    if before is not None and before.path == file and before.sha256 != digest:
        file = f"{stem}-{digest[:12]}.safetensors"
    values = manifest.to_dict()
    others = [item for item in values["files"] if item["role"] != "trust"]
    entry = {"path": file, "sha256": digest, "bytes": len(blob), "role": "trust"}
    values |= {"files": [*others, entry], "trust": trust_entry(trust, file, data)}
    changed = build(values, where=str(path))
    write_atomic(path.with_name(file), blob)
    _write(path, changed)
    if before is not None and before.path != file:
        path.with_name(before.path).unlink(missing_ok=True)
    return path


def note_separation(ref: str | Path, found: Mapping[str, Any]) -> Path:
    """Adds one measured separation to a manifest that has trust data, and writes its card anew.

    One of the same two sets of structures is replaced.

    Args:
        ref: as for `attach_trust`.
        found: the fields of `zoo.hub.manifest.Separation`.

    Raises:
        CapabilityError: if there are no trust data.
        OutputError: if the place can't be written.
    """
    path, manifest = _writable(ref)
    if manifest.trust is None:
        raise CapabilityError(f"{manifest.name} stores no trust data; run: zoo trust fit")
    values = manifest.to_dict()
    kept = [
        item
        for item in values["trust"].get("separation", [])
        if (item["inside"], item["outside"]) != (found["inside"], found["outside"])
    ]
    values["trust"]["separation"] = [*kept, dict(found)]
    _write(path, build(values, where=str(path)))
    return path


def _writable(ref: str | Path) -> tuple[Path, Manifest]:
    path = find(ref)
    if cache.holds(path):
        raise OutputError(
            f"{ref} is in the cache, where nothing changes; save it to a folder first"
        )
    return path, read(path)


def _write(path: Path, manifest: Manifest) -> None:
    write_atomic(path, manifest.to_yaml())
    if path.name == _catalog.MANIFEST:
        card = _card.checkpoint(manifest.to_dict(), place=path.parent.as_posix())
        write_atomic(path.with_name(_catalog.CARD), card)
