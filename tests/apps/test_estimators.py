"""SPD networks as scikit-learn classifiers."""

import pickle
import warnings

import mne
import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from zoo.apps.estimators import (
    GyroSPDClassifier,
    SPDNetClassifier,
    TSMNetClassifier,
)
from zoo.errors import ConfigError, DataError, ManifoldError, UnsupportedInputError

SMALL_TSM = {
    "temporal_filters": 2,
    "temporal_kernel": 5,
    "spatial_filters": 6,
    "bimap_channels": 4,
    "lr": 1e-2,
}
QUICK = {"epochs": 10, "batch_size": 16, "lr": 3e-2, "random_state": 0}
CLASSIFIERS = [
    SPDNetClassifier(**QUICK),
    SPDNetClassifier(batch_norm="lie_lcm", hidden_channels=(3,), **QUICK),
    SPDNetClassifier(front_end="augmented", order=2, shrinkage=0.01, **QUICK),
    GyroSPDClassifier(**QUICK),
    TSMNetClassifier(**{**QUICK, **SMALL_TSM}),
]
NAMES = [f"{type(c).__name__}-{k}" for k, c in enumerate(CLASSIFIERS)]


def trials(count=24, sessions=2, seed=0):
    """Two classes that differ in which channel is loud; each session mixes channels anew."""
    rng = np.random.default_rng(seed)
    signals, labels, domain = [], [], []
    for session in range(sessions):
        y = np.arange(count) % 2
        sources = rng.normal(size=(count, 4, 60))
        sources[np.arange(count), y] *= 3.0
        mixing = np.eye(4) + 0.4 * rng.normal(size=(4, 4))
        signals.append(mixing @ sources)
        labels.append(np.array(["left", "right"])[y])
        domain.append(np.full(count, f"s{session}"))
    return np.concatenate(signals), np.concatenate(labels), np.concatenate(domain)


def covariances(x):
    return x @ x.transpose(0, 2, 1) / x.shape[2]


def lopsided(x):
    """Covariances, one of which is not symmetric."""
    matrices = covariances(x)
    matrices[1, 0, 1] += 1.0
    return matrices


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=NAMES)
def test_fit_and_predict(classifier):
    x, y, domain = trials()
    fitted = clone(classifier).fit(x, y)
    probabilities = fitted.predict_proba(x)
    assert is_classifier(fitted)
    assert fitted.classes_.tolist() == ["left", "right"]
    assert probabilities.shape == (48, 2)
    assert np.allclose(probabilities.sum(1), 1)
    assert set(fitted.predict(x)) <= {"left", "right"}
    assert fitted.score(x, y) > 0.8
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    again = clone(classifier).fit(x, y)
    assert np.array_equal(again.predict_proba(x), probabilities)
    other = clone(classifier).set_params(random_state=1).fit(x, y)
    assert not np.array_equal(other.predict_proba(x), probabilities)
    restored = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(restored.predict_proba(x), probabilities)


@pytest.mark.parametrize("classifier", [CLASSIFIERS[0], CLASSIFIERS[3]], ids=["spdnet", "gyro"])
def test_matrices_are_what_their_signals_are(classifier):
    x, y, _ = trials()
    x = x - x.mean(2, keepdims=True)
    of_matrices = clone(classifier).fit(covariances(x), y)
    of_signals = clone(classifier).fit(x, y)
    scaled = of_matrices.scale_ / of_signals.scale_**2
    assert np.isfinite(scaled)
    assert of_matrices.score(covariances(x), y) > 0.8


def test_units_of_the_signals_do_not_matter():
    x, y, _ = trials()
    volts = clone(CLASSIFIERS[0]).fit(1e-6 * x, y)
    assert np.allclose(
        volts.predict_proba(1e-6 * x), clone(CLASSIFIERS[0]).fit(x, y).predict_proba(x), atol=1e-9
    )


@pytest.mark.parametrize("number", [0, 3, 4])
def test_new_sessions_are_adapted_to_without_labels(number):
    x, y, domain = trials(sessions=3)
    seen = domain != "s2"
    fitted = clone(CLASSIFIERS[number]).fit(x[seen], y[seen], domains=domain[seen])
    assert fitted.domains_ == ["s0", "s1"]
    assert fitted.score(x[seen], y[seen], domains=domain[seen]) > 0.8
    with pytest.raises(DataError, match=r"\['s2'\] are new"):
        fitted.predict(x, domains=domain)
    pooled = fitted.predict_proba(x[~seen])
    before = fitted.predict_proba(x[seen], domains=domain[seen])
    fitted.set_params(transductive=True)
    transductive = fitted.predict_proba(x, domains=domain)
    assert np.allclose(transductive[seen], before)
    assert not np.allclose(transductive[~seen], pooled)
    assert np.array_equal(fitted.predict_proba(x[~seen]), fitted.predict_proba(x[~seen]))
    fitted.set_params(transductive=False).adapt(x[~seen], domains=domain[~seen])
    assert fitted.domains_ == ["s0", "s1", "s2"]
    assert np.allclose(fitted.predict_proba(x, domains=domain), transductive)
    assert np.mean(fitted.predict(x[~seen], domains=domain[~seen]) == y[~seen]) > 0.7


