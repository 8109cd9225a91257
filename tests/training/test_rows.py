"""The section `reproduce`: what is accepted, what is refused, and the recipe behind a row."""

from pathlib import Path

import pytest

from zoo.errors import RecipeError
from zoo.training import recipe as recipes

GOOD = """\
recipe: 1
name: tensornet-s.mine.r1
model: {name: tensornet-s}
data: {source: mine.extxyz}
loss: {forces: {kind: mae}}
trainer: {max_epochs: 9, batch_size: 2}
reproduce:
  - row: mine.a
    paper: Some, One
    table: Table 1
    metric: forces_mae
    published: {mean: 2.0, std: 0.5, trials: 5}
    changes: {trainer: {max_epochs: 5, batch_size: 7}}
    tiers:
      short: {trainer.max_epochs: 3}
  - row: mine.b
    metric: forces_mae
    limit: 3.0
    seeds: 1
    changes: {trainer.max_steps: 4}
  - row: mine.c
    metric: forces_mae
    against: {row: mine.a, margin: -1.0}
tiers:
  smoke: {trainer: {max_epochs: 1, batch_size: 3}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text)
    return path


def test_rows_are_read_with_their_defaults(tmp_path: Path) -> None:
    first, second, third = recipes.rows(write(tmp_path, GOOD))
    assert first.published is not None and first.published.trials == 5
    assert (first.split, first.statistic, first.seeds, first.tier) == ("test", "mean", 3, "full")
    assert (second.limit, second.seeds) == (3.0, 1)
    assert third.against is not None and third.against.margin == -1.0


def test_rows_do_not_change_what_a_recipe_is(tmp_path: Path) -> None:
    with_rows = recipes.load(write(tmp_path, GOOD))
    start, end = GOOD.index("reproduce:"), GOOD.index("tiers:\n  smoke")
    without = recipes.load(write(tmp_path, GOOD[:start] + GOOD[end:]))
    assert with_rows == without
    assert with_rows.sha256() == without.sha256()
    assert with_rows.reproduce == []


@pytest.mark.parametrize(
    ("row", "tier", "expected"),
    [
        (0, "full", (5, 7, None)),
        (0, "short", (3, 7, None)),
        (0, "smoke", (1, 3, None)),  # the tier wins over the row: a smoke run stays one
        (1, "full", (9, 2, 4)),
        (1, "smoke", (1, 3, 4)),
    ],
)
def test_the_recipe_behind_a_row(
    tmp_path: Path, row: int, tier: str, expected: tuple[int, int, int | None]
) -> None:
    path = write(tmp_path, GOOD)
    name, changes = recipes.row_settings(path, recipes.rows(path)[row], tier)
    trainer = recipes.load(path, tier=name, overrides=changes).trainer
    assert (trainer.max_epochs, trainer.batch_size, trainer.max_steps) == expected


def test_a_tier_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(RecipeError, match="no tier 'short', neither in the recipe nor in the row"):
        recipes.row_settings(path, recipes.rows(path)[1], "short")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("batch_size: 7", "batch_sze: 7", 13, ["reproduce.0.changes.trainer.batch_sze"]),
        ("trainer.max_epochs: 3", "trainer.max_epochs: 0", 15, ["reproduce.0.tiers.short"]),
        ("limit: 3.0", "limt: 3.0", 18, ["reproduce.1.limt", "unknown key", "limit"]),
        ("    limit: 3.0\n", "", 16, ["mine.b needs one of published, limit, against", "none"]),
        ("limit: 3.0", "limit: 3.0\n    published: {mean: 1.0}", 16, ["published and limit"]),
        ("    table: Table 1\n", "", 8, ["mine.a: say in paper and table"]),
        ("std: 0.5", "std: -0.5", 12, ["reproduce.0.published.std", "greater than or equal"]),
        ("row: mine.b", "row: mine b", 16, ["reproduce.1.row"]),
        ("row: mine.b", "row: mine.a", None, ["the row 'mine.a' is there twice"]),
    ],
)
def test_errors_name_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int | None, words: list[str]
) -> None:
    assert old in GOOD
    with pytest.raises(RecipeError) as caught:
        recipes.load(write(tmp_path, GOOD.replace(old, new, 1)))
    message = str(caught.value)
    if line is not None:
        assert f"r.yaml:{line}: " in message, message
    for word in words:
        assert word in message, message
