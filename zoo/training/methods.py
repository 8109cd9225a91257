"""How fine-tuning may go about it, as users write it: `full`, `replay:frac=0.3,frames=500`, ...

full                        everything is trained
head                        the trained head alone
freeze:N                    everything but the first N blocks
freeze:PATTERN[,PATTERN]    everything but the parameters of these names (shell patterns)
replay[:frac=,frames=]      full, with frames of the old training data in every batch
ewc[:lambda=,frames=]       full, with a spring on what mattered to the old data
adapter[:r=,kind=,...]      low-rank changes of the weights alone (`zoo.layers.adapters`), and they
                            are stored alone: kind=lora or tucker, r=8, scale=1, dropout=0,
                            targets=PATTERN+PATTERN (names of parameters; all that are worth it)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from zoo.errors import ConfigError, nearest
from zoo.layers.adapters import AdapterConfig

METHODS = ("full", "head", "freeze:N", "freeze:PATTERN", "replay", "ewc", "adapter")
_FRAMES = {"replay": 500, "ewc": 200}


@dataclass(frozen=True)
class Method:
    """A method, read.

    Attributes:
        text: as the user wrote it.
        kind: full, head, freeze, replay, ewc or adapter.
        blocks: the N of `freeze:N`, or None.
        patterns: the patterns of `freeze:PATTERN`.
        frames: of the old training data, for `replay` and `ewc`.
        fraction: part of each batch that is replayed.
        strength: the lambda of `ewc`.
        adapter: of `adapter`, which adapters.
    """

    text: str
    kind: str
    blocks: int | None = None
    patterns: tuple[str, ...] = field(default=())
    frames: int = 0
    fraction: float = 0.3
    strength: float = 1.0
    adapter: AdapterConfig | None = None

    @property
    def rate(self) -> float:
        """The peak learning rate where the user names none.

        Adapters need more than whole weights, and a core more than thin factors. What is higher
        learns more and forgets more.
        """
        if self.adapter is not None:
            return 5e-3 if self.adapter.kind == "lora" else 1.5e-2
        return 3e-3 if self.kind == "head" else 1e-3


def parse(text: str) -> Method:
    """Reads a method.

    Raises:
        ConfigError: an unknown method or option, or a value that can't be.
    """
    kind, colon, rest = text.partition(":")
    if kind in ("full", "head") and not colon:
        return Method(text, kind)
    if kind == "freeze" and rest:
        return _freeze(text, rest)
    if kind == "replay":
        values = _options(text, rest, {"frac": float, "frames": int})
        fraction, frames = values.get("frac", 0.3), values.get("frames", _FRAMES[kind])
        if not 0 < fraction < 1:
            raise ConfigError(f"method {text!r}: frac is the part of a batch, between 0 and 1")
        return Method(text, kind, frames=_count(text, frames), fraction=fraction)
    if kind == "ewc":
        values = _options(text, rest, {"lambda": float, "frames": int})
        strength, frames = values.get("lambda", 1.0), values.get("frames", _FRAMES[kind])
        if not 0 < strength < float("inf"):
            raise ConfigError(f"method {text!r}: lambda must be positive")
        return Method(text, kind, frames=_count(text, frames), strength=strength)
    if kind == "adapter":
        return Method(text, kind, adapter=_adapter(text, rest))
    raise ConfigError(f"no method {text!r}; {nearest(text, METHODS)}")


def _adapter(text: str, rest: str) -> AdapterConfig:
    """`kind=lora,r=8,targets=layers.*+readout.*` as a configuration."""
    words = dict(part.partition("=")[::2] for part in rest.split(",") if "=" in part)
    kind, targets = words.get("kind", AdapterConfig.kind), words.get("targets")
    numbers = ",".join(p for p in rest.split(",") if p.partition("=")[0] not in ("kind", "targets"))
    known: dict[str, Callable[[str], float]] = {"r": int, "scale": float, "dropout": float}
    values = _options(text, numbers, known | {"kind": float, "targets": float})
    patterns = () if targets is None else tuple(part.strip() for part in targets.split("+"))
    if not all(patterns):
        raise ConfigError(f"method {text!r}: targets are patterns such as 'layers.*+readout.*'")
    try:
        return AdapterConfig(
            kind=kind,
            rank=int(values.get("r", 8)),
            scale=values.get("scale", 1.0),
            dropout=values.get("dropout", 0.0),
            targets=patterns,
        )
    except ConfigError as error:
        raise ConfigError(f"method {text!r}: {error}") from None


def _freeze(text: str, rest: str) -> Method:
    if rest.lstrip("+-").isdigit():
        return Method(text, "freeze", blocks=int(rest))
    return Method(text, "freeze", patterns=split_patterns(rest, f"method {text!r}"))


def split_patterns(text: str, where: str) -> tuple[str, ...]:
    """Patterns between commas.

    Args:
        text: what the user wrote.
        where: the option, for the message.

    Raises:
        ConfigError: for an empty one.
    """
    patterns = tuple(part.strip() for part in text.split(","))
    if not all(patterns):
        raise ConfigError(
            f"{where}: give a number of blocks, such as 1 or -1, or patterns of parameter names, "
            "such as 'layers.*,readout.*'"
        )
    return patterns


def _options(text: str, rest: str, known: Mapping[str, Callable[[str], float]]) -> dict[str, float]:
    """`frac=0.3,frames=500` as numbers."""
    values: dict[str, float] = {}
    for part in rest.split(",") if rest else []:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in known or not equals:
            raise ConfigError(f"method {text!r}: no option {part!r}; {nearest(name, known)}")
        try:
            values[name] = known[name](value)
        except ValueError as error:
            raise ConfigError(f"method {text!r}: {name} must be a number, not {value!r}") from error
    return values


def _count(text: str, frames: float) -> int:
    if frames < 1:
        raise ConfigError(f"method {text!r}: frames must be at least 1")
    return int(frames)
