"""Multivector neurons: the equations pair by pair, the contract, inputs, and that it learns."""

import pytest
import torch
from short_training import error_after
from torch import Tensor
from torch_geometric.data import Batch, Data

import zoo
from zoo.errors import ConfigError, DataError, UnsupportedInputError
from zoo.functional import clifford
from zoo.models.mvn import EPS, MVN, MVReLU
from zoo.testing import SampleContract


class TestMVN(SampleContract):
    architecture = "mvn"


def sample(count: int, *, seed: int = 0) -> Data:
    rng = torch.Generator().manual_seed(seed)
    pos, vel = torch.randn(2, count, 3, generator=rng, dtype=torch.float64)
    charge = torch.randint(0, 2, (count,), generator=rng).double() * 2 - 1
    return Data(pos=pos, vel=vel, charge=charge)


def make(num_layers: int = 2) -> MVN:
    torch.manual_seed(1)
    model = zoo.create("mvn", scalar_channels=5, hidden_channels=3, num_layers=num_layers).double()
    assert isinstance(model, MVN)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


def relu(part: MVReLU, x: Tensor) -> Tensor:
    """Channel by channel, as the vector neurons' paper writes it."""
    weight = part.maps.weight
    found = []
    for c in range(len(x)):
        q = sum(weight[c, n] * x[n] for n in range(len(x)))
        k = sum(weight[len(x) + c, n] * x[n] for n in range(len(x)))
        if q @ k < 0:
            q = q - (q @ k) / (k @ k + EPS) * k
        found.append(q)
    return torch.stack(found)


def by_hand(model: MVN, data: Data) -> Tensor:
    """The module's equations for one sample, one pair after the other, from its own parts."""
    of = model.algebra
    count = len(data.pos)
    centred = data.pos - data.pos.mean(0)
    inputs = [clifford.embed(x, 1, of) for x in (centred, data.vel)]
    inputs.append(clifford.embed(data.charge[:, None], 0, of))
    s = model.scalar_embedding(data.charge[:, None])
    v = model.embedding(torch.stack(inputs, dim=1))
    for layer in model.layers:
        new_s, new_v = [], []
        for i in range(count):
            s_sum, v_sum = torch.zeros_like(s[i]), torch.zeros_like(v[i])
            for j in range(count):
                if j == i:
                    continue
                u = (layer.own(v[i : i + 1]) + layer.other(v[j : j + 1]))[0]
                square = u.pow(2).sum(-1)
                hidden = layer.pair_first(torch.cat([s[i], s[j], square]))
                s_pair = layer.pair_second(hidden * torch.sigmoid(hidden))
                first, act, second, again, last = layer.vectors
                x = relu(again, second(relu(act, first(u[None])[0])[None])[0])
                x = last(x[None])[0]
                gates = layer.gates(s_pair).reshape(3, 4)
                x = x * gates[:, torch.tensor(of.grades)]
                s_sum = s_sum + layer.scalar_norm(s_pair) / (count - 1) ** 0.5
                v_sum = v_sum + layer.vector_norm(x[None])[0] / (count - 1) ** 0.5
            product = layer.vector_update
            left, right = product.factors(v_sum[None])[0].split(3)
            both = clifford.geometric_product(left, right, of)
            out = product.norm(product.out(torch.cat([both, v_sum])[None]))[0]
            new_s.append(s[i] + layer.scalar_update(s_sum))
            new_v.append(v[i] + out)
        s, v = torch.stack(new_s), torch.stack(new_v)
    return data.pos + model.projection(v)[:, 0, 1:4]


def test_the_equations() -> None:
    model = make()
    samples = [sample(count, seed=count) for count in (4, 5, 2)]
    found = model(samples)["prediction"]
    wanted = torch.cat([by_hand(model, data) for data in samples])
    assert (found - wanted).abs().max() < 1e-10 * wanted.abs().max()


def test_the_activation_is_smooth_where_it_can_be() -> None:
    """Finite gradients at zero, and no part along k is left where it was negative."""
    part = MVReLU(clifford.algebra(3), 2).double()
    x = torch.randn(7, 2, 8, dtype=torch.float64, requires_grad=True)
    q, k = part.maps(x).chunk(2, dim=-2)
    found = part(x)
    negative = ((q * k).sum(-1) < 0)[..., None].expand_as(q)
    assert negative.any() and not negative.all()
    assert (found * k)[negative].reshape(-1, 8).sum(-1).abs().max() < 1e-6
    assert torch.equal(found[~negative], q[~negative])
    zero = torch.zeros(1, 2, 8, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(part(zero).sum(), zero)
    assert torch.isfinite(grad).all()


def test_the_published_size() -> None:
    model = zoo.create("mvn-nbody")
    assert isinstance(model, MVN)
    assert (len(model.layers), sum(p.numel() for p in model.parameters())) == (4, 144_657)
    data = zoo.datasets.open("nbody").split("test")[0]
    assert model(data)["prediction"].shape == (5, 3)


def test_charges_matter() -> None:
    model, data, other = make(), sample(5), sample(5)
    other.charge = other.charge * torch.tensor([1.0, 1, -1, 1, 1])
    assert (model(data)["prediction"] - model(other)["prediction"]).abs().max() > 1e-3


def test_charges_may_be_integers() -> None:
    model, data, whole = make(), sample(5), sample(5)
    whole.charge = data.charge.sign().long()
    data.charge = data.charge.sign()
    assert torch.equal(model(data)["prediction"], model(whole)["prediction"])


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="num_layers=0"):
        zoo.create("mvn", num_layers=0)
    model = make()
    data = sample(4)
    del data.charge
    with pytest.raises(UnsupportedInputError, match=r"charge of the shape \(4,\).* not nothing"):
        model(data)
    mixed = Batch.from_data_list([sample(4)])
    mixed.vel = mixed.vel.float()
    with pytest.raises(DataError, match=r"vel in the precision of pos, torch.float64, not in"):
        model(mixed)
    flat = Data(pos=torch.zeros(3, 2), vel=torch.zeros(3, 2), charge=torch.ones(3))
    with pytest.raises(UnsupportedInputError, match="shape"):
        model(flat)


def test_it_learns_what_no_linear_map_can() -> None:
    """A few steps on 400 trajectories: ahead of the linear map's 0.0689 on others."""
    torch.manual_seed(0)
    dataset = zoo.datasets.open("nbody")
    model = zoo.create("mvn", scalar_channels=16, hidden_channels=8, num_layers=2)
    error = error_after(model, dataset, train=400, val=200, batch_size=50, steps=96, rate=5e-3)
    assert error < 0.065
