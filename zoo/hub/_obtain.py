"""From a checkpoint's name or path to its files on this machine; needs no torch."""

import os
import warnings
from pathlib import Path

from zoo import _catalog, registry
from zoo.errors import IntegrityError, ManifestError, OfflineError, UnknownModelError, nearest
from zoo.hub import _unbundle, cache, download
from zoo.hub._entries import AdapterEntry, Authors, File
from zoo.hub.download import Progress
from zoo.hub.integrity import read_verified, verify
from zoo.hub.manifest import Manifest, read


def find(ref: str | Path, *, progress: Progress | None = None) -> Path:
    """The manifest that a checkpoint's name or path means.

    A bundle (`x.zoo`) is first imported into the cache, where its manifest then lies.

    Raises:
        UnknownModelError: for an unknown name; offers the nearest.
        ManifestError: for a path without a manifest, or a bundle with several.
        UnsafeFileError: for a bundle that holds what it should not.
        IntegrityError: for a bundle with damaged files.
    """
    if _unbundle.is_bundle(ref):
        return _only(ref, _unbundle.unbundle(ref, progress=progress))
    path = _catalog.locate(ref)
    if path is not None:
        return path
    known = {**_catalog.imported(), **_catalog.checkpoints()}
    name = os.fspath(ref)
    specs = registry.specs()
    if name in specs or any(name in (*s.aliases, *s.presets) for s in specs.values()):
        raise UnknownModelError(
            f"{name!r} is an architecture without weights: zoo.create({name!r}) builds one with "
            f"fresh weights, trained ones are {_trained(name, known)}"
        )
    raise UnknownModelError(
        f"no trained weights are called {name!r}: {nearest(name, known)} "
        "(all of them: zoo list --pretrained; a path must hold a manifest.yaml)"
    )


def find_base(
    name: str, entry: AdapterEntry, given: str | Path | None = None
) -> tuple[Path, Manifest]:
    """The weights that an adapter was trained on.

    Args:
        name: of the adapter.
        entry: what its manifest says.
        given: name or path of the weights; None looks for their name and their former place.

    Raises:
        IntegrityError: those at hand are others; names both digests.
        UnknownModelError: none are at hand.
    """
    near = [Path(entry.place)] if entry.place is not None else []
    refs: list[str | Path] = [given] if given is not None else [entry.base.name, *near]
    found: list[Manifest] = []
    for ref in refs:
        try:
            path = find(ref)
        except (UnknownModelError, ManifestError) as problem:
            if given is not None:
                raise problem
            continue
        manifest = read_checked(path)
        digest = None if manifest.authors is not None else manifest.weights.sha256
        if digest == entry.base.sha256:
            return path, manifest
        found.append(manifest)
    if not found:
        raise UnknownModelError(
            f"{name} is an adapter for {entry.base.name} (sha256 {entry.base.sha256}), which is "
            "not here: give its place with zoo.load(..., base=PATH)"
        )
    other = found[0]
    held = "none" if other.authors is not None else other.weights.sha256
    raise IntegrityError(
        f"{name} is an adapter for {entry.base.name} with sha256 {entry.base.sha256}; the weights "
        f"{other.name} have sha256 {held}, so it was not put on them. Give the right ones with "
        "zoo.load(..., base=PATH)"
    )


def _only(ref: str | Path, manifests: dict[str, Path]) -> Path:
    if len(manifests) > 1:
        raise ManifestError(
            f"{ref} holds several models ({', '.join(manifests)}); run: zoo pull {ref}, and use "
            "their names"
        )
    return next(iter(manifests.values()))


def _trained(name: str, known: dict[str, Path]) -> str:
    return ", ".join(key for key in known if key.startswith(name)) or "not published yet"


def read_checked(path: Path) -> Manifest:
    """Reads a manifest; one that ships with the package must bear its file's name.

    Raises:
        ManifestError: names the file and the key.
    """
    manifest = read(path)
    if path.name != _catalog.MANIFEST and path.stem != manifest.name:
        raise ManifestError(f"{path}: the name is {manifest.name!r}; it must be the file's stem")
    if cache.holds(path):
        if cache.sha256(path) != path.parent.name:
            raise IntegrityError(f"{path} was damaged; remove it and pull its bundle again")
        cache.touch(path)
    return manifest


