"""Specs: what `models/<architecture>.yaml` says of an architecture, read without importing it."""

import functools
import importlib.metadata
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from zoo import share
from zoo._files import read_yaml
from zoo.errors import ConfigError, UnknownModelError, nearest

GROUP = "zoo.architectures"
DOMAINS = (
    "atoms",
    "particles",
    "points",
    "complex",
    "graph",
    "matrix",
    "signal",
    "tensor",
    "image",
    "field",
    "sequence",
    "vector",
)
_STEM = re.compile(r"[a-z][a-z0-9_]*")
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_PAPER = {"title", "authors", "venue", "year", "arxiv", "doi", "url"}
_SYMMETRY = {"group", "options", "exact", "notes"}


@dataclass(frozen=True)
class Spec:
    """One architecture.

    Attributes:
        name: the registry's key, a Python identifier; also the stem of its files.
        class_path: "package.module:Class".
        domain: what a sample is; one of `DOMAINS`.
        title: its name in the paper.
        paper: title, authors, venue, year, arxiv, doi, url.
        symmetry: `group` ("O(3)"), `options` (other groups by a constructor argument), `exact`
            (false if it holds approximately), `notes`.
        aliases: other spellings that `create` and `convert` accept.
        presets: name -> the arguments in which it differs from the constructor's defaults.
        conservative: whether forces are the gradient of the energy by default; presets with direct
            heads ("forces", "stress") are not.
        tolerances: check -> {"float32": ..., "float64": ...}.
        approximate: the same for configurations whose symmetry holds approximately, which say so
            in an attribute `exact` of the model; replaces `tolerances` check by check.
        test_config: a small configuration for the contract suite.
        outputs: names of the outputs.
        accepts: further domains that instances can take, by a front end that an argument chooses.
        idle_parameters: patterns of names of parameters that rightly get no gradient.
        not_exported: why the architecture can't be made an artefact; empty if it can, or if nobody
            tried.
        notes: anything else that users should know.
        path: the YAML file; None for a class registered without one.
    """

    name: str
    class_path: str
    domain: str
    title: str
    paper: Mapping[str, Any]
    symmetry: Mapping[str, Any]
    aliases: tuple[str, ...] = ()
    presets: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    conservative: bool = True
    tolerances: Mapping[str, dict[str, float]] = field(default_factory=dict)
    approximate: Mapping[str, dict[str, float]] = field(default_factory=dict)
    test_config: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    idle_parameters: tuple[str, ...] = ()
    not_exported: str = ""
    notes: str = ""
    path: Path | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """All groups that the architecture can be equivariant under, the default one first."""
        return (str(self.symmetry["group"]), *self.symmetry.get("options", ()))

    @property
    def domains(self) -> tuple[str, ...]:
        """All domains whose samples instances can take, the usual one first."""
        return (self.domain, *self.accepts)

    def bounds(self, *, exact: bool = True) -> dict[str, dict[str, float]]:
        """What each check is held to.

        Args:
            exact: whether the model's symmetry is exact.
        """
        return {**self.tolerances} if exact else {**self.tolerances, **self.approximate}


def parse(path: Path) -> Spec:
    """Reads one spec file; the stem is the architecture's name.

    Raises:
        ConfigError: names the file and the key.
    """
    raw = read_yaml(path)
    known = {spec_field.name for spec_field in fields(Spec)} - {"name", "path", "class_path"}
    known.add("class")
    for key in raw:
        if key not in known:
            raise ConfigError(f"{path}: unknown key {key!r}: {nearest(str(key), known)}")
    for key in ("class", "domain", "title", "paper", "symmetry"):
        if key not in raw:
            raise ConfigError(f"{path}: the key {key!r} is missing")
    values = {key: _typed(path, key, value) for key, value in raw.items()}
    spec = Spec(name=path.stem, class_path=values.pop("class"), path=path, **values)
    _check(spec, path)
    return spec


