"""Factorised tensors as modules: their scale, precision, storage and contraction."""

import io
import math

import pytest
import torch

from zoo.errors import ConfigError
from zoo.layers.tensor_network import FactorizedTensor, TensorizedMatrix

CASES = {
    "dense": ((30, 40), None),
    "cp": ((12, 10, 14), 6),
    "tucker": ((12, 10, 14), (5, 4, 6)),
    "tt": ((8, 6, 7, 5), (4, 5, 3)),
    "tr": ((8, 6, 7, 5), (3, 4, 2, 3)),
    "block_tt": ((4, 4, 4, 4, 4, 4), (4, 4)),
    "block_tr": ((4, 4, 4, 4, 4, 4), (3, 2, 4)),
}


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("format", CASES)
def test_acceptance_4_initial_std(format: str, is_complex: bool) -> None:
    """Within a tenth of what was asked, in every format."""
    shape, rank = CASES[format]
    found = []
    for _ in range(20):
        made = FactorizedTensor(shape, format=format, rank=rank, std=0.0722, is_complex=is_complex)
        found.append(float(made.to_tensor().detach().abs().square().mean().sqrt()))
    assert math.isclose(sum(found) / 20, 0.0722, rel_tol=0.1)
    assert format == "dense" or max(found) < 0.0722 * 1.001  # and in each draw


@pytest.mark.parametrize("format", ["cp", "tucker", "tt", "tr", "dense"])
def test_acceptance_4_initial_std_of_matrices(format: str) -> None:
    """1 / sqrt(3 in), as nn.Linear."""
    rank = None if format == "dense" else 0.4
    made = [TensorizedMatrix((4, 4, 2), (4, 4, 4), format=format, rank=rank) for _ in range(20)]
    found = [float(matrix.to_matrix().detach().square().mean().sqrt()) for matrix in made]
    assert math.isclose(sum(found) / 20, 1 / math.sqrt(3 * 64), rel_tol=0.1)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("format", CASES)
def test_stored_cast_copied_and_compiled(format: str, is_complex: bool) -> None:
    shape, rank = CASES[format]
    made = FactorizedTensor(shape, format=format, rank=rank, std=0.1, is_complex=is_complex)
    tensor = made.to_tensor().detach()
    assert tensor.is_complex() is is_complex and tensor.shape == shape
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    other = FactorizedTensor(shape, format=format, rank=rank, std=0.1, is_complex=is_complex)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other.to_tensor(), tensor)
    double = other.double().to_tensor().detach()
    assert double.dtype == (torch.complex128 if is_complex else torch.float64)
    assert float((double - tensor).norm() / tensor.norm()) < 1e-6
    torch._dynamo.reset()
    compiled = torch.compile(lambda: made.to_tensor(), backend="eager", fullgraph=True)
    assert torch.allclose(compiled(), tensor)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("format", [f for f in CASES if f != "dense"])
def test_from_tensor_gives_the_tensor_back(format: str, is_complex: bool) -> None:
    shape, rank = CASES[format]
    rank = (1, 4, 2, 3) if format == "tr" else (1, 2, 4) if format == "block_tr" else rank
    source = FactorizedTensor(
        shape, format=format, rank=rank, std=1.0, is_complex=is_complex
    ).double()
    tensor = source.to_tensor().detach()
    found = FactorizedTensor.from_tensor(tensor, format=format, rank=source.rank)
    assert found.rank == source.rank and found.to_tensor().dtype == tensor.dtype
    assert float((found.to_tensor().detach() - tensor).norm() / tensor.norm()) < 1e-6


@pytest.mark.parametrize("format", CASES)
def test_contraction_equals_reconstruction(format: str) -> None:
    shape, rank = CASES[format]
    made = FactorizedTensor(shape, format=format, rank=rank, std=1.0).double()
    modes = "abcdefgh"[: len(shape)]
    x = torch.randn(3, *shape[: len(shape) // 2], dtype=torch.float64)
    half = modes[: len(shape) // 2]
    equation = f"z{half},{modes}->z{modes[len(half) :]}"
    dense = torch.einsum(equation, x, made.to_tensor())
    assert torch.allclose(made.contract(equation, x), dense)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: made.contract(equation, x), backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), dense)


def test_spectral_contraction_is_per_mode() -> None:
    made = FactorizedTensor((3, 4, 5, 6), format="cp", rank=4, std=1.0, is_complex=True)
    x = torch.randn(2, 3, 5, 6, dtype=torch.complex64)
    dense = torch.einsum("bixy,ioxy->boxy", x, made.to_tensor())
    assert torch.allclose(made.contract("bixy,ioxy->boxy", x), dense, atol=1e-5)


def test_numbers_of_a_tensor() -> None:
    made = FactorizedTensor((10, 10, 10), format="cp", rank=5, std=1.0)
    assert made.num_parameters == 5 * 31 and made.compression == 1000 / 155
    assert made.operations > 0 and "rank=(5,)" in repr(made)


def test_matrices_take_the_nearest_one() -> None:
    matrix = torch.randn(12, 2) @ torch.randn(2, 20)
    made = TensorizedMatrix.from_matrix(matrix, (12,), (20,), format="tucker", rank=(2, 2))
    assert torch.allclose(made.to_matrix(), matrix, atol=1e-4)
    sized = TensorizedMatrix.from_matrix(matrix.double(), (3, 4), (5, 4), max_error=0.5)
    error = (sized.to_matrix().detach() - matrix).norm() / matrix.norm()
    assert sized.to_matrix().dtype == torch.float64 and 0.01 < float(error) < 0.5
    with pytest.raises(ConfigError, match=r"make \(12, 20\)"):
        TensorizedMatrix.from_matrix(matrix.T, (12,), (20,))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="std=0"):
        FactorizedTensor((2, 3), format="cp", rank=1, std=0.0)
    with pytest.raises(ConfigError, match="which have 2 and 1"):
        TensorizedMatrix((2, 3), (4,), format="tt", rank=2)
    with pytest.raises(ConfigError, match="did you mean 'tt'"):
        TensorizedMatrix((2, 3), (4, 1), format="ttt", rank=2)
