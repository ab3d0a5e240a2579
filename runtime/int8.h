/* int8.h: quantised matrices stored as whole numbers of steps, a byte each; rows, sums and everything else are float32.
 *
 * A packed matrix has the form of pack.h, but each number is a word of 32 bits that holds four inner indices, k in its
 * lowest byte and k + 3 in its highest, as signed whole numbers; a super-block begins with one vector of numbers more,
 * the units' steps. A product shifts a byte to its place, makes a number of it and multiplies that by the step, rounded
 * once: so ends rn_quantize too, which makes the sums those of float32, bit for bit. (A zero alone has lost its sign.)
 * Each unit has a step of its own so that there is a place for NaN, which no byte can be: where a matrix holds one, its
 * unit's step is NaN, and so is every product with that unit, as it would be anyway.
 *
 * Measured (Zen 4, AVX-512, peak 118 GFLOP/s): one row 42 GFLOP/s from any cache, where float32 reaches 58 from the
 * second, 48 from the third and 33 at 16 MiB; two rows 73, four and more 92 to 107 instead of 117. */
#if !RN_DOUBLE

/* Vectors that hold K inner indices and their step. */
#define RN_OCTETS(K) (1 + ((K) + 3) / 4)

/* -------------------------------------------------------------------------------------------------- packing */

/* Four inner indices in one word, of which the first `wide` are there. `strange` keeps the NaNs among them. */
RN_INLINE rn_v rn_word8(const rn_v *square, long wide, rn_v step, rn_v most, rn_v *strange) {
    rn_i word = {0};
    RN_UNROLL for (int i = 0; i < 4; i++)
        if (i < wide) {
            const rn_v steps = rn_steps(square[i], step, most);
            const rn_i number = RN_MASK(steps == steps);
            *strange = rn_select(number, *strange, steps);
            word |= (__builtin_convertvector((rn_v)((rn_i)steps & number), rn_i) & 255) << 8 * i;
        }
    return (rn_v)word;
}

/* As rn_pack, of what quantize(src, ., step) makes: at most `most` steps either way, of which a byte holds 127. Units
 * beyond n are zeros, with the step zero. */
RN_FUNCTION void rn_pack8(real *restrict dst, const real *restrict src, long row_stride, long column_stride, long n,
                          long K, int gate, int g, int q, int thread, int threads, real step, int most) {
    const long apart = (long)q * g * RN_VL;
    const int plain = row_stride == 1 || column_stride == 1;
    long first, last;
    rn_share((n + q * RN_VL - 1) / (q * RN_VL), thread, threads, &first, &last);
    for (long p = first; p < last; p++)
        for (long u = p * q * RN_VL, b = 0; b < q; b++, u += RN_VL) {
            real *const sizes = dst + p * RN_OCTETS(K) * apart + (b * g + gate) * RN_VL, *to = sizes + apart;
            const rn_i there = rn_first(RN_MIN(RN_MAX(n - u, 0), RN_VL));
            rn_v strange = {0};
            for (long k = 0; k < K; k += RN_VL) {
                const real *from = src + u * row_stride + k * column_stride;
                rn_v square[RN_VL];
                if (plain && n - u >= RN_VL && K - k >= RN_VL) rn_square(square, from, row_stride, column_stride);
                else rn_ragged_square(square, from, row_stride, column_stride, n - u, K - k);
                for (int i = 0; i < RN_VL && i < K - k; i += 4, to += apart)
                    rn_store(to, rn_word8(square + i, K - k - i, rn_all(step), rn_all((real)most), &strange));
            }
            const rn_v steps = rn_select(RN_MASK(strange == strange), rn_all(step), strange);
            rn_store(sizes, (rn_v)((rn_i)steps & there));
        }
}

/* -------------------------------------------------------------------------------------------------- products */

/* Inner index i of the four in a word. */
RN_INLINE rn_v rn_octet(rn_v word, int i, rn_v step) {
    return __builtin_convertvector((rn_i)word << (24 - 8 * i) >> 24, rn_v) * step;
}

/* As RN_TILE_LOOP, with the same chains. Where the registers do not hold the words beside all sums, each word is loaded
 * again for each of its bytes, as in bfloat16.h. */
#define RN_TILE8_LOOP(M, N, F)                                                                                        \
    enum { CHAINS = F < 4 ? 4 : F, AGAIN = F * N * M + 2 * M >= RN_REGISTERS };                                       \
    const real *words = panel + step;                                                                                 \
    for (; k + CHAINS <= K; k += CHAINS) {                                                                            \
        RN_UNROLL for (int f = 0; f < CHAINS; f++) {                                                                  \
            RN_UNROLL for (int v = 0; v < M; v++) {                                                                   \
                column[v] = rn_octet(rn_load(words + RN_NTH(v)), f % 4, rn_load(panel + RN_NTH(v)));                  \
                RN_PIN(column[v]);                                                                                    \
            }                                                                                                         \
            RN_UNROLL for (int j = 0; j < N; j++) {                                                                   \
                rn_v value = rn_all(row[j][k + f]);                                                                   \
                RN_UNROLL for (int v = 0; v < M; v++) {                                                               \
                    sum[f % F][j][v] += column[v] * value;                                                            \
                    if (AGAIN) RN_PIN(sum[f % F][j][v]);                                                              \
                }                                                                                                     \
            }                                                                                                         \
            if (f % 4 == 3) words += step;                                                                            \
            else if (AGAIN) RN_HIDE(words);                                                                           \
        }                                                                                                             \
    }                                                                                                                 \
    for (; k < K; k += 4, words += step)                                                                              \
        RN_UNROLL for (int f = 0; f < 4; f++)                                                                         \
            if (k + f < K)                                                                                            \
                RN_UNROLL for (int v = 0; v < M; v++) {                                                               \
                    column[v] = rn_octet(rn_load(words + RN_NTH(v)), f, rn_load(panel + RN_NTH(v)));                  \
                    RN_UNROLL for (int j = 0; j < N; j++)                                                             \
                        sum[F == 2 ? f % 2 : 0][j][v] += column[v] * rn_all(row[j][k + f]);                           \
                }

#define RN_TILE8(M, N, F) RN_ANY_TILE(rn_tile8_, RN_TILE8_LOOP, M, N, F)
#define RN_TILE8_CASE(M, N, F) case N: rn_tile8_##M##_##N(form, panel, K, rows, acc, accumulate); break;
RN_TILES(rn_tile8_, RN_TILE8, RN_TILE8_CASE)
RN_SOMES(rn_tile8_, RN_OCTETS(K))

/* As rn_tile and rn_some. */
#define rn_tile8(mv, ...) RN_JOIN(rn_tile8_, mv)(RN_BESIDE(mv, 0), __VA_ARGS__)
#define rn_some8(gates, wide, ...) RN_JOIN(rn_tile8_of_, gates)(wide, 0, 0, __VA_ARGS__)
#endif
