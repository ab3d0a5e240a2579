/* reduce.h: numbers made from a whole row.
 *
 * A row has exactly n numbers; what lies behind them may be anything, NaN too, and is never used. Every sum has one
 * order: lane by lane in steps of RN_VL, the rest of the row as one last vector, then the lanes, halves upon halves.
 * NaN inside the row wins, as in NumPy. n = 0 gives the value that changes nothing. */

/* The lanes of one vector together: 0 with 8, 1 with 9, ..., then quarters, and so on, as vectors of n lanes. Compilers
 * see through the array (three times as fast as lane by lane; gcc 12, Zen 4). `join` is of low and high. */
#define RN_HALVES(n, join)                                                                                           \
    if (RN_VL >= 2 * n) {                                                                                            \
        typedef real lanes __attribute__((vector_size((n) * sizeof(real)), may_alias));                              \
        const lanes low = *(const lanes *)a, high = *(const lanes *)(a + n);                                         \
        *(lanes *)a = join;                                                                                          \
    }
#define RN_FOLD_LANES(name, join, last)                                                                              \
    RN_INLINE real name(rn_v v) {                                                                                    \
        RN_ALIGNED real a[RN_VL];                                                                                    \
        rn_store(a, v);                                                                                              \
        RN_HALVES(8, join) RN_HALVES(4, join) RN_HALVES(2, join)                                                     \
        const real low = a[0], high = a[1];                                                                          \
        return last;                                                                                                 \
    }
#define RN_EITHER(mask) (lanes)((mask & (__typeof__(mask))low) | (~mask & (__typeof__(mask))high))
RN_FOLD_LANES(rn_lanes_sum, low + high, low + high)
RN_FOLD_LANES(rn_lanes_max, RN_EITHER(((low > high) | (low != low))), low > high || low != low ? low : high)
RN_FOLD_LANES(rn_lanes_min, RN_EITHER(((low < high) | (low != low))), low < high || low != low ? low : high)
#undef RN_EITHER

/* The last, incomplete vector of a row, filled up with a value that changes nothing. */
RN_INLINE rn_v rn_load_rest(const real *p, long n, real filler) {
    return rn_select(rn_first(n), rn_load_part(p, n), rn_all(filler));
}

/* `so_far` joined with `next`, over the row; four vectors at once, since one chain would wait for itself. A row that is
 * known to fit in one vector is not worth a call. */