def test_adapting_without_domains_replaces_what_was_known():
    x, y, _ = trials()
    fitted = clone(CLASSIFIERS[0]).fit(x[:24], y[:24])
    transductive = fitted.set_params(transductive=True).predict_proba(x[24:])
    fitted.set_params(transductive=False).adapt(x[24:])
    assert np.allclose(fitted.predict_proba(x[24:]), transductive)


def test_pipeline_grid_and_groups():
    x, y, domain = trials(count=12, sessions=3)
    pipeline = make_pipeline(
        FunctionTransformer(covariances), SPDNetClassifier(epochs=3, random_state=0)
    )
    grid = GridSearchCV(
        pipeline, {"spdnetclassifier__input_norm": ["riemannian", "lie_lem"]}, cv=GroupKFold(3)
    )
    grid.fit(x, y, groups=domain)
    assert len(grid.cv_results_["mean_test_score"]) == 2
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    scores = cross_val_score(
        SPDNetClassifier(epochs=3, random_state=0, transductive=True),
        x,
        y,
        groups=domain,
        cv=GroupKFold(3),
        params={"domains": domain},
        error_score="raise",
    )
    assert scores.shape == (3,)


def test_epochs_of_mne():
    x, y, domain = trials()
    codes = 1 + (y == "right")
    info = mne.create_info(4, 100.0, "eeg")
    events = np.stack([np.arange(48), np.zeros(48, int), codes], 1)
    epochs = mne.EpochsArray(1e-6 * x, info, events, verbose="error")
    fitted = clone(CLASSIFIERS[0]).fit(epochs)
    assert fitted.classes_.tolist() == [1, 2]
    assert fitted.score(epochs) > 0.8
    by_array = clone(CLASSIFIERS[0]).fit(1e-6 * x, codes)
    assert np.allclose(fitted.predict_proba(epochs), by_array.predict_proba(1e-6 * x))
    parts = [epochs[:20], epochs[20:]]
    assert np.allclose(fitted.predict_proba(parts), fitted.predict_proba(epochs))
    with pytest.raises(DataError, match="different channels"):
        fitted.predict([epochs, epochs.copy().pick([0, 1])])


@pytest.mark.parametrize(
    "classifier", CLASSIFIERS[:1] + CLASSIFIERS[3:], ids=["spd", "gyro", "tsm"]
)
def test_conventions_of_scikit_learn(classifier):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)  # its checks for tables don't apply
        check_estimator(classifier)
    params = classifier.get_params()
    assert clone(classifier).get_params() == params
    changed = clone(classifier).set_params(epochs=3)
    assert changed.get_params() == {**params, "epochs": 3}
    assert "epochs=" in repr(classifier)
    with pytest.raises(NotFittedError):
        clone(classifier).predict(trials()[0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c, x, y: c.fit(x[0], y), UnsupportedInputError, "expected signals"),
        (lambda c, x, y: c.fit(x.astype(str).tolist() + ["a"], y), UnsupportedInputError, "list"),
        (lambda c, x, y: c.fit(x, y[:3]), DataError, "one per sample"),
        (lambda c, x, y: c.fit(x), DataError, "target y is None"),
        (lambda c, x, y: c.fit(x, y[:1].repeat(len(y))), DataError, "one class only"),
        (lambda c, x, y: c.fit(np.where(x > 5, np.nan, x), y), DataError, "NaN or infinity"),
        (lambda c, x, y: c.fit(x, y, domains=[1]), DataError, "one per sample"),
        (lambda c, x, y: c.fit(x[:, :, :3], y), DataError, "shrinkage"),
        (lambda c, x, y: c.fit(x, y).predict(x[:, :3]), UnsupportedInputError, "4 x any"),
        (
            lambda c, x, y: c.fit(x, y).predict(covariances(x)),
            UnsupportedInputError,
            "fitted on signals",
        ),
        (lambda c, x, y: c.fit(lopsided(x), y), ManifoldError, "is not symmetric"),
        (lambda c, x, y: c.fit(x, y).predict(x, domains=y), DataError, "fit has seen none"),
        (lambda c, x, y: c.set_params(input_norm="no").fit(x, y), ConfigError, "input_norm"),
    ],
)
def test_refusals(call, error, words):
    x, y, _ = trials(count=6)
    with pytest.raises(error, match=words):
        call(SPDNetClassifier(epochs=1, random_state=0), x, y)


def test_more_refusals():
    x, y, _ = trials(count=6)
    with pytest.raises(UnsupportedInputError, match="SPDNetClassifier"):
        TSMNetClassifier().fit(covariances(x), y)
