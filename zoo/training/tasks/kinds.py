"""What can be learnt, in which domain: two tables, one row per kind of task and one per domain.

A new domain is a row of `DOMAINS`; a new kind of task a row of `KINDS`, with its loss in
`zoo.training.tasks.losses` and its metrics in `zoo.training.tasks.scores`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from zoo.errors import RecipeError, nearest
from zoo.training._task_section import TaskSection

Where = Callable[[str], str]
"""Takes a dotted key of a recipe and says where it stands."""


@dataclass(frozen=True)
class Kind:
    """A row: what a kind of task asks of a model and of the data.

    Attributes:
        output: name of the model's output; empty where the model has its own objective.
        losses: what the loss may be, the usual one first.
        metrics: what may be measured, the usual ones first.
        usual: how many of them are usual.
        label: name of the label, unless the task says another; empty where none is needed.
    """

    output: str
    losses: tuple[str, ...]
    metrics: tuple[str, ...]
    usual: int
    label: str


KINDS = {
    "classification": Kind(
        "logits",
        ("cross_entropy", "margin"),
        ("accuracy", "balanced_accuracy", "auroc", "f1"),
        2,
        "y",
    ),
    "regression": Kind(
        "prediction",
        ("mse", "mae", "huber", "geodesic", "relative_l2"),
        ("mae", "rmse", "relative_l2", "angle", "mse"),
        2,
        "y",
    ),
    "link_prediction": Kind(
        "score",
        ("binary_cross_entropy", "margin"),
        ("auroc", "average_precision", "accuracy"),
        2,
        "edge_label",
    ),
    "language_model": Kind("logits", ("cross_entropy",), ("perplexity", "accuracy"), 2, ""),
    "own": Kind("", (), (), 0, ""),
}


@dataclass(frozen=True)
class DomainTasks:
    """A row: what is learnt from samples of one domain.

    Attributes:
        kinds: of task.
        levels: what may have a label.
        metrics: kind -> usual metrics, where they are not those of the kind.
        channels: axis of `x` that standardisation goes by, counted in a batch; None where
            standardising would leave the domain.
    """

    kinds: tuple[str, ...]
    levels: tuple[str, ...]
    metrics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    channels: int | None = -1


_SAMPLES = ("classification", "regression", "own")
_BALANCED = {"classification": ("balanced_accuracy", "accuracy")}
DOMAINS = {
    "particles": DomainTasks(("regression", "own"), ("node",), {"regression": ("rmse", "mae")}),
    "points": DomainTasks(_SAMPLES, ("sample", "node")),
    "complex": DomainTasks(_SAMPLES, ("sample", "node"), channels=None),
    "graph": DomainTasks(
        ("classification", "regression", "link_prediction", "own"),
        ("graph", "node", "edge"),
        {"classification": ("accuracy", "auroc"), "regression": ("mae", "rmse")},
    ),
    "matrix": DomainTasks(_SAMPLES, ("sample",), _BALANCED, channels=None),
    "signal": DomainTasks(_SAMPLES, ("sample",), _BALANCED, channels=1),
    "tensor": DomainTasks(_SAMPLES, ("sample",), channels=None),
    "image": DomainTasks(_SAMPLES, ("sample",), channels=1),
    "field": DomainTasks(_SAMPLES, ("sample",), {"regression": ("relative_l2", "rmse")}, 1),
    "sequence": DomainTasks((*_SAMPLES, "language_model"), ("sample", "node")),
    "vector": DomainTasks(_SAMPLES, ("sample",)),
}


@dataclass(frozen=True)
class Task:
    """A task, resolved for a domain.

    Attributes:
        section: as the recipe says it.
        domain: of the samples.
        kind: its row.
        loss: name of the loss.
        metrics: names of what is measured.
        score: the metric, or "loss", that chooses the weights.
        label: name of the label; empty where none is needed.
    """

    section: TaskSection
    domain: str
    kind: Kind
    loss: str
    metrics: tuple[str, ...]
    score: str
    label: str

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.section.kind

    @property
    def classifies(self) -> bool:
        """Whether rows have classes."""
        return self.kind.output == "logits" and self.name == "classification"


def resolve_task(section: TaskSection, domain: str, where: Where) -> Task:
    """Fills in what a task leaves to its domain.

    Args:
        section: of the recipe.
        domain: of the model's samples.
        where: see `Where`.

    Raises:
        RecipeError: a kind, level, loss, metric or score that the domain or the kind has not.
    """
    row = DOMAINS[domain]
    _allowed(section.kind, row.kinds, "task.kind", f"the domain {domain!r}", where)
    kind = KINDS[section.kind]
    if section.level is not None:
        _allowed(section.level, row.levels, "task.level", f"the domain {domain!r}", where)
    loss: str = section.loss.kind or (kind.losses or ("objective",))[0]
    what = f"the kind {section.kind!r}"
    if section.loss.kind is not None:
        _allowed(loss, kind.losses, "task.loss.kind", what, where)
    metrics = tuple(section.metrics) or row.metrics.get(section.kind, kind.metrics[: kind.usual])
    for name in metrics:
        if kind.metrics:
            _allowed(name, kind.metrics, "task.metrics", what, where)
    score = section.score or next(iter(metrics), "loss")
    if score != "loss" and section.kind != "own":
        _allowed(score, (*metrics, "loss"), "task.score", "this task", where)
    if section.normalise.inputs != "none" and row.channels is None:
        raise RecipeError(
            f"{where('task.normalise.inputs')}: samples of the domain {domain!r} can't be "
            "standardised without leaving it; set it to none"
        )
    if section.normalise.targets != "none" and section.kind != "regression":
        raise RecipeError(
            f"{where('task.normalise.targets')}: only regression has targets to standardise"
        )
    return Task(section, domain, kind, loss, metrics, score, section.target or kind.label)


def _allowed(name: str, known: tuple[str, ...], key: str, what: str, where: Where) -> None:
    if name not in known:
        words = ", ".join(known) or "none"
        hint = nearest(name, known)
        raise RecipeError(
            f"{where(key)}: {what} has no {name!r} (it has {words})"
            + (f"; {hint}" if hint.startswith("did") else "")
        )
