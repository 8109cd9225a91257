"""Transfers under fire: broken, resumed, stalled, killed, two at once, and a disk that is full."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import zoo
from tests.hub.conftest import (
    Server,
    blobs,
    digest,
    edit,
    left_over,
    manifest_alone,
    may_mount,
    wait_for,
)
from zoo import hub
from zoo.errors import ConfigError, DownloadError, IntegrityError, OutputError
from zoo.hub import cache as cache_module
from zoo.hub import download

PULL = "import sys, zoo.hub; print(zoo.hub.pull(sys.argv[1]))"
DATA = bytes(range(256)) * 1024  # sixteen chunks, in which it is written
KEY = digest(DATA)


@pytest.fixture
def source(server: Server) -> Server:
    """Serves one file, `DATA`."""
    server.files["file"] = DATA
    return server


def fetch(server: Server, *kinds: str, size: int | None = len(DATA)) -> Path:
    urls = [server.url(f"{kind}/file") for kind in kinds]
    return download.fetch(KEY, urls, what="the file", size=size)


def start(folder: Path) -> subprocess.Popen[str]:
    """Pulls in a process of its own, which needs no torch for it."""
    return subprocess.Popen(
        [sys.executable, "-c", PULL, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


@pytest.fixture
def large(tmp_path: Path, server: Server) -> Path:
    """A manifest alone; its one file of half a megabyte is on the server."""
    model = zoo.create("tensornet-s", num_rbf=4)
    saved = zoo.save(model, tmp_path / "large", name="tensornet-s.large.r1")
    server.add(saved)
    return manifest_alone(saved, tmp_path / "far", server.url("slow"))


# --- resuming --------------------------------------------------------------------------------


def test_a_broken_line_is_taken_up_where_it_broke(source: Server, cache: Path) -> None:
    """Every answer brings half of the rest; four of them are not enough."""
    with pytest.raises(DownloadError, match="broke 4 times"):
        fetch(source, "pieces")
    starts = [0, *(int(word.removeprefix("bytes=")[:-1]) for word in source.ranges if word)]
    assert len(starts) == 4 and starts == sorted(set(starts))
    (part,) = left_over(cache)
    done = part.stat().st_size
    assert done == len(DATA) * 15 // 16 and part.read_bytes() == DATA[:done]
    assert fetch(source, "range").read_bytes() == DATA
    assert source.ranges[-1] == f"bytes={done}-"
    assert left_over(cache) == []


def test_the_next_mirror_goes_on_where_the_first_broke(source: Server) -> None:
    assert fetch(source, "short", "gone", "range").read_bytes() == DATA
    assert source.ranges[-1] == f"bytes={len(DATA) // 2}-"


def test_a_server_without_ranges_starts_over(source: Server) -> None:
    assert fetch(source, "short", "ok").read_bytes() == DATA
    assert source.ranges[-1] == f"bytes={len(DATA) // 2}-"


def test_progress_of_a_resumed_download_counts_the_whole(source: Server) -> None:
    with pytest.raises(DownloadError):
        fetch(source, "short")
    seen: list[tuple[int, int]] = []
    url = source.url("range/file")
    download.fetch(KEY, [url], what="x", progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {len(DATA)}
    assert seen[0][0] > len(DATA) // 2 and seen[-1][0] == len(DATA)


@pytest.mark.parametrize("kind", ["changed", "askew"])
def test_a_file_that_changed_in_between_is_fetched_anew(
    source: Server, kind: str, cache: Path
) -> None:
    with pytest.raises(DownloadError):
        fetch(source, "short")
    assert fetch(source, kind).read_bytes() == DATA
    assert source.ranges[-2:] == [f"bytes={len(DATA) // 2}-", None]
    assert left_over(cache) == []


def leave(cache: Path, data: bytes) -> Path:
    """What a killed process leaves."""
    (cache / "tmp").mkdir(parents=True, exist_ok=True)
    path = cache / "tmp" / f"{KEY}.{'0' * 32}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_what_was_left_can_be_anything(source: Server, cache: Path, size: int | None) -> None:
    """Longer than the file, complete, complete but wrong, or rubbish: the result is right."""
    for data in (DATA + b"x", DATA, DATA[:-1] + b"x", b"rubbish", b""):
        leave(cache, data)
        assert fetch(source, "range", size=size).read_bytes() == DATA
        assert left_over(cache) == []
        shutil.rmtree(cache)


def test_a_complete_left_over_needs_no_request(source: Server, cache: Path) -> None:
    leave(cache, DATA)
    assert fetch(source, "range").read_bytes() == DATA
    assert source.requests == []


def test_a_left_over_of_a_living_process_is_not_touched(source: Server, cache: Path) -> None:
    with cache_module.workspace(KEY) as theirs:
        theirs.write_bytes(DATA[:1000])
        assert fetch(source, "range").read_bytes() == DATA
        assert source.ranges == [None]
        assert theirs.read_bytes() == DATA[:1000]
    assert theirs.exists()


def test_a_file_cleared_away_while_another_process_finished(
    source: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = download._download

    def cleared(url: str, path: Path, **options: object) -> None:
        real(url, path, **options)
        path.unlink()
        with cache_module.workspace() as other:
            other.write_bytes(DATA)
            cache_module.commit(other, KEY)

    monkeypatch.setattr(download, "_download", cleared)
    assert fetch(source, "ok").read_bytes() == DATA


def test_a_wrong_file_is_asked_for_once(source: Server, cache: Path) -> None:
    with pytest.raises(IntegrityError, match="nothing was kept"):
        fetch(source, "wrong")
    assert source.requests == ["/wrong/file"]
    assert left_over(cache) == [] and blobs(cache) == []


def test_the_manifest_can_carry_any_file(saved: Path, server: Server, tmp_path: Path) -> None:
    """Every file that it lists is pulled, whatever its role."""
    remote = manifest_alone(saved, tmp_path / "remote", server.url("pieces"), server.url("range"))
    server.add(saved)
    paths = hub.pull(remote)
    files = hub.read_manifest(remote / "manifest.yaml").files
    assert [cache_module.sha256(path) for path in paths] == [file.sha256 for file in files]


# --- redirections, stalls --------------------------------------------------------------------


def test_a_redirection_is_followed(source: Server) -> None:
    assert fetch(source, "moved").read_bytes() == DATA
    assert source.requests == ["/moved/file", "/ok/file"]


def test_a_redirection_to_an_unencrypted_address_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Redirected:
        def __init__(self, **options: dict[str, Callable[..., None]]) -> None:
            self.hook = options["hooks"]["response"]

        def __call__(self, url: str, *_: object) -> None:
            self.hook(SimpleNamespace(url="http://elsewhere/file", close=bool))

    monkeypatch.setattr(download.pooch, "HTTPDownloader", Redirected)
    with pytest.raises(DownloadError, match="http://elsewhere/file, which is not encrypted"):
        download.fetch(KEY, ["https://secure/file"], what="the file")


def test_a_stalled_server_is_given_up(
    source: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_TIMEOUT", "0.5")
    with pytest.raises(DownloadError, match=r"no byte came for 0.5 s \(ZOO_TIMEOUT"):
        fetch(source, "slow")
    assert source.ranges == [None, f"bytes={len(DATA) // 2}-"]  # the second brought nothing new
    monkeypatch.delenv("ZOO_TIMEOUT")
    assert fetch(source, "range").read_bytes() == DATA


def test_a_server_that_never_answers_is_given_up(
    source: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setenv("ZOO_TIMEOUT", "0.5")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        urls = [f"http://127.0.0.1:{port}/file", source.url("ok/file")]
        assert download.fetch(KEY, urls, what="the file").read_bytes() == DATA


@pytest.mark.parametrize("value", ["soon", "-1", "0", "nan"])
def test_a_nonsense_timeout_is_refused(
    source: Server, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ZOO_TIMEOUT", value)
    with pytest.raises((ConfigError, DownloadError), match="ZOO_TIMEOUT"):
        fetch(source, "ok")


# --- two at once, and one of them killed ---------------------------------------------------------


def test_a_killed_download_leaves_nothing_that_counts(
    large: Path, cache: Path, server: Server
) -> None:
    process = start(large)
    wait_for(lambda: any(p.stat().st_size > 0 for p in left_over(cache)) or process.poll())
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    assert blobs(cache) == []
    (part,) = left_over(cache)
    done = part.stat().st_size
    edit(large, urls=[server.url("range")])
    assert zoo.load(large)
    assert server.ranges[-1] == f"bytes={done}-"
    assert len(blobs(cache)) == 1 and left_over(cache) == []


def test_two_processes_pull_at_once_and_one_is_killed(
    large: Path, cache: Path, server: Server
) -> None:
    """Both are in the middle of the same file; killing one does not disturb the other."""
    processes = [start(large), start(large)]
    parts: list[Path] = []

    def both_are_writing() -> bool:
        parts[:] = [path for path in left_over(cache) if path.stat().st_size > 0]
        return len(parts) == 2 or any(p.poll() is not None for p in processes)

    wait_for(both_are_writing)
    assert len(parts) == 2
    processes[0].send_signal(signal.SIGKILL)
    processes[0].communicate()
    server.release.set()
    _, errors = processes[1].communicate(timeout=120)
    assert processes[1].returncode == 0, errors
    (file,) = hub.read_manifest(large / "manifest.yaml").files
    assert [path.name for path in blobs(cache)] == [file.sha256]
    assert cache_module.sha256(blobs(cache)[0]) == file.sha256
    assert left_over(cache) == []  # what the killed one left went with the finished download
    assert server.requests[0] == server.requests[1]


def test_two_processes_that_both_finish(large: Path, cache: Path, server: Server) -> None:
    processes = [start(large), start(large)]
    wait_for(lambda: len(server.requests) >= 2 or any(p.poll() is not None for p in processes))
    server.release.set()
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert len(blobs(cache)) == 1 and left_over(cache) == []


def test_many_threads_fetch_the_same_file(source: Server, cache: Path) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(source, "pieces", "range").read_bytes()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [DATA] * 8
    assert len(blobs(cache)) == 1


# --- a full disk -----------------------------------------------------------------------------


@pytest.fixture
def file_limit() -> Iterator[None]:
    """No file may grow beyond 100 kB: the system itself cuts the write short, then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("file_limit")
