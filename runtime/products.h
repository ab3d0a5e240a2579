/* products.h: one kernel for every product: rows times a packed panel.
 *
 * A panel is [K][mv * RN_VL]: mv vectors of columns, all inner indices after one another; or there are two of a vector
 * each. A row is a pointer to K numbers anywhere (a stream's state, an initial value, a row of x). One call keeps
 * nrows * mv sums in registers over the whole of K, reads each panel vector once and broadcasts from the rows as they
 * lie. The sums go to `acc`, a buffer of the caller, [nrows][mv * RN_VL], from which the epilogue of the equations
 * continues.
 *
 * Measured (AVX-512 at 3.8 GHz, peak 243 GFLOP/s, panels in the second cache): 4 x 6 at 209 to 240, 3 x 8 at 215,
 * 2 x 12 at 214, 1 x 12 at 167; one row at 80, which is the cache's 160 GB/s. AVX2, peak 116: 2 x 6, 3 x 4 at peak. */

/* How many rows go at once: sums + panel vectors + one broadcast must fit the registers. With four vectors more rows go
 * than that: beyond 6 (or 2) the tile passes over the panel twice, two vectors wide, and 16 rows come to a panel twice
 * instead of four times. From the second cache 161 -> 165 GFLOP/s, from the third 110 -> 123 (Xeon, peak 175); with 16
 * registers, 6 rows in two passes instead of 2, 69 -> 83. 12 rows instead of 8 lose 7 %. */
#if RN_REGISTERS >= 32
#define RN_ROWS_1 12
#define RN_ROWS_2 12
#define RN_ROWS_3 8
#define RN_ROWS_4 8
#define RN_ONE_PASS 6
#else
#define RN_ROWS_1 12
#define RN_ROWS_2 6
#define RN_ROWS_3 4
#define RN_ROWS_4 6
#define RN_ONE_PASS 2
#endif
#define RN_PICKED 96                          /* of so many rows those are picked in which a condition holds */
#define RN_JOIN_(a, b) a##b
#define RN_JOIN(a, b) RN_JOIN_(a, b)
#define RN_ROWS(mv) RN_JOIN(RN_ROWS_, mv)     /* mv a literal 1 .. 4, or a macro that is one */

/* R rows are cut into blocks of nearly equal size, at most `most` rows each: 20 by 8 gives 6 + 7 + 7. Whatever R, a row
 * has the same sums in every cut that leaves it no tile of its own (RN_SHAPES). */
RN_INLINE long rn_cuts(long R, long most) { return (R + most - 1) / most; }
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

/* Every shape of a tile with its number of chains, X(vectors M, rows N, chains F). A single row has several; of two and
 * more each has one, so that its sums are the same however many other units and rows go with it: streams can be dealt
 * out in twos. (With two chains 4 x 2 was 4 % slower; Zen 4.) */
#define RN_SHAPES_TO_6(X, M) X(M, 1, 4) X(M, 2, 1) X(M, 3, 1) X(M, 4, 1) X(M, 5, 1) X(M, 6, 1)
#define RN_SHAPES_TO_8(X, M) RN_SHAPES_TO_6(X, M) X(M, 7, 1) X(M, 8, 1)
#define RN_SHAPES_TO_12(X, M) RN_SHAPES_TO_8(X, M) X(M, 9, 1) X(M, 10, 1) X(M, 11, 1) X(M, 12, 1)
#define RN_SHAPES_1(X) RN_SHAPES_TO_12(X, 1)
#if RN_REGISTERS >= 32
#define RN_SHAPES_2(X) RN_SHAPES_TO_12(X, 2)
#define RN_SHAPES_3(X) RN_SHAPES_TO_8(X, 3)
#define RN_SHAPES_4(X) RN_SHAPES_TO_6(X, 4)
#define RN_TWICE(tile) RN_TWO_WIDE(tile, 7) RN_TWO_WIDE(tile, 8)
#define RN_SHAPES_SOME(X, M) RN_SHAPES_TO_8(X, M)
#else
#define RN_SHAPES_2(X) RN_SHAPES_TO_6(X, 2)
#define RN_SHAPES_3(X) X(3, 1, 2) X(3, 2, 1) X(3, 3, 1) X(3, 4, 1)
#define RN_SHAPES_4(X) X(4, 1, 2) X(4, 2, 1)
#define RN_TWICE(tile) RN_TWO_WIDE(tile, 3) RN_TWO_WIDE(tile, 4) RN_TWO_WIDE(tile, 5) RN_TWO_WIDE(tile, 6)
#define RN_SHAPES_SOME(X, M) RN_SHAPES_TO_6(X, M)
#endif

