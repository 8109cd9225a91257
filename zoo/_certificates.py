"""What `zoo verify` measured, in short: the numbers that lists, cards and the site show.

Those of architectures stand in models/_certificates.yaml, which `zoo verify --all --write` makes
from models with fresh weights in the configurations of the contract suite; those of trained
weights in their manifests. Reading them needs no torch.
"""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from zoo import _catalog, _spec, share
from zoo._files import read_yaml
from zoo.errors import ConfigError, ManifestError

FILE = "_certificates.yaml"
#: checks that measure what a symmetry group promises
EQUIVARIANCE = (
    "rotation",
    "reflection",
    "inversion",
    "translation",
    "permutation",
    "periodic",
    "congruence",
    "basis",
    "isometry",
)
PRECISIONS = ("float64", "float32")
_HEAD = """\
# Certificates of architectures: the largest error of each check and its tolerance, by precision,
# rounded to one digit. Made by: zoo verify --all --write. Tests hold them against this machine.
"""


def of(name: str) -> dict[str, Any] | None:
    """The certificate of an architecture, preset or checkpoint, in short.

    Args:
        name: any name of `zoo.list_models`; a preset has that of its architecture.

    Returns:
        None where nothing was measured; else `group`, `passed`, `counts`, `environment` (versions
        of zoo and torch), `results` (one mapping with name, dtype, error, tolerance and status for
        each check that was not skipped) and `worst` (by precision: name, error and tolerance of
        the largest equivariance error; without a precision in which none was measured).

    Raises:
        UnknownModelError: for a name that there is not.
    """
    path = _catalog.checkpoints().get(name)
    if path is not None:
        return summary(_of_weights(path, path.stat().st_mtime_ns))
    spec, _ = _spec.find(name, {**_spec.shipped(), **_spec.plugins()})
    return of_architecture(spec.name)


def of_architecture(name: str) -> dict[str, Any] | None:
    """The same for an architecture's own name; None for one that is not the package's."""
    return summary(architectures().get(name))


@functools.lru_cache(maxsize=512)
def _of_weights(path: Path, stamp: int) -> dict[str, Any] | None:
    """The certificate in a manifest; `stamp` is the time of the file's last change."""
    del stamp
    return read_yaml(path, error=ManifestError, only={"name", "certificate"}).get("certificate")


