"""TSMNet: the contract, domains, adaptation, what it refuses."""

import pytest
import torch

import zoo
from zoo.errors import CapabilityError, ConfigError, DataError, UnsupportedInputError
from zoo.testing import SampleContract

SMALL = {
    "in_channels": 4,
    "out_channels": 3,
    "temporal_filters": 2,
    "temporal_kernel": 5,
    "spatial_filters": 6,
    "bimap_channels": 4,
}


class TestTSMNet(SampleContract):
    architecture = "tsmnet"


class TestTSMNetWithoutNorm(SampleContract):
    architecture = "tsmnet"
    config = {**SMALL, "batch_norm": None}


class TestTSMNetWithLieNorm(SampleContract):
    architecture = "tsmnet"
    config = {**SMALL, "batch_norm": "lie_lcm"}


def signals(count=12, times=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, times, generator=generator, dtype=torch.float64)


def model(**options):
    torch.manual_seed(0)
    return zoo.create("tsmnet", **{**SMALL, **options}).double()


def test_published_preset_has_the_layers_of_the_paper():
    net = zoo.create("tsmnet-4-40-20")
    assert net.filters.temporal.weight.shape == (4, 1, 1, 25)
    assert net.filters.spatial.weight.shape == (40, 4, 22, 1)
    assert net.bimap.weight.shape == (40, 20)
    assert net.head.weight.shape == (4, 210)
    assert net.norm.bias is None
    assert net.norm.log_scale is not None


def test_adapting_makes_a_changed_amplifier_like_the_old_one():
    net = model(num_domains=2).train()
    x, zeros = signals(40), torch.zeros(40, dtype=torch.int64)
    for _ in range(60):
        net({"x": x, "domain": zeros})
    net.eval()
    with pytest.raises(DataError, match="adapt"):
        net({"x": 5 * x, "domain": zeros + 2})
    unadapted = net({"x": 5 * x, "domain": zeros + 1})
    before = {name: value.clone() for name, value in net.named_parameters()}
    net.adapt({"x": 5 * x, "domain": zeros + 1})
    net.adapt({"x": x, "domain": zeros})
    there, here = net({"x": 5 * x, "domain": zeros + 1}), net({"x": x, "domain": zeros})
    assert torch.allclose(there["logits"], here["logits"], atol=1e-8)
    assert not torch.allclose(unadapted["logits"], here["logits"], atol=1e-2)
    assert all(torch.equal(before[name], value) for name, value in net.named_parameters())
    assert not net.training


def test_adapting_to_unheard_of_domains_makes_room():
    net = model(num_domains=1)
    net.adapt({"x": signals(), "domain": torch.full((12,), 3)})
    assert net.hparams["num_domains"] == 4
    again = model(**{k: v for k, v in net.hparams.items() if k not in SMALL})
    again.load_state_dict(net.state_dict())


def test_epochs_move_the_weights_of_batches():
    net = model(num_domains=2, schedule_epochs=10)
    net.begin_epoch(1, 20)
    assert net.norm.batch_weight == 1.0
    net.begin_epoch(10, 20)
    assert net.norm.batch_weight == pytest.approx(0.2)
    plain = model(batch_norm="brooks")
    plain.begin_epoch(3, 20)
    assert plain.norm.batch_weight == 1.0


def test_refusals():
    with pytest.raises(UnsupportedInputError, match="temporal_kernel"):
        model()({"x": signals(times=4)})
    with pytest.raises(ConfigError, match="at least 1"):
        model(temporal_filters=0)
    with pytest.raises(ConfigError, match="lie_aim"):
        model(batch_norm="nonsense")
    with pytest.raises(CapabilityError, match="batch_norm="):
        model(batch_norm=None).adapt({"x": signals()})
