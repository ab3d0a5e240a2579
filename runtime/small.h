/* small.h: products of a stream's own matrices: a state times a vector, the outer product of two.
 *
 * A matrix is row-major, its rows `stride` numbers apart. Nothing behind its last number is read; what stands between
 * the end of a row and the next one may be read and is not used. Every sum has one order, given by the sizes. */

/* The first n lanes of x, zeros behind them. */
RN_INLINE rn_v rn_only(rn_v x, long n) { return n >= RN_VL ? x : (rn_v)((rn_i)x & rn_first(n)); }

/* The first n numbers of p, zeros behind them, as rn_load_part; where that is no single instruction, quick if the whole
 * vector lies before `end`. */
RN_INLINE rn_v rn_load_before(const real *p, long n, const real *end) {
#if defined(RN_MASKED_LOAD)
    (void)end;
#else
    if (n < RN_VL && p + RN_VL <= end) return rn_only(rn_load(p), n);
#endif
    return rn_load_part(p, n);
}

/* Lines of N = 2, 4 or 8 numbers one behind the other: vector k of `high` of them, RN_VL at most, and zeros behind. N such
 * vectors v, whose neighbours are joined (so_far and next) until v[0] has a number of each line. */
RN_INLINE rn_v rn_load_lines(const real *from, const int N, int k, long high) {
    return rn_load_part(from + k * RN_VL, RN_MIN(RN_VL, RN_MAX(0, high * N - k * RN_VL)));
}
#define RN_JOIN_NEIGHBOURS(N, v, join)                                                                               \
    RN_UNROLL for (int left = (N) / 2; left > 0; left /= 2)                                                          \
        RN_UNROLL for (int k = 0; k < left; k++) {                                                                   \
            const rn_v so_far = RN_SHUFFLE(v[2 * k], v[2 * k + 1], RN_EVEN);                                         \
            const rn_v next = RN_SHUFFLE(v[2 * k], v[2 * k + 1], RN_ODD);                                            \
            v[k] = join;                                                                                             \
        }

/* y[i] (+)= sum over j of S[i][j] q[j], rows of N = 2, 4 or 8 numbers one behind the other: RN_VL rows are N vectors,
 * whose neighbours are added until a number is left of each row. 64 x 8: 0.03 us, 0.12 as below (Xeon). */
RN_INLINE void rn_matvec_narrow(const int N, real *restrict y, const real *S, const real *q, long m, int accumulate) {
    RN_ALIGNED real again[RN_VL];
    for (int i = 0; i < RN_VL; i++) again[i] = q[i % N];
    const rn_v x = rn_load(again);
    for (long i = 0; i < m; i += RN_VL) {
        const long high = RN_MIN(RN_VL, m - i);
        rn_v sum[8];
        RN_UNROLL for (int k = 0; k < N; k++) sum[k] = x * rn_load_lines(S + i * N, N, k, high);
        RN_JOIN_NEIGHBOURS(N, sum, so_far + next)
        rn_store_part(y + i, accumulate ? sum[0] + rn_load_part(y + i, high) : sum[0], high);
    }
}

/* y[i] (+)= sum over j of S[i][j] q[j] for R rows, the last of which may be there several times: `high` are. Their sums
 * stand in one register each, and the lanes of all of them are added at once. What fills no vector is apart, or the sums
 * would not stay in registers. */
RN_INLINE void rn_matvec_rows(const int R, real *restrict y, const real *S, long stride, const real *q, long high, long n,
                              const real *end, int accumulate) {
    const real *row[RN_VL];
    rn_v sum[RN_VL];
    long j = 0;
    RN_UNROLL for (int r = 0; r < R; r++) row[r] = S + RN_MIN(r, high - 1) * stride, sum[r] = (rn_v){0};
    for (; j + RN_VL <= n; j += RN_VL) {
        const rn_v x = rn_load(q + j);
        RN_UNROLL for (int r = 0; r < R; r++) sum[r] += rn_load(row[r] + j) * x;
    }
    if (j < n) {
        const rn_v x = rn_load_part(q + j, n - j);
        RN_UNROLL for (int r = 0; r < R; r++) sum[r] += rn_load_before(row[r] + j, n - j, end) * x;
    }
    const rn_v total = R == RN_VL ? rn_sums_of_lanes(sum) : rn_sums_of_few(sum);
    rn_store_part(y, accumulate ? total + rn_load_part(y, high) : total, high);
}