/* Where the vectors of panels lie. `step`: numbers from one inner index to the next; `near`: from the first vector to
 * the second, and from the third to the fourth; `far`: from the first to the third; `across`: from one row of sums to
 * the next. `ahead`: from the panel to a part of another one that comes into the second cache meanwhile, or 0. */
typedef struct {
    long step, near, far, across, ahead;
} rn_form;
#define RN_NTH(v) ((v) % 2 * near + (v) / 2 * far)

/* rn_tile_M_N: acc[j][..] (+)= sum over k of panel[k][..] * rows[j][k], for M vectors of columns and N rows.
 * A chain of additions into one register waits for itself; with few rows the inner index is dealt to F chains, which
 * are added at the end in this order: 0 + 1 + 2 + ..., then what acc held. Bounds are literals, since clang unrolls too
 * late when they are constant arguments. One real function for each shape: compiled once, and those never called cost
 * nothing; the sums of one row are inlined everywhere. `zero` hides its value, or clang would make a memset of the first
 * loop and keep the sums in memory. LOOP(M, N, F) adds up sum[chain][row][vector] over k; how a panel holds its numbers
 * is its business. */
#define RN_ANY_TILE(tile, LOOP, M, N, F)                                                                              \
    RN_INLINE void tile##sums_##M##_##N(const rn_form *form, const real *restrict panel, long K,                      \
                                        const real *const *rows, real *restrict acc, int accumulate) {                \
        const long step = form->step, near = form->near, far = form->far, across = form->across;                      \
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
                if (accumulate) total += rn_load(acc + j * across + v * RN_VL);                                       \
                rn_store(acc + j * across + v * RN_VL, total);                                                        \
            }                                                                                                         \
        (void)near, (void)far;                                                                                        \
    }                                                                                                                 \
    RN_FUNCTION void tile##M##_##N(const rn_form *form, const real *restrict panel, long K,                           \
                                   const real *const *rows, real *restrict acc, int accumulate) {                     \
        tile##sums_##M##_##N(form, panel, K, rows, acc, accumulate);                                                  \
    }

/* Two rows and more, one chain each. RN_DEEP inner indices make a turn, and the numbers of some rows are not spread
 * over a register first, but by each multiplication that wants them: 1.5 instructions for each multiplication, not 2.2.
 * That is felt where another program shares the core, as happens to a virtual one (old and new in turn, panels in the
 * second cache, GFLOP/s): 1 x 12 70 to 100, 2 x 8 106 to 119, 4 x 4 108 to 113; undisturbed 128 to 141, 158 to 160, 151
 * to 162. Too many loads lose that again: of few rows hardly any go that way. Both ways are fused: a row has the same sums
 * in either. (Xeon.) */
#define RN_DEEP(N) ((N) > 4 ? 4 : 2)
#define RN_SPREAD_LATE(N) ((N) <= 4 ? 0 : (N) <= 6 ? 1 : (N) / 2)
#define RN_TILE_COLUMN(M)                                                                                             \
    RN_UNROLL for (int v = 0; v < M; v++) {                                                                           \
        column[v] = rn_load(panel + RN_NTH(v));                                                                       \
        RN_PIN(column[v]);                                                                                            \
    }
