/* folds.h: sums over frames and streams, of which weight gradients are the heavy ones.
 *
 * C[m][k] (+)= sum over rows r of a_r[m] * x_r[k]: a_r is a row of deltas, x_r the vector a matrix multiplied in that
 * row. The inner index is the row. The x side is packed into panels [R][RN_FOLD_WIDE], which lie in the second cache
 * and serve all m; the a side is copied block by block, RN_VL columns at a time, since rows a power of two apart would
 * fall on one another in the first cache. Copying pays only if several panels share it: RN_FOLD_TOGETHER of them do. At
 * most RN_FOLD_MOST rows go in one call, one chain of additions for each number of C; calls follow each other in time,
 * so every sum has one order, whoever computes it. */
#define RN_FOLD_MOST 128
#define RN_FOLD_MV 2                          /* by 8 rows of C: 85 to 95 % of peak; 3 or 4 lose more to padding */
#define RN_FOLD_WIDE (RN_FOLD_MV * RN_VL)     /* columns of x in one panel */
#define RN_FOLD_TOGETHER 8                    /* panels; one at a time halves the speed of large products */

/* Rows anywhere: row r starts at rows[r] + offset, or where rows is NULL at base + r * stride + offset. */
typedef struct {
    const real *base;
    long stride;
    const real *const *rows;
    long offset;
} rn_rows;
RN_INLINE const real *rn_row(const rn_rows *of, long r) {
    return (of->rows ? of->rows[r] : of->base + r * of->stride) + of->offset;
}

/* Panels of x for K columns, and the length of all of them for R rows. */
RN_INLINE long rn_fold_panels(long K) { return (K + RN_FOLD_WIDE - 1) / RN_FOLD_WIDE; }
RN_INLINE long rn_fold_packed(long K, long R) { return rn_fold_panels(K) * RN_FOLD_WIDE * R; }

/* Packs panels [first, last) of R rows with K columns into dst, where panel 0 starts; threads may take shares. */
RN_FUNCTION void rn_fold_pack(real *restrict dst, const rn_rows *x, long R, long K, long first, long last) {
    for (long panel = first; panel < last; panel++) {
        long k = panel * RN_FOLD_WIDE, wide = K - k < RN_FOLD_WIDE ? K - k : RN_FOLD_WIDE;
        real *to = dst + panel * RN_FOLD_WIDE * R;
        for (long r = 0; r < R; r++, to += RN_FOLD_WIDE) {
            const real *from = rn_row(x, r) + k;
            RN_UNROLL for (int v = 0; v < RN_FOLD_MV; v++) {
                long rest = wide - v * RN_VL;
                rn_store(to + v * RN_VL, rest <= 0 ? (rn_v){0} : rn_load_part(from + v * RN_VL, rest));
            }
        }
    }
}

/* A row of x and of a, as in RN_TILE_INDEX. */
#define RN_FOLD_ROW(M, N)                                                                                            \
    RN_UNROLL for (int v = 0; v < M; v++) {                                                                          \
        x[v] = rn_load(panel + v * RN_VL);                                                                           \
        RN_PIN(x[v]);                                                                                                \
    }                                                                                                                \
    RN_SUMS_OF(M, N, sum, x, a + j)                                                                                  \
    a += RN_VL, panel += RN_FOLD_WIDE;

/* N rows of C by the first M vectors of a panel: all of them, or one where C ends there. a holds RN_VL columns of all
 * rows, of which this tile takes N. C is asked for beforehand: it comes from far away, and with 16 rows waiting for it
 * costs a quarter of the time. */
