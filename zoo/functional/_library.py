"""C programs, compiled once and kept in the cache folder.

A compiled program lies under the digest of its text, the compiler, the flags and the processor, so
that none can be stale. It is written in one step: of several processes that compile the same one,
each loads a whole file; it ends with a digest of its own, since loading a damaged one would end the
process. Where the cache can't be written, it is compiled anew in each process.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from zoo._environment import cache_folder

COMPILERS = ("cc", "gcc", "clang", "g++", "clang++", "c++")
FLAGS = (
    *("-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    *("-fno-strict-aliasing", "-shared", "-fPIC", "-x", "c"),
)
#: numbers that programs are written for, and what C calls them
REALS = {torch.float32: "float", torch.float64: "double"}
#: bytes of the digest at the end of a kept program, where loaders don't look
_SEAL = 32
_log = logging.getLogger(__name__)


def compiler() -> str | None:
    """The C compiler: what CC or CXX names, or the first that is found."""
    names = [os.environ.get("CC", ""), os.environ.get("CXX", ""), *COMPILERS]
    return next((found for name in names if name and (found := shutil.which(name))), None)


@functools.cache
def load(source: str) -> ctypes.CDLL | None:
    """The compiled program; None where there is no compiler, or it fails, which is logged."""
    command = compiler()
    if command is None:
        return None
    kept = cache_folder() / "native" / f"{_digest(source, command)}.so"
    with suppress(OSError):
        if kept.stat().st_uid == os.getuid() and _whole(kept):  # nobody else's code is run
            with suppress(OSError):  # where the cache can only be read
                os.utime(kept)  # the time of last use, which `zoo cache prune` goes by
            return ctypes.CDLL(str(kept))
    try:
        with tempfile.TemporaryDirectory() as folder:
            made = _compile(source, command, Path(folder))
            if made is None:
                return None
            with suppress(OSError):
                _keep(made, kept)
            return ctypes.CDLL(str(made))
    except OSError as error:  # a folder where nothing may be run, a compiler that can't be
        _log.warning("products and activations run uncompiled: %s", error)
        return None


def program(source: str, functions: Mapping[str, tuple[int, int]]) -> ctypes.CDLL | None:
    """`load`, its functions declared: they return nothing.

    Args:
        source: of the program.
        functions: how many arrays each takes, and how many whole numbers after them.
    """
    library = load(source)
    for name, (arrays, numbers) in functions.items() if library is not None else ():
        function = getattr(library, name)
        function.argtypes = [*[ctypes.c_void_p] * arrays, *[ctypes.c_long] * numbers]
        function.restype = None
    return library


def plain(*tensors: Tensor | None) -> bool:
    """Whether tensors lie in this machine's memory and a C program may read them there."""
    recorded = torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None
    seen = torch._C._len_torch_dispatch_stack() or torch._C._functorch.peek_interpreter_stack()
    if recorded or seen:
        return False  # what isn't torch's own can't be recorded, counted or transformed
    return all(
        x is None or (x.device.type == "cpu" and type(x) in (Tensor, torch.nn.Parameter))
        for x in tensors
    )


def in_threads(run: Callable[[int, int], object], size: int, parts: int, step: int = 1) -> None:
    """`run(start, stop)` over a range, in several threads; they begin at multiples of `step`."""
    parts = max(1, min(torch.get_num_threads(), parts))
    part = -(-size // (step * parts)) * step
    if part >= size:
        run(0, size)
        return
    ranges = [(start, min(start + part, size)) for start in range(0, size, part)]
    with ThreadPoolExecutor(len(ranges)) as pool:
        list(pool.map(lambda ends: run(*ends), ranges))


def sum_in_threads(
    run: Callable[[int, int, Tensor], object], like: Tensor, size: int, parts: int
) -> Tensor:
    """`in_threads`, where each adds to zeros of its own, `run(start, stop, own)`; their sum.

    It is taken in the order of the range, not in that in which they end: rounding does not vary.
    """
    sums: dict[int, Tensor] = {}

    def own(start: int, stop: int) -> None:
        sums[start] = torch.zeros_like(like)
        run(start, stop, sums[start])

    in_threads(own, size, parts)
    found = [sums[start] for start in sorted(sums)]
    return found[0] if len(found) == 1 else torch.stack(found).sum(0)


def _digest(source: str, command: str) -> str:
    """Of everything that a compiled program hangs on."""
    path = Path(command).resolve()
    found = path.stat()
    parts = (source, str(path), found.st_size, found.st_mtime_ns, FLAGS, _processor())
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@functools.cache
def _processor() -> str:
    """What the compiler's `native` stands for: a cache may be shared by different machines."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = ("model name", "flags", "Features", "CPU part")
        return repr(sorted({line for line in lines if line.startswith(names)}))
    return f"{platform.machine()} {platform.processor()} {platform.node()}"


def _compile(source: str, command: str, folder: Path) -> Path | None:
    text, target = folder / "program.c", folder / "program.so"
    text.write_text(source)
    call = [command, *FLAGS, str(text), "-o", str(target), "-lm"]
    for native in (["-march=native"], []):  # some compilers don't know the flag
        done = subprocess.run([*call, *native], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return target
    _log.warning(
        "products and activations run uncompiled: %s failed with %r; set CC to a C compiler that "
        "knows vector types",
        command,
        done.stderr.strip()[:300],
    )
    return None


def _whole(kept: Path) -> bool:
    """Whether a program ends with the digest of all that stands before."""
    data = kept.read_bytes()
    return hashlib.sha256(data[:-_SEAL]).digest() == data[-_SEAL:]


def _keep(made: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=kept.parent, prefix=".", suffix=".so")
    os.close(handle)
    try:
        data = made.read_bytes()
        Path(name).write_bytes(data + hashlib.sha256(data).digest())
        os.chmod(name, 0o755)  # noqa: S103
        os.replace(name, kept)
    except OSError:
        os.unlink(name)
        raise