/* Sums of N rows: the column times *number, an expression of row j. */
#define RN_SUMS_OF(M, N, sums, column, number)                                                                        \
    RN_UNROLL for (int j = 0; j < N - RN_SPREAD_LATE(N); j++) {                                                       \
        rn_v value = rn_all(*(number));                                                                               \
        RN_UNROLL for (int v = 0; v < M; v++) RN_ADD_PRODUCT(sums[j][v], column[v], value);                           \
    }                                                                                                                 \
    RN_UNROLL for (int j = N - RN_SPREAD_LATE(N); j < N; j++)                                                         \
        RN_UNROLL for (int v = 0; v < M; v++) RN_ADD_ALL(sums[j][v], column[v], number);
#define RN_TILE_INDEX(M, N, k)                                                                                        \
    RN_TILE_COLUMN(M)                                                                                                 \
    RN_SUMS_OF(M, N, sum[0], column, row[j] + k)                                                                      \
    panel += step;
#define RN_TILE_NEAR(M, N)                                                                                            \
    for (; k + RN_DEEP(N) <= K; k += RN_DEEP(N)) {                                                                    \
        RN_UNROLL for (int d = 0; d < RN_DEEP(N); d++) { RN_TILE_INDEX(M, N, d) }                                     \
        RN_UNROLL for (int j = 0; j < N; j++) {                                                                       \
            row[j] += RN_DEEP(N);                                                                                     \
            RN_HIDE(row[j]);                          /* or one index counts for all, too far for a multiplication */ \
        }                                                                                                             \
    }                                                                                                                 \
    for (; k < K; k++) {                                                                                              \
        RN_TILE_INDEX(M, N, 0)                                                                                        \
        RN_UNROLL for (int j = 0; j < N; j++) row[j]++;                                                               \
    }

/* The same where panels come from the third cache. This one is asked for RN_SOON inner indices ahead: of 2 MiB, with a
 * second cache as large, 4 x 4 rises from 63 to 75 GFLOP/s, 4 x 6 from 108 to 132, 3 x 8 from 124 to 158 (Xeon, peak
 * 175). From the second cache that loses 3 to 8 %. */
#define RN_SOON 16
#define RN_TILE_FAR(M, N)                                                                                             \
    for (; k < K; k++) {                                                                                              \
        RN_TILE_COLUMN(M)                                                                                             \
        RN_UNROLL for (int j = 0; j < N; j++) {                                                                       \
            rn_v value = rn_all(row[j][k]);                                                                           \
            RN_UNROLL for (int v = 0; v < M; v++) RN_ADD_PRODUCT(sum[0][j][v], column[v], value);                     \
        }                                                                                                             \
        RN_UNROLL for (int v = 0; v < M; v++) __builtin_prefetch(panel + RN_SOON * step + RN_NTH(v));                 \
        __builtin_prefetch(panel_ahead + k * RN_VL, 0, 2);                                                            \
        panel += step;                                                                                                \
    }

/* One row, whose inner indices are dealt to F chains. It is bound by the cache itself, which questions would keep busy:
 * 4 x 1 lost 5 % by them. So are two rows. */
#define RN_TILE_CHAINS(M, N, F)                                                                                       \
    for (; k + F <= K; k += F) {                                                                                      \
        RN_UNROLL for (int f = 0; f < F; f++) {                                                                       \
            RN_TILE_COLUMN(M)                                                                                         \
            RN_UNROLL for (int j = 0; j < N; j++) {                                                                   \
                rn_v value = rn_all(row[j][k + f]);                                                                   \
                RN_UNROLL for (int v = 0; v < M; v++) sum[f][j][v] += column[v] * value;                              \
            }                                                                                                         \
            panel += step;                                                                                            \
        }                                                                                                             \
    }                                                                                                                 \
    for (; k < K; k++) {                                                                                              \
        RN_UNROLL for (int j = 0; j < N; j++)                                                                         \
            RN_UNROLL for (int v = 0; v < M; v++)                                                                     \
                sum[0][j][v] += rn_load(panel + RN_NTH(v)) * rn_all(row[j][k]);                                       \
        panel += step;                                                                                                \
    }

