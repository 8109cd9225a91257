"""Batch norms of SPD matrices against spd-learn, in float64."""

import math

import pytest
import torch
from spd_learn.modules import SPDBatchNormLie, SPDBatchNormMean, SPDBatchNormMeanVar

from zoo.layers.spd import LieBatchNorm, RiemannianBatchNorm

N = 6
LIE = [
    ("AIM", {}),
    ("AIM", {"theta": 0.5, "alpha": 2.0, "beta": 0.3}),
    ("AIM", {"theta": -0.5}),
    ("LEM", {}),
    ("LEM", {"alpha": 1.5, "beta": 0.2}),
    ("LCM", {}),
    ("LCM", {"theta": 0.5}),
]


def matrices(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, N, 2 * N, generator=generator, dtype=torch.float64)
    return x @ x.mT / (2 * N)


def compare(ours, theirs, scale):
    """Three training batches, then one in evaluation, with the same bias and scale."""
    ours, theirs = ours.double(), theirs.double()
    generator = torch.Generator().manual_seed(5)
    logarithm = 0.3 * torch.randn(N, N, generator=generator, dtype=torch.float64)
    logarithm = logarithm + logarithm.mT
    with torch.no_grad():
        ours.bias.raw.copy_(logarithm)
        theirs.bias = torch.linalg.matrix_exp(logarithm)[None]
        if scale is not None:
            ours.log_scale.fill_(math.log(1.3))
            setattr(theirs, scale, torch.tensor(1.3, dtype=torch.float64))
    for seed in range(3):
        assert torch.allclose(ours(matrices(seed)), theirs(matrices(seed)), rtol=0, atol=1e-12)
    ours.eval()
    theirs.eval()
    assert torch.allclose(ours(matrices(7)), theirs(matrices(7)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("metric", "options"), LIE)
def test_lie_batch_norm(metric, options, steps):
    theirs = SPDBatchNormLie(N, metric=metric, n_iter=steps, **options)
    compare(LieBatchNorm(N, metric=metric, steps=steps, **options), theirs, "shift")


@pytest.mark.parametrize("steps", [1, 5])
def test_mean(steps):
    compare(RiemannianBatchNorm(N, steps=steps), SPDBatchNormMean(N, n_iter=steps), None)


@pytest.mark.parametrize("steps", [1, 5])
def test_mean_and_dispersion(steps):
    ours = RiemannianBatchNorm(N, dispersion=True, steps=steps)
    compare(ours, SPDBatchNormMeanVar(N, n_iter=steps), "weight")
