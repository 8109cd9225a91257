"""Reading bundles: one file with everything that some models need, for machines without a network.

A bundle is a zip archive whose members are stored as they are:

    geometric-zoo-bundle            the version of this layout
    <name>/manifest.yaml            as in a folder written by `zoo.save`
    <name>/card.md                  for people
    <name>/files/<path>             every file of the manifest
    <name>/authors/<sha256>         the authors' own file, where the weights are theirs; of several
    <name>/authors/<k>-<sha256>     the others are numbered from 1

It may come from anywhere, so nothing in it is believed: names must be exactly those that its
manifests ask for, sizes those that they state, and digests are checked while the members are read.
Files go into the cache under their digests and nowhere else. Since compressed members, links,
doubles and anything unexpected are refused before the first byte is read, reading can't produce
more than the archive's own size.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zoo import _catalog
from zoo._files import YAML_LIMIT, parse_yaml
from zoo.errors import IntegrityError, ManifestError, OutputError, UnsafeFileError, ZooError
from zoo.hub import cache
from zoo.hub._entries import Part
from zoo.hub.download import Progress
from zoo.hub.integrity import copy_verified, refuse_suffix
from zoo.hub.manifest import NAME, Manifest, build, read

SUFFIX = ".zoo"
MARK, VERSION = "geometric-zoo-bundle", b"1\n"
MEMBERS_LIMIT = 10_000
_DIRECTORY_LIMIT = 4 << 20
#: the number of a file among several, none for the first, and its digest
_AUTHORS = re.compile(r"authors/(?:([1-9][0-9]*)-)?([0-9a-f]{64})")
_END, _END64, _LOCATOR64 = "<4s4H2LH", "<4sQ2H2L4Q", "<4sLQL"
#: what zipfile raises for archives that are no archives
_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,  # NotImplementedError too
    ValueError,
)


@dataclass(frozen=True)
class _Model:
    """One model of a bundle: its manifest as found, and its files' members."""

    manifest: Manifest
    text: str
    card: str
    #: digest -> (member, size)
    files: dict[str, tuple[zipfile.ZipInfo, int]]
    #: digests of the authors' files, in the order of the manifest
    authors: tuple[str, ...] = ()


def is_bundle(ref: str | Path) -> bool:
    """Whether a reference means a bundle: it ends in .zoo and is no folder."""
    path = Path(os.fspath(ref)).expanduser()
    return path.suffix == SUFFIX and not path.is_dir()


def unbundle(path: str | Path, *, progress: Progress | None = None) -> dict[str, Path]:
    """Brings all files of a bundle into the cache.

    Args:
        path: the bundle.
        progress: called with (bytes so far, bytes in all).

    Returns:
        The manifests in the cache, by the names of the weights.

    Raises:
        UnsafeFileError: for members that a bundle does not have: paths that lead elsewhere, links,
            devices, doubles, compressed, encrypted or unknown ones.
        IntegrityError: for an archive that is cut short, or a file that differs from its manifest.
        ManifestError: for a manifest that does not follow the schema, or a file that is not there.
        OutputError: if the cache can't be written.
    """
    path = Path(path).expanduser()
    with _opened(path) as archive:
        models = _models(archive, path)
        total = sum(size for model in models for _, size in model.files.values())
        done = 0
        for model in models:
            for digest, (member, size) in model.files.items():
                _import(archive, member, digest, size, path)
                done += size
                if progress is not None:
                    progress(done, total)
    for model in models:
        _remember_authors(model, path)
    return {model.manifest.name: cache.keep_manifest(model.text, model.card) for model in models}


def register(manifests: dict[str, Path]) -> None:
    """Lets names mean manifests in the cache.

    Raises:
        OutputError: if one of the names means other weights already; names are immutable.
    """
    known = {**_catalog.imported(), **_catalog.checkpoints()}
    for name, path in manifests.items():
        if name in known and _identity(known[name]) != _identity(path):
            raise OutputError(
                f"other weights called {name} are known already ({known[name]}); names are "
                "immutable: load the bundle by its path, or save one of them under another name"
            )
    for name, path in manifests.items():
        if name not in _catalog.checkpoints():
            cache.keep_name(name, path)


