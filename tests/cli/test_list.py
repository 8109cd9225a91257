"""`zoo list`: tables that are short and say everything."""

import json
import re
from collections.abc import Callable

import zoo
from zoo import _rows

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


def errors(certificate: str) -> list[float]:
    return [float(word) for word in re.findall(r"\d+e-\d+", certificate)]


def test_a_folded_row_is_that_of_each_of_its_weights(cli: Cli) -> None:
    full = {
        row[0].strip("`"): row[1:]
        for row in cells(cli("list", "--pretrained", "--markdown", "--no-fold")[1])
    }
    assert list(full) == zoo.list_models(pretrained=True)
    for name, *rest, certificate, variants in cells(cli("list", "--pretrained", "--markdown")[1]):
        members = re.findall("`(.*?)`", variants)
        found = [full[name.strip("`").replace("*", variant)] for variant in members]
        assert all(row[:-1] == rest for row in found)
        largest = [max(column) for column in zip(*(errors(row[-1]) for row in found), strict=False)]
        assert not found or errors(certificate) == largest


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
    folded = _rows.families(rows)
    assert folded[0] == {"name": "a-*.d.r1", "license": "MIT", "variants": ["`x`", "`y`"]}
    assert folded[1:] == rows[2:]
