"""The representable radii of arXiv:2211.00181, and that ours has no such limit."""

import pytest
import torch

from zoo.apps.radius import plot_radii
from zoo.errors import ConfigError
from zoo.functional.radius import radius_errors, representable_radius

LIMITS = {torch.float32: (17.33, 8.66), torch.float64: (37.43, 18.71)}


@pytest.mark.parametrize("dtype", LIMITS)
def test_limits_in_closed_form(dtype):
    ball, hyperboloid = LIMITS[dtype]
    assert representable_radius("poincare", dtype) == pytest.approx(ball, abs=0.005)
    assert representable_radius("lorentz", dtype) == pytest.approx(hyperboloid, abs=0.006)


@pytest.mark.parametrize("dtype", LIMITS)
def test_limits_as_computed(dtype):
    ball, hyperboloid = (representable_radius(m, dtype) for m in ("poincare", "lorentz"))
    radii = torch.linspace(0.5, 100.0, 200, dtype=torch.float64)
    errors = radius_errors(radii, dtype)
    # the last number below one is the last point of the ball; rounding gives it a little more
    finite = radii[errors["poincare"].isfinite()]
    assert ball - 0.25 <= float(finite.max()) <= ball + 0.75
    assert bool((errors["poincare"][radii < ball - 4] < 0.02).all())
    assert bool((errors["lorentz"][radii < hyperboloid - 2] < 0.02).all())
    beyond = errors["lorentz"][radii > hyperboloid + 1]
    assert float((beyond > 0.02).float().mean()) > 0.9
    ours = errors["euclidean"]
    assert bool(ours.isfinite().all())
    reach = 20.0 if dtype == torch.float32 else 100.0
    assert bool((ours[radii <= reach] < 8 * torch.finfo(dtype).eps).all())


def test_unknown_models_are_refused():
    with pytest.raises(ConfigError, match="klein"):
        representable_radius("klein", torch.float32)
    with pytest.raises(ConfigError, match="float16"):
        representable_radius("lorentz", torch.float16)


def test_the_plot(tmp_path):
    path = plot_radii(tmp_path / "radius.png", points=40)
    assert path.read_bytes()[:4] == b"\x89PNG" and path.stat().st_size > 10_000
