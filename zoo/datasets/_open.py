"""`zoo.datasets.open`: a file, or a data set that ships with the package, by name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike, fspath
from os.path import isdir, isfile
from pathlib import Path
from typing import Any, Literal, overload

from zoo import share
from zoo._files import read_yaml
from zoo.datasets import _obtained, _on_demand, _published, _readers
from zoo.datasets._base import Dataset
from zoo.datasets.dataset import AtomsDataset
from zoo.datasets.domains import _choose, _pyg, _recordings
from zoo.errors import ConfigError, DataError, IntegrityError, nearest


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `datasets/<name>.yaml` says about a data file beside it, about a set that is `made`
    by a kind of `zoo.datasets.synthetic` when it is opened, or about one whose files its authors
    publish and `zoo data get` downloads (`zoo.datasets._remote`)."""

    title: str
    file: str = ""
    sha256: str = ""
    made: str = ""
    download: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    opens: str = ""
    reader: str = ""
    pickle: bool = False
    domain: str = "atoms"
    level_of_theory: str = ""
    units: dict[str, str] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    citation: str = ""
    frames: int | None = None
    samples: int | None = None
    elements: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict)
    splits: dict[str, Any] | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)


@overload
def open(
    path: str | PathLike[str],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    splits: Mapping[str, Any] | None = None,
    domain: Literal["atoms"],
    trust_pickle: bool = False,
) -> AtomsDataset: ...


@overload
def open(
    path: str | PathLike[str],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    splits: Mapping[str, Any] | None = None,
    domain: str | None = None,
    trust_pickle: bool = False,
) -> Dataset[Any]: ...


def open(
    path: str | PathLike[str],
    *,
    keys: Mapping[str, str | None] | None = None,
    units: Mapping[str, str] | None = None,
    splits: Mapping[str, Any] | None = None,
    domain: str | None = None,
    trust_pickle: bool = False,
) -> Dataset[Any]:
    """Opens a data set of any domain.

    Args:
        path: a file, a folder, a description (.yaml, as `zoo data generate` writes it), or the
            name of a set that ships with the package ("gfn2-md10", "pbe-ethanol") or is computed
            when it is opened ("o5-hulls"), whose settings may be changed after a question mark
            ("o5-hulls?train=1024&seed=1", `zoo.datasets.synthetic`), or of a published set whose
            files `zoo data get` brought ("rmd17?molecule=aspirin&split=1"; "root=FOLDER" names a
            folder that has them; `zoo.datasets.published`). Structures of atoms come from files
            that ASE reads (extxyz, traj, db, ...), from an .npz with the arrays of MD17 (`z,R,E,F`)
            or rMD17 (`nuclear_charges,coords,energies,forces`) or of our own layout
            (`zoo.datasets.save_npz`), from LMDB, and from the files of published sets; those of the
            other domains are described in `zoo.datasets.domains`. "moabb:NAME?..." asks MOABB
            for its data set NAME (`zoo.datasets.domains._recordings`); "pyg:texas?download=true"
            lets PyG download a published graph (`zoo.datasets.domains._pyg`).
        keys: field -> the file's name for it, such as {"energy": "REF_energy"} or {"y": "class"};
            None as a name leaves a field out. For atoms the fields are the labels energy, forces,
            stress, dipole, polarizability, ..., also charge and spin; in an .npz also numbers,
            positions, cell and pbc; what isn't mentioned is looked for as `REF_<label>`, then
            `<label>`.
        units: {"energy": "kcal/mol", "length": "angstrom"} (forces are energy/length). Needed for
            the .npz layouts of MD17 and rMD17; ASE's formats are in eV and Å unless said
            otherwise; the other domains have none.
        splits: a description of the splits (`zoo.datasets._splits.make`): kind "random", "group",
            "time", "assigned", "index", "shuffled", "kfold", "within", "leave_out", or "edges" for
            links.
            Shipped sets have their own, which this replaces.
        domain: what the file holds; needed where its content doesn't decide.
        trust_pickle: whether to read a format that is a pickle (PyG's .pt, OC20's LMDB). A pickle
            runs whatever code its author put in: say True only for files of someone you trust.

    Returns:
        The data set; atoms in eV and Å.

    Raises:
        DataError: if there is no such file or set, it can't be read, its content fits several
            domains or none, or a field that was asked for is missing.
        UnitsRequiredError: without `units` where the format has none.
        UnsafeFileError: for a pickle.
        IntegrityError: for a described file that was changed.
        ConfigError: for ill-formed `keys`, `units` or `splits`, or an unknown domain.
    """
    for name, value in {"keys": keys, "units": units, "splits": splits}.items():
        if value is not None and not isinstance(value, Mapping):
            raise ConfigError(f"{name} must map names to values, not {value!r}")
    if fspath(path).startswith(_recordings.MOABB):
        return _choose.open_moabb(fspath(path), keys, splits, units=units, domain=domain)
    if fspath(path).startswith(_pyg.PYG):
        return _choose.open_pyg(
            fspath(path), keys, splits, units=units, domain=domain, trust_pickle=trust_pickle
        )
    options = _obtained.Options(keys, units, splits, domain, trust_pickle)
    place = Path(fspath(path)).expanduser()
    if not isdir(place) and not isfile(place):  # unlike Path.is_file, false for odd names
        named = _open_named(fspath(path), options)
        if named is not None:
            return named
        place = _described(path)
    if place.suffix in (".yaml", ".yml"):
        return _open_described(place, keys, units, splits, domain)
    if domain in (None, "atoms") and _obtained.reader_of(place) is not None:
        return _obtained.open_file(place, options)
    return _open_file(place, str(path), options)


