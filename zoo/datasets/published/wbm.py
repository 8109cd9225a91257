"""WBM: crystals made by replacing elements in known ones; the test set of Matbench Discovery.

H.-C. Wang, S. Botti, M. A. L. Marques, Predicting stable crystalline compounds using chemical
similarity, npj Computational Materials 7, 12 (2021). J. Riebesell et al., A framework to evaluate
machine learning crystal stability predictions, Nature Machine Intelligence 7, 836 (2025).

A zip archive of extended XYZ files, one crystal each, named by its `material_id`, and a table. The
table's `uncorrected_energy` (eV per cell, of the relaxed crystal) is the label energy; its
formation energy and distance to the convex hull (eV/atom) become columns.
"""

import csv
import gzip
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets._frames import Frames
from zoo.datasets.published._common import Found, Keys, Reader, one_file, relabelled
from zoo.datasets.published._joined import ZippedXyz
from zoo.errors import DataError

#: column of the table -> column here
NUMBERS = {
    "uncorrected_energy": "uncorrected_energy",
    "e_form_per_atom_mp2020_corrected": "formation_energy",
    "e_above_hull_mp2020_corrected_ppd_mp": "above_hull",
}


def read(place: Path, settings: Mapping[str, Any], keys: Keys) -> Found:
    """Opens the set; 257,487 crystals take about 200 MB of memory.

    Args:
        place: its folder, or the archive beside the table.
        settings: `structures`: relaxed or initial.
        keys: label -> column; None leaves a label out.

    Raises:
        DataError: for a damaged archive or table, or a crystal that the table lacks.
    """
    kind = settings.get("structures", "relaxed")
    archive = one_file(place, f"*wbm-{kind}-atoms.extxyz.zip", f"the {kind} structures")
    stored = ZippedXyz(archive, {"energy": None, "forces": None, "stress": None}, "material_id")
    frames = stored.take(np.arange(len(stored)))
    names = stored.columns["material_id"]
    table = _table(one_file(archive.parent, "*wbm-summary.csv.gz", "the energies"))
    missing = next((str(name) for name in names if str(name) not in table), None)
    if missing is not None:
        raise DataError(f"{archive} has the crystal {missing!r}, which the table lacks")
    values = np.array([table[str(name)] for name in names]).reshape(len(names), -1)
    columns: dict[str, np.ndarray] = dict(zip(NUMBERS.values(), values.T, strict=True))
    labels = {"energy": columns["uncorrected_energy"]}
    frames = replace(frames, labels=labels, columns={"material_id": names, **columns})
    splits = {"kind": "index", "indices": {"test": np.arange(len(frames))}}
    return Found(_finite(relabelled(frames, keys, str(archive))), {"structures": kind}, splits)


def _finite(frames: Frames) -> Frames:
    bad = np.flatnonzero(~np.isfinite(frames.labels.get("energy", np.zeros(1))))
    if len(bad):
        raise DataError(f"the table has no energy of {frames.columns['material_id'][bad[0]]}")
    return frames


def _table(path: Path) -> dict[str, list[float]]:
    """The numbers of every crystal; a cell that is empty is NaN."""
    try:
        with gzip.open(path, "rb") as stream:
            rows = csv.DictReader(io.StringIO(stream.read().decode("utf-8")))
            names = rows.fieldnames or []
            lacking = next((n for n in ("material_id", *NUMBERS) if n not in names), None)
            if lacking is not None:
                raise DataError(f"{path} has no column {lacking!r}; is it the table of WBM?")
            return {
                row["material_id"]: [float(row[name] or "nan") for name in NUMBERS] for row in rows
            }
    except (OSError, EOFError, UnicodeDecodeError, ValueError, TypeError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} can't be read ({error}); is it complete?") from error


def _sign(path: Path) -> bool:
    return path.is_file() and path.name.endswith("wbm-relaxed-atoms.extxyz.zip")


READER = Reader(read, _sign)
