"""Data sets in the caches: listed, verified, and removed by name."""

import os
import time
from pathlib import Path

import pytest
import yaml

from tests.hub.conftest import digest
from zoo import hub
from zoo.cli.main import run
from zoo.errors import UnknownNameError


def _set(cache: Path, name: str = "mine", data: bytes = b"1234") -> Path:
    """A set as `zoo data get` leaves it: a file in a folder, one unpacked, a note."""
    place = cache / "datasets" / name
    (place / "x").mkdir(parents=True)
    (place / "x" / "a.bin").write_bytes(data)
    (place / "b.txt").write_text("unpacked")
    note = {"file": "x/a.bin", "url": "u", "bytes": len(data), "sha256": digest(data)}
    (place / ".x_a.bin.yaml").write_text(yaml.safe_dump(note))
    return place


def test_data_sets_are_listed_and_verified_but_not_pruned(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = _set(cache)
    for path in place.rglob("*"):
        os.utime(path, (time.time() - 400 * 86400.0,) * 2)
    (entry,) = hub.cache_entries()
    assert (entry.kind, entry.name, entry.files, entry.path) == ("data", "mine", 3, place)
    assert entry.bytes == sum(p.stat().st_size for p in place.rglob("*") if p.is_file())
    assert entry.days == pytest.approx(400, abs=0.01) and not entry.shared
    assert hub.cache_verify() == [] and hub.cache_prune(older_than=0) == []
    assert run(["cache", "ls"]) == 0
    said = capsys.readouterr().out
    assert "mine" in said and "3 files" in said
    (place / "x" / "a.bin").write_bytes(b"other")
    (damaged,) = hub.cache_verify()
    assert (damaged.kind, damaged.name, damaged.path) == ("data", "mine", place / "x" / "a.bin")
    assert run(["cache", "verify"]) == 3
    assert "zoo data get NAME ... --again" in capsys.readouterr().out
    hub.cache_verify(remove=True)
    assert not damaged.path.exists() and (place / "b.txt").exists()
    assert hub.cache_verify() == []


def test_notes_that_point_elsewhere_are_passed_over(cache: Path, tmp_path: Path) -> None:
    place = _set(cache)
    (tmp_path / "other").write_bytes(b"x")
    for k, text in enumerate(
        ("file: ../../../other\nsha256: x", "file: /etc/hostname\nsha256: x", "[", "file: b.txt")
    ):
        (place / f".odd{k}.yaml").write_text(text)
    assert hub.cache_verify(remove=True) == [] and (tmp_path / "other").exists()


def test_a_data_set_is_removed_by_name(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "all"
    kept = _set(shared, "both")
    monkeypatch.setenv("ZOO_CACHE_RO", str(shared))
    place, other = _set(cache, "both"), _set(cache, "other")
    with pytest.raises(UnknownNameError, match="did you mean 'both'"):
        hub.cache_remove_dataset("boht")
    with pytest.raises(UnknownNameError):
        hub.cache_remove_dataset("../datasets/both")
    assert run(["cache", "rm", "both"]) == 0
    assert "3 files" in capsys.readouterr().out
    assert not place.exists() and other.is_dir() and kept.is_dir()
    assert [(e.name, e.shared) for e in hub.cache_entries()] == [("both", True), ("other", False)]
