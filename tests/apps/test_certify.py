"""Certificates of everything: what ships holds on this machine, and what is written of it."""

from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo import _certificates, _spec, hub
from zoo.apps import certify
from zoo.apps.verify import _resolve
from zoo.errors import ConfigError, UnknownModelError
from zoo.testing import CheckResult, run_check, subject_of

#: how far an error may be from the one that is shown: roundings differ between machines
FACTOR = 30.0
OURS = [
    name
    for name in zoo.list_models(pretrained=True)
    if hub.read_manifest(hub.find(name)).source == "zoo"
]


def measured_again(name: str) -> list[tuple[float, float]]:
    """The largest errors that the tables show, with those of this machine.

    The other checks of architectures are the contract suite's, and those of weights (golden
    outputs, in both precisions) are tests of saving and loading.
    """
    about = _certificates.of(name)
    assert about is not None and about["passed"] and about["results"]
    pairs = []
    for dtype, entry in about["worst"].items():
        result = again(name, entry["name"], dtype)
        assert result.passed, result.describe()
        pairs.append((entry["error"], float(result.error or 0.0)))
    return pairs


def again(name: str, check: str, dtype: str) -> CheckResult:
    """One check of `verify`, in one precision."""
    target = _resolve(name, seed=0)
    return run_check(check, subject_of(target.model, dtype), target.tolerances)


@pytest.mark.parametrize("name", sorted(_spec.shipped()))
def test_what_is_shown_of_an_architecture_holds(name: str) -> None:
    for shown, found in measured_again(name):
        assert found <= FACTOR * shown or found < 1e-14
        assert shown <= FACTOR * found or shown < 1e-13


@pytest.mark.parametrize("name", OURS)
def test_what_is_shown_of_weights_holds(name: str) -> None:
    about = _certificates.of(name)
    assert about is not None and about["passed"]
    if "float32" in about["worst"]:
        entry = about["worst"]["float32"]
        found = again(name, entry["name"], "float32")
        assert found.passed and float(found.error or 0.0) <= FACTOR * entry["error"]


def test_every_architecture_has_a_certificate() -> None:
    assert set(_certificates.architectures()) == set(_spec.shipped())


def test_some_of_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    outcomes = certify.verify_all(
        ["hyperbolic_svm*", "dimenet-authors-u0*", "mps-s.digits*"],
        checks=["outputs"],
        progress=lambda outcome, done, total: seen.append((outcome.name, done, total)),
    )
    assert [(each.name, each.kind, each.status) for each in outcomes] == [
        ("hyperbolic_svm", "architecture", "PASS"),
        ("dimenet-authors-u0.qm9.r1", "checkpoint", "skipped"),
        ("mps-s.digits.r1", "checkpoint", "PASS"),
    ]
    assert [done for _, done, total in seen if total == 3] == [1, 2, 3]
    assert "zoo pull dimenet-authors" in outcomes[1].row()["detail"]

    def broken(*_: Any, **__: Any) -> Any:
        raise UnknownModelError("it is gone")

    monkeypatch.setattr(certify, "verify", broken)
    (lost,) = certify.verify_all("hyperbolic_svm")
    assert (lost.status, lost.row()["detail"]) == ("FAIL", "it is gone")
    with pytest.raises(ConfigError, match="could not be measured"):
        certify.write_certificates([lost], tmp_path / "c.yaml")
    with pytest.raises(ConfigError, match="nothing is called"):
        certify.verify_all("no-such-*")


def test_what_is_written_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _certificates.architectures()
    outcomes = certify.verify_all("hyperbolic_svm")
    path = certify.write_certificates(outcomes, tmp_path / _certificates.FILE)
    monkeypatch.setattr(_certificates.share, "folder", lambda kind: tmp_path)
    after = _certificates.architectures()
    assert path.read_text() == _certificates.render(after)
    assert {k: v for k, v in after.items() if k != "hyperbolic_svm"} == {
        k: v for k, v in before.items() if k != "hyperbolic_svm"
    }
    (outcome,) = outcomes
    assert outcome.certificate is not None
    failed = {**outcome.certificate.to_dict(), "passed": False}
    with pytest.raises(ConfigError, match="did not pass, and nothing was written: hyperbolic_svm"):
        _certificates.render({"hyperbolic_svm": failed})
    path.write_text("tensornet: {checks: 3}\n")
    with pytest.raises(ConfigError, match="no file of certificates"):
        _certificates.architectures()


def test_in_words() -> None:
    about: dict[str, Any] = {
        "group": "O(3)",
        "passed": True,
        "worst": {"float64": {"error": 5e-15}, "float32": {"error": 2.4e-6}},
    }
    assert _certificates.words(about) == "O(3): 5e-15 / 2e-06"
    assert _certificates.words({**about, "passed": False}) == "FAILED: O(3): 5e-15 / 2e-06"
    assert _certificates.words({**about, "worst": {}}) == "O(3)"
    assert _certificates.words(None) is None and _certificates.section(None) == ""
    rows = [
        {"name": "rotation", "dtype": "float32", "error": 1e-7, "tolerance": 1, "status": "passed"},
        {
            "name": "reflection",
            "dtype": "float32",
            "error": "nan",
            "tolerance": 1,
            "status": "failed",
        },
        {"name": "forces", "dtype": "float32", "error": 1.0, "tolerance": 1, "status": "passed"},
    ]
    assert _certificates.worst(rows)["float32"]["name"] == "reflection"
