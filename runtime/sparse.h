/* sparse.h: products with matrices of which most entries are zero for good.
 *
 * What is stored of an n x m matrix comes in blocks of RN_BLOCK rows by one column, K blocks in each row of blocks, whose
 * columns are a table [row of blocks][K]. So a block is a vector, or a few of them, and one multiplication by one number
 * of the operand: the kernels of products.h and folds.h, with a table look-up where those take the next number.
 *
 *     rn_sparse          rows times the matrix           panels [unit block][K][RN_VL], as rn_pack makes of n x K numbers
 *     rn_sparse_turned   rows times its transpose        blocks of RN_BLOCK numbers, in order of their columns
 *     rn_fold_sparse     sums of outer products, at the stored places alone
 *
 * Every sum has one order. A row of the operand is read exactly up to its end. */
#define RN_BLOCK 16

/* The pieces in which rows go at once, as many as the registers hold sums of. Of two rows and more each has the same
 * two chains, and none goes alone (as in RN_SHAPES): so its sums are the same however many others go with it, which
 * the plan decides. With one chain, two rows would wait for their additions. */
#if RN_REGISTERS >= 32
#define RN_SPARSE_PIECES(X) X(12) X(8) X(6) X(4) X(3) X(2)
#else
#define RN_SPARSE_PIECES(X) X(6) X(4) X(3) X(2)
#endif

/* acc[j][..] (+)= sum over k of panel[k][..] * rows[j][columns[k]], for N rows; F chains as in RN_ANY_TILE. */
#define RN_SPARSE(N, F)                                                                                               \
    RN_FUNCTION void rn_sparse_##N(const real *restrict panel, const int32_t *restrict columns, long K,              \
                                   const real *const *rows, real *restrict acc, int accumulate) {                     \
        rn_v sum[F][N], zero = {0};                                                                                   \
        long k = 0;                                                                                                   \
        RN_PIN(zero);                                                                                                 \
        RN_UNROLL for (int f = 0; f < F; f++)                                                                         \
            RN_UNROLL for (int j = 0; j < N; j++) sum[f][j] = zero;                                                   \
        for (; k + F <= K; k += F)                                                                                    \
            RN_UNROLL for (int f = 0; f < F; f++) {                                                                   \
                rn_v column = rn_load(panel + (k + f) * RN_VL);                                                       \
                RN_PIN(column);                                                                                       \
                RN_UNROLL for (int j = 0; j < N; j++) sum[f][j] += column * rn_all(rows[j][columns[k + f]]);          \
            }                                                                                                         \
        for (; k < K; k++)                                                                                            \
            RN_UNROLL for (int j = 0; j < N; j++)                                                                     \
                sum[0][j] += rn_load(panel + k * RN_VL) * rn_all(rows[j][columns[k]]);                                \
        RN_UNROLL for (int j = 0; j < N; j++) {                                                                       \
            rn_v total = sum[0][j];                                                                                   \
            RN_UNROLL for (int f = 1; f < F; f++) total += sum[f][j];                                                 \
            if (accumulate) total += rn_load(acc + j * RN_VL);                                                        \
            rn_store(acc + j * RN_VL, total);                                                                         \
        }                                                                                                             \
    }
#define RN_SPARSE_TWO(N) RN_SPARSE(N, 2)
RN_SPARSE(1, 8) RN_SPARSE_PIECES(RN_SPARSE_TWO)

/* The same for any number of rows. */
RN_FUNCTION void rn_sparse(const real *restrict panel, const int32_t *restrict columns, long K,
                           const real *const *rows, int nrows, real *restrict acc, int accumulate) {
#define RN_SPARSE_PIECE(N)                                                                                           \
    for (; nrows >= N && nrows != N + 1; nrows -= N, rows += N, acc += N * RN_VL)                                    \
        rn_sparse_##N(panel, columns, K, rows, acc, accumulate);
    if (nrows == 1) rn_sparse_1(panel, columns, K, rows, acc, accumulate);
    RN_SPARSE_PIECES(RN_SPARSE_PIECE)
#undef RN_SPARSE_PIECE
}

/* acc[j][lane] (+)= sum over rows r of W[r][c] * rows[j][r] for the units c = first + lane below `width`. Column c of W is
 * made of the blocks begin[c] .. begin[c + 1] - 1: their numbers in `values`, their row of blocks in `blocks`. */
