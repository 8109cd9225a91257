"""Publishing into a folder and on Hugging Face, and loading back from there."""

import functools
import hashlib
import http.server
import inspect
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import zoo
from tests.hub.conftest import CERTIFICATE, NAME, edit, manifest_alone
from zoo import _extras, hub
from zoo.errors import (
    CapabilityError,
    CertificateError,
    ConfigError,
    DownloadError,
    IntegrityError,
    MissingExtraError,
    OfflineError,
    OutputError,
)
from zoo.hub import cache as cache_module

SHIPPED = "tensornet-s.gfn2-md10.r1"


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address under which a static host serves it."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    web = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield folder, f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()
    thread.join()


# --- a folder --------------------------------------------------------------------------------


def test_a_release_holds_every_shipped_file(tmp_path: Path) -> None:
    done = hub.release(tmp_path / "release")
    found = tree(tmp_path / "release")
    every = {name: hub.read_manifest(hub.find(name)) for name in zoo.list_models(pretrained=True)}
    names = [name for name, manifest in every.items() if manifest.source == "zoo"]
    assert done.names == tuple(names) and SHIPPED in names
    assert set(found) == set(done.written)
    index = json.loads(found["index.json"])["checkpoints"]
    for name in names:
        manifest = hub.read_manifest(hub.find(name))
        for file in manifest.files:
            assert hashlib.sha256(found[f"sha256/{file.sha256}"]).hexdigest() == file.sha256
            assert index[name]["files"][file.path] == file.sha256
        text = found[f"manifests/{name}.yaml"]
        assert index[name]["manifest"] == hashlib.sha256(text).hexdigest()
        assert hub.read_manifest(tmp_path / "release" / "manifests" / f"{name}.yaml") == manifest
        assert name in found[f"cards/{name}.md"].decode()
    again = hub.release(tmp_path / "release")
    assert again.written == () and set(again.present) == set(done.written)
    assert tree(tmp_path / "release") == found


def test_a_damaged_file_stops_a_release_before_it_begins(
    tmp_path: Path, saved: Path, shelf: Path
) -> None:
    hub.publish(saved, into=shelf)
    path = shelf / f"{NAME}.golden.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="golden.safetensors has sha256"):
        hub.release(tmp_path / "release")
    assert not (tmp_path / "release").exists()


@pytest.mark.parametrize(
    ("certificate", "words"),
    [(None, rf"1 have none \({NAME}\)"), ({"passed": False}, rf"1 did not pass \({NAME}\)")],
)
def test_nothing_is_released_without_a_certificate(
    tmp_path: Path, saved: Path, shelf: Path, certificate: Any, words: str
) -> None:
    hub.publish(saved, into=shelf)
    bare = edit(saved, certificate=certificate)
    edit(shelf / f"{NAME}.yaml", certificate=certificate)
    for publish in (
        lambda: hub.release(tmp_path / "release"),
        lambda: hub.upload(bare, tmp_path / "release"),
        lambda: hub.publish(bare, into=tmp_path / "release"),
    ):
        with pytest.raises(CertificateError, match=words):
            publish()
        assert not (tmp_path / "release").exists()


def test_authors_weights_are_theirs_to_publish(tmp_path: Path, saved: Path) -> None:
    name = "dimenet-authors-mu.qm9.r1"  # nothing of it is fetched
    with pytest.raises(CapabilityError, match=rf"only they publish: {name} from https://"):
        hub.upload([saved, name], tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_every_shipped_manifest_has_one() -> None:
    for name in zoo.list_models(pretrained=True):
        manifest = hub.read_manifest(hub.find(name))
        if manifest.source == "zoo":
            assert manifest.certificate is not None and manifest.certificate["passed"] is True


def test_a_digest_never_changes_its_bytes(tmp_path: Path, saved: Path) -> None:
    hub.upload(saved, tmp_path / "to")
    digest = hub.read_manifest(saved / "manifest.yaml").weights.sha256
    place = tmp_path / "to" / "sha256" / digest
    place.write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="holds other bytes than its name says"):
        hub.upload(saved, tmp_path / "to")
    assert place.read_bytes() == b"something else"


