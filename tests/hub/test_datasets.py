"""`zoo data get`: downloads that are asked for, checked, resumed, unpacked and remembered."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import raw_atoms as raw
import raw_sets
import yaml

import zoo
from tests.hub.conftest import Server, tag
from zoo import hub
from zoo.cli.main import run
from zoo.errors import (
    ConfigError,
    DataError,
    DownloadError,
    IntegrityError,
    OfflineError,
    UnknownNameError,
    UnsafeFileError,
)

DATA = bytes(range(256)) * 300


def described(folder: Path, *entries: dict[str, Any], **more: Any) -> str:
    """A description of one's own; returns its path."""
    about = {"title": "x", "level_of_theory": "none", "units": {"energy": "eV", "length": "nm"}}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**about, "download": list(entries), **more}))
    return str(path)


def tar(files: dict[str, bytes], kind: str = "bz2") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def entry(
    server: Server, how: str, data: bytes, file: str = "a.bin", **more: Any
) -> dict[str, Any]:
    server.files[file] = data
    return {"url": f"{server.url(how)}/{file}", "file": file, **more}


def test_a_file_is_fetched_once_and_its_digest_remembered(
    server: Server, tmp_path: Path, cache: Path
) -> None:
    name = described(tmp_path, entry(server, "ok", DATA))
    (got,) = hub.get_dataset(name)
    assert got.fetched and got.verified == "" and got.sha256 == hashlib.sha256(DATA).hexdigest()
    place = cache / "datasets" / "mine"
    assert (place / "a.bin").read_bytes() == DATA
    (again,) = hub.get_dataset(name)
    assert not again.fetched and again.verified == "first seen" and len(server.requests) == 1
    (place / "a.bin").write_bytes(DATA[:-1] + b"x")  # damaged here
    with pytest.raises(IntegrityError, match="when it was first seen it was"):
        hub.get_dataset(name)
    (place / "a.bin").unlink()
    server.files["a.bin"] = DATA[::-1]  # changed there
    with pytest.raises(IntegrityError, match="when it was first seen it was"):
        hub.get_dataset(name)
    assert not (place / "a.bin").exists() and not (place / "a.bin.part").exists()


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_published_checksums_are_compared(server: Server, tmp_path: Path, kind: str) -> None:
    right = hashlib.new(kind, DATA).hexdigest()
    name = described(tmp_path, entry(server, "ok", DATA, **{kind: right}))
    (got,) = hub.get_dataset(name, folder=tmp_path / "here")
    assert got.verified == kind and (tmp_path / "here" / "a.bin").read_bytes() == DATA
    name = described(tmp_path, entry(server, "wrong", DATA, **{kind: right}))
    with pytest.raises(IntegrityError, match="its authors say"):
        hub.get_dataset(name, folder=tmp_path / "there")
    assert not list((tmp_path / "there").glob("a.bin*"))
    (tmp_path / "here" / "a.bin").write_bytes(DATA[:-1])
    with pytest.raises(IntegrityError, match=kind):
        hub.get_dataset(
            described(tmp_path, entry(server, "ok", DATA, **{kind: right})),
            folder=tmp_path / "here",
        )


def test_a_broken_transfer_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    name = described(tmp_path, entry(server, "pieces", DATA))
    with pytest.raises(DownloadError, match="are kept for the next attempt"):
        hub.get_dataset(name, folder=tmp_path / "d")
    kept = (tmp_path / "d" / "a.bin.part").stat().st_size
    assert 0 < kept < len(DATA)
    hub.get_dataset(described(tmp_path, entry(server, "range", DATA)), folder=tmp_path / "d")
    assert (tmp_path / "d" / "a.bin").read_bytes() == DATA
    assert server.ranges[-1] == f"bytes={kept}-"


@pytest.mark.parametrize("how", ["tagged", "tags"])
def test_a_file_that_changed_meanwhile_is_not_stitched_together(
    server: Server, tmp_path: Path, how: str
) -> None:
    """The server says so by its answer, or sends the rest of the new file under its new tag."""
    place = tmp_path / "d"
    server.files["a.bin"] = DATA
    name = described(tmp_path, entry(server, "tags", DATA))
    with pytest.raises(DownloadError, match="are kept for the next attempt"):
        hub.get_dataset(name, folder=place)
    kept = (place / "a.bin.part").stat().st_size
    assert server.conditions[0] is None and set(server.conditions[1:]) == {tag(DATA)}
    other = DATA[::-1] + b"longer"
    server.files["a.bin"] = other
    url = f"{server.base}/tags/a.bin"
    if how == "tagged":  # the same address, answered as it should be
        origin = next(place.glob(".*.origin"))
        url = url.replace("tags", "tagged")
        origin.write_text(origin.read_text().replace("/tags/", "/tagged/"))
    again = described(tmp_path, {"url": url, "file": "a.bin"})
    if how == "tagged":
        hub.get_dataset(again, folder=place)
        assert (place / "a.bin").read_bytes() == other
        assert {p.name for p in place.iterdir()} == {"a.bin", ".a.bin.yaml", ".a.bin.part.lock"}
    else:  # which breaks off again and again
        with pytest.raises(DownloadError, match="are kept"):
            hub.get_dataset(again, folder=place)
        part = (place / "a.bin.part").read_bytes()
        assert len(part) > 1000 and other.startswith(part)
    assert f"bytes={kept}-" in server.ranges


