"""The text of the C program of `angular_sums`.

Around each of `stop - start` atoms lie `width` slots, the first `counts` of them filled by edges;
edge e + pairs is edge e reversed. p: (atoms, i, k, D), coefficients; v: (D, C) in each slot; y: one
row in each slot. `ins` are the edges of slots, `outs` their reversals. The names of arguments are
those of `zoo.functional.angular_sums`.
"""

import torch

from zoo.functional._pair_source import head

_SUMS = """
enum {{ D = {degrees}, ROWS = 4 }};
#define BLOCK(R) \\
  OVER(C, \\
    N s[R]; \\
    for (int a = 0; a < R; a++) s[a] = add ? AT(to[a]) : (N){{0}}; \\
    for (long k = 0; k < n; k++) {{ \\
      const T *from = v[k], *f = q + (i * width + k) * D; \\
      _Pragma("GCC unroll 16") \\
      for (int l = 0; l < D; l++) {{ \\
        N u = AT(from + l * C); \\
        _Pragma("GCC unroll 8") \\
        for (int a = 0; a < R; a++) s[a] += f[a * width * D + l] * u; \\
      }} \\
    }} \\
    for (int a = 0; a < R; a++) PUT(to[a]) = s[a];)
/* y_i (+)= sum over k and l of p_ikl v_kl */
static inline void sum(const T *q, T *const *v, T *y, const long *out, long n, long width, long C,
                       int add) {{
  long i = 0;
  T *to[ROWS];
  for (; i + ROWS <= n; i += ROWS) {{
    for (int a = 0; a < ROWS; a++) to[a] = y + out[i + a] * C;
    BLOCK(ROWS)
  }}
  for (; i < n; i++) {{ to[0] = y + out[i] * C; BLOCK(1) }}
}}
/* v_kl = sum over i of p_ikl g_i */
static inline void project(const T *q, const T *g, T *const *v, const long *out, long n,
                           long width, long C) {{
  for (long k = 0; k < n; k++) {{
    T *to = v[k];
    OVER(C,
      N s[D];
      for (int l = 0; l < D; l++) s[l] = (N){{0}};
      for (long i = 0; i < n; i++) {{
        N u = AT(g + out[i] * C);
        const T *f = q + (i * width + k) * D;
        _Pragma("GCC unroll 16")
        for (int l = 0; l < D; l++) s[l] += f[l] * u;
      }}
      for (int l = 0; l < D; l++) PUT(to + l * C) = s[l];)
  }}
}}
/* p_ikl = <g_i, v_kl>, zero in empty slots */
static inline void dots(const T *g, T *const *v, T *q, const long *out, long n, long width,
                        long C) {{
  for (long i = 0; i < width; i++) for (long k = 0; k < width; k++) {{
    T *to = q + (i * width + k) * D;
    if (i >= n || k >= n) {{ for (int l = 0; l < D; l++) to[l] = 0; continue; }}
    const T *up = g + out[i] * C, *from = v[k];
    V s[D]; T rest[D]; long c = 0;
    for (int l = 0; l < D; l++) {{ s[l] = (V){{0}}; rest[l] = 0; }}
    for (; c + LANES <= C; c += LANES) {{
      _Pragma("GCC unroll 16")
      for (int l = 0; l < D; l++) s[l] += *(const V *)(up + c) * *(const V *)(from + l * C + c);
    }}
    for (; c < C; c++) for (int l = 0; l < D; l++) rest[l] += up[c] * from[l * C + c];
    for (int l = 0; l < D; l++) to[l] = total(s[l]) + rest[l];
  }}
}}
#define ATOMS(...) \\
  for (long atom = start; atom < stop; atom++) {{ \\
    const long *in = ins + atom * width, *out = outs + atom * width, n = counts[atom]; \\
    long at = atom * width * width * D; \\
    __VA_ARGS__ \\
  }}
#define SLOTS const long *ins, const long *outs, const long *counts, long width, long C
#define RANGE long start, long stop
#define ROWS_OF(v) T *rows[width]; for (long k = 0; k < n; k++) rows[k] = (T *)(v) + in[k] * D * C
/* values that lie in memory */
void values(const T *p, const T *v, T *y, SLOTS, long add, RANGE) {{
  ATOMS(ROWS_OF(v); sum(p + at, rows, y, out, n, width, C, add);)
}}
void values_back(const T *p, const T *g, T *v, SLOTS, RANGE) {{
  ATOMS(ROWS_OF(v); project(p + at, g, rows, out, n, width, C);)
}}
void values_dots(const T *g, const T *v, T *p, SLOTS, RANGE) {{
  ATOMS(ROWS_OF(v); dots(g, rows, p + at, out, n, width, C);)
}}
"""

