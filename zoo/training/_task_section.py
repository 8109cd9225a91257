"""The section `task` of a recipe: what is learnt, in every domain but atoms."""

from typing import Annotated, Literal

from pydantic import Field

from zoo.training._sections import NonNegative, Positive, Section

Standard = Literal["none", "standard"]


class TaskLoss(Section):
    """The loss, a mean over the labelled rows (or samples, pairs, tokens) of a batch.

    Kinds: `cross_entropy` (classes; `label_smoothing`, and `class_weights`: a list, or `balanced`,
    inverse to the frequencies among the training labels), `margin` (classes: the mean over the
    other classes k of max(0, `margin` - s_y + s_k); pairs: of max(0, `margin` - s+ + s-) for each
    edge and its negatives), `binary_cross_entropy` (pairs), `mse`, `mae`, `huber` (with `delta`),
    `geodesic` (rotation matrices: the squared angle between them, rad²), `relative_l2` (the length
    of a sample's error over that of its target). Of standardised targets, errors are counted in
    standard deviations.
    """

    kind: (
        Literal[
            "cross_entropy",
            "margin",
            "binary_cross_entropy",
            "mse",
            "mae",
            "huber",
            "geodesic",
            "relative_l2",
        ]
        | None
    ) = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    class_weights: Literal["balanced"] | list[NonNegative] | None = None
    margin: Positive = 1.0
    delta: Positive = 1.0


class TaskNormalise(Section):
    """Constants that travel with the weights, from the training split: mean and standard deviation
    of each feature of `x` (of each channel, for images and signals) and of each target."""

    inputs: Standard = "none"
    targets: Standard = "none"


class TaskSection(Section):
    """What a model on samples of any domain but atoms learns.

    `kind`: `classification` (output `logits`), `regression` (`prediction`), `link_prediction`
    (`score`, from splits of kind `edges`), `language_model` (`logits` of the next token), `own`
    (the model's own `objective`). `level`: what has a label: a sample, a graph, a node, an edge;
    what the data hold if null. `target` names the label, `y` or `edge_label`.

    `metrics` are those of the design's table for the domain if empty; `score` is the metric, or
    `loss`, whose best value on the validation split chooses the weights: the first metric if null
    (ties go to the lower loss).

    `negatives`: non-edges per edge and step of link prediction, drawn anew in each pass.
    `domain` names the column whose values number the domains of the samples (sessions, subjects);
    null takes the data's own. `adapt`: before a split is evaluated, the model is shown its inputs,
    without labels (`model.adapt`), so that statistics of domains that it was not trained on are
    set; the report then has the metrics without that, too.
    """

    kind: Literal["classification", "regression", "link_prediction", "language_model", "own"]
    level: Literal["sample", "node", "edge", "graph"] | None = None
    target: str | None = None
    loss: TaskLoss = TaskLoss()
    metrics: list[str] = []
    score: str | None = None
    normalise: TaskNormalise = TaskNormalise()
    negatives: Annotated[int, Field(ge=1, le=1000)] = 1
    domain: str | None = None
    adapt: bool = False
