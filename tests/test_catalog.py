"""Listing reads of each manifest only what it shows."""

from pathlib import Path

import pytest

from zoo import _catalog, _files
from zoo.errors import ConfigError, ManifestError

TEXT = """\
# a comment
name: a
inputs:
  elements: {H: 1}
files:
- path: b
  bytes: 1
license:
  weights: MIT
notes: |
  license: none

  inputs: 3
"""


@pytest.mark.parametrize("name", sorted(_catalog.checkpoints()))
def test_what_lists_say_is_what_the_whole_manifest_says(name: str) -> None:
    path = _catalog.checkpoints()[name]
    whole, brief = _catalog.manifest(path), _catalog.manifest(path, brief=True)
    assert brief == {key: value for key, value in whole.items() if key in _catalog.LISTED}
    assert {"name", "architecture", "inputs", "license"} <= set(brief)


def test_most_of_the_text_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []
    parse = _files.parse_yaml
    monkeypatch.setattr(_catalog, "_cache", {})
    monkeypatch.setattr(
        _files,
        "parse_yaml",
        lambda text, **kind: (parsed.append(len(text)), parse(text, **kind))[1],
    )
    paths = _catalog.checkpoints().values()
    for path in paths:
        _catalog.manifest(path, brief=True)
    assert len(parsed) == len(paths)
    assert sum(parsed) < 0.25 * sum(path.stat().st_size for path in paths)


def test_some_keys_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    assert _files.read_yaml(path, only={"license"}) == {"license": {"weights": "MIT"}}
    two = _files.read_yaml(path, only={"inputs", "notes", "nothing"})
    assert two == {"inputs": {"elements": {"H": 1}}, "notes": "license: none\n\ninputs: 3\n"}
    assert _files.read_yaml(path, only={"files"}) == {"files": [{"path": "b", "bytes": 1}]}
    path.write_text("{name: a, license: {weights: MIT}}\n")
    assert set(_files.read_yaml(path, only={"license"})) == {"name", "license"}  # as it is written


def test_mistakes_are_found_in_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(TEXT + "license: MIT\n")
    with pytest.raises(ConfigError, match="'license' appears twice"):
        _files.read_yaml(path, only={"license"})
    path.write_text("inputs: [1\nlicense: MIT\n")
    with pytest.raises(ManifestError, match="not valid YAML"):
        _files.read_yaml(path, only={"inputs"}, error=ManifestError)
    with pytest.raises(ManifestError, match="must hold a mapping"):
        _files.read_yaml(path, only={"other"}, error=ManifestError)
