"""DimeNet and DimeNet++: the authors' numbers, the paper's formulas, triplets without a list."""

from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from goldens import golden, relative, structures

import zoo
from zoo.errors import CapabilityError, ConfigError, StateMismatchError
from zoo.functional.spherical_basis import bessel_roots, legendre, spherical_bessel
from zoo.layers.atomistic import DirectedEdges, Triplets
from zoo.testing import AtomisticContract

GOLDEN = sorted((Path(__file__).parent / "golden").glob("dimenet*.safetensors"))
SMALL = {
    "hidden_channels": 12,
    "num_blocks": 2,
    "num_spherical": 4,
    "num_radial": 3,
    "cutoff": 4.0,
    "num_output_layers": 1,
}
PLUS = {**SMALL, "int_emb_size": 6, "basis_emb_size": 4, "out_emb_channels": 10}
PLAIN = {**SMALL, "num_bilinear": 4}


class TestDimeNet(AtomisticContract):
    architecture = "dimenet"
    config = PLAIN


class TestDimeNetAsInThePaper(AtomisticContract):
    architecture = "dimenet"
    config = {**PLAIN, "num_blocks": 1, "fixed": True}


class TestDimeNetPlusPlus(AtomisticContract):
    architecture = "dimenetpp"
    config = PLUS


class TestDimeNetPlusPlusAsInThePaper(AtomisticContract):
    architecture = "dimenetpp"
    config = {**PLUS, "num_blocks": 1, "fixed": True, "heads": ["energy/pbe", "energy"]}


# --- the authors' numbers ------------------------------------------------------------------------


def test_there_are_goldens():
    assert len(GOLDEN) == 4


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_authors_outputs(path):
    config, weights, tensors = golden(path)
    name = "dimenet++" if "pp" in path.stem else "dimenet"
    model = zoo.convert(name, weights, config, source="pyg")
    out = model(structures(tensors))
    assert relative(out["energy"], tensors["output/energy"].flatten()) < 1e-10
    assert relative(out["forces"], tensors["output/forces"]) < 1e-10


def test_convert_refuses_what_it_cannot_represent():
    config, weights, _ = golden(GOLDEN[0])
    for change, words in (({"act": "relu"}, "act='relu'"), ({"out_channels": 12}, "one by one")):
        with pytest.raises(CapabilityError, match=words):
            zoo.convert("dimenet", weights, config | change, source="pyg")
    with pytest.raises(StateMismatchError, match=r"attention\.w"):
        zoo.convert("dimenet", weights | {"attention.w": torch.ones(1)}, config, source="pyg")
    with pytest.raises(StateMismatchError, match="bilinear"):
        weights.pop("interaction_blocks.0.W")
        zoo.convert("dimenet", weights, config, source="pyg")


# --- the formulas, triplet by triplet ------------------------------------------------------------


def triplets(pos, cutoff):
    """Edges (j, i) of one molecule and triplets as pairs of edges (kj, ji)."""
    atoms = range(len(pos))
    near = (pos[:, None] - pos[None]).norm(dim=-1) < cutoff
    edges = [(j, i) for j in atoms for i in atoms if i != j and near[i, j]]
    number = {edge: n for n, edge in enumerate(edges)}
    found = [(number[k, j], n) for (j, i), n in number.items() for k in atoms if (k, j) in number]
    return edges, [(kj, ji) for kj, ji in found if edges[kj][0] != edges[ji][1]]


def angle_basis(model, pos, edges, kj, ji):
    """a_ln of one triplet, by the words of the module docstring."""
    (k, j), (_, i) = edges[kj], edges[ji]
    fixed = not model.spherical_basis.divide
    middle = model.vertex == "middle"
    first = pos[i] - pos[j] if middle else pos[j] - pos[i]
    second = pos[j] - pos[k] if middle else pos[k] - pos[i]
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=0)
    ends = (pos[j] - pos[i]) if fixed else (pos[k] - pos[j])
    radial = model.spherical_basis(ends.norm()[None])[0]  # (degrees, basis)
    return (radial * legendre(cosine, model.degrees)[:, None]).flatten()


def messages(model, interaction, x, pos, edges, pairs):
    """sum_k of the interaction, one triplet after the other."""
    radial = model.radial_basis(torch.stack([(pos[j] - pos[i]).norm() for j, i in edges]))
    out = torch.zeros(len(edges), x.shape[1], dtype=x.dtype)
    if hasattr(interaction, "bilinear"):
        x = x * interaction.radial(radial)
    else:
        for layer in interaction.radial:
            radial = layer(radial)
        x = interaction.down(x * radial)
        out = torch.zeros(len(edges), x.shape[1], dtype=x.dtype)
    for kj, ji in pairs:
        basis = angle_basis(model, pos, edges, kj, ji)
        if hasattr(interaction, "bilinear"):
            weight = interaction.spherical(basis)
            out[ji] += torch.einsum("b,obi,i->o", weight, interaction.bilinear, x[kj])
        else:
            for layer in interaction.spherical:
                basis = layer(basis)
            out[ji] += basis * x[kj]
    return out if hasattr(interaction, "bilinear") else interaction.up(out)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("name", "config"), [("dimenet", PLAIN), ("dimenetpp", PLUS)])
def test_angular_messages_are_the_sums_over_triplets(name, config, fixed):
    torch.manual_seed(0)
    model = zoo.create(name, **config, fixed=fixed).double()
    atoms = molecule("CH3CH2OH")
    seen = []
    model.interactions[0].angular = spy(model.interactions[0], seen)
    with torch.no_grad():
        model.eval()(atoms, outputs=["energy"])
        x, edges, found = seen[0]
        pos = torch.as_tensor(atoms.positions)
        ends, pairs = triplets(pos, model.cutoff)
        order = [ends.index(e) for e in zip(*edges_of(edges), strict=True)]
        ours = torch.empty(len(ends), x.shape[1], dtype=x.dtype)
        ours[order] = found
        start = torch.empty_like(x)
        start[order] = x
        expected = messages(model, model.interactions[0], start, pos, ends, pairs)
    assert len(pairs) > 200
    assert relative(ours, expected) < 1e-12


