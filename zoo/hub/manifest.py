"""Manifests: what a set of trained weights is, where its files lie, and how well it does.

A manifest is a YAML file. Everything printed about weights (cards, lists, errors about unseen
elements) comes from it, and nothing is loaded that it does not describe.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from zoo._files import read_yaml
from zoo.errors import ManifestError, nearest
from zoo.hub._entries import (
    AdapterEntry,
    Authors,
    CompressionEntry,
    Entry,
    File,
    Golden,
    Inputs,
    License,
    Members,
    Metric,
    Output,
    Parent,
    Training,
    TrustFile,
    Url,
)

SCHEMA_VERSION: Final = 1
#: <architecture>-<size>.<dataset>.r<k>
NAME = re.compile(r"[a-z][a-z0-9_]*-[a-z0-9_+-]+\.[a-z0-9][a-z0-9_+-]*\.r[1-9][0-9]*")
_NAME_FORM = "<architecture>-<size>.<dataset>.r<k>, such as tensornet-s.gfn2-md10.r1"


class Manifest(Entry):
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
    #: names of the classes, in the order of the logits
    classes: list[str] = []
    #: what the weights were trained to do, as recipes say it
    task: dict[str, Any] | None = None
    training: Training | None = None
    metrics: list[Metric] = []
    limits: list[str] = []
    license: License
    citation: list[str] = []
    golden: Golden | None = None
    trust: TrustFile | None = None
    ensemble: Members | None = None
    #: layers that are stored in cores, one entry for each time that weights were compressed
    compression: list[CompressionEntry] = []
    adapter: AdapterEntry | None = None
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
        inputs = values["inputs"]
        if inputs["domain"] == "atoms":
            foreign = {"shape", "tokens", "features", "normalisation"}
        else:
            foreign = {"pbc", "elements", "charge"}
            foreign |= {key for key, value in inputs.items() if value in ([], {})}
        values["inputs"] = {k: v for k, v in inputs.items() if k not in foreign}
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
