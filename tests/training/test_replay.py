"""Replay: which frames, in which batches, and that they are learnt."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from zoo.datasets import AtomsDataset
from zoo.errors import DataError
from zoo.training.fit import fit
from zoo.training.heads import survey
from zoo.training.recipe import Recipe
from zoo.training.replay import Mixture, Part, spread

Labeller = Callable[..., list[Atoms]]


def test_a_sample_is_spread_over_groups(dataset: AtomsDataset) -> None:
    names = dataset.columns["name"]
    chosen = spread(dataset, 9)
    found, counts = np.unique(names[chosen], return_counts=True)
    assert dict(zip(found, counts, strict=True)) == {"CH3OH": 3, "CH4": 3, "H2O": 3}
    assert np.array_equal(chosen, spread(dataset, 9))
    # a small group gives all it has; the others make up for it
    uneven = dataset.take([0, 1, 2, 3, 4, 5, 16])
    assert len(spread(uneven, 5)) == 5 and 6 in spread(uneven, 5)
    assert len(spread(dataset, 1000)) == 36
    assert len(spread(dataset, 1)) == 1


def test_groups_are_compositions_where_nothing_is_named(labelled: Labeller) -> None:
    frames = labelled("CH4", 9) + labelled("H2O", 3)
    for atoms in frames:
        del atoms.info["name"]
    chosen = spread(AtomsDataset.from_atoms(frames), 6)
    assert (chosen < 9).sum() == 3


def mixture(
    labelled: Labeller, fraction: float | None = None, shift: dict[int, float] | None = None
) -> Mixture:
    new = AtomsDataset.from_atoms(labelled("CH4", 10))
    old = AtomsDataset.from_atoms(labelled("H2O", 8))
    parts = [Part(new, "pbe"), Part(old, "energy", shift)]
    return Mixture(parts, ["pbe", "energy"], fraction=fraction)


def test_every_batch_has_its_part_of_old_frames(labelled: Labeller) -> None:
    mixed = mixture(labelled, 0.4)
    order = mixed.order(len(mixed), 3, seed=0, passes=2)
    batches = list(order)
    assert [sum(i < 10 for i in batch) for batch in batches] == 2 * [3, 3, 3, 1]
    assert [sum(i >= 10 for i in batch) for batch in batches] == 2 * [2, 2, 2, 1]
    for run in (batches[:4], batches[4:]):
        assert sorted(i for batch in run for i in batch if i < 10) == list(range(10))
    assert len({i for batch in batches for i in batch if i >= 10}) > 4
    # resumed in the middle, and shared by two processes
    order.start = lambda: 2
    assert list(order) == batches[2:]
    shares = [list(mixed.order(18, 3, seed=0, passes=2, rank=r, world=2)) for r in range(2)]
    both = [sorted(a + b) for a, b in zip(*shares, strict=True)]
    assert both == [sorted(batch) for batch in batches]


def test_a_mixture_looks_like_one_data_set(labelled: Labeller) -> None:
    mixed, shifted = mixture(labelled), mixture(labelled, shift={1: 1.0, 8: 10.0})
    assert len(mixed) == 18 and mixed.fresh == 10
    assert mixed.columns["head"].tolist() == [0] * 10 + [1] * 8
    assert mixed.labels == {"energy", "forces"}
    assert mixed[12].atomic_numbers.tolist() == [8, 1, 1]
    assert float(shifted[12].energy - mixed[12].energy) == pytest.approx(12.0)
    assert float(shifted[3].energy) == float(mixed[3].energy)


def test_a_head_without_frames_is_refused(labelled: Labeller) -> None:
    new = AtomsDataset.from_atoms(labelled("CH4", 10))
    with pytest.raises(DataError, match="head 'energy' has 0 frames"):
        Mixture([Part(new, "pbe"), Part(new.take([]), "energy")], ["pbe", "energy"])


def two_heads(tiny: Callable[[], Any]) -> Any:
    model = tiny().double()
    model.add_head("pbe")
    return model


def test_the_first_gradients_are_told(
    tiny: Callable[[], Any], labelled: Labeller, recipe: Callable[..., Recipe]
) -> None:
    model, mixed = two_heads(tiny), mixture(labelled)
    loss = {"energy": {"weight": 0.0}, "forces": {}}
    rows = survey(model, recipe(loss=loss).loss, mixed)
    assert [(row["head"], row["frames"], row["weight"]) for row in rows] == [
        ("pbe", 10, 1.0),
        ("energy", 8, 1.0),
    ]
    assert all(row["loss"] > 0 and row["gradient_norm"] > 0 for row in rows)
    doubled = survey(model, recipe(loss=loss | {"heads": {"energy": 2.0}}).loss, mixed)
    assert doubled[0] == rows[0]
    for key in ("loss", "gradient_norm", "weight"):
        assert doubled[1][key] == pytest.approx(2 * rows[1][key])
    model.requires_grad_(False)
    model.heads["energy/pbe"].requires_grad_(True)
    with pytest.raises(DataError, match="'energy' has 8 frames, but its loss changes no parameter"):
        survey(model, recipe(loss=loss).loss, mixed)


def test_a_weight_changes_the_update(
    tiny: Callable[[], Any], labelled: Labeller, recipe: Callable[..., Recipe], tmp_path: Any
) -> None:
    """With a weight of zero for the old head its frames change nothing at all."""
    mixed = mixture(labelled, 0.4)

    def trained(**weights: float) -> dict[str, Any]:
        model = two_heads(tiny)
        settings = recipe(
            loss={"energy": {"weight": 0.0}, "forces": {}, "heads": weights},
            trainer={"max_epochs": 1, "batch_size": 5, "precision": "64-true"},
        )
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        fit(model, settings, mixed, mixed, folder, progress=lambda line: None)  # type: ignore[arg-type]
        return {name: p.detach() for name, p in model.named_parameters()}

    one, three, none = trained(), trained(energy=3.0), trained(energy=0.0)
    start = dict(two_heads(tiny).named_parameters())
    name, own = "tensor_embedding.mix.maps.0.weight", "heads.energy.network.0.weight"
    assert not (one[name] == three[name]).all() and not (one[name] == none[name]).all()
    assert (none[own] == start[own]).all() and not (one[own] == start[own]).all()
