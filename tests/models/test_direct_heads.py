"""Heads that give forces and stress themselves, without derivatives of the energy."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ase.build import bulk, molecule
from torch import Tensor, nn

import zoo
from zoo.errors import ConfigError
from zoo.layers.atomistic import AtomFeatures, AtomGraph, directed_edges
from zoo.models._atomistic import AtomisticModel
from zoo.models._ensemble import Ensemble
from zoo.testing import AtomisticContract, Subject, run_check
from zoo.training import train

SMALL = {"hidden_channels": 8, "num_layers": 1, "num_rbf": 6, "cutoff": 4.0}
BOTH = ["energy", "forces", "stress"]


def make(*heads: str) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return zoo.create("tensornet", **SMALL, heads=list(heads)).double().eval()


class TestDirectHeads(AtomisticContract):
    architecture = "tensornet"
    config = {**SMALL, "heads": BOTH}


def test_what_is_direct_and_what_is_derived() -> None:
    plain, forces, stress, both = (
        make("energy"), make("energy", "forces"), make("energy", "stress"), make(*BOTH)
    )  # fmt: skip
    assert plain.conservative and plain.direct == ()
    assert not forces.conservative and forces.direct == ("forces",)
    assert forces.derived == ("stress", "virial") and stress.derived == ("forces", "virial")
    assert both.outputs == ("energy", "forces", "stress", "virial")
    assert make("forces").outputs == ("forces",) and not make("forces").conservative


def test_direct_forces_spare_the_backward_pass_unless_a_derived_stress_is_asked_for() -> None:
    model = make("energy", "forces")
    assert set(model(bulk("Cu"))) == {"energy", "forces"}
    assert set(model(bulk("Cu"), outputs=["forces", "stress"])) == {"forces", "stress"}
    assert set(make("energy", "stress")(bulk("Cu"))) == {"energy", "forces", "stress"}
    batch = zoo.to_batch(molecule("CH3OH"), dtype=torch.float64)
    batch.pos.requires_grad_()
    assert model(batch, create_graph=True)["forces"].requires_grad
    assert not model(batch)["forces"].requires_grad


def test_checks_of_derivatives_are_skipped_with_the_reason() -> None:
    subject = Subject(make(*BOTH), "float64")
    for check in ("forces", "stress"):
        result = run_check(check, subject)
        assert result.skipped and "direct head" in result.reason
    assert run_check("forces", Subject(make("energy", "stress"), "float64")).passed


def test_manifests_tell_direct_from_conservative(tmp_path: Path) -> None:
    from zoo import hub

    model = make("energy", "forces")
    model.restrict_elements({1: 4, 6: 1})
    path = hub.save(model, tmp_path / "out", name="tensornet-s.some.r1")
    loaded = hub.load(path)
    outputs = loaded.manifest.outputs
    assert outputs["forces"].conservative is False and outputs["virial"].conservative is True
    before, after = model(molecule("CH4")), loaded(molecule("CH4"))
    assert torch.equal(before["forces"].float(), after["forces"].float())


def test_heads_can_be_left_out_and_added() -> None:
    model = make("energy", "forces")
    model.direct_scales["forces"].scale.fill_(2.0)
    model.add_head("other")
    assert model.direct == ("forces",)
    model.keep_heads(["energy"])
    assert model.conservative and not len(model.direct_scales)


def test_an_ensemble_averages_direct_forces() -> None:
    first, second = make("energy", "forces"), make("energy", "forces")
    second.direct_scales["forces"].scale.fill_(3.0)
    joint = Ensemble([first, second])
    atoms = molecule("CH3OH")
    torch.testing.assert_close(joint(atoms)["forces"], 2.0 * first(atoms)["forces"])
    assert not joint.conservative


class Own(nn.Module):
    """A force head of an architecture: twice what it finds in the state."""

    def forward(self, x: AtomFeatures, graph: AtomGraph) -> Tensor:
        return 2.0 * x.state


def test_an_architecture_brings_its_own_heads() -> None:
    class Mine(AtomisticModel):
        def __init__(self) -> None:
            super().__init__(
                cutoff=3.0,
                heads=["energy", "forces"],
                features=1,
                channels=1,
                max_z=9,
                own_heads={"forces": Own},
            )

        def features(self, graph: AtomGraph) -> AtomFeatures:
            ones = torch.ones(len(graph.batch), 3)
            return AtomFeatures(scalars=ones[:, :1], state=ones)

    assert torch.equal(Mine().eval()(molecule("H2O"))["forces"], torch.full((3, 3), 2.0))


def test_a_recipe_trains_direct_forces(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "recipe": 1,
                "name": "tensornet-s.direct.r1",
                "model": {"name": "tensornet", "config": {**SMALL, "heads": ["energy", "forces"]}},
                "data": {
                    "source": "pbe-ethanol",
                    "splits": {
                        "kind": "time",
                        "fractions": {"train": 0.1, "val": 0.05, "test": 0.85},
                    },
                },
                "loss": {"energy": {"weight": 0.01}, "forces": {}},
                "normalise": {"scale": "forces_rms"},
                "optimizer": {"lr": 5e-3},
                "trainer": {"max_epochs": 10, "batch_size": 4, "val_every": 2},
            }
        )
    )
    report = train(path, output=tmp_path / "out")
    model: Any = report.model
    assert model.direct == ("forces",)
    # of the components of the labels, not the initial 1
    assert float(model.direct_scales["forces"].scale) == float(model.energy_scale.scale) != 1.0
    losses = [row["train_loss"] for row in report.history]
    assert losses[-1] < 0.9 * losses[0]
    assert report.metrics["test"]["forces_mae"] > 0


def test_the_nearest_neighbours_are_kept() -> None:
    model = make("energy")
    atoms = molecule("C6H6")
    _, _, graph = model._graph(zoo.to_batch(atoms, dtype=torch.float64), [])
    whole = directed_edges(graph)
    assert whole.pairs is not None and torch.equal(whole.source, whole.target.roll(whole.pairs))
    capped = directed_edges(graph, 3)
    assert capped.pairs is None and torch.bincount(capped.target).tolist() == [3] * 12
    for atom in range(12):
        all_of = whole.distances[whole.target == atom].sort().values
        kept = capped.distances[capped.target == atom].sort().values
        assert torch.equal(kept, all_of[:3])
    assert directed_edges(graph, 99).pairs == whole.pairs
    with pytest.raises(ConfigError, match="max_neighbors is 0"):
        directed_edges(graph, 0)
