"""The section `reproduce` of a recipe: rows of published tables that its runs can be held against.

    reproduce:
      - row: o5-hulls.256.glgenn
        paper: Filimoshina, Shirokov, GLGENN, arXiv:2506.09625
        table: experiments/convex_hull.csv of the authors' code, 256 samples
        metric: mse
        published: { mean: 16.94, std: 0.40, trials: 5 }
        seeds: 5
        changes: { trainer: { max_steps: 512 } }

The run of a row is the recipe, changed by `changes`, then by the chosen tier of the recipe, then by
the row's own entry for that tier.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from zoo.training._sections import Count, NonNegative, Section

Tier = Literal["smoke", "short", "full"]
RowName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9_.+-]*$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
#: what a row can be held against; each has exactly one
REFERENCES = ("published", "limit", "against")


class Published(Section):
    """What the paper says, in the unit of `metric` (per cent, with `percent`).

    `std` is the standard deviation over `trials` runs; leave out what the paper doesn't say.
    """

    mean: Number
    std: NonNegative | None = None
    trials: Count | None = None


class Against(Section):
    """Another row, which is run at the same tier: ours must be better than its result by `margin`
    at least. A negative margin is how much worse ours may be."""

    row: RowName
    margin: Number = 0.0


class ReproduceRow(Section):
    """One row of a published table, or one comparison of our own.

    `row` is its name, such as `o5-hulls.256.glgenn`; `paper` and `table` say where the number
    stands. `metric` is measured on `split` with the weights that are best on the validation split,
    over `seeds` runs (seeds 0, 1, ...; or over the first `folds` divisions of the data), and their
    `statistic` is held against one of

    - `published`: not worse than its mean by more than two standard deviations, or by 5 %;
    - `limit`: not worse than this number, a goal of our own;
    - `against`: better than another row by a margin.

    `scale: target_variance` divides the metric by the variance of the targets of `split`, so that
    an MSE of 1 is that of predicting the mean; `percent` multiplies it by 100.

    `redraw` also draws the data anew for each seed: it becomes `data.settings.seed`, too.

    `tier` is the tier whose run is the row; a run of any other tier is shown as what it is. The
    tier `full` is the recipe itself where the recipe has none of that name. `changes` make the row
    out of the recipe (size of the data, steps, batch), nested or with dotted keys; `tiers` adds to
    that in one tier. `note` says what sets the run apart, such as a longer one than published; it
    stands with every result.
    """

    row: RowName
    paper: str = ""
    table: str = ""
    metric: str
    split: Literal["test", "val"] = "test"
    statistic: Literal["mean", "median"] = "mean"
    scale: Literal["none", "target_variance"] = "none"
    percent: bool = False
    published: Published | None = None
    limit: Number | None = None
    against: Against | None = None
    seeds: Count = 3
    folds: Count | None = None
    redraw: bool = False
    tier: Tier = "full"
    changes: dict[str, Any] = {}
    tiers: dict[Tier, dict[str, Any]] = {}
    note: str = ""

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        given = [name for name in REFERENCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"{self.row} needs one of {', '.join(REFERENCES)} to be held against, not "
                f"{' and '.join(given) or 'none'}"
            )
        if self.redraw and self.folds is not None:
            raise ValueError(f"{self.row} has folds of the same data; leave out redraw")
        if self.published is not None and not (self.paper and self.table):
            raise ValueError(f"{self.row}: say in paper and table where the number is published")
        return self
