"""Tensor products side by side: the study of Xie et al. (The Price of Freedom, arXiv:2506.13523).

Three settings, irreps with the parity of functions on the sphere:

siso   degree L times degree L into degree L (parity even, as the group demands)
simo   degree L times degree L into every irrep of 0..2L that the method reaches
mimo   degrees 0..L times degrees 0..L into 0..2L

Every method runs on the same random numbers, in float32, the methods in turn; what is quoted are
medians. A step is the product, and the gradients with respect to both inputs and the weights.
Memory is what the tensors of a step hold at most, beyond inputs, weights and tables.

Expressivity is the number of dimensions of the bilinear maps that the weights of one channel
reach: the rank of the derivative of all path coefficients by all weights. Interactability asks of
each path that the group allows, odd sums of degrees included, whether it can be nonzero at all.
"""

import functools
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from e3nn import o3
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.apps._timing import interleaved, machine, median_ms, median_ratio
from zoo.errors import ConfigError, DeviceError, nearest
from zoo.functional.cp_factors import CP_LIMIT
from zoo.layers.equivariant import TensorProduct
from zoo.layers.equivariant.tensor_product import METHODS

Row = dict[str, Any]
SETTINGS = ("siso", "simo", "mimo")
#: e3nn's own TensorProduct with the same paths
PEER = "e3nn"
NAMES = (*METHODS, PEER)
#: methods whose weights are those of the same paths, by construction
SAME_PATHS = ("cg", "cg_sparse", PEER)
#: beyond this e3nn takes minutes to compile a product of all degrees
PEER_LIMIT = 6
#: seconds that the timed rounds of one case may take, beyond the least number of rounds
BUDGET = 4.0
ROUNDS = 3


