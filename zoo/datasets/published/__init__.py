"""Readers of the sets that papers publish, in the formats in which their authors do.

`zoo.datasets.open("rmd17?molecule=aspirin")` finds them through `datasets/<name>.yaml`; a file or
folder of one's own in the same layout opens by its path.
"""

from collections.abc import Mapping
from pathlib import Path

from zoo.datasets.published import ani, md17, mptrj, oc20, pubchemqcr, qm9, spice, wbm
from zoo.datasets.published._common import Found as Found
from zoo.datasets.published._common import Reader as Reader

READERS: Mapping[str, Reader] = {
    "qm9": qm9.READER,
    "md17": md17.MD17,
    "md17-ccsd": md17.CCSD,
    "rmd17": md17.RMD17,
    "spice": spice.READER,
    "ani1x": ani.ANI1X,
    "ani2x": ani.ANI2X,
    "oc20": oc20.READER,
    "mptrj": mptrj.READER,
    "wbm": wbm.READER,
    "pubchemqcr": pubchemqcr.READER,
}


def recognised(path: Path) -> str | None:
    """The reader whose layout a file or folder has; None for other files."""
    return next((name for name, reader in READERS.items() if reader.sign(path)), None)
