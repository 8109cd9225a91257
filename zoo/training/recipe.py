"""Recipes: what to train, on what, how. Data only; every name resolves through a registry.

A recipe is a YAML file `recipes/<data set>/<architecture>.yaml`. Its schema is the class below and
the sections in `_sections.py`; each says what its keys mean, in which unit. Unknown or ill-typed
entries are errors that name the file, the line, the key and the nearest right key.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)

from zoo import share
from zoo.errors import RecipeError, nearest
from zoo.training._reproduce_section import ReproduceRow as ReproduceRow
from zoo.training._sections import PROPERTIES as PROPERTIES
from zoo.training._sections import DataSection as DataSection
from zoo.training._sections import EarlyStopping as EarlyStopping
from zoo.training._sections import EmaSection as EmaSection
from zoo.training._sections import EnergyTerm as EnergyTerm
from zoo.training._sections import LossSection as LossSection
from zoo.training._sections import ModelSection as ModelSection
from zoo.training._sections import NormaliseSection as NormaliseSection
from zoo.training._sections import OptimizerSection as OptimizerSection
from zoo.training._sections import PublishSection as PublishSection
from zoo.training._sections import ReferencesSection as ReferencesSection
from zoo.training._sections import ScheduleSection as ScheduleSection
from zoo.training._sections import Section as Section
from zoo.training._sections import Term as Term
from zoo.training._sections import TrainerSection as TrainerSection
from zoo.training._symmetry_section import ConstraintSection as ConstraintSection
from zoo.training._symmetry_section import SymmetrySection as SymmetrySection
from zoo.training._task_section import TaskLoss as TaskLoss
from zoo.training._task_section import TaskSection as TaskSection
from zoo.training._yaml import Path_, dotted, read

#: mappings that a tier or an override replaces rather than changes
_WHOLE = {"splits", "keys", "units", "properties"}
#: sections that mean nothing beside `task`
ATOMS_ONLY = ("loss", "references", "normalise")


class Recipe(Section):
    """A whole recipe. `recipe` is the schema's version, `name` the checkpoint's.

    `status`: `experimental`, `trained` (weights of such a run are published), `reproduced` (its
    rows were run and pass), or `not run by us`: a paper's settings on a paper's data, of which
    nobody here has run more than the smoke tier, on a made-up file of the same format.

    `log` says where the losses and errors of every validation go: `csv` (a file), `tensorboard`
    (event files), `wandb` (Weights & Biases; only files while ZOO_OFFLINE=1); the last two need
    the extra `logs`.

    `loss`, `references` and `normalise` are for atoms; what is learnt in any other domain stands
    under `task`. `symmetry` adds terms to the loss that draw a model towards a symmetry, in every
    domain. `reproduce` holds rows of published tables (`zoo reproduce`); like `tiers`, it is
    no part of the resolved recipe.
    """

    later = frozenset({"task", "reproduce", "symmetry"})

    recipe: Literal[1]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
    status: Literal["experimental", "trained", "reproduced", "not run by us"] = "experimental"
    description: str = ""
    model: ModelSection
    data: DataSection
    task: TaskSection | None = None
    loss: LossSection = LossSection()
    references: ReferencesSection = ReferencesSection()
    normalise: NormaliseSection = NormaliseSection()
    symmetry: SymmetrySection | None = None
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    ema: EmaSection | None = EmaSection()
    trainer: TrainerSection = TrainerSection()
    publish: PublishSection = PublishSection()
    log: list[Literal["csv", "tensorboard", "wandb"]] = ["csv"]
    tiers: dict[Literal["smoke", "short", "full"], dict[str, Any]] = {}
    reproduce: list[ReproduceRow] = []

    @model_validator(mode="after")
    def _atoms_only(self) -> Self:
        if self.task is None:
            if "loss" not in self.model_fields_set:
                raise ValueError(
                    "loss: missing; it is required (for domains other than atoms: task)"
                )
            return self
        for name in ATOMS_ONLY:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for atoms; with task, say it under task")
        return self

    @model_validator(mode="after")
    def _rows_differ(self) -> Self:
        names = [row.row for row in self.reproduce]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"reproduce: the row {twice!r} is there twice")
        return self

    @model_serializer(mode="wrap")
    def _without_foreign(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        foreign = {"task"} if self.task is None else set(ATOMS_ONLY)
        foreign |= {name for name in ("reproduce", "symmetry") if not getattr(self, name)}
        return {key: value for key, value in write(self).items() if key not in foreign}

    def to_yaml(self) -> str:
        """Writes the resolved recipe; reading it back gives an equal one."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def sha256(self) -> str:
        """Digest of `to_yaml`, the identity of a resolved recipe."""
        return hashlib.sha256(self.to_yaml().encode()).hexdigest()


