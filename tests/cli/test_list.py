"""`zoo list`: tables that are short and say everything."""

import json
import re
from collections.abc import Callable

import zoo
from zoo.cli import list as listing

Cli = Callable[..., tuple[int, str, str]]


def cells(markdown: str) -> list[list[str]]:
    lines = markdown.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" |")] for line in lines]


def test_the_short_table_of_weights_names_all_of_them(cli: Cli) -> None:
    text = cli("list", "--pretrained", "--markdown")[1]
    head = [cell.strip() for cell in text.splitlines()[0].strip("|").split("|")]
    rows = [dict(zip(head, row, strict=True)) for row in cells(text)]
    names = []
    for row in rows:
        name = row["name"].strip("`")
        variants = re.findall("`(.*?)`", row["variants"])
        names += [name.replace("*", variant) for variant in variants] or [name]
    assert sorted(names) == zoo.list_models(pretrained=True)
    assert len(rows) <= len(names) - 20


def test_a_folded_row_is_that_of_each_of_its_weights(cli: Cli) -> None:
    full = {
        row[0].strip("`"): row[1:]
        for row in cells(cli("list", "--pretrained", "--markdown", "--no-fold")[1])
    }
    assert list(full) == zoo.list_models(pretrained=True)
    for name, *rest in cells(cli("list", "--pretrained", "--markdown")[1]):
        for variant in re.findall("`(.*?)`", rest[-1]):
            assert full[name.strip("`").replace("*", variant)] == rest[:-1]


def test_other_forms_of_the_list_are_not_folded(cli: Cli) -> None:
    names = zoo.list_models(pretrained=True)
    assert [row["name"] for row in json.loads(cli("list", "--pretrained", "--json")[1])] == names
    assert len(cli("list", "--pretrained")[1].splitlines()) == len(names) + 1
    alone = cli("list", "tsmnet*", "--pretrained", "--markdown")[1]
    assert "variants" not in alone


def test_what_differs_keeps_its_row() -> None:
    rows = [
        {"name": "a-x.d.r1", "license": "MIT"},
        {"name": "a-y.d.r1", "license": "MIT"},
        {"name": "a-z.d.r1", "license": "BSD"},
        {"name": "a-x.e.r1", "license": "MIT"},
        {"name": "a-x.d.r2", "license": "MIT"},
        {"name": "b.d.r1", "license": "MIT"},
    ]
    folded = listing._families(rows)
    assert folded[0] == {"name": "a-*.d.r1", "license": "MIT", "variants": ["`x`", "`y`"]}
    assert folded[1:] == rows[2:]
