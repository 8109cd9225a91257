"""Which domain a file belongs to, by what it holds.

Archives (and pickled arrays): by the names of their arrays, `keys` applied; the `sign` of each
domain says which. Atomic numbers with positions are always `atoms`. Meshes with faces can be
`points` or `complex` (an .obj is `complex`), without faces they are `points`. Tables: the columns
x, y, z are `points`, source and target `graph`, sequence or tokens `sequence`, anything else
`vector`. A .npy is a `signal`, unless its entries are symmetric matrices; a folder of them holds
matrices. Where two domains fit, or none, `domain=` must say which.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path

from zoo.datasets import _npz
from zoo.datasets.domains import _csv, _folders, _graph_files
from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._readers import CLOUDS, DOMAINS, PICKLES, READERS, Reader
from zoo.datasets.domains._text import is_number, lines_of, read_text
from zoo.datasets.domains.matrix import matches as looks_like_matrices
from zoo.errors import ConfigError, DataError, nearest

ATOMS = "atoms"
_MESHES = (".ply", ".off")
_OWN = {".tsv": "graph", ".fif": "signal"}  # suffixes of one domain


def check_domain(domain: str | None) -> None:
    """Refuses a domain that doesn't exist.

    Raises:
        ConfigError: with the nearest names.
    """
    known = (ATOMS, *DOMAINS)
    if domain is not None and domain not in known:
        raise ConfigError(f"there is no domain {domain!r}: {nearest(str(domain), known)}")


def reader_for(path: Path, domain: str) -> Reader:
    """The reader of a domain for a file or folder.

    Raises:
        DataError: if the domain isn't read from such files.
    """
    folder, suffix = path.is_dir(), path.suffix.lower()
    own = [reader for reader in READERS if reader.domain == domain]
    if folder:
        inside = _folders.suffixes(path)
        special = _special_folder(path)
        for reader in own:
            told = reader.sign is None and inside & {*reader.suffixes}
            if reader.folder and (reader is special or (special is None and told)):
                return reader
        what = f"a folder of {', '.join(sorted(inside)) or 'nothing'}"
    else:
        for reader in own:
            if not reader.folder and suffix in reader.suffixes:
                return reader
        what = f"a {suffix or 'nameless'} file"
    have = sorted({("folders of " if r.folder else "") + "/".join(r.suffixes) for r in own})
    raise DataError(f"{path} is {what}; the domain {domain!r} is read from {', '.join(have)}")


def _named(name: str) -> Reader:
    return next(reader for reader in READERS if reader.name == name)


def _special_folder(path: Path) -> Reader | None:
    """The reader of a folder whose files have fixed names."""
    return next((r for r in READERS if r.sign is not None and r.sign(path)), None)


def folder_reader(path: Path, keys: Keys | None) -> Reader:
    """The reader of a folder, by the files in it.

    Raises:
        DataError: for a folder that no domain is read from, or more than one.
    """
    special = _special_folder(path)
    if special is not None:
        return special
    inside = _folders.suffixes(path)
    if ".csv" in inside and (
        (path / "edges.csv").is_file() or {"edges", "nodes"} <= {*(keys or {})}
    ):
        return _named("graph csv folder")
    found = []
    if ".npy" in inside:
        found.append(_named("matrix npy folder"))
    if ".mat" in inside:
        found.append(_named("matrix mat folder"))
    if ".png" in inside:
        found.append(_named("image png folder"))
    if inside & {*CLOUDS}:
        found.append(_named("points folder"))
    if len(found) == 1:
        return found[0]
    holds = ", ".join(sorted(s or "nameless" for s in inside)) or "no"
    if found:
        raise ambiguous(path, [reader.domain for reader in found], f"{holds} files")
    raise DataError(
        f"{path} is a folder with {holds} files, which is no data set that is known here; name a "
        "file in it, or see zoo.datasets.domains for the folders that are read"
    )


def is_atoms(path: Path, keys: Keys | None) -> bool:
    """Whether an archive holds structures of atoms; reads the names of its arrays only."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, ValueError, RuntimeError):
        return False
    return _has_atoms(names, keys)


