/* scan.h: time cut into lanes. Numbers that are linear in what they were are found for a vector of frames at once.
 *
 * Of m numbers x[i] = A[i] x[i-1] + b[i], A a matrix of m x m, lane i holds frame i. Two frames together are of the same
 * form, with A[i] A[i-1] and A[i] b[i-1] + b[i]; doubled log2(RN_VL) times, each lane has all frames before it in the
 * vector, and what was before the first one is added last: only that waits for the vector before. One thread, a frame of
 * a filter with one pole 0.4 ns instead of 2.4, with two poles 0.7 instead of 5 (gcc 12, Zen 4). Every lane adds in one
 * order, which only the place of its frame in the vector says. */

#define RN_SCAN_MOST 4                        /* numbers, at most */

/* Lane i of what is made has lane `at` of v, an expression of i; negative ones count from the end of `before`. Compilers
 * know one instruction each for what is written so; gcc only if it is one shuffle. */
#if defined(__clang__)
#define RN_MOVED(v, before, at)                                                                                      \
    rn_v moved = v;                                                                                                  \
    RN_UNROLL for (int i = 0; i < RN_VL; i++) moved[i] = (at) < 0 ? before[(RN_VL + (at)) % RN_VL] : v[(at) % RN_VL]; \
    return moved
#else
#if RN_VL == 16
#define RN_LANE_NUMBERS {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif RN_VL == 8
#define RN_LANE_NUMBERS {0, 1, 2, 3, 4, 5, 6, 7}
#elif RN_VL == 4
#define RN_LANE_NUMBERS {0, 1, 2, 3}
#else
#define RN_LANE_NUMBERS {0, 1}
#endif
#define RN_MOVED(v, before, at)                                                                                      \
    const rn_i i = RN_LANE_NUMBERS;                                                                                  \
    return __builtin_shuffle(before, v, (at) + RN_VL)
#endif

/* Of each lane the frame `by` before it, of the first ones those of the vector before. */
RN_INLINE rn_v rn_later(rn_v v, rn_v before, int by) { RN_MOVED(v, before, i - by); }
/* The other order of lanes, for frames that go backwards. */
RN_INLINE rn_v rn_back(rn_v v) { RN_MOVED(v, v, RN_VL - 1 - i); }
/* One lane in all. */
RN_INLINE rn_v rn_spread(rn_v v, int lane) { RN_MOVED(v, v, lane + 0 * i); }

/* Each frame with those `by` frames before it. */
RN_INLINE void rn_scan_double(int m, rn_v *x, rn_v *a, int by) {
    rn_v b[RN_SCAN_MOST], old[RN_SCAN_MOST * RN_SCAN_MOST], made[RN_SCAN_MOST * RN_SCAN_MOST];
    if (by >= RN_VL) return;
    RN_UNROLL for (int i = 0; i < m; i++) b[i] = rn_later(x[i], (rn_v){0}, by);
    RN_UNROLL for (int i = 0; i < m; i++)
        RN_UNROLL for (int k = 0; k < m; k++) {
            x[i] += a[i * m + k] * b[k];
            old[i * m + k] = rn_later(a[i * m + k], rn_all((real)(i == k)), by);
        }
    RN_UNROLL for (int i = 0; i < m; i++)
        RN_UNROLL for (int j = 0; j < m; j++) {
            made[i * m + j] = a[i * m] * old[j];
            RN_UNROLL for (int k = 1; k < m; k++) made[i * m + j] += a[i * m + k] * old[k * m + j];
        }
    RN_UNROLL for (int i = 0; i < m * m; i++) a[i] = made[i];
}

/* x is b and becomes x; `last` is x before the first lane, in all lanes; a, the matrices row by row, is lost. */
RN_INLINE void rn_scan(int m, rn_v *x, rn_v *a, const rn_v *last) {
    rn_scan_double(m, x, a, 1);
    rn_scan_double(m, x, a, 2);
    rn_scan_double(m, x, a, 4);
    rn_scan_double(m, x, a, 8);
    RN_UNROLL for (int i = 0; i < m; i++)
        RN_UNROLL for (int k = 0; k < m; k++) x[i] += a[i * m + k] * last[k];
}

/* Whether all numbers are finite. Where one is not, a coefficient of zero no longer forgets it, as it does where frames
 * follow one another: such frames are gone through one by one. */
RN_INLINE int rn_scan_finite(int m, const rn_v *x) {
    rn_v none = {0};
    RN_UNROLL for (int i = 0; i < m; i++) none += x[i] * rn_all(0);
    return rn_lanes_sum(none) == 0;
}
