"""Causal Grassmann flow: a sequence model that mixes by planes instead of attention.

Zhang, Attention Is Not What You Need: Grassmann Flows as an Attention-Free Alternative for Sequence
Modeling, arXiv:2512.19428. Layers of

    h <- norm(h + mix(h)),  h <- norm(h + FFN(h))

with the causal mixing of `zoo.layers.grassmann.mixing` and a feed-forward network with GELU. There
is no published code; positions are learnt vectors, norms stand behind the residual, and sizes other
than the offsets are chosen here. `mixer="attention"` puts causal multi-head attention in the place
of the planes, for comparison.

Nothing that leaves at step t depends on later steps. For classification the mean over all steps is
taken, so that later steps are read as well.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.layers.grassmann import OFFSETS, PluckerMixing
from zoo.models._inputs import SampleBatch
from zoo.models._sample import SampleModel
from zoo.registry import register


class CausalAttention(nn.Module):
    """Multi-head attention to the same and earlier steps.

    Args:
        channels: of the sequence.
        heads: a divisor of it.

    Raises:
        ConfigError: if it isn't.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise ConfigError(f"{channels} channels can't be shared out among {heads} heads")
        self.heads = heads
        self.inner = nn.Linear(channels, 3 * channels)
        self.outer = nn.Linear(channels, channels)

    def forward(
        self, h: Float[Tensor, "batch time channels"]
    ) -> Float[Tensor, "batch time channels"]:
        """The mixed sequence."""
        parts = self.inner(h).unflatten(-1, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # (batch, heads, time, channels per head)
        mixed = nnf.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.outer(mixed.transpose(1, 2).flatten(2))
        return out


class FlowLayer(nn.Module):
    """Mixing and a feed-forward network, each with a residual and a norm.

    Args:
        channels: of the sequence.
        mixing: the module that mixes steps.
        expansion: width of the feed-forward network, in multiples of the channels.
        dropout: rate.
    """

    def __init__(self, channels: int, mixing: nn.Module, *, expansion: int, dropout: float) -> None:
        super().__init__()
        self.mixing = mixing
        self.first, self.second = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.Linear(channels, expansion * channels),
            nn.GELU(),
            nn.Linear(expansion * channels, channels),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, h: Float[Tensor, "batch time channels"]
    ) -> Float[Tensor, "batch time channels"]:
        """The sequence behind the layer."""
        h = self.first(h + self.dropout(self.mixing(h)))
        out: Tensor = self.second(h + self.dropout(self.ffn(h)))
        return out


@register("grassmann_flow")
class GrassmannFlow(SampleModel):
    """Classifies sequences, or predicts the next token of each step.

    Args:
        out_channels: classes, or tokens of the language model.
        vocab_size: numbers of tokens are below it; None takes sequences of vectors.
        in_channels: length of these vectors; None takes tokens.
        hidden_channels: of the sequence inside.
        reduced_channels: r; the planes lie in R^r.
        num_layers: how many.
        offsets: how far back the pairs reach.
        task: "classification", or "language_model": logits for every step.
        mixer: "grassmann", or "attention" for comparison.
        heads: of the attention.
        expansion: width of the feed-forward networks, in multiples of `hidden_channels`.
        max_length: longest sequence.
        dropout: rate.

    Raises:
        ConfigError: unless one of `vocab_size` and `in_channels` is given; for sizes that don't
            fit.
    """

    domain = "sequence"

    def __init__(  # noqa: PLR0913
        self,
        *,
        out_channels: int,
        vocab_size: int | None = None,
        in_channels: int | None = None,
        hidden_channels: int = 256,
        reduced_channels: int = 32,
        num_layers: int = 6,
        offsets: Sequence[int] = OFFSETS,
        task: Literal["classification", "language_model"] = "classification",
        mixer: Literal["grassmann", "attention"] = "grassmann",
        heads: int = 4,
        expansion: int = 4,
        max_length: int = 512,
        dropout: float = 0.0,
    ) -> None:
        if (vocab_size is None) == (in_channels is None):
            raise ConfigError(
                "give vocab_size for sequences of tokens, or in_channels for sequences of vectors; "
                f"found {vocab_size} and {in_channels}"
            )
        shape = (None,) if in_channels is None else (None, in_channels)
        super().__init__(sample_shape=shape, tokens=vocab_size)
        self.task, self.max_length, self.hidden_channels = task, max_length, hidden_channels
        self.embedding: nn.Module
        if vocab_size is not None:
            self.embedding = nn.Embedding(vocab_size, hidden_channels)
        else:
            assert in_channels is not None
            self.embedding = nn.Linear(in_channels, hidden_channels)
        self.position = nn.Parameter(0.02 * torch.randn(max_length, hidden_channels))
        self.layers = nn.ModuleList()
        for _ in range(num_layers):
            mixing: nn.Module
            if mixer == "attention":
                mixing = CausalAttention(hidden_channels, heads)
            else:
                mixing = PluckerMixing(
                    hidden_channels, reduced_channels=reduced_channels, offsets=offsets
                )
            layer = FlowLayer(hidden_channels, mixing, expansion=expansion, dropout=dropout)
            self.layers.append(layer)
        self.head = self.make_head(out_channels)

    def check(self, batch: SampleBatch) -> None:
        """Refuses sequences that are empty or too long."""
        length = batch["x"].shape[1]
        if not 1 <= length <= self.max_length:
            raise UnsupportedInputError(
                f"sequences of {length} steps; this model takes 1 to {self.max_length} (max_length)"
            )

    def forward(self, batch: SampleBatch) -> dict[str, Tensor]:
        """`logits` (samples, classes), or (samples, steps, tokens) of a language model."""
        x = batch["x"]
        h = self.embedding(x) + self.position[: x.shape[1]]
        for layer in self.layers:
            h = layer(h)
        if self.task == "classification":
            h = _mean(h, batch.get("lengths"))
        return {"logits": self.head(h)}

    def make_head(self, out_channels: int) -> nn.Module:
        """A linear map."""
        return nn.Linear(self.hidden_channels, out_channels)

    def blocks(self) -> list[nn.Module]:
        """Embedding, layers, head."""
        return [self.embedding, *self.layers, self.head]


def _mean(h: Tensor, lengths: Tensor | None) -> Tensor:
    """Mean over the steps of each sequence, padding left out."""
    if lengths is None:
        return h.mean(1)
    time = torch.arange(h.shape[1], device=h.device)
    inside = (time < lengths[:, None])[..., None].to(h.dtype)
    return (h * inside).sum(1) / inside.sum(1).clamp_min(1)
