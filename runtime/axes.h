/* axes.h: what is reduced or normalised along one axis of a tensor, in one row.
 *
 * It is read exactly up to its size, because the numbers behind it may be anything. Every sum has one fixed order. */

/* A tensor seen as [outer][count][inner], reduced or normalised over `count`: RN_VL lines at once. Lines whose numbers
 * stand side by side go one by one if they are long, or few; short ones are turned over first: 16 by 16 numbers, softmax
 * of 0.34 us takes 0.16, max 0.14 and 0.06; 64 by 4, softmax 1.55 and 0.48; of 24 by 24 the last 8 are worth it (12 % of
 * max, sum and logsumexp), of 20 by 16 the last 4 are not (Xeon). */
#define RN_SHORT (2 * RN_VL)
/* How many of so many lines are turned over next; 0: the rest go one by one. */
RN_INLINE long rn_lines_turned(long lines, long count) {
    lines = RN_MIN(RN_VL, lines);
    return lines >= 2 && count <= RN_SHORT && count <= 3 * lines ? lines : 0;
}
#define RN_LINES(...)                                                                                                \
    const real *const end = from + outer * count * inner;                                                            \
    for (long o = 0; o < outer; o++)                                                                                 \
        for (long i = 0; i < inner; i += RN_VL) {                                                                    \
            const real *const x = from + o * count * inner + i;                                                      \
            const long n = inner - i;                                                                                \
            __VA_ARGS__                                                                                              \
        }
#define RN_LINE_BY_LINE(several, statement)                                                                          \
    if (inner == 1) {                                                                                                \
        long o = 0;                                                                                                  \
        for (long lines; (lines = rn_lines_turned(outer - o, count)) > 0; o += lines) {                              \
            RN_ALIGNED real turned[RN_SHORT * RN_VL];                                                                \
            rn_turn(turned, from + o * count, lines, count);                                                         \
            several;                                                                                                 \
        }                                                                                                            \
        for (; o < outer; o++) statement;                                                                            \
        return;                                                                                                      \
    }
/* `several` where as many numbers come out as go in: `of` makes them of the lines turned over. */
#define RN_LINES_TURNED(of)                                                                                          \
    RN_ALIGNED real made[RN_SHORT * RN_VL];                                                                          \
    of(made, turned, 1, count, lines);                                                                               \
    rn_turn(to + o * count, made, count, lines)
#define RN_LINE_AT(k) rn_load_before(x + (k) * inner, n, end)

/* Lines of N = 2, 4 or 8 numbers one behind the other. Max and sum of 40 lines of 8 take 0.08 us, turned over 0.49; of
 * 64 by 4 0.06 and 0.54 (Xeon). */
#define RN_NARROW_LINES 4
#define RN_AXIS(name, join)                                                                                          \
    RN_INLINE void rn_narrow_##name(const int N, real *to, const real *from, long outer) {                           \
        for (long o = 0; o < outer; o += RN_VL) {                                                                    \
            const long high = RN_MIN(RN_VL, outer - o);                                                              \
            rn_v part[8];                                                                                            \
            RN_UNROLL for (int k = 0; k < N; k++) part[k] = rn_load_lines(from + o * N, N, k, high);                 \
            RN_JOIN_NEIGHBOURS(N, part, join)                                                                        \
            rn_store_part(to + o, part[0], high);                                                                    \
        }                                                                                                            \
    }                                                                                                                \
    RN_FUNCTION void rn_axis_##name(real *to, const real *from, long outer, long count, long inner) {                \
        switch (inner == 1 && outer >= RN_NARROW_LINES && count <= RN_VL ? count : 0) {                              \
        case 2: rn_narrow_##name(2, to, from, outer); return;                                                        \
        case 4: rn_narrow_##name(4, to, from, outer); return;                                                        \
        case 8: rn_narrow_##name(8, to, from, outer); return;                                                        \
        }                                                                                                            \
        RN_LINE_BY_LINE(rn_axis_##name(to + o, turned, 1, count, lines),                                             \
                        to[o] = rn_row_##name(from + o * count, count))                                              \
        RN_LINES({                                                                                                   \
            rn_v so_far = RN_LINE_AT(0);                                                                             \
            for (long k = 1; k < count; k++) {                                                                       \
                const rn_v next = RN_LINE_AT(k);                                                                     \
                so_far = join;                                                                                       \
            }                                                                                                        \
            rn_store_part(to + o * inner + i, so_far, n);                                                            \
        })                                                                                                           \
    }
