"""The factorised product: the sums it stands for, equivariance, derivatives, refusals."""

import pytest
import torch

from zoo.errors import ConfigError
from zoo.functional import spherical_harmonics, to_e3nn
from zoo.functional.cp_factors import shared_coupling
from zoo.functional.cp_fit import fit_factors
from zoo.layers.equivariant import CPTensorProduct, SharedCoupling, TensorProduct


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(("lmax", "rank"), [(1, 10), (2, 42), (3, 126)])
def test_known_exact_ranks_commute_with_rotations(lmax, rank):
    product = CPTensorProduct(lmax, 4, rank=rank).double()
    assert product.rank == rank
    assert product.equivariance_error() < 1e-6


@pytest.mark.parametrize("lmax", range(1, 7))
@pytest.mark.parametrize("mode", ["uvu", "uuu"])
def test_the_default_rank_commutes_with_rotations(lmax, mode):
    product = CPTensorProduct(lmax, 2, 1 if mode == "uvu" else 2, mode=mode)
    assert product.equivariance_error(samples=3) < 1e-5
    assert product.double().equivariance_error(samples=3) < 1e-11


@pytest.mark.parametrize(
    ("lmax", "low", "high"), [(1, 5e-3, 0.05), (2, 5e-3, 0.05), (3, 0.02, 0.2)]
)
def test_the_quadratic_rank_commutes_up_to_its_error(lmax, low, high):
    product = CPTensorProduct(lmax, 4, rank="quadratic").double()
    assert low < product.equivariance_error() < high
    assert low / 3 < product.coupling.error < high


@pytest.mark.parametrize("rank", ["exact", "quadratic"])
@pytest.mark.parametrize("given", ["internal", "one", "each", "none"])
@pytest.mark.parametrize(
    ("mode", "channels", "sum_of"),
    [
        ("uvu", (3, 1, None), "biu,bjv,ijk,buv->bku"),
        ("uvu", (3, 2, None), "biu,bjv,ijk,buv->bku"),
        ("uuu", (3, 3, None), "biu,bju,ijk,bu->bku"),
        ("uvw", (3, 2, 4), "biu,bjv,ijk,buvw->bkw"),
    ],
)
def test_sums(mode, channels, sum_of, given, rank):
    kind = given if given in ("internal", "none") else "external"
    product = CPTensorProduct(2, *channels, mode=mode, weights=kind, rank=rank).double()
    x, y = draw(5, 9, product.channels[0]), draw(5, 9, product.channels[1], seed=1)
    shape = product.weight_shape
    if given == "internal":
        weight, whole = None, product.weight.detach()
    elif given == "none":
        weight, whole = None, torch.ones(shape, dtype=torch.float64)
    else:
        weight = draw(*((5,) if given == "each" else ()), product.weight_numel, seed=2)
        whole = weight.unflatten(-1, shape)
    coupling = shared_coupling(2)
    if rank == "quadratic":
        coupling = product.coupling.table.transpose(0, 1)
    each = whole if given == "each" else whole.expand(5, *shape)
    expected = torch.einsum(sum_of, x, y, coupling, each)
    assert (product(x, y, weight) - expected).abs().max() < 1e-11


def test_terms_and_table_are_the_same_tensor():
    coupling = SharedCoupling(2, "quadratic").double()
    terms = torch.einsum("ri,rj,kr->jik", coupling.first, coupling.second, coupling.third)
    assert (terms - coupling.table).abs().max() < 1e-12


@pytest.mark.parametrize("second", [1, 3])
def test_it_is_the_full_product_with_equal_weights(second):
    """`TensorProduct` by "cp" is "cg" with all weights of a channel equal."""
    features, other = "3x0e+3x1o+3x1e+3x2e", f"{second}x0e+{second}x1o+{second}x2e"
    torch.set_default_dtype(torch.float64)
    try:
        shared = TensorProduct(features, other, None, "cp", weights="external")
        full = TensorProduct(features, other, None, "cg", weights="external")
    finally:
        torch.set_default_dtype(torch.float32)
    x, y = draw(4, shared.irreps_in1.dim), draw(4, shared.irreps_in2.dim, seed=1)
    weight = draw(3, seed=2)
    assert shared.weight_numel == 3 and shared.couplings() == full.couplings()
    expected = full(x, y, weight.repeat(full.weight_rows))
    assert (shared(x, y, weight) - expected).abs().max() < 1e-11
    # the single channel may come first as well
    if second == 1:
        turned = TensorProduct(other, features, None, "cp", weights="external").double()
        flipped = TensorProduct(other, features, None, "cg", weights="external").double()
        expected = flipped(y, x, weight.repeat(flipped.weight_rows))
        assert (turned(y, x, weight) - expected).abs().max() < 1e-11


