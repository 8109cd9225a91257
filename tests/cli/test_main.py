"""Exit codes, messages, and how fast the command answers."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from zoo.cli import _common, info, main
from zoo.errors import Interrupted

VERBS = (
    "list info pull bundle upload verify predict relax md screen trust train reproduce finetune "
    "ensemble eval compress export convert cache data bench doctor"
).split()


def test_help_lists_every_verb(cli: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    listed = {line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line}
    assert set(VERBS) == listed


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(cli: Callable[..., tuple[int, str, str]], verb: str) -> None:
    code, out, _ = cli(verb, "--help")
    assert code == 0
    assert out.startswith(f"Usage: zoo {verb}")
    made = [["generate", method] for method in ("gfn2", "emt", "dft")]
    groups = {
        "data": [*made, ["check"], ["convert"], ["split"]],
        "bench": [["atoms"], ["data"], ["tensor-products"]],
        "cache": [["ls"], ["prune"]],
        "trust": [["fit"], ["test"]],
    }
    for inner in groups.get(verb, [[]]):
        assert "--json" in cli(verb, *inner, "--help")[1]


def test_version(cli: Callable[..., tuple[int, str, str]]) -> None:
    from zoo import __version__

    assert cli("--version") == (0, f"geometric-zoo {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["lst"], "'list'"),
        (["finetun", "x"], "'finetune'"),
        (["list", "--pretraned"], "--pretrained"),
        (["predict", "a", "b", "--batchsize", "3"], "--batch-size"),
    ],
)
def test_wrong_usage_offers_the_right_word(
    cli: Callable[..., tuple[int, str, str]], words: list[str], offered: str
) -> None:
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert offered in err
    assert "Traceback" not in err


def test_a_mistake_is_a_message_without_traceback(
    cli: Callable[..., tuple[int, str, str]],
) -> None:
    code, out, err = cli("info", "tensornt")
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert "tensornet" in err
    assert "Traceback" not in err


def _raising(error: BaseException) -> Callable[[], None]:
    def verb() -> None:
        raise error

    return verb


def _with_verb(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.callback()(lambda: None)
    app.command("boom")(_raising(error))
    monkeypatch.setattr(main, "app", app)


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_verb(monkeypatch, RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        main.run(["boom"])


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]]) -> None:
    _with_verb(monkeypatch, KeyboardInterrupt())
    assert cli("boom") == (130, "", "interrupted\n")


def test_ctrl_c_during_training_says_where_the_state_is(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., tuple[int, str, str]]
) -> None:
    _with_verb(monkeypatch, Interrupted("interrupted; the state is in out/last.ckpt"))
    assert cli("boom") == (130, "", "interrupted; the state is in out/last.ckpt\n")


def test_list_and_help_need_no_torch() -> None:
    """In a fresh process, since this one has imported everything; within a second of work."""
    program = (
        "import sys, time; start = time.process_time()\n"
        "from zoo.cli.main import run\n"
        "codes = run(['list']), run(['list', '--pretrained']), run(['info', 'tensornet']), "
        "run(['--help'])\n"
        "heavy = {'torch', 'numpy', 'ase', 'lightning', 'matplotlib'} & set(sys.modules)\n"
        "print(codes, sorted(heavy), time.process_time() - start, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    codes, _, rest = done.stderr.partition(") ")
    heavy, _, seconds = rest.rpartition("] ")
    assert codes == "(0, 0, 0, 0"
    assert heavy == "["
    assert float(seconds) < 1.0


def test_list_as_json(cli: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = cli("list", "tensornet*", "--json")
    rows = json.loads(out)
    assert code == 0
    (row,) = [row for row in rows if row["name"] == "tensornet"]
    assert row["certificate"]["passed"] and 0 < row["certificate"]["float64"] < 1e-9
    assert {key: row[key] for key in ("domain", "title", "architecture", "symmetry")} == {
        "domain": "atoms",
        "title": "TensorNet",
        "architecture": "tensornet",
        "symmetry": "O(3)",
    }
    assert cli("list", "no-such-*")[1] == "nothing matches\n"


def test_info_as_text_json_and_card(cli: Callable[..., tuple[int, str, str]]) -> None:
    assert "arxiv: 2306.06482" in cli("info", "tensornet")[1]
    assert json.loads(cli("info", "tensornet-s", "--json")[1])["kind"] == "preset"
    card = cli("info", "tensornet", "--card")[1]
    assert card.startswith("# ")
    assert json.loads(cli("info", "tensornet", "--card", "--json")[1])["card"] + "\n" == card


def test_info_of_a_saved_folder(cli: Callable[..., tuple[int, str, str]], weights: Path) -> None:
    about = json.loads(cli("info", weights, "--json")[1])
    assert about["kind"] == "checkpoint"
    assert about["name"] == "tensornet-t.test.r1"


def test_tables_line_up() -> None:
    text = _common.table([{"a": 1.23456, "b": None}, {"a": "long word", "b": True}], ("a", "b"))
    assert text.splitlines() == ["a          b", "1.235      -", "long word  yes"]
    assert _common.markdown([{"a": "x|y", "b": [1, 2]}], ("a", "b")).splitlines() == [
        "| a | b |",
        "|---|---|",
        r"| `x\|y` | 1, 2 |",
    ]


def test_trees_show_nesting() -> None:
    value = {"a": {"b": 1}, "c": [{"d": 2, "e": None}], "f": [], "g": {"h": {"i": False}}}
    expected = ["a:", "  b: 1", "c:", "  - d: 2", "f: -", "g:", "  h:", "    i: no"]
    assert _common.tree(value).splitlines() == expected
    assert info.__doc__


def test_pairs_and_settings() -> None:
    assert _common.pairs(["energy=REF=1"], "--key") == {"energy": "REF=1"}
    assert _common.settings(["a=2", "b=[1, 2]", "c=x"], "--set") == {"a": 2, "b": [1, 2], "c": "x"}
    odd = _common.settings(["a=1e-4", "b=1:30:00", "c=true", "d={e: 1}"], "--set")
    assert odd == {"a": 1e-4, "b": "1:30:00", "c": True, "d": {"e": 1}}
    with pytest.raises(typer.BadParameter):
        _common.settings(["a={"], "--set")
    for wrong in (["energy"], ["=x"], ["a="], ["a=1", "a=2"]):
        with pytest.raises(typer.BadParameter):
            _common.pairs(wrong, "--key")
