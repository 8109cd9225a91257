"""What tensor products refuse, and how they say it."""

import pytest
import torch

from zoo.errors import ConfigError
from zoo.layers.equivariant import TensorProduct

ONE = "0e+1o+2e"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("1o", "1o", "3o"), {}, r"3o of irreps_out doesn't couple in 1x1o x 1x1o -> 1x3o"),
        (("1o", "1o", "0e+1o"), {}, "1o of irreps_out doesn't couple.*o x o give e"),
        (("0e+3o", "1o", "1o"), {}, "3o of irreps_in1 doesn't couple"),
        (("1o", "1o", "1e", "gaunt_grid"), {}, "1e of irreps_out.*even l1.*take 'cg'"),
        (("1o", "1o", "0e+1e", "gaunt_fourier"), {}, "1e of irreps_out takes part in no path"),
        (("0o", "0o", "0e", "matrix"), {}, "without 0o"),
        (("25e", "25e", "0e"), {}, "degree 25, beyond the tables, which end at 24"),
        (("2x0e+1x1o", "0e", "0e"), {}, r"irreps_in1=2x0e\+1x1o has multiplicities \[1, 2\]"),
        (("2x0e", "3x0e", "3x0e"), {}, "2 x 3 -> 3 channels"),
        (("2x0e", "2x0e", "4x0e"), {}, "2 x 2 -> 4 channels"),
        (("", "0e", "0e"), {}, "irreps_in1='' holds no irreps"),
        (("1q", "0e", "0e"), {}, "irreps_in1='1q' can't be read"),
        ((ONE, ONE, ONE, "gaunt_gird"), {}, "did you mean 'gaunt_grid'"),
        ((ONE, ONE, ONE), {"weights": "inside"}, "one of internal, external, none"),
        ((ONE, ONE, ONE), {"grid": "lebedev"}, "'cg' takes no options, not grid"),
        ((ONE, ONE, ONE, "gaunt_grid"), {"grid": "lebedv"}, "did you mean 'lebedev'"),
        (
            (ONE, ONE, ONE, "gaunt_grid"),
            {"grid": "lebedev", "resolution": (3, 3)},
            "belongs to grid='gauss_legendre'",
        ),
        ((ONE, ONE, ONE, "gaunt_grid"), {"resolution": (0, 4)}, "0 x 4 points is empty"),
    ],
)
def test_constructor(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        TensorProduct(*arguments, **options)


def test_aliasing_is_measured_and_refused():
    message = r"3 x 6 points is too coarse.*2 x 2 -> 2.*off by up to 0\.\d+.*4 x 7 points"
    with pytest.raises(ConfigError, match=message):
        TensorProduct(ONE, ONE, ONE, "gaunt_grid", resolution=(3, 6))
    errors = []
    for size in ((3, 6), (3, 7), (4, 7), (5, 9)):
        module = TensorProduct(
            ONE, ONE, ONE, "gaunt_grid", resolution=size, allow_aliasing=True, weights="none"
        )
        errors.append(module.kernel.aliasing)
    assert errors[0] > 1e-3 and errors[1] > 1e-3
    assert errors[2] < 1e-14 and errors[3] < 1e-14


@pytest.mark.parametrize("resolution", [(4, 7), (4, 8), (6, 9)])
def test_any_grid_that_is_fine_enough_gives_the_same(resolution):
    made = [
        TensorProduct(ONE, ONE, ONE, "gaunt_grid", weights="none", **options).double()
        for options in ({}, {"resolution": resolution})
    ]
    x, y = torch.randn(2, 5, 9, dtype=torch.float64)
    assert (made[0](x, y) - made[1](x, y)).abs().max() < 1e-12


def test_calls():
    module = TensorProduct(ONE, ONE, ONE)
    x, y = torch.randn(2, 5, 9)
    with pytest.raises(ConfigError, match=r"x has rows of 8 numbers; 1x0e\+1x1o\+1x2e has 9"):
        module(x[:, :8], y)
    with pytest.raises(ConfigError, match=r"x holds \(4,\) samples, y \(5,\)"):
        module(x[:4], y)
    with pytest.raises(ConfigError, match="weights='internal' takes no weight"):
        module(x, y, torch.ones(module.weight_numel))
    external = TensorProduct(ONE, ONE, ONE, weights="external")
    with pytest.raises(ConfigError, match="weights='external' needs a weight"):
        external(x, y)
    count = external.weight_numel
    with pytest.raises(ConfigError, match=rf"shape \(2,\).*\({count},\) or \(5, {count}\)"):
        external(x, y, torch.ones(2))
    sparse = TensorProduct(ONE, ONE, ONE, "cg_sparse", weights="external")
    with pytest.raises(ConfigError, match=rf"'cg_sparse' expects \({count},\)$"):
        sparse(x, y, torch.ones(5, count))
