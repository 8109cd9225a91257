"""Divisions of the data one after another: published folds, made ones, or other random splits.

A fold is a key of a recipe like any other, `data.splits.fold`, so that a sweep runs over it; what
it means depends on how the data are divided.
"""

from collections.abc import Mapping
from typing import Any

from zoo import datasets, share
from zoo.datasets._open import describe
from zoo.errors import RecipeError
from zoo.training.recipe import Recipe

FOLD = "data.splits.fold"
#: kinds of splits that number their divisions
NUMBERED = ("index", "kfold", "leave_out")


def fold_changes(recipe: Recipe, fold: int) -> dict[str, Any]:
    """What makes a recipe train, validate and test on another division of its data.

    - published folds (`kind: index`), dealt ones (`kfold`) and held-out sessions or subjects
      (`leave_out`) are numbered: that number;
    - random divisions: another seed, counted from the recipe's.

    A recipe without splits takes those that its data bring.

    Args:
        recipe: resolved.
        fold: from 0.

    Returns:
        Overrides of the recipe.

    Raises:
        RecipeError: splits of which there is only one division, or too few.
    """
    splits = dict(recipe.data.splits or _brought(recipe.data.source))
    kind = splits.get("kind")
    if kind in NUMBERED:
        if kind == "leave_out":
            splits.pop("value", None)
        count = splits.get("folds", 10) if kind == "kfold" else None
        if isinstance(count, int) and fold >= count:
            raise RecipeError(
                f"data.splits deals the data into {count} folds; there is no fold {fold}: ask for "
                f"at most {count}, or raise data.splits.folds"
            )
        splits["fold"] = fold
    elif "fractions" in splits and kind != "time":
        splits["seed"] = splits.get("seed", 0) + fold
    else:
        raise RecipeError(
            f"data.splits of kind {kind!r} divide the data in one way only; for folds say "
            "{kind: kfold, folds: 10}, or {kind: index} for those that come with the data"
        )
    return {"data.splits": splits}


def _brought(source: str) -> Mapping[str, Any]:
    """The splits of a shipped set's description; else the file's own."""
    name = source.partition("?")[0]
    known = name in datasets.known()
    own = describe(share.folder("datasets") / f"{name}.yaml").splits if known else None
    return own or {"kind": "index"}
