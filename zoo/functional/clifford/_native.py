"""The weighted geometric product as C code, written for one algebra and compiled on the spot.

Every path of grades is a line of a straight-line program on vectors of numbers; a compiler takes a
third of a second for Cl(3,0), some seconds for Cl(5,0), where `torch.compile` takes minutes. Both
layouts are read and written in place: one block per blade, and blades last.
"""

import ctypes
import functools
import math
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._kernels import multiply_weighted
from zoo.functional.clifford._plan import Term, weighted

COMPILERS = ("cc", "gcc", "clang", "g++", "clang++", "c++")
FLAGS = ("-O3", "-ffp-contract=fast", "-fno-strict-aliasing", "-shared", "-fPIC", "-x", "c")
#: vectors are 64 bytes wide; machines with narrower registers take several
WIDTH = 64
#: samples whose contributions to the weights' gradient are summed before they join the rest
BLOCK = 256
#: numbers of one multivector array that are worth a thread
PER_THREAD = 2**18
_REALS = {torch.float32: ("float", 4), torch.float64: ("double", 8)}
Row = tuple[int, int, tuple[Term, ...]]


def compiler() -> str | None:
    """The C compiler: what CC or CXX names, or the first that is found."""
    names = [os.environ.get("CC", ""), os.environ.get("CXX", ""), *COMPILERS]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def runs(x: Tensor, of: Algebra) -> bool:
    """Whether there is compiled code for these multivectors, which is made at the first call."""
    return x.device.type == "cpu" and x.dtype in _REALS and _library(of, x.dtype) is not None


