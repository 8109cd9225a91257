"""Weights in the layout of the authors' N-body EGNN, against the equations written out here."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

import zoo
from zoo.errors import ConfigError, StateMismatchError, UnknownNameError

LAYERS, WIDTH = 3, 6
CONFIG = {"n_layers": LAYERS, "hidden_nf": WIDTH, "in_node_nf": 1, "in_edge_nf": 2}


def weights(seed: int = 0) -> dict[str, Tensor]:
    """Random values for every name that the authors' state dict has, and its shape."""
    rng = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (WIDTH, 1),
        "embedding.bias": (WIDTH,),
    }
    for k in range(LAYERS):
        maps = {
            "edge_mlp.0": (WIDTH, 2 * WIDTH + 3),
            "edge_mlp.2": (WIDTH, WIDTH),
            "node_mlp.0": (WIDTH, 2 * WIDTH),
            "node_mlp.2": (WIDTH, WIDTH),
            "coord_mlp.0": (WIDTH, WIDTH),
            "coord_mlp.2": (1, WIDTH),
            "coord_mlp_vel.0": (WIDTH, WIDTH),
            "coord_mlp_vel.2": (1, WIDTH),
        }
        for name, shape in maps.items():
            shapes[f"gcl_{k}.{name}.weight"] = shape
            if name != "coord_mlp.2":
                shapes[f"gcl_{k}.{name}.bias"] = shape[:1]
    return {
        name: 0.4 * torch.randn(shape, generator=rng, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def linear(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    bias = state.get(f"{name}.bias")
    out = x @ state[f"{name}.weight"].T
    return out if bias is None else out + bias


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def reference(state: Mapping[str, Tensor], pos: Tensor, vel: Tensor, charge: Tensor) -> Tensor:
    """Satorras et al., equations 3, 6, 7 and the velocity term, all pairs at once."""
    n = len(pos)
    off = ~torch.eye(n, dtype=torch.bool)
    start = (pos[:, None] - pos[None]).pow(2).sum(-1, keepdim=True)
    product = (charge[:, None] * charge[None])[..., None]
    x, h = pos, linear(state, "embedding", vel.norm(dim=1, keepdim=True))
    for k in range(LAYERS):
        part = f"gcl_{k}"
        away = x[:, None] - x[None]
        pairs = [h[:, None].expand(n, n, -1), h[None].expand(n, n, -1)]
        pairs += [away.pow(2).sum(-1, keepdim=True), product, start]
        m = silu(linear(state, f"{part}.edge_mlp.0", torch.cat(pairs, dim=-1)))
        m = silu(linear(state, f"{part}.edge_mlp.2", m)) * off[..., None]
        scale = linear(state, f"{part}.coord_mlp.2", silu(linear(state, f"{part}.coord_mlp.0", m)))
        drift = silu(linear(state, f"{part}.coord_mlp_vel.0", h))
        x = x + (away * scale * off[..., None]).sum(1) / (n - 1)
        x = x + linear(state, f"{part}.coord_mlp_vel.2", drift) * vel
        update = silu(linear(state, f"{part}.node_mlp.0", torch.cat([h, m.sum(1)], dim=-1)))
        h = h + linear(state, f"{part}.node_mlp.2", update)
    return x


def test_outputs_are_those_of_the_layout() -> None:
    state = weights()
    model = zoo.convert("egnn-nbody", state, CONFIG, source="egnn")
    assert model.hparams["num_layers"] == LAYERS and model.dtype == torch.float64
    rng = torch.Generator().manual_seed(1)
    for count in (5, 3):
        pos, vel = torch.randn(2, count, 3, generator=rng, dtype=torch.float64)
        charge = torch.randint(0, 2, (count,), generator=rng).double() * 2 - 1
        found = model(Data(pos=pos, vel=vel, charge=charge))["prediction"]
        wanted = reference(state, pos, vel, charge)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tanh": True}, "tanh=True"),
        ({"norm_diff": True}, "norm_diff"),
        ({"coords_weight": 3.0}, "3.0"),
    ],
)
def test_other_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        zoo.convert("egnn", weights(), CONFIG | options, source="egnn")


def test_other_weights_are_refused() -> None:
    state = weights()
    with pytest.raises(ConfigError, match="not the weights of the authors' EGNN_vel"):
        zoo.convert("egnn", {"conv.weight": torch.zeros(1)}, {}, source="egnn")
    with pytest.raises(StateMismatchError, match="att_mlp"):
        more = state | {"gcl_0.att_mlp.0.weight": torch.zeros(1, WIDTH)}
        zoo.convert("egnn", more, CONFIG, source="egnn")
    del state["gcl_1.node_mlp.2.bias"]
    with pytest.raises(StateMismatchError, match=r"layers\.1\.node\.2\.bias"):
        zoo.convert("egnn", state, CONFIG, source="egnn")
    with pytest.raises(UnknownNameError, match="egnn"):
        zoo.convert("egnn", state, CONFIG, source="egn")
