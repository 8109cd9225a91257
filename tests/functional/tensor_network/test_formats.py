"""Formats of tensors: ranks, cores, contraction and decomposition, with tensorly as the oracle."""

import math
import random

import pytest
import tensorly as peer
import torch
from tensorly.decomposition import tensor_train, tucker

from zoo.errors import ConfigError, DataError
from zoo.functional import tensor_network as tn

SHAPES = {
    "cp": (5, 6, 7),
    "tucker": (5, 6, 7),
    "tt": (5, 6, 7, 3),
    "tr": (5, 6, 7, 3),
    "block_tt": (4, 3, 5, 2),
    "block_tr": (4, 3, 5, 2),
}


def planted(format: tn.Format, rank: tn.Rank, dtype: torch.dtype = torch.float64):
    """A tensor of a given format and rank, and its cores."""
    shape, source = SHAPES[format], torch.Generator().manual_seed(1)
    sizes = tn.core_shapes(format, shape, tn.resolve_rank(format, shape, rank))
    cores = [torch.randn(*size, generator=source, dtype=dtype) for size in sizes]
    return tn.reconstruct(format, cores), cores


@pytest.mark.parametrize("format", SHAPES)
def test_cores_count_and_multiply_out(format: tn.Format) -> None:
    tensor, cores = planted(format, 3)
    rank = tn.resolve_rank(format, SHAPES[format], 3)
    assert tensor.shape == SHAPES[format] == tn.mode_shape(format, cores)
    assert sum(core.numel() for core in cores) == tn.parameter_count(format, tensor.shape, rank)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("format", SHAPES)
def test_norms_without_the_tensor(format: tn.Format, dtype: torch.dtype) -> None:
    tensor, cores = planted(format, 3, dtype)
    assert math.isclose(float(tn.frobenius(format, cores)), float(tensor.norm()), rel_tol=1e-9)
    _, others = planted(format, 2, dtype)
    assert float(tn.frobenius(format, [0 * core for core in others])) == 0


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("format", SHAPES)
def test_acceptance_4_scale_of_cores(format: tn.Format, rank: int) -> None:
    """The variance of an entry is the product of the cores' over all terms, on average."""
    shape = SHAPES[format]
    ranks = tn.resolve_rank(format, shape, rank)
    stds = tn.core_std(format, shape, ranks, 0.3)
    terms, each = math.prod(ranks), [std for std in stds if std]
    assert len(stds) == len(tn.core_shapes(format, shape, ranks))
    assert math.isclose(terms * math.prod(each) ** 2, 0.3**2)


def test_elements_follow_the_formulas() -> None:
    tensor, (weights, a, b, c) = planted("cp", 3)
    assert torch.allclose(tensor[1, 2, 3], (weights * a[1] * b[2] * c[3]).sum())
    tensor, (core, a, b, c) = planted("tucker", (2, 3, 4))
    assert torch.allclose(tensor[1, 2, 3], ((core @ c[3]) @ b[2]) @ a[1])
    tensor, (g0, g1, g2, g3) = planted("tt", 3)
    assert torch.allclose(tensor[1, 2, 3, 0], (g0[:, 1] @ g1[:, 2] @ g2[:, 3] @ g3[:, 0]).squeeze())
    tensor, (g0, g1, g2, g3) = planted("tr", 3)
    assert torch.allclose(tensor[1, 2, 3, 0], (g0[:, 1] @ g1[:, 2] @ g2[:, 3] @ g3[:, 0]).trace())
    tensor, (g0, g1) = planted("block_tt", 3)
    assert torch.allclose(tensor[1, 2, 3, 0], (g0[:, 1, 3] @ g1[:, 2, 0]).squeeze())


