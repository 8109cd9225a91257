"""Rows of the tables of models, of `zoo list`, README and the site, read from YAML alone."""

from collections.abc import Mapping
from typing import Any

from zoo import _card, _catalog, _certificates
from zoo._spec import Spec

#: what differs between weights that share a row of the short table
_OWN = ("name", "certificate", "bytes", "measured")


def model(name: str, spec: Spec) -> dict[str, Any]:
    """What is said of an architecture, or of one of its presets."""
    return {
        "name": name,
        "domain": ", ".join(spec.domains),
        "title": spec.title,
        "symmetry": spec.symmetry["group"],
        "certificate": _numbers(_certificates.of_architecture(spec.name)),
        "architecture": spec.name,
    }


def checkpoint(name: str) -> dict[str, Any]:
    """What is said of trained weights."""
    about = _catalog.manifest(_catalog.checkpoints()[name], brief=True)
    inputs = about.get("inputs") or {}
    training = about.get("training") or {}
    files = about.get("files") or []
    row = {
        "name": name,
        "architecture": about["architecture"],
        "domain": inputs.get("domain", "atoms"),
        "trained on": [data["name"] for data in training.get("data") or []],
        "license": about["license"]["weights"],
        "source": about.get("source", "zoo"),
        "bytes": next((item["bytes"] for item in files if item["role"] == "weights"), None),
        "measured": _measured(about.get("metrics") or []),
        "certificate": _numbers(_certificates.of(name)),
    }
    if row["domain"] != "atoms":
        tokens = f"{inputs['tokens']} tokens" if inputs.get("tokens") else None
        return row | {
            "inputs": _card.shape(inputs) or tokens,
            "classes": len(about.get("classes") or []) or None,
        }
    elements = list(inputs.get("elements") or {})
    energy = (about.get("outputs") or {}).get("energy") or {}
    return row | {
        "inputs": elements,
        "elements": elements,
        "level of theory": energy.get("level_of_theory"),
    }


def _numbers(about: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A certificate's group, and the largest equivariance error in each precision."""
    if about is None:
        return None
    errors = {dtype: entry["error"] for dtype, entry in about["worst"].items()}
    return {"group": about["group"], "passed": about["passed"], **errors}


def _measured(metrics: list[dict[str, Any]]) -> list[str]:
    """The errors on test data in words; those on other data where there are none on test data."""
    tests = [row for row in metrics if row["split"] == "test"] or metrics
    return [
        f"{row['target']} {row['name']} {row['value']:.3g}"
        + (f" {row['unit']}" if row["unit"] != "1" else "")
        for row in tests
    ]


def words(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same row with its certificate as one cell."""
    numbers = row["certificate"]
    if numbers is None:
        unmeasured = "not run by us" if row.get("source") == "authors" else None
        return {**row, "certificate": unmeasured}
    worst = {key: {"error": numbers[key]} for key in _certificates.PRECISIONS if key in numbers}
    return {**row, "certificate": _certificates.words({**numbers, "worst": worst})}


def with_presets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each architecture, with those of its presets that were listed."""
    folded: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["name"] != row["architecture"]):
        entry = folded.setdefault(row["architecture"], {**row, "presets": []})
        if entry["name"] != row["name"]:
            entry["presets"].append(f"`{row['name']}`")
    return list(folded.values())


def families(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Weights `<architecture>-<variant>.<data>.<release>` whose rows are else the same, as one row.

    All names can be read off it: `a-*.d.r1` with the variants x and y is a-x.d.r1 and a-y.d.r1. Its
    certificate has the largest error of all.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        size, _, rest = row["name"].partition(".")
        family = f"{size.partition('-')[0]}-*.{rest}"
        shown = [str(row.get(key)) for key in sorted(row) if key not in _OWN]
        group = str((row.get("certificate") or {}).get("group"))
        found.setdefault("\n".join([family, group, *shown]), []).append(row)
    folded = []
    for key, same in found.items():
        names = [row["name"].partition(".")[0].partition("-")[2] for row in same]
        if len(same) > 1 and all(names):
            variants = [f"`{name}`" for name in names]
            joined = {"name": key.partition("\n")[0], "variants": variants}
            folded.append({**same[0], **_largest(same), **joined})
        else:
            folded += same
    return folded


def _largest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The certificate that holds for all rows."""
    numbers = [row["certificate"] for row in rows if row.get("certificate")]
    if not numbers:
        return {}
    joined = {"group": numbers[0]["group"], "passed": all(each["passed"] for each in numbers)}
    for key in _certificates.PRECISIONS:
        errors = [each[key] for each in numbers if key in each]
        joined |= {key: max(errors)} if errors else {}
    return {"certificate": joined}