/* The same for m rows, a vector of them at once, and RN_FEW at once of the rest. 64 x 64: 0.16 us, row by row 0.54
 * (Xeon, Zen 4). */
RN_FUNCTION void rn_matvec(real *restrict y, const real *S, long stride, const real *q, long m, long n,
                           int accumulate) {
    switch (stride == n && n <= RN_VL ? n : 0) {
    case 2: rn_matvec_narrow(2, y, S, q, m, accumulate); return;
    case 4: rn_matvec_narrow(4, y, S, q, m, accumulate); return;
    case 8: rn_matvec_narrow(8, y, S, q, m, accumulate); return;
    }
    const real *const end = S + (m - 1) * stride + n;
    long i = 0;
    for (; i + RN_VL <= m; i += RN_VL)
        rn_matvec_rows(RN_VL, y + i, S + i * stride, stride, q, RN_VL, n, end, accumulate);
    for (; i < m; i += RN_FEW)
        rn_matvec_rows(RN_FEW, y + i, S + i * stride, stride, q, RN_MIN(RN_FEW, m - i), n, end, accumulate);
}

/* y[j] (+)= sum over i of S[i][j] q[i * step] for C vectors of columns, of which `n` numbers are there: i in order. */
RN_INLINE void rn_matvec_down(const int C, real *restrict y, const real *S, long stride, const real *q, long step, long m,
                              long n, const real *end, int accumulate) {
    rn_v sum[4];
    RN_UNROLL for (int c = 0; c < C; c++)
        sum[c] = accumulate ? rn_load_part(y + c * RN_VL, n - c * RN_VL) : (rn_v){0};
    for (long i = 0; i < m; i++)
        RN_UNROLL for (int c = 0; c < C; c++)
            sum[c] += (c + 1 < C ? rn_load(S + i * stride + c * RN_VL)
                                 : rn_load_before(S + i * stride + c * RN_VL, n - c * RN_VL, end)) * q[i * step];
    RN_UNROLL for (int c = 0; c < C; c++) rn_store_part(y + c * RN_VL, sum[c], n - c * RN_VL);
}
RN_FUNCTION void rn_matvec_transposed(real *restrict y, const real *S, long stride, const real *q, long step, long m,
                                      long n, int accumulate) {
    const real *const end = S + (m - 1) * stride + n;
    for (; n >= 4 * RN_VL; n -= 4 * RN_VL, y += 4 * RN_VL, S += 4 * RN_VL)
        rn_matvec_down(4, y, S, stride, q, step, m, 4 * RN_VL, end, accumulate);
    switch ((n + RN_VL - 1) / RN_VL) {
    case 1: rn_matvec_down(1, y, S, stride, q, step, m, n, end, accumulate); break;
    case 2: rn_matvec_down(2, y, S, stride, q, step, m, n, end, accumulate); break;
    case 3: rn_matvec_down(3, y, S, stride, q, step, m, n, end, accumulate); break;
    case 4: rn_matvec_down(4, y, S, stride, q, step, m, n, end, accumulate); break;
    }
}

/* Lane l is p[l / n], of `left` numbers; n a power of two. */
RN_INLINE rn_v rn_each(const real *p, long n, long left) {
    if (n >= RN_VL) return rn_all(*p);
    rn_v x = rn_load_part(p, RN_MIN(RN_VL / n, left));
    for (long of = 1; of < n; of *= 2) x = RN_SHUFFLE(x, x, RN_LOW);
    return x;
}

