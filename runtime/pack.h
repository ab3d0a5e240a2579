/* pack.h: matrices as the kernels want them.
 *
 * A packed matrix is [panel][K][g][RN_VL]: the n units of a layer are cut into blocks of RN_VL, and each of the K inner
 * indices of a block's panel holds the numbers of all g gates (matrices stacked by unit). So one panel, with mv = g,
 * yields all gates of RN_VL units in registers, and threads may be dealt any blocks; of a single gate two panels are
 * taken at once (rn_two). Units beyond n are zeros. rn_pack fills in one gate; any view is taken by strides, unit i and
 * inner index k at src[i * row_stride + k * column_stride]. With q blocks side by side at each inner index, all there
 * are, it is a matrix column by column, for look-ups.
 *
 * LSTM 512 (Zen 4, one thread): 135 us for U, 105 us for U', where copying takes 86. What that is of a training step whose
 * weights are new each time (B = 1, two threads): LSTM 512, T = 256, 0.69 of 18.0 ms (by one thread 1.07 of 18.3); four
 * LSTM 256, T = 128, 1.3 of 12.5 ms (2.3 of 13.5). */

/* Length of the packed form in numbers. */
RN_INLINE long rn_packed(long n, long K, int g, int q) {
    long blocks = (n + RN_VL - 1) / RN_VL;
    return (blocks + q - 1) / q * q * g * RN_VL * K;
}

/* A square of RN_VL x RN_VL, transposed in registers by log2(RN_VL) perfect shuffles of its rows. */
#if RN_VL == 16
#define RN_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define RN_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define RN_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define RN_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif RN_VL == 8
#define RN_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define RN_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define RN_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define RN_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif RN_VL == 4
#define RN_EVEN 0, 2, 4, 6
#define RN_ODD 1, 3, 5, 7
#define RN_LOW 0, 4, 1, 5
#define RN_HIGH 2, 6, 3, 7
#else
#define RN_EVEN 0, 2
#define RN_ODD 1, 3
#define RN_LOW 0, 2
#define RN_HIGH 1, 3
#endif
#if defined(__clang__)
#define RN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define RN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (rn_i){__VA_ARGS__})
#endif

RN_INLINE void rn_transpose_square(rn_v *square) {
    rn_v next[RN_VL];
    RN_UNROLL for (int step = 1; step < RN_VL; step *= 2) {
        RN_UNROLL for (int i = 0; i < RN_VL / 2; i++) {
            next[2 * i] = RN_SHUFFLE(square[i], square[i + RN_VL / 2], RN_LOW);
            next[2 * i + 1] = RN_SHUFFLE(square[i], square[i + RN_VL / 2], RN_HIGH);
        }
        RN_UNROLL for (int i = 0; i < RN_VL; i++) square[i] = next[i];
    }
}

/* Each pair of `count` vectors becomes one of sums half as long, side by side, until there is one left. */
#define RN_ADD_HALVES(square, count)                                                                                 \
    RN_UNROLL for (int half = (count) / 2; half > 0; half /= 2)                                                      \
        RN_UNROLL for (int i = 0; i < half; i++)                                                                     \
            square[i] = RN_SHUFFLE(square[i], square[i + half], RN_LOW)                                              \
                        + RN_SHUFFLE(square[i], square[i + half], RN_HIGH);

/* Of RN_VL vectors, which all change, the sums of their lanes: lane r is that of the r-th. Two thirds of the work of a
 * square turned over and added up. */
RN_INLINE rn_v rn_sums_of_lanes(rn_v *square) {
    RN_ADD_HALVES(square, RN_VL)
    return square[0];
}

/* The same of RN_FEW vectors, in the first lanes: the others of the square would be these again. */
#define RN_FEW RN_MIN(4, RN_VL)
RN_INLINE rn_v rn_sums_of_few(rn_v *few) {
    RN_ADD_HALVES(few, RN_FEW)
    RN_UNROLL for (int left = RN_VL / RN_FEW; left > 1; left /= 2)
        few[0] = RN_SHUFFLE(few[0], few[0], RN_LOW) + RN_SHUFFLE(few[0], few[0], RN_HIGH);
    RN_UNROLL for (int left = RN_VL / RN_FEW; left > 1; left /= 2) few[0] = RN_SHUFFLE(few[0], few[0], RN_EVEN);
    return few[0];
}