def test_both_layouts_hold_the_same_numbers():
    product = CPTensorProduct(2, 3, weights="none").double()
    other = TensorProduct("3x0e+3x1e+3x2e", "0e+1e+2e", "3x0e+3x1e+3x2e", "cp", weights="none")
    x, y = draw(4, 9, 3), draw(4, 9, 1, seed=1)
    ours, theirs = to_e3nn(product(x, y)), other.double()(to_e3nn(x), to_e3nn(y))
    # one is normalised by paths, degree by degree
    factor = torch.tensor([3, 6 / 3, 6 / 5], dtype=torch.float64).sqrt()
    spread = factor.repeat_interleave(torch.tensor([3, 9, 15]))
    assert (ours - theirs * spread).abs().max() < 1e-12


@pytest.mark.parametrize(("mode", "second"), [("uvu", 1), ("uvu", 2), ("uuu", 2), ("uvw", 2)])
def test_derivatives_of_both_orders(mode, second):
    product = CPTensorProduct(1, 2, second, mode=mode, weights="external").double()
    x, y = draw(2, 4, 2).requires_grad_(), draw(2, 4, second, seed=1).requires_grad_()
    weight = draw(2, product.weight_numel, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(product, (x, y, weight))
    assert torch.autograd.gradgradcheck(product, (x, y, weight))


def test_gradients_reach_the_vectors_of_edges():
    product = CPTensorProduct(2, 2).double()
    vectors = draw(3, 3).requires_grad_()
    x = draw(3, 9, 2, seed=1)

    def energy(r):
        return product(x, spherical_harmonics(r, 2)[..., None]).square().sum()

    assert torch.autograd.gradgradcheck(energy, (vectors,))


def test_factors_are_constants_of_full_precision():
    product = CPTensorProduct(2, 2)
    assert not product.coupling.state_dict()
    exact = CPTensorProduct(2, 2).double().coupling.table
    assert torch.equal(product.half().float().double().coupling.table, exact)


def test_factors_of_ones_own():
    factors, _, _ = fit_factors(1, 12, seed=1)
    product = CPTensorProduct(1, 2, rank=factors).double()
    assert product.rank == 12 and product.coupling.error == factors.error
    assert product.equivariance_error() < 1e-9
    with pytest.raises(ConfigError, match="4 rows; lmax=2 takes 9"):
        CPTensorProduct(2, 2, rank=factors)


def test_no_samples():
    product = CPTensorProduct(1, 3)
    assert product(torch.zeros(0, 4, 3), torch.zeros(0, 4, 1)).shape == (0, 4, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "uvv"}, "mode='uvv'"),
        ({"weights": "shared"}, "weights='shared'"),
        ({"channels_out": 3}, "as many channels as x has.*'uvw'"),
        ({"mode": "uuu"}, "as many channels in y"),
        ({"channels2": 0}, "at least one"),
        ({"lmax": 7}, "lmax=7.*'cg'"),
        ({"rank": 9}, "rank=9 for lmax=2"),
    ],
)
def test_constructor_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        CPTensorProduct(**{"lmax": 2, "channels1": 2} | options)


def test_calls_are_refused():
    product = CPTensorProduct(1, 2, weights="external")
    x, y, weight = torch.zeros(3, 4, 2), torch.zeros(3, 4, 1), torch.zeros(2)
    with pytest.raises(ConfigError, match=r"takes \(3, 4, 2\)"):
        product(torch.zeros(3, 9, 2), torch.zeros(3, 9, 1), weight)
    with pytest.raises(ConfigError, match="y has the shape"):
        product(x, torch.zeros(3, 4, 2), weight)
    with pytest.raises(ConfigError, match="needs a weight"):
        product(x, y)
    with pytest.raises(ConfigError, match=r"expected \(2,\) or \(3, 2\)"):
        product(x, y, torch.zeros(3))
    with pytest.raises(ConfigError, match="takes no weight"):
        CPTensorProduct(1, 2)(x, y, weight)
    with pytest.raises(ConfigError, match="takes no options"):
        TensorProduct("0e", "0e", None, "cg", rank=8)