/* to[i][j] = a[i] b[j], rows n apart. */
RN_FUNCTION void rn_outer(real *restrict to, const real *a, const real *b, long m, long n) {
    for (long j = 0; j < n; j += RN_VL) {
        const rn_v x = rn_load_part(b + j, n - j);
        for (long i = 0; i < m; i++) {
            real *const place = to + i * n + j;
            if (n - j >= RN_VL) rn_store(place, x * a[i]);
            else rn_store_part(place, x * a[i], n - j);
        }
    }
}

/* Of a square of from [..][columns] that is not full, `high` rows and `wide` columns, turned over into to [..][rows]. */
RN_FUNCTION void rn_turn_ragged(real *restrict to, const real *restrict from, long rows, long columns, long high,
                                long wide) {
    rn_v square[RN_VL];
    RN_UNROLL for (int r = 0; r < RN_VL; r++) square[r] = rn_load_part(from + RN_MIN(r, high - 1) * columns, wide);
    rn_transpose_square(square);
    RN_UNROLL for (int c = 0; c < RN_VL; c++)
        if (c < wide) rn_store_part(to + c * rows, square[c], high);
}
RN_FUNCTION void rn_turn_squares(real *restrict to, const real *restrict from, long rows, long columns) {
    for (long i = 0; i + RN_VL <= rows; i += RN_VL)
        for (long j = 0; j + RN_VL <= columns; j += RN_VL) {
            rn_v square[RN_VL];
            rn_square(square, from + i * columns + j, columns, 1);
            RN_UNROLL for (int r = 0; r < RN_VL; r++) rn_store(to + (j + r) * rows + i, square[r]);
        }
}

/* to [columns][rows] is from [rows][columns], turned over: square by square in registers, those that are not full too, if
 * they hold enough and part of a vector takes one instruction; the rest number by number. 64 x 64: 0.3 us, number by
 * number 2.4; 16 x 12 0.05 and 0.12 (Xeon). */
RN_FUNCTION void rn_turn(real *restrict to, const real *restrict from, long rows, long columns) {
    const long whole = columns - columns % RN_VL;
    if (rows >= RN_VL && whole) rn_turn_squares(to, from, rows, columns);
    for (long i = 0; i < rows; i += RN_VL)
        for (long j = i + RN_VL <= rows ? whole : 0; j < columns; j += RN_VL) {
            const real *const block = from + i * columns + j;
            real *const turned = to + j * rows + i;
            const long high = RN_MIN(RN_VL, rows - i), wide = RN_MIN(RN_VL, columns - j);
#if defined(RN_MASKED_LOAD)
            if (high * wide >= 6 * RN_VL) {
                rn_turn_ragged(turned, block, rows, columns, high, wide);
                continue;
            }
#endif
            for (long r = 0; r < high; r++)
                for (long c = 0; c < wide; c++) turned[c * rows + r] = block[r * columns + c];
        }
}

/* to [m][n] = from [m][K] times a packed matrix, for a stream whose state or signal is a matrix: its rows go together
 * as those of streams do. 4 x 64 times 64 x 64: 0.27 us, by rn_small_product 0.38 (Xeon). */
RN_FUNCTION void rn_rows_times(real *restrict to, const real *from, long m, const real *panels, long K, long n) {
    enum { ROWS = RN_ROWS(RN_AT_ONCE) };
    RN_ALIGNED real sums[ROWS * RN_AT_ONCE * RN_VL];
    const real *rows[ROWS];
    const long blocks = rn_cuts(n, RN_VL), cuts = rn_cuts(m, ROWS);
    for (long cut = 0; cut < cuts; cut++) {
        long first, last;
        rn_cut(m, cuts, cut, &first, &last);
        for (long i = first; i < last; i++) rows[i - first] = from + i * K;
        for (long p = 0; p < blocks; p += RN_AT_ONCE) {
            const long wide = RN_MIN(RN_AT_ONCE, blocks - p);
            rn_some(1, (int)wide, panels + p * (K * RN_VL), K, rows, (int)(last - first), sums, 0);
            for (long i = first; i < last; i++)
                for (long q = 0; q < wide; q++)
                    rn_store_part(to + i * n + (p + q) * RN_VL,
                                  rn_load(sums + ((i - first) * RN_AT_ONCE + q) * RN_VL),
                                  RN_MIN(RN_VL, n - (p + q) * RN_VL));
        }
    }
}

