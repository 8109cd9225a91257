"""The report on the installation sees what is missing, too old, clashing or unwritable."""

import importlib.metadata
from pathlib import Path

import pytest

from zoo.apps import doctor


def _by_name() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.doctor()}


def test_this_environment_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    found = _by_name()
    assert [f for f in found.values() if f.status == "problem"] == []
    assert found["torch"].status == "ok"
    assert str(tmp_path / "cache") in found["cache"].detail
    assert not (tmp_path / "cache").exists()


def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = ["no-such-package>=1.0", 'no-such-tool>=2; extra == "docs"', "numpy>=999.1"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: requirements)
    found = _by_name()
    assert found["no-such-package"].status == "problem"
    assert 'pip install "no-such-package>=1.0"' in found["no-such-package"].detail
    assert found["no-such-tool (extra docs)"].status == "note"
    assert 'pip install "geometric-zoo[docs]"' in found["no-such-tool (extra docs)"].detail
    assert found["numpy"].status == "problem"
    assert "999.1" in found["numpy"].detail


def test_every_requirement_is_understood() -> None:
    requirements = importlib.metadata.requires(doctor.DISTRIBUTION)
    assert requirements
    assert all(doctor._REQUIREMENT.match(r) for r in requirements)


def test_another_owner_of_the_import_name(monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {"zoo": ["geometric-zoo", "analytics-zoo"]}
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: owners)
    assert _by_name()["import name"].status == "problem"
    assert "analytics-zoo" in _by_name()["import name"].detail


def test_an_unwritable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file" / "cache"))
    found = _by_name()
    assert found["cache"].status == "problem"
    assert "ZOO_CACHE" in found["cache"].detail
    assert found["ZOO_CACHE"].status == "note"
