"""Networks of SPD matrices as scikit-learn classifiers.

    from zoo.apps.estimators import SPDNetClassifier

    clf = SPDNetClassifier(front_end="augmented", order=3, lag=3)
    clf.fit(X, y)                      # X (n, channels, times), (n, c, c), or MNE's Epochs
    cross_val_score(clf, X, y, groups=session, cv=GroupKFold(3), params={"domains": session})

They clone, run in pipelines, grid searches and cross-validation with groups. `domains` names the
session or subject of each sample and goes to `fit`, `predict`, `predict_proba` and `score`, by
hand or by scikit-learn's metadata routing (`set_fit_request(domains=True)`). A new session is
adapted to without labels: `adapt(X, domains)` does it once, `transductive=True` whenever `predict`
meets samples of domains that `fit` has not seen.

Importing this module needs scikit-learn, the extra "signals".
"""

from typing import Any, Literal

from zoo.apps._estimator_base import NetworkClassifier
from zoo.apps._estimator_data import Samples
from zoo.errors import UnsupportedInputError
from zoo.layers.spd import FrontEnd, GyroMetric, SPDNorm

__all__ = ["GyroSPDClassifier", "NetworkClassifier", "SPDNetClassifier", "TSMNetClassifier"]

Precision = Literal["float32", "float64"]


class SPDNetClassifier(NetworkClassifier):
    """SPDNet on covariance matrices, with any batch norm of SPD matrices.

    Args:
        hidden_channels: rows of the matrices behind each BiMap; None for those of the input, once.
        input_norm: batch norm of the input: "riemannian", "lie_lem", "gbw", ...; None has none.
        batch_norm: batch norm behind each BiMap.
        front_end: for signals: "covariance", or "augmented" for that of delayed copies.
        order: delayed copies.
        lag: delay between them, in samples.
        shrinkage: of covariances towards a multiple of the identity.
        transductive: whether predictions adapt to domains that `fit` has not seen, by all samples
            handed over together.
        epochs: passes over the data.
        batch_size: samples in a batch.
        lr: learning rate of AdamW.
        weight_decay: of linear layers.
        label_smoothing: of the cross entropy.
        precision: "float64" or "float32".
        random_state: seed of weights and order.
    """

    architecture = "spdnet"

    def __init__(  # noqa: PLR0913
        self,
        *,
        hidden_channels: tuple[int, ...] | None = None,
        input_norm: SPDNorm | None = "riemannian",
        batch_norm: SPDNorm | None = None,
        front_end: FrontEnd = "covariance",
        order: int = 4,
        lag: int = 1,
        shrinkage: float = 0.0,
        transductive: bool = False,
        epochs: int = 60,
        batch_size: int = 64,
        lr: float = 1e-2,
        weight_decay: float = 1e-2,
        label_smoothing: float = 0.0,
        precision: Precision = "float64",
        random_state: Any = None,
    ) -> None:
        self.hidden_channels = hidden_channels
        self.input_norm = input_norm
        self.batch_norm = batch_norm
        self.front_end = front_end
        self.order = order
        self.lag = lag
        self.shrinkage = shrinkage
        self.transductive = transductive
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.precision = precision
        self.random_state = random_state

    def _config(self, samples: Samples) -> dict[str, Any]:
        config = self._matrix_config(samples)
        rows = samples.values.shape[1]
        if not samples.matrices and self.front_end == "augmented":
            rows *= self.order
        hidden = [rows] if self.hidden_channels is None else list(self.hidden_channels)
        return config | {"hidden_channels": hidden, "rectify_last": True}