/* ------------------------------------------------------------------------------------------------ A B of one stream */

/* R rows and C vectors of columns: to[r][j] = sum over k of a[r * across + k * along] b[k][j], k in order. `n` columns
 * are left from here on, `end` is b's. */
RN_INLINE void rn_small_tile(const int R, const int C, real *restrict to, const real *a, long across, long along,
                             const real *b, const real *end, long inner, long columns, long n) {
    rn_v sum[4][4], x[4];
    RN_UNROLL for (int r = 0; r < R; r++)
        RN_UNROLL for (int c = 0; c < C; c++) sum[r][c] = (rn_v){0};
    for (long k = 0; k < inner; k++) {
        RN_UNROLL for (int c = 0; c < C; c++) {
            x[c] = rn_load_before(b + k * columns + c * RN_VL, n - c * RN_VL, end);
            RN_PIN(x[c]);
        }
        RN_UNROLL for (int r = 0; r < R; r++)
            RN_UNROLL for (int c = 0; c < C; c++) sum[r][c] += x[c] * a[r * across + k * along];
    }
    RN_UNROLL for (int r = 0; r < R; r++)
        RN_UNROLL for (int c = 0; c < C; c++)
            rn_store_part(to + r * columns + c * RN_VL, sum[r][c], n - c * RN_VL);
}
#if RN_REGISTERS >= 32
#define RN_SMALL_WIDE 4
#else
#define RN_SMALL_WIDE 2
#endif
RN_INLINE void rn_small_rows(const int R, real *restrict to, const real *a, long across, long along, const real *b,
                             const real *end, long inner, long columns) {
    long j = 0;
    for (; j + RN_SMALL_WIDE * RN_VL <= columns; j += RN_SMALL_WIDE * RN_VL)
        rn_small_tile(R, RN_SMALL_WIDE, to + j, a, across, along, b + j, end, inner, columns, RN_SMALL_WIDE * RN_VL);
    for (; j < columns; j += RN_VL)
        rn_small_tile(R, 1, to + j, a, across, along, b + j, end, inner, columns, columns - j);
}
RN_FUNCTION void rn_small_plain(real *restrict to, const real *a, long across, long along, const real *b, long rows,
                                long inner, long columns) {
    const real *const end = b + inner * columns;
    long i = 0;
    for (; i + 4 <= rows; i += 4)
        rn_small_rows(4, to + i * columns, a + i * across, across, along, b, end, inner, columns);
    for (; i < rows; i++) rn_small_rows(1, to + i * columns, a + i * across, across, along, b, end, inner, columns);
}

/* A B' of rows that lie along the sums: a vector's worth of them, HIGH by WIDE, one register each, as in rn_matvec.
 * 4 x 64 by 4 x 64: 0.06 us, row by row 0.23; 16 x 64 by 16 x 64 0.45 and 1.05 (Xeon). */
