"""What is installed here, and what would get in the way."""

import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from zoo._environment import VARIABLES, cache_folder, shared_caches

DISTRIBUTION = "geometric-zoo"
# a name, extras, perhaps an upper bound, the lower bound, and what follows it
_REQUIREMENT = re.compile(
    r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:<\s*[0-9.]+\s*,)?\s*>=\s*([0-9.]+)(.*)$"
)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: what was looked at.
        status: "ok", "note" (optional, or good to know) or "problem".
        detail: what was found, and how to mend it.
    """

    name: str
    status: str
    detail: str


def doctor() -> list[Finding]:
    """Looks at the interpreter, the dependencies, the extras, the devices and the cache.

    Returns:
        Findings; nothing is changed and no network is used.
    """
    found = [Finding("python", "ok", f"{platform.python_version()} at {sys.executable}")]
    found += [*_packages(), *_clashes(), *_devices(), *_cache()]
    return found


def _packages() -> Iterator[Finding]:
    """Each requirement of the distribution against what is installed."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(DISTRIBUTION, "problem", "not installed; run: pip install -e .")
        return
    yield Finding(DISTRIBUTION, "ok", importlib.metadata.version(DISTRIBUTION))
    for requirement in requirements:
        parsed = _REQUIREMENT.match(requirement)
        if parsed is None:
            continue
        name, lowest, rest = parsed.groups()
        extra = _EXTRA.search(rest)
        yield _package(name, lowest, extra.group(1) if extra else None)


def _package(name: str, lowest: str, extra: str | None) -> Finding:
    label = name if extra is None else f"{name} (extra {extra})"
    wanted = f"{name}>={lowest}" if extra is None else f"{DISTRIBUTION}[{extra}]"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        status = "problem" if extra is None else "note"
        return Finding(label, status, f'not installed; run: pip install "{wanted}"')
    if _release(version) < _release(lowest):
        advice = f'{version} is older than {lowest}; run: pip install -U "{wanted}"'
        return Finding(label, "problem", advice)
    return Finding(label, "ok", version)


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "2.13.0+cpu" is (2, 13, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _clashes() -> Iterator[Finding]:
    """Another distribution that installs an import root called `zoo` would mix with ours."""
    owners = set(importlib.metadata.packages_distributions().get("zoo", [])) - {DISTRIBUTION}
    if owners:
        names = ", ".join(sorted(owners))
        advice = f"{names} also provides the import name zoo; use separate environments"
        yield Finding("import name", "problem", advice)


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("cpu", "ok", f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads")
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = "torch is built without CUDA" if built is None else "no device answers"
        yield Finding("cuda", "note", f"not available ({why})")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 2**30
        yield Finding(f"cuda:{index}", "ok", f"{properties.name}, {memory:.0f} GiB")


def _cache() -> Iterator[Finding]:
    """Where downloaded weights go, and what the environment says of it and of the network."""
    folder = cache_folder()
    existing = folder
    while not existing.exists():
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            yield Finding("cache", "ok", f"{folder}, {size / 2**20:.1f} MiB")
    except OSError as problem:
        advice = f"{folder}: {problem.strerror or problem}; set ZOO_CACHE to a writable folder"
        yield Finding("cache", "problem", advice)
    for shared in shared_caches():
        readable = shared.is_dir() and os.access(shared, os.R_OK | os.X_OK)
        detail = str(shared) if readable else f"{shared} is no folder that can be read; it is empty"
        yield Finding("shared cache", "ok" if readable else "note", detail)
    for name, words in VARIABLES.items():
        if name in os.environ:
            yield Finding(name, "note", f"set to {os.environ[name]!r}; {words}")