def edges_of(edges):
    return edges.directed.source.tolist(), edges.directed.target.tolist()


def spy(interaction, seen):
    inner = interaction.angular

    def angular(x, edges):
        out = inner(x, edges)
        seen.append((x, edges, out))
        return out

    return angular


def test_atoms_of_very_different_degree_change_nothing():
    """Slots of several widths: a large molecule beside many small ones."""
    torch.manual_seed(0)
    model = zoo.create("dimenetpp", **PLUS).double().eval()
    large, small = molecule("C60"), [molecule("H2O"), molecule("CO2"), Atoms("O", [[0, 0, 0]])]
    together = model([large, *small * 20])
    alone = torch.cat([model([s])["forces"] for s in [large, *small]])
    assert relative(together["forces"][: len(alone)], alone) < 1e-12


def test_collinear_atoms_have_the_curvature_of_nearly_collinear_ones():
    torch.manual_seed(0)
    model = zoo.create("dimenetpp", **PLUS).double().train()

    def stiffness(bend):
        atoms = molecule("CO2")
        atoms.positions[1, 0] += bend
        batch = zoo.to_batch(atoms, dtype=torch.float64)
        batch.pos.requires_grad_()
        forces = model(batch, outputs=["forces"])["forces"]
        return torch.autograd.grad(forces[0, 0], batch.pos)[0]

    straight, bent = stiffness(0.0), stiffness(1e-5)
    assert torch.isfinite(straight).all()
    assert relative(straight, bent) < 1e-3
    assert float(straight[0, 0].abs()) > 0  # the angular part is there


def test_reverse_edges_alone_are_left_out_between_images():
    """In a crystal an atom neighbours its own images; only the very same bond is no triplet."""
    atoms = bulk("Al")
    model = zoo.create("dimenetpp", **PLUS).double().eval()
    one, eight = model(atoms), model(atoms * (2, 2, 2))
    assert float(one["energy"]) == pytest.approx(float(eight["energy"]) / 8, rel=1e-10)


def test_triplets_need_what_no_edge_hides():
    vectors = torch.tensor([[1.0, 0, 0], [0, 2.0, 0]], dtype=torch.float64)
    edges = DirectedEdges(
        source=torch.tensor([1, 2, 0, 0]),
        target=torch.tensor([0, 0, 1, 2]),
        vectors=torch.cat([vectors, -vectors]),
        distances=torch.cat([vectors, vectors]).norm(dim=-1),
        pairs=2,
    )
    values = torch.arange(1.0, 13, dtype=torch.float64).reshape(4, 3, 1)
    out = Triplets(edges, 3, 3).sum(values)
    # 0 -> 1 hears 2 -> 0, 0 -> 2 hears 1 -> 0, at a right angle: P = 1, 0, -1/2
    assert out[:2].abs().max() == 0
    torch.testing.assert_close(out[2], values[1, 0] - 0.5 * values[1, 2])
    torch.testing.assert_close(out[3], values[0, 0] - 0.5 * values[0, 2])


# --- functions ---------------------------------------------------------------------------------


def test_bessel_functions_and_their_slopes_are_scipys():
    from scipy.special import spherical_jn

    x = torch.linspace(0, 30, 400, dtype=torch.float64)
    argument = x[:, None, None].expand(-1, 8, 1).clone().requires_grad_()
    values = spherical_bessel(argument)
    for degree in range(8):
        (slope,) = torch.autograd.grad(values[:, degree].sum(), argument, retain_graph=True)
        for ours, exact in (
            (values[:, degree, 0], spherical_jn(degree, x.numpy())),
            (slope[:, degree, 0], spherical_jn(degree, x.numpy(), derivative=True)),
        ):
            torch.testing.assert_close(ours, torch.as_tensor(exact), rtol=0, atol=1e-14)
    near = torch.tensor([0.0, 1e-9, 0.9, 1.1, 2.9, 3.1, 7.0], dtype=torch.float64)
    near = near[:, None, None].expand(-1, 4, 1).clone().requires_grad_()
    assert torch.autograd.gradgradcheck(spherical_bessel, near)


def test_roots_are_roots_and_belong_to_the_caller():
    roots = bessel_roots(7, 6)
    assert float(spherical_bessel(roots.T[..., None])[..., 0].abs().max()) < 1e-15
    assert bool((roots.diff(dim=1) > 2.5).all())
    roots.zero_()
    assert float(bessel_roots(7, 6)[0, 0]) == pytest.approx(torch.pi)


# --- construction --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "parameters"), [("dimenet", 2_100_070), ("dimenetpp", 1_885_830)])
def test_published_sizes(name, parameters):
    model = zoo.create(f"{name}-qm9")
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_output_blocks_may_start_at_zero():
    out = zoo.create("dimenet", **PLAIN, output_init="zeros").eval()(molecule("H2O"))
    assert float(out["energy"]) == 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"num_bilinear": 0}, ConfigError, "dimenet: num_bilinear is 0; expected 1 or more"),
        ({"num_spherical": 1}, ConfigError, "num_spherical is 1; expected 2 or more"),
        ({"max_z": 119}, ConfigError, "no element lies beyond 118"),
        ({"heads": ["energy", "dipole"]}, CapabilityError, "no vectors of atoms"),
    ],
)
def test_bad_arguments(change, error, words):
    with pytest.raises(error, match=words):
        zoo.create("dimenet", **PLAIN | change)
