"""`zoo.datasets.check`: what is in a data set, and what would spoil a training on it."""

from os import PathLike
from typing import Any

import numpy as np

from zoo.datasets._base import RefusedDataError
from zoo.datasets._check import atoms, domains, scan
from zoo.datasets._check.report import ORDER, finding
from zoo.datasets._check.report import CheckReport as CheckReport
from zoo.datasets._check.report import Finding as Finding
from zoo.datasets._open import open as open_dataset
from zoo.errors import ConfigError

LIMIT = 100_000


def check(
    dataset: Any,
    *,
    limit: int = LIMIT,
    progress: scan.Progress | None = None,
    **options: Any,
) -> CheckReport:
    """Looks at every sample of a data set and reports what it found; raises nothing about them.

    Reads the samples one by one and keeps a few numbers of each.

    Args:
        dataset: what `zoo.datasets.open` opens or returns, of any domain.
        limit: samples to read at most; of larger sets, blocks of neighbouring samples spread over
            the whole set are read, and the report says so.
        progress: called with (done, in all).
        options: `keys`, `units`, `splits`, ... of `zoo.datasets.open`, where it opens one.

    Returns:
        The report; `report.ok` says whether there is no error.

    Raises:
        ZooError: if it can't be opened.
        ConfigError: for options of a data set that is open already.
    """
    if isinstance(dataset, (str, PathLike)):
        dataset = _opened(dataset, options)
    elif options:
        raise ConfigError(f"{', '.join(options)}: this data set is open already")
    # values such as 1e300 are reported, not warned of
    with np.errstate(all="ignore"):
        return _checked(dataset, limit, progress or (lambda done, total: None))


def _checked(dataset: Any, limit: int, progress: scan.Progress) -> CheckReport:
    indices = scan.chosen(len(dataset), limit)
    splits = split_names(dataset)
    in_atoms = dataset.domain == "atoms"
    collectors, prepare = (atoms if in_atoms else domains).collectors(dataset, splits)
    found = list(scan.scan(dataset, indices, prepare, collectors, progress))
    summary: dict[str, Any] = {"samples": len(dataset), "labels": sorted(dataset.labels)}
    summary |= {"splits": {name: len(part) for name, part in dataset.splits.items()}}
    for collector in collectors:
        found += collector.findings()
        summary |= collector.summary()
    if not in_atoms:
        found += domains.refused(dataset, found)
    if len(indices) < len(dataset):
        text = f"{len(indices)} of {len(dataset)} samples were read, in blocks over the whole set"
        found.append(finding("info", "sampling", text, mend="check(dataset, limit=...)"))
    return CheckReport(
        source=dataset.source,
        domain=dataset.domain,
        frames=len(dataset),
        read=len(indices),
        summary=summary,
        findings=tuple(sorted(found, key=lambda f: ORDER.index(f.severity))),
    )


def _opened(path: Any, options: dict[str, Any]) -> Any:
    """A data set, also one that `open` refuses for its values: they are what is checked."""
    try:
        return open_dataset(path, **options)
    except RefusedDataError as error:
        return error.dataset


def split_names(dataset: Any) -> np.ndarray:
    """The split of each sample (samples,), "" where it is in none."""
    longest = max((len(name) for name in dataset.splits), default=1)
    names = np.full(len(dataset), "", dtype=f"<U{longest}")
    for name, indices in dataset.splits.items():
        names[indices] = name
    return names
