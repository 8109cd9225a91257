"""Bundles from anywhere: everything they may not hold is refused, and nothing is written."""

import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zoo
from tests.hub.conftest import NAME, blobs, contents, digest, everything, left_over
from zoo import hub
from zoo.errors import IntegrityError, ManifestError, UnsafeFileError, ZooError
from zoo.hub import _unbundle


def pack(path: Path, members: dict[str, bytes], **options: int) -> Path:
    """An archive of the given members, as somebody else may write it."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, error: type[ZooError], words: str) -> None:
    """Every way in refuses it, and writes nothing but files under their digests in the cache."""
    cache = Path(os.environ["ZOO_CACHE"])
    before = everything(path.parent)
    for entry in (hub.pull, zoo.load):
        with pytest.raises(error, match=words):
            entry(path)
    assert everything(path.parent) - before <= set(blobs(cache))
    assert all(digest(item.read_bytes()) == item.name for item in blobs(cache))


Members = dict[str, bytes]
FILE = f"{NAME}/files/model.safetensors"

UNEXPECTED: dict[str, tuple[Callable[[Members], Members], str]] = {
    "traversal": (lambda m: m | {"../../evil": b"x"}, "leads out"),
    "inner-traversal": (lambda m: m | {f"{NAME}/files/../../../evil": b"x"}, "leads out"),
    "absolute": (lambda m: m | {"/etc/evil": b"x"}, "leads out"),
    "drive": (lambda m: m | {"C:evil": b"x"}, "leads out"),
    "backslash": (lambda m: m | {f"{NAME}\\..\\evil": b"x"}, "leads out"),
    "folder": (lambda m: m | {f"{NAME}/files/": b""}, "no plain file name|not a file"),
    "dot": (lambda m: m | {f"{NAME}/./evil": b"x"}, "no plain file name"),
    "control": (lambda m: m | {f"{NAME}/e\nvil": b"x"}, "no plain file name"),
    "unknown": (lambda m: m | {f"{NAME}/files/evil.py": b"x"}, "none of its manifests names"),
    "beside": (lambda m: m | {"evil.py": b"x"}, "no manifest"),
    "other-model": (lambda m: m | {"tensornet-s.b.r1/card.md": b"x"}, "no manifest"),
    "no-mark": (lambda m: {k: v for k, v in m.items() if "/" in k}, "is no bundle"),
    "pickle": (
        lambda m: {
            k.replace("model.safetensors", "m.pkl"): v.replace(b"model.safetensors", b"m.pkl")
            for k, v in m.items()
        },
        "can run code",
    ),
    "long-manifest": (
        lambda m: m | {f"{NAME}/manifest.yaml": m[f"{NAME}/manifest.yaml"] + b"#" * (1 << 20)},
        "more than",
    ),
}


@pytest.mark.parametrize("case", UNEXPECTED)
def test_unexpected_members(bundled: Path, tmp_path: Path, case: str) -> None:
    change, words = UNEXPECTED[case]
    refused(pack(tmp_path / "evil.zoo", change(contents(bundled))), UnsafeFileError, words)


def with_mode(path: Path, members: Members, name: str, kind: int) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for key, data in members.items():
            entry = zipfile.ZipInfo(key)
            entry.create_system = 3
            entry.external_attr = ((kind if key == name else stat.S_IFREG) | 0o644) << 16
            archive.writestr(entry, b"/etc/passwd" if key == name else data)
    return path


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices(bundled: Path, tmp_path: Path, kind: int) -> None:
    path = with_mode(tmp_path / "evil.zoo", contents(bundled), FILE, kind)
    refused(path, UnsafeFileError, "is a link, a device")


def test_doubles(bundled: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.zoo"
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as archive:
        for name, data in contents(bundled).items():
            archive.writestr(name, data)
        archive.writestr(FILE, b"other")
    refused(path, UnsafeFileError, "twice")


def test_compressed_members_and_bombs(bundled: Path, tmp_path: Path) -> None:
    members = contents(bundled)
    path = pack(tmp_path / "packed.zoo", members, compression=zipfile.ZIP_DEFLATED)
    refused(path, UnsafeFileError, "is compressed")
    size = len(members[FILE])
    bomb = pack(tmp_path / "bomb.zoo", members | {FILE: b"\0" * (50 * size)}, compression=8)
    assert bomb.stat().st_size < 50 * size
    refused(bomb, UnsafeFileError, "is compressed")


def patched(bundled: Path, path: Path, name: str, change: Callable[[bytearray, int], None]) -> Path:
    """Changes the entry of one member in the archive's directory."""
    data = bytearray(bundled.read_bytes())
    entry = data.index(name.encode(), data.index(b"PK\x01\x02")) - 46
    change(data, entry)
    path.write_bytes(data)
    return path


