"""What holds in every domain but atoms: finite numbers, features that vary, labels that balance."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.datasets._check.outliers import FAR, robust
from zoo.datasets._check.report import Finding, finding

Sample = dict[str, np.ndarray]
UNBALANCED = 20  # times as many samples of one class as of another
OUTLIERS = 0.02  # share of samples above which far targets are a long tail and not faults
OF_ROWS = ("graph", "points", "particles", "complex", "sequence")  # samples are rows of features
MANY = 64  # classes shown in a summary


def to_arrays(sample: Any) -> Sample:
    """A sample of any domain as plain arrays; words and other objects are left out."""
    items = sample.items() if isinstance(sample, dict) else sample.to_dict().items()
    return {k: np.asarray(v) for k, v in items if hasattr(v, "shape")}


class Values:
    """Every field: finite, of which shapes and range, constant columns.

    Args:
        labels: names of the labels.
        domain: decides what columns are: entries of a vector, features of rows, or nothing.
    """

    def __init__(self, labels: frozenset[str], domain: str) -> None:
        self._labels = labels
        self._domain = domain
        self._infinite: dict[str, list[int]] = {}
        self._shapes: dict[str, Counter[str]] = {}
        self._low: dict[str, np.ndarray] = {}
        self._high: dict[str, np.ndarray] = {}
        self._empty: dict[str, list[int]] = {}
        self._seen = 0

    def see(self, index: int, sample: Sample) -> None:
        """Takes in one sample."""
        self._seen += 1
        for name, array in sample.items():
            self._shapes.setdefault(name, Counter())[_shape(array)] += 1
            if array.size == 0 and not name.endswith("index"):
                self._empty.setdefault(name, []).append(index)
            elif array.dtype.kind == "f" and not np.isfinite(array).all():
                self._infinite.setdefault(name, []).append(index)
            elif array.dtype.kind in "iuf" and array.size:
                self._range(name, array)

    def _range(self, name: str, array: np.ndarray) -> None:
        """Smallest and largest value of each column, where the number of columns stays."""
        if array.ndim == 2 and self._domain in OF_ROWS:
            rows = array
        elif array.ndim == 1 and self._domain == "vector":
            rows = array[None]
        else:
            rows = array.reshape(-1, 1)
        low, high = rows.min(axis=0), rows.max(axis=0)
        if name in self._low:
            if low.shape != self._low[name].shape:
                low, high = low.min(keepdims=True), high.max(keepdims=True)
                self._low[name] = self._low[name].min(keepdims=True)
                self._high[name] = self._high[name].max(keepdims=True)
            low, high = np.minimum(low, self._low[name]), np.maximum(high, self._high[name])
        self._low[name], self._high[name] = low, high

    def findings(self) -> Iterator[Finding]:
        """What isn't finite, empty or constant."""
        for name, frames in self._infinite.items():
            yield finding(
                "error",
                "finite",
                f"{name} is NaN or infinite in {len(frames)} samples",
                frames=frames,
                mend="leave these samples out, or fill the gaps",
            )
        for name, frames in self._empty.items():
            text = f"{name} is empty in {len(frames)} samples"
            yield finding("warning", "empty", text, frames=frames, mend="leave these samples out")
        for name in self._low:
            same = np.flatnonzero(self._low[name] == self._high[name])
            # one value of one sample is constant by itself
            if len(same) and self._varies(name):
                yield self._constant(name, same)

    def _varies(self, name: str) -> bool:
        """Whether a field could vary: several samples, or several rows."""
        structural = name.endswith(("index", "_sign", "mask")) or name in ("num_cells", "face")
        rows = any("rows" in shape for shape in self._shapes[name])
        return not structural and (self._seen > 1 or rows) and name not in ("batch", "ptr")

    def _constant(self, name: str, same: np.ndarray) -> Finding:
        total = len(self._low[name])
        shown = ", ".join(map(str, same[:8].tolist())) + (", ..." if len(same) > 8 else "")
        columns = f"columns {shown} of {total}" if total > 1 else "all values"
        severity = "warning" if name in self._labels or len(same) == total else "info"
        return finding(
            "warning" if severity == "warning" else "info",
            "constant",
            f"{name}: {columns} never change",
            evidence={"columns": same[:100].tolist()},
            mend=f"leave them out: they tell a model nothing about {name}",
        )

    def summary(self) -> dict[str, Any]:
        """Shapes and ranges."""
        fields = {}
        for name, shapes in self._shapes.items():
            about: dict[str, Any] = {"shapes": dict(shapes.most_common(5))}
            if name in self._low:
                about["from"] = float(self._low[name].min())
                about["to"] = float(self._high[name].max())
            fields[name] = about
        return {"fields": fields}


