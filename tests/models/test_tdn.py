"""TDN: what its product is worth, the published form, and what the authors' code gets wrong."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import zoo
from zoo.errors import ConfigError
from zoo.functional import scatter_sum, spherical_harmonics
from zoo.layers.equivariant import (
    SharedCoupling,
    TensorProduct,
    attention_weights,
    smooth_leaky_relu,
)
from zoo.models._tdn_blocks import TDNAttention, TDNEdges
from zoo.models.tdn import TDN
from zoo.testing import unsettled

SMALL = {
    "lmax": 1,
    "num_layers": 1,
    "hidden_channels": 6,
    "num_heads": 2,
    "num_basis": 6,
    "radial_channels": 5,
    "cutoff": 4.0,
    "average_degree": 5.0,
}


def create(*, seed=0, **config):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = TDN(**SMALL | config)
    return unsettled(model).double().eval()


def turned(atoms):
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double())
    q = q * torch.linalg.det(q).sign()
    return Atoms(atoms.numbers, atoms.positions @ q.numpy().T), q


def test_attention_by_its_equations():
    """Against a sum over all paths of the full product, edge by edge."""
    torch.manual_seed(0)
    attention = TDNAttention(6, 2, 4, 5, 6, dropout=0.0).double()
    edges, atoms = 7, 3
    vectors, basis = torch.randn(edges, 3).double(), torch.randn(edges, 4).double()
    source, target = torch.randint(3, (2, edges))
    x = torch.randn(atoms, 9, 6).double()
    harmonics = spherical_harmonics(vectors, 2)
    irreps, one = "6x0e+6x1e+6x2e", "0e+1e+2e"
    full = TensorProduct(irreps, one, irreps, "cg", weights="none").double()
    # the shared product has unit weights before the normalisation by paths
    scale = torch.tensor([3.0, 6 / 3, 6 / 5], dtype=torch.float64).sqrt()
    scale = scale.repeat_interleave(torch.tensor([1, 3, 5]))[:, None]

    def product(features):
        parts = [features[:, a:b].mT.flatten(1) for a, b in ((0, 1), (1, 4), (4, 9))]
        out = full(torch.cat(parts, 1), harmonics).split([6, 18, 30], 1)
        parts = [part.unflatten(1, (6, -1)).mT for part in out]
        return torch.cat(parts, 1) * scale

    radial = attention.radial(basis)[:, None]
    message = radial * product(attention.source(x)[source] + attention.target(x)[target])
    alpha = smooth_leaky_relu(attention.alpha(message[:, 0])).view(edges, 2, 3)
    weights = attention_weights((alpha * attention.query).sum(-1), target, atoms)
    value = radial * product(attention.value(message))
    value = (value.view(edges, 9, 2, 3) * weights[:, None, :, None]).flatten(2)
    expected = attention.out(scatter_sum(value.flatten(1), target, atoms).view(atoms, 9, 6))

    matrices = SharedCoupling(2).double().matrices(harmonics)
    given = TDNEdges(source, target, matrices, basis, torch.arange(edges), None, atoms)
    assert (attention(x, given) - expected).abs().max() < 1e-12
    # rows of degree 1 alone, which the biases of scalars don't reach
    assert (attention(x, given, slice(1, 4)) - expected[:, 1:4]).abs().max() < 1e-12


@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_exact_factors_are_exactly_equivariant(lmax):
    atoms = molecule("CH3CH2OH")
    other, q = turned(atoms)
    model = create(lmax=lmax)
    one, two = model(atoms), model(other)
    assert model.exact
    assert float((one["energy"] - two["energy"]).abs()) < 1e-10
    assert (one["forces"] @ q.T - two["forces"]).abs().max() < 1e-10


def test_quadratic_factors_are_nearly_equivariant():
    atoms = molecule("CH3CH2OH")
    other, q = turned(atoms)
    model = create(lmax=2, rank="quadratic")
    one, two = model(atoms), model(other)
    error = (one["forces"] @ q.T - two["forces"]).norm() / one["forces"].norm()
    assert not model.exact
    assert 1e-6 < float(error) < 0.3


def test_mirror_images_are_told_apart():
    """The product keeps the paths of odd sums of degrees."""
    positions = [[0, 0, 0], [1.1, 0, 0], [0, 1.3, 0], [0, 0, 1.5], [0.7, 0.8, 0.9]]
    chiral = Atoms("CHFClBr", positions)
    mirrored = Atoms("CHFClBr", [[-x, y, z] for x, y, z in positions])
    model = create(lmax=2, num_layers=2)
    assert abs(float(model(chiral)["energy"] - model(mirrored)["energy"])) > 1e-7


@pytest.mark.parametrize("heads", [["energy"], ["energy", "forces"]])
def test_atoms_without_neighbours_keep_their_forces(heads):
    """The authors' code takes them out of the graph, and returns fewer forces than atoms."""
    model = create(heads=heads)
    apart = Atoms("OHeH", [[0, 0, 0], [50, 0, 0], [0.9, 0, 0]])
    out = model(apart)
    assert out["forces"].shape == (3, 3)
    assert (out["forces"][1] == 0).all() and (out["forces"][0] != 0).any()
    assert torch.isfinite(model(Atoms("He"))["energy"]).all()


