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
from zoo.datasets import _on_demand, _published, _readers
from zoo.datasets._base import Dataset
from zoo.datasets.dataset import AtomsDataset
from zoo.datasets.domains import _choose, _pyg, _recordings
from zoo.errors import ConfigError, DataError, IntegrityError, nearest


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `datasets/<name>.yaml` says about a data file beside it, or about a set that is `made`
    by a kind of `zoo.datasets.synthetic` when it is opened."""

    title: str
    file: str = ""
    sha256: str = ""
    made: str = ""
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
            ("o5-hulls?train=1024&seed=1", `zoo.datasets.synthetic`). Structures of
            atoms come from files that ASE reads (extxyz, traj, db, ...), from an .npz with the
            arrays of MD17 (`z,R,E,F`) or rMD17 (`nuclear_charges,coords,energies,forces`) or of
            our own layout (`zoo.datasets.save_npz`), and from LMDB; the files of the other domains
            are described in `zoo.datasets.domains`, one module each. "moabb:NAME?..." asks MOABB
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
    place = Path(fspath(path)).expanduser()
    folder = isdir(place)
    if not folder and not isfile(place):  # unlike Path.is_file, false for names that can't be files
        name, asked, query = fspath(path).partition("?")
        if asked:
            about = _known(describe(_described(name))) if name in shipped() else {}
            return _make(name, query, about, keys, units, splits, domain)
        place = _described(path)
    if place.suffix in (".yaml", ".yml"):
        return _open_described(place, keys, units, splits, domain)
    splits = _published.located(splits, place if folder else place.parent)
    other = _choose.open_other(
        place,
        keys,
        splits,
        units=units,
        domain=domain,
        trust_pickle=trust_pickle,
        source=str(path),
    )
    if other is not None:
        return other
    if folder and not _readers.is_folder(place):
        raise DataError(f"{place} is a folder without structures of atoms; name a file in it")
    frames, metadata = _readers.read(place, keys, units, trust_pickle=trust_pickle)
    return AtomsDataset(frames, splits=splits, metadata=metadata, source=str(path))


def shipped() -> list[str]:
    """Names of the data sets that ship with the package."""
    return sorted(path.stem for path in share.folder("datasets").glob("*.yaml"))


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
    needed = {"title"} if "made" in entries else {"title", "file", "sha256"}
    if entries.get("domain", "atoms") == "atoms":
        needed |= {"level_of_theory", "units"}
    missing = needed - set(entries)
    if missing:
        raise ConfigError(f"{path} lacks {', '.join(sorted(missing))}")
    for key in ("units", "elements", "keys", "splits", "generation"):
        if not isinstance(entries.get(key, {}), dict):
            raise ConfigError(f"{path}: {key} must be a mapping (key: value)")
    if "made" in entries:
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
    if fspath(name) in shipped():
        return share.folder("datasets") / f"{fspath(name)}.yaml"
    if isfile(f"{fspath(name)}.yaml"):
        return Path(f"{fspath(name)}.yaml")
    raise DataError(
        f"there is no file {fspath(name)!r}, nor a shipped data set of that name: "
        f"{nearest(Path(fspath(name)).name, shipped())} (a set made by `zoo data generate` goes by "
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
