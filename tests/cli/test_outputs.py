"""Outputs that can't be written are found before any work, and never left half done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.cli import _common
from zoo.errors import OutputError

Cli = Callable[..., tuple[int, str, str]]


def test_check_output(tmp_path: Path) -> None:
    assert (
        _common.check_output(tmp_path / "new" / "deep" / "a.json") == tmp_path / "new/deep/a.json"
    )
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="must be a folder"):
        _common.check_output(tmp_path / "file", folder=True)
    with pytest.raises(OutputError, match="must be a file"):
        _common.check_output(tmp_path)
    with pytest.raises(OutputError, match="file"):
        _common.check_output(tmp_path / "file" / "below.json")


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "{weights}", "{frames}", "-o", "{blocked}/a.extxyz"],
        ["eval", "{weights}", "{frames}", "-o", "{blocked}/a.json"],
        ["finetune", "{weights}", "{frames}", "-o", "{blocked}/out"],
        ["train", "gfn2-md10/tensornet", "-o", "{blocked}/out"],
        ["verify", "tensornet", "-o", "{blocked}/out"],
        ["data", "generate", "dft", "{frames}", "-o", "{blocked}/a.npz"],
        ["data", "generate", "gfn2", "ethanol", "-o", "{blocked}/a.npz"],
        ["convert", "tensornet", "w", "--config", "c", "--source", "s", "-o", "{blocked}/out"],
    ],
)
def test_a_blocked_output_stops_every_verb(
    cli: Cli, weights: Path, frames: Path, tmp_path: Path, words: list[str]
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted")
    places = {"weights": weights, "frames": frames, "blocked": blocked}
    code, out, err = cli(*(word.format(**places) for word in words))
    assert (code, out) == (1, "")
    assert "can't be written" in err
    assert blocked.read_text() == "a file where a folder is wanted"
