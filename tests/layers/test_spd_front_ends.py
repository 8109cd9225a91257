"""From signals to covariance matrices: estimators against scikit-learn, delays, refusals."""

import numpy as np
import pytest
import torch
from pyriemann.estimation import Covariances
from sklearn.covariance import ledoit_wolf, oas

from zoo.errors import ConfigError, DataError, DeviceError
from zoo.functional import spd
from zoo.functional.covariance import covariance, delay_embed, shrink, trace_normalise
from zoo.layers.spd import (
    Covariance,
    CovarianceFrontEnd,
    DelayEmbedding,
    Shrinkage,
    TraceNormalisation,
    front_end,
)


def signals(count=4, channels=5, times=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, channels, times, generator=generator, dtype=torch.float64)
    return x + 0.5 * x.roll(1, 1) + 1.0


@pytest.mark.parametrize(("name", "peer"), [("ledoit_wolf", ledoit_wolf), ("oas", oas)])
@pytest.mark.parametrize("times", [8, 30, 500])
def test_shrunk_estimators_agree_with_scikit_learn(name, peer, times):
    x = signals(times=times)
    ours = covariance(x, estimator=name)
    theirs = np.stack([peer(signal.T.numpy())[0] for signal in x])
    assert np.allclose(ours.numpy(), theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("name", "peer"), [("scm", "scm"), ("ledoit_wolf", "lwf"), ("oas", "oas")])
def test_estimators_agree_with_pyriemann(name, peer):
    x = signals()
    x = x - x.mean(-1, keepdim=True)  # pyriemann's sample covariance keeps the mean
    theirs = Covariances(peer).transform(x.numpy())
    assert np.allclose(covariance(x, estimator=name).numpy(), theirs, rtol=0, atol=1e-13)


def test_sample_covariance():
    x = signals()
    ours = covariance(x, correction=1)
    assert np.allclose(ours.numpy(), [np.cov(signal.numpy()) for signal in x], atol=1e-13)
    plain = covariance(x, centred=False)
    assert torch.allclose(plain, x @ x.mT / 30)


def test_intensities_stay_between_zero_and_one_and_finite():
    flat = torch.ones(2, 3, 10, dtype=torch.float64)
    spike = torch.zeros(1, 3, 10, dtype=torch.float64)
    spike[0, 0, 0] = 1.0
    for name in ("ledoit_wolf", "oas"):
        for x in (flat, spike, signals(times=2)):
            x = x.clone().requires_grad_()
            out = covariance(x, estimator=name)
            out.sum().backward()
            assert bool(out.isfinite().all())
            assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("name", ["scm", "ledoit_wolf", "oas"])
def test_gradients(name):
    x = signals(2, 3, 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: covariance(z, estimator=name), (x,))


def test_delay_embedding_is_the_published_transform():
    x = signals(times=12)
    order, lag = 3, 2
    expected = np.concatenate(
        [x.numpy()[:, :, i * lag : -(order - i) * lag] for i in range(order)], axis=1
    )
    assert np.array_equal(delay_embed(x, order, lag).numpy(), expected)
    assert expected.shape == (4, 15, 6)
    assert torch.equal(delay_embed(x, 1, 5), x)


def test_front_end_in_one_piece_is_its_parts():
    x = signals(times=60)
    whole = CovarianceFrontEnd(order=3, lag=2, shrinkage=0.1, normalise=True).double()
    parts = torch.nn.Sequential(
        DelayEmbedding(3, 2), Covariance(), Shrinkage(0.1), TraceNormalisation()
    )
    assert torch.equal(whole(x), parts(x))
    assert whole.channels(5) == 15
    assert torch.allclose(whole(x).diagonal(dim1=1, dim2=2).sum(1), torch.full((4,), 15.0).double())
    named = front_end("augmented", order=3, lag=2, shrinkage=0.1, normalise=True).double()
    assert torch.equal(named(x), whole(x))
    assert torch.equal(front_end("covariance", order=3)(x), covariance(x))


def test_shrinkage_keeps_the_trace_and_mends_the_rank():
    x = signals(times=4)
    singular = covariance(x)
    assert float(torch.linalg.eigvalsh(singular)[:, 0].max()) < 1e-12
    mended = Shrinkage(0.2)(singular)
    spd.check(mended)
    trace = [m.diagonal(dim1=1, dim2=2).sum(1) for m in (singular, mended)]
    assert torch.allclose(*trace)
    learned = Shrinkage(0.2, learn=True).double()
    assert torch.allclose(learned(singular), mended, atol=1e-7)
    learned(singular).square().sum().backward()
    assert float(learned.raw.grad) != 0
    fitted = CovarianceFrontEnd(learn_shrinkage=True).double()
    spd.check(fitted(x))
    assert len(list(fitted.parameters())) == 1


def test_shrink_by_one_is_a_multiple_of_the_identity():
    x = covariance(signals())
    flat = shrink(x, 1.0)
    assert torch.allclose(flat, flat[:, :1, :1] * torch.eye(5, dtype=torch.float64))
    assert torch.allclose(
        trace_normalise(x).diagonal(dim1=1, dim2=2).sum(1), torch.ones(4).double()
    )


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Covariance()(signals(times=5)), DataError, "5 samples in time of 5 channels"),
        (lambda: Covariance()(signals(times=5)), DataError, "estimator='oas'"),
        (lambda: front_end("augmented", order=3)(signals(times=18)), DataError, "of 15 channels"),
        (lambda: delay_embed(signals(times=6), 3, 2), DataError, "use up 6"),
        (lambda: delay_embed(signals(), 0, 1), ConfigError, "at least 1"),
        (lambda: DelayEmbedding(2, 0), ConfigError, "at least 1"),
        (lambda: covariance(signals(), estimator="lw"), ConfigError, "ledoit_wolf"),
        (lambda: covariance(signals(times=1), correction=1), ConfigError, "leaves nothing"),
        (lambda: Covariance(estimator="scn"), ConfigError, "scm"),
        (lambda: Shrinkage(1.0), ConfigError, "between 0 and 1"),
        (lambda: CovarianceFrontEnd(shrinkage=1.5), ConfigError, "below 1"),
        (lambda: front_end("covarance"), ConfigError, "covariance"),
        (lambda: covariance(signals().half()), DeviceError, "float16"),
        (lambda: Shrinkage()(signals().half() @ signals().half().mT), DeviceError, "float16"),
        (lambda: trace_normalise(torch.zeros(2, 3, 3)), DataError, "flat"),
    ],
)
def test_refusals(call, error, words):
    with pytest.raises(error, match=words):
        call()