def summary(certificate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What is shown of a certificate.

    Args:
        certificate: as `Certificate.to_dict` or a manifest holds it.

    Returns:
        See `of`.
    """
    if not certificate or not certificate.get("results"):
        return None
    environment = certificate.get("environment") or {}
    return {
        "group": certificate["group"],
        "passed": bool(certificate["passed"]),
        "counts": dict(certificate["counts"]),
        "environment": {key: environment[key] for key in ("zoo", "torch") if key in environment},
        "results": [
            {key: row[key] for key in ("name", "dtype", "error", "tolerance", "status")}
            for row in certificate["results"]
            if row["status"] != "skipped"
        ],
        "worst": worst(certificate["results"]),
    }


def worst(results: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The largest equivariance error in each precision, as name, error and tolerance.

    An error that is no number, as of a check that broke off, is larger than all that are.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in results:
        if row["name"] not in EQUIVARIANCE or row["status"] == "skipped":
            continue
        entry = {key: row[key] for key in ("name", "error", "tolerance")}
        held = found.get(row["dtype"])
        if held is None or _size(entry["error"]) > _size(held["error"]):
            found[row["dtype"]] = entry
    return {dtype: found[dtype] for dtype in PRECISIONS if dtype in found}


def _size(error: Any) -> float:
    return float(error) if isinstance(error, (int, float)) else float("inf")


def words(about: Mapping[str, Any] | None) -> str | None:
    """A certificate as one cell of a table: "O(3): 5e-15 / 2e-06" (float64 / float32).

    Args:
        about: from `of`.

    Returns:
        The group, and the largest equivariance errors where its symmetry was measured; None
        without a certificate.
    """
    if about is None:
        return None
    errors = [
        f"{row['error']:.0e}" if isinstance(row["error"], (int, float)) else str(row["error"])
        for row in about["worst"].values()
    ]
    shown = f"{about['group']}: {' / '.join(errors)}" if errors else str(about["group"])
    return shown if about["passed"] else f"FAILED: {shown}"


def section(about: Mapping[str, Any] | None) -> str:
    """A certificate as a section of a card, in Markdown; empty without one."""
    if about is None:
        return ""
    versions = ", ".join(f"{key} {value}" for key, value in about["environment"].items())
    found: dict[str, dict[str, str]] = {}
    for row in about["results"]:
        state = "" if row["status"] == "passed" else " FAILED"
        found.setdefault(row["name"], {})[row["dtype"]] = (
            f"{row['error']} (at most {row['tolerance']}){state}"
        )
    rows = [
        f"| {name} | {' | '.join(errors.get(dtype, '-') for dtype in PRECISIONS)} |"
        for name, errors in found.items()
    ]
    state = "passes" if about["passed"] else "FAILS"
    return "\n".join(
        [
            "## Certificate",
            "",
            f"It {state} `zoo verify`: symmetry group {about['group']}, with {versions}. A small "
            "configuration\nwith fresh weights; the largest error of each check, rounded to one "
            "digit.",
            "",
            f"| check | {' | '.join(PRECISIONS)} |",
            "|---|---|---|",
            *rows,
        ]
    )


def architectures() -> dict[str, dict[str, Any]]:
    """The certificates of the package's architectures, as `Certificate.to_dict` has them.

    Raises:
        ConfigError: if the file is damaged.
    """
    path = share.folder("models") / FILE
    return _read(path, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> dict[str, dict[str, Any]]:
    """The file's content; `stamp` is the time of its last change."""
    del stamp
    try:
        return {name: _unpack(entry) for name, entry in read_yaml(path).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        if isinstance(problem, ConfigError):
            raise
        raise ConfigError(
            f"{path} is no file of certificates ({problem}); write it anew: "
            "zoo verify --all --write"
        ) from problem


def _unpack(entry: Mapping[str, Any]) -> dict[str, Any]:
    rows = [
        {"name": name, "dtype": dtype, "status": "passed", "error": error, "tolerance": bound}
        for name, measured in entry["checks"].items()
        for dtype, (error, bound) in measured.items()
    ]
    return {
        "group": entry["group"],
        "passed": True,
        "counts": {"passed": len(rows), "failed": 0, "skipped": entry["skipped"]},
        "environment": {"zoo": entry["zoo"], "torch": entry["torch"]},
        "results": rows,
    }


def render(certificates: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of the file of certificates.

    Args:
        certificates: by architecture, as `Certificate.to_dict` has them.

    Raises:
        ConfigError: if one did not pass: what ships has to.
    """
    failed = [name for name, entry in certificates.items() if not entry["passed"]]
    if failed:
        raise ConfigError(
            f"{len(failed)} certificates did not pass, and nothing was written: "
            f"{', '.join(failed)}; zoo verify NAME shows what failed"
        )
    lines = []
    for name, entry in sorted(certificates.items()):
        values = _pack(entry)
        checks = values.pop("checks")
        head = yaml.safe_dump(values, sort_keys=False).splitlines()
        rows = (yaml.safe_dump({k: row}, default_flow_style=True) for k, row in checks.items())
        body = [*head, "checks:", *(f"  {row.strip()[1:-1]}" for row in rows)]
        lines += [f"{name}:", *(f"  {line}" for line in body)]
    return _HEAD + "\n".join(lines) + "\n"


def _pack(entry: Mapping[str, Any]) -> dict[str, Any]:
    checks: dict[str, dict[str, list[float]]] = {}
    for row in entry["results"]:
        if row["status"] == "passed":
            rounded = float(f"{float(row['error'] or 0.0):.0e}")
            row_of = checks.setdefault(row["name"], {})
            row_of[row["dtype"]] = [rounded, float(row["tolerance"])]
    environment = entry["environment"]
    return {
        "group": entry["group"],
        "zoo": environment["zoo"],
        "torch": environment["torch"].partition("+")[0],
        "skipped": entry["counts"]["skipped"],
        "checks": checks,
    }