def test_the_rest_is_asked_for_on_condition(server: Server, tmp_path: Path) -> None:
    place, url = tmp_path / "d", f"{server.base}/tagged/a.bin"
    server.files["a.bin"] = DATA
    place.mkdir()
    (place / "a.bin.part").write_bytes(DATA[:500])
    note = place / ".a.bin.part.origin"
    for kept, condition in (
        (yaml.safe_dump({"url": url, "ETag": tag(DATA)}), tag(DATA)),
        (yaml.safe_dump({"url": "http://elsewhere/a.bin", "ETag": '"x"'}), None),
        (": {", None),
    ):
        note.write_text(kept)
        (place / "a.bin.part").write_bytes(DATA[:500])
        hub.get_dataset(described(tmp_path, {"url": url, "file": "a.bin"}), folder=place)
        assert server.ranges[-1] == "bytes=500-" and server.conditions[-1] == condition
        assert (place / "a.bin").read_bytes() == DATA and not note.exists()
        (place / "a.bin").unlink()


def test_what_came_damaged_is_fetched_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tar({"x/a.txt": b"damaged"})
    name = described(tmp_path, entry(server, "ok", archive, "x.tar.bz2", unpack=True))
    place = tmp_path / "d"
    hub.get_dataset(name, folder=place)
    server.files["x.tar.bz2"] = tar({"x/a.txt": b"whole"})
    assert not hub.get_dataset(name, folder=place)[0].fetched
    server.files.pop("x.tar.bz2")
    with pytest.raises(DownloadError):
        hub.get_dataset(name, folder=place, again=True)
    assert (place / "x" / "a.txt").read_bytes() == b"damaged"  # it stays until a new one is there
    server.files["x.tar.bz2"] = tar({"x/a.txt": b"whole"})
    assert run(["data", "get", name, "--into", str(place), "--again"]) == 0
    assert "downloaded" in capsys.readouterr().out
    assert (place / "x" / "a.txt").read_bytes() == b"whole"
    assert hub.get_dataset(name, folder=place)[0].verified == "first seen"


def test_a_stale_part_of_unknown_origin_is_not_continued(server: Server, tmp_path: Path) -> None:
    name = described(tmp_path, entry(server, "range", DATA))
    hub.get_dataset(name, folder=tmp_path)
    (tmp_path / "a.bin.part").write_bytes(b"stale")
    server.files["a.bin"] = DATA[::-1]
    assert hub.get_dataset(name, folder=tmp_path, again=True)[0].fetched
    assert (tmp_path / "a.bin").read_bytes() == DATA[::-1]


def test_what_has_no_address_is_put_there_by_hand(server: Server, tmp_path: Path) -> None:
    page = {"url": "https://example.org/page", "by_hand": True}
    name = described(tmp_path, {**page, "file": "big"}, entry(server, "ok", DATA))
    with pytest.raises(DownloadError, match=r"get it from https://example.org/page and put it at"):
        hub.get_dataset(name, folder=tmp_path / "d")
    (tmp_path / "d" / "big").mkdir()
    (tmp_path / "d" / "big" / "1.bin").write_bytes(b"123")
    folder, file = hub.get_dataset(name, folder=tmp_path / "d")
    assert (folder.verified, folder.bytes, file.fetched) == ("by hand", 3, True)
    single = described(tmp_path, {**page, "file": "big/1.bin"})
    (got,) = hub.get_dataset(single, folder=tmp_path / "d")
    assert got.sha256 == hashlib.sha256(b"123").hexdigest() and got.verified == "by hand"


@pytest.mark.parametrize(
    ("how", "data", "words"),
    [
        ("guarded", DATA, "status 202, and no file"),
        ("ok", b"\n<!DOCTYPE html><title>Sign in</title>", "sent a web page in the place of a.bin"),
        ("ok", b"", "sent nothing in the place of a.bin"),
    ],
)
def test_answers_that_are_no_file_are_not_kept(
    server: Server, tmp_path: Path, how: str, data: bytes, words: str
) -> None:
    with pytest.raises((DownloadError, IntegrityError), match=words):
        hub.get_dataset(described(tmp_path, entry(server, how, data)), folder=tmp_path / "d")
    assert not list((tmp_path / "d").glob("a.bin*")) and not list((tmp_path / "d").glob("*.yaml"))
    hub.get_dataset(described(tmp_path, entry(server, "ok", DATA)), folder=tmp_path / "d")
    assert (tmp_path / "d" / "a.bin").read_bytes() == DATA


