"""The sections of a recipe: what each key means, in which unit, and its default."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)

from zoo.datasets._query import spelled
from zoo.errors import nearest
from zoo.layers.atomistic import SCALARS


def _some(count: int) -> int:
    if count == 0:
        raise ValueError("0 neighbours: say how many are drawn, or -1 for all")
    return count


#: what a loss can have a term for beside energy, forces and stress
PROPERTIES = ("dipole", "polarizability", "charges", *SCALARS)
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Neighbors = Annotated[int, Field(ge=-1), AfterValidator(_some)]
Duration = Annotated[str, StringConstraints(pattern=r"^\d{1,3}:[0-5]\d:[0-5]\d$")]


class Section(BaseModel):
    """A part of a recipe: no unknown keys, no coercion, no later change.

    Attributes:
        later: keys that came after the first release. They are written only where they differ
            from their defaults, so that the digest of an older recipe stays what it was.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unused(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = {k for k in self.later if getattr(self, k) == type(self).model_fields[k].default}
        return {key: value for key, value in write(self).items() if key not in unused}


class ModelSection(Section):
    """Which architecture or preset, and the constructor arguments that differ from it."""

    name: str
    config: dict[str, Any] = {}


class DataSection(Section):
    """Arguments of `zoo.datasets.open`: a shipped set by name, or a file.

    `domain` says what the file holds, where its content does not decide. `settings` are those of a
    set that is computed when it is opened, such as `{train: 1024}`.
    """

    later = frozenset({"domain", "settings"})

    source: str
    settings: dict[str, Any] = {}
    keys: dict[str, str | None] | None = None
    units: dict[str, str] | None = None
    splits: dict[str, Any] | None = None
    domain: str | None = None

    @property
    def name(self) -> str:
        """The source with its settings, as `zoo.datasets.open` takes them."""
        return spelled(self.source, self.settings)


class Term(Section):
    """One term of the loss, in powers of eV and Å: `mse`, `mae`, or `huber` with its `delta`."""

    kind: Literal["mse", "mae", "huber"] = "mse"
    weight: NonNegative = 1.0
    delta: Positive = 0.01


class EnergyTerm(Term):
    """The energy's term: errors per structure, or divided by the number of atoms."""

    per: Literal["atom", "structure"] = "atom"


def _known_properties(terms: dict[str, Term]) -> dict[str, Term]:
    for name in terms:
        if name not in PROPERTIES:
            raise ValueError(f"{name!r} is no property: {nearest(name, PROPERTIES)}")
    return terms


class LossSection(Section):
    """The terms; one that is left out is not trained on, and its label may be absent.

    `properties` has a term for each property, by the name of its label and of the model's head:
    `dipole`, `polarizability`, `charges` (means over components or atoms), and scalars such as
    `homo`, `gap`, `alpha`, `u0` (errors of the whole property). `heads` weighs the losses of
    several energy heads, by their names; 1 where nothing is said.
    """

    later = frozenset({"heads", "properties"})

    properties: Annotated[dict[str, Term], AfterValidator(_known_properties)] = {}

    heads: dict[str, NonNegative] = {}
    energy: EnergyTerm | None = None
    forces: Term | None = None
    stress: Term | None = None


class ReferencesSection(Section):
    """Energy of each element on its own, eV: fitted by ridge regression, given, or none."""

    kind: Literal["ridge", "given", "none"] = "ridge"
    values: dict[str, float] | None = None
    l2: NonNegative = 1e-6


class NormaliseSection(Section):
    """Scale of the network's raw output: the root mean square of the training forces, or 1.

    `properties`, of scalar ones: `references` takes the best constant per element off those that
    are sums over the atoms, the mean off the others; `standard` also divides by the standard
    deviation of what is left.
    """

    later = frozenset({"properties"})

    scale: Literal["forces_rms", "none"] = "forces_rms"
    properties: Literal["standard", "references", "none"] = "standard"


class OptimizerSection(Section):
    """Arguments of the optimiser. Vectors and scalars (biases, norms) are never decayed.

    `layer_decay` sets the learning rate by depth: the last block learns at `lr`, each block before
    it at `layer_decay` times the rate of the next; null trains all of them at `lr`.

    `momentum` and `nesterov` are those of `sgd` and `riemannian_sgd`. The two Riemannian optimisers
    are geoopt's: they keep parameters that are points of a manifold on it, and never decay them.
    `lr_scale` multiplies the rate of the parameters whose names fit a shell pattern, such as
    `{"*.bias": 0.1}`; the first pattern that fits counts.
    """

    later = frozenset({"layer_decay", "momentum", "nesterov", "lr_scale"})

    name: Literal["adamw", "adam", "sgd", "riemannian_adam", "riemannian_sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    amsgrad: bool = False
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    lr_scale: dict[str, NonNegative] = {}


class ScheduleSection(Section):
    """Learning rate over time. `cosine` and `exponential` reach `final` (a fraction of `lr`) when
    `max_epochs`, `max_steps` or `max_time` is up, whichever comes first; `plateau` multiplies by
    `factor` after `patience` validations without improvement, down to `final`; `milestones`
    multiplies by `factor` after each of the `milestones`, parts of the run such as
    `[0.3, 0.6, 0.8]`."""

    later = frozenset({"milestones"})

    kind: Literal["constant", "cosine", "plateau", "exponential", "milestones"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    final: Fraction = 0.01
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Count = 10
    milestones: list[Annotated[float, Field(gt=0, lt=1)]] = []


class EmaSection(Section):
    """Exponential moving average of the weights: validated, and kept at the end."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999


class EarlyStopping(Section):
    """Stop after this many validations without improvement."""

    patience: Count


class TrainerSection(Section):
    """How long, how much at once, on which processes.

    The run ends after `max_epochs`, `max_steps` or `max_time`, whichever is reached first.

    `batch_size` counts what `batch_by` names, over all processes: so many structures in each step,
    or at most so many atoms, or edges of the neighbour lists (both directions); a structure that
    exceeds the limit by itself is refused. `eval_batch_size` counts structures in each process.

    `neighbors`, for one graph whose nodes are divided: a step takes `batch_size` labelled nodes, of
    each of them at most the first number of neighbours, of each of these at most the second, and so
    on, drawn anew in each pass; -1 takes all. Null takes the whole graph in each step, as
    validation always does.

    `num_workers` processes beside each trainer prepare batches ahead (0: none, the trainer does);
    samples and their neighbour lists are kept up to `cache_mb` megabytes per trainer, all workers
    together, and prepared anew beyond that. Neither changes a result.

    `compile` runs a model that has compiled layers with compiled loops, small batches too; without
    a C compiler it warns and runs as usual. Results agree up to rounding.

    `strategy`: `ddp` gives every process the whole model and a share of each batch; `fsdp` also
    divides parameters, gradients and optimiser state over the processes (32-true only); `auto` is
    `ddp` for several processes.
    """

    later = frozenset({"batch_by", "num_workers", "cache_mb", "max_steps", "compile", "neighbors"})

    max_epochs: Count = 1000
    max_steps: Count | None = None
    max_time: Duration | None = None
    batch_size: Count = 8
    eval_batch_size: Count = 64
    val_every: Count = 1
    clip: Positive | None = 10.0
    devices: Count = 1
    num_nodes: Count = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    precision: Literal["32-true", "64-true"] = "32-true"
    seed: Annotated[int, Field(ge=0)] = 0
    early_stopping: EarlyStopping | None = None
    deterministic: bool = False
    neighbors: Annotated[list[Neighbors], Field(min_length=1)] | None = None
    batch_by: Literal["structures", "atoms", "edges"] = "structures"
    num_workers: Annotated[int, Field(ge=0, le=64)] = 0
    cache_mb: Annotated[int, Field(ge=0)] = 2048
    compile: bool = False


class PublishSection(Section):
    """What the manifest and the card say of the weights beyond what is measured."""

    license: str = "Apache-2.0"
    limits: list[str] = []
    citation: list[str] = []