def product(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    """What `clifford.weighted_product` returns.

    Args:
        x: (batch, channels, blades), in any layout.
        y: likewise.
        weight: (channels, paths).
        of: the algebra.
    """
    out: Tensor = _Product.apply(x, y, weight, of)
    return out


class _Product(torch.autograd.Function):
    """The compiled product with its compiled derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
        ctx.save_for_backward(x, y, weight)
        ctx.algebra = of
        return _forward(x, y, weight, of)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight = ctx.saved_tensors
        of, needed = ctx.algebra, ctx.needs_input_grad[:3]
        if not torch.is_grad_enabled():
            return *_backward(g, x, y, weight, of), None
        # a second derivative is wanted
        a, b = (t.movedim(-1, 0).contiguous() for t in (x, y))
        out = multiply_weighted(a, b, weight.T, of).movedim(0, -1)
        wanted = [t for t, n in zip((x, y, weight), needed, strict=True) if n]
        found = iter(torch.autograd.grad(out, wanted, g, create_graph=True))
        return *(next(found) if n else None for n in needed), None


def _forward(x: Tensor, y: Tensor, weight: Tensor, of: Algebra) -> Tensor:
    batch, rows, spread = _spread(x, weight)
    x, y = _ready(x, rows), _ready(y, rows)
    out = torch.empty_like(x)
    call = _function(of, x.dtype, "forward")
    period = spread.shape[1]

    def run(start: int, stop: int) -> None:
        call(*_place(x), *_place(y), spread.data_ptr(), *_place(out), start, stop, period)

    _in_threads(run, x, period)
    return out[:batch]


def _backward(
    g: Tensor, x: Tensor, y: Tensor, weight: Tensor, of: Algebra
) -> tuple[Tensor, Tensor, Tensor]:
    batch, rows, spread = _spread(x, weight)
    g, x, y = (_ready(t, rows) for t in (g, x, y))
    dx, dy = torch.empty_like(x), torch.empty_like(y)
    call = _function(of, x.dtype, "backward")
    parts = [torch.zeros_like(spread)]

    def run(start: int, stop: int) -> None:
        part = torch.zeros_like(spread)
        parts.append(part)
        arrays = (*_place(g), *_place(x), *_place(y), spread.data_ptr(), *_place(dx), *_place(dy))
        call(*arrays, part.data_ptr(), start, stop, spread.shape[1])

    _in_threads(run, x, spread.shape[1])
    total = torch.stack(parts).sum(0).reshape(len(of.paths), rows, -1).sum(1)
    return dx[:batch], dy[:batch], total.T


def _spread(x: Tensor, weight: Tensor) -> tuple[int, int, Tensor]:
    """Samples, samples per period, and weights (paths, period).

    A period is as many samples as fill whole vectors.
    """
    lanes = WIDTH // _REALS[x.dtype][1]
    rows = lanes // math.gcd(lanes, x.shape[1])
    return len(x), rows, weight.detach().T.repeat(1, rows)


def _ready(x: Tensor, rows: int) -> Tensor:
    """In one of the two layouts, with whole periods of samples."""
    missing = -len(x) % rows
    if missing:
        x = torch.cat([x, x.new_zeros((missing, *x.shape[1:]))])
    by_blade = x.movedim(-1, 0).is_contiguous()
    return x if by_blade or x.is_contiguous() else x.contiguous()


def _place(x: Tensor) -> tuple[int, int, int]:
    """Address, steps from blade to blade and from multivector to multivector."""
    by_blade = x.movedim(-1, 0).is_contiguous()
    blades, numbers = x.shape[-1], x.numel()
    return x.data_ptr(), *((numbers // blades, 1) if by_blade else (1, blades))


def _in_threads(run: Callable[[int, int], None], x: Tensor, period: int) -> None:
    """`run(start, stop)` over all multivectors, in as many threads as torch has."""
    size = x.shape[0] * x.shape[1]
    if not size:
        return
    parts = max(1, min(torch.get_num_threads(), x.numel() // PER_THREAD))
    step = -(-size // (period * parts)) * period
    ranges = [(start, min(start + step, size)) for start in range(0, size, step)]
    if len(ranges) == 1:
        run(*ranges[0])
        return
    with ThreadPoolExecutor(len(ranges)) as pool:
        list(pool.map(lambda part: run(*part), ranges))


def _function(of: Algebra, dtype: torch.dtype, name: str) -> Callable[..., None]:
    library = _library(of, dtype)
    assert library is not None, "runs() is asked first"
    found: Callable[..., None] = getattr(library, name)
    return found


@functools.cache
def _library(of: Algebra, dtype: torch.dtype) -> ctypes.CDLL | None:
    """The compiled code; None, and a warning, where it can't be made."""
    path = compiler()
    if path is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "product.c", Path(folder) / "product.so"
        source.write_text(_source(of, dtype))
        command = [path, *FLAGS, str(source), "-o", str(target)]
        for native in (["-march=native"], []):  # some compilers don't know the flag
            done = subprocess.run([*command, *native], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return _typed(ctypes.CDLL(str(target)))
    warnings.warn(
        f"products of Cl{of.signature} are not compiled: {path} failed with "
        f"{done.stderr.strip()[:300]!r}; set CC to a C compiler that knows vector types",
        stacklevel=2,
    )
    return None


def _typed(library: ctypes.CDLL) -> ctypes.CDLL:
    array: list[type[ctypes._SimpleCData[Any]]] = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    tail = [ctypes.c_long for _ in range(3)]
    library.forward.argtypes = [*array * 2, ctypes.c_void_p, *array, *tail]
    library.backward.argtypes = [*array * 3, ctypes.c_void_p, *array * 2, ctypes.c_void_p, *tail]
    library.forward.restype = library.backward.restype = None
    return library


_HEAD = """
typedef {real} T;
typedef T V __attribute__((vector_size({width}), aligned(sizeof(T))));
enum {{ D = {blades}, P = {paths}, L = {lanes} }};
static inline void get(V *to, const T *from, long m, long blade, long step) {{
  if (step == 1) for (int i = 0; i < D; i++) to[i] = *(const V *)(from + i * blade + m);
  else for (int l = 0; l < L; l++)
    for (int i = 0; i < D; i++) ((T *)to)[i * L + l] = from[(m + l) * step + i * blade];
}}
static inline void put(const V *from, T *to, long m, long blade, long step) {{
  if (step == 1) for (int i = 0; i < D; i++) *(V *)(to + i * blade + m) = from[i];
  else for (int l = 0; l < L; l++)
    for (int i = 0; i < D; i++) to[(m + l) * step + i * blade] = ((const T *)from)[i * L + l];
}}
"""
_FORWARD = """
void forward(const T *x, long xb, long xs, const T *y, long yb, long ys, const T *w,
             T *z, long zb, long zs, long start, long stop, long period) {{
  V X[D], Y[D], Z[D], W[P];
  for (long c = 0; c < period; c += L) {{
    for (int p = 0; p < P; p++) W[p] = *(const V *)(w + p * period + c);
    for (long m = start + c; m < stop; m += period) {{
      get(X, x, m, xb, xs); get(Y, y, m, yb, ys);
{z}
      put(Z, z, m, zb, zs);
    }}
  }}
}}
"""
_BACKWARD = """
void backward(const T *g, long gb, long gs, const T *x, long xb, long xs,
              const T *y, long yb, long ys, const T *w, T *dx, long ub, long us,
              T *dy, long vb, long vs, T *dw, long start, long stop, long period) {{
  V G[D], X[D], Y[D], Z[D], W[P], A[P];
  for (long c = 0; c < period; c += L) {{
    for (int p = 0; p < P; p++) W[p] = *(const V *)(w + p * period + c);
    for (long from = start; from < stop; from += {block} * period) {{
      long to = from + {block} * period < stop ? from + {block} * period : stop;
      for (int p = 0; p < P; p++) A[p] = (V){{0}};
      for (long m = from + c; m < to; m += period) {{
        get(G, g, m, gb, gs); get(X, x, m, xb, xs); get(Y, y, m, yb, ys);
{x}
        put(Z, dx, m, ub, us);
{y}
        put(Z, dy, m, vb, vs);
      }}
      for (int p = 0; p < P; p++) *(V *)(dw + p * period + c) += A[p];
    }}
  }}
}}
"""


def _source(of: Algebra, dtype: torch.dtype) -> str:
    """The program of one algebra."""
    terms, (real, size) = weighted(of), _REALS[dtype]
    sizes = {"blades": of.blades, "paths": len(of.paths), "lanes": WIDTH // size}
    x = _lines(terms.x, of.blades, "G", "Y", "A[{path}] += t * X[{blade}];")
    return (
        _HEAD.format(real=real, width=WIDTH, **sizes)
        + _FORWARD.format(z=_lines(terms.z, of.blades, "X", "Y"))
        + _BACKWARD.format(block=BLOCK, x=x, y=_lines(terms.y, of.blades, "G", "X"))
    )


def _lines(rows: Sequence[Row], blades: int, u: str, v: str, beside: str = "") -> str:
    """Z[blade] = sum over rows of the path's weight times the row's terms."""
    lines, begun = [], set[int]()
    for path, blade, terms in sorted(rows, key=lambda row: row[1::-1]):
        sum_of = "".join(f" {'+' if sign else '-'} {u}[{i}] * {v}[{k}]" for i, k, sign in terms)
        into = f"Z[{blade}] {'+=' if blade in begun else '='} W[{path}] * t;"
        lines.append(f"{{ V t ={sum_of}; {into} {beside.format(path=path, blade=blade)} }}")
        begun.add(blade)
    lines += [f"Z[{blade}] = (V){{0}};" for blade in range(blades) if blade not in begun]
    return "\n".join(lines)