#define RN_ROW(name, filler, lanes, join, row, ...)                                                                  \
    RN_INLINE rn_v name##_join(rn_v so_far, rn_v next) { return join; }                                              \
    RN_FUNCTION real name##_of_many(__VA_ARGS__) {                                                                   \
        rn_v total[4];                                                                                               \
        long i = 0;                                                                                                  \
        RN_UNROLL for (int c = 0; c < 4; c++) total[c] = rn_all(filler);                                             \
        for (; i + 4 * RN_VL <= n; i += 4 * RN_VL)                                                                   \
            RN_UNROLL for (int c = 0; c < 4; c++) total[c] = name##_join(total[c], RN_NEXT(rn_load, i + c * RN_VL)); \
        for (; i + RN_VL <= n; i += RN_VL) total[0] = name##_join(total[0], RN_NEXT(rn_load, i));                    \
        if (i < n) total[1] = name##_join(total[1], RN_NEXT_PART(i, filler));                                        \
        return lanes(name##_join(name##_join(total[0], total[2]), name##_join(total[1], total[3])));                 \
    }                                                                                                                \
    RN_INLINE real name(__VA_ARGS__) {                                                                               \
        if (!__builtin_constant_p(n) || n > RN_VL) return name##_of_many row;                                        \
        return lanes(name##_join(rn_all(filler), RN_NEXT_PART(0, filler)));                                          \
    }
#define RN_NEXT(load, at) load(x + (at))
#define RN_NEXT_PART(at, filler) rn_load_rest(x + (at), n - (at), filler)
RN_ROW(rn_row_sum, 0, rn_lanes_sum, so_far + next, (x, n), const real *x, long n)
RN_ROW(rn_row_max, -RN_INFINITY, rn_lanes_max, rn_max(so_far, next), (x, n), const real *x, long n)
RN_ROW(rn_row_min, RN_INFINITY, rn_lanes_min, rn_min(so_far, next), (x, n), const real *x, long n)
#undef RN_NEXT
#undef RN_NEXT_PART
#define RN_NEXT(load, at) load(x + (at)) * load(y + (at))
#define RN_NEXT_PART(at, filler) rn_load_part(x + (at), n - (at)) * rn_load_part(y + (at), n - (at))
RN_ROW(rn_row_dot, 0, rn_lanes_sum, so_far + next, (x, y, n), const real *x, const real *y, long n)
#undef RN_NEXT
#undef RN_NEXT_PART

/* The first place of the largest number, or of the first NaN; 0 for an empty row. */
RN_FUNCTION int32_t rn_row_argmax(const real *x, long n) {
    real most = rn_row_max(x, n);
    for (long i = 0; i < n; i++)
        if (x[i] == most || x[i] != x[i]) return (int32_t)i;
    return 0;
}

/* Sum of exp(x - most). With `most` the largest number nothing overflows. */
RN_INLINE real rn_row_sum_exp(const real *x, long n, real most) {
    rn_v total = {0};
    long i = 0;
    for (; i + RN_VL <= n; i += RN_VL) total += rn_exp(rn_load(x + i) - most);
    if (i < n) total += (rn_v)((rn_i)rn_exp(rn_load_part(x + i, n - i) - most) & rn_first(n - i));
    return rn_lanes_sum(total);
}

/* The largest number, but 0 where it is infinite: then inf - inf does not make NaN of exp(inf) or of exp(-inf). */
RN_INLINE real rn_row_pivot(const real *x, long n) {
    real most = rn_row_max(x, n);
    return most == RN_INFINITY || most == -RN_INFINITY ? 0 : most;
}

RN_FUNCTION real rn_row_logsumexp(const real *x, long n) {
    real pivot = rn_row_pivot(x, n);
    return pivot + rn_log1(rn_row_sum_exp(x, n, pivot));
}

/* The number at place i, 0 beyond the row. */
RN_INLINE real rn_row_take(const real *from, long n, int64_t i) { return i >= 0 && i < n ? from[i] : 0; }

/* -log of the share of exp(x[i]) in that sum: what is added is never larger than the result, nothing cancels. An i that
 * is no index counts as a 0 among the x. */
RN_FUNCTION real rn_row_surprisal(const real *x, long n, int64_t i) {
    real pivot = rn_row_pivot(x, n);
    return (pivot - rn_row_take(x, n, i)) + rn_log1(rn_row_sum_exp(x, n, pivot));
}

/* dst may be x. Both write exactly n numbers. */
RN_FUNCTION void rn_row_softmax(real *dst, const real *x, long n) {
    real most = rn_row_max(x, n), sum = 0;
    rn_v total = {0};
    long i = 0;
    for (; i + RN_VL <= n; i += RN_VL) {
        rn_v e = rn_exp(rn_load(x + i) - most);
        rn_store(dst + i, e);
        total += e;
    }
    if (i < n) {
        rn_v e = rn_exp(rn_load_part(x + i, n - i) - most);
        rn_store_part(dst + i, e, n - i);
        total += (rn_v)((rn_i)e & rn_first(n - i));
    }
    sum = rn_lanes_sum(total);
    for (i = 0; i + RN_VL <= n; i += RN_VL) rn_store(dst + i, rn_load(dst + i) / sum);
    if (i < n) rn_store_part(dst + i, rn_load_part(dst + i, n - i) / sum, n - i);
}

RN_FUNCTION void rn_row_logsoftmax(real *dst, const real *x, long n) {
    real most = rn_row_max(x, n), rest = rn_log1(rn_row_sum_exp(x, n, most));
    long i = 0;
    for (; i + RN_VL <= n; i += RN_VL) rn_store(dst + i, (rn_load(x + i) - most) - rest);
    if (i < n) rn_store_part(dst + i, (rn_load_part(x + i, n - i) - most) - rest, n - i);
}