def obtain(
    manifest: Manifest, file: File, folder: Path, *, progress: Progress | None = None
) -> Path:
    """A local path of one of a manifest's files, fetched if need be; not yet verified.

    Args:
        manifest: the manifest.
        file: one of its files.
        folder: where the manifest lies.
        progress: told of the bytes as they come.

    Raises:
        OfflineError: if the network is needed and forbidden; names all files that are missing.
        DownloadError: if no address serves it.
        IntegrityError: if what they serve is something else.
    """
    beside = folder / file.path
    if beside.is_file():
        return beside
    try:
        return download.fetch(
            file.sha256,
            download.addresses(file, manifest),
            what=f"{file.path} of {manifest.name}",
            size=file.bytes,
            progress=progress,
        )
    except OfflineError:
        raise _absent(manifest, folder) from None


def _absent(manifest: Manifest, folder: Path) -> OfflineError:
    """Says which files are missing, where they would be found, and how to bring them."""
    missing = [
        f"\n  {item.path} ({item.bytes} bytes) at {cache.blob(item.sha256)}"
        for item in manifest.files
        if not (folder / item.path).is_file() and cache.find(item.sha256) is None
    ]
    return OfflineError(
        f"{manifest.name} is not complete here and ZOO_OFFLINE is set; missing:{''.join(missing)}\n"
        f"On a machine with a network run: zoo bundle {manifest.name} -o {manifest.name}.zoo\n"
        f"then here: zoo pull {manifest.name}.zoo (or unset ZOO_OFFLINE)"
    )


def contents(manifest: Manifest, file: File, folder: Path) -> bytes:
    """The verified bytes of one of a manifest's files, fetched if need be.

    Raises:
        ZooError: as `obtain` does.
        IntegrityError: if the file differs from the manifest.
        UnsafeFileError: for a suffix that stands for pickles.
    """
    try:
        return read_verified(obtain(manifest, file, folder), file)
    except FileNotFoundError:  # cleared from the cache in the meantime
        return read_verified(obtain(manifest, file, folder), file)


def pull(name: str | Path, *, progress: Progress | None = None) -> list[Path]:
    """Makes all files of trained weights available offline.

    Args:
        name: as for `load`; the models of a bundle (`x.zoo`) can be loaded by their names then.
        progress: called with (bytes so far, bytes in all).

    Returns:
        Their local paths, verified.

    Raises:
        ZooError: as `load` does.
        OutputError: if other weights of the same name were pulled before.
    """
    if _unbundle.is_bundle(name):
        found = _unbundle.unbundle(name, progress=progress)
        _unbundle.register(found)
        manifests = list(found.values())
    else:
        manifests = [find(name)]
    return [path for item in manifests for path in _pull(item, progress)]


def _pull(path: Path, progress: Progress | None) -> list[Path]:
    manifest = read_checked(path)
    paths = []
    for file in manifest.files:
        found = obtain(manifest, file, path.parent, progress=progress)
        verify(found, file)
        paths.append(found)
    if manifest.authors is not None:
        paths.append(authors_file(manifest, manifest.authors, progress=progress))
    return paths


def authors_file(manifest: Manifest, authors: Authors, *, progress: Progress | None = None) -> Path:
    """The authors' own file; one without a published digest is remembered by its first one.

    Raises:
        OfflineError: if the network is needed and forbidden.
        DownloadError: if no address serves it.
    """
    what = f"the authors' file of {manifest.name}"
    if authors.sha256 is not None:
        mirrors = [f"{base}/sha256/{authors.sha256}" for base in download.bases()]
        return download.fetch(authors.sha256, [*mirrors, authors.url], what=what, progress=progress)
    note = cache.source(manifest.name)
    path = cache.find(str(note.get("sha256"))) if note.get("url") == authors.url else None
    if path is None:
        digest = download.fetch_unverified(authors.url, what=what, progress=progress)
        cache.keep_source(manifest.name, url=authors.url, digest=digest)
        path = cache.blob(digest)
    warnings.warn(
        f"{manifest.name}: the digest of {authors.url} is unverified, since none is published; "
        f"this copy has sha256 {path.name}",
        stacklevel=4,
    )
    return path