_FACTORED = """
/* values x_k sum over m of r_klm w_lm, which are made where they are needed, in `space` */
#define SIZES const long *ins, const long *outs, const long *counts, T *space, long width, \\
              long C, long M, long pairs
#define LOCAL(v) T *v[width]; \\
  for (long k = 0; k < width; k++, space_ += D * C) v[k] = space_;
#define RADIAL(r, k) ((r) + in[k] % pairs * D * M)
static inline void factors(const T *r, const T *w, T *b, long C, long M) {{
  for (int l = 0; l < D; l++) factor(r + l * M, w + l * M * C, b + l * C, C, M);
}}
void factored(const T *p, const T *x, const T *r, const T *w, T *y, SIZES, RANGE) {{
  ATOMS(
    T *space_ = space;
    LOCAL(v)
    for (long k = 0; k < n; k++) {{
      const T *from = x + in[k] * C;
      factors(RADIAL(r, k), w, v[k], C, M);
      for (int l = 0; l < D; l++) OVER(C, PUT(v[k] + l * C) *= AT(from);)
    }}
    sum(p + at, v, y, out, n, width, C, 0);)
}}
/* dp may be missing, and so may dw, which is added to; dr has a row for each edge */
void factored_back(const T *p, const T *g, const T *x, const T *r, const T *w,
                   T *dp, T *dx, T *dr, T *dw, SIZES, RANGE) {{
  ATOMS(
    T *space_ = space;
    LOCAL(b) LOCAL(v) LOCAL(up)
    project(p + at, g, up, out, n, width, C);
    for (long k = 0; k < n; k++) {{
      const T *from = x + in[k] * C, *by = RADIAL(r, k);
      T *to = dx + in[k] * C;
      factors(by, w, b[k], C, M);
      for (int l = 0; l < D; l++) {{
        const T *bl = b[k] + l * C;
        T *ul = up[k] + l * C, *vl = v[k] + l * C;
        OVER(C,
          N f = AT(bl), u = AT(ul), z = AT(from);
          PUT(vl) = f * z;
          PUT(to) = (l ? AT(to) : (N){{0}}) + f * u;
          PUT(ul) = u * z;)
        gather(ul, by + l * M, w + l * M * C, dr + (in[k] * D + l) * M,
               dw ? dw + l * M * C : 0, C, M);
      }}
    }}
    if (dp) dots(g, v, dp + at, out, n, width, C);)
}}
/* the derivative of the above along tp, tx and tr */
void factored_again(const T *tp, const T *tx, const T *tr, const T *p, const T *g, const T *x,
                    const T *r, const T *w, T *dg, T *dp, T *dx, T *dr, T *dw, SIZES, RANGE) {{
  ATOMS(
    T *space_ = space;
    LOCAL(b) LOCAL(tb) LOCAL(v) LOCAL(tv) LOCAL(up) LOCAL(tup)
    for (long k = 0; k < n; k++) {{
      const T *from = x + in[k] * C, *move = tx + in[k] * C;
      factors(RADIAL(r, k), w, b[k], C, M);
      factors(RADIAL(tr, k), w, tb[k], C, M);
      for (int l = 0; l < D; l++) {{
        const T *bl = b[k] + l * C, *tbl = tb[k] + l * C;
        T *vl = v[k] + l * C, *tvl = tv[k] + l * C;
        OVER(C, PUT(vl) = AT(bl) * AT(from); PUT(tvl) = AT(bl) * AT(move) + AT(tbl) * AT(from);)
      }}
    }}
    sum(tp + at, v, dg, out, n, width, C, 0);
    sum(p + at, tv, dg, out, n, width, C, 1);
    dots(g, tv, dp + at, out, n, width, C);
    project(p + at, g, up, out, n, width, C);
    project(tp + at, g, tup, out, n, width, C);
    for (long k = 0; k < n; k++) {{
      const T *from = x + in[k] * C, *move = tx + in[k] * C;
      const T *by = RADIAL(r, k), *along = RADIAL(tr, k);
      T *to = dx + in[k] * C;
      for (int l = 0; l < D; l++) {{
        const T *bl = b[k] + l * C, *tbl = tb[k] + l * C, *row = w + l * M * C;
        T *ul = up[k] + l * C, *tul = tup[k] + l * C, *sums = dw ? dw + l * M * C : 0;
        OVER(C,
          N u = AT(ul), t = AT(tul);
          PUT(to) = (l ? AT(to) : (N){{0}}) + AT(bl) * t + AT(tbl) * u;
          PUT(tul) = AT(from) * t + AT(move) * u;
          PUT(ul) = AT(from) * u;)
        gather(tul, by + l * M, row, dr + (in[k] * D + l) * M, sums, C, M);
        if (sums) gather(ul, along + l * M, row, NULL, sums, C, M);
      }}
    }})
}}
"""


def program(dtype: torch.dtype, degrees: int) -> str:
    """The program for so many degrees."""
    return head(dtype) + (_SUMS + _FACTORED).format(degrees=degrees)
