"""Points, particles, complexes, signals, images, sequences: what is odd in one sample."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zoo.datasets._check.report import Finding, Severity, finding
from zoo.datasets._check.values import Sample

# says what is wrong with a sample as (severity, check, message, how to mend it)
Fault = tuple[Severity, str, str, str]
Judge = Callable[[Sample], Iterator[Fault]]


class Judged:
    """Collects the faults that a function finds in single samples.

    Args:
        judge: of one domain.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._found: dict[Fault, list[int]] = {}
        self._seen = 0

    def see(self, index: int, sample: Sample) -> None:
        """Takes in one sample."""
        self._seen += 1
        for fault in self._judge(sample):
            self._found.setdefault(fault, []).append(index)

    def findings(self) -> Iterator[Finding]:
        """Each fault with the samples that have it."""
        for (severity, check, message, mend), frames in self._found.items():
            text = f"{message} in {len(frames)} of {self._seen} samples"
            yield finding(severity, check, text, frames=frames, mend=mend)

    def summary(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def points(sample: Sample) -> Iterator[Fault]:
    """Clouds: flat, collapsed, with repeated points, with corners that aren't there."""
    pos = sample["pos"]
    face = sample.get("face")
    if face is not None and face.size and (face.min() < 0 or face.max() >= len(pos)):
        yield "error", "faces", "faces name points that aren't there", "number points from 0"
    if len(pos) < 2 or not np.isfinite(pos).all():
        return
    spread = np.linalg.svd(pos - pos.mean(axis=0), compute_uv=False)
    if spread[0] == 0:
        yield "warning", "points", "all points coincide", "leave these samples out"
        return
    if len(np.unique(pos, axis=0)) < len(pos):
        yield "info", "points", "points are there twice", "remove the repeats"
    if len(pos) > 3 and spread[-1] <= 1e-6 * spread[0]:
        yield "info", "points", "all points lie in a plane or on a line", "no frame is unique there"


def particles(sample: Sample) -> Iterator[Fault]:
    """Particles: in the same place, at rest."""
    pos, vel = sample["pos"], sample["vel"]
    if len(pos) > 1 and len(np.unique(pos, axis=0)) < len(pos):
        yield "warning", "particles", "particles share a place", "interactions diverge there"
    if not vel.any():
        yield "info", "particles", "all velocities are zero", "check keys={'vel': ...}"


def complexes(sample: Sample) -> Iterator[Fault]:
    """Complexes: cells of a boundary that aren't there, cells without a boundary."""
    cells = sample["num_cells"].reshape(-1)
    for rank in range(1, len(cells)):
        pairs = sample.get(f"boundary_{rank}_index")
        if pairs is None:
            continue
        limit = cells[rank - 1 : rank + 1, None]
        if (pairs < 0).any() or (pairs >= limit).any():
            text = f"boundary_{rank} names cells that aren't there"
            yield "error", "cells", text, "number cells of each rank from 0"
            return
        if len(np.unique(pairs[1])) < cells[rank]:
            yield "warning", "cells", f"cells of rank {rank} without a boundary", ""
        if len(np.unique(pairs, axis=1).T) < pairs.shape[1]:
            text = f"pairs of boundary_{rank} that are there twice"
            yield "warning", "cells", text, "write each pair once"
        if rank == 1 and len(np.unique(pairs[0])) < cells[0]:
            yield "info", "cells", "vertices of no edge", ""


def signals(sample: Sample) -> Iterator[Fault]:
    """Series: flat or repeated channels, fewer moments than channels."""
    series = main_field(sample)
    if series is None or series.ndim != 2 or not np.isfinite(series).all():
        return
    channels, moments = series.shape
    flat = np.ptp(series, axis=1) == 0
    if flat.any():
        text = "channels that never change"
        yield "warning", "channels", text, "leave them out: their covariance is singular"
    if len(np.unique(series, axis=0)) < channels and not flat.any():
        yield "warning", "channels", "two equal channels", "leave one out"
    if moments <= channels:
        text = f"{moments} moments for {channels} channels"
        yield "warning", "channels", text, "covariances are singular; give (channels, time)"


def images(sample: Sample) -> Iterator[Fault]:
    """Images and fields: of one value, of bytes where others are fractions."""
    picture = main_field(sample)
    if picture is None or not picture.size or not np.isfinite(picture).all():
        return
    if np.ptp(picture) == 0:
        yield "warning", "images", "all values are equal", "leave these samples out"
    elif picture.max() > 1.5 and picture.min() >= 0 and (picture == np.rint(picture)).all():
        yield "info", "images", "values are whole numbers up to 255", "divide by 255 for models"


def sequences(sample: Sample) -> Iterator[Fault]:
    """Sequences: empty, negative tokens."""
    sequence = main_field(sample)
    if sequence is None:
        return
    if len(sequence) == 0:
        yield "warning", "sequences", "empty sequences", "leave these samples out"
    elif sequence.dtype.kind in "iu" and sequence.min() < 0:
        text = "negative tokens"
        yield "error", "tokens", text, "number tokens from 0; give padding its own number"


JUDGES: dict[str, Judge] = {
    "points": points,
    "particles": particles,
    "complex": complexes,
    "signal": signals,
    "image": images,
    "field": images,
    "sequence": sequences,
}


def main_field(sample: Sample) -> np.ndarray | None:
    """The field that a model takes in domains of one field: `x`, or the first that is no label."""
    if "x" in sample:
        return sample["x"]
    return next((a for n, a in sample.items() if n not in ("y", "target", "mask")), None)