def find(ref: str | Path) -> Path:
    """Finds a recipe by path, or a shipped one by `<data set>/<architecture>`.

    Raises:
        RecipeError: neither a file nor a shipped recipe.
    """
    path = Path(ref)
    if path.is_file():
        return path
    name = path.as_posix().removeprefix("recipes/").removesuffix(".yaml")
    folder = Path(str(share.folder("recipes")))
    shipped = {p.relative_to(folder).with_suffix("").as_posix(): p for p in folder.rglob("*.yaml")}
    if name in shipped:
        return shipped[name]
    raise RecipeError(
        f"recipe {str(ref)!r}: neither a file nor a shipped recipe; {nearest(name, shipped)}"
    )


def label(ref: str | Path) -> str:
    """How a manifest names a recipe: a shipped one by its name, a file by its last part."""
    path, folder = find(ref).resolve(), Path(str(share.folder("recipes"))).resolve()
    shipped = path.is_relative_to(folder)
    return path.relative_to(folder).with_suffix("").as_posix() if shipped else path.name


def load(
    ref: str | Path, *, tier: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Recipe:
    """Reads a recipe, applies a tier and overrides, and checks everything, unused tiers too.

    Args:
        ref: a path, or the name of a shipped recipe such as `gfn2-md10/tensornet`.
        tier: a named set of overrides of the recipe itself, such as `smoke`.
        overrides: nested, or with dotted keys: `{"trainer.max_epochs": 3}`.

    Returns:
        The resolved recipe; its `tiers` and `reproduce` are empty.

    Raises:
        RecipeError: unknown keys, wrong types, an unknown tier.
    """
    path = find(ref)
    data, lines = read(path)
    whole = _validate(data, path, lines, ())
    for name, changes in whole.tiers.items():
        _validate(_merge(data, changes), path, lines, ("tiers", name))
    for number, row in enumerate(whole.reproduce):
        _check_row(row, data, path, lines, ("reproduce", number))
    base = {key: value for key, value in data.items() if key not in ("tiers", "reproduce")}
    if tier is not None:
        tiers = {str(name): changes for name, changes in whole.tiers.items()}
        if tier not in tiers:
            raise RecipeError(f"{path}: no tier {tier!r}; {nearest(tier, tiers)}")
        base = _merge(base, tiers[tier])
    return _validate(_merge(base, _nested(overrides or {})), path, lines, ("overrides",))


def _check_row(
    row: ReproduceRow, data: Any, path: Path, lines: Mapping[Path_, int], at: Path_
) -> None:
    """Checks the recipe behind a row, in every tier that the row adds to."""
    changed = _merge(data, _nested(row.changes))
    _validate(changed, path, lines, (*at, "changes"))
    for name, changes in row.tiers.items():
        _validate(_merge(changed, _nested(changes)), path, lines, (*at, "tiers", name))


def rows(ref: str | Path) -> list[ReproduceRow]:
    """The rows of published tables that a recipe can be held against.

    Raises:
        RecipeError: unknown keys, wrong types.
    """
    path = find(ref)
    data, lines = read(path)
    return _validate(data, path, lines, ()).reproduce


def row_settings(
    ref: str | Path, row: ReproduceRow, tier: str
) -> tuple[str | None, dict[str, Any]]:
    """What to run a recipe with, so that it makes a row.

    Args:
        ref: as for `load`.
        row: one of its rows.
        tier: smoke, short or full.

    Returns:
        The tier (None where the recipe has no tier `full` and is itself the full run) and the
        overrides: the row's changes, then the tier's, then the row's for the tier.

    Raises:
        RecipeError: neither the recipe nor the row has such a tier.
    """
    path = find(ref)
    tiers = read(path)[0].get("tiers") or {}
    if tier not in tiers and tier != "full" and tier not in row.tiers:
        raise RecipeError(
            f"{path}: no tier {tier!r}, neither in the recipe nor in the row {row.row}; "
            f"{nearest(tier, {*tiers, *row.tiers, 'full'})}"
        )
    changes = _nested(row.changes)
    for more in (tiers.get(tier), row.tiers.get(tier)):  # type: ignore[call-overload]
        changes = _merge(changes, _nested(more or {}))
    return (tier if tier in tiers else None), changes


def place(ref: str | Path, key: str) -> str:
    """Where a key stands in a recipe, as `file:line: key`, for errors that are found later.

    Args:
        ref: as for `load`.
        key: dotted, such as `model.config.out_channels`; where it is absent, the line is that of
            the nearest section.
    """
    path = find(ref)
    _, lines = read(path)
    known: Path_ = tuple(key.split("."))
    while known and known not in lines:
        known = known[:-1]
    return f"{path}:{lines.get(known, 1)}: {key}"


def resolve(values: Mapping[str, Any], *, where: str) -> Recipe:
    """Checks a recipe that does not come from a file.

    Args:
        values: the whole recipe.
        where: what to call it in errors.

    Raises:
        RecipeError: unknown keys, wrong types.
    """
    return _validate(values, Path(where), {}, ())


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns `{"a.b": 1}` into `{"a": {"b": 1}}`; nested mappings pass unchanged."""
    result: dict[str, Any] = {}
    for key, value in flat.items():
        inner: Any = _nested(value) if isinstance(value, Mapping) else value
        for part in reversed(key.split(".")):
            inner = {part: inner}
        result = _merge(result, inner)
    return result


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merges mappings key by key; anything else, and the keys of `_WHOLE`, is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and key not in _WHOLE:
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _validate(data: Any, path: Path, lines: Mapping[Path_, int], prefix: Path_) -> Recipe:
    """Validates, turning pydantic's findings into one `RecipeError`."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        findings = [_explain(e, path, lines, prefix) for e in error.errors()[:5]]
        raise RecipeError("\n".join(findings)) from error


def _explain(error: Any, path: Path, lines: Mapping[Path_, int], prefix: Path_) -> str:
    """One finding as `file:line: key: what, what was expected`."""
    loc = tuple(part for part in error["loc"] if part != "[key]")
    inside = (*prefix, *loc)
    there = inside in lines or (*prefix, dotted(loc)) in lines
    where = inside if there or prefix == ("overrides",) and loc not in lines else loc
    known = where
    while known and known not in lines:
        known = known[:-1]
    line = f":{lines[known]}" if known in lines and known else ""
    head = f"{path}{line}: {dotted(where)}"
    if error["type"] == "extra_forbidden":
        return f"{head}: unknown key; {_suggest(loc)}"
    if error["type"] == "missing":
        return f"{head}: missing; it is required"
    if error["type"] == "value_error" and not loc:
        return f"{path}: {error['ctx']['error']}"
    return f"{head}: {error['msg'][:1].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _suggest(loc: Path_) -> str:
    """The nearest key of the same section, or the right section of a misplaced key."""
    section: type[BaseModel] = Recipe
    for part in loc[:-1]:
        if isinstance(part, str):  # a number is a place in a list
            section = _section(section, part) or Recipe
    wrong = str(loc[-1])
    for name in [name for name in Recipe.model_fields if name != "reproduce"]:
        inner = _section(Recipe, name)
        if inner is not None and inner is not section and wrong in inner.model_fields:
            return f"did you mean '{name}.{wrong}'?"
    hint = nearest(wrong, section.model_fields)
    here = dotted(loc[:-1])
    return hint.replace("mean '", f"mean '{here}.", 1) if here else hint


def _section(parent: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The section class behind a field, optional or not."""
    field = parent.model_fields.get(name)
    if field is None:
        return None
    options = getattr(field.annotation, "__args__", (field.annotation,))
    for option in options:
        if isinstance(option, type) and issubclass(option, BaseModel):
            return option
    return None
