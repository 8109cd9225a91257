"""Publishing: the tree that any static host serves, in a folder or on Hugging Face.

    sha256/<digest>         every file under its digest; what `<base>/sha256/<digest>` fetches
    manifests/<name>.yaml   what the files are
    cards/<name>.md         for people
    index.json              all names, with their manifests and files

A digest never changes its bytes, and a name never its weights: both are looked up before anything
is written. The index goes last, so that what it lists is there.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import _card, _catalog
from zoo.errors import CapabilityError, CertificateError, ConfigError, IntegrityError, OutputError
from zoo.hub import _stores
from zoo.hub._bundle import Stored, gather
from zoo.hub._obtain import find
from zoo.hub._stores import Item, Store
from zoo.hub.download import Progress
from zoo.hub.manifest import Manifest, read

INDEX = "index.json"


@dataclass(frozen=True)
class Upload:
    """What was published.

    Attributes:
        base: what `ZOO_MIRROR`, or a line of checkpoints/_urls.yaml, must say to load from there.
        names: the models.
        written: names in the store that were new or changed, or would be in a dry run.
        present: names that were there already, with the same bytes.
    """

    base: str
    names: tuple[str, ...]
    written: tuple[str, ...]
    present: tuple[str, ...]


def release(folder: str | Path = "release", *, progress: Progress | None = None) -> Upload:
    """Lays out all weights of the package in a folder that a static host can serve.

    Authors' own weights stay where their authors publish them.

    Args:
        folder: made if missing; what is there already is checked and kept.
        progress: called with (bytes so far, bytes in all).

    Returns:
        What was written.

    Raises:
        CertificateError: if weights have no certificate, or one that did not pass.
        IntegrityError: if a file differs from its manifest, or one in the folder from its name.
        OutputError: if the folder can't be written, or a name stands for other weights there.
    """
    manifests = [read(path) for path in _catalog.checkpoints().values()]
    ours = [manifest for manifest in manifests if manifest.authors is None]
    require_certified(ours)
    return upload([manifest.name for manifest in ours], str(folder), progress=progress)


def _require_ours(refs: Sequence[str | Path]) -> None:
    theirs = [m for m in (read(find(ref)) for ref in refs) if m.authors is not None]
    if theirs:
        where = ", ".join(f"{m.name} from {m.authors.url}" for m in theirs if m.authors)
        raise CapabilityError(
            f"these are the authors' own weights, which only they publish: {where}. Whoever wants "
            "them loads them by name; what you made of them, save under a name of your own"
        )


def require_certified(manifests: Sequence[Manifest]) -> None:
    """Nothing is released whose symmetry and limits nobody has measured."""
    bare = [m.name for m in manifests if not m.certificate]
    failed = [
        m.name for m in manifests if m.certificate and m.certificate.get("passed") is not True
    ]
    if bare or failed:
        words = [f"{len(bare)} have none ({', '.join(bare)})"] if bare else []
        words += [f"{len(failed)} did not pass ({', '.join(failed)})"] if failed else []
        raise CertificateError(
            f"weights are released with a certificate that passed; {' and '.join(words)}. Mend "
            "what fails, and keep the certificate with them: zoo verify FOLDER --write"
        )


def upload(
    refs: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Upload:
    """Publishes models in a folder, or in a repository on Hugging Face.

    Authors' own weights are theirs to publish; they are refused.

    Args:
        refs: checkpoints, by name or folder.
        to: a folder, or `hf:<owner>/<repository>`, which must exist (extra `hub`).
        dry_run: find out what would be written, and write nothing.
        progress: called with (bytes so far, bytes in all).

    Returns:
        What was written, and the address to load from.

    Raises:
        CapabilityError: for weights that their authors publish.
        CertificateError: if weights have no certificate, or one that did not pass.
        IntegrityError: if a file differs from its manifest, or one there from its name.
        OutputError: if the place can't be written, or a name stands for other weights there.
        OfflineError: for Hugging Face while ZOO_OFFLINE is set.
        MissingExtraError: for Hugging Face without its package.
    """
    given = [refs] if isinstance(refs, (str, Path)) else list(refs)
    _require_ours(given)  # before anything is fetched
    models = gather(given)
    require_certified([manifest for manifest, _ in models])
    store = _stores.store(str(to))
    items = _items(models, _index(store, models))
    fixed = {item.path: item for item in items if item.fixed}
    there = store.digests([item.path for item in items])
    for path, item in fixed.items():
        if there.get(path) not in (None, *item.identities):
            raise IntegrityError(
                f"{store.base}/{path} holds other bytes than its name says, and was not replaced; "
                "remove it there if it is damaged"
            )
    new = [item for item in items if there.get(item.path) not in item.identities]
    if not dry_run and new:
        store.write(new, progress)
    paths = {item.path for item in new}
    present = tuple(item.path for item in items if item.path not in paths)
    names = tuple(manifest.name for manifest, _ in models)
    return Upload(store.base, names, tuple(item.path for item in new), present)


def _items(models: list[tuple[Manifest, list[Stored]]], index: str) -> list[Item]:
    """All files, the index last; each is verified before the first byte is published."""
    items: dict[str, Item] = {}
    for manifest, files in models:
        for file in files:
            item = Item.of_file(f"sha256/{file.sha256}", file.path)
            if item.identities[0] != file.sha256:
                raise IntegrityError(
                    f"{file.path} has sha256 {item.identities[0]}, the manifest of "
                    f"{manifest.name} says {file.sha256}; it was damaged or replaced: save it again"
                )
            items[item.path] = item
        texts = {
            f"manifests/{manifest.name}.yaml": manifest.to_yaml(),
            f"cards/{manifest.name}.md": _card.checkpoint(manifest.to_dict()),
        }
        items |= {path: Item.of_text(path, text) for path, text in texts.items()}
    items[INDEX] = Item.of_text(INDEX, index)
    return list(items.values())


def _index(store: Store, models: list[tuple[Manifest, list[Stored]]]) -> str:
    """The index of the store with these models in it.

    Raises:
        OutputError: if one of the names stands for other files there.
    """
    known = _read_index(store)
    for manifest, files in models:
        entry = {
            "architecture": manifest.architecture,
            "weights": manifest.authors.url if manifest.authors else manifest.weights.sha256,
            "manifest": hashlib.sha256(manifest.to_yaml().encode()).hexdigest(),
            "files": {file.name.partition("/")[2]: file.sha256 for file in files},
        }
        old = known.get(manifest.name)
        if old is not None and old["weights"] != entry["weights"]:
            raise OutputError(
                f"{store.base} has other weights called {manifest.name}; names are immutable: "
                "save these under the next revision (.r<k>)"
            )
        known[manifest.name] = entry
    value = {"index": 1, "checkpoints": dict(sorted(known.items()))}
    return json.dumps(value, indent=2) + "\n"


def _read_index(store: Store) -> dict[str, Any]:
    raw = store.read(INDEX)
    if raw is None:
        return {}
    try:
        value = json.loads(raw)
        if value["index"] != 1:
            raise ConfigError(
                f"{store.base}/{INDEX} was written by a later release; run: "
                "pip install -U geometric-zoo"
            )
        found: dict[str, Any] = value["checkpoints"]
        if all(isinstance(entry["weights"], str) for entry in found.values()):
            return found
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        if isinstance(problem, ConfigError):
            raise
    raise OutputError(f"{store.base}/{INDEX} is not an index of weights; choose another place")