RN_AXIS(sum, so_far + next)
RN_AXIS(max, rn_max(so_far, next))
RN_AXIS(min, rn_min(so_far, next))

/* Of RN_VL lines: the largest numbers, and the sums of exp(x - most). */
RN_INLINE rn_v rn_lines_max(const real *x, long count, long inner, long n, const real *end) {
    rn_v most = RN_LINE_AT(0);
    for (long k = 1; k < count; k++) most = rn_max(most, RN_LINE_AT(k));
    return most;
}
RN_INLINE rn_v rn_lines_sum_exp(const real *x, long count, long inner, long n, const real *end, rn_v most) {
    rn_v total = {0};
    for (long k = 0; k < count; k++) total += rn_exp(RN_LINE_AT(k) - most);
    return total;
}

RN_FUNCTION void rn_axis_softmax(real *to, const real *from, long outer, long count, long inner) {
    RN_LINE_BY_LINE(RN_LINES_TURNED(rn_axis_softmax), rn_row_softmax(to + o * count, from + o * count, count))
    RN_LINES({
        const rn_v most = rn_lines_max(x, count, inner, n, end);
        real *const y = to + (x - from);
        rn_v total = {0};
        for (long k = 0; k < count; k++) {
            const rn_v e = rn_exp(RN_LINE_AT(k) - most);
            rn_store_part(y + k * inner, e, n);
            total += e;
        }
        const rn_v scale = 1 / total;
        for (long k = 0; k < count; k++) rn_store_part(y + k * inner, rn_load_part(y + k * inner, n) * scale, n);
    })
}
RN_FUNCTION void rn_axis_logsoftmax(real *to, const real *from, long outer, long count, long inner) {
    RN_LINE_BY_LINE(RN_LINES_TURNED(rn_axis_logsoftmax),
                    rn_row_logsoftmax(to + o * count, from + o * count, count))
    RN_LINES({
        const rn_v most = rn_lines_max(x, count, inner, n, end);
        const rn_v rest = rn_log(rn_lines_sum_exp(x, count, inner, n, end, most));
        for (long k = 0; k < count; k++)
            rn_store_part(to + (x - from) + k * inner, RN_LINE_AT(k) - most - rest, n);
    })
}
RN_FUNCTION void rn_axis_logsumexp(real *to, const real *from, long outer, long count, long inner) {
    RN_LINE_BY_LINE(rn_axis_logsumexp(to + o, turned, 1, count, lines),
                    to[o] = rn_row_logsumexp(from + o * count, count))
    RN_LINES({
        const rn_v most = rn_lines_max(x, count, inner, n, end);
        const rn_v pivot = rn_select((rn_i)(rn_abs(most) == RN_INFINITY), rn_all(0), most);       /* as rn_row_pivot */
        rn_store_part(to + o * inner + i, pivot + rn_log(rn_lines_sum_exp(x, count, inner, n, end, pivot)), n);
    })
}
/* The place of the first of the largest, or of the first NaN, as a number. */
RN_FUNCTION void rn_axis_argmax(real *to, const real *from, long outer, long count, long inner) {
    for (long o = 0; o < outer; o++)
        for (long i = 0; i < inner; i++) {
            const real *x = from + o * count * inner + i;
            long most = 0;
            for (long k = 1; k < count; k++)
                if (x[most * inner] == x[most * inner] && !(x[k * inner] <= x[most * inner])) most = k;
            to[o * inner + i] = (real)most;
        }
}
