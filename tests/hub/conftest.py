"""A web server on loopback, an empty cache, and a small saved model."""

import hashlib
import http.server
import os
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ase import Atoms
from ase.build import molecule

import zoo
from zoo import hub, share
from zoo._environment import VARIABLES
from zoo.hub import weights
from zoo.models.tensornet import TensorNet

NAME = "tensornet-s.tiny.r1"
#: what lets the tests' weights be published; nobody has measured them
CERTIFICATE = {"passed": True, "results": []}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; no setting of the machine counts."""
    for name in (*VARIABLES, "HTTP_PROXY", "HTTPS_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def structures() -> list[Atoms]:
    return [molecule("CH3CH2OH"), molecule("H2O")]


@pytest.fixture
def model() -> TensorNet:
    """A model with random weights, reference energies and three trained elements."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = zoo.create("tensornet", hidden_channels=8, num_layers=1, num_rbf=4, max_z=20)
    net.set_references({1: -13.6, 6: -1036.1, 8: -2043.2})
    net.restrict_elements({1: 60, 6: 20, 8: 10})
    return net.eval()


@pytest.fixture
def saved(tmp_path: Path, model: TensorNet, structures: list[Atoms]) -> Path:
    return zoo.save(
        model,
        tmp_path / "saved",
        name=NAME,
        golden_inputs=structures,
        license={"weights": "CC0-1.0"},
        certificate=CERTIFICATE,
    )


@pytest.fixture
def bundled(saved: Path, tmp_path: Path) -> Path:
    return hub.bundle(saved, tmp_path / "x.zoo")


def contents(path: Path) -> dict[str, bytes]:
    """The members of a bundle."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def everything(folder: Path) -> set[Path]:
    """All files below a folder."""
    return {path for path in folder.rglob("*") if path.is_file()}


def may_mount() -> bool:
    """Whether a process may have a disk of its own here, as in a container."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    words = [unshare, "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(words, capture_output=True).returncode == 0


def edit(folder: Path, **changes: Any) -> Path:
    """Rewrites fields of a manifest, of a folder or alone; None removes one."""
    path = folder / "manifest.yaml" if folder.is_dir() else folder
    values = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return folder


@dataclass
class Server:
    """`files` by digest or name; the first part of the address says how they are served.

    ok: whole, whatever was asked for. range: from the byte that was asked for. wrong: one byte
    changed. short: half of what the header announces. pieces: from the byte that was asked for, but
    only half of the rest. slow: half, then a wait until `release` is set. changed: whole at first,
    then the rest of another file. tagged: as range, with an ETag of the data, and whole if the
    condition of a range no longer holds. tags: the same, but half of what is left, and whatever the
    condition was. askew: a range that nobody asked for. moved: a redirection to
    ok. guarded: status 202 and nothing, as servers that want to see a browser. Anything else, or an
    unknown file: 404.
    """

    base: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def add(self, folder: Path) -> None:
        for item in yaml.safe_load((folder / "manifest.yaml").read_text())["files"]:
            data = (folder / item["path"]).read_bytes()
            self.files[item["path"]] = self.files[item["sha256"]] = data

    def url(self, how: str) -> str:
        return f"{self.base}/{how}"


_RANGED = ("range", "pieces", "changed", "askew", "tagged", "tags")
_KINDS = ("ok", "wrong", "short", "slow", *_RANGED)


def tag(data: bytes) -> str:
    """A strong ETag."""
    return f'"{digest(data)[:16]}"'


class Handler(http.server.BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.state.requests.append(self.path)
        self.state.ranges.append(wanted)
        self.state.conditions.append(self.headers.get("If-Range"))
        how, name = self.path.split("/")[1], self.path.split("/")[-1]
        data = self.state.files.get(name)
        if how == "moved" and data is not None:
            self.send_response(302)
            self.send_header("Location", f"/ok/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "guarded":
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif data is None or how not in _KINDS:
            self.send_error(404)
        else:
            start = int(wanted.removeprefix("bytes=")[:-1]) if wanted and how in _RANGED else 0
            if how == "tagged" and self.headers.get("If-Range", tag(data)) != tag(data):
                start = 0
            self.answer(how, data, start)

    def answer(self, how: str, data: bytes, start: int) -> None:
        if start > len(data) or (start and start == len(data)):
            self.send_error(416)
            return
        if how == "wrong":
            data = bytes([data[0] ^ 1]) + data[1:]
        if how == "changed" and start:
            data = bytes(byte ^ 1 for byte in data)
        rest = data[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        if how in ("tagged", "tags"):
            self.send_header("ETag", tag(data))
        if start:
            first = start - 1 if how == "askew" else start
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        try:
            self.body(how, rest)
        except (BrokenPipeError, ConnectionResetError):  # the client was killed, or had enough
            self.close_connection = True

    def body(self, how: str, rest: bytes) -> None:
        half = len(rest) // 2
        if how not in ("short", "pieces", "slow", "tags"):
            self.wfile.write(rest)
            return
        self.wfile.write(rest[:half])
        self.wfile.flush()
        self.close_connection = True
        if how == "slow":
            self.state.release.wait(60)
            self.wfile.write(rest[half:])

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    handler = type("OwnHandler", (Handler,), {})
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.state = state = Server(f"http://127.0.0.1:{web.server_port}")
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.release.set()
    web.shutdown()
    web.server_close()
    thread.join()


@pytest.fixture
def remote(tmp_path: Path, saved: Path, server: Server) -> Path:
    """A manifest alone; its files are on the server."""
    server.add(saved)
    return manifest_alone(saved, tmp_path / "remote", server.url("ok"))


def blobs(cache: Path) -> list[Path]:
    """Everything under blobs/."""
    return [path for path in (cache / "blobs").rglob("*") if path.is_file()]


def left_over(cache: Path) -> list[Path]:
    """Everything under tmp/."""
    return list((cache / "tmp").glob("*"))


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest_alone(saved: Path, folder: Path, *urls: str) -> Path:
    """A copy of a manifest without its files, which are at these addresses."""
    folder.mkdir()
    shutil.copy(saved / "manifest.yaml", folder)
    return edit(folder, urls=list(urls) or None)


def replace(folder: Path, data: bytes, path: str = "model.safetensors") -> Path:
    """Puts other bytes in place of the weights and lets the manifest agree."""
    files = yaml.safe_load((folder / "manifest.yaml").read_text())["files"]
    for item in files:
        if item["role"] == "weights":
            item |= {"path": path, "sha256": digest(data), "bytes": len(data)}
    (folder / path).write_bytes(data)
    return edit(folder, files=files)


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return weights.parse((folder / "model.safetensors").read_bytes(), where="test")


def ran() -> None:
    Path(os.environ["ZOO_TEST_RAN"]).touch()


class Bomb:
    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return ran, ()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for `checkpoints/`."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "_urls.yaml").write_text("bases: []\n")
    real = share.folder
    monkeypatch.setattr(share, "folder", lambda k: folder if k == "checkpoints" else real(k))
    return folder
