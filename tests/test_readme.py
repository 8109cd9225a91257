"""What README says can be run, is run; what it lists, is there."""

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo.cli.main import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
#: what makes the long commands short; the commands themselves are README's
SHORTER = {"finetune": ["--epochs", "1"]}


def _blocks() -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        yield match.group(1), match.group(2)


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
    namespace: dict[str, object] = {}
    languages = []
    for language, text in _blocks():
        languages.append(language)
        if language == "python":
            exec(compile(text, "README.md", "exec"), namespace)
        else:
            assert language == "sh", f"README has a block of {language!r}, which nothing runs"
            for line in text.splitlines():
                _command(shlex.split(line, comments=True))
    assert set(languages) == {"python", "sh"}


def _command(words: list[str]) -> None:
    if words[0] == "make":  # this test may be running inside it
        assert shutil.which("make")
        dry = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr
        return
    assert words[0] == "zoo", f"README has a command that nothing runs: {words}"
    try:
        code = run([*words[1:], *SHORTER.get(words[1], [])])
    except SystemExit as leaving:  # pragma: no cover
        code = int(leaving.code or 0)
    assert code == 0, words


def test_the_tables_are_what_the_command_prints() -> None:
    assert _table("models") == _output("list", "--markdown")
    assert _table("checkpoints") == _output("list", "--pretrained", "--markdown")


def test_the_two_commands_lead() -> None:
    first = next(_blocks())
    assert first[0] == "sh"
    assert [line.split("#")[0].strip() for line in first[1].splitlines()] == [
        "make demo",
        "make test",
    ]


def test_the_example_has_five_lines() -> None:
    text = next(text for language, text in _blocks() if language == "python")
    assert len([line for line in text.splitlines() if line]) == 5


def test_links_lead_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/index.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


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
