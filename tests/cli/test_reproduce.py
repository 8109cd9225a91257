"""`zoo reproduce`: the list, the table, JSON and exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_data
from task_runs import write

Cli = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tiny_data.vectors(tmp_path / "data.npz")
    common = {"metric": "accuracy", "percent": True, "seeds": 1}
    rows = [
        {"row": "mine.low", "limit": 1.0, **common},
        {"row": "mine.high", "limit": 101.0, "note": "twice as long", **common},
    ]
    model = {"name": "tinyvector", "config": {"out_channels": 3}}
    tiers = {"smoke": {"trainer": {"max_epochs": 1}}}
    return write(tmp_path, model=model, reproduce=rows, tiers=tiers, trainer={"max_epochs": 2})


def test_the_list(cli: Cli, recipe: Path) -> None:
    code, out, _ = cli("reproduce", "--list", "--recipe", recipe)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["row", "measured"]
    assert lines[1].startswith("mine.high") and "goal 101 %" in lines[1] and "1 seed " in lines[1]
    assert len(lines) == 4 and lines[3] == "mine.high: twice as long"
    table = json.loads(cli("reproduce", "mine.l*", "--list", "--recipe", recipe, "--json")[1])
    assert [row["row"] for row in table] == ["mine.low"]
    assert cli("reproduce", "--list", "x*", "--recipe", recipe)[1] == "nothing matches\n"
    assert cli("reproduce", "--list")[0] == 0


def test_rows_and_exit_codes(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--recipe", recipe, "-o", out]
    code, text, err = cli("reproduce", "mine.*", *words)
    assert code == 3, err  # one of the two is a gap
    lines = text.splitlines()
    assert "GAP: worse by" in lines[1] and "PASS: better by" in lines[2]
    assert lines[3] == "mine.high: twice as long"
    assert lines[4].startswith("wrote ") and "mine.low.full.json" in lines[4]
    assert len(list((out / "runs").iterdir())) == 1  # both rows are of the same run
    code, text, _ = cli("reproduce", "mine.low", *words, "--json")
    (found,) = json.loads(text)
    assert (code, found["passed"], found["n"]) == (0, True, 1)
    code, text, _ = cli("reproduce", "mine.high", "--tier", "smoke", *words)
    assert code == 0 and "GAP" not in text  # not the row's run, so no check has failed
    assert "smoke run, not the row's (full)" in text


def test_mistakes(cli: Cli, recipe: Path, tmp_path: Path) -> None:
    words = ["--recipe", recipe, "-o", tmp_path / "out"]
    for more, code, part in [
        (["mine.hgh"], 1, "did you mean 'mine.high'"),
        (["mine.low", "--tier", "smok"], 1, "did you mean 'smoke'"),
        (["mine.low", "--tier", "short"], 1, "no tier 'short'"),
        (["mine.low", "--tier", "smoke", "--card"], 1, "no place in the card"),
        ([], 2, "--list shows them all"),
        (["mine.low", "--seeds", "0"], 2, "--seeds"),
    ]:
        found, out, err = cli("reproduce", *more, *words)
        assert (found, out) == (code, ""), more
        assert part in err, err
        assert "Traceback" not in err


def test_the_list_says_what_is_drawn_and_what_takes_hours(cli: Cli) -> None:
    rows = {row["row"]: row for row in json.loads(cli("reproduce", "--list", "--json")[1])}
    assert rows["csbm-10.gcn"]["runs"] == "10 draws"  # of the graph, whatever seed a recipe has
    assert rows["cornell.nsd-diag"]["runs"] == "10 folds"
    for name in ("mvn", "segnn", "egnn-long"):
        assert "authors' budget" in rows[f"nbody.{name}"]["note"]
    assert "\nnbody.mvn: the authors' budget" in cli("reproduce", "nbody.m*", "--list")[1]
