"""What the site is made of: the table of models, the pages on architectures, formulas, figures.

`make test-docs` looks at the built site in a browser.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import _figure
import _math
import _pages
import _rows
import pytest
from site_pages import Page

import zoo
from zoo import _certificates
from zoo._spec import shipped

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "model-table.js"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(_rows.rows())


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return dict(_pages.pages())


def test_the_table_is_whole(rows: list[dict[str, Any]]) -> None:
    names = [row["name"] for row in rows]
    assert sorted(names) == sorted([*shipped(), *zoo.list_models(pretrained=True)])
    assert set().union(*rows) - {"kind", "base", "page", "words"} == set(_rows.COLUMNS)


def test_a_row_of_weights(rows: list[dict[str, Any]]) -> None:
    (row,) = [row for row in rows if row["name"] == "tensornet-s.gfn2-md10.r1"]
    model = zoo.load("tensornet-s.gfn2-md10.r1")
    assert row["parameters"] == sum(value.numel() for value in model.state_dict().values())
    assert row["errors"][0] == "forces MAE 20.2 meV/Å"
    assert row["data set"] == ["gfn2-md10"]
    float32, float64 = row["worst symmetry error"]
    assert 1e-8 < float32 < 1e-4
    assert 1e-17 < float64 < 1e-9


def test_the_table_is_plain_html(rows: list[dict[str, Any]]) -> None:
    page = Page(_rows.html())
    assert [row.name for row in page.rows] == [row["name"] for row in rows]
    assert [head for head, _ in page.heads] == list(_rows.COLUMNS)
    assert all(len(row.cells) == len(_rows.COLUMNS) for row in page.rows)
    assert page.shown == page.rows


def test_every_architecture_has_a_page(pages: dict[str, str]) -> None:
    assert set(_pages.equations()) == set(shipped())
    for name in shipped():
        text = pages[f"models/{name}.md"]
        for section in ("At a glance", "Equations", "Equivariance error"):
            assert text.count(f"\n## {section}\n") == 1, f"{name}: {section}"
        assert "\n## Certificate\n" not in text
        assert "<svg" in text
        assert zoo.card(name).partition("\n")[0] in text
    for name in zoo.list_models(pretrained=True):
        assert pages[f"weights/{name}.md"].startswith(f"# {name}\n")


def test_a_page_lists_recipes_and_weights(pages: dict[str, str]) -> None:
    text = pages["models/tensornet.md"]
    assert "`zoo train gfn2-md10/tensornet`" in text
    assert "[`tensornet-s.gfn2-md10.r2`](../weights/tensornet-s.gfn2-md10.r2.md)" in text
    assert "`num_layers=3`" in text


def test_all_formulas_are_understood(pages: dict[str, str]) -> None:
    for name in shipped():
        drawn = _math.show(pages[f"models/{name}.md"])
        assert "data-math" not in drawn
        assert drawn.count("<math") > 0
    with pytest.raises(ValueError, match="isn't understood"):
        _math.mathml(r"\nonsense x")


def test_formulas_pass_through_markdown() -> None:
    hidden = _math.hide(r"with $a_{ij}$ and $$b^2$$ and 5 $ left")
    assert "_" not in hidden
    assert "5 $ left" in hidden
    shown = _math.show(hidden)
    assert shown.count('display="inline"') == 1
    assert shown.count('display="block"') == 1


def test_bars_of_norms_stay_as_tall_as_each_other() -> None:
    drawn = _math.mathml(r"\lVert x \rVert^2")
    assert drawn.count('<mo stretchy="false">&#x02016;</mo>') == 2


def test_the_figure_shows_each_error() -> None:
    about = _certificates.of("tensornet-s.gfn2-md10.r1")
    assert about is not None
    drawn = _figure.certificate(about["results"], title="a & b")
    held = [row for row in about["results"] if row["tolerance"]]
    assert drawn.count("<circle") == len(held) + 2  # two in the legend
    assert "a &amp; b" in drawn
    places = {
        row["name"]: float(
            re.search(rf'cx="([0-9.]+)"[^>]*><title>{row["name"]}, float64', drawn)[1]
        )  # type: ignore[index]
        for row in held
        if row["dtype"] == "float64" and row["error"] > 0
    }
    errors = {row["name"]: row["error"] for row in held if row["dtype"] == "float64"}
    assert sorted(places, key=places.__getitem__) == sorted(places, key=errors.__getitem__)
    assert _figure.certificate([], title="nothing") == ""


CASES = """
const table = require(process.argv[1]);
const row = { text: "NSD csbm", domain: ["graph", "points"], kind: "weights", licence: "MIT" };
const match = (hash) => table.matches(row, table.parse(hash));
const cell = (text, value = null, numeric = false) => ({ text, value, numeric });
const sorted = (cells, down) =>
  [...cells].sort((a, b) => table.compare(a, b, down)).map((c) => c.text);
const sizes = [cell("9 kB", 9000, true), cell("-", null, true), cell("1 MB", 1e6, true)];
console.log(JSON.stringify({
  state: table.parse("#q=a+b&domain=atoms&other=1"),
  back: table.format(table.parse("#q=a+b&domain=atoms&other=1")),
  empty: table.format(table.parse("")),
  found: ["#q=csbm nsd", "#domain=points", "#kind=weights&licence=MIT", ""].map(match),
  missed: ["#q=nsd+atoms", "#domain=point", "#kind=architecture", "#licence=mit"].map(match),
  up: sorted(sizes, ""),
  down: sorted(sizes, "1"),
  words: sorted([cell("b10"), cell("-"), cell("b9"), cell("A")], ""),
}));
"""


def test_the_script_filters_and_sorts() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine to run JavaScript")
    done = subprocess.run(
        [node, "-e", CASES, str(SCRIPT)], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["state"] == {
        **dict.fromkeys(("kind", "licence", "sort", "down"), ""),
        "q": "a b",
        "domain": "atoms",
    }
    assert found["back"] == "q=a+b&domain=atoms"
    assert found["empty"] == ""
    assert all(found["found"])
    assert not any(found["missed"])
    assert found["up"] == ["9 kB", "1 MB", "-"]
    assert found["down"] == ["1 MB", "9 kB", "-"]
    assert found["words"] == ["A", "b9", "b10", "-"]
