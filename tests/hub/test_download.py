"""Fetching over HTTP: what is kept, what is refused, what a kill leaves."""

import os
import shutil
import socket
import time
from pathlib import Path

import pytest
import yaml

import zoo
from tests.hub.conftest import NAME, Server, blobs, edit, left_over
from zoo import hub
from zoo.errors import (
    ConfigError,
    DownloadError,
    IntegrityError,
    OfflineError,
    OutputError,
    ZooError,
)
from zoo.hub import cache as cache_module
from zoo.hub import download


def test_pull_fetches_once(remote: Path, cache: Path, server: Server) -> None:
    paths = hub.pull(remote)
    entry = yaml.safe_load((remote / "manifest.yaml").read_text())
    digests = [item["sha256"] for item in entry["files"]]
    assert [path.name for path in paths] == digests
    assert all(cache_module.sha256(path) == path.name for path in paths)
    assert paths[0].parent == cache / "blobs" / "sha256" / digests[0][:2]
    count = len(server.requests)
    assert count == 2
    assert hub.pull(remote) == paths
    assert zoo.load(remote, check=True).checkpoint_name == entry["name"]
    assert len(server.requests) == count
    assert left_over(cache) == []


def test_progress_reaches_the_size(remote: Path) -> None:
    seen: list[tuple[int, int]] = []
    paths = hub.pull(remote, progress=lambda done, total: seen.append((done, total)))
    sizes = {path.stat().st_size for path in paths}
    assert {total for _, total in seen} == sizes
    assert all(done <= total for done, total in seen)
    assert {done for done, total in seen if done == total} == sizes


def test_wrong_digest_is_refused_and_not_kept(remote: Path, cache: Path, server: Server) -> None:
    edit(remote, urls=[server.url("wrong")])
    with pytest.raises(IntegrityError, match="expected") as error:
        zoo.load(remote)
    assert server.url("wrong") in str(error.value)
    assert blobs(cache) == [] and left_over(cache) == []


def test_truncated_answer_is_refused_and_not_kept(
    remote: Path, cache: Path, server: Server
) -> None:
    edit(remote, urls=[server.url("short")])
    with pytest.raises(DownloadError, match="short/model.safetensors: .*IncompleteRead"):
        zoo.load(remote)
    assert blobs(cache) == []


def test_an_endless_answer_is_cut(remote: Path, cache: Path, server: Server) -> None:
    for name in server.files:
        server.files[name] = b"\0" * 3_000_000
    with pytest.raises(IntegrityError, match="longer than"):
        zoo.load(remote)
    assert blobs(cache) == [] and left_over(cache) == []


def test_the_next_address_is_tried(remote: Path, server: Server) -> None:
    edit(remote, urls=[server.url("gone"), server.url("wrong"), server.url("ok")])
    zoo.load(remote)
    assert [path.split("/")[1] for path in server.requests] == ["gone", "wrong", "ok"]


def test_all_addresses_are_named_when_none_answers(remote: Path, server: Server) -> None:
    edit(remote, urls=[server.url("gone"), "http://127.0.0.1:9"])
    with pytest.raises(DownloadError, match="404") as error:
        zoo.load(remote)
    assert "127.0.0.1:9" in str(error.value) and "ZOO_MIRROR" in str(error.value)


def test_mirror_serves_by_digest_before_the_urls(
    remote: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_MIRROR", f"{server.url('gone')}/, {server.url('ok')}")
    edit(remote, urls=[server.url("wrong")])
    paths = hub.pull(remote)
    assert server.requests[:2] == [
        f"/gone/sha256/{paths[0].name}",
        f"/ok/sha256/{paths[0].name}",
    ]
    assert not any(path.startswith("/wrong") for path in server.requests)


def test_bases_stand_in_one_file(
    remote: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_urls.yaml").write_text(f"bases: ['{server.url('ok')}']\n")
    monkeypatch.setattr("zoo.share.folder", lambda kind: tmp_path)
    edit(remote, urls=None)
    paths = hub.pull(remote)
    assert server.requests[0] == f"/ok/sha256/{paths[0].name}"


def test_a_folder_can_be_the_mirror_even_offline(
    remote: Path, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "mirror" / "sha256"
    target.mkdir(parents=True)
    for item in hub.read_manifest(saved / "manifest.yaml").files:
        shutil.copy(saved / item.path, target / item.sha256)
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert zoo.load(remote, check=True)


@pytest.mark.parametrize("mirror", ["ftp://x", "relative/folder", "https://a, b"])
def test_a_nonsense_mirror_is_refused(
    remote: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_MIRROR", mirror)
    with pytest.raises(ConfigError, match="ZOO_MIRROR"):
        hub.pull(remote)


# --- offline ---------------------------------------------------------------------------------


def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_offline_opens_no_socket(
    remote: Path, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    no_sockets(monkeypatch)
    assert zoo.load(saved, check=True)
    with pytest.raises(OfflineError, match="ZOO_OFFLINE") as error:
        zoo.load(remote)
    message = str(error.value)
    for file in hub.read_manifest(remote / "manifest.yaml").files:  # all that is missing at once
        assert f"{file.path} ({file.bytes} bytes) at {cache_module.blob(file.sha256)}" in message
    assert f"zoo bundle {NAME} -o {NAME}.zoo" in message
    assert f"zoo pull {NAME}.zoo" in message


def test_offline_uses_the_cache(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.pull(remote)
    monkeypatch.setenv("ZOO_OFFLINE", "true")
    no_sockets(monkeypatch)
    assert zoo.load(remote, check=True)


def test_the_socket_trap_works(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_sockets(monkeypatch)
    with pytest.raises((AssertionError, DownloadError), match="a socket was opened"):
        zoo.load(remote)


def test_offline_is_read_at_call_time_and_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not download.offline()
    for value, expected in (("1", True), ("on", True), ("0", False), ("no", False)):
        monkeypatch.setenv("ZOO_OFFLINE", value)
        assert download.offline() is expected
    monkeypatch.setenv("ZOO_OFFLINE", "maybe")
    with pytest.raises(ConfigError, match="'maybe'"):
        download.offline()


# --- the cache -------------------------------------------------------------------------------


def test_a_damaged_cached_file_is_fetched_again(remote: Path, server: Server) -> None:
    path = hub.pull(remote)[0]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    count = len(server.requests)
    assert cache_module.sha256(hub.pull(remote)[0]) == path.name
    assert len(server.requests) == count + 1


def test_cache_is_chosen_at_call_time(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "other"))
    assert all(path.is_relative_to(tmp_path / "other") for path in hub.pull(remote))
    monkeypatch.delenv("ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert hub.cache_root() == tmp_path / "xdg" / "geometric-zoo"


def test_an_unwritable_cache_says_so(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="ZOO_CACHE"):
        hub.pull(remote)


def test_old_left_overs_are_swept(remote: Path, cache: Path) -> None:
    (cache / "tmp").mkdir(parents=True)
    for name, age in (("old", 2 * 86400), ("new", 60)):
        path = cache / "tmp" / name
        path.write_text("x")
        os.utime(path, (time.time() - age,) * 2)
    hub.pull(remote)
    assert [path.name for path in left_over(cache)] == ["new"]


def test_every_refusal_is_a_zoo_error() -> None:
    for kind in (ConfigError, DownloadError, IntegrityError, OfflineError, OutputError):
        assert issubclass(kind, ZooError)
