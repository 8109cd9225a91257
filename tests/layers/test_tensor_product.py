"""Every tensor product: what it computes, how it turns, what it can't express, derivatives."""

import math

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.functional import edge_quaternion, gaunt, wigner_3j, wigner_blocks
from zoo.layers.equivariant import TensorProduct, reachable
from zoo.layers.equivariant.tensor_product import METHODS

GAUNT = ("gaunt_grid", "gaunt_fourier")
#: paths between 0..L and 0..L into 0..2L: all, and those of even l1 + l2 + l3
ALL = {1: 6, 2: 19, 3: 44, 4: 85, 6: 231}
EVEN = {1: 5, 2: 14, 3: 30, 4: 55, 6: 140}
#: into 0..L
CUT = {1: 5, 2: 15, 3: 34, 4: 65, 6: 175}


@pytest.fixture
def float64():
    """Modules made in double precision; e3nn's tables follow it too."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def natural(lmax, channels=1):
    return o3.Irreps([(channels, (degree, (-1) ** degree)) for degree in range(lmax + 1)])


def representation(irreps, quaternion_of, *, inversion):
    """The matrix of one rotation, with or without the inversion, on e3nn's layout."""
    vector = torch.tensor([quaternion_of], dtype=torch.float64)
    blocks = wigner_blocks(edge_quaternion(vector), irreps.lmax)
    parts = [
        blocks[part.ir.l][0] * (part.ir.p if inversion else 1)
        for part in irreps
        for _ in range(part.mul)
    ]
    return torch.block_diag(*parts)


def expansion(module, x, y):
    """The sum over paths of coefficient times sqrt(2 l3 + 1) times the coupling tensor."""
    z = torch.zeros(len(x), module.irreps_out.dim, dtype=x.dtype)
    first, second, out = (
        part.slices() for part in (module.irreps_in1, module.irreps_in2, module.irreps_out)
    )
    channels = module.channels
    for (i, j, k), _, value in module.couplings():
        degrees = (module.irreps_in1[i].ir.l, module.irreps_in2[j].ir.l, module.irreps_out[k].ir.l)
        a = x[:, first[i]].reshape(len(x), channels, -1)
        b = y[:, second[j]].reshape(len(x), -1, 2 * degrees[1] + 1).expand(-1, channels, -1)
        c = math.sqrt(2 * degrees[2] + 1) * wigner_3j(*degrees)
        z[:, out[k]] += value * torch.einsum("nci,ncj,ijk->nck", a, b, c).flatten(1)
    return z


def samples(module, count=4):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(count, part.dim, generator=generator, dtype=torch.float64)
        for part in (module.irreps_in1, module.irreps_in2)
    ]


MIXED = "2x0e+2x1o+2x1e+2x2e+2x2o"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("irreps", [natural(3), natural(2, 3), o3.Irreps(MIXED)], ids=str)
def test_a_product_is_its_expansion(float64, method, irreps):
    module = TensorProduct(irreps, irreps, None, method, weights="none")
    x, y = samples(module)
    assert (module(x, y) - expansion(module, x, y)).abs().max() < 1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("inversion", [False, True])
def test_equivariance(float64, method, inversion):
    module = TensorProduct(MIXED, MIXED, None, method)
    with torch.no_grad():
        module.weight.normal_(generator=torch.Generator().manual_seed(0))
    x, y = samples(module)
    d_in, d_out = (
        representation(part, (0.4, -0.3, 1.1), inversion=inversion)
        for part in (module.irreps_in1, module.irreps_out)
    )
    assert (module(x @ d_in.T, y @ d_in.T) - module(x, y) @ d_out.T).abs().max() < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_outputs_have_variance_one(float64, method):
    module = TensorProduct(natural(3), natural(3), natural(6), method, weights="none")
    totals = dict.fromkeys(range(7), 0.0)
    for (_, _, k), _, value in module.couplings():
        totals[k] += value**2
    assert list(totals.values()) == pytest.approx([1.0] * 7)