RN_FUNCTION void rn_small_along(real *restrict to, const real *a, const real *b, long rows, long inner, long columns) {
    enum { HIGH = RN_VL >= 16 ? 4 : 2, WIDE = RN_VL / HIGH };
    const real *const a_end = a + rows * inner, *const b_end = b + columns * inner;
    const long whole = inner - inner % RN_VL;
    for (long i = 0; i < rows; i += HIGH)
        for (long j = 0; j < columns; j += WIDE) {
            const real *left[HIGH], *right[WIDE];
            rn_v sum[RN_VL], x[WIDE];
            RN_UNROLL for (int r = 0; r < HIGH; r++) left[r] = a + RN_MIN(i + r, rows - 1) * inner;
            RN_UNROLL for (int c = 0; c < WIDE; c++) right[c] = b + RN_MIN(j + c, columns - 1) * inner;
            RN_UNROLL for (int s = 0; s < RN_VL; s++) sum[s] = (rn_v){0};
            for (long k = 0; k < whole; k += RN_VL) {
                RN_UNROLL for (int c = 0; c < WIDE; c++) x[c] = rn_load(right[c] + k);
                RN_UNROLL for (int r = 0; r < HIGH; r++) {
                    const rn_v y = rn_load(left[r] + k);
                    RN_UNROLL for (int c = 0; c < WIDE; c++) sum[r * WIDE + c] += y * x[c];
                }
            }
            if (whole < inner) {               /* apart, as in rn_matvec */
                RN_UNROLL for (int c = 0; c < WIDE; c++) x[c] = rn_load_before(right[c] + whole, inner - whole, b_end);
                RN_UNROLL for (int r = 0; r < HIGH; r++) {
                    const rn_v y = rn_load_before(left[r] + whole, inner - whole, a_end);
                    RN_UNROLL for (int c = 0; c < WIDE; c++) sum[r * WIDE + c] += y * x[c];
                }
            }
            RN_ALIGNED real lanes[RN_VL];
            rn_store(lanes, rn_sums_of_lanes(sum));
            for (long r = 0; r < RN_MIN(HIGH, rows - i); r++) {
                real *const place = to + (i + r) * columns + j;
                if (columns - j >= WIDE) memcpy(place, lanes + r * WIDE, WIDE * sizeof(real));
                else for (long c = 0; c < columns - j; c++) place[c] = lanes[r * WIDE + c];
            }
        }
}

/* A' B': vectors of A's columns down A, one for each of RN_VL rows of B; their square is turned over. */
RN_FUNCTION void rn_small_across(real *restrict to, const real *a, const real *b, long rows, long inner, long columns) {
    const real *const end = a + inner * rows;
    for (long i = 0; i < rows; i += RN_VL)
        for (long j = 0; j < columns; j += RN_VL) {
            const real *right[RN_VL];
            rn_v sum[RN_VL];
            RN_UNROLL for (int c = 0; c < RN_VL; c++) {
                right[c] = b + RN_MIN(j + c, columns - 1) * inner;
                sum[c] = (rn_v){0};
            }
            for (long k = 0; k < inner; k++) {
                const rn_v x = rn_load_before(a + k * rows + i, rows - i, end);
                RN_UNROLL for (int c = 0; c < RN_VL; c++) sum[c] += x * right[c][k];
            }
            rn_transpose_square(sum);
            RN_UNROLL for (int r = 0; r < RN_VL; r++)
                if (i + r < rows) rn_store_part(to + (i + r) * columns + j, sum[r], RN_MIN(RN_VL, columns - j));
        }
}

/* to [rows, columns] = A [rows, inner] B [inner, columns], either stored transposed. */
RN_FUNCTION void rn_small_product(real *restrict to, const real *a, const real *b, long rows, long inner, long columns,
                                  int a_transposed, int b_transposed) {
    if (columns == 1) {
        if (a_transposed) rn_matvec_transposed(to, a, rows, b, 1, inner, rows, 0);
        else rn_matvec(to, a, inner, b, rows, inner, 0);
    } else if (inner == 1) {
        rn_outer(to, a, b, rows, columns);
    } else if (!b_transposed) {
        rn_small_plain(to, a, a_transposed ? 1 : inner, a_transposed ? rows : 1, b, rows, inner, columns);
    } else if (!a_transposed) {
        rn_small_along(to, a, b, rows, inner, columns);
    } else {
        rn_small_across(to, a, b, rows, inner, columns);
    }
}
