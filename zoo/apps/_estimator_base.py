"""The base of the scikit-learn classifiers; see `zoo.apps.estimators`."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import registry
from zoo._extras import require
from zoo.apps._estimator_data import Samples, numbered, read
from zoo.apps._estimator_fit import Training, logits, train
from zoo.errors import DataError, UnsupportedInputError
from zoo.models._sample import SampleModel

_base: Any = require("sklearn.base", extra="signals", package="scikit-learn")
_utils: Any = require("sklearn.utils", extra="signals", package="scikit-learn")
_checks: Any = require("sklearn.utils.validation", extra="signals", package="scikit-learn")


class NetworkClassifier(_base.ClassifierMixin, _base.BaseEstimator):  # type: ignore[misc]
    """What the classifiers share; not to be used by itself.

    Attributes:
        classes_: labels in the order of the probabilities.
        domains_: domains that `fit` has seen, empty without.
        model_: the fitted network.
        loss_curve_: mean loss of each epoch.
        scale_: by which samples are multiplied first.
        n_features_in_: channels.
    """

    architecture: str

    def fit(self, X: Any, y: Any = None, domains: Any = None) -> "NetworkClassifier":  # noqa: N803
        """Trains a fresh network.

        Args:
            X: signals (n, c, t), SPD matrices (n, c, c), MNE's `Epochs` or a list of them.
            y: a label for each sample; None takes the event codes of `Epochs`.
            domains: a label of the session or subject of each sample; None: all are one.

        Raises:
            UnsupportedInputError: for samples of another kind.
            DataError: for labels that don't fit, or only one class.
        """
        samples = read(X)
        labels = self._labels(samples, y)
        self.classes_, target = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                f"y has one class only, {self.classes_[0]!r}: a classifier needs two or more"
            )
        self.n_features_in_ = samples.values.shape[1]
        self._shape = samples.values.shape[1:] if samples.matrices else (self.n_features_in_, None)
        self.scale_ = samples.scale
        numbers = None
        self.domains_: list[Any] = []
        if domains is not None:
            numbers, self.domains_ = numbered(domains, len(labels))
        seed = int(_utils.check_random_state(self.random_state).randint(2**31 - 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = registry.create(self.architecture, **self._config(samples))
        assert isinstance(model, SampleModel)
        self.model_ = model.to(getattr(torch, self.precision))
        training = Training(
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            seed=seed,
        )
        batch = self._batch(samples, numbers)
        self.loss_curve_ = train(self.model_, batch, torch.as_tensor(target), training)
        return self

    def adapt(self, X: Any, domains: Any = None) -> "NetworkClassifier":  # noqa: N803
        """Refits the batch norms on unlabelled samples of new domains; weights stay.

        Args:
            X: all samples of the new domains that there are.
            domains: their domains; None takes them as the only domain that counts from now on.

        Raises:
            CapabilityError: for a network without batch norms.
        """
        _checks.check_is_fitted(self)
        samples = self._read(X)
        numbers, self.domains_ = self._numbers(samples, domains)
        self._refit(self.model_, samples, numbers, slice(None))
        return self

    def predict_proba(self, X: Any, domains: Any = None) -> np.ndarray:  # noqa: N803
        """Probabilities of the classes, (n, classes).

        Args:
            X: samples, as for `fit`.
            domains: their domains; None: normalised by the mean of all known statistics, or, with
                `transductive`, as one new domain.

        Raises:
            DataError: for a domain that `fit` and `adapt` have not seen, without `transductive`.
        """
        _checks.check_is_fitted(self)
        samples = self._read(X)
        numbers, known = self._numbers(samples, domains)
        new = None if numbers is None else numbers >= len(self.domains_)
        model = self.model_
        if self.transductive and (new is None or new.any()):
            model = copy.deepcopy(model)  # what is seen while predicting leaves no trace
            rows = slice(None) if new is None else new
            self._refit(model, samples, numbers, rows)
        elif new is not None and new.any():
            raise DataError(
                f"the domains {known[len(self.domains_) :]} are new; call adapt(X, domains) with "
                "their unlabelled samples, set transductive=True, or leave domains out"
            )
        out = torch.softmax(logits(model, self._batch(samples, numbers)).double(), dim=1)
        return np.asarray(out.numpy())

    def predict(self, X: Any, domains: Any = None) -> np.ndarray:  # noqa: N803
        """The most probable class of each sample; arguments as for `predict_proba`."""
        best = self.predict_proba(X, domains).argmax(1)
        return np.asarray(self.classes_[best])

    def score(
        self,
        X: Any,  # noqa: N803
        y: Any = None,
        sample_weight: Any = None,
        domains: Any = None,
    ) -> float:
        """Accuracy.

        Args:
            X: samples, as for `fit`.
            y: their labels; None takes the event codes of `Epochs`.
            sample_weight: weights in the mean.
            domains: as for `predict_proba`.
        """
        labels = self._labels(read(X), y)
        right = self.predict(X, domains) == labels
        return float(np.average(right, weights=sample_weight))

    def __sklearn_tags__(self) -> Any:
        """Samples have three axes; scikit-learn's checks for tables don't apply."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    def _config(self, samples: Samples) -> dict[str, Any]:
        """Arguments of the network."""
        return self._common(samples)

    def _common(self, samples: Samples) -> dict[str, Any]:
        return {
            "in_channels": samples.values.shape[1],
            "out_channels": len(self.classes_),
            "num_domains": len(self.domains_) or None,
        }

    def _matrix_config(self, samples: Samples) -> dict[str, Any]:
        """Of networks that take matrices, or signals through a front end."""
        signals = {
            "front_end": self.front_end,
            "order": self.order,
            "lag": self.lag,
            "shrinkage": self.shrinkage,
        }
        config = {"input_norm": self.input_norm, "batch_norm": self.batch_norm}
        return self._common(samples) | config | ({} if samples.matrices else signals)

    def _labels(self, samples: Samples, y: Any) -> np.ndarray:
        labels = samples.labels if y is None else np.asarray(y)
        if labels is None:
            raise DataError(
                f"{type(self).__name__} requires y to be passed, but the target y is None; only "
                "MNE's Epochs bring labels of their own"
            )
        if labels.shape != (len(samples.values),):
            raise DataError(
                f"y has the shape {labels.shape}; expected ({len(samples.values)},), one per sample"
            )
        return labels

    def _read(self, inputs: Any) -> Samples:
        samples = read(inputs)
        found = samples.values.shape[1:]
        if any(w not in (None, f) for w, f in zip(self._shape, found, strict=True)):
            spelled = " x ".join("any" if n is None else str(n) for n in self._shape)
            raise UnsupportedInputError(
                f"X has samples of {found[0]} x {found[1]}; {type(self).__name__} was fitted on "
                f"{spelled}"
            )
        if samples.matrices and self._shape[1] is None:
            raise UnsupportedInputError(
                f"X has matrices, of {found[0]} x {found[1]}; {type(self).__name__} was fitted on "
                "signals"
            )
        return samples

    def _numbers(self, samples: Samples, domains: Any) -> tuple[np.ndarray | None, list[Any]]:
        """The number of each sample's domain, and all domains, new ones last."""
        if domains is None:
            return None, self.domains_
        if not self.domains_:
            raise DataError(
                "domains are given, but fit has seen none: pass domains to fit too, or leave them "
                "out here"
            )
        return numbered(domains, len(samples.values), self.domains_)

    def _batch(
        self, samples: Samples, numbers: np.ndarray | None, rows: Any = slice(None)
    ) -> dict[str, Tensor]:
        x = torch.as_tensor(samples.values[rows] * self.scale_).to(self.model_.dtype)
        return {"x": x} if numbers is None else {"x": x, "domain": torch.as_tensor(numbers[rows])}

    def _refit(
        self, model: SampleModel, samples: Samples, numbers: np.ndarray | None, rows: Any
    ) -> None:
        """Adapts a network to some of the samples."""
        adapt: Any = model.adapt  # all networks here have it
        adapt(self._batch(samples, numbers, rows))