@pytest.mark.parametrize("method", ["cg", "cg_sparse"])
@pytest.mark.parametrize(("channels", "second"), [(1, 1), (3, 3), (3, 1)])
def test_cg_is_the_product_of_e3nn(float64, method, channels, second):
    irreps1, irreps2, out = natural(4, channels), natural(3, second), natural(5, channels)
    module = TensorProduct(irreps1, irreps2, out, method, weights="external")
    mode = "uuu" if channels == second else "uvu"
    paths = [(*coupling.path, mode, True) for coupling in module.couplings()]
    theirs = o3.TensorProduct(
        irreps1, irreps2, out, paths, internal_weights=False, shared_weights=True
    )
    assert theirs.weight_numel == module.weight_numel
    weight = torch.randn(module.weight_numel)
    x, y = samples(module)
    assert (module(x, y, weight) - theirs(x, y, weight)).abs().max() < 1e-12


@given(st.integers(0, 4), st.integers(0, 4), st.data())
@settings(max_examples=12, deadline=None)
def test_gaunt_variants_agree_with_the_table(l1, l2, data):
    l3 = data.draw(st.integers(abs(l1 - l2), l1 + l2).filter(lambda n: (l1 + l2 + n) % 2 == 0))
    irreps = [o3.Irreps([(1, (degree, (-1) ** degree))]) for degree in (l1, l2, l3)]
    table = gaunt(l1, l2, l3)
    scale = (table.square().sum() / (2 * l3 + 1)).sqrt()  # variance one
    variants = [("gaunt_grid", {}), ("gaunt_grid", {"grid": "lebedev"}), ("gaunt_fourier", {})]
    for method, options in variants:
        module = TensorProduct(*irreps, method, weights="none", **options).double()
        x, y = samples(module)
        exact = torch.einsum("ni,nj,ijk->nk", x, y, table / scale)
        assert (module(x, y) - exact).abs().max() < 1e-12


def test_gaunt_variants_agree_with_weights(float64):
    modules = [
        TensorProduct(natural(5, 2), natural(4, 2), natural(7, 2), "gaunt_grid"),
        TensorProduct(natural(5, 2), natural(4, 2), natural(7, 2), "gaunt_grid", grid="lebedev"),
        TensorProduct(natural(5, 2), natural(4, 2), natural(7, 2), "gaunt_fourier"),
    ]
    weight = torch.randn_like(modules[0].weight)
    for module in modules:
        module.weight.data = weight
    x, y = samples(modules[0])
    results = [module(x, y) for module in modules]
    assert max((result - results[0]).abs().max() for result in results) < 1e-12


@pytest.mark.parametrize("lmax", ALL)
def test_numbers_of_paths(lmax):
    both = reachable(natural(lmax), natural(lmax), "cg")
    everything = TensorProduct(natural(lmax), natural(lmax), both, weights="none")
    assert len(everything.couplings()) == ALL[lmax]
    even = TensorProduct(natural(lmax), natural(lmax), natural(2 * lmax), weights="none")
    assert len(even.couplings()) == EVEN[lmax]
    cut = [part for part in both if part.ir.l <= lmax]
    within = TensorProduct(natural(lmax), natural(lmax), cut, weights="none")
    assert len(within.couplings()) == CUT[lmax]
    assert everything.inexpressible == []


@pytest.mark.parametrize("method", GAUNT)
@pytest.mark.parametrize("lmax", [1, 2, 3])
def test_gaunt_leaves_out_odd_sums_and_nothing_else(method, lmax):
    assert reachable(natural(lmax), natural(lmax), method) == natural(2 * lmax)
    irreps = natural(lmax) + o3.Irreps([(1, (n, -((-1) ** n))) for n in range(lmax + 1)])
    module = TensorProduct(irreps, irreps, None, method, weights="none")
    degrees = [[part.ir.l for part in irreps]] * 2 + [[part.ir.l for part in module.irreps_out]]
    odd = [
        coupling.irreps
        for coupling in module.couplings()
        if sum(row[n] for row, n in zip(degrees, coupling.path, strict=True)) % 2
    ]
    assert odd and module.inexpressible == odd


