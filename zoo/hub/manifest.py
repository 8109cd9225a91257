"""Manifests: what a set of trained weights is, where its files lie, and how well it does.

A manifest is a YAML file. Everything printed about weights (cards, lists, errors about unseen
elements) comes from it, and nothing is loaded that it does not describe.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from zoo._files import read_yaml
from zoo.errors import ManifestError, nearest

SCHEMA_VERSION: Final = 1
#: <architecture>-<size>.<dataset>.r<k>
NAME = re.compile(r"[a-z][a-z0-9_]*-[a-z0-9_+-]+\.[a-z0-9][a-z0-9_+-]*\.r[1-9][0-9]*")
_NAME_FORM = "<architecture>-<size>.<dataset>.r<k>, such as tensornet-s.gfn2-md10.r1"
_LOCAL = ("http://127.0.0.1", "http://localhost", "http://[::1]")


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("a sha256 digest has 64 lower-case hexadecimal digits")
    return value


def _address(value: str) -> str:
    if not value.startswith(("https://", *_LOCAL)):
        raise ValueError("an address must start with https://")
    return value


def _file_name(value: str) -> str:
    if value != os.path.basename(value) or value.startswith(".") or "\\" in value or not value:
        raise ValueError("a file lies beside its manifest: give its bare name")
    return value


Digest = Annotated[str, AfterValidator(_digest)]
Url = Annotated[str, AfterValidator(_address)]
FileName = Annotated[str, AfterValidator(_file_name)]
#: whether no, some or all directions of a structure are periodic
Periodicity = Literal["none", "partial", "full"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, validate_assignment=True)


class File(_Entry):
    """One file: its bare name, digest, size in bytes and role."""

    path: FileName
    sha256: Digest
    bytes: Annotated[int, Field(gt=0)]
    role: Literal["weights", "golden", "trust"]


class Authors(_Entry):
    """Weights that the authors of a paper publish.

    `url` is their file, `converter` a source that `zoo.convert` knows, `config` their
    configuration, `sha256` null where no digest is known (loading then says so), `units` the
    energy and length units of their model.
    """

    url: Url
    converter: str
    config: dict[str, Any] = {}
    sha256: Digest | None = None
    units: dict[str, str] | None = None


class Inputs(_Entry):
    """What the weights were trained on; `elements` counts the atoms seen of each element."""

    domain: str = "atoms"
    pbc: list[Periodicity] = ["none"]
    elements: dict[str, Annotated[int, Field(ge=0)]] = {}
    charge: bool = False


class Output(_Entry):
    """One output: unit, kind ("total"), level of theory, and whether it is a gradient.

    Of several energy heads ("energy", "energy/<name>") the one with `default` answers where none
    is named.
    """

    unit: str
    kind: str | None = None
    level_of_theory: str | None = None
    conservative: bool | None = None
    default: bool | None = None


class Data(_Entry):
    """A data set that the weights saw."""

    name: str
    sha256: Digest | None = None
    split_sha256: Digest | None = None
    frames: int | None = None


class Training(_Entry):
    """How the weights were made; `version` is that of this package, `hours` of wall time."""

    recipe: str | None = None
    recipe_sha256: Digest | None = None
    data: list[Data] = []
    seed: int | None = None
    version: str | None = None
    torch: str | None = None
    hardware: str | None = None
    hours: float | None = None


class Metric(_Entry):
    """One measured error, beside the paper's where there is one."""

    dataset: str
    split: str
    target: str
    name: str
    value: float
    unit: str
    std: float | None = None
    n_seeds: int | None = None
    paper_value: float | None = None
    paper_where: str | None = None
    status: Literal["reproduced", "gap", "not_attempted"] | None = None


class License(_Entry):
    """Terms of use of weights, code and data; SPDX names where there is one."""

    weights: str
    code: str | None = None
    data: str | None = None


class Tolerance(_Entry):
    """Bounds on the deviation from golden outputs, relative to each output's scale."""

    float32: Annotated[float, Field(gt=0)] = 1e-4
    float64: Annotated[float, Field(gt=0)] = 1e-9


class Golden(_Entry):
    """The file of inputs and outputs that every installation must reproduce."""

    file: FileName
    rtol: Tolerance = Tolerance()


class Group(_Entry):
    """One kind of held-out structure: the share flagged as outside, and the model's error there."""

    frames: int
    flagged: float
    forces_mae: float | None = None


class Separation(_Entry):
    """How well the trust scores tell unfamiliar structures from those of the training domain.

    `auroc` is by measure, and for the score that joins them; `false_alarms` the share of `inside`
    frames that are flagged, `detected` that of `outside` frames; `rank_correlation` Spearman's,
    of an atom's score with the error of its force, over both. `groups` has one entry for each kind
    of outside structure.
    """

    inside: str
    inside_frames: int
    outside: str
    outside_frames: int
    auroc: dict[str, float]
    false_alarms: float
    detected: float
    rank_correlation: float | None = None
    groups: dict[str, Group] = {}


class TrustFile(_Entry):
    """The training domain: its file, and the data and frames it was fitted to and calibrated on.

    `quantile` is the share of calibration frames that lie inside.
    """

    file: FileName
    data: str | None = None
    frames: int
    calibration_frames: int
    quantile: float
    separation: list[Separation] = []


class Members(_Entry):
    """An ensemble: how many members the weights file holds, and which weights they were."""

    members: Annotated[int, Field(ge=2)]
    joined: list["Parent"] = []