def measure(
    *,
    lmax: int = 10,
    channels: int = 1,
    batch: int = 1000,
    repeats: int = 20,
    settings: Sequence[str] = SETTINGS,
    methods: Sequence[str] = NAMES,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Times, memory, expressivity and interactability of each method, setting and degree.

    Args:
        lmax: the degrees 1..lmax are measured.
        channels: of both inputs.
        batch: samples.
        repeats: timed rounds at most; long cases get fewer, three at least.
        settings: of `SETTINGS`.
        methods: of `NAMES`; "e3nn" is left out beyond degree 6.
        device: "cpu", "cuda", ...
        progress: called with (cases done, cases in all).

    Returns:
        Rows with `setting`, `lmax`, `method` and what was measured; `note` says why a method has
        no numbers. The last row is the machine.

    Raises:
        ConfigError: an unknown setting or method, or a degree that no table holds.
        DeviceError: a device that isn't there.
    """
    _check(settings, SETTINGS, "setting")
    _check(methods, NAMES, "method")
    if not 1 <= lmax <= 12:
        raise ConfigError(f"lmax={lmax}: the products reach 2 lmax, the tables 24; take 1 to 12")
    where = check_device(device)
    cases = [(setting, degree) for setting in settings for degree in range(1, lmax + 1)]
    rows: list[Row] = []
    for done, (setting, degree) in enumerate(cases):
        if progress is not None:
            progress(done, len(cases))
        rows += _case(setting, degree, (channels, batch, repeats), methods, where)
    if progress is not None:
        progress(len(cases), len(cases))
    return [*rows, _machine(where)]


def _machine(device: torch.device) -> Row:
    about: Row = {"what": "machine", **machine()}
    if device.type == "cuda":
        about["gpu"] = torch.cuda.get_device_name(device)
    return about


def check_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        DeviceError: no such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as problem:
        raise DeviceError(f"no device is called {name!r}; use 'cpu' or 'cuda'") from problem
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device={name!r} was asked for, but torch sees no GPU; use 'cpu'")
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device={name!r}: timing knows 'cpu' and 'cuda' only")
    return device


def irreps(setting: str, degree: int, channels: int) -> tuple[o3.Irreps, o3.Irreps | None]:
    """Of either input, and of the output; None stands for whatever the method reaches."""

    def natural(degrees: Sequence[int]) -> o3.Irreps:
        return o3.Irreps([(channels, (n, (-1) ** n)) for n in degrees])

    if setting == "mimo":
        return natural(range(degree + 1)), natural(range(2 * degree + 1))
    single = natural([degree])
    return single, o3.Irreps([(channels, (degree, 1))]) if setting == "siso" else None


def product(setting: str, degree: int, method: str, channels: int, weights: str) -> nn.Module:
    """A product of ours, or e3nn's with the same paths.

    Raises:
        ConfigError: the method can't make the setting's output.
    """
    inputs, output = irreps(setting, degree, channels)
    ours = TensorProduct(
        inputs, inputs, output, "cg" if method == PEER else method, weights=weights
    )
    if method != PEER:
        return ours
    paths = [(*coupling.path, "uuu", True) for coupling in ours.couplings()]
    internal = weights == "internal"
    theirs: nn.Module = o3.TensorProduct(
        inputs, inputs, ours.irreps_out, paths, internal_weights=internal, shared_weights=True
    )
    return theirs


# --- one case -----------------------------------------------------------------------------------


def _case(
    setting: str,
    degree: int,
    sizes: tuple[int, int, int],
    methods: Sequence[str],
    device: torch.device,
) -> list[Row]:
    channels, batch, repeats = sizes
    rows, steps, forwards = [], {}, {}
    for method in methods:
        row: Row = {"setting": setting, "lmax": degree, "method": method}
        row |= {"channels": channels, "batch": batch, "device": device.type}
        rows.append(row)
        if method == PEER and degree > PEER_LIMIT:
            row["note"] = f"not built beyond {PEER_LIMIT}: it takes minutes to compile"
            continue
        try:
            module = product(setting, degree, method, channels, "internal").to(device)
        except ConfigError:
            inputs, output = irreps(setting, degree, channels)
            row["note"] = f"can't express {inputs} x {inputs} -> {output}"
            if method == "cp":
                row["note"] = f"no factors beyond degree {CP_LIMIT}"
            continue
        row |= expressivity(setting, degree, method)
        forwards[method], steps[method] = contestants(module, batch, device)
        row["memory_mb"] = _peak(steps[method], module)
    forward, step = _timed(forwards, repeats), _timed(steps, repeats)
    for row in rows:
        if row["method"] in step:
            row |= _timings(row, forward, step)
    return rows


def contestants(
    module: nn.Module, batch: int, device: torch.device
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The product alone, and a step with the gradients of inputs and weights."""
    generator = torch.Generator().manual_seed(0)
    sizes = [int(getattr(module, name).dim) for name in ("irreps_in1", "irreps_in2", "irreps_out")]
    x, y, g = (torch.randn(batch, n, generator=generator).to(device) for n in sizes)
    x.requires_grad_(), y.requires_grad_()
    wanted = [x, y, *module.parameters()]

    def forward() -> None:
        with torch.no_grad():
            module(x, y)
        _wait(device)

    def step() -> None:
        torch.autograd.grad(module(x, y), wanted, g)
        _wait(device)

    return forward, step


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _timed(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Rounds as many as the budget allows."""
    start = time.perf_counter()
    for function in functions.values():
        function()
        function()
    round_seconds = (time.perf_counter() - start) / 2
    fitting = int(BUDGET / max(round_seconds, 1e-9))
    return interleaved(functions, repeats=min(repeats, max(fitting, ROUNDS)), warmup=1)


def _timings(row: Row, forward: Mapping[str, list[float]], step: Mapping[str, list[float]]) -> Row:
    method = row["method"]
    spent = median_ms(step[method])
    out: Row = {"forward_ms": median_ms(forward[method]), "step_ms": spent}
    out["us_per_output"] = 1e3 * spent / row["outputs"]
    if PEER in step:
        out["e3nn_over"] = median_ratio(step[PEER], step[method])
    return out


# --- memory -------------------------------------------------------------------------------------


class _Tally(TorchDispatchMode):
    """Counts the bytes of all tensors that live at the same time."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        # storages that were there before; kept, so that their addresses stay taken
        self.known = [t.untyped_storage() for t in known]
        self.seen = {storage._cdata for storage in self.known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in self.seen:
                self._count(leaf, new=False)
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in self.seen:
                self._count(leaf, new=True)
        return out

    def _count(self, tensor: Tensor, *, new: bool) -> None:
        """An argument that no operation made was there before, and costs nothing."""
        storage = tensor.untyped_storage()
        size = storage.nbytes() if new else 0
        self.seen.add(storage._cdata)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, storage._cdata, size)

    def _drop(self, address: int, size: int) -> None:
        self.seen.discard(address)
        self.now -= size


def _peak(step: Callable[[], object], module: nn.Module) -> float:
    """MB that the tensors of a step hold at most."""
    step()  # whatever is built at the first call
    with _Tally([*module.parameters(), *module.buffers()]) as tally:
        step()
    return float(tally.peak) / 1e6


# --- what a product can express ---------------------------------------------------------------


def expressivity(setting: str, degree: int, method: str) -> Row:
    """What `_expressivity` measured; the methods that sum the same paths share one measurement."""
    return dict(_expressivity(setting, degree, "cg" if method in SAME_PATHS else method))


@functools.cache
def _expressivity(setting: str, degree: int, method: str) -> Row:
    """Outputs, rank and paths of a product with one channel, measured in float64.

    Returns:
        `outputs`: irreps that come out before any are summed up, as many as a linear layer behind
        the product could tell apart; `rank`: dimensions of the maps that the weights reach;
        `paths`: those of the product; `interacts`: "reached/allowed" paths between the inputs.
    """
    ours = product(setting, degree, method, 1, "external")
    assert isinstance(ours, TensorProduct)
    row: Row = {"paths": len(ours.couplings()), "rank": rank(ours), "outputs": ours.kernel.outputs}
    row["interacts"] = "{}/{}".format(*interactability(setting, degree, method))
    return row


def rank(tensor_product: TensorProduct) -> int:
    """Dimensions of the set of bilinear maps that the weights of one channel reach.

    The coefficients are linear in each weight alone, so adding one to a weight changes them by
    the derivative, taken at random weights.
    """
    module = tensor_product.double()
    generator = torch.Generator().manual_seed(0)
    legs = module.kernel.legs
    pairs = [(i, j) for i in range(len(legs.in1.entries)) for j in range(len(legs.in2.entries))]
    x = torch.zeros(len(pairs), module.irreps_in1.dim, dtype=torch.float64)
    y = torch.zeros(len(pairs), module.irreps_in2.dim, dtype=torch.float64)
    places = [list(part.slices()) for part in (module.irreps_in1, module.irreps_in2)]
    for row, (i, j) in enumerate(pairs):
        for t, place in ((x, places[0][i]), (y, places[1][j])):
            t[row, place] = torch.randn(place.stop - place.start, generator=generator).double()
    weights = torch.rand(module.weight_numel, generator=generator, dtype=torch.float64) + 0.5
    with torch.no_grad():
        base = module(x, y, weights)
        columns = [(module(x, y, w) - base).flatten() for w in _raised(weights)]
    # each path answers in a block of its own, so the maps' rank is that of the answers
    return int(torch.linalg.matrix_rank(torch.stack(columns, dim=1), rtol=1e-9))


def _raised(weights: Tensor) -> Iterator[Tensor]:
    for n in range(len(weights)):
        raised = weights.clone()
        raised[n] += 1
        yield raised


def interactability(setting: str, degree: int, method: str) -> tuple[int, int]:
    """Paths between the inputs that a method reaches, and all that the group allows."""
    reached = coefficients(setting, degree, method)
    return sum(value != 0.0 for value in reached.values()), len(reached)


def coefficients(setting: str, degree: int, method: str) -> dict[str, float]:
    """Coefficient at weights of one of every path that the group allows, zero if unreached.

    Outputs have either parity here, so odd sums of degrees take part too.
    """
    inputs, output = irreps(setting, degree, 1)
    if setting == "mimo":
        output = None
    everything = TensorProduct(inputs, inputs, output, "cg", weights="none")
    found = {coupling.irreps: 0.0 for coupling in everything.couplings()}
    try:
        module = TensorProduct(inputs, inputs, output, method, weights="none")
    except ConfigError:
        return found
    return found | {c.irreps: c.coefficient for c in module.couplings()}


def _check(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"there is no {what} {name!r}; {nearest(name, known)}")
    if not names:
        raise ConfigError(f"no {what} was chosen; known: {', '.join(known)}")
