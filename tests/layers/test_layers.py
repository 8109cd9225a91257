"""Shared layers: constants are exact in every precision, energies are summed in float64."""

import pytest
import torch

from zoo.errors import ConfigError
from zoo.functional.cartesian import component_table
from zoo.layers.atomistic import EnergyScale
from zoo.layers.cartesian import ComponentLinear, MatrixProduct
from zoo.layers.radial import ExpNormBasis, GaussianBasis


def test_constants_are_rebuilt_from_float64_and_never_saved():
    layer = MatrixProduct(symmetric=True).half().double()
    assert torch.equal(layer.table, component_table())
    assert not layer.state_dict()


@pytest.mark.parametrize("symmetric", [True, False])
def test_matrix_product_layer(symmetric):
    from zoo.functional import from_matrix

    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, 3, 4, 5, dtype=torch.float64, generator=g)
    ab = torch.einsum("xynf,yznf->xznf", a, b)
    ba = torch.einsum("xynf,yznf->xznf", b, a)
    layer = MatrixProduct(symmetric=symmetric).double()
    expected = from_matrix(ab + ba if symmetric else 2 * ab)
    assert torch.allclose(layer(from_matrix(a), from_matrix(b)), expected)
    aa = torch.einsum("xynf,yznf->xznf", a, a)
    assert torch.allclose(layer.square(from_matrix(a)), from_matrix(aa))


def test_component_linear_mixes_channels_within_groups():
    layer = ComponentLinear(3)
    x = torch.randn(9, 2, 3)
    x[4:] = 0
    out = layer(x)
    assert not out[4:].any()
    assert torch.allclose(out[2], x[2] @ layer.maps[1].weight.T, atol=1e-6)


def test_basis_parameters_are_weights():
    assert set(ExpNormBasis(5.0, 4).state_dict()) == {"means", "betas"}
    assert len(list(ExpNormBasis(5.0, 4, trainable=True).parameters())) == 2
    assert set(GaussianBasis(5.0, 4).state_dict()) == {"centres", "coefficient"}
    assert len(list(GaussianBasis(5.0, 4, trainable=True).parameters())) == 2


def test_energy_scale_adds_everything_in_float64():
    scale = EnergyScale().half()
    scale.set_reference({1: -13.6, 8: -2041.8396277138})
    scale.scale.fill_(2.0)
    scale.shift.fill_(0.25)
    scale.offset.fill_(-1.0)
    out = scale(
        torch.tensor([0.5, 0.5, 1.0], dtype=torch.float16),
        torch.tensor([1, 1, 8]),
        torch.tensor([0, 0, 0]),
        1,
    )
    assert out.dtype == torch.float64
    assert out.item() == pytest.approx(4.0 + 0.75 - 1.0 - 27.2 - 2041.8396277138, abs=1e-10)


def test_references_of_impossible_elements():
    with pytest.raises(ConfigError, match="120"):
        EnergyScale().set_reference({120: 1.0})
    with pytest.raises(ConfigError, match="119"):
        EnergyScale().set_reference(torch.zeros(5))
