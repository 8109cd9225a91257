r"""Any model on particles or points, made equivariant or invariant by an average over frames.

Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, Frame averaging for invariant and equivariant
network design, ICLR 2022, arXiv:2110.03336; stochastic frames: Duval et al., FAENet, ICML 2023,
arXiv:2305.05577; minimal frames: Lin, Helwig, Gui, Ji, ICML 2024, arXiv:2406.07598. It is
`zoo.layers.symmetry.FrameAveraging` around another architecture, made by its name, so that recipes,
checkpoints and certificates know it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from zoo import registry
from zoo.errors import ConfigError
from zoo.layers.symmetry import FrameAveraging, FrameKind, read_group
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register

Group = Literal["O(n)", "SO(n)", "E(n)", "SE(n)"]
Answer = Literal["invariant", "equivariant", "vector"]


@register("frame_averaged")
class FrameAveraged(SampleModel):
    """A model by name, averaged over the frames of its inputs.

    Args:
        base: architecture or preset of the inner model, on particles or points.
        config: its constructor arguments.
        group: under which the average is equivariant.
        frames: "all" elements of a frame; "stochastic", one drawn for each sample in training, all
            elsewhere; "minimal", as few as the sample's own symmetry allows.
        output: how the answer turns: "equivariant" as positions do, "vector" without moving with
            the origin, "invariant".
        vectors: fields of the samples that hold vectors.
        domain: of the samples; None takes the inner model's.
    """

    domain = "particles"
    accepts = ("points",)

    def __init__(
        self,
        *,
        base: str = "plain_gnn",
        config: Mapping[str, Any] | None = None,
        group: Group = "E(n)",
        frames: FrameKind = "all",
        output: Answer = "equivariant",
        vectors: Sequence[str] = ("vel",),
        domain: Literal["particles", "points"] | None = None,
    ) -> None:
        inner = _made(base, dict(config or {}))
        if domain not in (None, inner.domain):
            raise ConfigError(
                f"FrameAveraged: domain={domain!r}, but {base} takes samples of the domain "
                f"{inner.domain!r}; leave domain out"
            )
        if inner.domain not in ("particles", "points"):
            raise ConfigError(
                f"FrameAveraged: {base} takes samples of the domain {inner.domain!r}; by name "
                "there are frames of particles and points, in Python of every domain: "
                "zoo.layers.symmetry.FrameAveraging"
            )
        super().__init__(
            domain=inner.domain,
            sample_shape=inner.sample_shape,
            outputs=inner.outputs,
        )
        answer = inner.outputs[0]
        law = output if output != "equivariant" or read_group(group).moves else "vector"
        self.average = FrameAveraging(
            inner,
            group=group,
            output={"prediction": "invariant", answer: law},
            frames=frames,
            vectors=vectors,
        )
        own = getattr(inner, "examples", None)
        if own is not None:  # samples that the inner model takes
            self.examples = own
        #: what the contract suite measures, where vectors move with points: not under shifts
        bare = group.replace("E", "O") if output == "vector" else group
        self.symmetry = f"S(n) x {bare}" if "S(n)" in _factors(inner) else bare
        self.laws: dict[str, Literal["equivariant", "invariant"]] = {
            answer: "invariant" if output == "invariant" else "equivariant"
        }

    @property
    def base(self) -> SampleModel:
        """The inner model."""
        inner = self.average.model
        assert isinstance(inner, SampleModel)
        return inner

    def blocks(self) -> list[nn.Module]:
        """Those of the inner model."""
        return self.base.blocks()

    def check(self, batch: SampleBatch) -> None:
        """What the inner model refuses is refused."""
        self.base.check(batch)

    def replace_head(self, classes: int | Sequence[str]) -> None:
        """Puts a fresh head into the inner model."""
        self.base.replace_head(classes)
        self.classes = self.base.classes
        size = self.base.hparams["out_channels"]
        self.hparams["config"] = {**(self.hparams["config"] or {}), "out_channels": size}
        for output in self.outputs:
            self.normalisation.pop(output, None)

    def head_parameters(self) -> Any:
        """Names of the parameters of the inner model's head."""
        return (f"average.model.{name}" for name in self.base.head_parameters())

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """The inner model's outputs, averaged.

        Args:
            batch: what the inner model takes.
        """
        result: dict[str, Tensor] = self.average(batch)
        return result


def _made(base: str, config: dict[str, Any]) -> SampleModel:
    """The inner model, whose initial weights are drawn as usual."""
    spec, _ = registry.resolve(base)
    if spec.name == "frame_averaged":
        raise ConfigError("FrameAveraged: base is frame_averaged itself; name what it averages")
    inner = registry.create(base, **config)
    if not isinstance(inner, SampleModel):
        raise ConfigError(
            f"FrameAveraged: {base} is a model on {spec.domain}; by name there are frames of "
            "particles and points, in Python of every domain: zoo.layers.symmetry.FrameAveraging"
        )
    return inner


def _factors(model: SampleModel) -> list[str]:
    """The groups that a model's spec names."""
    declared = getattr(model, "symmetry", None) or registry.specs()[model.architecture].groups[0]
    return [part.strip() for part in str(declared).split(" x ")]