def _shape(array: np.ndarray) -> str:
    """A shape with the first of several axes, which counts rows, left open where it is long."""
    if array.ndim >= 2:
        return f"(rows, {', '.join(map(str, array.shape[1:]))})"
    return "(rows)" if array.ndim == 1 and len(array) > 1 else str(array.shape)


class Labels:
    """The label `y`: balance of its classes in all and in each split, or spread of its values.

    Args:
        splits: split of each sample, "" where it is in none.
        classes: names of the classes, or None.
    """

    def __init__(self, splits: np.ndarray, classes: tuple[str, ...] | None) -> None:
        self._splits = splits
        self._classes = classes
        self._counts: dict[str, Counter[int]] = {}
        self._values: list[tuple[int, float]] = []

    def see(self, index: int, sample: Sample) -> None:
        """Takes in one sample."""
        label = sample.get("y")
        if label is None or not label.size:
            return
        if label.dtype.kind in "iub":
            for split, part in _parts(sample, label, str(self._splits[index])):
                numbers, counts = np.unique(part, return_counts=True)
                found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
                self._counts.setdefault(split, Counter()).update(found)
        elif label.size == 1 and np.isfinite(label).all():
            self._values.append((index, float(label.reshape(-1)[0])))

    def _total(self) -> Counter[int]:
        return sum(self._counts.values(), Counter())

    def findings(self) -> Iterator[Finding]:
        """Classes that are rare, missing in train or negative; targets far from the others."""
        yield from self._balance()
        if len(self._values) < 10:
            return
        frames, values = np.array(self._values).T
        far = np.abs(robust(values)) > FAR
        if 0 < far.mean() <= OUTLIERS:
            worst = int(np.abs(robust(values)).argmax())
            yield finding(
                "warning",
                "outliers",
                f"y of {int(far.sum())} samples lies over {FAR:g} robust standard deviations from "
                f"the median (worst: sample {int(frames[worst])}, {values[worst]:.4g})",
                frames=frames[far].astype(int).tolist(),
                mend="look at these samples",
            )

    def _balance(self) -> Iterator[Finding]:
        total = self._total()
        if not total:
            return
        negative = [k for k in total if k < 0]
        if negative:
            yield finding(
                "warning",
                "classes",
                f"{sum(total[k] for k in negative)} labels are negative ({min(negative)}, ...)",
                mend="-1 often means unlabelled: leave these out of train, val and test",
            )
        ordered = total.most_common()
        (largest, most), (smallest, least) = ordered[0], ordered[-1]
        if len(total) == 1:
            text = f"all labels are {self._name(largest)}"
            yield finding("warning", "classes", text, mend="check keys={'y': ...}")
        elif most > UNBALANCED * least:
            yield finding(
                "warning",
                "classes",
                f"classes are unbalanced: {most} of {self._name(largest)}, {least} of "
                f"{self._name(smallest)}",
                mend="compare balanced accuracy and not accuracy; weight the loss",
            )
        train = self._counts.get("train")
        for split, counts in self._counts.items():
            unseen = sorted(k for k in counts if train and split != "" and k not in train)
            if unseen and split != "train":
                named = ", ".join(self._name(k) for k in unseen[:8])
                yield finding(
                    "warning",
                    "classes",
                    f"the split {split!r} has classes that train never shows: {named}",
                    mend="split so that train has every class",
                )
        missing = set(range(len(self._classes or ()))) - set(total)
        if missing:
            named = ", ".join(self._name(k) for k in sorted(missing)[:8])
            yield finding("info", "classes", f"no sample is of the class {named}")

    def _name(self, number: int) -> str:
        known = self._classes is not None and 0 <= number < len(self._classes)
        return repr(self._classes[number]) if known and self._classes else str(number)

    def summary(self) -> dict[str, Any]:
        """Class counts, or the range of the values."""
        found: dict[str, Any] = {}
        if self._counts:
            total = self._total()
            found["classes"] = {self._name(k): total[k] for k in sorted(total)[:MANY]}
            named = {s: c for s, c in self._counts.items() if s}
            if named:
                found["classes by split"] = {
                    s: {self._name(k): c[k] for k in sorted(c)[:MANY]} for s, c in named.items()
                }
        if self._values:
            low, middle, high = np.quantile([v for _, v in self._values], [0, 0.5, 1])
            found["y"] = {"smallest": float(low), "median": float(middle), "largest": float(high)}
        return found


def _parts(sample: Sample, label: np.ndarray, split: str) -> Iterator[tuple[str, np.ndarray]]:
    """Labels by split: of the sample, or of its rows where it has masks."""
    masks = {
        name.removesuffix("_mask"): array
        for name, array in sample.items()
        if name.endswith("_mask") and array.shape == label.shape
    }
    if not masks:
        yield split, label
        return
    rest = np.ones(len(label), dtype=bool)
    for name, mask in masks.items():
        rest &= ~mask
        yield name, label[mask]
    if rest.any():
        yield "", label[rest]
