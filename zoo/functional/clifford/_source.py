"""The text of the C programs of `_native`: straight-line code on vectors of numbers.

A program works on as many multivectors at a time as a register has lanes. All terms of one path of
grades stand together: the blades of three grades are few enough to stay in registers, so that each
number is read once for all products that it is in.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch

from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._plan import weighted

REALS = {torch.float32: ("float", "int", 4), torch.float64: ("double", "long", 8)}
#: samples whose contributions to the weights' gradient are summed before they join the rest
BLOCK = 256

#: place in the first operand, in the second, in the result, whether the sign is +
Term = tuple[int, int, int, bool]

_HEAD = """
#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef {real} T;
typedef T V __attribute__((vector_size(WIDTH), aligned(sizeof(T))));
typedef {whole} I __attribute__((vector_size(WIDTH)));
enum {{ D = {blades}, L = WIDTH / sizeof(T) }};
long lanes(void) {{ return L; }}
/* what was read before is read again: values of one path only are kept in registers */
#define FORGET(...) __asm__ volatile("" : : __VA_ARGS__ : "memory")
/* even or odd, first or second halves of the numbers in two vectors */
#if defined(__clang__) || __GNUC__ >= 12
#define PICK __builtin_shufflevector
#if WIDTH / {size} == 16
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif WIDTH / {size} == 8
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif WIDTH / {size} == 4
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#else
#define EVEN 0, 2
#define ODD 1, 3
#define LOW 0, 2
#define HIGH 1, 3
#endif
/* D vectors that hold L multivectors one after the other, as one vector per blade */
static inline void split(V *to, const T *from) {{
  V a[D], b[D];
  for (int i = 0; i < D; i++) a[i] = *(const V *)(from + i * L);
#pragma GCC unroll 8
  for (int step = 1; step < D; step *= 2) {{
#pragma GCC unroll 256
    for (int i = 0; i < D / 2; i++) {{
      b[i] = PICK(a[2 * i], a[2 * i + 1], EVEN);
      b[i + D / 2] = PICK(a[2 * i], a[2 * i + 1], ODD);
    }}
#pragma GCC unroll 256
    for (int i = 0; i < D; i++) a[i] = b[i];
  }}
  for (int i = 0; i < D; i++) to[i] = a[i];
}}
static inline void join(const V *from, T *to) {{
  V a[D], b[D];
  for (int i = 0; i < D; i++) a[i] = from[i];
#pragma GCC unroll 8
  for (int step = 1; step < D; step *= 2) {{
#pragma GCC unroll 256
    for (int i = 0; i < D / 2; i++) {{
      b[2 * i] = PICK(a[i], a[i + D / 2], LOW);
      b[2 * i + 1] = PICK(a[i], a[i + D / 2], HIGH);
    }}
#pragma GCC unroll 256
    for (int i = 0; i < D; i++) a[i] = b[i];
  }}
  for (int i = 0; i < D; i++) *(V *)(to + i * L) = a[i];
}}
#else
static inline void split(V *to, const T *from) {{
  for (int l = 0; l < L; l++) for (int i = 0; i < D; i++) ((T *)to)[i * L + l] = from[l * D + i];
}}
static inline void join(const V *from, T *to) {{
  for (int l = 0; l < L; l++) for (int i = 0; i < D; i++) to[l * D + i] = ((T *)from)[i * L + l];
}}
#endif
/* multivectors m to m + count; `blade` steps from blade to blade, or 1 where blades are last */
static inline void get(V *to, const T *from, long m, long count, long blade) {{
  if (count == L) {{
    if (blade == 1) split(to, from + m * D);
    else for (int i = 0; i < D; i++) to[i] = *(const V *)(from + i * blade + m);
  }} else for (int i = 0; i < D; i++) {{
    to[i] = (V){{0}};
    for (long l = 0; l < count; l++)
      ((T *)to)[i * L + l] = blade == 1 ? from[(m + l) * D + i] : from[i * blade + m + l];
  }}
}}
static inline void put(const V *from, T *to, long m, long count, long blade) {{
  if (count == L) {{
    if (blade == 1) join(from, to + m * D);
    else for (int i = 0; i < D; i++) *(V *)(to + i * blade + m) = from[i];
  }} else for (int i = 0; i < D; i++) for (long l = 0; l < count; l++)
    to[blade == 1 ? (m + l) * D + i : i * blade + m + l] = ((const T *)from)[i * L + l];
}}
"""

_PRODUCT = """
enum {{ P = {paths} }};
#define W(p) (*(const V *)(w + (p) * period + c))
/* `add`: the product joins what is in z */
void forward(const T *x, long xb, const T *y, long yb, const T *w, T *z, long zb, long add,
             long start, long stop, long period) {{
  V X[D], Y[D], Z[D];
  for (long m = start, c = start % period; m < stop; m += L, c = c + L == period ? 0 : c + L) {{
    long count = stop - m < L ? stop - m : L;
    get(X, x, m, count, xb); get(Y, y, m, count, yb);
{z}
    if (add) {{
      get(X, z, m, count, zb);
      for (int i = 0; i < D; i++) Z[i] += X[i];
    }}
    put(Z, z, m, count, zb);
  }}
}}
/* `sums` has the shape of w and is zero: what a block of samples adds to `dw` */
void backward(const T *g, long gb, const T *x, long xb, const T *y, long yb, const T *w,
              T *dx, long ub, T *dy, long vb, T *dw, T *sums, long start, long stop, long period) {{
  V G[D], X[D], Y[D], Z[D];
  for (long from = start; from < stop; from += {block} * period) {{
    long to = from + {block} * period < stop ? from + {block} * period : stop;
    for (long m = from, c = 0; m < to; m += L, c = c + L == period ? 0 : c + L) {{
      long count = stop - m < L ? stop - m : L;
      get(G, g, m, count, gb); get(X, x, m, count, xb); get(Y, y, m, count, yb);
{x}
      put(Z, dx, m, count, ub);
{y}
      put(Z, dy, m, count, vb);
    }}
    for (long i = 0; i < P * period; i++) {{ dw[i] += sums[i]; sums[i] = 0; }}
  }}
}}
"""


def head(of: Algebra, dtype: torch.dtype) -> str:
    """What every program begins with: types, and how multivectors are read and written."""
    real, whole, size = REALS[dtype]
    return _HEAD.format(real=real, whole=whole, size=size, blades=of.blades)


def product(of: Algebra, dtype: torch.dtype) -> str:
    """The program of the weighted product of one algebra."""
    by_path: dict[int, list[Term]] = defaultdict(list)
    for path, blade, terms in weighted(of).z:
        by_path[path] += [(i, k, blade, sign) for i, k, sign in terms]
    left = {p: [(j, k, i, s) for i, k, j, s in terms] for p, terms in by_path.items()}
    right = {p: [(j, i, k, s) for i, k, j, s in terms] for p, terms in by_path.items()}
    return head(of, dtype) + _PRODUCT.format(
        paths=len(of.paths),
        block=BLOCK,
        z=_sums(of, by_path, 1, "X", "Y"),
        x=_sums_and_dots(of, left, "G", "Y", "X"),
        y=_sums(of, right, 2, "G", "X"),
    )


def _sums(of: Algebra, terms: dict[int, list[Term]], axis: int, u: str, v: str) -> str:
    """Z = sum over paths of the weight times the terms; `axis` of the path is Z's grade."""
    lines = []
    for grade in range(len(of.sizes)):
        blades = range(of.slice(grade).start, of.slice(grade).stop)
        lines.append("{ " + _zeros("z", blades))
        for path, found in sorted(terms.items()):
            if of.paths[path][axis] == grade:
                lines += _terms(found, u, v, "z", f"W({path})")
        lines += [f"Z[{b}] = z{b};" for b in blades] + ["}"]
    return "\n".join(lines)


