"""Opening a file or folder of any domain but atoms."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.datasets import _readers as atoms_readers
from zoo.datasets.domains import _detect, _pickles, _pyg, _recordings
from zoo.datasets.domains._dataset import DomainDataset
from zoo.datasets.domains._raw import Keys
from zoo.datasets.domains._readers import Reader, assemble
from zoo.errors import ConfigError


def open_other(
    path: Path,
    keys: Keys | None,
    splits: Mapping[str, Any] | None,
    *,
    units: Mapping[str, str] | None,
    domain: str | None,
    trust_pickle: bool,
    source: str,
) -> DomainDataset | None:
    """Opens a file, unless it holds structures of atoms.

    Args:
        path: an existing file or folder.
        keys: field -> name in the file.
        splits: their description.
        units: must be None: only atoms have units.
        domain: which domain; None finds it by the content (`zoo.datasets.domains._detect`).
        trust_pickle: whether pickles may be read.
        source: the name for messages.

    Returns:
        The data set, or None for atoms.

    Raises:
        DataError: for a file that fits no domain or several, or that is damaged.
        UnsafeFileError: for a pickle that isn't trusted.
        ConfigError: for units, or an unknown domain or key.
    """
    _detect.check_domain(domain)
    if domain == _detect.ATOMS:
        return None
    if path.is_dir():
        if domain is None and atoms_readers.is_folder(path):
            return None
        reader = _detect.reader_for(path, domain) if domain else _detect.folder_reader(path, keys)
        return _read(path, reader, keys, splits, units, trust_pickle, source)
    if _detect.is_pickle(path) or path.suffix == ".npz":
        return _open_arrays(path, keys, splits, units, domain, trust_pickle, source)
    atoms_readers.refuse_pickle(path)
    found = domain or _detect.file_domain(path, keys)
    if found == _detect.ATOMS:
        return None
    reader = _detect.reader_for(path, found)
    return _read(path, reader, keys, splits, units, trust_pickle, source)


def _read(
    path: Path,
    reader: Reader,
    keys: Keys | None,
    splits: Mapping[str, Any] | None,
    units: Mapping[str, str] | None,
    trust_pickle: bool,
    source: str,
) -> DomainDataset:
    _no_units(path, reader.domain, units)
    if reader.pickle and not trust_pickle:
        raise _pickles.refuse(path, f"made of the files of {reader.name.split()[-2]}")
    return reader.read(path, keys=keys, splits=splits, source=source)


def _open_arrays(
    path: Path,
    keys: Keys | None,
    splits: Mapping[str, Any] | None,
    units: Mapping[str, str] | None,
    domain: str | None,
    trust_pickle: bool,
    source: str,
) -> DomainDataset | None:
    """Archives and pickles, whose arrays have names."""
    if _detect.is_pickle(path):
        if not trust_pickle:
            raise _pickles.refuse(path, f"a {path.suffix} file")
        raw = _pickles.read_pickle(path, keys)
    else:
        atoms_readers.refuse_pickle(path)
        if domain is None and _detect.is_atoms(path, keys):
            return None
        raw = _detect.reader_for(path, domain or "vector").arrays(path, keys)
    found = domain or _detect.domain_of(raw, keys)
    if found == _detect.ATOMS:
        return None
    _no_units(path, found, units)
    return assemble(raw, found, keys, splits, source)


def _no_units(path: Path, domain: str, units: Mapping[str, str] | None) -> None:
    if units is not None:
        raise ConfigError(
            f"{path} is of the domain {domain!r}, whose numbers have no units; leave out units= "
            "(or say domain='atoms')"
        )


def open_moabb(
    text: str,
    keys: Keys | None,
    splits: Mapping[str, Any] | None,
    *,
    units: Mapping[str, str] | None,
    domain: str | None,
) -> DomainDataset:
    """Opens a data set of MOABB by name.

    Raises:
        ConfigError: for units, another domain, or a name or setting that MOABB doesn't know.
        DataError: if MOABB fails.
    """
    if domain not in (None, "signal"):
        raise ConfigError(f"{text} is of the domain 'signal', not {domain!r}")
    _no_units(Path(text), "signal", units)
    return assemble(_recordings.read_moabb(text), "signal", keys, splits, text)


def open_pyg(
    text: str,
    keys: Keys | None,
    splits: Mapping[str, Any] | None,
    *,
    units: Mapping[str, str] | None,
    domain: str | None,
    trust_pickle: bool,
) -> DomainDataset:
    """Opens a published graph by PyG's class for it (`zoo.datasets.domains._pyg`).

    Raises:
        ConfigError: for units, another domain, or an unknown name or setting.
        DataError: if its files aren't there, or PyG fails.
        UnsafeFileError: for pickles that aren't trusted.
    """
    if domain not in (None, "graph"):
        raise ConfigError(f"{text} is of the domain 'graph', not {domain!r}")
    _no_units(Path(text), "graph", units)
    raw = _pyg.read_pyg(text, trust_pickle=trust_pickle)
    return assemble(raw, "graph", keys, splits, text)