def _open_named(text: str, options: _obtained.Options) -> Dataset[Any] | None:
    """A set that is computed, or that was downloaded; None for one that lies in a file."""
    name, asked, query = text.partition("?")
    if not asked and name not in fetched():
        return None
    about = describe(_described(name)) if name in known() else None
    if about is not None and about.download:
        return _obtained.open_obtained(name, about, query, options, open)
    entries = _known(about) if about is not None else {}
    return _make(name, query, entries, options.keys, options.units, options.splits, options.domain)


def _open_file(place: Path, source: str, options: _obtained.Options) -> Dataset[Any]:
    """A file or folder in one of the formats of its domain."""
    folder = place.is_dir()
    splits = _published.located(options.splits, place if folder else place.parent)
    other = _choose.open_other(
        place,
        options.keys,
        splits,
        units=options.units,
        domain=options.domain,
        trust_pickle=options.trust_pickle,
        source=source,
    )
    if other is not None:
        return other
    if folder and not _readers.is_folder(place):
        raise DataError(f"{place} is a folder without structures of atoms; name a file in it")
    frames, metadata = _readers.read(
        place, options.keys, options.units, trust_pickle=options.trust_pickle
    )
    return AtomsDataset(frames, splits=splits, metadata=metadata, source=source)


def known() -> list[str]:
    """Names of all data sets that the package describes."""
    return sorted(path.stem for path in share.folder("datasets").glob("*.yaml"))


def fetched() -> list[str]:
    """Names of those among them that `zoo data get` downloads."""
    folder = share.folder("datasets")
    texts = {path.stem: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    return sorted(name for name, text in texts.items() if "\ndownload:" in text)


def shipped() -> list[str]:
    """Names of those that ship with the package, or are computed when they are opened."""
    return sorted(set(known()) - set(fetched()))


def describe(path: Path) -> Description:
    """Reads a description.

    Raises:
        ConfigError: for an unknown or missing key.
    """
    entries = read_yaml(path)
    allowed = {entry.name for entry in fields(Description)}
    for key in entries:
        if key not in allowed:
            raise ConfigError(f"{path}: unknown key {key!r}: {nearest(str(key), allowed)}")
    elsewhere = bool({"made", "download"} & set(entries))
    needed = {"title"} if elsewhere else {"title", "file", "sha256"}
    if entries.get("domain", "atoms") == "atoms":
        needed |= {"level_of_theory", "units"}
    missing = needed - set(entries)
    if missing:
        raise ConfigError(f"{path} lacks {', '.join(sorted(missing))}")
    for key in ("units", "elements", "keys", "splits", "generation", "settings"):
        if not isinstance(entries.get(key, {}), dict):
            raise ConfigError(f"{path}: {key} must be a mapping (key: value)")
    if elsewhere:
        return Description(**entries)
    if Path(str(entries["file"])).name != entries["file"]:
        raise ConfigError(f"{path}: file must be a name in the same folder: {entries['file']!r}")
    return Description(**entries)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        DataError: if it can't be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def _described(name: str | PathLike[str]) -> Path:
    """The description of a shipped set, or of one that was made in the working folder."""
    if fspath(name) in known():
        return share.folder("datasets") / f"{fspath(name)}.yaml"
    if isfile(f"{fspath(name)}.yaml"):
        return Path(f"{fspath(name)}.yaml")
    raise DataError(
        f"there is no file {fspath(name)!r}, nor a shipped data set of that name: "
        f"{nearest(Path(fspath(name)).name, known())} (a set made by `zoo data generate` goes by "
        "its name in the folder where its .yaml lies)"
    )


def _open_described(
    path: Path,
    keys: Mapping[str, str | None] | None,
    units: Mapping[str, str] | None,
    splits: Mapping[str, Any] | None,
    domain: str | None,
) -> Dataset[Any]:
    about = describe(path)
    if about.download:
        raise ConfigError(f"{path} describes files to download; open the set by its name")
    if about.made:
        return _make(path.stem, "", _known(about), keys, units, splits, domain)
    if units is not None:
        raise ConfigError(f"{path} says the units of its file ({about.units}); leave out units=")
    if domain not in (None, about.domain):
        raise ConfigError(f"{path} says that its domain is {about.domain!r}, not {domain!r}")
    data = path.parent / about.file
    digest = file_sha256(data)
    if digest != about.sha256:
        raise IntegrityError(
            f"{data} has sha256 {digest}, but {path.name} says {about.sha256}: it was changed; "
            "restore it, or open the data file itself by its path"
        )
    names = {**about.keys, **(keys or {})}
    known = _known(about)
    splits = _published.located(about.splits if splits is None else splits, path.parent)
    if about.domain != "atoms":
        dataset = open(data, keys=names, splits=splits, domain=about.domain)
        dataset.metadata |= known
        dataset.source = path.stem
        return dataset
    frames, metadata = _readers.read(data, names, about.units)
    return AtomsDataset(frames, splits=splits, metadata=metadata | known, source=path.stem)


def _known(about: Description) -> dict[str, Any]:
    """What a description says."""
    described = {entry.name: getattr(about, entry.name) for entry in fields(about)}
    return {key: value for key, value in described.items() if value}


def _make(
    name: str,
    query: str,
    about: Mapping[str, Any],
    keys: Mapping[str, str | None] | None,
    units: Mapping[str, str] | None,
    splits: Mapping[str, Any] | None,
    domain: str | None,
) -> Dataset[Any]:
    _on_demand.check_options(name, keys=keys, units=units)
    made = _on_demand.open_made(name, query, about, splits)
    if domain not in (None, made.domain):
        raise ConfigError(f"the domain of {name} is {made.domain!r}, not {domain!r}")
    return made