def _sums_and_dots(of: Algebra, terms: dict[int, list[Term]], u: str, v: str, by: str) -> str:
    """The same by left grade; and each path's terms times `by`, added to `sums`."""
    lines = []
    for grade in range(len(of.sizes)):
        blades = range(of.slice(grade).start, of.slice(grade).stop)
        lines.append("{ " + _zeros("z", blades))
        for path, found in sorted(terms.items()):
            if of.paths[path][0] != grade:
                continue
            rows = sorted({out for _, _, out, _ in found})
            lines += ["{ " + _zeros("t", rows), *_terms(found, u, v, "t")]
            lines.append(f"V q = W({path}), a = *(V *)(sums + {path} * period + c);")
            lines += [f"z{b} += q * t{b}; a += t{b} * {by}[{b}];" for b in rows]
            lines.append(f"*(V *)(sums + {path} * period + c) = a; }}")
        lines += [f"Z[{b}] = z{b};" for b in blades] + ["}"]
    return "\n".join(lines)


def _terms(terms: Sequence[Term], u: str, v: str, into: str, weight: str = "") -> list[str]:
    """Adds products: the operand with fewer blades is held, the other one passes by."""
    lefts, rights = (sorted({term[side] for term in terms}) for side in (0, 1))
    flip = len(rights) > len(lefts)
    held, passing = (lefts, rights) if flip else (rights, lefts)
    names = (u, v) if flip else (v, u)
    times = f" * {weight}" if weight else ""
    lines = [f'{{ FORGET("r"({u}), "r"({v}));']
    lines += [f"V h{b} = {names[0]}[{b}]{times};" for b in held]
    for b in passing:
        lines.append(f"{{ V p = {names[1]}[{b}];")
        for left, right, out, sign in terms:
            if (right if flip else left) == b:
                other = left if flip else right
                lines.append(f"{into}{out} {'+' if sign else '-'}= p * h{other};")
        lines.append("}")
    return [*lines, "}"]


def _zeros(name: str, blades: Iterable[int]) -> str:
    return " ".join(f"V {name}{b} = {{0}};" for b in blades)