def test_a_part_that_a_killed_process_left_is_used(server: Server, tmp_path: Path) -> None:
    name = described(tmp_path, entry(server, "range", DATA))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.bin.part").write_bytes(DATA[:1000])
    hub.get_dataset(name, folder=tmp_path / "d")
    assert server.ranges == ["bytes=1000-"]
    assert (tmp_path / "d" / "a.bin").read_bytes() == DATA


def test_offline_and_missing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = described(tmp_path, {"url": server.url("ok") + "/none", "file": "a.bin"})
    with pytest.raises(DownloadError, match="nothing was kept"):
        hub.get_dataset(name)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    before = len(server.requests)
    with pytest.raises(OfflineError, match="ZOO_OFFLINE is set"):
        hub.get_dataset(name)
    assert len(server.requests) == before


def test_archives_are_unpacked_as_far_as_wanted(server: Server, tmp_path: Path) -> None:
    archive = tar({"x/a_one.txt": b"1", "x/a_two.txt": b"2", "x/more.txt": b"3"})
    wanted = {"unpack": ["x/a_{part}.txt"], "only": {"part": ["one", "two"]}}
    name = described(
        tmp_path,
        entry(server, "ok", archive, "x.tar.bz2", **wanted),
        settings={"part": {"values": ["one", "two", "none"]}},
    )
    place = tmp_path / "d"
    assert hub.get_dataset(name, {"part": "none"}, folder=place) == []
    (got,) = hub.get_dataset(name, {"part": "one"}, folder=place)
    assert got.unpacked == 1 and [p.name for p in (place / "x").iterdir()] == ["a_one.txt"]
    (got,) = hub.get_dataset(name, {"part": "two"}, folder=place)
    assert got.unpacked == 1 and not got.fetched and len(server.requests) == 1
    assert {p.name for p in (place / "x").iterdir()} == {"a_one.txt", "a_two.txt"}
    assert hub.get_dataset(name, {"part": "two"}, folder=place)[0].unpacked == 0
    (place / "x" / "a_two.txt").unlink()  # what was removed comes back without a download
    assert hub.get_dataset(name, {"part": "two"}, folder=place)[0].unpacked == 1
    assert (place / "x" / "a_two.txt").read_bytes() == b"2" and len(server.requests) == 1
    assert hub.get_dataset(name, {"part": "two"}, folder=place)[0].unpacked == 0
    with pytest.raises(ConfigError, match="needs a part"):
        hub.get_dataset(name, {}, folder=place)


def test_zip_xz_and_members_that_are_compressed(server: Server, tmp_path: Path) -> None:
    import lzma

    inner = {"s/0.extxyz.xz": lzma.compress(b"2\n"), "s/0.txt.xz": lzma.compress(b"a,b,1\n")}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("z/b.txt", "b")
    name = described(
        tmp_path,
        entry(server, "ok", tar(inner, ""), "s.tar", unpack=True, inflate=True),
        entry(server, "ok", buffer.getvalue(), "z.zip", unpack=True),
        entry(server, "ok", lzma.compress(b"c"), "c.json.xz", unpack=True),
    )
    place = tmp_path / "d"
    hub.get_dataset(name, folder=place)
    found = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.name[0] != "."}
    assert {"s/0.extxyz", "s/0.txt", "z/b.txt", "c.json"} <= found
    assert (place / "s" / "0.txt").read_text() == "a,b,1\n"


