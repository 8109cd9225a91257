"""The parts of a manifest: files, inputs, outputs, training data, measurements, terms."""

import os
import re
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from zoo._spec import DOMAINS
from zoo.errors import nearest

_LOCAL = ("http://127.0.0.1", "http://localhost", "http://[::1]")


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("a sha256 digest has 64 lower-case hexadecimal digits")
    return value


def _git_id(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}", value):
        raise ValueError("a git id has 40 lower-case hexadecimal digits")
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
GitId = Annotated[str, AfterValidator(_git_id)]
Url = Annotated[str, AfterValidator(_address)]


def _domain(value: str) -> str:
    if value not in DOMAINS:
        raise ValueError(f"there is no domain {value!r}: {nearest(value, DOMAINS)}")
    return value


FileName = Annotated[str, AfterValidator(_file_name)]
Domain = Annotated[str, AfterValidator(_domain)]
#: whether no, some or all directions of a structure are periodic
Periodicity = Literal["none", "partial", "full"]


class Entry(BaseModel):
    """A mapping with fixed keys."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_assignment=True)


class File(Entry):
    """One file: its bare name, digest, size in bytes and role."""

    path: FileName
    sha256: Digest
    bytes: Annotated[int, Field(gt=0)]
    role: Literal["weights", "golden", "trust"]


class Part(Entry):
    """One file that authors publish: its address, and the digests known of it.

    `sha256` is null where none is known; `git` is the id that git gives the file, where it lies in
    a public repository. A file with neither is loaded, but said to be unverified.
    """

    url: Url
    sha256: Digest | None = None
    git: GitId | None = None

    @property
    def name(self) -> str:
        """The file's own name."""
        return unquote(self.url.rpartition("/")[2])


class Authors(Part):
    """Weights that the authors of a paper publish.

    `url` is their file and `parts` the others of a checkpoint that lies in several; `converter` a
    source that `zoo.convert` knows, `config` their configuration, `units` the energy and length
    units of their model. `read_in` names where address, configuration and licence were read, and
    `published` what the authors report of these weights, which nobody here has measured.
    """

    converter: str
    config: dict[str, Any] = {}
    units: dict[str, str] | None = None
    parts: list[Part] = []
    read_in: list[str] = []
    published: list[str] = []

    @property
    def items(self) -> list[Part]:
        """All files, the one of `url` first."""
        return [Part(url=self.url, sha256=self.sha256, git=self.git), *self.parts]


class Normalisation(Entry):
    """Constants of a field, or of an output: (value - mean) / std; numbers or nested lists."""

    mean: float | list[Any]
    std: float | list[Any]


class Inputs(Entry):
    """What the weights were trained on, and take.

    Of atoms: periodicity, charges, and `elements`, the atoms seen of each. Of other domains: the
    `shape` of one sample (of one node's features where samples are graphs; null for an axis of any
    length), the number of `tokens`, the names of the `features`, and the constants by which fields
    are standardised.
    """

    domain: Domain = "atoms"
    pbc: list[Periodicity] = ["none"]
    elements: dict[str, Annotated[int, Field(ge=0)]] = {}
    charge: bool = False
    shape: list[int | None] | None = None
    tokens: int | None = None
    features: list[str] = []
    normalisation: dict[str, Normalisation] = {}


class Output(Entry):
    """One output: unit, kind ("total"), level of theory, and whether it is a gradient.

    Of several energy heads ("energy", "energy/<name>") the one with `default` answers where none
    is named. `normalisation` scales what the network gives: value * std + mean.
    """

    unit: str
    kind: str | None = None
    level_of_theory: str | None = None
    conservative: bool | None = None
    default: bool | None = None
    normalisation: Normalisation | None = None


class Data(Entry):
    """A data set that the weights saw."""

    name: str
    sha256: Digest | None = None
    split_sha256: Digest | None = None
    frames: int | None = None


class Training(Entry):
    """How the weights were made; `version` is that of this package, `hours` of wall time."""

    recipe: str | None = None
    recipe_sha256: Digest | None = None
    data: list[Data] = []
    seed: int | None = None
    version: str | None = None
    torch: str | None = None
    hardware: str | None = None
    hours: float | None = None


class Metric(Entry):
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


class License(Entry):
    """Terms of use of weights, code and data; SPDX names where there is one."""

    weights: str
    code: str | None = None
    data: str | None = None


class Tolerance(Entry):
    """Bounds on the deviation from golden outputs, relative to each output's scale."""

    float32: Annotated[float, Field(gt=0)] = 1e-4
    float64: Annotated[float, Field(gt=0)] = 1e-9


class Golden(Entry):
    """The file of inputs and outputs that every installation must reproduce."""

    file: FileName
    rtol: Tolerance = Tolerance()


class Group(Entry):
    """One kind of held-out structure: the share flagged as outside, and the model's error there."""

    frames: int
    flagged: float
    forces_mae: float | None = None


class Separation(Entry):
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


class TrustFile(Entry):
    """The training domain: its file, and the data and frames it was fitted to and calibrated on.

    `quantile` is the share of calibration frames that lie inside.
    """

    file: FileName
    data: str | None = None
    frames: int
    calibration_frames: int
    quantile: float
    separation: list[Separation] = []


class Members(Entry):
    """An ensemble: how many members the weights file holds, and which weights they were."""

    members: Annotated[int, Field(ge=2)]
    joined: list["Parent"] = []


class Parent(Entry):
    """The weights that these were fine-tuned from; `sha256` is that of their weights file."""

    name: str
    sha256: Digest


class FactorizedEntry(Entry):
    """One layer stored in cores: its name, format and ranks, for linear layers also its modes."""

    name: str
    format: Literal["cp", "tucker", "tt", "tr"]
    rank: list[Annotated[int, Field(ge=1)]]
    in_shape: list[Annotated[int, Field(ge=1)]] | None = None
    out_shape: list[Annotated[int, Field(ge=1)]] | None = None


class CompressionEntry(Entry):
    """One pass of `zoo compress`: what was asked for, of which weights, and the layers it changed.

    `rank` is what was given for all layers, or `max_error` the bound on the outputs' relative
    error; `error` is what it came to, `version` that of this package.
    """

    parent: "Parent | None" = None
    version: str
    format: str
    rank: int | float | None = None
    max_error: float | None = None
    error: float
    layers: list[FactorizedEntry]


class AdapterEntry(Entry):
    """Weights that are stored as changes of others.

    `base` are those others, `place` the folder where they were if they have no shipped name.
    `kind`, `rank`, `scale`, `dropout` and `targets` say how they were adapted
    (`zoo.layers.adapters`), `adapted` how many parameters were, `parameters` how many numbers that
    took; `whole` names the tensors that are stored as they are now, `dropped` those that are gone.
    """

    base: Parent
    place: str | None = None
    kind: Literal["tucker", "lora"]
    rank: Annotated[int, Field(ge=1)]
    scale: float
    dropout: float = 0.0
    targets: list[str] = []
    adapted: int
    parameters: int
    whole: list[str] = []
    dropped: list[str] = []