#define RN_FOLD(M, N)                                                                                                \
    RN_FUNCTION void rn_fold_tile_##M##_##N(const real *restrict a, const real *restrict panel, long R,              \
                                            real *restrict c, long ldc, long wide, int accumulate) {                 \
        rn_v sum[N][M], x[M], zero = {0};                                                                            \
        RN_PIN(zero);                                                                                                \
        RN_UNROLL for (int j = 0; j < N; j++)                                                                        \
            RN_UNROLL for (int v = 0; v < M; v++) sum[j][v] = zero;                                                  \
        RN_UNROLL for (int j = 0; j < N; j++)                                                                        \
            RN_UNROLL for (int v = 0; v < M; v++) __builtin_prefetch(c + j * ldc + v * RN_VL, 1);                    \
        long r = 0;                                                                                                  \
        for (; r + RN_DEEP(N) <= R; r += RN_DEEP(N))                                                                 \
            RN_UNROLL for (int d = 0; d < RN_DEEP(N); d++) { RN_FOLD_ROW(M, N) }                                     \
        for (; r < R; r++) { RN_FOLD_ROW(M, N) }                                                                     \
        RN_UNROLL for (int j = 0; j < N; j++)                                                                        \
            RN_UNROLL for (int v = 0; v < M; v++)                                                                    \
                rn_fold_write(c + j * ldc + v * RN_VL, sum[j][v], wide - v * RN_VL, accumulate);                     \
    }

RN_INLINE void rn_fold_write(real *c, rn_v sum, long wide, int accumulate) {
    if (wide >= RN_VL) {
        rn_store(c, accumulate ? sum + rn_load(c) : sum);
    } else if (wide > 0) {
        rn_store_part(c, accumulate ? sum + rn_load_part(c, wide) : sum, wide);
    }
}
#define RN_FOLD_DOWN(M, N)                                                                                           \
    for (; i + N <= high; i += N)                                                                                    \
        rn_fold_tile_##M##_##N(a + i, panel, R, c + i * ldc, ldc, wide, accumulate);
#if RN_REGISTERS >= 32
#define RN_FOLD_EIGHT(M) RN_FOLD(M, 8)
#define RN_FOLD_EIGHTS(M) RN_FOLD_DOWN(M, 8)
#else
#define RN_FOLD_EIGHT(M)
#define RN_FOLD_EIGHTS(M)
#endif

/* `high` rows of C by M vectors of a panel: tiles of 8, then of what is left. */
#define RN_FOLD_STRIP(M)                                                                                             \
    RN_FOLD_EIGHT(M) RN_FOLD(M, 4) RN_FOLD(M, 2) RN_FOLD(M, 1)                                                       \
    RN_INLINE void rn_fold_strip_##M(const real *restrict a, long high, const real *restrict panel, long R,          \
                                     real *restrict c, long ldc, long wide, int accumulate) {                        \
        long i = 0;                                                                                                  \
        RN_FOLD_EIGHTS(M) RN_FOLD_DOWN(M, 4) RN_FOLD_DOWN(M, 2) RN_FOLD_DOWN(M, 1)                                   \
    }
RN_FOLD_STRIP(1)
RN_FOLD_STRIP(2)

/* C[i][k] (+)= sum of a_r[i] * x_r[k] for i < m and k < K, where row i of C starts at c + i * ldc and `panels` is the
 * packed x. Where deltas lie in panel order, a call for each block of RN_VL units and each gate costs nothing extra. */
RN_FUNCTION void rn_fold_product(real *restrict c, long ldc, long m, long K, const rn_rows *a,
                                 const real *restrict panels, long R, int accumulate) {
    RN_ALIGNED real block[RN_FOLD_MOST * RN_VL];
    for (long first = 0; first < m; first += RN_VL) {
        long high = m - first < RN_VL ? m - first : RN_VL;
        for (long r = 0; r < R; r++) {
            const real *from = rn_row(a, r) + first;
            rn_store(block + r * RN_VL, high == RN_VL ? rn_load(from) : rn_load_part(from, high));
        }
        for (long k = 0; k < K; k += RN_FOLD_WIDE) {
            const real *panel = panels + k * R;
            real *to = c + first * ldc + k;
            if (K - k > RN_VL)
                rn_fold_strip_2(block, high, panel, R, to, ldc, K - k, accumulate);
            else                              /* half a panel: up to a fifth of the time, where K is just above 64 */
                rn_fold_strip_1(block, high, panel, R, to, ldc, K - k, accumulate);
        }
    }
}

