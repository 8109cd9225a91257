"""Recipes: what is accepted, and how what is not is explained."""

from pathlib import Path

import pytest

from zoo import datasets, share
from zoo.errors import RecipeError
from zoo.training import _yaml
from zoo.training import recipe as recipes

GOOD = """\
recipe: 1
name: tensornet-s.mine.r1
model: {name: tensornet-s}
data:
  source: mine.extxyz
  splits: {kind: random}
loss:
  energy: {weight: 1}
  forces: {kind: mae}
optimizer: {lr: 1e-3}
trainer:
  max_epochs: 3
  max_time: 10:00:00
tiers:
  smoke: {trainer: {max_epochs: 1}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text)
    return path


def refusal(folder: Path, old: str, new: str) -> str:
    assert old in GOOD
    with pytest.raises(RecipeError) as caught:
        recipes.load(write(folder, GOOD.replace(old, new)))
    return str(caught.value)


def test_reads_yaml_as_people_write_it(tmp_path: Path) -> None:
    recipe = recipes.load(write(tmp_path, GOOD))
    assert recipe.optimizer.lr == 0.001
    assert recipe.trainer.max_time == "10:00:00"
    assert recipe.loss.energy is not None and recipe.loss.energy.weight == 1.0
    assert recipe.tiers == {}


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("splits:", "splts:", 6, ["data.splts", "unknown key", "data.splits"]),
        ("max_epochs: 3", "max_epoch: 3", 12, ["trainer.max_epoch:", "trainer.max_epochs"]),
        ("max_epochs: 3", "lr: 3", 12, ["trainer.lr", "optimizer.lr"]),
        ("max_epochs: 3", "max_epochs: three", 12, ["trainer.max_epochs", "integer", "three"]),
        ("max_epochs: 3", "max_epochs: 0", 12, ["trainer.max_epochs", "greater"]),
        ("max_epochs: 3", "clip: true", 12, ["trainer.clip", "True"]),
        ("kind: mae", "kind: mea", 9, ["loss.forces.kind", "'mse'", "'mea'"]),
        ("lr: 1e-3", "lr: .nan", 10, ["optimizer.lr"]),
        ("max_epochs: 1}", "max_epochz: 1}", 15, ["tiers.smoke.trainer.max_epochz"]),
        ("10:00:00", "1h", 13, ["trainer.max_time"]),
        ("smoke:", "smoked:", 15, ["tiers"]),
    ],
)
def test_errors_name_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int, words: list[str]
) -> None:
    message = refusal(tmp_path, old, new)
    assert f"r.yaml:{line}: " in message
    for word in words:
        assert word in message


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    assert "model: missing" in refusal(tmp_path, "model: {name: tensornet-s}\n", "")


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "  max_epochs: 3\n", "  max_epochs: 3\n  max_epochs: 4\n")
    assert "r.yaml:13: trainer.max_epochs: given twice" in message


def test_code_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "name: tensornet-s}", "name: !!python/object/apply:os.getcwd []}")
    assert "not valid YAML" in message


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "#" * _yaml.MAX_BYTES)
    with pytest.raises(RecipeError, match="larger than"):
        recipes.load(path)


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))
    with pytest.raises(RecipeError, match="anchors"):
        recipes.load(write(tmp_path, "a0: &a0 [x, x, x]\n" + levels))


def test_a_broken_file_is_located(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"r\.yaml:2: not valid YAML"):
        recipes.load(write(tmp_path, "a: 1\nb: ]"))


def test_tiers_and_overrides_apply_in_this_order(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert recipes.load(path, tier="smoke").trainer.max_epochs == 1
    both = recipes.load(path, tier="smoke", overrides={"trainer.max_epochs": 7, "ema": None})
    assert both.trainer.max_epochs == 7
    assert both.trainer.max_time == "10:00:00"
    assert both.ema is None
    with pytest.raises(RecipeError, match="did you mean 'smoke'"):
        recipes.load(path, tier="smok")
    with pytest.raises(RecipeError, match=r"overrides\.trainer\.max_epohs.*trainer\.max_epochs"):
        recipes.load(path, overrides={"trainer.max_epohs": 3})


def test_the_resolved_recipe_reads_back_equal(tmp_path: Path) -> None:
    first = recipes.load(write(tmp_path, GOOD), tier="smoke")
    again = recipes.load(write(tmp_path, first.to_yaml()))
    assert again == first
    assert again.sha256() == first.sha256()


def test_keys_that_came_later_leave_old_digests_alone(tmp_path: Path) -> None:
    """The digest in the manifests of released weights."""
    old = recipes.load(write(tmp_path, GOOD))
    assert old.sha256() == "7b36c3849b9dab9d737d3c12d724c448b0b448c6a78004af67ca8e3708b95351"
    new = recipes.load(tmp_path / "r.yaml", overrides={"trainer.num_workers": 2})
    assert new.sha256() != old.sha256()
    assert recipes.load(write(tmp_path, new.to_yaml())) == new


def test_names_of_shipped_recipes() -> None:
    with pytest.raises(RecipeError, match="did you mean 'gfn2-md10/tensornet'"):
        recipes.load("gfn2-md10/tensornett")
    path = recipes.find("gfn2-md10/tensornet").resolve()
    assert recipes.find("recipes/gfn2-md10/tensornet.yaml").resolve() == path
    assert recipes.label(path) == recipes.label("gfn2-md10/tensornet") == "gfn2-md10/tensornet"


SHIPPED = sorted(share.folder("recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_recipes_are_complete(path: Path) -> None:
    recipe = recipes.load(path)
    assert recipe.name.startswith(f"{path.stem}-")
    assert recipe.data.source == path.parent.name
    # the recipe itself, or the paper's longer run of the same model on the same data
    full = recipes.load(path, tier="full")
    assert (full.model, full.data, full.task) == (recipe.model, recipe.data, recipe.task)
    assert full.trainer.max_epochs >= recipe.trainer.max_epochs
    # of sets too large to ship, the smoke tier takes a sample that does, or a made-up file
    assert recipes.load(path, tier="smoke").data.source in datasets.known()
    fetched = recipe.data.source in datasets.fetched()
    assert fetched == (recipe.status == "not run by us")