def test_declared_sizes(bundled: Path, tmp_path: Path) -> None:
    """A size that differs from the manifest's, or from what is there."""
    real = len(contents(bundled)[FILE])

    def claim(size: int) -> Callable[[bytearray, int], None]:
        return lambda data, entry: struct.pack_into("<2L", data, entry + 20, size, size)

    for size in (real - 1, real + 1, 4_000_000_000):
        path = patched(bundled, tmp_path / "evil.zoo", FILE, claim(size))
        refused(path, IntegrityError, f"has {size} bytes, its manifest says {real}")
    path = patched(
        bundled,
        tmp_path / "evil.zoo",
        FILE,
        lambda data, entry: struct.pack_into("<L", data, entry + 24, 1 << 30),
    )
    refused(path, UnsafeFileError, "is compressed")


def test_encrypted_members(bundled: Path, tmp_path: Path) -> None:
    def encrypt(data: bytearray, entry: int) -> None:
        data[entry + 8] |= 1

    path = patched(bundled, tmp_path / "evil.zoo", FILE, encrypt)
    refused(path, UnsafeFileError, "is encrypted")


def test_a_hidden_end_of_a_name(bundled: Path, tmp_path: Path) -> None:
    def hide(data: bytearray, entry: int) -> None:
        data[entry + 46 + len(NAME)] = 0

    path = patched(bundled, tmp_path / "evil.zoo", FILE, hide)
    refused(path, UnsafeFileError, "no plain file name")


def test_two_names_for_one_member(bundled: Path, tmp_path: Path) -> None:
    """The directory calls a member otherwise than the member itself."""
    path = tmp_path / "evil.zoo"
    data = bundled.read_bytes()
    path.write_bytes(data.replace(FILE.encode(), FILE.replace("model", "modem").encode(), 1))
    refused(path, IntegrityError, "damaged or cut short")


