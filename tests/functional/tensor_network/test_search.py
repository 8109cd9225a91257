"""Search of ranks and structures: planted ones are found within their budget."""

import math

import pytest
import torch

from zoo.errors import ConfigError, DataError, DeviceError
from zoo.functional import tensor_network as tn


def planted(format: tn.Format, shape: tuple[int, ...], rank: tuple[int, ...], seed: int = 0):
    source = torch.Generator().manual_seed(seed)
    sizes = tn.core_shapes(format, shape, rank)
    return tn.reconstruct(
        format, [torch.randn(*size, generator=source, dtype=torch.float64) for size in sizes]
    )


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_acceptance_11_planted_tucker_rank(noise: float) -> None:
    """(2, 6, 3) within 192 numbers, where equal ranks lose more."""
    source = torch.Generator().manual_seed(0)
    core = torch.randn(2, 6, 3, generator=source, dtype=torch.float64)
    factors = [
        torch.linalg.qr(torch.randn(14, r, generator=source, dtype=torch.float64))[0]
        for r in (2, 6, 3)
    ]
    tensor = tn.reconstruct("tucker", [core, *factors])
    other = torch.randn(tensor.shape, generator=source, dtype=torch.float64)
    tensor = tensor / tensor.norm() + noise * other / other.norm()
    assert tn.select_tucker_rank(tensor, 192) == (2, 6, 3)
    equal = tn.relative_error(tensor, "tucker", tn.decompose(tensor, "tucker", (3, 3, 3)))
    found = tn.relative_error(tensor, "tucker", tn.decompose(tensor, "tucker", (2, 6, 3)))
    assert found < equal and found < noise + 1e-9


def test_rank_selection_of_many_and_few_modes() -> None:
    five = planted("tucker", (4, 4, 4, 4, 4), (1, 3, 1, 3, 1))
    assert tn.select_tucker_rank(five, 9 + 4 * 9) == (1, 3, 1, 3, 1)
    matrix = planted("tucker", (6, 8), (2, 2))
    assert tn.select_tucker_rank(matrix, 32) == (2, 2)
    assert tn.parameter_count("tucker", (6, 8), tn.select_tucker_rank(matrix, 40)) <= 40
    assert tn.select_tucker_rank(torch.zeros(3, 3), 100) == (1, 1)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("format", "rank", "parameters"),
    [("tt", (2, 3, 2), 80), ("tr", (2, 2, 2, 2), 80), ("tucker", (2, 2, 2, 2), 56)],
)
def test_acceptance_10_greedy_finds_planted_structures(
    format: tn.Format, rank: tuple[int, ...], parameters: int, seed: int
) -> None:
    tensor = planted(format, (5, 5, 5, 5), rank, seed)
    found = tn.greedy_structure_search(tensor, 200)
    assert found.network.num_parameters == parameters
    assert found.error < (1e-10 if format != "tr" else 1e-6)
    assert math.isclose(found.network.error(tensor), found.error, abs_tol=1e-12)
    if format == "tt":  # the bonds of the train, and no others
        assert found.network.bonds == {(0, 1): 2, (1, 2): 3, (2, 3): 2}
    if format == "tucker":  # a core without a mode of its own
        assert found.network.dims == (5, 5, 5, 5, 0)
        assert any(k == -1 for _, k in found.steps)


def test_greedy_without_internal_nodes_and_within_its_budget() -> None:
    tensor = planted("tucker", (5, 5, 5, 5), (2, 2, 2, 2))
    found = tn.greedy_structure_search(tensor, 60, internal_nodes=False)
    assert found.network.num_parameters <= 60 and found.network.dims == (5, 5, 5, 5)
    assert 1e-3 < found.error < 1


def test_alternating_enumeration_finds_ranks_and_order() -> None:
    tensor = planted("tr", (3, 3, 3, 3), (2, 2, 1, 2)).permute(0, 2, 1, 3).contiguous()
    found = tn.alternating_structure_search(tensor, 120, sweeps=60, weight=1e5)
    assert found.evaluations <= 120
    # the planted ring has 36 numbers, and the tensor 81: a local search ends in between
    assert found.error < 3e-3 and 36 <= found.network.num_parameters < 81
    size = found.network.num_parameters / 81
    assert found.objective == pytest.approx(size + 1e5 * found.error**2)


def test_alternating_enumeration_stops_at_its_budget() -> None:
    tensor = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = tn.alternating_structure_search(tensor, 4, template="full", sweeps=5)
    assert not found.complete and found.evaluations == 4
    again = tn.alternating_structure_search(tensor, 4, template="full", sweeps=5)
    assert again.ranks == found.ranks  # the same random numbers each time
    assert math.isclose(again.error, found.error, abs_tol=1e-9)


@pytest.mark.parametrize("budget", [None, 0, 2.5, True])
@pytest.mark.parametrize(
    "search",
    [tn.select_tucker_rank, tn.greedy_structure_search, tn.alternating_structure_search],
)
def test_a_search_needs_a_budget(search, budget) -> None:
    with pytest.raises(ConfigError, match="needs a budget"):
        search(torch.ones(3, 3, 3), budget)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="rank 1 of shape"):
        tn.select_tucker_rank(torch.ones(3, 3), 5)
    with pytest.raises(ConfigError, match="two modes or more"):
        tn.select_tucker_rank(torch.ones(3), 5)
    with pytest.raises(ConfigError, match="cores without bonds"):
        tn.greedy_structure_search(torch.ones(3, 3, 3), 8)
    with pytest.raises(ConfigError, match="2 to 8 modes"):
        tn.greedy_structure_search(torch.ones(3), 8)
    with pytest.raises(ConfigError, match="three to eight modes"):
        tn.alternating_structure_search(torch.ones(3, 3), 8)
    with pytest.raises(ConfigError, match="did you mean 'ring'"):
        tn.alternating_structure_search(torch.ones(3, 3, 3), 8, template="rings")


def test_a_tensor_of_zeros_and_one_of_rank_one() -> None:
    assert tn.greedy_structure_search(torch.zeros(3, 4, 5), 20).error == 0
    found = tn.greedy_structure_search(torch.ones(3, 4, 5), 20)
    assert found.error < 1e-6 and found.network.bonds == {}


@pytest.mark.parametrize(
    "search",
    [
        tn.select_tucker_rank,
        tn.greedy_structure_search,
        tn.alternating_structure_search,
        tn.cp_als,
        lambda tensor, _: tn.decompose(tensor, "tucker", 1),
    ],
)
def test_what_is_no_tensor_of_numbers_is_refused(search) -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        search(torch.full((3, 3, 3), torch.nan), 30)
    with pytest.raises(DeviceError, match="int64"):
        search(torch.ones(3, 3, 3, dtype=torch.long), 30)
    with pytest.raises(DeviceError, match="float16"):
        search(torch.ones(3, 3, 3, dtype=torch.float16), 30)
