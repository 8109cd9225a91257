"""Shared caches that are only read, and looking after one's own."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zoo
from tests.hub.conftest import NAME, Server, blobs, edit, left_over, manifest_alone, may_mount
from zoo import hub
from zoo._environment import VARIABLES
from zoo.errors import ConfigError, OfflineError, OutputError, UnknownModelError
from zoo.hub import cache as cache_module
from zoo.hub import upkeep

DAY = 86400.0


@pytest.fixture
def alone(saved: Path, tmp_path: Path) -> Path:
    """A manifest whose files are nowhere but in a cache."""
    return manifest_alone(saved, tmp_path / "alone")


@pytest.fixture
def shared(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that somebody filled from a bundle, for all to read."""
    folder = tmp_path / "shared"
    with monkeypatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder))
        hub.pull(hub.bundle(saved, tmp_path / "x.zoo"))
    monkeypatch.setenv("ZOO_CACHE_RO", f"{tmp_path / 'missing'}:{folder}")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in folder.rglob("*")
    }


def age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * DAY,) * 2)


# --- shared caches ---------------------------------------------------------------------------


def test_a_shared_cache_is_searched_first_and_never_written(
    shared: Path, alone: Path, cache: Path
) -> None:
    for path in shared.rglob("*"):
        age(path, 400)
    before = snapshot(shared)
    assert all(path.is_relative_to(shared) for path in hub.pull(alone))
    assert zoo.load(alone, check=True).checkpoint_name == NAME
    assert zoo.load(NAME, check=True).checkpoint_name == NAME  # names of bundles count, too
    hub.cache_prune(older_than=0)
    hub.cache_verify(remove=True)
    assert snapshot(shared) == before
    assert not cache.exists()


