/* rows.h: what generated kernels do to one row at a time: find it, copy it, rearrange it, reduce it.
 *
 * Vectors made in a row kernel are padded arrays; whatever is read here is read exactly up to its size, because the
 * numbers behind it may be anything. Every sum has one fixed order. */

static const int32_t rn_no_label RN_UNUSED = -1;

/* ------------------------------------------------------------------------------------------------ finding rows */

/* A buffer that keeps only the last `rows` rows: the row, at or before this one, that stands at its begin; and where in
 * it a row stands that is so far from that one, less than once around. */
RN_INLINE long rn_ring_begin(long row, long rows) { return row - row % rows; }
RN_INLINE long rn_ring(long ahead, long rows) { return ahead < 0 ? ahead + rows : ahead < rows ? ahead : ahead - rows; }

/* Whether each of n rows, at most a vector of them, has so many frames of its sequence behind it, or before it: then what
 * these rows read there lies row by row like them. Of rows of several frames the last ones tell, or the first: `counts`
 * are theirs. */
RN_INLINE int rn_all_reach(const int64_t *counts, long n, long B, int64_t least) {
    const int64_t most = least + (n <= B ? 0 : B == 1 ? n - 1 : (n - 1) / B);
    int64_t few = 0;
    for (long i = 0; i < RN_MIN(n, B); i++) few |= counts[i] - most;
    return few >= 0;
}
RN_INLINE int rn_all_since(const int64_t *since, long n, long B, int64_t least) {
    return rn_all_reach(since + RN_MAX(0, n - B), n, B, least);
}
RN_INLINE int rn_all_left(const int64_t *left, long n, long B, int64_t least) { return rn_all_reach(left, n, B, least); }

/* The column of a label in a table stored column by column; no label, or none of the table's: zeros. */
RN_INLINE const real *rn_lookup(const real *table, long stride, int64_t classes, int64_t label, const real *zeros) {
    return (uint64_t)label < (uint64_t)classes ? table + label * stride : zeros;
}

RN_INLINE int64_t rn_imod(int64_t a, int64_t b) {
    int64_t rest = b ? a % b : 0;
    return rest && (rest < 0) != (b < 0) ? rest + b : rest;
}

RN_INLINE int64_t rn_ipow(int64_t a, int64_t b) {
    int64_t power = 1;
    for (; b > 0; b--) power *= a;
    return power;
}

/* The caller's own array, only ever read, where a buffer of ours might stand as well. */
#define RN_BORROW(pointer) ((void *)(uintptr_t)(const void *)(pointer))

/* ------------------------------------------------------------------------------------------------ dividing work */

/* What one thread does of a kernel: row blocks [b0, b1) of panels [p0, p1), `back` from the last panel to the first. */
typedef struct {
    long b0, b1, p0, p1;
    int back;
} rn_part;

/* How many of the n products of a part meet all row blocks before the next ones do: `held`, whose panels stay in the
 * second cache meanwhile. A single block meets all of them, and its rows are found once. */
RN_INLINE long rn_together(rn_part part, long n, long held) { return part.b1 - part.b0 > 1 ? held : n; }

/* Panel n of a part, in its order. */
RN_INLINE long rn_panel(rn_part part, long n) { return part.back ? part.p1 - 1 - n : part.p0 + n; }

/* Which panel may come into the second cache while panel n is at work, in panels from it: the one at its place among
 * the next that stay there together. 0: there is none, or all of this thread's, of `bytes` each, nearly fit that cache.
 * LSTM 512, 16 streams: runs +10 %, training +5 % on one thread, +2 % on two, of 2 MiB each; LSTM 1024 runs +18 % on one
 * thread, +8 % on two (Xeon; asked for in another order than it lies in, a panel cost more than that). */
#define RN_FAR (3 << 19)
RN_INLINE long rn_next(rn_part part, long n, long together, long products, long bytes) {
    const long further = part.b1 - part.b0 > 1 ? together : 1;
    if (!RN_ASKS || products * bytes < RN_FAR || n + further >= products) return 0;
    return part.back ? -further : further;
}