class Parent(_Entry):
    """The weights that these were fine-tuned from; `sha256` is that of their weights file."""

    name: str
    sha256: Digest


class Manifest(_Entry):
    """Everything known of one set of weights; the fields are described in this module."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    architecture: str
    spec_version: Annotated[int, Field(ge=1)] = 1
    config: dict[str, Any]
    conventions: dict[str, str] = {}
    files: list[File] = []
    #: folders on the web that hold the files under their own names, tried after the base URLs
    urls: list[Url] = []
    source: Literal["zoo", "authors"] = "zoo"
    authors: Authors | None = None
    inputs: Inputs = Inputs()
    outputs: dict[str, Output] = {}
    training: Training | None = None
    metrics: list[Metric] = []
    limits: list[str] = []
    license: License
    citation: list[str] = []
    golden: Golden | None = None
    trust: TrustFile | None = None
    ensemble: Members | None = None
    derived_from: Parent | None = None
    certificate: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if not NAME.fullmatch(self.name):
            raise ValueError(f"the name {self.name!r} must read {_NAME_FORM}")
        if not self.name.startswith(f"{self.architecture}-"):
            raise ValueError(f"the name {self.name!r} must begin with {self.architecture!r} and -")
        paths = [item.path for item in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("two files have the same name")
        weights = [item for item in self.files if item.role == "weights"]
        if self.source == "zoo" and (len(weights) != 1 or self.authors is not None):
            raise ValueError("files must list one file of role weights (and `authors` be absent)")
        if self.source == "authors" and (weights or self.authors is None):
            raise ValueError("source: authors needs `authors` (url, converter) and no weights file")
        if self.golden is not None and self.golden.file not in paths:
            raise ValueError(f"golden.file {self.golden.file!r} is not among the files")
        if self.trust is not None and self.trust.file not in paths:
            raise ValueError(f"trust.file {self.trust.file!r} is not among the files")
        return self

    @property
    def weights(self) -> File:
        """The weights file.

        Raises:
            ManifestError: if the weights are the authors' own.
        """
        for item in self.files:
            if item.role == "weights":
                return item
        raise ManifestError(f"{self.name}: its weights are the authors' own file, converted")

    @property
    def golden_file(self) -> File | None:
        """The file of golden inputs and outputs, if there is one."""
        wanted = self.golden.file if self.golden is not None else None
        return next((item for item in self.files if item.path == wanted), None)

    @property
    def trust_file(self) -> File | None:
        """The file of the training domain, if there is one."""
        wanted = self.trust.file if self.trust is not None else None
        return next((item for item in self.files if item.path == wanted), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the fields, without what is empty."""
        values = self.model_dump(mode="json", exclude_none=True)
        kept = ("schema_version", "config")
        return {key: v for key, v in values.items() if key in kept or v not in ([], {})}

    def to_yaml(self) -> str:
        """The text of the manifest's file."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=100)


def read(path: Path) -> Manifest:
    """Reads and validates a manifest.

    Raises:
        ManifestError: names the file, the key and what was expected.
    """
    return build(read_yaml(path, error=ManifestError), where=str(path))


def build(values: dict[str, Any], *, where: str) -> Manifest:
    """A manifest from plain values.

    Args:
        values: the fields.
        where: the file, for messages.

    Raises:
        ManifestError: names `where`, the key and what was expected.
    """
    version = values.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ManifestError(
            f"{where} has schema_version {version}, this release reads up to {SCHEMA_VERSION}; "
            "run: pip install -U geometric-zoo"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as problem:
        lines = "; ".join(_words(error) for error in problem.errors())
        raise ManifestError(f"{where}: {lines}") from None


def _words(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "the manifest"
    if error["type"] == "extra_forbidden":
        *parents, last = error["loc"]
        return f"{place}: unknown key: {nearest(str(last), _keys(Manifest, parents))}"
    if error["type"] == "missing":
        return f"{place} is missing"
    shown = f", not {error['input']!r}" if isinstance(error["input"], (str, int, float)) else ""
    return f"{place}: {error['msg']}{shown}"


def _keys(model: Any, parents: list[Any]) -> list[str]:
    """The known keys at a place of the schema."""
    for part in parents:
        if isinstance(part, str) and part in model.model_fields:
            model = _inner(model.model_fields[part].annotation)
        if not hasattr(model, "model_fields"):
            return []
    return list(model.model_fields)


def _inner(annotation: Any) -> Any:
    """The model inside `X | None`, `list[X]` or `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_inner(item) for item in get_args(annotation)]
    return next((item for item in found if hasattr(item, "model_fields")), annotation)


def derive_name(base: str, dataset: str, revision: int = 1) -> str:
    """The name of weights made from others, or from an architecture's preset.

    Args:
        base: a checkpoint's name or a preset ("tensornet-s"); an architecture becomes
            "<architecture>-custom".
        dataset: any word; what a name can't hold becomes a hyphen.
        revision: k of `.r<k>`.

    Returns:
        A name of the form `<architecture>-<size>.<dataset>.r<k>`.
    """
    stem = base.partition(".")[0]
    stem = stem if "-" in stem else f"{stem}-custom"
    word = re.sub(r"[^a-z0-9_+-]+", "-", dataset.lower()).strip("-_+") or "data"
    return f"{stem}.{word}.r{revision}"
