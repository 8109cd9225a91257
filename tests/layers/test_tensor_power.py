"""TensorPowerLinear: against its dense form, under the group, on padded samples; activations."""

from typing import Any

import pytest
import torch
from torch import nn

from zoo.errors import ConfigError, UnsupportedInputError
from zoo.functional import tensor_power as tp
from zoo.layers.tensor_power import TensorPowerLinear, check_pointwise_activation

FAMILIES = [("S", 2), ("S", 4), ("A", 3), ("A", 4), ("O", 3), ("SO", 2), ("SO", 3), ("Sp", 2),
            ("Sp", 4)]  # fmt: skip
LARGEST = 260


def make(group: Any, k: int, o: int, **options: Any) -> TensorPowerLinear:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layer = TensorPowerLinear(group, k, o, 2, 3, **options).double()
        if layer.bias is not None:
            nn.init.normal_(layer.bias)
    return layer


def tensor(k: int, n: int, channels: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, *[n] * k, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(("name", "n"), FAMILIES)
def test_diagrams_are_the_dense_maps_and_commute_with_the_group(name: str, n: int) -> None:
    g = tp.as_group(name).random_element(n, torch.Generator().manual_seed(2))
    for k in range(4):
        for o in range(4):
            if n ** (k + o) > LARGEST or not tp.hom_dimension(name, n, k, o):
                continue
            for fixed in (n, None) if name not in ("A", "SO") else (n,):
                layer = make(name, k, o, n=fixed, implementation="diagram")
                other = make(name, k, o, n=fixed, implementation="dense")
                x = tensor(k, n)
                out = layer(x, n=n)
                torch.testing.assert_close(out, other(x, n=n), rtol=0, atol=1e-12)
                moved = layer(tp.act(g, x, k), n=n)
                torch.testing.assert_close(moved, tp.act(g, out, o), rtol=0, atol=1e-10)


def test_the_dense_form_is_the_formula() -> None:
    layer = make("S", 2, 1, implementation="dense", normalize="sum")
    x = tensor(2, 3)
    basis = torch.stack([tp.dense(d, 3, 1) for d in layer.diagrams])
    expected = torch.einsum("ocd,dixy,bcxy->boi", layer.weight, basis, x)
    assert layer.bias is not None
    torch.testing.assert_close(layer(x), expected + layer.bias[None], rtol=0, atol=1e-13)


def test_given_groups() -> None:
    edges = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
    generator = torch.Generator().manual_seed(0)
    turn = tp.SpecialOrthogonalGroup().random_element(3, generator)
    for group in (tp.graph_automorphisms(edges, 5), tp.MatrixGroup(turn[None])):
        n = group.size or 0
        for normalize in ("mean", "sum"):
            layer = make(group, 2, 1, normalize=normalize)
            assert layer.weight.shape[2] == tp.hom_dimension(group, n, 2, 1)
            g, x = group.random_element(n, generator), tensor(2, n)
            torch.testing.assert_close(layer(tp.act(g, x, 2)), tp.act(g, layer(x), 1))
        assert layer.double().get_buffer("maps").dtype == torch.float64
        with pytest.raises(ConfigError, match="has no diagrams"):
            make(group, 1, 1, implementation="diagram")


@pytest.mark.parametrize("normalize", ["mean", "sum", 4.0])
@pytest.mark.parametrize("implementation", ["diagram", "dense"])
def test_padded_samples_are_computed_as_alone(normalize: Any, implementation: Any) -> None:
    for k, o in ((2, 2), (2, 1), (1, 2), (2, 0)):
        layer = make("S", k, o, normalize=normalize, implementation=implementation)
        x = tensor(k, 5)  # what stands in the padding does not matter
        mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
        out = layer(x, mask=mask)
        small = layer(x[(slice(1), slice(None), *[slice(3)] * k)])
        torch.testing.assert_close(out[(slice(1), slice(None), *[slice(3)] * o)], small)
        assert int((out[0] != 0).sum()) == small.numel()  # zero elsewhere
        torch.testing.assert_close(out[1:], layer(x[1:]))
    empty = layer(x, mask=torch.zeros(2, 5, dtype=torch.bool))
    assert bool(torch.isfinite(empty).all())


def test_layers_of_any_n_share_weights() -> None:
    layer = make("S", 2, 2)
    for n in (1, 3, 7):
        assert layer(tensor(2, n)).shape == (2, 3, n, n)
    assert [make(g, 2, 2).weight.shape[2] for g in ("S", "O", "Sp")] == [15, 3, 3]
    assert make("S", 2, 2, n=3).weight.shape[2] == 14  # those that are independent
    constant = make("S", 0, 2)
    assert constant(tensor(0, 1), n=4).shape == (2, 3, 4, 4)


def test_means_do_not_grow() -> None:
    sizes = []
    for n in (10, 100):
        x = torch.ones(1, 2, n, n, dtype=torch.float64)
        sizes.append(float(make("S", 2, 2, bias=False)(x).detach()[0, :, 0, 1].abs().max()))
    assert sizes[0] == pytest.approx(sizes[1])


def test_variances_at_the_start() -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layer = TensorPowerLinear("O", 3, 3, 32, 64)
    assert float(layer.weight.detach().std()) == pytest.approx((32 * 15) ** -0.5, rel=0.02)
    assert layer.bias is None  # no invariant tensor of order 3
    assert not TensorPowerLinear("O", 2, 2, 2, 2).bias.any()  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "n", "k"), [("S", 2, 2), ("A", 3, 1), ("SO", 3, 1), ("Sp", 2, 2)])
