"""The one place where a pickle is read, and only one that the caller trusts.

Reading a pickle runs whatever code its author put in, so every caller has been given
`trust_pickle=True` by its own.
"""

import pickle
import warnings
from pathlib import Path
from typing import IO, Any

from zoo.errors import DataError


def unpickle(stream: IO[bytes], where: str | Path) -> Any:
    """What a trusted pickle holds; strings of Python 2 are read as latin-1.

    Args:
        stream: the pickle.
        where: the file, for messages.

    Raises:
        DataError: if it can't be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes that moved since, such as SciPy's
            return pickle.load(stream, encoding="latin1")
    except MemoryError:
        raise
    except Exception as error:  # a pickle runs any code, which fails in any way
        raise DataError(f"{where} can't be read: {type(error).__name__}: {error}") from error
