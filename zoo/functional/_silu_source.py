"""The text of the C program of `_silu_passes`: one pass over memory for each order of derivative.

With n the whole number next to x / log 2, exp(x) = 2^n exp(x - n log 2), the second factor by its
power series, which needs few terms, since its argument is below log(2) / 2. Loops are written so
that compilers turn them into vector code.
"""

from decimal import Decimal, localcontext

import torch

from zoo.functional._library import REALS

#: a whole number as long; bits of the fraction; offset of the exponent; terms of the series; where
#: exp is cut off; bits of log 2 whose products with n are exact
_FORM = {"float": ("int", 23, 127, 7, 87.0, 12), "double": ("long long", 52, 1023, 13, 708.0, 32)}

_PROGRAM = """
#include <string.h>
typedef {real} T;
typedef {whole} I;
typedef unsigned {whole} U;
static inline T logistic(T x) {{ /* 1 / (1 + exp(-x)) */
  T y = -x;
  y = y < (T){low} ? (T){low} : y;
  y = y > (T){high} ? (T){high} : y;
  T shifted = y * (T){inverse} + (T){round};
  T whole = shifted - (T){round};
  T rest = (y - whole * (T){log_high}) - whole * (T){log_low};
  T power = {series};
  I bits;
  memcpy(&bits, &shifted, sizeof bits);
  bits = (I)(((U)bits << {fraction}) + ((U){offset} << {fraction}));
  T scale;
  memcpy(&scale, &bits, sizeof scale);
  return 1 / (1 + power * scale);
}}
/* y = silu(x) */
void value(const T *restrict x, T *restrict y, long start, long stop) {{
  for (long i = start; i < stop; i++) y[i] = x[i] * logistic(x[i]);
}}
/* y = base + silu(x) */
void value_added(const T *restrict x, const T *restrict base, T *restrict y,
                 long start, long stop) {{
  for (long i = start; i < stop; i++) y[i] = base[i] + x[i] * logistic(x[i]);
}}
/* y = g silu'(x); y may be g */
void slope(const T *g, const T *restrict x, T *y, long start, long stop) {{
#pragma GCC ivdep
  for (long i = start; i < stop; i++) {{
    T s = logistic(x[i]);
    y[i] = g[i] * (s + x[i] * s * (1 - s));
  }}
}}
/* y = g silu'(x) + more; y may be g */
void slope_added(const T *g, const T *restrict x, const T *restrict more, T *y,
                 long start, long stop) {{
#pragma GCC ivdep
  for (long i = start; i < stop; i++) {{
    T s = logistic(x[i]);
    y[i] = g[i] * (s + x[i] * s * (1 - s)) + more[i];
  }}
}}
/* t silu'(x), g silu'(x), t g silu''(x); the first may be t */
void both(const T *t, const T *restrict g, const T *restrict x, T *along,
          T *restrict back, T *restrict curved, long start, long stop) {{
#pragma GCC ivdep
  for (long i = start; i < stop; i++) {{
    T s = logistic(x[i]), flat = s * (1 - s), slope = s + x[i] * flat, u = t[i];
    back[i] = g[i] * slope;
    curved[i] = u * g[i] * (flat * (2 + x[i] * (1 - 2 * s)));
    along[i] = u * slope;
  }}
}}
"""


def program(dtype: torch.dtype) -> str:
    """The program for numbers of one type."""
    real = REALS[dtype]
    whole, fraction, offset, terms, limit, kept = _FORM[real]
    with localcontext(prec=40):
        log_2 = Decimal(2).ln()
        log_high = Decimal(int(log_2 * 2**kept)) / 2**kept
        log_low = log_2 - log_high
    series = "1"
    for k in range(terms, 0, -1):
        series = f"1 + rest * (T){1 / k!r} * ({series})"
    return _PROGRAM.format(
        real=real,
        whole=whole,
        fraction=fraction,
        offset=offset,
        low=-limit,
        high=limit,
        inverse=repr(float(1 / log_2)),
        round=repr(1.5 * 2.0**fraction),
        log_high=repr(float(log_high)),
        log_low=repr(float(log_low)),
        series=series,
    )
