"""Writing the splits of a data set down, so that others divide it the same way.

A `.npz` holds the numbers of the samples of each split under its name, and beside them how many
samples there were, the hash of the division and how it was made; `splits={"kind": "index", "file":
"splits.npz"}` reads it. A `.yaml` holds the description itself, with the numbers in it, as recipes
and `splits=` take it.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zoo._files import YAML_LIMIT, write_atomic
from zoo.errors import ConfigError, DataError

NAMES = ("train", "val", "test")  # what an .npz of numbers is read back under


def write_splits(
    dataset: Any, path: str | Path, *, made: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Writes the splits of a data set.

    Args:
        dataset: with splits.
        path: ends in .npz or .yaml; replaced in one step.
        made: the description that the splits were made from, kept for the reader.

    Returns:
        What `zoo.datasets.open` takes as `splits=` to divide the data set in the same way.

    Raises:
        ConfigError: for another suffix, or names of splits that an .npz can't say.
        DataError: for a data set without splits.
        OutputError: if the file can't be written.
    """
    path = Path(path)
    if not dataset.splits:
        raise DataError(f"{dataset.source} has no splits; say how with splits= or --kind")
    content: bytes | str
    if path.suffix == ".npz":
        spec, content = _npz(dataset, path, made)
    elif path.suffix in (".yaml", ".yml"):
        spec, content = _yaml(dataset, path, made)
    else:
        raise ConfigError(f"{path} should end in .npz or .yaml")
    write_atomic(path, content)
    return spec


def _npz(dataset: Any, path: Path, made: Mapping[str, Any] | None) -> tuple[dict[str, Any], bytes]:
    for name in dataset.splits:
        if name not in NAMES:
            raise ConfigError(
                f"an .npz of splits knows {', '.join(NAMES)}, not {name!r}; write {path.stem}.yaml"
            )
    about = {"samples": len(dataset), "split_hash": dataset.split_hash, "made": dict(made or {})}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), **dataset.splits)
    return {"kind": "index", "file": str(path)}, buffer.getvalue()


def _yaml(dataset: Any, path: Path, made: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    numbers = {name: part.tolist() for name, part in dataset.splits.items()}
    spec = {"kind": "index", "indices": numbers}
    head = [
        f"# splits of {Path(dataset.source).name}, {len(dataset)} samples",
        f"# hash {dataset.split_hash}",
    ]
    if made:
        head.append(f"# made from {json.dumps(dict(made))}")
    lists = yaml.safe_dump(spec, default_flow_style=None, sort_keys=False, width=100)
    content = "\n".join([*head, lists])
    if len(content) > YAML_LIMIT:
        raise ConfigError(f"{len(dataset)} numbers are too many for YAML; write {path.stem}.npz")
    return spec, content
