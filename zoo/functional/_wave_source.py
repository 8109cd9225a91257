"""The text of the C programs of `spherical_basis`: values with their first and second derivatives.

Spherical Bessel functions are computed in float64 whatever the type: upwards in the degree from
sine and cosine where x is above it, downwards from two power series below, and by two terms of
the series next to zero. Derivatives are the functions of neighbouring degrees,
j_l' = (l j_(l-1) - (l+1) j_(l+1)) / (2l+1).
"""

import torch

from zoo.functional._library import REALS

_BESSEL = """
#include <math.h>
typedef {real} T;
/* x^k / (2k+1)!! (1 - x^2 / 2(2k+3) + ...) */
static double series(double x, long k) {{
  double step = -0.5 * x * x, term = 1, sum = 1;
  for (long i = 1; i <= k; i++) term *= x / (2 * i + 1);
  double first = term;
  for (long i = 1; i < 60; i++) {{
    term *= step / (i * (2 * k + 2 * i + 1));
    sum += first != 0 ? term / first : 0;
    if (fabs(term) <= 1e-18 * fabs(first)) break;
  }}
  return first * sum;
}}
/* j of the degrees l - 2 to l + 2 */
static void family(double x, long l, double *j) {{
  if (x < 1e-3) {{
    for (long s = 0; s < 5; s++) j[s] = l + s < 2 ? 0 : series(x, l + s - 2);
  }} else if (x < l + 1) {{
    double high = series(x, l + 2), low = series(x, l + 1);
    j[4] = high; j[3] = low;
    for (long k = l + 1; k > l - 2; k--) {{
      double next = (2 * k + 1) / x * low - high;
      high = low; low = next;
      j[k - l + 1] = k < 1 ? 0 : next;
    }}
  }} else {{
    double inverse = 1 / x, low = sin(x) * inverse, high = (low - cos(x)) * inverse;
    for (long s = 0; s < 5; s++) j[s] = 0;
    for (long k = 0; k <= l + 2; k++) {{
      if (k >= l - 2) j[k - l + 2] = low;
      double next = (2 * k + 3) * inverse * high - low;
      low = high; high = next;
    }}
  }}
}}
/* rows of `degrees` times `count` numbers, l the place of the degree */
void bessel(const T *x, T *value, T *first, T *second, long degrees, long count,
            long start, long stop) {{
  for (long row = start; row < stop; row++) for (long l = 0; l < degrees; l++)
    for (long n = 0; n < count; n++) {{
      long at = (row * degrees + l) * count + n;
      double j[5], w = 1.0 / (2 * l + 1);
      family(x[at], l, j);
      double below = l ? ((l - 1) * j[0] - l * j[2]) / (2 * l - 1) : 0;
      double above = ((l + 1) * j[2] - (l + 2) * j[4]) / (2 * l + 3);
      value[at] = j[2];
      first[at] = w * (l * j[1] - (l + 1) * j[3]);
      second[at] = w * (l * below - (l + 1) * above);
    }}
}}
"""

_LEGENDRE = """
typedef {real} T;
enum {{ D = {degrees} }};
/* P_l, P_l', P_l'' with P'_(l+1) = P'_(l-1) + (2l+1) P_l, and the same once more */
static inline void polynomials(T c, T *p, T *q, T *r) {{
  p[0] = 1; q[0] = 0; r[0] = 0;
  if (D > 1) {{ p[1] = c; q[1] = 1; r[1] = 0; }}
  _Pragma("GCC unroll 16")
  for (int l = 2; l < D; l++) {{
    p[l] = ((T)(2 * l - 1) * c * p[l - 1] - (T)(l - 1) * p[l - 2]) * ((T)1 / l);
    q[l] = q[l - 2] + (2 * l - 1) * p[l - 1];
    r[l] = r[l - 2] + (2 * l - 1) * q[l - 1];
  }}
}}
/* all are zero where `kept` is */
void values(const T *c, const unsigned char *kept, T *out, long start, long stop) {{
  T p[D], q[D], r[D];
  for (long i = start; i < stop; i++) {{
    polynomials(c[i], p, q, r);
    for (int l = 0; l < D; l++) out[i * D + l] = kept[i] ? p[l] : 0;
  }}
}}
void slopes(const T *g, const T *c, const unsigned char *kept, T *out, long start, long stop) {{
  T p[D], q[D], r[D];
  for (long i = start; i < stop; i++) {{
    T sum = 0;
    polynomials(c[i], p, q, r);
    for (int l = 0; l < D; l++) sum += g[i * D + l] * q[l];
    out[i] = kept[i] ? sum : 0;
  }}
}}
void again(const T *t, const T *g, const T *c, const unsigned char *kept, T *by_g, T *by_c,
           long start, long stop) {{
  T p[D], q[D], r[D];
  for (long i = start; i < stop; i++) {{
    T sum = 0, along = kept[i] ? t[i] : 0;
    polynomials(c[i], p, q, r);
    for (int l = 0; l < D; l++) {{
      by_g[i * D + l] = along * q[l];
      sum += g[i * D + l] * r[l];
    }}
    by_c[i] = kept[i] ? along * sum : 0;
  }}
}}
"""


def bessel(dtype: torch.dtype) -> str:
    """The program of spherical Bessel functions."""
    return _BESSEL.format(real=REALS[dtype])


def legendre(dtype: torch.dtype, degrees: int) -> str:
    """The program of so many Legendre polynomials."""
    return _LEGENDRE.format(real=REALS[dtype], degrees=degrees)