class GyroSPDClassifier(NetworkClassifier):
    """GyroSPD: gyro operations and a gyro MLR.

    Args:
        hidden_channels: rows of the matrices inside; None for those of the input.
        num_layers: blocks of BiMap, norm or translation, ReEig.
        metric: "AIM", "LEM" or "LCM".
        input_norm: batch norm of the input; None has none.
        batch_norm: batch norm in each block; None has a gyro translation.
        front_end: see `SPDNetClassifier`, as the rest.
        order: see there.
        lag: see there.
        shrinkage: see there.
        transductive: see there.
        epochs: see there.
        batch_size: see there.
        lr: see there.
        weight_decay: see there.
        label_smoothing: see there.
        precision: see there.
        random_state: see there.
    """

    architecture = "gyrospd"

    def __init__(  # noqa: PLR0913
        self,
        *,
        hidden_channels: int | None = None,
        num_layers: int = 1,
        metric: GyroMetric = "LEM",
        input_norm: SPDNorm | None = "riemannian",
        batch_norm: SPDNorm | None = None,
        front_end: FrontEnd = "covariance",
        order: int = 4,
        lag: int = 1,
        shrinkage: float = 0.0,
        transductive: bool = False,
        epochs: int = 60,
        batch_size: int = 64,
        lr: float = 1e-2,
        weight_decay: float = 1e-2,
        label_smoothing: float = 0.0,
        precision: Precision = "float64",
        random_state: Any = None,
    ) -> None:
        self.hidden_channels = hidden_channels
        self.num_layers = num_layers
        self.metric = metric
        self.input_norm = input_norm
        self.batch_norm = batch_norm
        self.front_end = front_end
        self.order = order
        self.lag = lag
        self.shrinkage = shrinkage
        self.transductive = transductive
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.precision = precision
        self.random_state = random_state

    def _config(self, samples: Samples) -> dict[str, Any]:
        config = self._matrix_config(samples)
        rows = samples.values.shape[1] * (self.order if self.front_end == "augmented" else 1)
        hidden = rows if self.hidden_channels is None else self.hidden_channels
        return config | {
            "hidden_channels": hidden,
            "num_layers": self.num_layers,
            "metric": self.metric,
        }


class TSMNetClassifier(NetworkClassifier):
    """TSMNet on signals, with its domain-specific batch norm.

    Args:
        temporal_filters: filters along time.
        temporal_kernel: their length, in samples.
        spatial_filters: filters across channels.
        bimap_channels: rows of the matrices behind BiMap.
        batch_norm: "domain" is the paper's.
        transductive: see `SPDNetClassifier`, as the rest.
        epochs: see there.
        batch_size: see there.
        lr: see there.
        weight_decay: see there.
        label_smoothing: see there.
        precision: see there.
        random_state: see there.
    """

    architecture = "tsmnet"

    def __init__(  # noqa: PLR0913
        self,
        *,
        temporal_filters: int = 4,
        temporal_kernel: int = 25,
        spatial_filters: int = 40,
        bimap_channels: int = 20,
        batch_norm: SPDNorm | None = "domain",
        transductive: bool = False,
        epochs: int = 50,
        batch_size: int = 50,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        label_smoothing: float = 0.0,
        precision: Precision = "float32",
        random_state: Any = None,
    ) -> None:
        self.temporal_filters = temporal_filters
        self.temporal_kernel = temporal_kernel
        self.spatial_filters = spatial_filters
        self.bimap_channels = bimap_channels
        self.batch_norm = batch_norm
        self.transductive = transductive
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.precision = precision
        self.random_state = random_state

    def _config(self, samples: Samples) -> dict[str, Any]:
        if samples.matrices:
            raise UnsupportedInputError(
                "TSMNet takes signals (n, channels, times), not covariance matrices; take "
                "SPDNetClassifier for those"
            )
        domains = max(len(self.domains_), 1)
        batch = min(self.batch_size, len(samples.values))
        return self._common(samples) | {
            "num_domains": domains,
            "temporal_filters": self.temporal_filters,
            "temporal_kernel": self.temporal_kernel,
            "spatial_filters": self.spatial_filters,
            "bimap_channels": self.bimap_channels,
            "batch_norm": self.batch_norm,
            "domain_batch": batch / domains,
            "reference_batch": float(batch),
            "schedule_epochs": max(self.epochs - 10, 2),
        }
