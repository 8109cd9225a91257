"""Samples that repeat others: to the last bit, or up to motions and the order of the atoms."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.datasets._check.frame import Frame
from zoo.datasets._check.report import Finding, finding

SAME = 1e-6  # relative difference of fingerprints; files round positions to 1e-8 Å
ENERGY = 1e-3  # eV, by which the energies of one structure may differ
WINDOW = 4  # how many neighbours in the sorted list each frame is compared with


class Duplicates:
    """Repeated structures, structures with two energies, and structures in two splits.

    Memory: seven numbers and one digest per frame.

    Args:
        splits: split of each frame by number, "" where it is in none.
        apart: a column whose values keep frames apart (the head of a data set with several
            levels of theory), or None.
    """

    def __init__(self, splits: np.ndarray, apart: np.ndarray | None = None) -> None:
        self._splits = splits
        self._apart = apart
        self._index: list[int] = []
        self._kind: list[bytes] = []
        self._exact: list[bytes] = []
        self._prints: list[np.ndarray] = []
        self._energy: list[float] = []
        self._skipped = 0

    def see(self, index: int, sample: Frame) -> None:
        """Takes in one frame."""
        if sample.refusal:
            return
        s = sample.structure
        fingerprint = s.fingerprint
        if fingerprint is None:
            self._skipped += 1
            fingerprint = np.zeros(6)
        elements = np.sort(s.numbers).tobytes()
        level = "" if self._apart is None else str(self._apart[index])
        kind = f"{s.pbc.tolist()}{sample.charge}{sample.spin}{level}".encode() + elements
        exact = b"".join(a.tobytes() for a in (s.numbers, s.positions + 0.0, s.cell + 0.0))
        energy = sample.label("energy")
        self._index.append(index)
        self._kind.append(_digest(kind))
        self._exact.append(_digest(kind + exact))
        self._prints.append(fingerprint)
        self._energy.append(np.nan if energy is None else float(energy))

    def findings(self) -> Iterator[Finding]:
        """What repeats what."""
        if not self._index:
            return
        groups = self._groups()
        index = np.array(self._index)
        yield from leakage(groups, index, self._splits)
        energy = np.array(self._energy)
        spread = [np.ptp(energy[g]) > ENERGY for g in groups]
        twice = [index[g] for g, two in zip(groups, spread, strict=True) if two]
        if twice:
            worst = max(float(np.ptp(energy[g])) for g in groups if np.ptp(energy[g]) > ENERGY)
            yield finding(
                "error",
                "duplicates",
                f"{len(twice)} structures have two energies, up to {worst:.3g} eV apart (first: "
                f"frames {_few(twice[0])})",
                frames=np.concatenate(twice).tolist(),
                evidence={"largest difference (eV)": worst},
                mend="find out which is right; frames of two levels of theory belong in two sets",
            )
        agreeing = [index[g] for g, two in zip(groups, spread, strict=True) if not two]
        yield from self._repeats(agreeing)
        if self._skipped:
            yield finding(
                "info",
                "duplicates",
                f"{self._skipped} structures are too large for fingerprints; only exact copies "
                "of them are found",
            )

    def _repeats(self, groups: list[np.ndarray]) -> Iterator[Finding]:
        if not groups:
            return
        exact = dict(zip(self._index, self._exact, strict=True))
        copies = sum(len(g) - len({exact[i] for i in g.tolist()}) for g in groups)
        more = sum(len(g) - 1 for g in groups)
        yield finding(
            "warning",
            "duplicates",
            f"{more} frames repeat an earlier structure: {copies} exactly, {more - copies} moved, "
            f"turned, mirrored or with renumbered atoms (first: frames {_few(groups[0])})",
            frames=np.concatenate([g[1:] for g in groups]).tolist(),
            evidence={"exact": copies, "up to motions": more - copies},
            mend="remove the repeats: they count twice in the loss and in the errors",
        )

    def _groups(self) -> list[np.ndarray]:
        """Positions (in the lists) of frames that are the same, at least two each."""
        prints = np.stack(self._prints)
        _, kind = np.unique(np.array(self._kind), return_inverse=True)
        _, exact = np.unique(np.array(self._exact), return_inverse=True)
        order = np.lexsort((exact, prints[:, 0], kind))
        large = ~prints.any(axis=1) & np.array([self._skipped > 0] * len(order))
        joined = np.arange(len(order))
        for step in range(1, min(WINDOW + 1, len(order))):
            a, b = order[:-step], order[step:]
            scale = np.maximum(np.abs(prints[a]), np.abs(prints[b]))
            close = (np.abs(prints[a] - prints[b]) <= SAME * scale).all(axis=1)
            same = (kind[a] == kind[b]) & ((close & ~large[a]) | (exact[a] == exact[b]))
            for first, second in zip(a[same].tolist(), b[same].tolist(), strict=True):
                joined[second] = joined[first]
        members: dict[int, list[int]] = {}
        for position, root in enumerate(joined.tolist()):
            members.setdefault(root, []).append(position)
        return [np.array(sorted(m)) for m in members.values() if len(m) > 1]

    def summary(self) -> dict[str, Any]:
        """How many different structures there are."""
        if not self._index:
            return {}
        repeated = sum(len(g) - 1 for g in self._groups())
        return {"different structures": len(self._index) - repeated}


class Copies:
    """Samples of any domain that are equal to the last bit, and those in two splits.

    Args:
        splits: split of each sample by number, "" where it is in none.
        labels: names of the labels, which don't count.
    """

    def __init__(self, splits: np.ndarray, labels: frozenset[str]) -> None:
        self._splits = splits
        self._labels = labels
        self._found: dict[bytes, list[int]] = {}

    def see(self, index: int, sample: dict[str, np.ndarray]) -> None:
        """Takes in one sample."""
        inputs = {k: v for k, v in sample.items() if k not in self._labels}
        text = b"".join(f"{k}{v.shape}".encode() + v.tobytes() for k, v in sorted(inputs.items()))
        self._found.setdefault(_digest(text), []).append(index)

    def findings(self) -> Iterator[Finding]:
        """What repeats what."""
        groups = [np.array(g) for g in self._found.values() if len(g) > 1]
        if not groups:
            return
        count = int(max(g.max() for g in groups)) + 1
        yield from leakage(groups, np.arange(count), self._splits)
        more = sum(len(g) - 1 for g in groups)
        yield finding(
            "warning",
            "duplicates",
            f"{more} samples repeat an earlier one exactly (first: {_few(groups[0])})",
            frames=np.concatenate([g[1:] for g in groups]).tolist(),
            mend="remove the repeats: they count twice in the loss and in the errors",
        )

    def summary(self) -> dict[str, Any]:
        """How many different samples there are."""
        return {"different samples": len(self._found)} if self._found else {}


def leakage(groups: list[np.ndarray], index: np.ndarray, splits: np.ndarray) -> Iterator[Finding]:
    """An error for each pair of splits that share a sample."""
    shared: dict[tuple[str, str], list[int]] = {}
    for group in groups:
        frames = index[group]
        names = sorted({str(n) for n in splits[frames]} - {""})
        for k, one in enumerate(names):
            for other in names[k + 1 :]:
                shared.setdefault((one, other), []).extend(frames.tolist())
    for (one, other), frames in shared.items():
        yield finding(
            "error",
            "leakage",
            f"the splits {one!r} and {other!r} share {len(frames)} copies of the same samples",
            frames=frames,
            mend="remove the repeats before splitting, or split by group: "
            'splits={"kind": "group", "key": "name", "fractions": {...}}',
        )


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()


def _few(frames: np.ndarray) -> str:
    return " and ".join(str(int(f)) for f in frames[:3])
