"""Runs what a Markdown page says can be run: its fenced blocks of Python and of shell commands."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.cli.main import run

ROOT = Path(__file__).parents[2]
#: what makes the long commands short; the commands themselves are the page's
SHORTER = {"finetune": ["--epochs", "1"]}


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield match.group(1), match.group(2)


def run_blocks(text: str, where: str) -> set[str]:
    """Runs the blocks in the order of the page, in this process and folder; their languages."""
    namespace: dict[str, Any] = {}
    languages = set()
    for language, content in blocks(text):
        languages.add(language)
        if language == "python":
            exec(compile(content, where, "exec"), namespace)
        else:
            assert language == "sh", f"{where} has a block of {language!r}, which nothing runs"
            for line in content.splitlines():
                _command(shlex.split(line, comments=True), where)
    return languages


def _command(words: list[str], where: str) -> None:
    if words[0] == "make":  # this test may be running inside it
        assert shutil.which("make")
        dry = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr
        return
    assert words[0] == "zoo", f"{where} has a command that nothing runs: {words}"
    try:
        code = run([*words[1:], *SHORTER.get(words[1], [])])
    except SystemExit as leaving:  # pragma: no cover
        code = int(leaving.code or 0)
    assert code == 0, words


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page that lead nowhere."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    return [target for target in targets if not (page.parent / target).exists()]