def test_a_name_never_changes_its_weights(tmp_path: Path, saved: Path) -> None:
    hub.upload([saved, SHIPPED], tmp_path / "to")
    before = tree(tmp_path / "to")
    fresh = zoo.create("tensornet", num_layers=0)
    other = zoo.save(fresh, tmp_path / "other", name=NAME, certificate=CERTIFICATE)
    with pytest.raises(OutputError, match=f"other weights called {NAME}.*next revision"):
        hub.upload(other, tmp_path / "to")
    assert tree(tmp_path / "to") == before
    hub.annotate(saved, limits=["small"])  # what is said about them may change
    done = hub.upload(saved, tmp_path / "to")
    assert set(done.written) == {f"manifests/{NAME}.yaml", f"cards/{NAME}.md", "index.json"}
    assert set(json.loads((tmp_path / "to" / "index.json").read_text())["checkpoints"]) == {
        NAME,
        SHIPPED,
    }


def test_a_dry_run_writes_nothing(tmp_path: Path, saved: Path) -> None:
    plan = hub.upload(saved, tmp_path / "to", dry_run=True)
    assert not (tmp_path / "to").exists()
    assert plan == hub.upload(saved, tmp_path / "to")
    plan = hub.upload(saved, tmp_path / "to", dry_run=True)
    assert plan.written == () and len(plan.present) == 5


def test_loading_back_from_a_folder_and_from_a_host(
    saved: Path, site: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = site
    base = hub.upload(saved, folder).base
    for number, mirror in enumerate((base, f"file://{base}", address, f"{address}/")):
        monkeypatch.setenv("ZOO_MIRROR", mirror)
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / f"cache-{number}"))
        monkeypatch.setenv("ZOO_OFFLINE", "0" if "http" in mirror else "1")
        assert zoo.load(manifest_alone(saved, tmp_path / f"remote-{number}"), check=True)
    published = folder / "manifests" / f"{NAME}.yaml"
    assert zoo.load(published, check=True).checkpoint_name == NAME


@pytest.mark.parametrize(
    "text", ["", "[]", '{"index": 1}', '{"index": 1, "checkpoints": {"a": 1}}']
)
def test_another_index_is_not_replaced(tmp_path: Path, saved: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(OutputError, match="not an index of weights"):
        hub.upload(saved, tmp_path)
    assert (tmp_path / "index.json").read_text() == text
    (tmp_path / "index.json").write_text('{"index": 2}')
    with pytest.raises(ConfigError, match="pip install -U"):
        hub.upload(saved, tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        hub.upload(saved, tmp_path / "file" / "to")


# --- Hugging Face ----------------------------------------------------------------------------


@dataclass
class Repository:
    """What the hub's own package would say and do; files above 10 kB are kept by their sha256."""

    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)
    head: str = "0" * 40
    endpoint: str = "https://huggingface.co"
    broken: str = ""

    def repo_info(self, repo_id: str) -> SimpleNamespace:
        if repo_id != "me/weights":
            raise RuntimeError("404: no such repository")
        return SimpleNamespace(sha=self.head)

    def get_paths_info(self, repo_id: str, paths: list[str], *, revision: str) -> list[Any]:
        assert revision == self.head
        return [self._info(path) for path in paths if path in self.files]

    def _info(self, path: str) -> SimpleNamespace:
        data = self.files[path]
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        large = SimpleNamespace(sha256=hashlib.sha256(data).hexdigest())
        return SimpleNamespace(path=path, blob_id=git, lfs=large if len(data) > 10_000 else None)

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str, local_dir: str) -> str:
        target = Path(local_dir) / filename
        target.write_bytes(self.files[filename])
        return str(target)

    def create_commit(
        self, repo_id: str, operations: list[Any], *, commit_message: str, parent_commit: str
    ) -> None:
        if self.broken or parent_commit != self.head:
            raise RuntimeError(self.broken or "412: somebody else wrote")
        for operation in operations:
            source = operation.path_or_fileobj
            data = source if isinstance(source, bytes) else Path(source).read_bytes()
            self.files[operation.path_in_repo] = data
        self.commits.append([operation.path_in_repo for operation in operations])
        self.head = f"{len(self.commits):040d}"


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Repository:
    state = Repository()

    def require(module: str, **_: str) -> SimpleNamespace:
        assert module == "huggingface_hub"
        return SimpleNamespace(HfApi=lambda: state, CommitOperationAdd=SimpleNamespace)

    monkeypatch.setattr(_extras, "require", require)
    return state