#define RN_TILE_LOOP(M, N, F)                                                                                         \
    if (F > 1) {                                                                                                      \
        RN_TILE_CHAINS(M, N, F)                                                                                       \
    } else if (RN_ASKS && N > 2 && form->ahead != 0) {                                                                \
        const real *const panel_ahead = panel + form->ahead;                                                          \
        RN_TILE_FAR(M, N)                                                                                             \
    } else {                                                                                                          \
        RN_TILE_NEAR(M, N)                                                                                            \
    }

/* The tile for so many rows, of M vectors: nothing but a choice. */
#define RN_CHOICE(tile, M, name, SHAPES)                                                                              \
    RN_INLINE void tile##name(const rn_form *form, const real *restrict panel, long K, const real *const *rows,       \
                              int nrows, real *restrict acc, int accumulate) {                                        \
        if (nrows == 1) {                                                                                             \
            tile##sums_##M##_1(form, panel, K, rows, acc, accumulate);                                                \
            return;                                                                                                   \
        }                                                                                                             \
        switch (nrows) { SHAPES }                                                                                     \
    }

/* Four vectors in two passes: the same sums, since chains depend on the rows alone. The second has its own share of what
 * comes into the second cache. */
#define RN_TWO_WIDE(tile, N)                                                                                          \
    case N: {                                                                                                         \
        const long ahead = form->ahead ? form->ahead + K * RN_VL - form->far : 0;                                     \
        const rn_form second = {form->step, form->near, form->far, form->across, ahead};                              \
        tile##2_##N(form, panel, K, rows, acc, accumulate);                                                           \
        tile##2_##N(&second, panel + form->far, K, rows, acc + 2 * RN_VL, accumulate);                                \
        break;                                                                                                        \
    }

/* All shapes of a tile and the choices among them; TILE(M, N, F) defines one, CASE(M, N, F) calls it. */
#define RN_TILES(tile, TILE, CASE)                                                                                    \
    RN_SHAPES_1(TILE) RN_SHAPES_2(TILE) RN_SHAPES_3(TILE) RN_SHAPES_4(TILE)                                           \
    RN_CHOICE(tile, 1, 1, RN_SHAPES_1(CASE)) RN_CHOICE(tile, 2, 2, RN_SHAPES_2(CASE))                                 \
    RN_CHOICE(tile, 3, 3, RN_SHAPES_3(CASE)) RN_CHOICE(tile, 4, 4, RN_SHAPES_4(CASE) RN_TWICE(tile))                  \
    RN_CHOICE(tile, 1, some_1, RN_SHAPES_SOME(CASE, 1)) RN_CHOICE(tile, 2, some_2, RN_SHAPES_SOME(CASE, 2))

#define RN_TILE(M, N, F) RN_ANY_TILE(rn_tile_, RN_TILE_LOOP, M, N, F)
#define RN_TILE_CASE(M, N, F) case N: rn_tile_##M##_##N(form, panel, K, rows, acc, accumulate); break;
RN_TILES(rn_tile_, RN_TILE, RN_TILE_CASE)

/* rn_tile(mv, panel, K, rows, nrows, acc, accumulate): 1 <= nrows <= RN_ROWS(mv), mv as for RN_ROWS. */
#define RN_BESIDE(mv, ahead) (&(const rn_form){(mv) * RN_VL, RN_VL, 2 * RN_VL, (mv) * RN_VL, ahead})
#define rn_tile(mv, ...) RN_JOIN(rn_tile_, mv)(RN_BESIDE(mv, 0), __VA_ARGS__)

/* The same, and meanwhile the panel `next` panels further comes into the second cache: each pass of a tile asks for one
 * vector's worth of it, in the order in which it lies, until row blocks have asked for all. */
#define rn_tile_next(mv, next, block, panel, K, rows, nrows, ...)                                                     \
    RN_JOIN(rn_tile_, mv)(RN_BESIDE(mv, rn_ahead(mv, next, block, nrows, (K) * RN_VL)), panel, K, rows, nrows,        \
                          __VA_ARGS__)