/* Of RN_VL units as many inner indices, a vector for each: square[k][lane] = src[lane * row_stride + k * column_stride]. */
RN_INLINE void rn_square(rn_v *square, const real *restrict src, long row_stride, long column_stride) {
    const long step = row_stride == 1 ? column_stride : row_stride;
    RN_UNROLL for (int i = 0; i < RN_VL; i++) square[i] = rn_load(src + i * step);
    if (row_stride != 1) rn_transpose_square(square);
}

/* The same of the first `units` units and `wide` indices only, with any strides; the rest is zeros. */
RN_INLINE void rn_ragged_square(rn_v *square, const real *restrict src, long row_stride, long column_stride,
                                long units, long wide) {
    for (long k = 0; k < RN_VL; k++) {
        RN_ALIGNED real lanes[RN_VL] = {0};
        for (long i = 0; k < wide && i < RN_VL && i < units; i++) lanes[i] = src[i * row_stride + k * column_stride];
        square[k] = rn_load(lanes);
    }
}

/* Defines a packing function. KEEP(i) is what is stored of square[i] and the PER - 1 after it. Super-blocks are dealt to
 * threads: each packs panels that it will read. (The pointers are hidden, or gcc keeps sixteen of each.) */
#define RN_PACK(name, PER, KEEP)                                                                                      \
    RN_FUNCTION void name##_ragged(real *to, long step, const real *from, long row_stride, long column_stride,        \
                                   long units, long wide) {                                                           \
        rn_v square[RN_VL];                                                                                           \
        rn_ragged_square(square, from, row_stride, column_stride, units, wide);                                       \
        for (int i = 0; i < RN_VL && i < wide; i += PER, to += step) rn_store(to, KEEP(i));                           \
    }                                                                                                                 \
    RN_FUNCTION void name(real *restrict dst, const real *restrict src, long row_stride, long column_stride, long n,  \
                          long K, int gate, int g, int q, int thread, int threads) {                                  \
        const long step = (long)q * g * RN_VL;                                                                        \
        const int plain = row_stride == 1 || column_stride == 1;                                                      \
        long first, last;                                                                                             \
        rn_share((n + q * RN_VL - 1) / (q * RN_VL), thread, threads, &first, &last);                                  \
        for (long p = first; p < last; p++)                                                                           \
            for (long k = 0; k < K; k += RN_VL)                                                                       \
                for (long u = p * q * RN_VL, b = 0; b < q; b++, u += RN_VL) {                                         \
                    const real *from = src + u * row_stride + k * column_stride;                                      \
                    real *to = dst + (p * ((K + PER - 1) / PER) + k / PER) * step + (b * g + gate) * RN_VL;           \
                    if (plain && n - u >= RN_VL && K - k >= RN_VL) {                                                  \
                        rn_v square[RN_VL];                                                                           \
                        RN_HIDE(from);                                                                                \
                        RN_HIDE(to);                                                                                  \
                        rn_square(square, from, row_stride, column_stride);                                           \
                        RN_UNROLL for (int i = 0; i < RN_VL; i += PER, to += step) rn_store(to, KEEP(i));             \
                    } else {                                                                                          \
                        name##_ragged(to, step, from, row_stride, column_stride, n - u, K - k);                       \
                    }                                                                                                 \
                }                                                                                                     \
    }

#define RN_KEEP(i) square[i]
RN_PACK(rn_pack, 1, RN_KEEP)

/* dst[j * dst_stride + i] (+)= src[i * src_stride + j] for i < rows, j < columns. */
RN_FUNCTION void rn_transpose_add(real *restrict dst, long dst_stride, const real *restrict src, long src_stride,
                                  long rows, long columns, int accumulate) {
    for (long i = 0; i < rows; i += RN_VL)
        for (long j = 0; j < columns; j += RN_VL) {
            long high = rows - i < RN_VL ? rows - i : RN_VL, wide = columns - j < RN_VL ? columns - j : RN_VL;
            rn_v square[RN_VL];
            for (int r = 0; r < RN_VL; r++)
                square[r] = r < high ? rn_load_part(src + (i + r) * src_stride + j, wide) : (rn_v){0};
            rn_transpose_square(square);
            for (int c = 0; c < wide; c++) {
                real *to = dst + (j + c) * dst_stride + i;
                if (accumulate) square[c] += rn_load_part(to, high);
                rn_store_part(to, square[c], high);
            }
        }
}
