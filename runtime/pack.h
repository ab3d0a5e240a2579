/* pack.h: matrices as the kernels want them.
 *
 * A packed matrix is [super-block][K][q][g][RN_VL]: the n units of a layer are cut into blocks of RN_VL, q blocks go
 * together in a super-block, and its K inner indices each hold the numbers of all g gates (matrices stacked by unit) of
 * these blocks. So one panel, with mv = q * g, yields all gates of q * RN_VL units in registers. Units beyond n are
 * zeros. rn_pack fills in one gate; any view is taken by strides, unit i and inner index k at src[i * row_stride +
 * k * column_stride]. Weights are packed when they change, so this only has to be quick, not perfect. */

/* Length of the packed form in numbers. */
RN_INLINE long rn_packed(long n, long K, int g, int q) {
    long blocks = (n + RN_VL - 1) / RN_VL;
    return (blocks + q - 1) / q * q * g * RN_VL * K;
}

/* A square of RN_VL x RN_VL, transposed in registers by log2(RN_VL) perfect shuffles of its rows. */
#if RN_VL == 16
#define RN_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define RN_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif RN_VL == 8
#define RN_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define RN_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#elif RN_VL == 4
#define RN_LOW 0, 4, 1, 5
#define RN_HIGH 2, 6, 3, 7
#else
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

/* One block of `units` (at most RN_VL) rows: dst[k * step + lane] = src[lane * row_stride + k * column_stride]. */
RN_FUNCTION void rn_pack_block(real *restrict dst, long step, const real *restrict src, long row_stride,
                               long column_stride, long units, long K) {
    if (row_stride == 1) {                    /* a transposed view: units lie side by side */
        if (units >= RN_VL)
            for (long k = 0; k < K; k++) rn_store(dst + k * step, rn_load(src + k * column_stride));
        else
            for (long k = 0; k < K; k++) rn_store(dst + k * step, rn_load_part(src + k * column_stride, units));
        return;
    }
    if (column_stride == 1) {                 /* rows: squares are transposed */
        for (long k = 0; k < K; k += RN_VL) {
            long wide = K - k < RN_VL ? K - k : RN_VL;
            rn_v square[RN_VL];
            if (wide == RN_VL && units >= RN_VL) {
                RN_UNROLL for (int i = 0; i < RN_VL; i++) square[i] = rn_load(src + i * row_stride + k);
            } else {
                for (int i = 0; i < RN_VL; i++)
                    square[i] = i < units ? rn_load_part(src + i * row_stride + k, wide) : (rn_v){0};
            }
            rn_transpose_square(square);
            if (wide == RN_VL) {
                RN_UNROLL for (int i = 0; i < RN_VL; i++) rn_store(dst + (k + i) * step, square[i]);
            } else {
                for (long i = 0; i < wide; i++) rn_store(dst + (k + i) * step, square[i]);
            }
        }
        return;
    }
    for (long k = 0; k < K; k++)
        for (long i = 0; i < RN_VL; i++)
            dst[k * step + i] = i < units ? src[i * row_stride + k * column_stride] : 0;
}

/* Unit blocks [first, last) of one gate, up to the end of the last super-block: threads may take shares. */
RN_FUNCTION void rn_pack_blocks(real *restrict dst, const real *restrict src, long row_stride, long column_stride,
                                long n, long K, int gate, int g, int q, long first, long last) {
    for (long block = first; block < last; block++) {
        long units = n - block * RN_VL, place = block / q * K * q + block % q;
        rn_pack_block(dst + (place * g + gate) * RN_VL, (long)q * g * RN_VL, src + block * RN_VL * row_stride,
                      row_stride, column_stride, units < 0 ? 0 : units, K);
    }
}

RN_FUNCTION void rn_pack(real *restrict dst, const real *restrict src, long row_stride, long column_stride, long n,
                         long K, int gate, int g, int q) {
    long blocks = (n + RN_VL - 1) / RN_VL;
    rn_pack_blocks(dst, src, row_stride, column_stride, n, K, gate, g, q, 0, (blocks + q - 1) / q * q);
}

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
