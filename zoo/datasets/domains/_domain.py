"""`Domain`: what a domain adds: how arrays make its samples, and which values it rules out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch_geometric.data import Data

from zoo.datasets.domains._raw import Keys, Raw
from zoo.datasets.domains._store import Store


def anything(store: Store, indices: np.ndarray, source: str) -> None:
    """The check of a domain that rules nothing out beyond NaN."""


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One row of the design's table.

    Attributes:
        name: of the domain.
        build: arrays and `keys` to samples.
        matches: whether arrays, by name and shape, look like this domain; used where a file's
            format says nothing.
        sign: what `matches` looks for, in words.
        container: class of its samples; None for dicts of tensors.
        examine: refuses values.
    """

    name: str
    build: Callable[[Raw, Keys | None], Store]
    matches: Callable[[dict[str, np.ndarray]], bool]
    sign: str
    container: type[Data] | None = None
    examine: Callable[[Store, np.ndarray, str], None] = anything


def has(arrays: dict[str, np.ndarray], *names: str) -> bool:
    """Whether one of the names is there."""
    return any(name in arrays for name in names)