/* Panels of a single row whose products come before the equations of all of them: these wait for one another's results,
 * and alone they wait long. One stream, ns a frame of run with one panel and two: LSTM 32 322 and 281, 64 753 and 691, GRU
 * 64 607 and 509; from 128 units on the same (Xeon). With more rows, whose equations keep the processor busy, 1 % is
 * lost. */
#define RN_PAIR 2

/* Steps of a loop walk the panels to and fro, so that a step begins with the panels that the one before it has left in
 * the cache. One stream, LSTM 512 (4 MiB of weights, 2 MiB of second-level cache): 1.5 times as
 * fast, 9.6 against 6.4 thousand frames a second forward, 4.2 against 2.9 in training (one thread, Xeon). */
RN_INLINE rn_part rn_zigzag(rn_part part, long step) {
    part.back = (int)(step & 1);
    return part;
}

/* Panels are dealt first, whole; row blocks if there are too few panels. No sum depends on who does it. */
RN_INLINE rn_part rn_split(long blocks, long panels, int thread, int threads) {
    rn_part part = {0, blocks, 0, panels, 0};
    if (threads == 1) return part;
    if (panels >= 8 * threads || (panels >= threads && (panels % threads == 0 || blocks < threads)))
        rn_share(panels, thread, threads, &part.p0, &part.p1);
    else
        rn_share(blocks, thread, threads, &part.b0, &part.b1);
    return part;
}

/* How many threads take streams, two at least each, since one alone has other sums; and the streams of one, or none. */
RN_INLINE int rn_stream_shares(long B, int threads) { return (int)RN_MAX(1, RN_MIN(threads, B / 2)); }
RN_INLINE void rn_share_streams(long B, int thread, int threads, long *from, long *to) {
    const int shares = rn_stream_shares(B, threads);
    *from = *to = 0;
    if (thread < shares) rn_share(B, thread, shares, from, to);
}

/* Where rows follow from one another, only panels are dealt. */
RN_INLINE rn_part rn_split_units(long blocks, long panels, int thread, int threads) {
    rn_part part = {0, blocks, 0, panels, 0};
    rn_share(panels, thread, threads, &part.p0, &part.p1);
    return part;
}

/* Panels, of RN_VL units each, that cover n units. */
#define RN_PANELS(n) (((n) + RN_VL - 1) / RN_VL)

/* Frames of a chunk: about `rows` rows, a multiple of `frames`; a function of the streams alone. */
RN_INLINE long rn_chunk(long streams, long rows, long frames) {
    const long whole = RN_MAX(1, rows / streams);
    return (whole + frames - 1) / frames * frames;
}
/* The frames that sums take at once: a chunk, or, where there are `fine` ones, as many of these as go into it, but one
 * at least as long as that has not too many rows. */
#define RN_MOST_ROWS 512
RN_INLINE long rn_whole_chunk(long streams, long rows, long frames, long fine) {
    const long chunk = rn_chunk(streams, rows, frames);
    if (chunk < fine) return RN_MIN(fine, rn_chunk(streams, RN_MOST_ROWS, frames));
    return fine ? chunk / fine * fine : chunk;
}
/* The frames by which one crew follows another (crews.h): some 16 such chunks make a call, if they have one to four times
 * `fine` frames; a whole chunk is a multiple. The one that comes last in the last whole chunk has what is left as well:
 * a tile of a single row forms its sums in another order (products.h), which no plan may ask for where another one does
 * not; and steps of several frames are counted from where a chunk begins, backwards from its end. */
RN_INLINE long rn_fine_chunk(long whole, long fine, long T) {
    long chunk = RN_MIN(whole, fine);
    while (chunk < 4 * fine && 32 * chunk <= T && whole % (2 * chunk) == 0) chunk *= 2;
    return chunk;
}
RN_INLINE long rn_fine_chunks(long T, long whole, long chunk) { return T / chunk + (T % whole > 0 && T % whole < chunk); }
/* Where the n-th begins; with n = chunks, where all end. */
RN_INLINE long rn_fine_begin(long n, long chunks, long T, long whole, long chunk, int way) {
    const long at = n * chunk, last = T / whole * whole;         /* the last whole chunk, unless nothing is left */
    if (n == chunks) return T;
    return way < 0 && at > last ? at + (T - last) % chunk : at;
}

