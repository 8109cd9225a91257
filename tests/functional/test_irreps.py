"""The layout shared with e3nn."""

import pytest
import torch
from e3nn import o3

from zoo.errors import ConfigError
from zoo.functional import (
    channel_irreps,
    coefficient_degrees,
    from_e3nn,
    order_major_index,
    order_sizes,
    quaternion_to_matrix,
    spherical_harmonics,
    to_e3nn,
    wigner_blocks,
)


def test_order_major_layout():
    assert order_major_index(2).tolist() == [0, 2, 6, 3, 7, 1, 5, 8, 4]
    assert order_major_index(2, 1).tolist() == [0, 2, 6, 3, 7, 1, 5]
    assert order_sizes(6, 2) == [7, 12, 10]
    assert sum(order_sizes(6)) == 49
    assert coefficient_degrees(2).tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    order_major_index(2).zero_()
    assert order_major_index(2)[1] == 2  # the table is handed out as a copy


def test_flattened_layout_is_that_of_e3nn():
    """Rotating in our layout and in e3nn's is the same."""
    torch.manual_seed(0)  # e3nn's angles, which are in float32, are worse than 1e-5 near the poles
    x = torch.randn(5, 16, 3, dtype=torch.float64)
    q = o3.rand_quaternion().double()
    blocks = wigner_blocks(q[None], 3)
    ours = torch.block_diag(*(b[0] for b in blocks)) @ x
    irreps = channel_irreps(3, 3)
    assert str(irreps) == "3x0e+3x1e+3x2e+3x3e"
    theirs = to_e3nn(x) @ irreps.D_from_matrix(quaternion_to_matrix(q[None])[0].float()).double().T
    assert torch.allclose(to_e3nn(ours), theirs, atol=1e-5)
    assert str(channel_irreps(2, 4, parity=True)) == "4x0e+4x1o+4x2e"


def test_conversion_goes_both_ways():
    x = torch.randn(2, 5, 16, 3)
    flat = to_e3nn(x)
    assert flat.shape == (2, 5, 48)
    assert torch.equal(from_e3nn(flat, 3), x)
    part = torch.randn(5, 8, 2)  # degrees 1 and 2 alone
    assert torch.equal(from_e3nn(to_e3nn(part, [1, 2]), 2, [1, 2]), part)
    # the channels of e3nn's block of degree 1: x, y, z of channel 0, then of channel 1
    one = torch.arange(6.0).view(1, 3, 2)
    assert to_e3nn(one, [1]).tolist() == [[0, 2, 4, 1, 3, 5]]


def test_wrong_widths():
    with pytest.raises(ConfigError, match="10 numbers can't hold 3 channels"):
        from_e3nn(torch.zeros(1, 10), 3)
    with pytest.raises(ConfigError, match="8 coefficients are not those of the degrees"):
        to_e3nn(torch.zeros(1, 8, 2))


def test_degree_one_is_the_vector():
    r = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    unit = r / r.norm()
    assert torch.allclose(spherical_harmonics(r, 1, normalization="norm")[:, 1:], unit)
