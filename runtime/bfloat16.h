/* bfloat16.h: matrices stored as bfloat16, half as many bytes to read; rows, sums and everything else stay float32.
 *
 * A packed matrix has the form of pack.h, but each number is a word of 32 bits that holds two inner indices: k (even) in
 * its low half and k + 1 in its high half. The low half is number k's upper 16 bits, found by a shift. Number k + 1 is
 * the whole word, taken as it stands: what lies in the low half is there only by chance, but the packer knows it, and
 * chooses the high half so that the whole word comes nearest to the true number. Both are within 2^-8 of it. Where the
 * number of inner indices is odd, the last word has a low half only.
 *
 * Measured (Zen 4, AVX-512, peak 118 GFLOP/s): one row 114 instead of 58 GFLOP/s from the second cache, 96 instead of 49
 * from a 2 MiB share of the third, 82 instead of 34 at 8 MiB; from 3 rows on, where arithmetic is the limit, the same. */
#if !RN_DOUBLE

/* Words that hold K inner indices. */
#define RN_WORDS(K) (((K) + 1) / 2)

/* -------------------------------------------------------------------------------------------------- packing */

/* The upper half, as the upper half of a word, with which a word comes nearest to the number if `below` stands under
 * it. That is its bits rounded; a number so small that it has no upper half is left to itself, and so are infinity and
 * NaN, which must not become finite by it. */
RN_INLINE rn_i rn_upper(rn_v number, rn_i below) {
    const rn_i bits = (rn_i)number, size = bits & 0x7fffffff;
    const rn_i near = bits + 0x8000 - (below & (size > 0xffff));
    return (rn_i)rn_select(size < 0x7f800000, (rn_v)near, number) & ~0xffff;
}

/* Numbers of an even inner index and of the next one in one word. */
RN_INLINE rn_v rn_word(rn_v even, rn_v odd) {
    const rn_i low = (rn_upper(even, (rn_i){0}) >> 16) & 0xffff;
    return (rn_v)(rn_upper(odd, low) | low);
}

/* As rn_pack. */
#define RN_KEEP16(i) rn_word(square[i], square[(i) + 1])
RN_PACK(rn_pack16, 2, RN_KEEP16)

/* -------------------------------------------------------------------------------------------------- products */

RN_INLINE rn_v rn_low(rn_v word) { return (rn_v)((rn_i)word << 16); }

/* As RN_TILE_LOOP, with the same chains: of the numbers that the words stand for it makes the same sums, bit for bit.
 * Where the registers do not hold the words and their low halves beside all sums, each word is loaded again for its
 * high half (the pointer is hidden so that the compiler really does), and the sums are pinned, or gcc and clang run
 * short of registers all the same: 50 instead of 117 GFLOP/s (AVX2, 3 x 4). */
#define RN_TILE16_LOOP(M, N, F)                                                                                       \
    enum { CHAINS = F < 2 ? 2 : F, AGAIN = F * N * M + 2 * M >= RN_REGISTERS };                                       \
    for (; k + CHAINS <= K; k += CHAINS) {                                                                            \
        RN_UNROLL for (int f = 0; f < CHAINS; f++) {                                                                  \
            RN_UNROLL for (int v = 0; v < M; v++) {                                                                   \
                column[v] = rn_load(panel + RN_NTH(v));                                                               \
                RN_PIN(column[v]);                                                                                    \
                if (f % 2 == 0) column[v] = rn_low(column[v]);                                                        \
            }                                                                                                         \
            RN_UNROLL for (int j = 0; j < N; j++) {                                                                   \
                rn_v value = rn_all(row[j][k + f]);                                                                   \
                RN_UNROLL for (int v = 0; v < M; v++) {                                                               \
                    sum[f % F][j][v] += column[v] * value;                                                            \
                    if (AGAIN) RN_PIN(sum[f % F][j][v]);                                                              \
                }                                                                                                     \
            }                                                                                                         \
            if (f % 2) panel += step;                                                                                 \
            else if (AGAIN) RN_HIDE(panel);                                                                           \
        }                                                                                                             \
    }                                                                                                                 \
    for (; k < K; k++) {                                                                                              \
        RN_UNROLL for (int j = 0; j < N; j++)                                                                         \
            RN_UNROLL for (int v = 0; v < M; v++) {                                                                   \
                rn_v word = rn_load(panel + RN_NTH(v));                                                               \
                sum[0][j][v] += (k % 2 ? word : rn_low(word)) * rn_all(row[j][k]);                                    \
            }                                                                                                         \
        if (k % 2) panel += step;                                                                                     \
    }

#define RN_TILE16(M, N, F) RN_ANY_TILE(rn_tile16_, RN_TILE16_LOOP, M, N, F)
#define RN_TILE16_CASE(M, N, F) case N: rn_tile16_##M##_##N(form, panel, K, rows, acc, accumulate); break;
RN_TILES(rn_tile16_, RN_TILE16, RN_TILE16_CASE)
RN_SOMES(rn_tile16_, RN_WORDS(K))

/* As rn_tile and rn_some. */
#define rn_tile16(mv, ...) RN_JOIN(rn_tile16_, mv)(RN_BESIDE(mv, 0), __VA_ARGS__)
#define rn_some16(gates, wide, ...) RN_JOIN(rn_tile16_of_, gates)(wide, 0, 0, __VA_ARGS__)
#endif