def test_the_stub_is_called_as_the_real_one_would_be(tmp_path: Path) -> None:
    real = pytest.importorskip("huggingface_hub")
    for name in ("repo_info", "get_paths_info", "hf_hub_download", "create_commit"):
        theirs = inspect.signature(getattr(real.HfApi, name)).parameters
        ours = inspect.signature(getattr(Repository, name)).parameters
        assert set(ours) <= set(theirs), name
        positional = [p.name for p in ours.values() if p.kind is not p.KEYWORD_ONLY]
        assert positional == list(theirs)[: len(positional)], name
    (tmp_path / "x").write_bytes(b"x")
    real.CommitOperationAdd(path_in_repo="sha256/x", path_or_fileobj=tmp_path / "x")
    assert real.HfApi().endpoint.startswith("https://")


def test_upload_to_hugging_face(
    repository: Repository, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = hub.upload(saved, "hf:me/weights")
    assert done.base == "https://huggingface.co/me/weights/resolve/main"
    assert repository.commits == [list(done.written)]  # one commit, so that nobody sees half
    assert repository.files == tree_of_upload(saved, tmp_path)
    assert hub.upload(saved, "hf:me/weights").written == ()
    assert len(repository.commits) == 1
    hub.upload(SHIPPED, "hf:me/weights")
    assert set(json.loads(repository.files["index.json"])["checkpoints"]) == {NAME, SHIPPED}
    (tmp_path / "host").mkdir()
    for name, data in repository.files.items():  # what the host would serve
        path = tmp_path / "host" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path / "host"))
    assert zoo.load(manifest_alone(saved, tmp_path / "remote"), check=True)


def tree_of_upload(saved: Path, tmp_path: Path) -> dict[str, bytes]:
    hub.upload(saved, tmp_path / "same")
    return tree(tmp_path / "same")


def test_hugging_face_never_replaces_a_digest(repository: Repository, saved: Path) -> None:
    hub.upload(saved, "hf:me/weights")
    for file in hub.read_manifest(saved / "manifest.yaml").files:
        kept = repository.files[f"sha256/{file.sha256}"]
        repository.files[f"sha256/{file.sha256}"] = kept[:-1] + b"?"
        with pytest.raises(IntegrityError, match="other bytes"):
            hub.upload(saved, "hf:me/weights")
        repository.files[f"sha256/{file.sha256}"] = kept
    assert len(repository.commits) == 1


def test_a_dry_run_commits_nothing(repository: Repository, saved: Path) -> None:
    assert len(hub.upload(saved, "hf:me/weights", dry_run=True).written) == 5
    assert repository.commits == [] and repository.files == {}


def test_refusals_of_hugging_face(
    repository: Repository, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("hf:", "hf:me", "hf:me/a/b", "hf:me/a?b"):
        with pytest.raises(ConfigError, match="hf:<owner>/<repository>"):
            hub.upload(saved, word)
    with pytest.raises(DownloadError, match="create the repository first"):
        hub.upload(saved, "hf:me/other")
    repository.broken = "403: forbidden"
    with pytest.raises(OutputError, match="403.*hf auth login"):
        hub.upload(saved, "hf:me/weights")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(OfflineError, match="ZOO_OFFLINE"):
        hub.upload(saved, "hf:me/weights")


def test_without_the_extra(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"geometric-zoo\[hub\]"):
        _extras.require("huggingface_hub", extra="hub", package="huggingface-hub")


def test_only_files_move(tmp_path: Path) -> None:
    """Pulling, bundling, releasing and looking after the cache need no torch."""
    import subprocess
    import sys

    program = (
        "import sys; from zoo import hub\n"
        f"path = hub.bundle({SHIPPED!r}, {str(tmp_path / 'x.zoo')!r}); hub.pull(path)\n"
        f"hub.release({str(tmp_path / 'r')!r}); hub.cache_prune(dry_run=True); hub.cache_verify()\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
    assert cache_module.blobs(cache_module.root())
