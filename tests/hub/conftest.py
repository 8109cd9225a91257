"""A web server on loopback, an empty cache, and a small saved model."""

import hashlib
import http.server
import os
import shutil
import threading
import time
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
from zoo import share
from zoo.hub import weights
from zoo.models.tensornet import TensorNet

NAME = "tensornet-s.tiny.r1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; no setting of the machine counts."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for name in ("ZOO_OFFLINE", "ZOO_MIRROR", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
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
    )


def edit(folder: Path, **changes: Any) -> Path:
    """Rewrites fields of a folder's manifest; None removes one."""
    path = folder / "manifest.yaml"
    values = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return folder


@dataclass
class Server:
    """`files` by digest or name; the first part of the address says how they are served.

    ok: whole. wrong: one byte changed. short: half of what the header announces. slow: half, then
    a wait until `release` is set. Anything else, or an unknown file: 404.
    """

    base: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def add(self, folder: Path) -> None:
        for item in yaml.safe_load((folder / "manifest.yaml").read_text())["files"]:
            data = (folder / item["path"]).read_bytes()
            self.files[item["path"]] = self.files[item["sha256"]] = data

    def url(self, how: str) -> str:
        return f"{self.base}/{how}"


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            how, name = self.path.split("/")[1], self.path.split("/")[-1]
            data = state.files.get(name)
            if data is None or how not in ("ok", "wrong", "short", "slow"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if how == "wrong":
                data = bytes([data[0] ^ 1]) + data[1:]
            if how in ("short", "slow"):
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                if how == "short":
                    self.close_connection = True
                    return
                state.release.wait(60)
                data = data[len(data) // 2 :]
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):  # the client was killed
                self.close_connection = True

        def log_message(self, *_: Any) -> None: ...

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Server(f"http://127.0.0.1:{web.server_port}")
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
    folder = tmp_path / "remote"
    folder.mkdir()
    shutil.copy(saved / "manifest.yaml", folder)
    return edit(folder, urls=[server.url("ok")])


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
