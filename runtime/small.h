/* small.h: products of a stream's own matrices: a state times a vector, the outer product of two.
 *
 * A matrix is row-major, its rows `stride` numbers apart. Nothing behind its last number is read; what stands between
 * the end of a row and the next one may be read and is not used. Every sum has one order, given by the sizes. */

/* The first n numbers of p, zeros behind them, as rn_load_part; quick where the whole vector lies before `end`. */
RN_INLINE rn_v rn_load_before(const real *p, long n, const real *end) {
    if (n >= RN_VL) return rn_load(p);
    return p + RN_VL <= end ? (rn_v)((rn_i)rn_load(p) & rn_first(n)) : rn_load_part(p, n);
}

/* y[i] (+)= sum over j of S[i][j] q[j]. RN_VL rows go together: their sums stand in one register each, and a square
 * transposed in registers adds the lanes of all of them. 64 x 64: 0.14 us; row by row it takes 0.54 (Zen 4). */
RN_FUNCTION void rn_matvec(real *restrict y, const real *S, long stride, const real *q, long m, long n,
                           int accumulate) {
    const real *const end = S + (m - 1) * stride + n;
    for (long i = 0; i < m; i += RN_VL) {
        const long high = RN_MIN(m - i, RN_VL);
        rn_v sum[RN_VL], total;
        RN_UNROLL for (int r = 0; r < RN_VL; r++) sum[r] = (rn_v){0};
        for (long j = 0; j < n; j += RN_VL) {
            const rn_v x = rn_load_part(q + j, n - j);
            if (high == RN_VL && j + RN_VL <= n) {
                RN_UNROLL for (int r = 0; r < RN_VL; r++) sum[r] += rn_load(S + (i + r) * stride + j) * x;
            } else {
                RN_UNROLL for (int r = 0; r < RN_VL; r++)
                    if (r < high) sum[r] += rn_load_before(S + (i + r) * stride + j, n - j, end) * x;
            }
        }
        rn_transpose_square(sum);
        RN_UNROLL for (int half = RN_VL / 2; half > 0; half /= 2)
            RN_UNROLL for (int r = 0; r < half; r++) sum[r] += sum[r + half];
        total = sum[0];
        if (accumulate) total += rn_load_part(y + i, high);
        rn_store_part(y + i, total, high);
    }
}

/* y[j] (+)= sum over i of S[i][j] q[i * step]: vectors of columns go down together, i in order. */
RN_FUNCTION void rn_matvec_transposed(real *restrict y, const real *S, long stride, const real *q, long step, long m,
                                      long n, int accumulate) {
    const real *const end = S + (m - 1) * stride + n;
    long j = 0;
    for (; j + 4 * RN_VL <= n; j += 4 * RN_VL) {
        rn_v sum[4];
        RN_UNROLL for (int c = 0; c < 4; c++) sum[c] = accumulate ? rn_load(y + j + c * RN_VL) : (rn_v){0};
        for (long i = 0; i < m; i++)
            RN_UNROLL for (int c = 0; c < 4; c++) sum[c] += rn_load(S + i * stride + j + c * RN_VL) * q[i * step];
        RN_UNROLL for (int c = 0; c < 4; c++) rn_store(y + j + c * RN_VL, sum[c]);
    }
    for (; j < n; j += RN_VL) {
        rn_v sum = accumulate ? rn_load_part(y + j, n - j) : (rn_v){0};
        for (long i = 0; i < m; i++) sum += rn_load_before(S + i * stride + j, n - j, end) * q[i * step];
        rn_store_part(y + j, sum, n - j);
    }
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

/* to [columns][rows] is from [rows][columns], turned over. */
RN_INLINE void rn_turn(real *to, const real *from, long rows, long columns) {
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
}

/* to [m][n] = from [m][K] times a packed matrix, for a stream whose state or signal is a matrix: its rows go together as
 * those of streams do. 4 x 64 times 64 x 64: 0.27 us, by rn_small_product 0.38 (Xeon). */
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

/* to [m][n] = a packed matrix times from [K][n], its columns as rows: both are turned over, in `room` for n (K + m)
 * numbers. */
RN_FUNCTION void rn_times_columns(real *restrict to, const real *from, long n, const real *panels, long K, long m,
                                  real *restrict room) {
    rn_turn(room, from, K, n);
    rn_rows_times(room + n * K, room, n, panels, K, m);
    rn_turn(to, room + n * K, n, m);
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
        for (long i = 0; i < rows; i++)
            rn_matvec_transposed(to + i * columns, b, columns, a_transposed ? a + i : a + i * inner,
                                 a_transposed ? rows : 1, inner, columns, 0);
    } else if (!a_transposed) {
        for (long i = 0; i < rows; i++) rn_matvec(to + i * columns, b, inner, a + i * inner, columns, inner, 0);
    } else {
        for (long i = 0; i < rows; i++)
            for (long j = 0; j < columns; j++) {
                real sum = 0;
                for (long k = 0; k < inner; k++) sum += a[k * rows + i] * b[j * inner + k];
                to[i * columns + j] = sum;
            }
    }
}
