"""The shared folders: found in a checkout, readable, and never Python packages."""

from pathlib import Path

import pytest

from zoo import share
from zoo._files import read_yaml, write_atomic
from zoo.errors import ConfigError, OutputError

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("kind", share.KINDS)
def test_every_kind_is_a_folder_with_yaml(kind: str) -> None:
    folder = share.folder(kind)
    assert folder.is_dir()
    assert list(folder.rglob("*.yaml"))


@pytest.mark.parametrize("kind", share.KINDS)
def test_data_folders_hold_no_python(kind: str) -> None:
    # an __init__.py would shadow other packages named `datasets` or `models`
    assert not list((ROOT / kind).rglob("*.py"))


@pytest.mark.parametrize("kind", share.KINDS)
def test_every_yaml_is_read_strictly(kind: str) -> None:
    for path in share.folder(kind).rglob("*.yaml"):
        assert read_yaml(path)


def test_unknown_kind_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'models'"):
        share.folder("model")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' appears twice"),
        ("a: {b: 1, b: 2}\n", "'b' appears twice"),
        ("a: &x [1]\nb: *x\n", "aliases"),
        ("- 1\n", "mapping"),
        ("a: [1\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    ],
)
def test_yaml_refusals_name_the_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_yaml(path)
    assert str(path) in str(error.value)


def test_oversized_and_missing_yaml(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with pytest.raises(ConfigError, match="no file"):
        read_yaml(path)
    path.write_text("a: " + "x" * (1 << 20))
    with pytest.raises(ConfigError, match="larger"):
        read_yaml(path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "x.txt"
    write_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo._files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [item.name for item in path.parent.iterdir()] == ["x.txt"]
