"""The verbs that move weights: pull, bundle, upload, cache."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo import hub

Cli = Callable[..., tuple[int, str, str]]
NAME = "tensornet-t.test.r1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ZOO_CACHE_RO", raising=False)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    return tmp_path / "cache"


def test_bundle_and_pull(cli: Cli, weights: Path, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "out" / "x.zoo"
    code, out, _ = cli("bundle", weights, "-o", path, "--json")
    assert code == 0
    said = json.loads(out)
    assert said == {"path": str(path), "bytes": path.stat().st_size, "sha256": said["sha256"]}
    code, out, _ = cli("pull", path)
    assert code == 0 and out.count(f"{path}: {cache}") == 2
    assert cli("info", NAME)[0] == 0
    code, out, _ = cli("pull", NAME, "--json")
    assert code == 0 and [Path(p).is_file() for p in json.loads(out)[NAME]] == [True, True]


def test_mistakes_are_messages(cli: Cli, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "x.zoo").write_bytes(b"nonsense")
    (tmp_path / "file").touch()
    for words, part in (
        (["pull", tmp_path / "x.zoo"], "is no bundle"),
        (["pull", tmp_path / "y.zoo"], "there is no bundle"),
        (["bundle", weights, "-o", tmp_path / "x.zip"], "ends in .zoo"),
        (["bundle", weights, "-o", tmp_path / "file" / "x.zoo"], "can't be written"),
        (["upload", weights, "--to", "hf:me"], "hf:<owner>/<repository>"),
        (["upload", weights, "--to", "hf:me/weights"], "ZOO_OFFLINE"),
        (["cache", "prune", "--keep", "nothing"], "nothing"),
    ):
        code, out, err = cli(*words)
        assert (code, out) == (1, "") and err.startswith("error: ") and part in err
    assert cli("cache", "prune", "--older-than", "-1")[0] == 2


def test_upload_to_a_folder(cli: Cli, weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    code, out, _ = cli("upload", weights, "--to", target, "--dry-run")
    assert code == 0 and out.count("would write") == 5 and not target.exists()
    code, out, _ = cli("upload", weights, "--to", target, "--json")
    said = json.loads(out)
    assert code == 0 and said["names"] == [NAME] and said["base"] == str(target)
    assert {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()} == set(
        said["written"]
    )
    code, out, _ = cli("upload", weights, "--to", target)
    assert "wrote" not in out and f"ZOO_MIRROR={target}" in out


def test_cache_verbs(cli: Cli, weights: Path, tmp_path: Path, cache: Path) -> None:
    cli("pull", hub.bundle(weights, tmp_path / "x.zoo"))
    code, out, _ = cli("cache", "ls")
    assert code == 0 and f"{NAME} (weights)" in out and f"{cache}: 3 files" in out
    said = json.loads(cli("cache", "ls", "--json")[1])
    assert len(said["files"]) == 3
    assert said["totals"] == json.loads(cli("cache", "du", "--json")[1])
    assert said["totals"][0]["bytes"] == sum(item["bytes"] for item in said["files"])
    assert cli("cache", "verify")[:2] == (0, "every file is intact\n")
    path = Path(said["files"][0]["path"])
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    code, out, _ = cli("cache", "verify", "--json")
    assert code == 3 and [item["path"] for item in json.loads(out)["damaged"]] == [str(path)]
    assert cli("cache", "verify", "--remove")[0] == 3 and not path.exists()
    for entry in hub.cache_entries():
        os.utime(entry.path, (time.time() - 40 * 86400,) * 2)
    code, out, _ = cli("cache", "prune", "--dry-run", "--json")
    assert code == 0 and len(json.loads(out)["removed"]) == 2 and json.loads(out)["dry_run"]
    assert "removed 0 files" in cli("cache", "prune", "--older-than", "50")[1]
    assert "removed 0 files" in cli("cache", "prune", "--keep", NAME)[1]
    assert "removed 2 files" in cli("cache", "prune")[1]
    code, out, _ = cli("cache", "ls")
    assert (code, out) == (0, f"{cache}: 0 files, 0 B\n")


def test_the_environment_in_the_report(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_CACHE_RO", f"{tmp_path}:{tmp_path / 'missing'}")
    monkeypatch.setenv("ZOO_TIMEOUT", "5")
    rows = json.loads(cli("doctor", "--json")[1])
    found = {row["name"]: row for row in rows}
    assert "never written" in found["ZOO_CACHE_RO"]["detail"]
    assert found["ZOO_TIMEOUT"]["detail"].startswith("set to '5'; seconds")
    shared = [row for row in rows if row["name"] == "shared cache"]
    assert [row["status"] for row in shared] == ["ok", "note"]