RN_FUNCTION void rn_sparse_turned(const real *restrict values, const int32_t *restrict begin,
                                  const int32_t *restrict blocks, long first, long width, long n,
                                  const real *const *rows, int nrows, real *restrict acc, int accumulate) {
    for (int j = 0; j < nrows; j++) {
        rn_v square[RN_VL];                  /* a vector for each unit, of which the lanes are added in the end */
        for (long lane = 0; lane < RN_VL; lane++) {
            const long unit = RN_MIN(first + lane, width);                   /* beyond the last one: no blocks */
            rn_v sum[2] = {{0}};
            for (long i = begin[unit]; i < begin[RN_MIN(unit + 1, width)]; i++)
                RN_UNROLL for (int s = 0; s < RN_BLOCK / RN_VL; s++) {
                    const long at = (long)blocks[i] * RN_BLOCK + s * RN_VL, left = n - at;
                    const rn_v d = RN_LIKELY(left >= RN_VL) ? rn_load(rows[j] + at)
                                 : left > 0 ? rn_load_part(rows[j] + at, left) : (rn_v){0};
                    sum[s & 1] += rn_load(values + i * RN_BLOCK + s * RN_VL) * d;
                }
            square[lane] = sum[0] + sum[1];
        }
        rn_v total = rn_sums_of_lanes(square);
        if (accumulate) total += rn_load(acc + j * RN_VL);
        rn_store(acc + j * RN_VL, total);
    }
}

/* The blocks that rn_sparse_turned reads: block i is column places[i] of row of blocks blocks[i] in v [n][K]. */
RN_FUNCTION void rn_pack_turned(real *restrict dst, const real *restrict v, long row_stride, long column_stride, long n,
                                const int32_t *restrict blocks, const int32_t *restrict places, long count) {
    for (long i = 0; i < count; i++)
        for (long lane = 0; lane < RN_BLOCK; lane++) {
            const long r = (long)blocks[i] * RN_BLOCK + lane;
            dst[i * RN_BLOCK + lane] = r < n ? v[r * row_stride + places[i] * column_stride] : 0;
        }
}

/* N columns of one vector of rows: sums of a[r][..] * x_rows[r][columns[j]]. */
#define RN_FOLD_SPARSE(N)                                                                                             \
    RN_FUNCTION void rn_fold_sparse_##N(real *restrict to, long K, const int32_t *restrict columns,                  \
                                        const real *restrict a, const real *const *x_rows, long rows, long high,     \
                                        int accumulate) {                                                             \
        rn_v sum[N], zero = {0};                                                                                      \
        RN_PIN(zero);                                                                                                 \
        RN_UNROLL for (int j = 0; j < N; j++) sum[j] = zero;                                                          \
        for (long r = 0; r < rows; r++) {                                                                             \
            const rn_v delta = rn_load(a + r * RN_VL);                                                                \
            const real *const x = x_rows[r];                                                                          \
            RN_UNROLL for (int j = 0; j < N; j++) sum[j] += delta * rn_all(x[columns[j]]);                            \
        }                                                                                                             \
        for (int j = 0; j < N; j++)                                                                                   \
            for (long i = 0; i < high; i++) to[i * K + j] = accumulate ? to[i * K + j] + sum[j][i] : sum[j][i];       \
    }
RN_FOLD_SPARSE(8) RN_FOLD_SPARSE(4) RN_FOLD_SPARSE(2) RN_FOLD_SPARSE(1)

/* to [n][K] (+)= sum over rows of a_r[i] * x_r[column of (i, k)], for rows of blocks [b0, b1); rows <= RN_FOLD_MOST. */
RN_FUNCTION void rn_fold_sparse(real *restrict to, long n, long K, const int32_t *restrict columns,
                                const real *const *a_rows, const real *const *x_rows, long rows, long b0, long b1,
                                int accumulate) {
    RN_ALIGNED real a[RN_FOLD_MOST * RN_VL];
    for (long at = b0 * RN_BLOCK; at < b1 * RN_BLOCK && at < n; at += RN_VL) {
        const int32_t *const mine = columns + at / RN_BLOCK * K;
        const long high = n - at < RN_VL ? n - at : RN_VL;
        long k = 0;
        for (long r = 0; r < rows; r++) rn_store(a + r * RN_VL, rn_load_part(a_rows[r] + at, high));
#define RN_FOLD_PIECE(N)                                                                                             \
    for (; k + N <= K; k += N)                                                                                       \
        rn_fold_sparse_##N(to + at * K + k, K, mine + k, a, x_rows, rows, high, accumulate);
        RN_FOLD_PIECE(8) RN_FOLD_PIECE(4) RN_FOLD_PIECE(2) RN_FOLD_PIECE(1)
#undef RN_FOLD_PIECE
    }
}

/* The whole matrix, and back: for what is rarely done to one. */
RN_FUNCTION void rn_scatter(real *restrict matrix, const real *restrict v, const int32_t *restrict columns, long n,
                            long m, long K) {
    for (long i = 0; i < n * m; i++) matrix[i] = 0;
    for (long i = 0; i < n; i++)
        for (long k = 0; k < K; k++) matrix[i * m + columns[i / RN_BLOCK * K + k]] = v[i * K + k];
}
RN_FUNCTION void rn_stored(real *restrict v, const real *restrict matrix, const int32_t *restrict columns, long n,
                           long m, long K) {
    for (long i = 0; i < n; i++)
        for (long k = 0; k < K; k++) v[i * K + k] = matrix[i * m + columns[i / RN_BLOCK * K + k]];
}