def test_gradients_of_every_order(name: str, n: int, k: int) -> None:
    layer = make(name, k, k, n=n, implementation="diagram")
    x = tensor(k, n).requires_grad_()

    def cubed(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(layer, {"weight": weight}, (x,))
        return out.square().flatten(1).sum(dim=1)  # type: ignore[no-any-return]

    assert torch.autograd.gradgradcheck(cubed, [x, layer.weight.detach().requires_grad_()])


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("Sp", 1, 1, 2, 3), {"n": 3}, "n=3 is odd"),
        (("SO", 1, 1, 2, 3), {}, "depend on n"),
        (("O", 1, 2, 2, 3), {}, "but zero is equivariant"),
        (("S", 1, 1, 0, 3), {}, "in_channels=0"),
        (("S", 1, 1, 2, 3), {"normalize": "max"}, "normalize='max'"),
        (("S", 1, 1, 2, 3), {"normalize": 0.0}, "normalize=0.0"),
        (("S", 1, 1, 2, 3), {"implementation": "fast"}, "implementation='fast'"),
        ((tp.PermutationGroup([[1, 0]]), 1, 1, 2, 3), {"n": 3}, "acts on R\\^2"),
        ((tp.PermutationGroup([[1, 2, 3, 4, 5, 6, 7, 8, 9, 0]]), 4, 4, 2, 3), {}, "10\\^8"),
        (("S", 6, 6, 2, 3), {}, "4213597 diagrams"),
        (("A", 3, 3, 2, 3), {"n": 7}, "alternating tensor, which is made for n up to 6"),
    ],
)
def test_bad_arguments(arguments: Any, options: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TensorPowerLinear(*arguments, **options)


def test_dense_maps_that_are_too_large() -> None:
    with pytest.raises(ConfigError, match="15 dense tensors, 1,920 MB"):
        TensorPowerLinear("S", 2, 2, 2, 3, implementation="dense")(torch.ones(1, 2, 64, 64))


def test_bad_inputs() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    calls: list[tuple[Any, str]] = [
        (lambda: make("S", 2, 1)(tensor(1, 3)), "expected \\(batch, 2, n, n\\)"),
        (lambda: make("S", 2, 1)(tensor(2, 3, channels=3)), "expected \\(batch, 2, n, n\\)"),
        (lambda: make("S", 2, 1)(torch.ones(1, 2, 3, 4).double()), "expected"),
        (lambda: make("S", 0, 1)(tensor(0, 3)), "n where order_in is 0"),
        (lambda: make("SO", 2, 1, n=3)(tensor(2, 4)), "expected \\(batch, 2, 3, 3\\)"),
        (lambda: make("O", 2, 2)(tensor(2, 3), mask=mask), "for layers of S\\(n\\)"),
        (lambda: make("S", 2, 2)(tensor(2, 4), mask=mask), "expected \\(2, 4\\)"),
    ]
    for call, words in calls:
        with pytest.raises(UnsupportedInputError, match=words):
            call()
    with pytest.raises(ConfigError, match="n=3 is odd"):
        make("Sp", 1, 1)(tensor(1, 3))


def test_empty_batches() -> None:
    ring = tp.PermutationGroup([[1, 2, 0]])
    empty = torch.zeros(0, 2, 3, 3, dtype=torch.float64)
    nodes = torch.zeros(0, 3, dtype=torch.bool)
    for implementation in ("diagram", "dense"):
        layer = make("S", 2, 2, implementation=implementation)
        assert layer(empty).shape == layer(empty, mask=nodes).shape == (0, 3, 3, 3)
    assert make(ring, 2, 1)(empty).shape == (0, 3, 3)


def test_pointwise_activations() -> None:
    for group in (tp.OrthogonalGroup, tp.SpecialOrthogonalGroup, tp.SymplecticGroup, "O"):
        for activation in (nn.ReLU, nn.Tanh(), torch.relu):
            with pytest.raises(ConfigError, match="breaks the equivariance"):
                check_pointwise_activation(group, activation)
        check_pointwise_activation(group, nn.ReLU, order=0)
        check_pointwise_activation(group, nn.Identity())
    for group in ("S", tp.AlternatingGroup, tp.PermutationGroup([[1, 0, 2]])):
        check_pointwise_activation(group, nn.ReLU)
    swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    flip = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    check_pointwise_activation(tp.MatrixGroup(swap), nn.ReLU)
    check_pointwise_activation(tp.MatrixGroup(flip), nn.Tanh)
    with pytest.raises(ConfigError, match="odd functions only"):
        check_pointwise_activation(tp.MatrixGroup(flip), nn.ReLU)
    with pytest.raises(ConfigError, match="ReLU breaks"):
        check_pointwise_activation(tp.MatrixGroup(lie_algebra=flip), nn.ReLU)


def test_what_is_refused_would_have_broken_it() -> None:
    layer, x = make("O", 1, 1), tensor(1, 3)
    g = tp.OrthogonalGroup().random_element(3, torch.Generator().manual_seed(0))
    broken = torch.relu(layer(tp.act(g, x, 1))) - tp.act(g, torch.relu(layer(x)), 1)
    assert float(broken.detach().abs().max()) > 0.1


def test_a_layer_says_what_it_is() -> None:
    assert "S(n), orders 2 -> 2, channels 2 -> 3, 15 maps" in str(make("S", 2, 2))
