"""The base of architectures on anything but atoms: from raw samples to named outputs.

An architecture implements `forward(batch)`. The base builds the batch of raw samples in the
model's own precision, refuses what does not fit, standardises inputs and scales predictions back,
and replaces the head where another number of classes is asked for.

    model = zoo.create("spdnet", in_channels=8, out_channels=4)
    model({"x": covariances})["logits"]
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from zoo.errors import (
    CapabilityError,
    ConfigError,
    DataError,
    DeviceError,
    UnsupportedInputError,
    nearest,
)
from zoo.models import _inputs
from zoo.models._inputs import FORMS, Raw, SampleBatch

_PRECISIONS = (torch.float32, torch.float64)
#: in `load(heads=)`: what stands before the number or the names of the classes of a fresh head
NEW = "new:"


class SampleModel(nn.Module):
    """A model on samples of one domain; architectures derive from it and implement `forward`.

    Args:
        domain: which domain this instance takes; the class's own if None. A front end that turns
            samples of another domain into its own (`accepts`) names that one.
        sample_shape: of the main field of one sample (`x`, or `pos`), None for an axis of any
            length: (8, 8) for matrices of 8 channels, (3,) or (None, 3) for what it is; for
            graph-like domains of one node's features. None: not checked.
        tokens: how many tokens there are, where `x` holds their numbers.
        outputs: names of what `forward` returns.

    Attributes:
        domain: the domain of the samples.
        accepts: other domains that instances can take, by a front end that an argument chooses.
        fields: that a sample must have; what the domain says if empty.
        head: the last module, which `make_head` makes anew; absent where there is none.
        classes: names of the classes, in the order of the logits.
        feature_names: of the inputs, where they have names.
        normalisation: constants by field or output: see `set_normalisation`.
        transductive: whether the model knows only the nodes that it was made for.
        bases: whether square matrices are bases or projectors, and not positive definite.
        manifest, checkpoint_name: of weights that were loaded.

    Raises:
        ConfigError: for a domain that the class does not take.
    """

    architecture: str
    hparams: dict[str, Any]
    domain: str
    accepts: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ()
    transductive: ClassVar[bool] = False
    bases: ClassVar[bool] = False
    #: whether the symmetry is exact
    exact: bool = True

    def __init__(
        self,
        *,
        domain: str | None = None,
        sample_shape: Sequence[int | None] | None = None,
        tokens: int | None = None,
        outputs: Sequence[str] = ("logits",),
    ) -> None:
        super().__init__()
        own = type(self).domain
        if domain not in (None, own, *self.accepts):
            raise ConfigError(
                f"{type(self).__name__} takes no samples of the domain {domain!r}: "
                f"{nearest(str(domain), (own, *self.accepts))}"
            )
        self.domain = own if domain is None else domain
        self.sample_shape = None if sample_shape is None else tuple(sample_shape)
        self.tokens = tokens
        self.outputs = tuple(outputs)
        self.classes: tuple[str, ...] | None = None
        self.feature_names: tuple[str, ...] | None = None
        self.normalisation: dict[str, dict[str, Any]] = {}
        self.manifest: Any = None
        self.checkpoint_name: str | None = None
        self.trust: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "make_head" in vars(cls):
            cls.make_head = _counted(cls.make_head)  # type: ignore[assignment,method-assign]

    # --- what an architecture provides -----------------------------------------------------

    def make_head(self, out_channels: int) -> nn.Module:
        """A fresh head with this many outputs, for `self.head`.

        Raises:
            ConfigError: for fewer than one output, in every architecture.
        """
        raise CapabilityError(f"{self._title()} has no head that could be replaced")

    def blocks(self) -> list[nn.Module]:
        """The parts in order from input to output, the head last; what `freeze:N` counts."""
        return list(self.children())

    def check(self, batch: SampleBatch) -> None:
        """Refuses batches for reasons of the architecture's own."""

    # --- calling -------------------------------------------------------------------------

    def __call__(self, inputs: Raw, **options: Any) -> dict[str, Tensor]:
        """Evaluates samples.

        Args:
            inputs: a batch in the model's precision, or raw samples: one or a list of them, as
                `zoo.datasets.open` gives them (PyG's `Data`; mappings of arrays or tensors with
                `x`), which are batched and cast.
            **options: for `forward`.

        Returns:
            Outputs by name: `logits` (samples or nodes, classes), `prediction`, `score` (pairs,)
            of the pairs in `edge_label_index`, `embedding`.

        Raises:
            UnsupportedInputError: for samples of another domain or shape.
            DataError: for a batch in another precision.
            DeviceError: in half precision.
        """
        batch = self.prepare(inputs)
        self._check(batch)
        result: dict[str, Tensor] = super().__call__(self._standardised(batch), **options)
        return {name: self._scaled_back(name, value) for name, value in result.items()}

    def prepare(self, inputs: Raw) -> SampleBatch:
        """The batch of the given samples, in the model's precision and on its device.

        A batch (PyG's `Batch`, or a dict of tensors with a leading axis) comes back as it is.
        """
        self._check_precision()
        rank = self._rank()
        if isinstance(inputs, dict) and self._is_batch(inputs, rank):
            return inputs
        if isinstance(inputs, Batch):
            return inputs
        dtype, device = self.dtype, self.device
        return _inputs.batch_of(inputs, self.domain, dtype, rank=rank, device=device)

    # --- capabilities ----------------------------------------------------------------------

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def head_parameters(self) -> Iterator[str]:
        """Names of the parameters of the head."""
        return (name for name, _ in self.named_parameters() if name.startswith("head."))

    def replace_head(self, classes: int | Sequence[str]) -> None:
        """Puts a head with fresh weights in the place of `self.head`.

        Args:
            classes: how many outputs, or the names of the classes.

        Raises:
            CapabilityError: if the architecture has no head to replace.
            ConfigError: for fewer than one output, or a name twice.
        """
        names = None if isinstance(classes, int) else tuple(classes)
        size = classes if isinstance(classes, int) else len(classes)
        if size < 1 or (names is not None and len(set(names)) != size):
            raise ConfigError(f"a head needs one or more classes, each once, not {classes!r}")
        head = self.make_head(size).to(dtype=self.dtype, device=self.device)
        self.head = head.train(self.training)
        self.hparams["out_channels"] = size
        self.classes = names
        for output in self.outputs:
            self.normalisation.pop(output, None)

    def keep_heads(self, wanted: Sequence[str]) -> None:
        """What `load(heads=)` asks for.

        Args:
            wanted: "head" keeps the head; "new:3" or "new:left,right,rest" replaces it by a fresh
                one with so many outputs, or for these classes.

        Raises:
            ConfigError: for anything else.
        """
        if list(wanted) == ["head"]:
            return
        if len(wanted) != 1 or not wanted[0].startswith(NEW):
            raise ConfigError(
                f"heads is {list(wanted)}; {self._title()} has one head: say heads='head' to keep "
                "it, 'new:3' for a fresh one with 3 outputs, 'new:a,b' for the classes a and b"
            )
        words = wanted[0].removeprefix(NEW)
        names = [word.strip() for word in words.split(",")]
        if "" in names:
            raise ConfigError(f"heads={wanted[0]!r} names no class somewhere; write new:a,b")
        self.replace_head(int(words) if words.isdecimal() else names)

    def set_classes(self, names: Sequence[str] | None) -> None:
        """Names the classes, in the order of the logits."""
        self.classes = None if names is None else tuple(names)

    def set_normalisation(self, **constants: tuple[Any, Any]) -> None:
        """Standardises inputs, and scales predictions back.

        A field named here enters `forward` as (value - mean) / std, an output leaves as
        value * std + mean. The constants are stored in the manifest, not among the weights.

        Args:
            **constants: field or output -> (mean, std), numbers or nested lists or arrays that
                broadcast against it: (features,) for vectors and nodes, (channels, 1, 1) for
                images.

        Raises:
            ConfigError: for a std that is not positive, or constants that are not finite.
        """
        for name, pair in constants.items():
            mean, std = (torch.as_tensor(value, dtype=torch.float64).cpu() for value in pair)
            if not bool(torch.isfinite(mean).all() & torch.isfinite(std).all() & (std > 0).all()):
                raise ConfigError(
                    f"the normalisation of {name} must be finite with a positive std; the smallest "
                    f"std is {float(std.min()):g}: take 1 for features that never change"
                )
            self.normalisation[name] = {"mean": mean.tolist(), "std": std.tolist()}

    # --- steps of a call --------------------------------------------------------------------

    def _title(self) -> str:
        return self.checkpoint_name or type(self).__name__

    def _rank(self) -> int:
        """Axes of one sample's main field."""
        if self.sample_shape is not None and not _inputs.graph_like(self.domain):
            return len(self.sample_shape)
        return 1 if self.tokens is not None else FORMS[self.domain].rank

    @staticmethod
    def _is_batch(inputs: Mapping[str, Any], rank: int) -> bool:
        x = inputs.get("x")
        tensors = all(isinstance(value, Tensor) for value in inputs.values())
        return tensors and isinstance(x, Tensor) and x.ndim > rank

    def _check_precision(self) -> None:
        half = torch.is_autocast_enabled(self.device.type)
        if self.dtype not in _PRECISIONS or half:
            found = "autocast" if half else str(self.dtype)
            raise DeviceError(
                f"{self._title()} runs in float32 or float64, not in {found}: on curved spaces "
                "half precision is lost near boundaries and repeated eigenvalues; use "
                "model.float(), and no autocast"
            )

    def _check(self, batch: SampleBatch) -> None:
        graphs = _inputs.graph_like(self.domain)
        if isinstance(batch, Data) is not graphs:
            raise UnsupportedInputError(
                f"{self._title()} takes the domain {self.domain!r}, {FORMS[self.domain].words}; "
                f"not a {type(batch).__name__}"
            )
        wanted = self.fields or FORMS[self.domain].fields
        for name in wanted:
            if _inputs.get(batch, name) is None:
                have = ", ".join(key for key, _ in _inputs.items(batch)) or "nothing"
                raise UnsupportedInputError(
                    f"the samples have no {name} (they have {have}); the domain {self.domain!r} "
                    f"needs {FORMS[self.domain].words}"
                )
        if wanted:
            self._check_main(wanted[0], _inputs.get(batch, wanted[0]))
        features = _inputs.get(batch, "x")
        if graphs and features is not None and features.is_floating_point():
            self._check_dtype("x", features)
        if self.domain == "graph" and isinstance(batch, Data):
            _inputs.check_indices(batch, self._title())
        self.check(batch)

    def _check_main(self, name: str, value: Tensor | None) -> None:
        """Shape and precision of the main field."""
        assert value is not None
        if self.tokens is not None:
            self._check_tokens(value)
        elif value.is_floating_point():
            self._check_dtype(name, value)
        elif not value.is_floating_point() and not name.endswith("_index"):
            raise DataError(
                f"the batch has {name} in {value.dtype}; expected {self.dtype}. Give raw samples "
                "(a list, or numpy arrays), which are cast"
            )
        shape = self.sample_shape
        found = tuple(value.shape[1:])
        if shape is None or name.endswith("_index"):
            return
        same = len(found) == len(shape)
        if not same or any(w not in (None, f) for w, f in zip(shape, found, strict=True)):
            spelled = ", ".join("any" if axis is None else str(axis) for axis in shape)
            what = "nodes" if _inputs.graph_like(self.domain) else "samples"
            raise UnsupportedInputError(
                f"{self._title()} takes {what} whose {name} has the shape ({spelled}), not {found}"
            )

    def _check_dtype(self, name: str, value: Tensor) -> None:
        if value.dtype != self.dtype:
            raise DataError(
                f"the batch has {name} in {value.dtype} but the model is {self.dtype}; give raw "
                "samples (a list, or numpy arrays), which are cast, or cast one of the two"
            )

    def _check_tokens(self, value: Tensor) -> None:
        limit = self.tokens or 0
        if value.dtype != torch.int64:
            raise UnsupportedInputError(
                f"{self._title()} takes numbers of tokens in int64, not {value.dtype}"
            )
        if value.numel() and not 0 <= int(value.min()) <= int(value.max()) < limit:
            raise UnsupportedInputError(
                f"the tokens lie in {int(value.min())}..{int(value.max())}; {self._title()} knows "
                f"0..{limit - 1}"
            )

    def _standardised(self, batch: SampleBatch) -> SampleBatch:
        changed = {}
        for name in self.normalisation:
            value = _inputs.get(batch, name)
            if value is not None and name not in self.outputs:
                mean, std = self._constants(name, value)
                changed[name] = (value - mean) / std
        return _inputs.replaced(batch, changed) if changed else batch

    def _scaled_back(self, name: str, value: Tensor) -> Tensor:
        if name not in self.normalisation:
            return value
        mean, std = self._constants(name, value)
        return value * std + mean

    def _constants(self, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        constants = self.normalisation[name]
        made = [like.new_tensor(constants[key]) for key in ("mean", "std")]
        return made[0], made[1]


def _counted(make_head: Callable[[Any, int], nn.Module]) -> Callable[[Any, int], nn.Module]:
    """`make_head` of an architecture, which refuses heads without outputs."""

    @functools.wraps(make_head)
    def make(self: Any, out_channels: int) -> nn.Module:
        if out_channels < 1:
            raise ConfigError(
                f"{type(self).__name__}: out_channels={out_channels}: a head needs at least one "
                "class or target"
            )
        return make_head(self, out_channels)

    return make