def test_a_disk_that_takes_no_more(source: Server, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with pytest.raises(OutputError, match="took 100000 bytes of a download and no more") as error:
        fetch(source, "ok", "range")
    assert "zoo cache prune" in str(error.value) and "ZOO_CACHE" in str(error.value)
    assert source.requests == ["/ok/file"]  # no other address would help
    assert blobs(cache) == [] and left_over(cache) == []
    with pytest.raises(OutputError, match="no more"):
        download.fetch_unverified(source.url("ok/file"), what="the file")
    assert left_over(cache) == []


def test_a_disk_that_is_known_to_be_too_small(
    source: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OutputError, match=f"has 1000 bytes left, {len(DATA)} are needed"):
        fetch(source, "ok")
    assert source.requests == [] and left_over(cache) == []


SMALL_DISK = """
import pathlib, sys
from zoo.errors import OutputError
from zoo.hub import cache, download
url, digest = sys.argv[1:]
try:
    download.fetch(digest, [url], what="the file")
except OutputError as error:
    print(error)
print([path.name for path in (cache.root() / "tmp").iterdir()])
"""


@pytest.mark.skipif(not may_mount(), reason="this system lets no one mount a disk of their own")
def test_a_real_full_disk(source: Server, cache: Path) -> None:
    """A disk of 128 kB in memory, which only that process sees."""
    cache.mkdir()
    mount = f"mount -t tmpfs -o size=128k tmpfs {cache}"
    words = [sys.executable, "-c", SMALL_DISK, source.url("ok/file"), KEY]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    message, left = done.stdout.strip().rsplit("\n", 1)
    assert "No space left on device" in message and "zoo cache prune" in message
    assert left == "[]"
