"""What structures a data set holds, and which of them no model takes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from zoo.datasets._check.frame import Frame
from zoo.datasets._check.report import Finding, finding

RARE = 10  # frames with an element below which a model learns little about it


class Contents:
    """Counts, elements, cells, charges; structures and labels that are not finite or not possible.

    Args:
        splits: split of each frame by number, "" where it is in none.
    """

    def __init__(self, splits: np.ndarray) -> None:
        self._splits = splits
        self._sizes: list[int] = []
        self._atoms: Counter[int] = Counter()  # by atomic number
        self._frames: Counter[int] = Counter()  # frames that hold the element
        self._pbc: Counter[str] = Counter()
        self._charges: Counter[float] = Counter()
        self._spins: Counter[float] = Counter()
        self._refused: dict[int, str] = {}
        self._infinite: dict[str, list[int]] = {}
        self._asymmetric: list[int] = []
        self._by_split: dict[str, set[int]] = {}

    def see(self, index: int, sample: Frame) -> None:
        """Takes in one frame."""
        self._sizes.append(len(sample))
        numbers, counts = np.unique(sample.structure.numbers, return_counts=True)
        present = {int(z): int(n) for z, n in zip(numbers, counts, strict=True)}
        self._atoms.update(present)
        self._frames.update(present.keys())
        self._by_split.setdefault(str(self._splits[index]), set()).update(present)
        self._pbc["".join("TF"[not p] for p in sample.structure.pbc)] += 1
        self._charges[sample.charge] += 1
        self._spins[sample.spin] += 1
        if sample.refusal:
            self._refused[index] = sample.refusal
        for name, value in sample.labels.items():
            if not np.isfinite(value).all():
                self._infinite.setdefault(name, []).append(index)
            elif name in ("stress", "virial", "polarizability") and not _symmetric(value):
                self._asymmetric.append(index)

    def findings(self) -> Iterator[Finding]:
        """Refused structures, labels that aren't finite, elements that are rare or unseen."""
        reasons: dict[str, list[int]] = {}
        for index, reason in self._refused.items():
            reasons.setdefault(reason.removeprefix("structure 0"), []).append(index)
        for reason, frames in list(reasons.items())[:5]:
            text = reason.lstrip(", :")
            yield finding("error", "structures", text, frames=frames, mend="remove these frames")
        if len(reasons) > 5:
            yield finding("error", "structures", f"and {len(reasons) - 5} more kinds of problem")
        for name, frames in self._infinite.items():
            yield finding(
                "error",
                "finite",
                f"{name} is NaN or infinite in {len(frames)} frames",
                frames=frames,
                mend="remove these frames, or compute them again",
            )
        if self._asymmetric:
            yield finding(
                "warning",
                "symmetric",
                f"a 3 x 3 label is not symmetric in {len(self._asymmetric)} frames",
                frames=self._asymmetric,
                mend="check the order of its components (ASE's six: xx, yy, zz, yz, xz, xy)",
            )
        yield from self._rare()

    def _rare(self) -> Iterator[Finding]:
        train = self._by_split.get("train")
        for name, present in sorted(self._by_split.items()):
            unseen = sorted(present - train) if train and name not in ("", "train") else []
            if unseen:
                yield finding(
                    "warning",
                    "elements",
                    f"the split {name!r} has {_symbols(unseen)}, which train never shows",
                    mend="split so that train has every element, or leave these frames out",
                )
        rare = {z: n for z, n in self._frames.items() if n < min(RARE, len(self._sizes) / 2)}
        if rare:
            shown = ", ".join(f"{_symbol(z)} in {n}" for z, n in sorted(rare.items()))
            yield finding("info", "elements", f"elements of few frames: {shown}")

    def summary(self) -> dict[str, Any]:
        """Counts and histograms."""
        if not self._sizes:
            return {}
        sizes = np.array(self._sizes)
        return {
            "atoms": int(sizes.sum()),
            "atoms per frame": {
                "smallest": int(sizes.min()),
                "median": float(np.median(sizes)),
                "largest": int(sizes.max()),
            },
            "elements": {
                _symbol(z): {"atoms": self._atoms[z], "frames": self._frames[z]}
                for z in sorted(self._atoms)
            },
            "periodic": dict(self._pbc),
            "charges": {f"{c:g}": n for c, n in sorted(self._charges.items())[:20]},
            "multiplicities": {
                "not stated" if s == 0 else f"{s:g}": n for s, n in sorted(self._spins.items())[:20]
            },
        }


def _symmetric(value: np.ndarray) -> bool:
    scale = np.abs(value).max()
    return bool(np.abs(value - value.T).max() <= 1e-6 * scale)


def _symbol(number: int) -> str:
    return chemical_symbols[number] if 0 < number < len(chemical_symbols) else f"Z={number}"


def _symbols(numbers: list[int]) -> str:
    return ", ".join(_symbol(z) for z in numbers)