def test_layers_leave_their_input_alone():
    """The authors' linear map adds its bias in place."""
    model = create()
    linear = model.layers[0].attention.out
    x = torch.randn(3, 4, 6).double()
    before = x.clone()
    y = linear(x)
    assert torch.equal(x, before)
    assert torch.allclose(y[:, 1:], x[:, 1:] @ linear.weight.T)
    assert torch.allclose(y[:, 0], x[:, 0] @ linear.weight.T + linear.bias)


def test_energies_are_smooth_at_the_cutoff_unless_published():
    """Energy, force and curvature of a pair that parts are continuous with the envelope."""

    def jump(model):
        pair = [Atoms("HHH", [[0, 0, 0], [1.0, 0, 0], [0, r, 0]]) for r in (3.9999, 4.0001)]
        inside, outside = (model(atoms)["energy"] for atoms in pair)
        return abs(float(inside - outside))

    assert jump(create()) < 1e-12
    assert jump(create(envelope=None)) > 1e-5


def test_direct_forces_differ_from_the_derivative():
    model = create(heads=["energy", "forces"])
    assert not model.conservative and create().conservative
    atoms = molecule("H2O")
    other, q = turned(atoms)
    assert (model(atoms)["forces"] @ q.T - model(other)["forces"]).abs().max() < 1e-10


def test_a_cap_on_neighbours_changes_nothing_where_it_does_not_bind():
    atoms = bulk("NaCl", "rocksalt", a=5.0)
    free, capped = create(), create(max_neighbors=200)
    assert torch.equal(free(atoms)["energy"], capped(atoms)["energy"])
    tight = create(max_neighbors=3)
    assert float(free(atoms)["energy"] - tight(atoms)["energy"]) != 0


def test_stress_of_a_crystal():
    out = create(lmax=2)(bulk("Si"))
    assert out["stress"].shape == (1, 3, 3)
    assert (out["stress"] - out["stress"].mT).abs().max() < 1e-12


def test_presets():
    small = zoo.create("tdn-s")
    count = sum(p.numel() for p in small.parameters())
    tensornet = sum(p.numel() for p in zoo.create("tensornet-s").parameters())
    assert abs(count / tensornet - 1) < 0.01  # what they are compared at
    assert small.exact and small.conservative
    published = zoo.create("tdn-6l", hidden_channels=8, num_basis=4)
    assert len(published.layers) == 6 and published.coupling.rank == 7
    assert not published.exact and not published.conservative


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"lmax": 0}, "lmax is 0"),
        ({"lmax": 7}, "lmax=7"),
        ({"max_z": 119}, "max_z is 119"),
        ({"envelope": "cosine"}, "'envelope' must be one of"),
        ({"num_heads": 4}, "can't be shared by num_heads=4"),
        ({"rank": 11}, "rank=11"),
        ({"norm": "batch"}, "norm"),
        ({"average_degree": 0.0}, "average_degree is 0.0"),
        ({"alpha_dropout": 1.0}, "alpha_dropout is 1.0"),
        ({"max_neighbors": 0}, "max_neighbors is 0"),
    ],
)
def test_refusals(option, message):
    with pytest.raises(ConfigError, match=message):
        TDN(**SMALL | option)
