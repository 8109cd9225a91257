"""What scikit-learn estimators are given: signals, matrices, MNE's `Epochs`, and domains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import DataError, UnsupportedInputError

#: entries may differ by this part of the largest one in matrices that count as symmetric
_ASYMMETRY = 1e-6


@dataclass(frozen=True)
class Samples:
    """Signals (n, c, t) or SPD matrices (n, c, c).

    Attributes:
        values: in float64.
        labels: what the input itself says of the classes, as the events of `Epochs`; else None.
    """

    values: np.ndarray
    labels: np.ndarray | None

    @property
    def matrices(self) -> bool:
        """Whether these are matrices rather than signals: any of them is symmetric.

        Others that aren't are then refused by the network, by name, and not read as signals.
        """
        rows, columns = self.values.shape[1:]
        if rows != columns:
            return False
        skew = np.abs(self.values - self.values.transpose(0, 2, 1)).max((1, 2))
        size = np.abs(self.values).max((1, 2))
        return bool(((skew <= _ASYMMETRY * size) & (size > 0)).any())

    @property
    def scale(self) -> float:
        """The factor that brings the mean variance to one: of signals, or of matrices."""
        if self.matrices:
            level = np.trace(self.values, axis1=1, axis2=2).mean() / self.values.shape[1]
            return float(1.0 / level) if level > 0 else 1.0
        spread = float(self.values.std(axis=2).mean())
        return 1.0 / spread if spread > 0 else 1.0


def read(inputs: Any) -> Samples:
    """Samples of any accepted kind.

    Args:
        inputs: an array (n, c, t) or (n, c, c), a list of arrays (c, t), MNE's `Epochs`, or a list
            of them.

    Raises:
        UnsupportedInputError: for anything else, another number of axes, no sample.
        DataError: for numbers that are not finite.
    """
    listed = isinstance(inputs, Sequence) and not isinstance(inputs, str)
    if hasattr(inputs, "get_data"):
        return _checked(_epochs([inputs]))
    if listed and len(inputs) and all(hasattr(item, "get_data") for item in inputs):
        return _checked(_epochs(inputs))
    try:
        values = np.asarray(inputs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UnsupportedInputError(
            "X must be an array of signals (samples, channels, times) or matrices (samples, n, n), "
            f"or MNE's Epochs; {type(inputs).__name__} can't be read as one: {error}"
        ) from error
    return _checked(Samples(values, None))


def _epochs(inputs: Sequence[Any]) -> Samples:
    """Data in volts (or what the channels have), and the codes of the events."""
    values = [np.asarray(item.get_data(), dtype=np.float64) for item in inputs]
    if len({value.shape[1:] for value in values}) > 1:
        shapes = sorted({value.shape[1:] for value in values})
        raise DataError(
            f"the Epochs have different channels and times: {shapes}; pick the same channels and "
            "window in all"
        )
    codes = [np.asarray(item.events)[:, -1] for item in inputs]
    return Samples(np.concatenate(values), np.concatenate(codes))


def _checked(samples: Samples) -> Samples:
    values = samples.values
    if values.ndim != 3 or 0 in values.shape:
        raise UnsupportedInputError(
            f"X has the shape {values.shape}; expected signals (samples, channels, times) or "
            "matrices (samples, n, n), with at least one sample. Reshape your data: features of a "
            "table are not what these classifiers take"
        )
    if not np.isfinite(values).all():
        bad = np.unique(np.nonzero(~np.isfinite(values))[0])[:8].tolist()
        raise DataError(
            f"X contains NaN or infinity in the samples {bad}; leave them out, or fill the gaps"
        )
    return samples


def numbered(domains: Any, count: int, known: Sequence[Any] | None = None) -> tuple[Any, list[Any]]:
    """The number of each sample's domain, and the domains in order.

    Args:
        domains: a label for each sample.
        count: of the samples.
        known: domains that have numbers already; new ones follow them.

    Raises:
        DataError: for another number of labels.
    """
    labels = np.asarray(domains)
    if labels.shape != (count,):
        raise DataError(
            f"domains has the shape {labels.shape}; expected ({count},), one per sample"
        )
    order = [] if known is None else list(known)
    order += [label for label in np.unique(labels).tolist() if label not in order]
    places = {label: place for place, label in enumerate(order)}
    return np.array([places[label] for label in labels.tolist()], dtype=np.int64), order
