"""The one place where a pickle is read, and only one that the caller trusts.

Reading a pickle runs whatever code its author put in, so every caller has been given
`trust_pickle=True` by its own.
"""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from zoo.errors import DataError


def unpickle(
    stream: IO[bytes],
    where: str | Path,
    *,
    instead: Mapping[tuple[str, str], type] | None = None,
) -> Any:
    """What a trusted pickle holds; strings of Python 2 are read as latin-1.

    Args:
        stream: the pickle.
        where: the file, for messages.
        instead: classes to make in the place of others, by module and name.

    Raises:
        DataError: if it can't be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes that moved since, such as SciPy's
            if instead:
                return _Replacing(stream, instead).load()
            return pickle.load(stream, encoding="latin1")
    except MemoryError:
        raise
    except Exception as error:  # a pickle runs any code, which fails in any way
        raise DataError(f"{where} can't be read: {type(error).__name__}: {error}") from error


class _Replacing(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], instead: Mapping[tuple[str, str], type]) -> None:
        super().__init__(stream, encoding="latin1")
        self._instead = instead

    def find_class(self, module: str, name: str) -> Any:
        return self._instead.get((module, name)) or super().find_class(module, name)