/* The same from unpacked x, through a copy on the stack (128 KiB in float32, 256 in float64 where it is as wide). */
RN_FUNCTION void rn_fold(real *restrict c, long ldc, long m, long K, const rn_rows *a, const rn_rows *x, long R,
                         int accumulate) {
    RN_ALIGNED real panels[RN_FOLD_TOGETHER * RN_FOLD_WIDE * RN_FOLD_MOST];
    for (long k = 0; k < K; k += RN_FOLD_TOGETHER * RN_FOLD_WIDE) {
        const rn_rows part = {x->base, x->stride, x->rows, x->offset + k};
        long wide = K - k < RN_FOLD_TOGETHER * RN_FOLD_WIDE ? K - k : RN_FOLD_TOGETHER * RN_FOLD_WIDE;
        rn_fold_pack(panels, &part, R, wide, 0, rn_fold_panels(wide));
        rn_fold_product(c + k, ldc, m, wide, a, panels, R, accumulate);
    }
}

/* dst[i] (+)= sum of a_r[i] for i < n: gradients of biases. Two vectors of columns go down the rows together, in four
 * chains of additions, which do not wait for one another: rows 0, 4, 8, ..., rows 1, 5, 9, ... */
#define RN_SUM_CHAINS 4
#define RN_SUM_ROWS(V, load)                                                                                         \
    rn_v sum[RN_SUM_CHAINS][V] = {{{0}}};                                                                            \
    long r = 0;                                                                                                      \
    for (; r + RN_SUM_CHAINS <= R; r += RN_SUM_CHAINS)                                                               \
        RN_UNROLL for (int c = 0; c < RN_SUM_CHAINS; c++)                                                            \
            RN_UNROLL for (int v = 0; v < V; v++) sum[c][v] += load(rn_row(a, r + c) + i + v * RN_VL, n - i);        \
    RN_UNROLL for (int c = 0; c < RN_SUM_CHAINS - 1; c++)                                                            \
        if (r + c < R) RN_UNROLL for (int v = 0; v < V; v++)                                                         \
            sum[c][v] += load(rn_row(a, r + c) + i + v * RN_VL, n - i);                                              \
    RN_UNROLL for (int v = 0; v < V; v++)                                                                            \
        rn_fold_write(dst + i + v * RN_VL, (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]), n - i - v * RN_VL,     \
                      accumulate);
#define RN_SUM_WHOLE(p, rest) rn_load(p)
RN_FUNCTION void rn_fold_sum(real *restrict dst, long n, const rn_rows *a, long R, int accumulate) {
    long i = 0;
    for (; i + 2 * RN_VL <= n; i += 2 * RN_VL) {
        RN_SUM_ROWS(2, RN_SUM_WHOLE)
    }
    for (; i < n; i += RN_VL) {
        RN_SUM_ROWS(1, rn_load_part)
    }
}

/* A row of a table by its label, zeros for a label outside; the table is [classes][stride], such as a matrix turned
 * over, whose column the label names. */
RN_INLINE void rn_gather(real *restrict dst, const real *restrict table, long stride, long n, long classes,
                         long label) {
    if (label < 0 || label >= classes)
        memset(dst, 0, (size_t)n * sizeof(real));
    else
        memcpy(dst, table + label * stride, (size_t)n * sizeof(real));
}

/* With fewer rows than this share of the classes their columns are added where they belong, one number after another, and
 * the others stay zero; a table with a row for each class would be cleared and turned round as a whole. 5,000 classes of
 * 128 units, 128 rows: some 40 us instead of 150 (one thread, Zen 4). */
#define RN_FEW_LABELS(rows, classes) ((rows) * 4 < (classes))
RN_FUNCTION void rn_scatter_column(real *restrict to, long stride, const real *restrict src, long n, long classes,
                                   long label) {
    if (label < 0 || label >= classes) return;
    for (long i = 0; i < n; i++) to[i * stride + label] += src[i];
}

/* The gradient of a gather: row `label` of the table += src. Labels outside add nothing. */
RN_FUNCTION void rn_scatter_add(real *restrict table, const real *restrict src, long stride, long n, long classes,
                                long label) {
    if (label < 0 || label >= classes) return;
    real *to = table + label * stride;
    long i = 0;
    for (; i + RN_VL <= n; i += RN_VL) rn_store(to + i, rn_load(to + i) + rn_load(src + i));
    for (; i < n; i++) to[i] += src[i];
}