def _identity(path: Path) -> object:
    """What may not change under a name: the weights. Cards and what lies beside them may."""
    manifest = read(path)
    return manifest.authors or manifest.weights.sha256


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with path.open("rb") as stream:
            _look_at_end(stream, path)
            with zipfile.ZipFile(stream) as archive:
                yield archive
    except ZooError:
        raise
    except FileNotFoundError as problem:
        raise ManifestError(f"there is no bundle {path}") from problem
    except _BROKEN as problem:
        raise IntegrityError(f"{path} is damaged or cut short ({problem}); get it again") from None
    except OSError as problem:
        raise ManifestError(f"{path} can't be read: {problem.strerror or problem}") from problem


def _look_at_end(stream: BinaryIO, path: Path) -> None:
    """Refuses what is no zip archive of ours, before anything of its size is read."""
    head = stream.read(4)
    size = stream.seek(0, os.SEEK_END)
    width = struct.calcsize(_END)
    if head != b"PK\x03\x04":
        raise UnsafeFileError(f"{path} is no bundle; zoo bundle NAME -o FILE{SUFFIX} writes one")
    end = _record(stream, size - width, _END)
    if end is None or end[0] != b"PK\x05\x06" or end[-1] != 0:
        raise IntegrityError(f"{path} has no end: it was cut short, or bytes follow; get it again")
    count, directory = int(end[4]), int(end[5])
    place = size - width - struct.calcsize(_LOCATOR64)
    locator = _record(stream, place, _LOCATOR64)
    if locator is not None and locator[0] == b"PK\x06\x07":  # an archive beyond 2 GiB
        large = _record(stream, place - struct.calcsize(_END64), _END64)
        if large is None or large[0] != b"PK\x06\x06":
            raise IntegrityError(f"{path} has no proper end; get it again")
        count, directory = max(count, int(large[7])), max(directory, int(large[8]))
    if count > MEMBERS_LIMIT or directory > _DIRECTORY_LIMIT:
        raise UnsafeFileError(f"{path} lists {count} members; no bundle has so many")


def _record(stream: BinaryIO, place: int, form: str) -> tuple[int | bytes, ...] | None:
    if place < 0:
        return None
    stream.seek(place)
    return struct.unpack(form, stream.read(struct.calcsize(form)))


