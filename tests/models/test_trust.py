"""Trust scores: invariances, what they separate, and the Gaussian underneath."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch import Tensor

import zoo
from zoo.apps.predict import predict
from zoo.datasets import AtomsDataset
from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    OutsideDomainError,
    StateMismatchError,
    TrustWarning,
)
from zoo.functional.gaussian import (
    Moments,
    centred,
    ledoit_wolf,
    mahalanobis,
    moments,
    pack_lower,
    unpack_lower,
)
from zoo.models._trust import Trust, Verdict
from zoo.models._trust_fit import fit
from zoo.models.tensornet import TensorNet


def rattled(name: str, count: int, seed: int) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = molecule(name)
        atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def model() -> TensorNet:
    """Random weights, which tell surroundings apart as well; trust on ethanol and water."""
    torch.manual_seed(0)
    net = TensorNet(hidden_channels=8, num_layers=1, num_rbf=8).double().eval()
    train = rattled("CH3CH2OH", 60, 0) + rattled("H2O", 40, 1)
    val = rattled("CH3CH2OH", 30, 2) + rattled("H2O", 20, 3)
    net.trust = fit(net, AtomsDataset.from_atoms(train), AtomsDataset.from_atoms(val))
    return net


def judge(model: TensorNet, structures: list[Atoms]) -> list[Verdict]:
    found: list[Verdict] = []
    trust: Trust = model.trust
    model(
        structures,
        outputs=["energy"],
        observe=lambda g, x: found.extend(trust.judge(trust.measure(g, x), g.num_graphs)),
    )
    return found


def test_what_was_trained_on_lies_inside_and_other_molecules_outside(model: TensorNet) -> None:
    familiar = judge(model, rattled("CH3CH2OH", 50, 7) + rattled("H2O", 50, 8))
    assert sum(v.inside for v in familiar) >= 90
    others = ["CH4", "CO2", "C2H4", "CH3COOH", "HCOOH", "H2CO", "C6H6"]
    strange = [v for name in others for v in judge(model, rattled(name, 5, 9))]
    assert not any(v.inside for v in strange)
    assert all(v.inside is (v.score <= 1.0) for v in familiar + strange)


def test_the_measures_and_their_sentences(model: TensorNet) -> None:
    (dioxide,) = judge(model, [molecule("CO2")])
    assert "C (atom 0)" in dioxide.reason or "O (atom" in dioxide.reason
    close = molecule("H2O")
    close.positions[1] = close.positions[0] + 0.6 * (close.positions[1] - close.positions[0])
    (verdict,) = judge(model, [close])
    assert verdict.measures["distances"] > 1.0
    assert judge(model, [molecule("CH3CH2OH")])[0].reason == (
        "all 9 atoms lie within the training domain"
    )
    far = Atoms("OH2", positions=[[0, 0, 0], [0, 0, 1.02], [3.1, 2.2, 0]])
    (verdict,) = judge(model, [far])
    assert verdict.measures["surroundings"] > 1.0


def test_each_measure_explains_itself(model: TensorNet) -> None:
    """The sentence is that of the measure that decides, and names the right atoms."""
    trust: Trust = model.trust
    tensors = trust.state
    stretched = molecule("H2O")
    stretched.positions[1] += 0.9 * (stretched.positions[1] - stretched.positions[0])
    words = {
        "features": "its features lie at",
        "distances": "H-O distance of",
        "surroundings": "as neighbours",
    }
    for k, (name, text) in enumerate(words.items()):
        limits = torch.full((3,), 1e6, dtype=torch.float64)
        limits[k] = 1e-3
        model.trust = Trust(tensors | {"limits": limits})
        try:
            (verdict,) = judge(model, [stretched])
        finally:
            model.trust = trust
        assert text in verdict.reason
        assert "(atom " in verdict.reason
        assert verdict.measures[name] == verdict.score


def test_elements_never_seen(model: TensorNet) -> None:
    (verdict,) = judge(model, [molecule("NH3")])
    assert not verdict.inside
    assert verdict.reason == "elements never seen in training: N (atom 0)"
    assert np.isfinite(verdict.score)
    assert np.isfinite(verdict.atoms).all()


@pytest.mark.parametrize("name", ["CH3CH2OH", "CH3COOH"])
def test_blind_to_motions_reflections_order_and_company(model: TensorNet, name: str) -> None:
    atoms = rattled(name, 1, 5)[0]
    (expected,) = judge(model, [atoms])
    rng = np.random.default_rng(0)
    turned = atoms.copy()
    turned.rotate(50, rng.normal(size=3))
    turned.positions = 4.0 - turned.positions
    order = rng.permutation(len(atoms))
    together = judge(model, [molecule("H2O"), turned[order], Atoms("O")])
    assert together[1].score == pytest.approx(expected.score, rel=1e-9)
    assert together[1].inside == expected.inside
    np.testing.assert_allclose(together[1].atoms, expected.atoms[order], rtol=1e-9)
    for measure, value in expected.measures.items():
        assert together[1].measures[measure] == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_scores_are_continuous_across_bins_and_surroundings(model: TensorNet) -> None:
    """A hydrogen is pulled away in small steps; no measure jumps."""
    steps = []
    for distance in np.arange(0.8, 2.2, 0.001):
        atoms = molecule("H2O")
        bond = atoms.positions[1] - atoms.positions[0]
        atoms.positions[1] = atoms.positions[0] + distance * bond / np.linalg.norm(bond)
        steps.append(atoms)
    rows = [[v.measures[m] for m in ("distances", "surroundings")] for v in judge(model, steps)]
    assert np.abs(np.diff(np.array(rows), axis=0)).max() < 0.1


def test_periodic_structures_and_their_images() -> None:
    torch.manual_seed(0)
    net = TensorNet(hidden_channels=8, num_layers=0, num_rbf=8, cutoff=4.0).double().eval()
    rng = np.random.default_rng(0)

    def crystals(count: int) -> list[Atoms]:
        found = []
        for _ in range(count):
            atoms = bulk("Cu", cubic=True)
            atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
            found.append(atoms)
        return found

    train, val = AtomsDataset.from_atoms(crystals(40)), AtomsDataset.from_atoms(crystals(20))
    net.trust = fit(net, train, val)
    crystal = crystals(1)[0]
    single, double = judge(net, [crystal, crystal.repeat((2, 1, 1))])
    assert double.score == pytest.approx(single.score, rel=1e-9)
    assert single.inside
    squeezed = bulk("Cu", "bcc", a=2.9)
    assert not judge(net, [squeezed])[0].inside


def test_the_limits_let_the_stated_share_pass(model: TensorNet) -> None:
    frames = AtomsDataset.from_atoms(rattled("H2O", 101, 4))
    train = AtomsDataset.from_atoms(rattled("H2O", 60, 5))
    trust = fit(model, train, frames, quantile=0.5)
    before, model.trust = model.trust, trust
    try:
        inside = [v.inside for v in judge(model, [frames.atoms(i) for i in range(101)])]
    finally:
        model.trust = before
    # features decide here; limits have a floor, so no fewer than asked for
    assert sum(inside) >= 51
    assert (trust.frames, trust.calibration, trust.quantile) == (60, 101, 0.5)


def test_fitting_is_one_pass_and_order_does_not_matter(model: TensorNet) -> None:
    train, val = rattled("CH3CH2OH", 20, 1), AtomsDataset.from_atoms(rattled("H2O", 5, 2))
    train += rattled("H2O", 20, 1)
    first = fit(model, AtomsDataset.from_atoms(train), val, batch_size=3)
    second = fit(model, AtomsDataset.from_atoms(train[::-1]), val, batch_size=40)
    for name, tensor in first.state.items():
        torch.testing.assert_close(second.state[name], tensor, rtol=1e-6, atol=1e-9)


def test_few_frames_and_lone_atoms() -> None:
    torch.manual_seed(0)
    net = TensorNet(hidden_channels=8, num_layers=1, num_rbf=8).double().eval()
    frames = AtomsDataset.from_atoms([Atoms("He"), molecule("H2O")])
    net.trust = fit(net, frames, frames)
    assert all(v.inside for v in judge(net, [Atoms("He"), molecule("H2O")]))
    assert not judge(net, [molecule("H2")])[0].inside
    with pytest.raises(DataError, match="0 calibration frames"):
        fit(net, frames, frames.take([]))
    with pytest.raises(ConfigError, match="quantile"):
        fit(net, frames, frames, quantile=1.0)


def test_the_same_from_its_tensors_and_nothing_else(model: TensorNet) -> None:
    trust: Trust = model.trust
    again = Trust(trust.state)
    assert all(torch.equal(again.state[k], v) for k, v in trust.state.items())
    broken = trust.state | {"mean": trust.state["mean"][:, :3]}
    with pytest.raises(StateMismatchError, match="zoo trust fit"):
        Trust(broken)
    with pytest.raises(StateMismatchError, match="do not fit together"):
        Trust({k: v for k, v in trust.state.items() if k != "limits"})
    torch.manual_seed(0)
    other = TensorNet(hidden_channels=4, num_layers=0, num_rbf=8).double()
    other.trust = trust
    with pytest.raises(StateMismatchError, match="4 features"):
        judge(other, [molecule("H2O")])


def test_the_calculator_warns_once_or_refuses(model: TensorNet) -> None:
    atoms = molecule("CO2")
    atoms.calc = model.calculator(trust="warn")
    with pytest.warns(TrustWarning, match="outside the training domain"):
        atoms.get_potential_energy()
    atoms.positions[0] += 0.001
    atoms.get_potential_energy()  # a second warning would be an error
    assert atoms.calc.verdict.score > 1.0
    atoms.calc = model.calculator(trust="refuse")
    with pytest.raises(OutsideDomainError, match="score"):
        atoms.get_potential_energy()
    water = molecule("H2O")
    water.calc = model.calculator(trust="refuse")
    assert water.get_potential_energy() == float(model(water)["energy"])
    with pytest.raises(ConfigError, match="warn or refuse"):
        model.calculator(trust="maybe")
    with pytest.raises(CapabilityError, match="zoo trust fit"):
        TensorNet(hidden_channels=4).calculator(trust="warn")


# --- the Gaussian ------------------------------------------------------------------------------


def sample(count: int, features: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(features, features, generator=generator, dtype=torch.float64)
    return 3.0 + torch.randn(count, features, generator=generator, dtype=torch.float64) @ mix


def added(x: Tensor, parts: int) -> Moments:
    pieces = [moments(piece - 2.9) for piece in x.tensor_split(parts)]
    return Moments(*(torch.stack(sums).sum(0) for sums in zip(*pieces, strict=True)))


@pytest.mark.parametrize("count", [4, 12, 200])
def test_ledoit_wolf_from_sums_is_that_from_samples(count: int) -> None:
    x = sample(count, 5)
    mean, sums = centred(added(x, 3))
    covariance, weight = ledoit_wolf(sums)
    centre = x - x.mean(0)
    plain = centre.T @ centre / count
    level = plain.trace() / 5
    target = level * torch.eye(5, dtype=torch.float64)
    outer = centre[:, :, None] * centre[:, None, :]
    noise = (outer - plain).square().sum() / count**2
    expected = min(float(noise / (plain - target).square().sum()), 1.0)
    torch.testing.assert_close(mean + 2.9, x.mean(0))
    assert weight == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(covariance, (1 - expected) * plain + expected * target)


def test_distances_are_those_of_the_inverse_covariance() -> None:
    x = sample(300, 6)
    mean, sums = centred(moments(x))
    covariance, _ = ledoit_wolf(sums)
    factor = torch.linalg.cholesky(covariance)
    found = mahalanobis(x, mean, factor)
    away = x - mean
    expected = (torch.einsum("ni,ij,nj->n", away, torch.linalg.inv(covariance), away) / 6).sqrt()
    torch.testing.assert_close(found, expected)
    assert float(found.square().mean()) == pytest.approx(1.0, abs=0.2)  # shrinkage widens it
    packed = pack_lower(factor[None])
    assert torch.equal(unpack_lower(packed)[0], factor)


def test_shipped_weights_without_a_domain_say_how_to_make_one() -> None:
    net = zoo.create("tensornet", hidden_channels=4)
    with pytest.raises(CapabilityError, match="zoo trust fit CHECKPOINT DATA"):
        predict(net, [molecule("H2O")], trust=True)
