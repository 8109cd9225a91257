"""PASS, GAP and how large: by hand."""

from typing import Any

import pytest

from zoo.apps._reproduce_verdict import judge, summary
from zoo.training.recipe import ReproduceRow

PAPER = {"paper": "Some, One", "table": "Table 1"}


def row(**entries: Any) -> ReproduceRow:
    return ReproduceRow.model_validate({"row": "a.b", "metric": "m", **PAPER, **entries})


WITH_STD = {"published": {"mean": 10.0, "std": 1.0}}
WITHOUT = {"published": {"mean": 10.0}}


@pytest.mark.parametrize(
    ("entries", "ours", "higher", "result", "words"),
    [
        (WITH_STD, 12.0, False, "PASS", "PASS: worse by 2 (20.0 %)"),
        (WITH_STD, 12.01, False, "GAP", "GAP: worse by 2.01 (20.1 %); two standard deviations (2)"),
        (WITH_STD, 3.0, False, "PASS", "PASS: better by 7 (70.0 %)"),
        (WITH_STD, 8.0, True, "PASS", "PASS: worse by 2 (20.0 %)"),
        (WITH_STD, 7.99, True, "GAP", "GAP: worse by 2.01 (20.1 %)"),
        (WITH_STD, 99.0, True, "PASS", "PASS: better by 89 (890.0 %)"),
        (WITHOUT, 10.5, False, "PASS", "PASS: worse by 0.5 (5.0 %)"),
        (WITHOUT, 10.6, False, "GAP", "GAP: worse by 0.6 (6.0 %); 5 % would pass"),
        (WITHOUT, 9.5, True, "PASS", "PASS: worse by 0.5 (5.0 %)"),
        (WITHOUT, 9.4, True, "GAP", "GAP: worse by 0.6 (6.0 %)"),
        (WITHOUT, 10.0, True, "PASS", "PASS: equal"),
        ({"published": {"mean": -10.0}}, -9.5, False, "PASS", "PASS: worse by 0.5 (5.0 %)"),
        ({"published": {"mean": 0.0}}, 0.1, False, "GAP", "GAP: worse by 0.1; 5 % would pass"),
        ({"limit": 4.0}, 4.0, False, "PASS", "PASS: equal to the goal 4"),
        ({"limit": 4.0}, 4.1, False, "GAP", "GAP: worse by 0.1 (2.5 %) than the goal 4"),
        ({"limit": 4.0}, 3.0, True, "GAP", "GAP: worse by 1 (25.0 %) than the goal 4"),
        (
            {"against": {"row": "a.c", "margin": 10.0}},
            21.0,
            True,
            "PASS",
            "PASS: better by 11 (110.0 %) than a.c; 10 asked for",
        ),
        (
            {"against": {"row": "a.c", "margin": 10.0}},
            19.0,
            True,
            "GAP",
            "GAP: better by 9 (90.0 %) than a.c; 10 asked for",
        ),
        ({"against": {"row": "a.c", "margin": -2.0}}, 8.0, True, "PASS", "PASS: worse by 2"),
        ({"against": {"row": "a.c", "margin": -2.0}}, 7.9, True, "GAP", "GAP: worse by 2.1"),
        ({"against": {"row": "a.c", "margin": 2.0}}, 8.0, False, "PASS", "PASS: better by 2"),
        ({"against": {"row": "a.c", "margin": 2.0}}, 8.1, False, "GAP", "GAP: better by 1.9"),
    ],
)
def test_what_passes(
    entries: dict[str, Any], ours: float, higher: bool, result: str, words: str
) -> None:
    spec = row(**entries)
    published = entries.get("published", {}).get("mean")
    reference = published if published is not None else entries.get("limit", 10.0)
    found = judge(spec, ours, reference, higher=higher)
    assert found.result == result
    assert found.words.startswith(words)
    assert found.better is (ours > reference if higher else ours < reference)
    assert found.difference == pytest.approx(ours - reference)


def test_nothing_to_compare() -> None:
    found = judge(row(**WITH_STD), None, 10.0, higher=False)
    assert (found.result, found.ours, found.difference) == ("FAILED", None, None)


@pytest.mark.parametrize(("ours", "result"), [(3.0, "FAILED"), (13.0, "GAP")])
def test_nothing_passes_where_runs_failed(ours: float, result: str) -> None:
    found = judge(row(**WITH_STD), ours, 10.0, higher=False, failed="1 of 3 runs failed (why)")
    assert found.result == result and found.words.startswith(f"{result}: ")
    assert "1 of 3 runs failed (why)" in found.words and found.ours == ours


def test_statistics() -> None:
    assert summary([1.0, 2.0, 9.0], "mean") == (4.0, pytest.approx(19.0**0.5))
    assert summary([1.0, 2.0, 9.0], "median")[0] == 2.0
    assert summary([3.0], "mean") == (3.0, None)
