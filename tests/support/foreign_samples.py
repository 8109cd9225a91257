"""Files that weights of any domain have never seen, with arrays under names of their own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.models._sample import SampleModel
from zoo.testing import samples as make
from zoo.testing.samples import Wanted

COUNT = 24
_NODES = 40


@dataclass
class Foreign:
    """A file, and how the verbs are told what is in it.

    Attributes:
        path: the file.
        keys: for `--key`.
        count: samples that `zoo predict` finds.
        settings: for `zoo finetune --set`.
    """

    path: Path
    keys: dict[str, str]
    count: int
    settings: dict[str, str] = field(default_factory=dict)

    def words(self, *, labels: bool) -> list[str]:
        """`--key` options, those of labels only where they are wanted."""
        kept = {k: v for k, v in self.keys.items() if labels or k != "y"}
        return [word for k, v in kept.items() for word in ("--key", f"{k}={v}")]


def write(model: SampleModel, folder: Path) -> Foreign:
    """A file that the model can take and learn from; its classes are not the model's."""
    kind = (model.manifest.task or {}).get("kind", "classification")
    build = {"graph": _graph, "particles": _particles, "field": _field, "points": _points}.get(
        model.domain, _plain
    )
    return build(model, kind, folder / "foreign.npz")


def _plain(model: SampleModel, kind: str, path: Path) -> Foreign:
    rng = np.random.default_rng(7)
    wanted = Wanted(model.domain, model.sample_shape, model.tokens, model.bases)
    own: Callable[..., Any] | None = getattr(model, "examples", None)
    found = own(rng, COUNT) if own is not None else make.make(wanted, rng, COUNT)
    x = np.stack([np.asarray(sample["x"]) for sample in found])
    arrays = {"measured": x if x.dtype.kind in "iu" else x.astype(np.float32)}
    keys = {"x": "measured", "y": "kind"}
    if "lengths" in found[0]:
        arrays["lengths"] = np.stack([np.asarray(sample["lengths"]) for sample in found])
    if kind == "regression":  # labels of the answers' shape: numbers, tensors, or one per step
        like = tuple(model(found[:1])[model.outputs[0]].shape[1:])
        like = like[:-1] if len(like) > 1 and like[-1] == 1 else like
        arrays["kind"] = rng.normal(size=(COUNT, *like)).astype(np.float32)
    else:
        arrays["kind"] = np.array(["left", "right"])[np.arange(COUNT) % 2]
    np.savez(path, **arrays)
    return Foreign(path, keys, COUNT)


def _field(model: SampleModel, kind: str, path: Path) -> Foreign:
    """Fields on a grid other than the usual one, whose places say how many axes it has."""
    rng = np.random.default_rng(7)
    channels, *axes = model.sample_shape or (1, None)
    grid = [9 + k if size is None else size for k, size in enumerate(axes)]
    x = rng.normal(size=(COUNT, channels or 1, *grid))
    outputs = model({"x": torch.tensor(x[:1]).to(model.dtype)})["prediction"].shape[1:]
    lines = [np.linspace(0, 1, size) for size in grid]
    arrays = {
        "measured": x.astype(np.float32),
        "where": np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).astype(np.float32),
        "kind": rng.normal(size=(COUNT, *outputs)).astype(np.float32),
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]
    # in the place of the training data, which takes minutes to make for some models
    old = path.with_name("old.npz")
    np.savez(old, a=arrays["measured"], u=arrays["kind"], grid=arrays["where"])
    keys = {"x": "measured", "y": "kind", "grid": "where"}
    return Foreign(path, keys, COUNT, {"old_data": str(old)})


def _graph(model: SampleModel, kind: str, path: Path) -> Foreign:
    """A tree whose nodes have random features; a model of one graph gets one of its size."""
    if kind == "regression":
        return _graphs(model, path)
    rng = np.random.default_rng(7)
    nodes = int(model.hparams.get("num_nodes", _NODES))
    child = np.arange(1, nodes)
    pairs = np.stack([child, (child - 1) // 3])
    width = (model.sample_shape or (4,))[-1] or 4
    arrays: dict[str, np.ndarray] = {
        "measured": rng.normal(size=(nodes, width)).astype(np.float32),
        "edge_index": np.concatenate([pairs, pairs[::-1]], axis=1),
    }
    keys = {"x": "measured"}
    if kind == "link_prediction":
        arrays["edge_label_index"] = pairs[:, :5]
    elif kind != "own":
        arrays["kind"] = np.array(["ill", "well"])[rng.integers(0, 2, nodes)]
        keys["y"] = "kind"
    np.savez(path, **arrays)
    return Foreign(path, keys, 1)


def _graphs(model: SampleModel, path: Path) -> Foreign:
    """Trees of several sizes, with numbers for each."""
    rng = np.random.default_rng(7)
    counts = rng.integers(2, 9, COUNT)
    pairs = [np.stack([np.arange(1, n), (np.arange(1, n) - 1) // 2]) for n in counts]
    width = (model.sample_shape or (4,))[-1] or 4
    arrays = {
        "measured": rng.normal(size=(counts.sum(), width)).astype(np.float32),
        "edge_index": np.concatenate([p for one in pairs for p in (one, one[::-1])], axis=1),
        "counts": counts,
        "edge_counts": 2 * (counts - 1),
        "kind": rng.normal(size=(COUNT, model.hparams["out_channels"])).astype(np.float32),
    }
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return Foreign(path, {"x": "measured", "y": "kind"}, COUNT)


def _particles(model: SampleModel, kind: str, path: Path) -> Foreign:
    """Samples of two to eight particles, with charges other than the usual ones."""
    rng = np.random.default_rng(7)
    counts = rng.integers(2, 9, COUNT)
    dim = (model.sample_shape or (3,))[-1] or 3
    where, speed = rng.normal(size=(2, counts.sum(), dim)).astype(np.float32)
    arrays = {"measured": where, "speed": speed, "counts": counts, "kind": where + speed / 2}
    arrays["e"] = rng.choice([-2.0, 0.0, 1.0], counts.sum()).astype(np.float32)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return Foreign(path, {"pos": "measured", "vel": "speed", "charge": "e", "y": "kind"}, COUNT)


def _points(model: SampleModel, kind: str, path: Path) -> Foreign:
    """Clouds of several sizes, as the model's own examples are; labels of its answers' shape."""
    rng = np.random.default_rng(7)
    found = model.examples(rng, COUNT)  # type: ignore[operator]
    like = model(found[:1])["prediction"].shape[1:]
    arrays = {
        "measured": np.concatenate([s.pos for s in found]).astype(np.float32),
        "before": np.concatenate([s.x for s in found]).astype(np.float32),
        "counts": np.array([len(s.pos) for s in found]),
    }
    arrays["kind"] = rng.normal(size=(len(arrays["measured"]), *like)).astype(np.float32)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return Foreign(path, {"pos": "measured", "x": "before", "y": "kind"}, COUNT)