def _models(archive: zipfile.ZipFile, path: Path) -> list[_Model]:
    """What the archive holds, if it is exactly what its manifests ask for."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        _require_plain(member, path)
        if member.filename in members:
            raise UnsafeFileError(f"{path} holds {member.filename!r} twice")
        members[member.filename] = member
    mark = members.pop(MARK, None)
    if mark is None or mark.file_size > 16:
        raise UnsafeFileError(f"{path} is no bundle; zoo bundle NAME -o FILE{SUFFIX} writes one")
    if archive.read(mark) != VERSION:
        raise ManifestError(
            f"{path} has a layout that this release can't read; run: pip install -U geometric-zoo"
        )
    names = sorted({name.partition("/")[0] for name in members})
    models = [_model(archive, name, members, path) for name in names]
    if members:
        raise UnsafeFileError(
            f"{path} holds {next(iter(members))!r}, which none of its manifests names"
        )
    if not models:
        raise ManifestError(f"{path} holds no model")
    return models


def _require_plain(member: zipfile.ZipInfo, path: Path) -> None:
    """Refuses everything that is not a stored, regular file with a harmless name."""
    name = member.orig_filename
    parts = name.split("/")
    kind = stat.S_IFMT(member.external_attr >> 16)
    reason = ""
    if name.startswith("/") or "\\" in name or ":" in parts[0] or ".." in parts:
        reason = "leads out of the archive"
    elif name != member.filename or "" in parts or "." in parts or not name.isprintable():
        reason = "is no plain file name"
    elif kind not in (0, stat.S_IFREG):
        reason = "is a link, a device or a folder, not a file"
    elif member.flag_bits & 0x41:
        reason = "is encrypted"
    elif member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        reason = "is compressed"
    if reason:
        raise UnsafeFileError(f"{path}: the member {name!r} {reason}; nothing was imported")


def _model(
    archive: zipfile.ZipFile, name: str, members: dict[str, zipfile.ZipInfo], path: Path
) -> _Model:
    """One model; its members are taken out of `members`."""
    text = _text(archive, members.pop(f"{name}/{_catalog.MANIFEST}", None), path)
    if not NAME.fullmatch(name) or text is None:
        raise UnsafeFileError(f"{path}: {name!r} is no model, since it has no manifest")
    where = f"{_catalog.MANIFEST} of {name} in {path}"
    manifest = build(parse_yaml(text, where=where, error=ManifestError), where=where)
    if manifest.name != name:
        raise ManifestError(f"{where}: the name is {manifest.name!r}")
    card = _text(archive, members.pop(f"{name}/{_catalog.CARD}", None), path) or ""
    files = {}
    for file in manifest.files:
        member = members.pop(f"{name}/files/{file.path}", None)
        if member is None:
            raise ManifestError(f"{path} lacks {file.path} of {name}; bundle it again")
        if member.file_size != file.bytes:
            raise IntegrityError(
                f"{path}: {file.path} of {name} has {member.file_size} bytes, its manifest says "
                f"{file.bytes}"
            )
        refuse_suffix(Path(file.path))
        files[file.sha256] = (member, file.bytes)
    theirs = []
    for number, part in enumerate(manifest.authors.items if manifest.authors else ()):
        digest, member = _authors_member(manifest.name, number, part, members, path)
        files[digest] = (member, member.file_size)
        theirs.append(digest)
    return _Model(manifest, text, card, files, tuple(theirs))


def _authors_member(
    model: str, number: int, part: Part, members: dict[str, zipfile.ZipInfo], path: Path
) -> tuple[str, zipfile.ZipInfo]:
    for name in list(members):
        match = _AUTHORS.fullmatch(name.removeprefix(f"{model}/"))
        if match and int(match[1] or 0) == number and part.sha256 in (None, match[2]):
            return match[2], members.pop(name)
    raise ManifestError(f"{path} lacks the authors' file {part.name} of {model}; bundle it again")


def _text(archive: zipfile.ZipFile, member: zipfile.ZipInfo | None, path: Path) -> str | None:
    if member is None:
        return None
    if member.file_size > YAML_LIMIT:
        raise UnsafeFileError(f"{path}: {member.filename} has more than {YAML_LIMIT} bytes")
    return archive.read(member).decode("utf-8")


def _import(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, digest: str, size: int, path: Path
) -> None:
    """Copies one member into the cache, unless the same bytes are there."""
    if cache.find(digest) is not None:
        return
    where = f"{member.filename} in {path}"
    with cache.workspace() as temporary, archive.open(member) as source:
        with cache.filling(temporary) as target:
            copy_verified(source, target, digest=digest, size=size, where=where)
        cache.commit(temporary, digest)


def _remember_authors(model: _Model, path: Path) -> None:
    """Where the authors publish no digest, the first one seen counts, here as after a download."""
    for number, digest in enumerate(model.authors):
        _remember(model.manifest, number, digest, path)


def _remember(manifest: Manifest, number: int, digest: str, path: Path) -> None:
    assert manifest.authors is not None
    part = manifest.authors.items[number]
    if part.sha256 is not None:
        return
    found = cache.find(digest)
    if part.git is not None and (found is None or cache.git_id(found) != part.git):
        raise IntegrityError(
            f"{path}: {part.name} of {manifest.name} is not the file with git id {part.git}; get "
            "it from its authors"
        )
    note = manifest.name if number == 0 else f"{manifest.name}.{number}"
    seen = cache.source(note)
    if seen.get("url") == part.url and seen.get("sha256") != digest:
        raise IntegrityError(
            f"{path} has sha256 {digest} for {part.url}, which had {seen.get('sha256')} when it "
            f"was first fetched here; if you trust the bundle, remove {note}.yaml from refs in the "
            "cache"
        )
    cache.keep_source(note, url=part.url, digest=digest)
