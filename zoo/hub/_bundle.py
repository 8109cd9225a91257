"""Writing bundles; their layout is described where they are read (`zoo/hub/_unbundle.py`)."""

import io
import os
import stat
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from zoo import _card, _catalog
from zoo.errors import ConfigError, OutputError, ZooError
from zoo.hub import cache
from zoo.hub._obtain import authors_files, find, find_base, obtain, read_checked
from zoo.hub._unbundle import MARK, SUFFIX, VERSION
from zoo.hub.download import Progress
from zoo.hub.integrity import copy_verified, refuse_suffix
from zoo.hub.manifest import Manifest


@dataclass(frozen=True)
class Stored:
    """A file of a model on this machine: its name in the model, digest, size and place."""

    name: str
    sha256: str
    bytes: int
    path: Path


def bundle(
    refs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    progress: Progress | None = None,
) -> Path:
    """Writes models with all their files into one file, for machines without a network.

    The same models give the same bytes. `zoo.load("x.zoo")` and `zoo pull x.zoo` read it.

    Args:
        refs: checkpoints, by name or folder; files that are not here are fetched.
        output: the file, ending in .zoo; an older one is replaced when the new one is complete.
        progress: called with (bytes so far, bytes in all).

    Returns:
        The file.

    Raises:
        ConfigError: for another ending, or two different models of one name.
        IntegrityError: if a file differs from its manifest.
        OutputError: if the file can't be written.
        ZooError: as `load` does, for models that can't be had.
    """
    output = Path(output).expanduser()
    if output.suffix != SUFFIX:
        raise ConfigError(f"a bundle's name ends in {SUFFIX}: {output.with_suffix(SUFFIX)}")
    models = gather([refs] if isinstance(refs, (str, Path)) else refs)
    total = sum(file.bytes for _, files in models for file in files)
    done = 0
    with _replacing(output) as stream, zipfile.ZipFile(stream, "w") as archive:
        _put(archive, MARK, VERSION)
        for manifest, files in models:
            _put(archive, f"{manifest.name}/manifest.yaml", manifest.to_yaml().encode())
            card = _card.checkpoint(manifest.to_dict())
            _put(archive, f"{manifest.name}/card.md", card.encode())
            for file in files:
                with file.path.open("rb") as source:
                    _copy(archive, f"{manifest.name}/{file.name}", source, file)
                done += file.bytes
                if progress is not None:
                    progress(done, total)
    return output


def gather(refs: Sequence[str | Path]) -> list[tuple[Manifest, list[Stored]]]:
    """Models with all their files on this machine, sorted by name, each once.

    Adapters bring the weights they belong to, unless these ship with the package.

    Raises:
        ConfigError: for two different models of one name, or none.
        ZooError: as `load` does.
    """
    found: dict[str, tuple[Manifest, list[Stored]]] = {}
    waiting = list(refs)
    for ref in waiting:
        path = find(ref)
        manifest = read_checked(path)
        if manifest.adapter is not None:
            base, _ = find_base(manifest.name, manifest.adapter)
            if base.name == _catalog.MANIFEST:  # no name that every installation knows
                waiting.append(base)
        if manifest.name in found and found[manifest.name][0] != manifest:
            raise ConfigError(f"two different models are called {manifest.name}; rename one")
        found[manifest.name] = (manifest, _files(manifest, path.parent))
    if not found:
        raise ConfigError("no model was named; see zoo list --pretrained")
    return [found[name] for name in sorted(found)]


def _files(manifest: Manifest, folder: Path) -> list[Stored]:
    stored = []
    for file in manifest.files:
        refuse_suffix(Path(file.path))
        path = obtain(manifest, file, folder)
        stored.append(Stored(f"files/{file.path}", file.sha256, file.bytes, path))
    if manifest.authors is not None:
        for number, path in enumerate(authors_files(manifest, manifest.authors)):
            digest = cache.sha256(path)
            member = f"{number}-{digest}" if number else digest
            stored.append(Stored(f"authors/{member}", digest, path.stat().st_size, path))
    return stored


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    """A member whose header does not depend on the time, the user or the machine."""
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3  # where external_attr holds the mode of a file
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = size
    return entry


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    with archive.open(_entry(name, len(data)), "w") as target:
        target.write(data)


def _copy(archive: zipfile.ZipFile, name: str, source: IO[bytes], file: Stored) -> None:
    with archive.open(_entry(name, file.bytes), "w") as target:
        where = str(file.path)
        copy_verified(source, target, digest=file.sha256, size=file.bytes, where=where)


@contextmanager
def _replacing(path: Path) -> Iterator[io.BufferedWriter]:
    """A temporary file beside `path` that takes its place at the end, if nothing fails."""
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except ZooError:
        raise
    except OSError as problem:
        raise OutputError(
            f"{path} can't be written ({problem.strerror or problem}); choose a folder that is "
            "writable and has space"
        ) from problem
