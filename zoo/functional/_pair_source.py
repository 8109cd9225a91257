"""The text of the C program of `pair_factors`, and what that of `angular_sums` begins with.

Channels are last everywhere and are read as vectors, the rest of a row one by one: `OVER` writes
its text for both.
"""

import torch

from zoo.functional._library import REALS

_HEAD = """
#include <stddef.h>
#if defined(__AVX512F__)
#define WIDTH 64
#elif defined(__AVX__)
#define WIDTH 32
#else
#define WIDTH 16
#endif
typedef {real} T;
typedef T V __attribute__((vector_size(WIDTH), aligned(sizeof(T))));
enum {{ LANES = WIDTH / sizeof(T) }};
#define AT(a) (*(const N *)((a) + c))
#define PUT(a) (*(N *)((a) + c))
#define OVER(count, ...) {{ \\
  long c = 0; \\
  for (; c + LANES <= (count); c += LANES) {{ typedef V N; __VA_ARGS__ }} \\
  for (; c < (count); c++) {{ typedef T N; __VA_ARGS__ }} }}
typedef T Q __attribute__((vector_size(16)));
static inline T total(V s) {{
  union {{ V whole; Q parts[WIDTH / 16]; }} u = {{ s }};
  Q q = u.parts[0];
  for (int i = 1; i < WIDTH / 16; i++) q += u.parts[i];
  T sum = q[0] + q[1];
  for (int i = 2; i < 16 / (int)sizeof(T); i += 2) sum += q[i] + q[i + 1];
  return sum;
}}
"""

_SHARED = """
/* b = sum over m of r_m w_m */
static inline void factor(const T *r, const T *w, T *b, long C, long M) {
  OVER(C, N s = {0}; for (long m = 0; m < M; m++) s += r[m] * AT(w + m * C); PUT(b) = s;)
}
/* dr += <sum of g x, w>, dw += r (sum of g x); either may be missing */
static inline void gather(const T *z, const T *r, const T *w, T *dr, T *dw, long C, long M) {
  for (long m = 0; m < M; m++) {
    const T *row = w + m * C;
    if (dr) {
      V s = {0}; T rest = 0; long c = 0;
      for (; c + LANES <= C; c += LANES) s += *(const V *)(z + c) * *(const V *)(row + c);
      for (; c < C; c++) rest += z[c] * row[c];
      dr[m] += total(s) + rest;
    }
    if (dw) { T *sum = dw + m * C, f = r[m]; OVER(C, PUT(sum) += f * AT(z);) }
  }
}
"""

_FACTORS = """
/* rows of x are edges, C numbers each; edge p + pairs is edge p reversed. r: pairs, L, M; w: L, M,
   C; everything as long as the result: edges, L, C */
void factors(const T *x, const T *r, const T *w, T *out, T *b,
             long C, long M, long L, long pairs, long start, long stop) {
  for (long p = start; p < stop; p++) for (long l = 0; l < L; l++) {
    factor(r + (p * L + l) * M, w + l * M * C, b, C, M);
    for (long e = p; e < 2 * pairs; e += pairs) {
      const T *from = x + e * C; T *to = out + (e * L + l) * C;
      OVER(C, PUT(to) = AT(from) * AT(b);)
    }
  }
}
/* dx is written; dr and dw, which may be missing, are added to */
void factors_back(const T *g, const T *x, const T *r, const T *w, T *dx, T *dr, T *dw, T *b,
                  long C, long M, long L, long pairs, long start, long stop) {
  T *z = b + C;
  for (long p = start; p < stop; p++) for (long l = 0; l < L; l++) {
    const T *by = r + (p * L + l) * M, *row = w + l * M * C;
    factor(by, row, b, C, M);
    for (long e = p; e < 2 * pairs; e += pairs) {
      const T *up = g + (e * L + l) * C, *from = x + e * C; T *to = dx + e * C;
      if (l == 0) OVER(C, PUT(to) = AT(up) * AT(b);)
      else OVER(C, PUT(to) += AT(up) * AT(b);)
      if (e == p) OVER(C, PUT(z) = AT(up) * AT(from);)
      else OVER(C, PUT(z) += AT(up) * AT(from);)
    }
    gather(z, by, row, dr ? dr + (p * L + l) * M : 0, dw ? dw + l * M * C : 0, C, M);
  }
}
/* the derivative of the above along tx and tr: by g, x, r and w */
void factors_again(const T *tx, const T *tr, const T *g, const T *x, const T *r, const T *w,
                   T *dg, T *dx, T *dr, T *dw, T *b,
                   long C, long M, long L, long pairs, long start, long stop) {
  T *tb = b + C, *z = tb + C, *tz = z + C;
  for (long p = start; p < stop; p++) for (long l = 0; l < L; l++) {
    const T *by = r + (p * L + l) * M, *along = tr + (p * L + l) * M, *row = w + l * M * C;
    factor(by, row, b, C, M); factor(along, row, tb, C, M);
    for (long e = p; e < 2 * pairs; e += pairs) {
      long at = (e * L + l) * C;
      const T *up = g + at, *from = x + e * C, *move = tx + e * C;
      T *to = dx + e * C, *ug = dg + at;
      OVER(C,
        N u = AT(up), v = AT(from), t = AT(move);
        PUT(ug) = v * AT(tb) + t * AT(b);
        PUT(to) = (l ? AT(to) : (N){0}) + u * AT(tb);
        PUT(z) = (e == p ? (N){0} : AT(z)) + u * v;
        PUT(tz) = (e == p ? (N){0} : AT(tz)) + u * t;)
    }
    T *sum = dw ? dw + l * M * C : 0;
    gather(tz, by, row, dr + (p * L + l) * M, sum, C, M);
    if (sum) gather(z, along, row, 0, sum, C, M);
  }
}
"""


def factors(dtype: torch.dtype) -> str:
    """The program of `pair_factors`."""
    return head(dtype) + _FACTORS


def head(dtype: torch.dtype) -> str:
    """Types, and functions that programs share."""
    return _HEAD.format(real=REALS[dtype]) + _SHARED