def test_archives_that_are_cut_off_or_hostile(server: Server, tmp_path: Path) -> None:
    whole = tar({"x/a.txt": bytes(range(256)) * 4000}, "gz")
    cut = described(
        tmp_path, entry(server, "ok", whole[: len(whole) // 2], "x.tar.gz", unpack=True)
    )
    with pytest.raises(DataError, match=r"is it complete.*Remove .*x\.tar\.gz to fetch it again"):
        hub.get_dataset(cut, folder=tmp_path / "cut")
    assert not list((tmp_path / "cut").rglob("a.txt"))
    (tmp_path / "cut" / "x.tar.gz").unlink()
    server.files["x.tar.gz"] = whole
    assert hub.get_dataset(cut, folder=tmp_path / "cut")[0].unpacked == 1
    evil = described(
        tmp_path, entry(server, "ok", tar({"../out.txt": b"1"}), "e.tar.bz2", unpack=True)
    )
    with pytest.raises(UnsafeFileError, match="outside its folder"):
        hub.get_dataset(evil, folder=tmp_path / "evil")
    assert not (tmp_path / "out.txt").exists()
    other = described(tmp_path, entry(server, "ok", whole, "y.tar.gz", unpack=["*.npz"]))
    with pytest.raises(DataError, match="is it another archive"):
        hub.get_dataset(other, folder=tmp_path / "other")


def test_what_is_unpacked_half_does_not_open(tmp_path: Path, cache: Path) -> None:
    place = raw.rmd17(cache / "datasets" / "rmd17", "ethanol", "C2H6O")
    mark = place / ".rmd17.tar.bz2.unpacking"
    mark.touch()
    with pytest.raises(DataError, match="run: zoo data get rmd17 molecule=ethanol"):
        zoo.datasets.open("rmd17?molecule=ethanol&val=2")
    mark.unlink()
    assert len(zoo.datasets.open("rmd17?molecule=ethanol&val=2")) == 20


@pytest.mark.parametrize("left", ["md22_DHA.npz.part", ".md22_DHA.npz.part.lock", ""])
def test_what_has_come_in_part_does_not_open(cache: Path, left: str) -> None:
    place = cache / "datasets" / "md22"
    place.mkdir(parents=True)
    if left:
        (place / left).touch()
    with pytest.raises(DataError, match=r"there is no md22_DHA.npz in .*get md22 molecule=DHA"):
        zoo.datasets.open("md22?molecule=DHA")
    (cache / "datasets" / "texas").mkdir()
    (cache / "datasets" / "texas" / ".out1_graph_edges.txt.part.lock").touch()
    with pytest.raises(DataError, match=r"there is no file in .*Run: zoo data get texas"):
        zoo.datasets.open("texas")


def test_a_set_of_which_files_did_not_come_does_not_open(cache: Path, tmp_path: Path) -> None:
    place = raw_sets.place("texas", cache)
    assert place == cache / "datasets" / "texas"
    assert len(zoo.datasets.open("texas")) == 1
    for fold in (8, 9):  # without these the other eight would pass for all there are
        (place / f"texas_split_0.6_0.2_{fold}.npz").unlink()
    with pytest.raises(DataError, match=r"lacks texas_split.*_8.npz, one of 2 .* get texas"):
        zoo.datasets.open("texas")
    assert len(zoo.datasets.open(f"texas?root={place}")) == 1


def test_files_that_are_missing_or_damaged_are_told_before_what_the_reader_says(
    cache: Path, tmp_path: Path
) -> None:
    place = raw_sets.place("texas", cache)
    (place / "out1_graph_edges.txt").write_text("a\tb\nno edge\n")
    with pytest.raises(DataError, match=r"\(if a file came damaged, zoo data get texas --again"):
        zoo.datasets.open("texas")
    with pytest.raises(DataError) as plain:
        zoo.datasets.open(f"texas?root={place}")
    assert "--again" not in str(plain.value)
    with pytest.raises(DataError) as asked:  # what a user asked for is not there
        zoo.datasets.open("texas", keys={"x": "nothing"})
    assert "--again" not in str(asked.value)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "out1_graph_edges.txt").write_text((place / "out1_graph_edges.txt").read_text())
    with pytest.raises(
        DataError,
        match=rf"^{mine} lacks out1_node.*8 more; zoo data get texas --into {mine} brings",
    ):
        zoo.datasets.open(f"texas?root={mine}")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"url": "http://x/a"}, "url and file"),
        ({"url": "http://x/a", "file": "../a"}, "inside the set's folder"),
        ({"url": "http://x/a", "file": "a", "md6": "0"}, "did you mean 'md5'"),
        ({"url": "http://x/a", "file": "a", "md5": "0"}, "no md5 in hexadecimal"),
    ],
)
def test_ill_formed_descriptions(tmp_path: Path, entries: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        hub.get_dataset(described(tmp_path, entries))


def test_names_that_can_not_be_got() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rmd17'"):
        hub.get_dataset("rmd71")
    with pytest.raises(UnknownNameError, match="needs no download"):
        hub.get_dataset("gfn2-md10")
    with pytest.raises(ConfigError, match="rmd17 needs a molecule"):
        hub.get_dataset("rmd17")


def test_the_command(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = described(tmp_path, entry(server, "ok", DATA))
    assert run(["data", "get", name, "--into", str(tmp_path / "d")]) == 0
    said = capsys.readouterr().out
    assert f"sha256 {hashlib.sha256(DATA).hexdigest()}, which its authors publish nowhere" in said
    assert f"root={tmp_path / 'd'}" in said
    assert run(["data", "get", "rmd17"]) == 1
    assert "one of aspirin" in capsys.readouterr().err