def _typed(path: Path, key: str, value: Any) -> Any:
    if key in ("aliases", "outputs", "accepts", "idle_parameters"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{path}: {key} must be a list of words, not {value!r}")
        return tuple(value)
    wanted: type = str
    if key in ("paper", "symmetry", "presets", "tolerances", "approximate", "test_config"):
        wanted = dict
    elif key == "conservative":
        wanted = bool
    if not isinstance(value, wanted):
        raise ConfigError(f"{path}: {key} must be a {wanted.__name__}, not {value!r}")
    return value


def _check(spec: Spec, path: Path) -> None:
    if not _STEM.fullmatch(spec.name):
        raise ConfigError(f"{path}: a spec's stem is a lower-case Python identifier")
    if not _CLASS.fullmatch(spec.class_path):
        raise ConfigError(f"{path}: class must read package.module:Class, not {spec.class_path!r}")
    for domain in spec.domains:
        if domain not in DOMAINS:
            raise ConfigError(f"{path}: unknown domain {domain!r}: {nearest(domain, DOMAINS)}")
    _check_mappings(spec, path)


def _check_mappings(spec: Spec, path: Path) -> None:
    for name, allowed, mapping in (
        ("paper", _PAPER, spec.paper),
        ("symmetry", _SYMMETRY, spec.symmetry),
    ):
        for key in mapping:
            if key not in allowed:
                raise ConfigError(f"{path}: {name}.{key} is unknown: {nearest(str(key), allowed)}")
    if not isinstance(spec.symmetry.get("group"), str):
        raise ConfigError(f'{path}: symmetry.group must name a group such as "O(3)"')
    for preset, overrides in spec.presets.items():
        if not isinstance(overrides, dict):
            raise ConfigError(f"{path}: presets.{preset} must map arguments to values")
    for key, mapping in (("tolerances", spec.tolerances), ("approximate", spec.approximate)):
        for check, bounds in mapping.items():
            if not isinstance(bounds, dict) or not set(bounds) <= {"float32", "float64"}:
                raise ConfigError(f"{path}: {key}.{check} must map float32 and float64 to bounds")


@functools.cache
def shipped() -> dict[str, Spec]:
    """The specs of this package, by name."""
    paths = sorted(share.folder("models").glob("[!_]*.yaml"))
    return {path.stem: parse(path) for path in paths}


@functools.cache
def plugins() -> dict[str, Spec]:
    """The specs that installed packages bring through entry points.

    The value of an entry point of the group `zoo.architectures` is a `Spec`, the path of a spec
    file, or a function without arguments that returns either. A broken plug-in must not take the
    others down with it: it is left out, with a warning that names it.
    """
    found: dict[str, Spec] = {}
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            spec = _from_entry(entry.load())
        except Exception as problem:  # foreign code may raise anything
            _warn_plugin(entry, str(problem))
            continue
        if spec.name in found or spec.name in shipped():
            _warn_plugin(entry, f"the name {spec.name!r} is taken")
            continue
        found[spec.name] = spec
    return found


def _from_entry(value: Any) -> Spec:
    if callable(value):
        value = value()
    if isinstance(value, Spec):
        return value
    if isinstance(value, (str, Path)):
        return parse(Path(value))
    raise ConfigError(f"expected a Spec or the path of a spec file, not {type(value).__name__}")


def _warn_plugin(entry: importlib.metadata.EntryPoint, why: str) -> None:
    package = entry.dist.name if entry.dist is not None else "an unknown package"
    warnings.warn(
        f"the architecture {entry.name!r} of {package} is left out: {why}",
        RuntimeWarning,
        stacklevel=3,
    )


def names(specs: Mapping[str, Spec]) -> Iterator[str]:
    """Every name that `find` accepts: architectures, aliases and presets."""
    for spec in specs.values():
        yield spec.name
        yield from spec.aliases
        yield from spec.presets


def find(name: str, specs: Mapping[str, Spec]) -> tuple[Spec, dict[str, Any]]:
    """The architecture that a name means, and the arguments that a preset sets.

    Raises:
        UnknownModelError: offers the nearest names.
    """
    if name in specs:
        return specs[name], {}
    for spec in specs.values():
        if name in spec.aliases:
            return spec, {}
        if name in spec.presets:
            return spec, dict(spec.presets[name])
    raise UnknownModelError(
        f"no architecture or preset is called {name!r}: {nearest(name, names(specs))} "
        "(all of them: zoo list)"
    )
