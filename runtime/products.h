/* products.h: one kernel for every product: rows times a packed panel.
 *
 * A panel is [K][mv * RN_VL]: mv vectors of columns, all inner indices after one another. A row is a pointer to K
 * numbers anywhere (a stream's state, an initial value, a row of x). One call keeps nrows * mv sums in registers over
 * the whole of K, reads each panel vector once and broadcasts from the rows as they lie. The sums go to `acc`, a buffer
 * of the caller, [nrows][mv * RN_VL], from which the epilogue of the equations continues.
 *
 * Measured (AVX-512 at 3.8 GHz, peak 243 GFLOP/s, panels in the second cache): 4 x 6 at 209 to 240, 3 x 8 at 215,
 * 2 x 12 at 214, 1 x 12 at 167; one row at 80, which is the cache's 160 GB/s. AVX2, peak 116: 2 x 6, 3 x 4 at peak. */

/* How many rows go at once: sums + panel vectors + one broadcast must fit the registers. */
#if RN_REGISTERS >= 32
#define RN_ROWS_1 12
#define RN_ROWS_2 12
#define RN_ROWS_3 8
#define RN_ROWS_4 6
#else
#define RN_ROWS_1 12
#define RN_ROWS_2 6
#define RN_ROWS_3 4
#define RN_ROWS_4 2
#endif
#define RN_PICKED 96                          /* of so many rows those are picked in which a condition holds */
#define RN_JOIN_(a, b) a##b
#define RN_JOIN(a, b) RN_JOIN_(a, b)
#define RN_ROWS(mv) RN_JOIN(RN_ROWS_, mv)     /* mv a literal 1 .. 4, or a macro that is one */

/* R rows are cut into blocks of nearly equal size, at most `most` rows each: 16 by 6 gives 5 + 5 + 6; where streams may
 * be dealt out to threads, into an even number: 4 + 4 + 4 + 4. The cut depends on R alone, never on threads, so that
 * every sum is formed in the same way whoever forms it. */
RN_INLINE long rn_cuts(long R, long most) { return (R + most - 1) / most; }
RN_INLINE long rn_even_cuts(long R, long most) {
    const long cuts = rn_cuts(R, most);
    return cuts > 1 && cuts % 2 ? cuts + 1 : cuts;
}
RN_INLINE void rn_cut(long R, long cuts, long i, long *first, long *last) {
    if (cuts <= 1) {                          /* one block: no divisions */
        *first = 0, *last = R;
        return;
    }
    *first = R * i / cuts;
    *last = R * (i + 1) / cuts;
}

/* Makes the compiler load a panel vector once into a register. gcc 12 otherwise folds the load into every
 * multiplication and reloads it for each row: 28 % slower at 4 x 4. */
#if defined(__AVX512F__)
#define RN_PIN(vector) __asm__("" : "+v"(vector))
#elif defined(__SSE__)
#define RN_PIN(vector) __asm__("" : "+x"(vector))
#elif defined(__aarch64__)
#define RN_PIN(vector) __asm__("" : "+w"(vector))
#else
#define RN_PIN(vector) ((void)0)
#endif
/* Makes the compiler forget what it knows of a pointer. */
#define RN_HIDE(pointer) __asm__("" : "+r"(pointer))

/* Every shape of a tile with its number of chains, X(vectors M, rows N, chains F). */
#define RN_SHAPES_1(X)                                                                                                \
    X(1, 1, 8) X(1, 2, 4) X(1, 3, 4) X(1, 4, 2) X(1, 5, 2) X(1, 6, 2)                                                 \
    X(1, 7, 1) X(1, 8, 1) X(1, 9, 1) X(1, 10, 1) X(1, 11, 1) X(1, 12, 1)
#if RN_REGISTERS >= 32
#define RN_SHAPES_2(X)                                                                                                \
    X(2, 1, 4) X(2, 2, 2) X(2, 3, 2) X(2, 4, 1) X(2, 5, 1) X(2, 6, 1)                                                 \
    X(2, 7, 1) X(2, 8, 1) X(2, 9, 1) X(2, 10, 1) X(2, 11, 1) X(2, 12, 1)
#define RN_SHAPES_3(X) X(3, 1, 4) X(3, 2, 2) X(3, 3, 1) X(3, 4, 1) X(3, 5, 1) X(3, 6, 1) X(3, 7, 1) X(3, 8, 1)
#define RN_SHAPES_4(X) X(4, 1, 4) X(4, 2, 2) X(4, 3, 1) X(4, 4, 1) X(4, 5, 1) X(4, 6, 1)
#else
#define RN_SHAPES_2(X) X(2, 1, 4) X(2, 2, 2) X(2, 3, 1) X(2, 4, 1) X(2, 5, 1) X(2, 6, 1)
#define RN_SHAPES_3(X) X(3, 1, 2) X(3, 2, 1) X(3, 3, 1) X(3, 4, 1)
#define RN_SHAPES_4(X) X(4, 1, 2) X(4, 2, 1)
#endif