/* ------------------------------------------------------------------------------------------------ frames and starts */

/* counts[i] = of[i] + more: whole vectors at once; `counts` lie behind `of`, at least n further. */
RN_INLINE void rn_count_up(int64_t *counts, const int64_t *of, long n, int64_t more) {
    typedef int64_t some __attribute__((vector_size(RN_BYTES), aligned(8), may_alias));
    enum { SOME = RN_BYTES / 8 };
    long i = 0;
    for (; i + SOME <= n; i += SOME) *(some *)(counts + i) = *(const some *)(of + i) + more;
    for (; i < n; i++) counts[i] = of[i] + more;
}

/* Frames since the start of each stream's sequence; `count` goes on from the state (NULL: from a fresh one), a start sets
 * it to 0. As if there were no starts, what is there is copied behind itself until there are enough: one frame after
 * another would wait for itself, 1 ns each with one stream. Then each start counts to the next one. */
RN_FUNCTION void rn_fill_since(int64_t *since, const int64_t *count, const uint8_t *starts, long T, long B) {
    if (T < 1) return;
    for (long b = 0; b < B; b++) since[b] = count ? count[b] : 0;
    for (long done = 1; done < T; done *= 2)
        rn_count_up(since + done * B, since, RN_MIN(done, T - done) * B, done);
    if (!starts) return;
    for (const uint8_t *at = starts, *end = starts + T * B; at < end; at++) {
        if (!*at) continue;
        const long first = at - starts;
        for (long i = first, passed = 0; i < T * B && (i == first || !starts[i]); i += B) since[i] = passed++;
    }
}

/* Frames that follow in the same sequence inside the call. Without a start inside, rows are copied before themselves. */
RN_FUNCTION void rn_fill_left(int64_t *left, const int64_t *since, long T, long B) {
    int whole = 1;
    if (T < 1) return;
    for (long b = 0; b < B; b++) whole &= since[(T - 1) * B + b] >= T - 1, left[(T - 1) * B + b] = 0;
    for (long done = 1; whole && done < T; done *= 2) {
        const long more = RN_MIN(done, T - done);
        rn_count_up(left + (T - done - more) * B, left + (T - more) * B, more * B, done);
    }
    for (long t = T - 2; !whole && t >= 0; t--)
        for (long b = 0; b < B; b++) left[t * B + b] = since[(t + 1) * B + b] == 0 ? 0 : left[(t + 1) * B + b] + 1;
}

/* ------------------------------------------------------------------------------------------------ copies */

RN_INLINE void rn_copy(real *to, const real *from, long n) {
    long i = 0;
    for (; i + RN_VL <= n; i += RN_VL) rn_store(to + i, rn_load(from + i));
    if (i < n) rn_store_part(to + i, rn_load_part(from + i, n - i), n - i);
}
RN_INLINE void rn_zero(real *to, long n) {
    for (long i = 0; i < n; i++) to[i] = 0;
}
RN_INLINE void rn_copy_rows(real *to, long to_stride, const real *from, long from_stride, long rows, long n) {
    for (long i = 0; i < rows; i++) rn_copy(to + i * to_stride, from + i * from_stride, n);
}
/* The sums of a product that counts in no row of a block: zero. The compiler does not see them, or it might fuse other
 * additions behind. */
RN_FUNCTION void rn_leave_out(real *sums, long n) { rn_zero(sums, n); }
RN_INLINE void rn_fill(real *to, real value, long n) {
    long i = 0;
    for (; i + RN_VL <= n; i += RN_VL) rn_store(to + i, rn_all(value));
    if (i < n) rn_store_part(to + i, rn_all(value), n - i);
}
/* [n0][n1][n2] numbers, each axis taken in its own step (0: repeated). */
RN_INLINE void rn_broadcast(real *to, const real *from, long n0, long n1, long n2, long s0, long s1, long s2) {
    for (long i = 0; i < n0; i++)
        for (long j = 0; j < n1; j++) {
            real *const row = to + (i * n1 + j) * n2;
            const real *const mine = from + i * s0 + j * s1;
            if (s2 == 0) rn_fill(row, *mine, n2);
            else if (s2 == 1) rn_copy(row, mine, n2);
            else for (long k = 0; k < n2; k++) row[k] = mine[k * s2];
        }
}
RN_INLINE void rn_one_hot(real *to, long n, int64_t label) {
    rn_zero(to, n);
    if (label >= 0 && label < n) to[label] = 1;
}
RN_INLINE void rn_take_rows(real *to, const real *from, long rows, long n, int64_t i) {
    if (i >= 0 && i < rows) rn_copy(to, from + i * n, n);
    else rn_zero(to, n);
}
RN_INLINE void rn_place(real *to, const real *from, long rows, long n, int64_t i) {
    rn_zero(to, rows * n);
    if (i >= 0 && i < rows) rn_copy(to + i * n, from, n);
}
RN_INLINE void rn_column(real *to, const real *matrix, long rows, long columns, int64_t j) {
    for (long i = 0; i < rows; i++) to[i] = j >= 0 && j < columns ? matrix[i * columns + j] : 0;
}