def test_truncated_at_every_place(bundled: Path, tmp_path: Path) -> None:
    data = bundled.read_bytes()
    path = tmp_path / "cut.zoo"
    for end in [*range(4, len(data), max(1, len(data) // 60)), len(data) - 1]:
        path.write_bytes(data[:end])
        with pytest.raises(IntegrityError, match="get it again"):
            hub.pull(path)
    path.write_bytes(data + b"\0" * 30)
    with pytest.raises(IntegrityError, match="bytes follow"):
        hub.pull(path)


@pytest.mark.parametrize("name", ["model.safetensors", "golden.safetensors"])
def test_other_bytes_of_the_same_size(bundled: Path, tmp_path: Path, name: str) -> None:
    members = contents(bundled)
    key = f"{NAME}/files/{name}"
    members[key] = members[key][:-1] + bytes([members[key][-1] ^ 1])
    refused(pack(tmp_path / "evil.zoo", members), IntegrityError, "has sha256")
    assert digest(members[key]) not in {path.name for path in blobs(tmp_path / "cache")}


def test_missing_members_and_wrong_manifests(bundled: Path, tmp_path: Path) -> None:
    members = contents(bundled)
    lacking = {k: v for k, v in members.items() if k != FILE}
    refused(pack(tmp_path / "a.zoo", lacking), ManifestError, "lacks model.safetensors")
    key = f"{NAME}/manifest.yaml"
    for text, words in (
        (members[key].replace(NAME.encode(), b"tensornet-s.other.r1"), "the name is"),
        (members[key].replace(b"architecture", b"archtecture"), "did you mean 'architecture'"),
        (members[key].replace(b"path: model", b"path: ../model"), "bare name"),
        (b"[" * 5000, "not valid YAML"),
        (b"a: &a [x]\nb: *a", "aliases"),
    ):
        refused(pack(tmp_path / "b.zoo", members | {key: text}), ManifestError, words)
    other = members | {"geometric-zoo-bundle": b"2\n"}
    refused(pack(tmp_path / "c.zoo", other), ManifestError, "pip install -U geometric-zoo")
    only = {"geometric-zoo-bundle": b"1\n"}
    refused(pack(tmp_path / "d.zoo", only), ManifestError, "holds no model")


def test_what_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.zoo"
    with pytest.raises(ManifestError, match="there is no bundle"):
        zoo.load(path)
    for data in (b"", b"PK", b"\x1f\x8b" + b"\0" * 40, b"\x80\x04" + b"\0" * 40):
        path.write_bytes(data)
        refused(path, UnsafeFileError, "is no bundle")
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").close()
    path.write_bytes(buffer.getvalue())
    refused(path, UnsafeFileError, "is no bundle")


def test_a_directory_of_any_length_is_not_read(bundled: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.zoo"
    data = bytearray(bundled.read_bytes())
    struct.pack_into("<2H", data, len(data) - 14, 60_000, 60_000)
    path.write_bytes(data)
    refused(path, UnsafeFileError, "lists 60000 members")


def test_an_archive_beyond_two_gigabytes(bundled: Path, tmp_path: Path, cache: Path) -> None:
    """Its end is another record; written here with a hole in place of the data before it."""
    path = tmp_path / "large.zoo"
    with path.open("wb") as stream:
        with zipfile.ZipFile(stream, "w") as archive:
            for name, data in contents(bundled).items():
                archive.writestr(name, data)
            stream.seek((1 << 31) + 100)
            archive.start_dir = stream.tell()
    assert hub.pull(path)
    with path.open("r+b") as stream:
        stream.seek(-200, os.SEEK_END)
        end = bytearray(stream.read())
        struct.pack_into("<Q", end, end.index(b"PK\x06\x06") + 40, 1 << 40)
        stream.seek(-200, os.SEEK_END)
        stream.write(end)
    with pytest.raises(UnsafeFileError, match="no bundle has so many"):
        hub.pull(path)
    path.unlink()


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_damaged_bundle_is_right_or_refused(
    bundled: Path, cache: Path, data: st.DataObject
) -> None:
    """Any bytes changed, cut out or put in: a ZooError, or exactly what was bundled."""
    raw = bytearray(bundled.read_bytes())
    ends = st.integers(0, 400) | st.integers(len(raw) - 900, len(raw) - 1)
    for _ in range(data.draw(st.integers(1, 3))):
        place = min(data.draw(ends | st.integers(0, len(raw) - 1)), len(raw) - 1)
        kind = data.draw(st.sampled_from(["change", "cut", "insert"]))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        if kind == "change":
            raw[place : place + len(piece)] = piece
        elif kind == "cut":
            del raw[place : place + len(piece)]
        else:
            raw[place:place] = piece
    path = bundled.with_name("damaged.zoo")
    path.write_bytes(raw)
    try:
        found = _unbundle.unbundle(path)
    except ZooError:
        pass
    else:
        manifest = hub.read_manifest(found[NAME])
        assert {p.name for p in blobs(cache)} >= {file.sha256 for file in manifest.files}
    assert all(digest(p.read_bytes()) == p.name for p in blobs(cache))
    assert left_over(cache) == []
