"""What README says can be run, is run; what it lists, is there."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest

from zoo.cli.main import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _table(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert found, f"README has no place for {name}"
    return found.group(1).strip()


def _output(*words: str) -> str:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        assert run(words) == 0
    return stream.getvalue().strip()


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the page, in one process and one empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert pages.run_blocks(README, "README.md") == {"python", "sh"}


def _alone(*words: str) -> str:
    """What a command prints in a process where no test has registered models of its own."""
    program = f"from zoo.cli.main import run; run({words!r})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_tables_are_what_the_command_prints() -> None:
    assert _table("models") == _alone("list", "--markdown")
    assert _table("checkpoints") == _alone("list", "--pretrained", "--markdown")


def test_the_two_commands_lead() -> None:
    first = next(pages.blocks(README))
    assert first[0] == "sh"
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == [
        "make demo",
        "make test",
    ]


def test_the_example_has_five_lines() -> None:
    text = next(text for language, text in pages.blocks(README) if language == "python")
    assert len([line for line in text.splitlines() if line]) == 5


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        assert not pages.broken_links(page, page.read_text())


def test_no_number_is_left_to_be_filled_in() -> None:
    assert "<!-- numbers:" not in README


def test_docs_name_only_what_exists() -> None:
    import zoo

    text = (ROOT / "docs" / "index.md").read_text() + README
    for name in set(re.findall(r"\bzoo\.([a-z_]+)\(", text)):
        assert hasattr(zoo, name), name
    help_text = _output("--help")
    for verb in set(re.findall(r"(?:^|`)zoo ([a-z]+)\b", text, re.MULTILINE)):
        assert re.search(rf"^  {verb} ", help_text, re.MULTILINE), verb


def test_environment_variables_are_used() -> None:
    named = set(re.findall(r"`(ZOO_[A-Z]+)", (ROOT / "docs" / "index.md").read_text()))
    used = " ".join(p.read_text() for p in (ROOT / "zoo" / "hub").glob("*.py"))
    assert named
    assert all(name in used for name in named)