/* A constant as a padded row. */
RN_FUNCTION void rn_pack_value(real *to, const real *from, long n) {
    for (long i = 0; i < RN_PAD(n); i++) to[i] = i < n ? from[i] : 0;
}

/* ------------------------------------------------------------------------------------------------ sums over frames */

RN_INLINE void rn_add(real *to, const real *from, long n) {
    for (long i = 0; i < n; i++) to[i] += from[i];
}
RN_INLINE void rn_put(real *to, const real *from, long n, int accumulate) {
    if (accumulate) rn_add(to, from, n);
    else rn_copy(to, from, n);
}

/* The piece of a weight gradient that a thread owns: rows [m0, m1), columns [k0, k1). */
typedef struct {
    long m0, m1, k0, k1;
} rn_share2;

/* Rows are dealt in whole vectors; columns in whole panels, if there are too few rows. */
RN_INLINE rn_share2 rn_fold_share(long m, long k, int thread, int threads) {
    const long blocks = (m + RN_VL - 1) / RN_VL, panels = rn_fold_panels(k);
    rn_share2 mine = {0, m, 0, k};
    if (threads > 1 && (blocks >= 4 * threads || blocks >= panels)) {
        rn_share(blocks, thread, threads, &mine.m0, &mine.m1);
        mine.m0 *= RN_VL, mine.m1 = RN_MIN(mine.m1 * RN_VL, m);
        mine.m0 = RN_MIN(mine.m0, mine.m1);
    } else if (threads > 1) {
        rn_share(panels, thread, threads, &mine.k0, &mine.k1);
        mine.k0 *= RN_FOLD_WIDE, mine.k1 = RN_MIN(mine.k1 * RN_FOLD_WIDE, k);
        mine.k0 = RN_MIN(mine.k0, mine.k1);
    }
    return mine;
}

/* The share's part of C (+)= sum over rows of a x'. */
RN_INLINE void rn_fold_rows(real *c, long ldc, const real *const *a, const real *const *x, long rows, rn_share2 mine,
                            int accumulate) {
    const rn_rows left = {NULL, 0, a, mine.m0}, right = {NULL, 0, x, mine.k0};
    if (mine.m0 < mine.m1 && mine.k0 < mine.k1)
        rn_fold(c + mine.m0 * ldc + mine.k0, ldc, mine.m1 - mine.m0, mine.k1 - mine.k0, &left, &right, rows, accumulate);
}

/* What a thread did of a product, for the counting build. */
RN_INLINE long rn_rows_of(long rows, long cuts, rn_part part) {
    long first, last, none;
    if (part.b1 <= part.b0) return 0;
    rn_cut(rows, cuts, part.b0, &first, &none);
    rn_cut(rows, cuts, part.b1 - 1, &none, &last);
    return last - first;
}
RN_INLINE long rn_columns_of(long columns, long width, rn_part part) {
    const long per_unit = columns / width;
    return part.p1 <= part.p0 ? 0 : per_unit * (RN_MIN(part.p1 * RN_VL, width) - RN_MIN(part.p0 * RN_VL, width));
}
#define RN_COUNT_MEETING_OF(stage, thread)                                                                          \
    do {                                                                                                            \
        if ((thread) == 0) RN_COUNT_MEETING(stage);                                                                 \
    } while (0)