def test_reconstructions_agree_with_tensorly() -> None:
    with peer.backend_context("pytorch"):
        tensor, (weights, *factors) = planted("cp", 3)
        assert torch.allclose(peer.cp_to_tensor((weights, factors)), tensor)
        tensor, (core, *factors) = planted("tucker", 3)
        assert torch.allclose(peer.tucker_to_tensor((core, factors)), tensor)
        for format, rebuild in (("tt", peer.tt_to_tensor), ("tr", peer.tr_to_tensor)):
            tensor, cores = planted(format, 3)
            assert torch.allclose(rebuild(cores), tensor)
        tensor, cores = planted("block_tt", 3)
        assert torch.allclose(peer.tt_matrix_to_tensor(cores).reshape(tensor.shape), tensor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("format", SHAPES)
def test_planted_ranks_are_recovered(format: tn.Format, dtype: torch.dtype) -> None:
    most = 2 if format == "tr" else 3  # where r * r exceeds the modes, fits of rings can get stuck
    tensor, cores = planted(format, most, dtype)
    rank = tn.resolve_rank(format, SHAPES[format], most)
    found = tn.decompose(tensor, format, rank)
    assert [c.shape for c in found] == [c.shape for c in cores]
    assert tn.relative_error(tensor, format, found) < 1e-8
    sized = tn.decompose(tensor, format, max_error=1e-8)
    if not format.endswith("tr"):  # a ring's first cut gives only the product of two bonds
        assert [c.shape for c in sized] == [c.shape for c in cores]


@pytest.mark.parametrize("format", [f for f in SHAPES if f != "cp"])
@pytest.mark.parametrize("allowed", [0.3, 0.02, 0.0])
def test_the_error_asked_for_is_kept(format: tn.Format, allowed: float) -> None:
    tensor = torch.randn(SHAPES[format], generator=torch.Generator().manual_seed(0)).double()
    cores = tn.decompose(tensor, format, max_error=allowed)
    assert tn.relative_error(tensor, format, cores) <= allowed + 1e-12


def test_decompositions_are_as_good_as_tensorly() -> None:
    source = torch.Generator().manual_seed(2)
    noise = torch.randn(6, 7, 8, generator=source, dtype=torch.float64)
    with peer.backend_context("pytorch"):
        theirs = tucker(noise, (2, 3, 4))
        bound = tn.relative_error(noise, "tucker", [theirs.core, *theirs.factors])
        assert tn.relative_error(noise, "tucker", tn.decompose(noise, "tucker", (2, 3, 4))) <= (
            bound * (1 + 1e-3)
        )
        trains = list(tensor_train(noise, [1, 3, 4, 1]))
        bound = tn.relative_error(noise, "tt", trains)
        found = tn.relative_error(noise, "tt", tn.decompose(noise, "tt", (3, 4)))
        assert math.isclose(found, bound, rel_tol=1e-9)


def test_hosvd_within_its_bound_and_hooi_no_worse() -> None:
    noise = torch.randn(6, 7, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    rank = (2, 3, 4)
    factors = [
        torch.linalg.svd(tn.unfold(noise, n), full_matrices=False)[0][:, :r]
        for n, r in enumerate(rank)
    ]
    core = tn.contract("abc,ax,by,cz->xyz", noise, *factors)
    plain = tn.relative_error(noise, "tucker", [core, *factors])
    assert tn.relative_error(noise, "tucker", tn.decompose(noise, "tucker", rank)) < plain


def test_degenerate_terms_are_bounded() -> None:
    """x x y + x y x + y x x has border rank 2: ALS terms would grow without end."""
    x, y = torch.eye(4, dtype=torch.float64)[:2]
    tensor = sum(tn.contract("a,b,c->abc", *terms) for terms in ((x, x, y), (x, y, x), (y, x, x)))
    norm = float(tensor.norm())
    free = tn.cp_als(tensor, 2, tol=-1, starts=1, max_component=1e9)
    bounded = tn.cp_als(tensor, 2, tol=-1, starts=1, max_component=1.2)
    assert float(tn.component_norms(free).max()) > 1.5 * norm
    assert float(tn.component_norms(bounded).max()) <= 1.2 * norm
    assert tn.relative_error(tensor, "cp", bounded) < 0.5


@pytest.mark.parametrize("format", SHAPES)
def test_zeros_and_single_modes_decompose(format: tn.Format) -> None:
    zeros = torch.zeros(SHAPES[format])
    assert tn.relative_error(zeros, format, tn.decompose(zeros, format, 2)) == 0
    if not format.startswith("block"):
        line = torch.arange(1.0, 5.0)
        assert tn.relative_error(line, format, tn.decompose(line, format, 1)) < 1e-6


@pytest.mark.parametrize("format", SHAPES)
@pytest.mark.parametrize("fraction", [0.3, 0.7, "same"])
def test_fractions_are_kept_and_used(format: tn.Format, fraction: float | str) -> None:
    shape = SHAPES[format]
    if fraction == 0.3 and format == "block_tr":
        return
    rank = tn.resolve_rank(format, shape, fraction)
    allowed = (1.0 if fraction == "same" else fraction) * math.prod(shape)
    assert tn.parameter_count(format, shape, rank) <= allowed
    if rank != tn.limits(format, shape):
        larger = tuple(min(r + 1, m) for r, m in zip(rank, tn.limits(format, shape), strict=True))
        assert tn.parameter_count(format, shape, larger) > allowed


def test_an_int_is_bounded_by_what_the_modes_carry() -> None:
    assert tn.resolve_rank("tucker", (2, 9, 4), 6) == (2, 6, 4)
    assert tn.resolve_rank("tt", (2, 9, 9, 3), 6) == (2, 6, 3)


@pytest.mark.parametrize(
    ("format", "shape", "rank", "words"),
    [
        ("cpp", (2, 3), 1, "did you mean 'cp'"),
        ("tucker", (2, 3), (2, 4), "number 1 is 4.*at most 3"),
        ("tt", (2, 3, 2), (3, 2), "number 0 is 3.*at most 2"),
        ("tt", (2, 3, 2), (2, 2, 2), "has 3 numbers.*has 2 bonds"),
        ("tr", (2, 3, 2), (2, 0, 2), "number 1 is 0"),
        ("cp", (2, 3), 0, "rank=0"),
        ("cp", (2, 3), True, "rank=True"),
        ("cp", (2, 3), 1.5, r"\(0, 1\]"),
        ("cp", (9, 9), 0.01, "at rank 1"),
        ("cp", (2, 3), "full", "'same'"),
        ("dense", (2, 3), 4, "no rank"),
        ("block_tt", (2, 3, 4), 2, "pairs mode"),
        ("tt", (), 2, "sizes >= 1"),
        ("tt", (2, 0), 2, "sizes >= 1"),
    ],
)
def test_what_does_not_fit_is_refused(format, shape, rank, words) -> None:
    with pytest.raises(ConfigError, match=words):
        tn.resolve_rank(format, shape, rank)


def test_decompose_refuses() -> None:
    with pytest.raises(DataError, match="NaN"):
        tn.decompose(torch.full((2, 2), math.nan), "tt", 1)
    with pytest.raises(ConfigError, match="give a rank, or an error"):
        tn.decompose(torch.ones(2, 2), "tt", 1, max_error=0.1)
    with pytest.raises(ConfigError, match="expected numbers >= 1"):
        tn.cp_als(torch.ones(2, 2, 2), 0)


def test_the_cheapest_order_is_found_and_counted() -> None:
    # (x A) B, not x (A B): 2 * 10 * 100 + 2 * 100 * 10 against 10 * 100 * 10 + 2 * 10 * 10
    best = tn.plan("xi,ij,jk->xk", ((2, 10), (10, 100), (100, 10)), "x")
    assert best.operations == 2 * 10 * 100 + 2 * 100 * 10
    assert [step.scales for step in best.steps] == [True, True]
    many = tn.plan("xi,ij,jk->xk", ((2000, 10), (10, 100), (100, 10)), "x")
    assert [step.scales for step in many.steps] == [False, True]


@pytest.mark.parametrize("cores", [3, 11])  # the second by the greedy order
def test_contractions_agree_with_einsum(cores: int) -> None:
    source = torch.Generator().manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"[: cores + 1]
    tensors = [torch.randn(3, 3, generator=source, dtype=torch.float64) for _ in range(cores)]
    terms = [letters[n : n + 2] for n in range(cores)]
    equation = f"{','.join(terms)}->{letters[0]}{letters[-1]}"
    chain = torch.linalg.multi_dot(tensors)
    assert torch.allclose(tn.contract(equation, *tensors), chain)
    assert torch.allclose(
        tn.contract(f"{letters[:2]}->{letters[1]}", tensors[0]), tensors[0].sum(0)
    )


def test_any_contraction_agrees_with_einsum() -> None:
    """Indices of size 1, in one tensor or in several, kept or summed, in any order."""
    draw = random.Random(0)
    for _ in range(400):
        letters = "abcdef"[: draw.randint(1, 6)]
        sizes = {c: draw.choice((1, 1, 2, 3)) for c in letters}
        ranks = [draw.randint(0, min(4, len(letters))) for _ in range(draw.randint(2, 4))]
        terms = ["".join(draw.sample(letters, rank)) for rank in ranks]
        used = sorted(set("".join(terms)))
        output = "".join(draw.sample(used, draw.randint(0, min(4, len(used)))))
        equation = f"{','.join(terms)}->{output}"
        shapes = [[sizes[c] for c in term] for term in terms]
        tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
        found, expected = tn.contract(equation, *tensors), torch.einsum(equation, *tensors)
        assert found.shape == expected.shape and torch.allclose(found, expected), (equation, shapes)


@pytest.mark.parametrize(
    ("equation", "shapes", "words"),
    [
        ("ab,bc->ac", [(2, 3)], "names 2 tensors"),
        ("ab,bc->ac", [(2, 3), (4, 2)], "size 3 and 4"),
        ("ab,bc->ad", [(2, 3), (3, 2)], r"\['d'\]"),
        ("ab,bc->ac", [(2, 3), (3,)], "names 2 axes"),
    ],
)
def test_equations_that_do_not_fit(equation, shapes, words) -> None:
    with pytest.raises(ConfigError, match=words):
        tn.contract(equation, *(torch.ones(shape) for shape in shapes))


def test_gradients_of_gradients() -> None:
    for format in SHAPES:
        shape = (2, 2) if format.startswith("block") else (2, 2, 2)
        sizes = tn.core_shapes(format, shape, tn.resolve_rank(format, shape, 2))
        cores = [torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in sizes]
        assert torch.autograd.gradgradcheck(
            lambda *given, format=format: tn.reconstruct(format, given), cores
        )