def test_a_damaged_shared_file_is_passed_over(
    shared: Path, alone: Path, saved: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = blobs(shared)[0]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    with pytest.raises(OfflineError):
        hub.pull(alone)
    monkeypatch.delenv("ZOO_OFFLINE")
    server.add(saved)
    edit(alone, urls=[server.url("ok")])
    found = hub.pull(alone)
    assert sum(p.is_relative_to(shared) for p in found) == 1
    assert path.read_bytes() == b"damaged"
    assert [entry.path for entry in hub.cache_verify(remove=True)] == [path]
    assert path.read_bytes() == b"damaged"


def test_the_first_shared_cache_wins(
    shared: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shared, copy)
    monkeypatch.setenv("ZOO_CACHE_RO", f"{copy}:{shared}")
    assert all(path.is_relative_to(copy) for path in hub.pull(alone))


def test_a_relative_shared_cache_is_refused(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE_RO", "/a:b")
    with pytest.raises(ConfigError, match="ZOO_CACHE_RO holds 'b'"):
        hub.pull(alone)


PULL = "import sys, zoo.hub; print(*zoo.hub.pull(sys.argv[1]), sep='\\n')"


@pytest.mark.skipif(not may_mount(), reason="this system lets no one mount a disk of their own")
def test_a_read_only_file_system(shared: Path, alone: Path) -> None:
    """Both caches lie on a disk that takes no writes; what is there can be used."""
    mount = f"mount --bind {shared} {shared} && mount -o remount,ro,bind {shared}"
    words = [sys.executable, "-c", PULL, str(alone)]
    environment = os.environ | {"ZOO_CACHE": str(shared)}
    for extra in ({}, {"ZOO_CACHE_RO": ""}):
        done = subprocess.run(
            [
                "unshare",
                "-rm",
                "sh",
                "-c",
                f'{mount} && ! touch {shared}/x && exec "$@"',
                "s",
                *words,
            ],
            capture_output=True,
            text=True,
            env=environment | extra,
        )
        assert done.returncode == 0, done.stderr
        assert all(line.startswith(str(shared)) for line in done.stdout.splitlines())


def test_a_folder_without_permission(shared: Path, alone: Path) -> None:
    folders = [shared, *(path for path in shared.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        if os.access(shared, os.W_OK):
            pytest.skip("nothing is forbidden to this user")
        assert all(path.is_relative_to(shared) for path in hub.pull(alone))
        shared.chmod(0)
        with pytest.raises(OfflineError):
            hub.pull(alone)
    finally:
        for path in folders:
            path.chmod(0o700)


def test_a_full_path_in_the_way_of_the_cache(
    shared: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The own cache can't be made; what the shared one has is enough."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    assert zoo.load(alone, check=True)
    with pytest.raises(OutputError, match="ZOO_CACHE|can't be written"):
        hub.pull(hub.bundle("tensornet-s.gfn2-md10.r1", tmp_path / "y.zoo"))


# --- listing and verifying -------------------------------------------------------------------


def test_entries_say_what_belongs_to_whom(shared: Path, remote: Path, cache: Path) -> None:
    with pytest.raises(OfflineError):
        hub.pull(edit(remote, files=[*_files(remote), _file("ab")]))
    (cache / "tmp").mkdir(parents=True)
    (cache / "tmp" / "x").write_bytes(b"123")
    found = hub.cache_entries()
    assert [entry.kind for entry in found] == ["file", "file", "manifest", "temporary"]
    assert {entry.used_by for entry in found if entry.kind == "file"} == {
        (f"{NAME} (weights)",),
        (f"{NAME} (golden)",),
    }
    assert [entry.shared for entry in found] == [True, True, True, False]
    assert found[2].used_by == (NAME,) and found[3].bytes == 3
    assert all(entry.bytes == entry.path.stat().st_size for entry in found)


def _files(folder: Path) -> list[dict[str, object]]:
    return [item.model_dump() for item in hub.read_manifest(folder / "manifest.yaml").files]


def _file(word: str) -> dict[str, object]:
    return {"path": "extra.safetensors", "sha256": word * 32, "bytes": 3, "role": "golden"}


def test_verify_finds_what_is_damaged(remote: Path, server: Server, cache: Path) -> None:
    paths = hub.pull(remote)
    assert hub.cache_verify() == []
    paths[0].chmod(0o644)
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    seen: list[tuple[int, int]] = []
    (damaged,) = hub.cache_verify(progress=lambda done, total: seen.append((done, total)))
    assert damaged.path == paths[0] and paths[0].exists()
    assert seen[-1][0] == seen[-1][1] > 0
    hub.cache_verify(remove=True)
    assert not paths[0].exists() and hub.cache_verify() == []
    assert zoo.load(remote, check=True)


# --- pruning ---------------------------------------------------------------------------------


def test_prune_removes_what_was_not_used(remote: Path, cache: Path) -> None:
    paths = hub.pull(remote)
    assert hub.cache_prune() == []
    for path in paths:
        age(path, 40)
    assert [entry.path for entry in hub.cache_prune(dry_run=True)] == sorted(paths)
    assert all(path.exists() for path in paths)
    assert hub.cache_prune(older_than=41) == []
    hub.pull(remote)  # using it counts
    assert hub.cache_prune() == []
    for path in paths:
        age(path, 40)
    assert len(hub.cache_prune()) == 2
    assert blobs(cache) == []
    assert zoo.load(remote, check=True)  # and it is fetched again


def test_prune_keeps_what_it_is_told_to(
    remote: Path, saved: Path, tmp_path: Path, cache: Path
) -> None:
    hub.pull(hub.bundle(saved, tmp_path / "x.zoo"))
    hub.pull(hub.bundle("tensornet-s.gfn2-md10.r1", tmp_path / "y.zoo"))
    assert len(hub.cache_entries()) == 6
    gone = hub.cache_prune(older_than=0, keep=[NAME])
    assert len(gone) == 3 and not any(NAME in " ".join(entry.used_by) for entry in gone)
    assert zoo.load(NAME, check=True)
    with pytest.raises(UnknownModelError):
        hub.cache_prune(older_than=0, keep=["nothing"])
    assert len(hub.cache_entries()) == 3
    hub.cache_prune(older_than=0)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    with pytest.raises(UnknownModelError):
        zoo.load(NAME)


def test_prune_leaves_downloads_under_way_alone(cache: Path) -> None:
    (cache / "tmp").mkdir(parents=True)
    for name, days in (("young", 0.9), ("old", 1.1)):
        path = cache / "tmp" / name
        path.write_bytes(b"x")
        age(path, days)
    assert [entry.path.name for entry in hub.cache_prune(older_than=0)] == ["old"]
    assert [path.name for path in left_over(cache)] == ["young"]
    with pytest.raises(ConfigError, match="older_than"):
        hub.cache_prune(older_than=-1)


def test_prune_while_a_model_loads(
    remote: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file goes between being found and being read: it is fetched once more."""
    from zoo.hub import _obtain

    hub.pull(remote)
    real, pruned = _obtain.read_verified, []

    def read(path: Path, expected: object) -> bytes:
        if not pruned:
            pruned.extend(hub.cache_prune(older_than=0))
        return real(path, expected)

    monkeypatch.setattr(_obtain, "read_verified", read)
    count = len(server.requests)
    assert zoo.load(remote, check=True)
    assert len(pruned) == 2 and len(server.requests) == count + 2


def test_prune_spares_what_is_used_meanwhile(
    remote: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """Between listing and removing, somebody loads the model."""
    paths = hub.pull(remote)
    for path in paths:
        age(path, 40)
    real = upkeep.entries

    def listed() -> list[upkeep.Entry]:
        found = real()
        hub.pull(remote)
        return found

    monkeypatch.setattr(upkeep, "entries", listed)
    assert hub.cache_prune() == []
    assert sorted(blobs(cache)) == sorted(paths)


def test_two_processes_prune_at_once(
    remote: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    hub.pull(remote)
    real = upkeep.entries

    def listed() -> list[upkeep.Entry]:
        found = real()
        for path in blobs(cache):
            path.unlink()
        return found

    monkeypatch.setattr(upkeep, "entries", listed)
    assert hub.cache_prune(older_than=0) == []


def test_strange_files_in_the_cache_are_left_alone(remote: Path, cache: Path) -> None:
    hub.pull(remote)
    strange = cache / "blobs" / "sha256" / "ab" / "notes.txt"
    strange.parent.mkdir(exist_ok=True)
    strange.write_text("mine")
    assert cache_module.find("notes.txt") is None
    hub.cache_prune(older_than=0)
    assert strange.read_text() == "mine"


# --- the environment -------------------------------------------------------------------------


def test_every_variable_is_documented_once() -> None:
    """The table of the documentation is the one that the library holds."""
    root = Path(__file__).parents[2]
    text = (root / "docs" / "index.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `ZOO_")]
    assert rows == [f"| `{name}` | {words} |" for name, words in VARIABLES.items()]
    for path in (root / "zoo").rglob("*.py"):
        if path.name != "_environment.py":
            source = path.read_text()
            assert 'environ.get("ZOO_' not in source and 'environ["ZOO_' not in source, path


def test_compiled_programs_are_listed_counted_and_pruned(cache: Path) -> None:
    program = cache / "native" / ("ab" * 32 + ".so")
    program.parent.mkdir(parents=True)
    program.write_bytes(b"compiled")
    (entry,) = hub.cache_entries()
    assert (entry.kind, entry.bytes, entry.path) == ("program", 8, program)
    assert hub.cache_verify() == []  # its name is the digest of its source
    assert hub.cache_prune() == [] and program.is_file()
    old = time.time() - 40 * 86400
    os.utime(program, (old, old))
    assert [gone.path for gone in hub.cache_prune(dry_run=True)] == [program]
    assert [gone.kind for gone in hub.cache_prune()] == ["program"]
    assert not program.exists()
