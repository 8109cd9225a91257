"""Damaged files end in a right result or a `ZooError`: never in another error, never shorter.

Forty damaged files per reader here; `make fuzz` does a thousand.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from malformed import KINDS, Damage, apply, damage_files
from whole_domains import EVERY
from whole_files import Whole

import zoo.datasets as zd
from zoo.errors import ZooError

FEW, MANY = 40, 1000
DAMAGES = st.lists(
    st.builds(
        Damage,
        kind=st.integers(0, len(KINDS) - 1),
        place=st.integers(0, 100_000),
        other=st.integers(0, 5_000),
        deep=st.booleans(),
    ),
    min_size=1,
    max_size=3,
)


def by_name(whole: Whole) -> str:
    return whole.name


def examine(dataset: Any, expected: int | None) -> None:
    """A data set that opened: as long as its file, every sample whole or refused."""
    if expected is not None:
        assert len(dataset) == expected
    for index in range(min(len(dataset), 8)):
        try:
            sample = dataset[index]
        except ZooError:
            continue
        if dataset.domain == "atoms":
            assert sample.pos.shape == (len(sample.atomic_numbers), 3)
            assert not dataset.labels or set(dataset.labels) <= set(sample.keys())
    try:
        dataset.check()
    except ZooError:
        assert not zd.check(dataset).ok
    else:
        zd.check(dataset)


def attempt(whole: Whole, root: Path, place: Path, damages: list[Damage]) -> str:
    """Copies the files, damages them, and reads them; says how that ended."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(root, name, dirs_exist_ok=True)
        damage_files(sorted(p for p in Path(name).rglob("*") if p.is_file()), damages)
        path = Path(name) / place
        try:
            dataset = whole.read(path)
        except ZooError as error:
            assert str(error)
            return "refused"
        examine(dataset, whole.count(path))
        return "read"


def run(whole: Whole, root: Path, examples: int) -> dict[str, int]:
    """The undamaged files, then damaged ones; how often they were refused and read."""
    root.mkdir()
    path = whole.make(root)
    dataset, expected = whole.read(path), whole.count(path)
    assert expected is None or len(dataset) == expected
    examine(dataset, expected)
    ends = {"refused": 0, "read": 0}

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(DAMAGES)
    def one(damages: list[Damage]) -> None:
        ends[attempt(whole, root, path.relative_to(root), damages)] += 1

    one()
    return ends


@pytest.mark.parametrize("whole", EVERY, ids=by_name)
def test_damaged_files(whole: Whole, tmp_path: Path) -> None:
    assert run(whole, tmp_path / "root", FEW)["refused"] > FEW // 10


@pytest.mark.fuzz
@pytest.mark.parametrize("whole", EVERY, ids=by_name)
def test_many_damaged_files(whole: Whole, tmp_path: Path) -> None:
    assert run(whole, tmp_path / "root", MANY)["refused"] > MANY // 10


def test_damage_is_the_same_for_the_same_numbers() -> None:
    text = b"3\nProperties=species:S:1:pos:R:3\nH 0 0 1.5\nH 0 0 -1\nO 1 2 3\n"
    changed = 0
    for kind in range(len(KINDS)):
        for place in range(50):
            damage = Damage(kind, 7919 * place, 104729 * place, False)
            assert apply(text, damage) == apply(text, damage)
            changed += apply(text, damage) != text
            apply(b"", damage)
    assert changed > 0.8 * 50 * len(KINDS)