def _has_atoms(names: Iterable[str], keys: Keys | None) -> bool:
    there = {*names, *(field for field, key in (keys or {}).items() if key and key in names)}
    if "format" in there and "positions" in there:
        return True
    return all(there & {field, *_npz.ALIASES[field]} for field in ("numbers", "positions"))


def domain_of(raw: Raw, keys: Keys | None) -> str:
    """The domain of named arrays.

    Raises:
        DataError: if none fits, or several do.
    """
    renamed = {field: raw.arrays[key] for field, key in (keys or {}).items() if key in raw.arrays}
    used = {key for key in (keys or {}).values() if key is not None}
    view = {name: array for name, array in raw.arrays.items() if name not in used} | renamed
    if _has_atoms(view, None):
        return ATOMS
    found = [name for name, domain in DOMAINS.items() if domain.matches(view)]
    holds = ", ".join(f"{name} {array.shape}" for name, array in list(raw.arrays.items())[:12])
    if len(found) == 1:
        return found[0]
    if found:
        raise ambiguous(raw.path, found, f"the arrays {holds}")
    raise DataError(
        f"{raw.path} holds the arrays {holds or 'none'}, which no domain is known by; name the "
        "domain and its arrays, such as domain='vector', keys={'x': '...', 'y': '...'}"
    )


def ambiguous(path: Path, domains: list[str], holds: str) -> DataError:
    """The error for a file that fits several domains."""
    choices = " or ".join(f"domain={name!r}" for name in domains)
    return DataError(f"{path} could be {' or '.join(domains)} (it holds {holds}); say {choices}")


def file_domain(path: Path, keys: Keys | None) -> str:
    """The domain of a file that is no archive and no pickle, by suffix and content.

    Raises:
        DataError: for a file that fits several domains.
    """
    suffix = path.suffix.lower()
    if suffix == ".obj":
        return "complex"
    if suffix in _MESHES:
        raw = reader_for(path, "points").arrays(path, keys)
        faces = "faces" in raw.arrays or "edges" in raw.arrays
        if faces:
            raise ambiguous(path, ["points", "complex"], "vertices and faces")
        return "points"
    if suffix == ".npy":
        raw = reader_for(path, "signal").arrays(path, keys)
        if looks_like_matrices(raw.arrays):
            raise ambiguous(path, ["matrix", "signal"], "symmetric matrices")
        return "signal"
    if suffix == ".csv":
        return _table_domain(path, keys)
    if suffix in _OWN:
        return _OWN[suffix]
    if suffix in (".pts", ".xyzn") or (suffix == ".txt" and _is_numbers(path)):
        return "points"
    if suffix == ".png":
        raise DataError(f"{path} is one picture; open its folder, {path.parent}")
    return ATOMS


def _table_domain(path: Path, keys: Keys | None) -> str:
    names = [name.lower() for name in _csv.read_table(path).columns]
    settings = set(keys or {})
    found = []
    if {"x", "y", "z"} <= set(names) or {"x", "y", "z"} <= settings:
        found.append("points")
    if _graph_files.is_edge_table(names) or {"nodes"} & settings:
        found.append("graph")
    if {"sequence", "tokens"} & {*names, *settings}:
        found.append("sequence")
    if len(found) > 1:
        raise ambiguous(path, found, f"the columns {', '.join(names[:12])}")
    return found[0] if found else "vector"


def _is_numbers(path: Path) -> bool:
    """Whether the first line of a text holds three numbers or more."""
    try:
        lines = lines_of(read_text(path)[:10_000])
    except DataError:
        return False
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    words = first.replace(",", " ").split()
    return len(words) >= 3 and all(is_number(word) for word in words)


def is_pickle(path: Path) -> bool:
    """Whether a suffix belongs to pickles."""
    return path.suffix.lower() in PICKLES
