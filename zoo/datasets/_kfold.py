"""k-fold division: every sample is tested on once, and validated on once."""

from typing import Any

import numpy as np

from zoo.datasets._split_tools import Columns, Splits, column_of, generator_of
from zoo.errors import ConfigError, DataError

KFOLD = ("folds", "fold", "seed", "stratify")
USUAL = 10


def kfold(spec: dict[str, Any], columns: Columns, count: int) -> Splits:
    """Test on one piece of `folds`, validate on the next one, train on the rest.

    Args:
        spec: `folds`, into how many pieces the samples are dealt (10 unless said, 3 at least);
            `fold`, the number of the piece to test on, from 0; `seed` of the order; `stratify`,
            a column ("y" for the labels) whose values are shared out evenly.
        columns: by name, (count,) each.
        count: number of samples.

    Returns:
        Numbers by split.

    Raises:
        ConfigError: fewer than three folds, or a fold that isn't there.
        DataError: fewer samples than folds.
    """
    folds, fold = spec.get("folds", USUAL), spec.get("fold", 0)
    if not _is_whole(folds) or folds < 3:
        raise ConfigError(
            f"splits.folds is {folds!r}; it is a whole number from 3 on (one piece to test on, one "
            "to validate on, the rest to train on)"
        )
    if not _is_whole(fold) or not 0 <= fold < folds:
        raise ConfigError(
            f"splits.fold is {fold!r}; with {folds} folds it is one of 0 to {folds - 1}"
        )
    if count < folds:
        raise DataError(f"{count} samples can't be dealt into {folds} folds; lower splits.folds")
    order = generator_of(spec).permutation(count)
    if "stratify" in spec:
        values = np.unique(column_of(spec, "stratify", columns), return_inverse=True)[1]
        order = order[np.argsort(values[order], kind="stable")]
    piece = np.arange(count) % folds  # dealt like cards, so that classes are shared out
    chosen = {"test": piece == fold, "val": piece == (fold + 1) % folds}
    chosen["train"] = ~(chosen["test"] | chosen["val"])
    return {name: order[chosen[name]] for name in ("train", "val", "test")}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
