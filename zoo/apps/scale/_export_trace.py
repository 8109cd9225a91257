"""From a function of tensors to a program without our code, or to why there is none."""

import io
import warnings
from contextlib import ExitStack, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch._export.utils import _compiling_state_context
from torch.backends import opt_einsum
from torch.fx.experimental.proxy_tensor import make_fx

from zoo.errors import CapabilityError


def trace(
    function: nn.Module, inputs: tuple[Tensor, ...], sizes: Any, title: str, *, derives: bool
) -> Any:
    """The exported program.

    Args:
        function: of the inputs.
        inputs: of sizes that are above 1 where they are free.
        sizes: which of them are free, as `torch.export.export` takes it.
        title: names the model in messages.
        derives: whether `function` calls autograd; what that does is recorded first.

    Raises:
        CapabilityError: with torch's own words.
    """
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")  # of torch about its own inner workings
            stack.enter_context(redirect_stdout(io.StringIO()))  # what it got to, where it fails
            stack.enter_context(opt_einsum.flags(enabled=False))  # it plans for the sizes it sees
            if derives:
                record = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)
                with _compiling_state_context():  # which torch.export itself does
                    function = record(*inputs)
            with torch.no_grad():  # the derivatives are recorded
                arguments = {"dynamic_shapes": sizes, "strict": False}
                return torch.export.export(function, inputs, **arguments)
    except Exception as problem:  # torch raises whatever it meets while it traces
        raise CapabilityError(
            f"{title} can't be exported: torch can't trace it with free sizes ({words(problem)}); "
            "use the model itself, or another architecture"
        ) from problem


def words(problem: Exception) -> str:
    """The first line of what an error says."""
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]
