"""The text of the C programs of norms and gates: each group of blades times its own factor.

Groups are the grades, or what else divides the blades into parts with a quadratic form each. A
program holds three pairs of functions, forward and backward, of the kinds that `_gates` has, norm,
silu and level. Parameters are spread over a period of multivectors, see `_native`.
"""

from collections.abc import Sequence

import torch

from zoo.functional.clifford._algebra import Algebra
from zoo.functional.clifford._source import BLOCK, head

#: of exp: where it is cut off, terms of its series, bits of the mantissa, the exponent's bias
_EXP = {torch.float32: (87, 7, 23, 127), torch.float64: (707, 13, 52, 1023)}

_MATH = """
enum {{ Q = {groups} }};
static inline V root(V x) {{
  V r;
  for (int l = 0; l < L; l++) r[l] = {sqrt}(x[l]);
  return r;
}}
static inline V where(I mask, V a, V b) {{ return (V)((mask & (I)a) | (~mask & (I)b)); }}
static inline V all(T x) {{ return x - (V){{0}}; }}
static inline V power(V x) {{ /* e^x */
  x = where(x > all({cut}), all({cut}), where(x < all(-{cut}), all(-{cut}), x));
  V magic = all({magic}), t = x * (T)1.4426950408889634 + magic, n = t - magic;
  V r = x - n * (T){high};
  r -= n * (T){low};
  V sum = all((T){first});
{horner}
  return sum * (V)((((I)t - (I)magic) + {bias}) << {bits});
}}
/* (q^2 + 1e-16)^(1/4) */
static inline V smooth(V q) {{ return root(root(q * q + (T)1e-16)); }}
#define PARAMETER(i) (*(const V *)(w + (i) * period + c))
#define SUM(i) (*(V *)(sums + (i) * period + c))
"""

_PAIR = """
void {kind}(const T *x, long xb, const T *w, T *z, long zb, T *space,
            long start, long stop, long period, long channels, T least) {{
  V X[D];
  for (long m = start, c = 0; m < stop; m += L, c = c + L == period ? 0 : c + L) {{
    long count = stop - m < L ? stop - m : L;
    get(X, x, m, count, xb);
{forward}
    put(X, z, m, count, zb);
  }}
}}
void {kind}_backward(const T *g, long gb, const T *x, long xb, const T *w, T *dx, long ub,
                     T *dw, T *sums, T *space, long start, long stop, long period,
                     long channels, T least) {{
  V G[D], X[D];
  for (long from = start; from < stop; from += {block} * period) {{
    long to = from + {block} * period < stop ? from + {block} * period : stop;
    for (long m = from, c = 0; m < to; m += L, c = c + L == period ? 0 : c + L) {{
      long count = stop - m < L ? stop - m : L;
      get(G, g, m, count, gb); get(X, x, m, count, xb);
{backward}
      put(G, dx, m, count, ub);
    }}
    for (long i = 0; i < {parameters} * period; i++) {{ dw[i] += sums[i]; sums[i] = 0; }}
  }}
}}
"""

# one period at a time, a whole number of samples: first the norms, then the mean, then the factors
_LEVEL = """
static inline V total(const V *X) {{ return {total}; }}
/* 1 / the mean over each sample's channels of the norms in `space`, in their places */
static inline void invert(T *space, long count, long channels, T least) {{
  for (long b = 0; b < count; b += channels) {{
    T sum = 0;
    for (long i = b; i < b + channels; i++) sum += space[i];
    T mean = sum / channels + (T)1e-6, f = 1 / (mean < least ? least : mean);
    for (long i = b; i < b + channels; i++) space[i] = f;
  }}
}}
void level(const T *x, long xb, const T *w, T *z, long zb, T *space,
           long start, long stop, long period, long channels, T least) {{
  V X[D];
  for (long from = start; from < stop; from += period) {{
    long size = stop - from < period ? stop - from : period;
    for (long c = 0; c < size; c += L) {{
      get(X, x, from + c, size - c < L ? size - c : L, xb);
      *(V *)(space + c) = smooth(total(X));
    }}
    invert(space, size, channels, least);
    for (long c = 0; c < size; c += L) {{
      long count = size - c < L ? size - c : L;
      get(X, x, from + c, count, xb);
      V f = *(V *)(space + c) * PARAMETER(0);
      for (int i = 0; i < D; i++) X[i] *= f;
      put(X, z, from + c, count, zb);
    }}
  }}
}}
void level_backward(const T *g, long gb, const T *x, long xb, const T *w, T *dx, long ub,
                    T *dw, T *sums, T *space, long start, long stop, long period,
                    long channels, T least) {{
  V G[D], X[D];
  T *dots = space + period, *pulls = dots + period;
  long rounds = 0;
  for (long from = start; from < stop; from += period) {{
    long size = stop - from < period ? stop - from : period;
    for (long c = 0; c < size; c += L) {{
      long count = size - c < L ? size - c : L;
      get(G, g, from + c, count, gb); get(X, x, from + c, count, xb);
      V dot = {{0}};
      for (int i = 0; i < D; i++) dot += G[i] * X[i];
      *(V *)(dots + c) = dot;
      *(V *)(space + c) = smooth(total(X));
    }}
    invert(space, size, channels, least);
    for (long b = 0; b < size; b += channels) {{
      T f = space[b], pull = 0;
      for (long i = b; i < b + channels; i++) {{
        pull += dots[i] * w[i];
        sums[i] += dots[i] * f;
      }}
      pull = least > 0 && f * least >= 1 ? 0 : -pull * f * f / channels;
      for (long i = b; i < b + channels; i++) pulls[i] = pull;
    }}
    for (long c = 0; c < size; c += L) {{
      long count = size - c < L ? size - c : L;
      get(G, g, from + c, count, gb); get(X, x, from + c, count, xb);
      V q = total(X), r = smooth(q), f = *(V *)(space + c) * PARAMETER(0);
      V pull = *(V *)(pulls + c) * q / (r * r * r);
{back}
      put(G, dx, from + c, count, ub);
    }}
    if (++rounds % {block} == 0 || from + period >= stop)
      for (long i = 0; i < period; i++) {{ dw[i] += sums[i]; sums[i] = 0; }}
  }}
}}
"""


