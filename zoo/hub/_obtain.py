"""From a checkpoint's name or path to its files on this machine; needs no torch."""

import os
import warnings
from pathlib import Path

from zoo import _catalog, registry
from zoo.errors import IntegrityError, ManifestError, OfflineError, UnknownModelError, nearest
from zoo.hub import _unbundle, cache, download
from zoo.hub._entries import AdapterEntry, Authors, File, Part
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
        paths += authors_files(manifest, manifest.authors, progress=progress)
    return paths


def authors_files(
    manifest: Manifest, authors: Authors, *, progress: Progress | None = None
) -> list[Path]:
    """The authors' own files; those without a published digest are remembered by their first one.

    Returns:
        Verified paths in a cache, in the order of `authors.items`.

    Raises:
        OfflineError: if the network is needed and forbidden.
        DownloadError: if no address serves one of them.
        IntegrityError: if what came has another digest than is known of it.
    """
    paths = [_authors_file(manifest, part, n, progress) for n, part in enumerate(authors.items)]
    unknown = [
        f"{part.url} (this copy has sha256 {path.name})"
        for part, path in zip(authors.items, paths, strict=True)
        if part.sha256 is None and part.git is None
    ]
    if unknown:
        warnings.warn(
            f"{manifest.name}: the digest is unverified, since none is published, of "
            f"{', '.join(unknown)}",
            stacklevel=4,
        )
    return paths


def _authors_file(manifest: Manifest, part: Part, number: int, progress: Progress | None) -> Path:
    what = f"the authors' file {part.name} of {manifest.name}"
    if part.sha256 is not None:
        mirrors = [f"{base}/sha256/{part.sha256}" for base in download.bases()]
        return download.fetch(part.sha256, [*mirrors, part.url], what=what, progress=progress)
    path = _kept(manifest, part, number)
    if path is not None:
        return path
    digest = download.fetch_unverified(part.url, what=what, progress=progress)
    path = cache.blob(digest)
    found = None if part.git is None else cache.git_id(path)
    if found != part.git:
        path.unlink(missing_ok=True)
        raise IntegrityError(
            f"{what} came from {part.url} with git id {found}, expected {part.git}; nothing was "
            "kept. Try again, or get the file from its repository and use zoo.convert"
        )
    note = _note(manifest, number)
    first = cache.source(note)
    if part.git is None and first.get("url") == part.url and first.get("sha256") != digest:
        path.unlink(missing_ok=True)
        raise IntegrityError(
            f"{what} at {part.url} has sha256 {digest} now; it had {first.get('sha256')} when it "
            f"was first fetched, and nothing was kept. If its authors have replaced it, delete "
            f"{cache.note(note)} and try again"
        )
    cache.keep_source(note, url=part.url, digest=digest)
    return path


def _kept(manifest: Manifest, part: Part, number: int) -> Path | None:
    """An authors' file in the caches, if it is there and is the one it should be."""
    if part.sha256 is not None:
        return cache.find(part.sha256)
    note = cache.source(_note(manifest, number))
    path = cache.find(str(note.get("sha256"))) if note.get("url") == part.url else None
    return path if path is not None and part.git in (None, cache.git_id(path)) else None


def _note(manifest: Manifest, number: int) -> str:
    """Under which name the digest first seen of a file is kept."""
    return manifest.name if number == 0 else f"{manifest.name}.{number}"


def at_hand(name: str | Path) -> bool:
    """Whether a checkpoint can be loaded without downloading its authors' files.

    Raises:
        UnknownModelError: for an unknown name.
    """
    manifest = read_checked(find(name))
    items = [] if manifest.authors is None else manifest.authors.items
    return all(_kept(manifest, part, n) is not None for n, part in enumerate(items))
