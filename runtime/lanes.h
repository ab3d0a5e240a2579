/* lanes.h: rows in lanes. A number is one vector of them, a small vector or matrix an array of such vectors: its entry u
 * of RN_VL rows. Nothing is done across lanes, and what a lane has that is no row is never stored. */

/* The most entries that a value has whose rows lie in lanes. */
#define RN_MOST_ENTRIES 64
/* i = 0 .. count - 1, a constant. */
#define RN_FOR(i, count) RN_UNROLL for (int i = 0; i < (count); i++)

/* A whole number as it is, but gcc forgets what it knows of it. How many rows a vector has, and whether they lie side by
 * side, depends on how threads share them. Knowing that two tests ask the same, gcc would make the equations between them
 * twice and fuse other products with their sums in each: other threads, other bits. (RN_HIDE would not do: two of the same
 * are one to gcc.) */
RN_INLINE long rn_forget(long n) {
    __asm__ volatile("" : "+r"(n));
    return n;
}

/* Each lane < n of a vector becomes `value`, an expression of `lane`; zeros behind. */
#define RN_SET_LANES(name, n, value)                                                                                 \
    do {                                                                                                             \
        RN_ALIGNED real name##_lanes[RN_VL] = {0};                                                                   \
        for (long lane = 0; lane < (n); lane++) name##_lanes[lane] = (value);                                        \
        name = rn_load(name##_lanes);                                                                                \
    } while (0)

/* Each lane < n of an array of whole numbers. */
#define RN_SET_INTEGERS(name, n, value)                                                                              \
    int64_t name[RN_VL] = {0};                                                                                       \
    for (long lane = 0; lane < (n); lane++) name[lane] = (value)

/* ------------------------------------------------------------------------------------------------ rows in memory */

/* Entries that are turned over together: 16 rows of them take 20 shuffles, 16 rows of 16 take 64. */
#define RN_TURNED RN_MIN(4, RN_VL)

/* Each lane gets the entries of its row. */
RN_INLINE void rn_turn_rows(rn_v *to, long size, const real *const *rows) {
    for (long u = 0; u < size; u += RN_TURNED) {
        rn_v square[RN_VL];
        RN_FOR(lane, RN_VL) square[lane] = rn_load_part(rows[lane] + u, RN_MIN(RN_TURNED, size - u));
        rn_transpose_square(square);
        RN_FOR(k, RN_TURNED) if (u + k < size) to[u + k] = square[k];
    }
}
RN_FUNCTION void rn_load_rows(rn_v *to, long size, const real *const *rows) { rn_turn_rows(to, size, rows); }
RN_FUNCTION void rn_load_even_rows(rn_v *to, long size, const real *from, long stride, long n) {
    const real *rows[RN_VL];
    RN_FOR(lane, RN_VL) rows[lane] = from + RN_MIN(lane, n - 1) * stride;
    rn_turn_rows(to, size, rows);
}
/* Rows are padded: whole groups of entries are stored. */
RN_FUNCTION void rn_store_even_rows(real *to, long size, const rn_v *from, long stride, long n) {
    RN_ALIGNED real rows[RN_TURNED * RN_VL];
    for (long u = 0; u < size; u += RN_TURNED) {
        rn_v e[4] = {{0}};
        RN_FOR(k, RN_TURNED) if (u + k < size) e[k] = from[u + k];
        const int step = RN_TURNED / 2;
        for (int pass = 1; pass < RN_TURNED; pass *= 2) {       /* 0 and 2, 1 and 3 mixed; then these */
            rn_v next[4];
            RN_FOR(k, step) {
                next[2 * k] = RN_SHUFFLE(e[k], e[k + step], RN_LOW);
                next[2 * k + 1] = RN_SHUFFLE(e[k], e[k + step], RN_HIGH);
            }
            RN_FOR(k, RN_TURNED) e[k] = next[k];
        }
        RN_FOR(k, RN_TURNED) rn_store(rows + k * RN_VL, e[k]);
        for (long lane = 0; lane < n; lane++)
            memcpy(to + lane * stride + u, rows + lane * RN_TURNED, RN_TURNED * sizeof(real));
    }
}

/* A number of n rows that lie side by side; and back. */
RN_INLINE rn_v rn_load_lanes(const real *from, long n) {
#if defined(RN_MASKED_LOAD)
    return RN_MASKED_LOAD(from, n);
#else
    return rn_load_part(from, rn_forget(n));
#endif
}
RN_INLINE void rn_store_lanes(real *to, rn_v from, long n) { rn_store_part(to, from, rn_forget(n)); }
/* The entries of n rows, `stride` numbers apart; and back. A single row is in all lanes. */
RN_INLINE void rn_load_entries(rn_v *to, const int size, const real *from, long stride, long n) {
    if (rn_forget(n) > 1) rn_load_even_rows(to, size, from, stride, n);
    else RN_FOR(u, size) to[u] = rn_all(from[u]);
}
RN_INLINE void rn_store_entries(real *to, const int size, const rn_v *from, long stride, long n) {
    if (rn_forget(n) > 1) rn_store_even_rows(to, size, from, stride, n);
    else RN_FOR(u, size) to[u] = from[u][0];
}
/* Of rows anywhere: `row` is where those of lane `lane` begin. */
#define RN_SET_ENTRIES(name, size, n, row)                                                                           \
    do {                                                                                                             \
        const real *name##_rows[RN_VL];                                                                              \
        for (long at = 0; at < RN_VL; at++) {                                                                        \
            const long lane = RN_MIN(at, (n) - 1);                                                                   \
            name##_rows[at] = (row);                                                                                 \
        }                                                                                                            \
        rn_load_rows(name, size, name##_rows);                                                                       \
    } while (0)

/* ------------------------------------------------------------------------------------------------ whole lines */

/* Entries seen as [outer][count][inner], all constants, reduced or normalised over `count`, as in axes.h. */

RN_INLINE rn_v rn_each_most(const rn_v *x, const int count, const int inner) {
    rn_v most = x[0];
    RN_UNROLL for (int k = 1; k < count; k++) most = rn_max(most, x[k * inner]);
    return most;
}
RN_INLINE rn_v rn_each_pivot(rn_v most) {     /* as rn_row_pivot */
    return rn_select((rn_i)(rn_abs(most) == RN_INFINITY), rn_all(0), most);
}
RN_INLINE rn_v rn_each_sum_exp(const rn_v *x, const int count, const int inner, rn_v most) {
    rn_v total = {0};
    RN_FOR(k, count) total += rn_exp(x[k * inner] - most);
    return total;
}
RN_INLINE void rn_each_logsumexp(rn_v *to, const rn_v *x, const int outer, const int count, const int inner) {
    RN_FOR(i, outer * inner) {
        const rn_v *const line = x + i / inner * count * inner + i % inner;
        const rn_v pivot = rn_each_pivot(rn_each_most(line, count, inner));
        to[i] = pivot + rn_log(rn_each_sum_exp(line, count, inner, pivot));
    }
}
RN_INLINE void rn_each_softmax(rn_v *to, const rn_v *x, const int outer, const int count, const int inner) {
    RN_FOR(i, outer * inner) {
        const int at = i / inner * count * inner + i % inner;
        const rn_v most = rn_each_most(x + at, count, inner);
        rn_v total = {0};
        RN_FOR(k, count) {
            to[at + k * inner] = rn_exp(x[at + k * inner] - most);
            total += to[at + k * inner];
        }
        const rn_v scale = 1 / total;
        RN_FOR(k, count) to[at + k * inner] *= scale;
    }
}
RN_INLINE void rn_each_logsoftmax(rn_v *to, const rn_v *x, const int outer, const int count, const int inner) {
    RN_FOR(i, outer * inner) {
        const int at = i / inner * count * inner + i % inner;
        const rn_v most = rn_each_most(x + at, count, inner);
        const rn_v rest = rn_log(rn_each_sum_exp(x + at, count, inner, most));
        RN_FOR(k, count) to[at + k * inner] = x[at + k * inner] - most - rest;
    }
}
/* The place of the first of the largest, or of the first NaN, as a number. */
RN_INLINE void rn_each_argmax(rn_v *to, const rn_v *x, const int outer, const int count, const int inner) {
    RN_FOR(i, outer * inner) {
        const rn_v *const line = x + i / inner * count * inner + i % inner;
        rn_v most = line[0], place = {0};
        RN_UNROLL for (int k = 1; k < count; k++) {
            const rn_v next = line[k * inner];
            const rn_i more = RN_MASK(most == most) & ~RN_MASK(next <= most);
            most = rn_select(more, next, most), place = rn_select(more, rn_all((real)k), place);
        }
        to[i] = place;
    }
}
/* As rn_row_surprisal. */
RN_INLINE rn_v rn_each_surprisal(const rn_v *x, const int count, rn_v label) {
    const rn_v pivot = rn_each_pivot(rn_each_most(x, count, 1));
    rn_v taken = {0};
    RN_FOR(k, count) taken = rn_where(rn_eq(label, rn_all((real)k)), x[k], taken);
    return (pivot - taken) + rn_log(rn_each_sum_exp(x, count, 1, pivot));
}