def gates(of: Algebra, dtype: torch.dtype, groups: Sequence[int]) -> str:
    """The program of one algebra.

    Args:
        of: the algebra.
        dtype: of the numbers.
        groups: the group of each blade.
    """
    norm = [_norm(of, groups, part) for part in _parts(groups)]
    silu = [_silu(of, groups, part) for part in _parts(groups)]
    squares = _form(of, range(of.blades))
    back = _pulled(of, range(of.blades), "pull")
    return (
        head(of, dtype)
        + _maths(dtype, len(_parts(groups)))
        + _pair("norm", norm, len(norm))
        + _pair("silu", silu, 2 * len(silu))
        + _LEVEL.format(total=squares, back=back, block=BLOCK)
    )


def _pair(kind: str, texts: Sequence[tuple[str, str]], parameters: int) -> str:
    forward, backward = ("\n".join(lines) for lines in zip(*texts, strict=True))
    return _PAIR.format(
        kind=kind, forward=forward, backward=backward, parameters=parameters, block=BLOCK
    )


def _maths(dtype: torch.dtype, groups: int) -> str:
    """e^x by its series about the nearest multiple of log 2, which is taken off in two parts."""
    cut, terms, bits, bias = _EXP[dtype]
    factorials = [1.0]
    for k in range(1, terms + 1):
        factorials.append(factorials[-1] / k)
    *rest, first = factorials
    high, low = (
        (0.693359375, -2.12194440054690583e-4)
        if dtype == torch.float32
        else (0.693147180369123816490, 1.90821492927058770002e-10)
    )
    return _MATH.format(
        groups=groups,
        sqrt="__builtin_sqrtf" if dtype == torch.float32 else "__builtin_sqrt",
        cut=f"(T){cut}",
        magic=f"(T){1.5 * 2**bits!r}",
        high=repr(high),
        low=repr(low),
        first=repr(first),
        horner="\n".join(f"  sum = sum * r + (T){c!r};" for c in reversed(rest)),
        bias=bias,
        bits=bits,
    )


def _parts(groups: Sequence[int]) -> list[list[int]]:
    """The blades of each group."""
    return [[i for i, g in enumerate(groups) if g == group] for group in range(max(groups) + 1)]


def _form(of: Algebra, blades: Sequence[int]) -> str:
    """The quadratic form of some blades."""
    terms = [f"{_sign(of, i)} X[{i}] * X[{i}]" for i in blades if of.squares[i]]
    return " ".join(["(V){0}", *terms])


def _sign(of: Algebra, blade: int) -> str:
    return "+" if of.squares[blade] > 0 else "-"


def _norm(of: Algebra, groups: Sequence[int], part: Sequence[int]) -> tuple[str, str]:
    """x / (s (|x| - 1) + 1), its divisor kept above `least`."""
    place = groups[part[0]]
    common = (
        f"V q = {_form(of, part)}, r = smooth(q), s = PARAMETER({place});\n"
        "V d = s * (r - 1) + 1, f = 1 / (where(d < least, all(least), d) + (T)1e-6);"
    )
    forward = " ".join(f"X[{i}] *= f;" for i in part)
    # the derivative of the root is q / (2 r^3), that of the form 2 x
    pull = (
        f"V p = where(d < least, all(0), -f * f * ({_dot(part)}));\n"
        f"SUM({place}) += p * (r - 1); p *= s * q / (r * r * r);"
    )
    return f"{{ {common}\n{forward} }}", f"{{ {common}\n{pull}\n{_pulled(of, part)} }}"


def _silu(of: Algebra, groups: Sequence[int], part: Sequence[int]) -> tuple[str, str]:
    """x sigmoid(a q + b), of the scalar x sigmoid(a x + b)."""
    place = groups[part[0]]
    scalar = list(part) == [0]
    common = (
        f"V q = {'X[0]' if scalar else _form(of, part)}, a = PARAMETER({place});\n"
        f"V e = power(-(a * q + PARAMETER(Q + {place}))), f = 1 / (1 + e);"
    )
    forward = " ".join(f"X[{i}] *= f;" for i in part)
    pull = (
        f"V p = ({_dot(part)}) * (f * (e * f));\n"
        f"SUM({place}) += p * q; SUM(Q + {place}) += p; p *= {'' if scalar else '2 * '}a;"
    )
    back = "G[0] = G[0] * f + p;" if scalar else _pulled(of, part)
    return f"{{ {common}\n{forward} }}", f"{{ {common}\n{pull}\n{back} }}"


def _dot(part: Sequence[int]) -> str:
    return " + ".join(f"G[{i}] * X[{i}]" for i in part)


def _pulled(of: Algebra, part: Sequence[int], pull: str = "p") -> str:
    lines = []
    for i in part:
        form = f" {_sign(of, i)} {pull} * X[{i}]" if of.squares[i] else ""
        lines.append(f"G[{i}] = G[{i}] * f{form};")
    return "\n".join(lines)
