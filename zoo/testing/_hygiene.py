"""Checks of conduct: precisions of the outputs, saving and loading, what a call leaves behind."""

import copy
import os
import random
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from zoo.testing._base import BaseSubject
from zoo.testing._result import Skip

Errors = dict[str, Any]


def dtypes(subject: BaseSubject) -> Errors:
    """Outputs have the model's precision (energies float64); the parameters keep theirs."""
    found: Errors = {}
    for values in subject.references:
        for name, value in values.items():
            found[name] = 0.0 if value.dtype in subject.precisions(name) else 1.0
    wrong = [name for name, p in subject.model.named_parameters() if p.dtype != subject.torch_dtype]
    found["parameters"] = float(len(wrong))
    return found


def save_load(subject: BaseSubject) -> Errors:
    """The state in safetensors, read into a fresh instance, gives the same bits.

    On the CPU, where sums are taken in the same order every time.
    """
    fresh = _fresh(subject)
    original = subject.rebuilt(copy.deepcopy(subject.model).cpu())
    kept = original.model.state_dict()
    # copies: safetensors refuses tensors that share memory
    state = {name: value.detach().clone().contiguous() for name, value in kept.items()}
    fresh.load_state_dict(from_bytes(to_bytes(state)), strict=True)
    found: Errors = {"state": float(_differing(state, fresh.state_dict()))}
    other = subject.rebuilt(fresh)
    for group in subject.groups:
        before, after = original(group), other(group)
        for name, value in before.items():
            same = name in after and torch.equal(value, after[name])
            found[name] = max(found.get(name, 0.0), 0.0 if same else 1.0)
    return found


def _fresh(subject: BaseSubject) -> nn.Module:
    kind = type(subject.original)
    arguments: Mapping[str, Any] = getattr(subject.original, "hparams", {})
    # other weights than those of the model under test, and nobody's random numbers used up
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(subject.seed + 1)
        try:
            fresh = kind(**arguments)
        except TypeError as problem:
            raise Skip(
                f"{kind.__name__} can't be built anew ({problem}); keep its constructor arguments "
                "in the attribute `hparams`"
            ) from problem
    constants = getattr(subject.original, "normalisation", None)
    if constants:  # the manifest keeps them, not the state
        cast(Any, fresh).normalisation = copy.deepcopy(constants)
    return fresh.to(subject.torch_dtype)


def _differing(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> int:
    return sum(
        name not in after or not torch.equal(value, after[name]) for name, value in before.items()
    )


def global_state(subject: BaseSubject) -> Errors:
    """A call changes no default, no flag, no random state and no environment variable."""
    before = _snapshot()
    subject(subject.groups[0])
    after = _snapshot()
    return {name: 0.0 if before[name] == after[name] else 1.0 for name in before}


def _snapshot() -> dict[str, Any]:
    numpy_state = np.random.get_state(legacy=False)["state"]
    return {
        "default dtype": torch.get_default_dtype(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch RNG": torch.get_rng_state().numpy().tobytes(),
        "numpy RNG": (numpy_state["key"].tobytes(), numpy_state["pos"]),
        "python RNG": random.getstate(),
        "environment": dict(os.environ),
        "matmul precision": torch.get_float32_matmul_precision(),
        "TF32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
    }