/* rn_tile_M_N: acc[j][..] (+)= sum over k of panel[k][..] * rows[j][k], for M vectors of columns and N rows.
 * A chain of additions into one register waits for itself; with few rows the inner index is dealt to F chains, which
 * are added at the end in this order: 0 + 1 + 2 + ..., then what acc held. Bounds are literals, since clang unrolls too
 * late when they are constant arguments. One real function for each shape: compiled once, and those never called cost
 * nothing; the sums of one row are inlined everywhere. `zero` hides its value, or clang would make a memset of the first
 * loop and keep the sums in memory. LOOP(M, N, F) adds up sum[chain][row][vector] over k; the panel's form is its
 * business. */
#define RN_ANY_TILE(tile, LOOP, M, N, F)                                                                              \
    RN_INLINE void tile##sums_##M##_##N(const real *restrict panel, long K, const real *const *rows,                  \
                                        real *restrict acc, int accumulate) {                                         \
        rn_v sum[F][N][M], column[M], zero = {0};                                                                     \
        const real *row[N];                                                                                           \
        long k = 0;                                                                                                   \
        RN_PIN(zero);                                                                                                 \
        RN_UNROLL for (int j = 0; j < N; j++) row[j] = rows[j];                                                       \
        RN_UNROLL for (int f = 0; f < F; f++)                                                                         \
            RN_UNROLL for (int j = 0; j < N; j++)                                                                     \
                RN_UNROLL for (int v = 0; v < M; v++) sum[f][j][v] = zero;                                            \
        LOOP(M, N, F)                                                                                                 \
        RN_UNROLL for (int j = 0; j < N; j++)                                                                         \
            RN_UNROLL for (int v = 0; v < M; v++) {                                                                   \
                rn_v total = sum[0][j][v];                                                                            \
                RN_UNROLL for (int f = 1; f < F; f++) total += sum[f][j][v];                                          \
                if (accumulate) total += rn_load(acc + (j * M + v) * RN_VL);                                          \
                rn_store(acc + (j * M + v) * RN_VL, total);                                                           \
            }                                                                                                         \
    }                                                                                                                 \
    RN_FUNCTION void tile##M##_##N(const real *restrict panel, long K, const real *const *rows,                       \
                                   real *restrict acc, int accumulate) {                                              \
        tile##sums_##M##_##N(panel, K, rows, acc, accumulate);                                                        \
    }

#define RN_TILE_LOOP(M, N, F)                                                                                         \
    for (; k + F <= K; k += F) {                                                                                      \
        RN_UNROLL for (int f = 0; f < F; f++) {                                                                       \
            RN_UNROLL for (int v = 0; v < M; v++) {                                                                   \
                column[v] = rn_load(panel + v * RN_VL);                                                               \
                RN_PIN(column[v]);                                                                                    \
            }                                                                                                         \
            RN_UNROLL for (int j = 0; j < N; j++) {                                                                   \
                rn_v value = rn_all(row[j][k + f]);                                                                   \
                RN_UNROLL for (int v = 0; v < M; v++) sum[f][j][v] += column[v] * value;                              \
            }                                                                                                         \
            panel += M * RN_VL;                                                                                       \
        }                                                                                                             \
    }                                                                                                                 \
    for (; F > 1 && k < K; k++) {                                                                                     \
        RN_UNROLL for (int j = 0; j < N; j++)                                                                         \
            RN_UNROLL for (int v = 0; v < M; v++)                                                                     \
                sum[0][j][v] += rn_load(panel + v * RN_VL) * rn_all(row[j][k]);                                       \
        panel += M * RN_VL;                                                                                           \
    }

/* The tile for so many rows, of M vectors: nothing but a choice. */
#define RN_CHOICE(tile, M, SHAPES)                                                                                    \
    RN_INLINE void tile##M(const real *restrict panel, long K, const real *const *rows, int nrows,                    \
                           real *restrict acc, int accumulate) {                                                      \
        if (nrows == 1) {                                                                                             \
            tile##sums_##M##_1(panel, K, rows, acc, accumulate);                                                      \
            return;                                                                                                   \
        }                                                                                                             \
        switch (nrows) { SHAPES }                                                                                     \
    }

/* All shapes of a tile and the choices among them; TILE(M, N, F) defines one, CASE(M, N, F) calls it. */
#define RN_TILES(tile, TILE, CASE)                                                                                    \
    RN_SHAPES_1(TILE) RN_SHAPES_2(TILE) RN_SHAPES_3(TILE) RN_SHAPES_4(TILE)                                           \
    RN_CHOICE(tile, 1, RN_SHAPES_1(CASE)) RN_CHOICE(tile, 2, RN_SHAPES_2(CASE))                                       \
    RN_CHOICE(tile, 3, RN_SHAPES_3(CASE)) RN_CHOICE(tile, 4, RN_SHAPES_4(CASE))

#define RN_TILE(M, N, F) RN_ANY_TILE(rn_tile_, RN_TILE_LOOP, M, N, F)
#define RN_TILE_CASE(M, N, F) case N: rn_tile_##M##_##N(panel, K, rows, acc, accumulate); break;
RN_TILES(rn_tile_, RN_TILE, RN_TILE_CASE)

/* rn_tile(mv, panel, K, rows, nrows, acc, accumulate): 1 <= nrows <= RN_ROWS(mv), mv as for RN_ROWS. */
#define rn_tile(mv, ...) RN_JOIN(rn_tile_, mv)(__VA_ARGS__)
