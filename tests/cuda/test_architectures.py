"""Every architecture and every shipped weight on a GPU: as on the CPU, and lawful there too.

make test-cuda
"""

import copy

import pytest
import torch
from torch import Tensor, nn

import zoo
from zoo import hub, registry
from zoo.apps.verify import verify
from zoo.testing import domain_of, unsettled
from zoo.testing.checks import subject_of

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU"),
]
ARCHITECTURES = [name for name in registry.list_models() if name in registry.specs()]
WEIGHTS = [name for name in registry.list_models(pretrained=True) if hub.at_hand(name)]
#: of outputs and of gradients in float64, relative to their sizes: sums in another order
SAME, SAME_GRADIENTS = 1e-9, 1e-7


def small(name: str) -> nn.Module:
    """A small model with noise on its parameters, on the CPU."""
    torch.manual_seed(0)
    return unsettled(zoo.create(name, **registry.specs()[name].test_config))


def measured(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Outputs on random samples and the gradients of one number made of them, in float64."""
    subject = subject_of(model, "float64")
    options = {"create_graph": True} if domain_of(model) == "atoms" else {}
    outputs = subject.model(subject.batch(subject.groups[0]), **options)
    real = {name: value for name, value in outputs.items() if value.is_floating_point()}
    total = sum(_mixed(value) for value in real.values())
    named = {name: p for name, p in subject.model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(named, found, strict=True) if g is not None}
    return {name: value.detach() for name, value in real.items()}, gradients


def _mixed(value: Tensor) -> Tensor:
    """A mean in which entries have different weights; lengths alone may be fixed by a law."""
    number = torch.arange(value.numel(), dtype=torch.float64, device=value.device)
    return (value.double().flatten() * torch.cos(number)).sum() / max(value.numel(), 1)


def differences(expected: dict[str, Tensor], found: dict[str, Tensor]) -> dict[str, float]:
    """The largest of each entry, relative to the entry's size."""
    assert expected.keys() == found.keys()
    apart = {}
    for name, value in expected.items():
        if value.numel():
            size = max(float(value.abs().max()), 1e-12)
            apart[name] = float((found[name].cpu() - value).abs().max()) / size
    return apart


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gpu_computes_what_the_cpu_does(name: str) -> None:
    model = small(name)
    outputs, gradients = measured(model)
    there, there_gradients = measured(copy.deepcopy(model).to("cuda"))
    assert all(value.is_cuda for value in there.values())
    apart = differences(outputs, there)
    assert max(apart.values()) < SAME, apart
    largest = max((float(g.abs().max()) for g in gradients.values() if g.numel()), default=0.0)
    for parameter, gradient in gradients.items():
        apart = (there_gradients[parameter].cpu() - gradient).abs()
        assert not gradient.numel() or float(apart.max()) <= SAME_GRADIENTS * largest, parameter


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_contract_holds_on_a_gpu(name: str) -> None:
    certificate = verify(name, device="cuda")
    failed = [row for row in certificate.rows() if row["result"] == "FAILED"]
    assert certificate.environment["device"].startswith("cuda") and not failed, failed


@pytest.mark.parametrize("name", WEIGHTS)
def test_golden_outputs_hold_on_a_gpu(name: str) -> None:
    model = zoo.load(name, device="cuda", check=True)
    assert next(model.parameters()).is_cuda