@pytest.mark.parametrize("method", ["cg", "cg_sparse", "matrix", "vector_gaunt"])
def test_two_vectors_have_a_cross_product(float64, method):
    module = TensorProduct("1o", "1o", "1e", method, weights="none")
    x, y = samples(module)
    cross = torch.linalg.cross(x, y)
    ratio = module(x, y) / cross
    assert ratio.std() < 1e-12 and ratio.abs().mean() == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize("lmax", [1, 2, 3, 4])
def test_matrix_and_vector_products_reach_every_path(lmax):
    for method in ("matrix", "vector_gaunt"):
        module = TensorProduct(natural(lmax), natural(lmax), None, method, weights="none")
        assert module.inexpressible == [] and len(module.couplings()) == ALL[lmax]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("a", "b", "columns"), [(1, 1, None), (1, 1, 2), (2, 2, None), (2, 1, 2)], ids=str
)
def test_derivatives(float64, method, a, b, columns):
    c = max(a, b)
    module = TensorProduct(
        f"{a}x0e+{a}x1o+{a}x1e",
        f"{b}x0e+{b}x1o",
        f"{c}x0e+{c}x1o+{c}x2e+{c}x1e",
        method,
        weights="external",
    )
    if columns is not None:  # the same in pieces
        module.kernel.columns = columns
    x, y = (t.requires_grad_() for t in samples(module, 2))
    weights = [torch.randn(module.weight_numel, requires_grad=True)]
    if module.kernel.per_sample_weights:
        weights.append(torch.randn(2, module.weight_numel, requires_grad=True))
    for weight in weights:
        assert torch.autograd.gradcheck(module, (x, y, weight), fast_mode=True)
        assert torch.autograd.gradgradcheck(module, (x, y, weight), fast_mode=True)


def test_a_third_derivative(float64):
    module = TensorProduct(natural(1), natural(1), natural(2), "cg")
    x, y = (t.requires_grad_() for t in samples(module))

    def energy(x):
        return module(module(x, y)[:, :4], x).square().sum()

    (first,) = torch.autograd.grad(energy(x), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
    (third,) = torch.autograd.grad(second.square().sum(), x)
    step, direction = 1e-5, torch.randn_like(x)

    def value(x):
        (first,) = torch.autograd.grad(energy(x), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        return float(second.square().sum())

    shifted = [(x + sign * step * direction).detach().requires_grad_() for sign in (1, -1)]
    slope = (value(shifted[0]) - value(shifted[1])) / (2 * step)
    assert float((third * direction).sum()) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_pieces_change_nothing(float64, method):
    module = TensorProduct(natural(2, 3), natural(2, 3), natural(4, 3), method)
    x, y = samples(module, 7)
    whole = module(x, y)
    for columns in (1, 5, 14):
        module.kernel.columns = columns
        assert (module(x, y) - whole).abs().max() < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_precision_follows_the_module(method):
    module = TensorProduct(natural(3), natural(3), natural(6), method)
    x, y = samples(module)
    single = module(x.float(), y.float())
    double = module.double()(x, y)
    assert single.dtype == torch.float32
    assert (single - double).abs().max() < 2e-5
    exact = TensorProduct(natural(3), natural(3), natural(6), method).double()
    exact.weight.data = module.weight.data
    assert (exact(x, y) - double).abs().max() < 1e-13


@pytest.mark.parametrize("method", METHODS)
def test_leading_dimensions_and_no_samples(method):
    module = TensorProduct(natural(1, 2), natural(1, 2), natural(2, 2), method)
    x, y = (t.float() for t in samples(module, 6))
    grouped = module(x.view(2, 3, -1), y.view(2, 3, -1))
    assert grouped.shape == (2, 3, module.irreps_out.dim)
    assert torch.allclose(grouped.view(6, -1), module(x, y), atol=1e-6)
    assert module(x[:0], y[:0]).shape == (0, module.irreps_out.dim)
    assert module(x[0], y[0]).shape == (module.irreps_out.dim,)


def test_weights_are_stored_and_tables_are_not():
    module = TensorProduct(natural(2, 4), natural(2, 4), natural(2, 4), "gaunt_grid")
    assert list(module.state_dict()) == ["weight"]
    assert module.weight.shape == (3 + 3 + 3, 4)