RN_INLINE long rn_ahead(int mv, long next, long block, int nrows, long vector) {
    const long part = mv == 4 && nrows > RN_ONE_PASS ? 2 * block : block;
    return next != 0 && part < mv ? (next * mv + part) * vector : 0;
}

/* Several panels of one or two gates that lie behind one another, at most RN_AT_ONCE vectors: as many as there are, so
 * that threads may be dealt any. (Filled up to whole groups of four, 392 units were 416; and of 150 units, 10 panels,
 * two threads had 4 and 6. Two at once instead of four: LSTM 256, one stream, 3 % slower.) */
#if RN_REGISTERS >= 32
#define RN_AT_ONCE 4
#else
#define RN_AT_ONCE 2
#endif
#define RN_SOME_CALLED(tile, gates)                                                                                   \
    RN_FUNCTION void tile##called_##gates(int wide, long next, long block, const real *restrict panel, long K,        \
                                          const real *const *rows, int nrows, real *restrict acc, int accumulate) {   \
        tile##of_##gates(wide, next, block, panel, K, rows, nrows, acc, accumulate);                                  \
    }
#define RN_SOMES(tile, ROOM)                                                                                          \
    RN_INLINE void tile##of_1(int wide, long next, long block, const real *restrict panel, long K,                    \
                              const real *const *rows, int nrows, real *restrict acc, int accumulate) {               \
        const long apart = (ROOM) * RN_VL, ahead = rn_ahead(RN_AT_ONCE, next, block, nrows, apart);                   \
        const rn_form *const form = &(const rn_form){RN_VL, apart, 2 * apart, RN_AT_ONCE * RN_VL, ahead};             \
        if (wide == 4) {                                                                                              \
            RN_JOIN(tile, RN_AT_ONCE)(form, panel, K, rows, nrows, acc, accumulate);                                  \
            return;                                                                                                   \
        }                                                                                                             \
        if (wide >= 2) tile##some_2(form, panel, K, rows, nrows, acc, accumulate);                                    \
        if (wide == 3) panel += 2 * apart, acc += 2 * RN_VL;                                                          \
        if (wide != 2) tile##some_1(form, panel, K, rows, nrows, acc, accumulate);                                    \
    }                                                                                                                 \
    RN_INLINE void tile##of_2(int wide, long next, long block, const real *restrict panel, long K,                    \
                              const real *const *rows, int nrows, real *restrict acc, int accumulate) {               \
        const long apart = 2 * (ROOM) * RN_VL, ahead = rn_ahead(RN_AT_ONCE, next, block, nrows, apart / 2);           \
        const rn_form *const form = &(const rn_form){2 * RN_VL, RN_VL, apart, RN_AT_ONCE * RN_VL, ahead};             \
        if (wide == 2) RN_JOIN(tile, RN_AT_ONCE)(form, panel, K, rows, nrows, acc, accumulate);                       \
        else tile##some_2(form, panel, K, rows, nrows, acc, accumulate);                                              \
    }                                                                                                                 \
    RN_SOME_CALLED(tile, 1) RN_SOME_CALLED(tile, 2)
RN_SOMES(rn_tile_, K)

/* rn_some(gates, wide, panel, K, rows, nrows, acc, accumulate): `wide` panels, 1 .. RN_AT_ONCE / gates; nrows at most
 * RN_ROWS(RN_AT_ONCE). acc has RN_AT_ONCE vectors for each row. Of rn_some_next the `next` are as many at once. */
#define rn_some(gates, wide, ...) RN_JOIN(rn_tile_of_, gates)(wide, 0, 0, __VA_ARGS__)
#define rn_some_next(gates, ...) RN_JOIN(rn_tile_of_, gates)(__VA_ARGS__)
/* The same as a call. */
#define rn_some_called(gates, wide, ...) RN_JOIN(rn_tile_called_, gates)(wide, 0, 0, __VA_ARGS__)
#define rn_some_next_called(gates, ...) RN_JOIN(rn_tile_called_, gates)(__VA_ARGS__)
