/* attend.h: questions to a matrix that is linear in itself, a chunk of frames at a time.
 *
 *     S[t] = a[t] S[t-1] + u[t] w[t]'        o[t] = S[t] q[t]
 *
 * Over the frames of a chunk, D[s][t] = a[s+1] ... a[t] and E[t] = a[first] ... a[t],
 *
 *     o[t] = E[t] S q[t] + sum over s <= t of D[s][t] (w[s] . q[t]) u[s]         S as the chunk began
 *     S    = E[last] S + sum over s of D[s][last] u[s] w[s]'                     as it ends
 *
 * which are products of matrices; only S goes from chunk to chunk. D is made by multiplying, never by dividing, so what
 * fades to nothing is zero and no more. A frame's numbers meet those of its own and earlier frames only, so a NaN does
 * not go back in time. Every sum has one order, given by sizes and the place of a frame in its sequence: the piece of S
 * that a thread owns is a range of columns, which do not meet.
 *
 * Z is S with w's units for rows. Panels [columns / RN_FOLD_WIDE][rows][RN_FOLD_WIDE] are those of folds.h. */
#define RN_CHUNK 64                           /* frames; 32 and 128 are slower at 64 units (Zen 4) */
#define RN_CHUNK_FEW 8                        /* a sequence shorter than this goes without products of matrices */
#define RN_CHUNK_WIDE (4 * RN_FOLD_WIDE)      /* columns of Z that a piece has at most */
#define RN_CHUNK_PAD(n) (((n) + RN_FOLD_WIDE - 1) / RN_FOLD_WIDE * RN_FOLD_WIDE)

/* A chunk, its frames in order. What `fades` does so by the numbers a or, in fade.h, by the vectors f. */
typedef struct {
    long frames;
    int fades;
    const real *q[RN_CHUNK], *u[RN_CHUNK], *w[RN_CHUNK], *f[RN_CHUNK];
    real *o[RN_CHUNK], a[RN_CHUNK];
} rn_chunk_rows;

/* What a piece works in, on the stack: Z and copies of a chunk; `n` numbers in w, `wide` columns, `most` numbers in what
 * is turned. */
#define RN_CHUNK_ROOM(n, wide, most)                                                                                 \
    RN_ALIGNED real z_room[(n) * (wide)], u_room[RN_CHUNK * (wide)], q_room[RN_CHUNK_PAD(most) * RN_CHUNK],          \
        w_room[RN_CHUNK_PAD(most) * RN_CHUNK], p_room[RN_CHUNK * RN_CHUNK];                                          \
    const rn_chunk_room room = {z_room, u_room, q_room, w_room, p_room}
typedef struct {
    real *z, *u, *q, *w, *p;
} rn_chunk_room;

/* How many columns a piece has, so that there are pieces for all threads. */
RN_INLINE long rn_chunk_columns(long m, long B, int threads) {
    long wide = RN_CHUNK_WIDE;
    while (wide > RN_FOLD_WIDE && B * ((m + wide - 1) / wide) < threads) wide /= 2;
    return RN_MIN(wide, RN_CHUNK_PAD(m));
}

/* Rows as columns: to[i][t] = rows[t][i], i < n, RN_FOLD_WIDE frames side by side. */
RN_INLINE void rn_chunk_turn(real *restrict to, const real *const *rows, long frames, long n) {
    for (long t = 0; t < RN_CHUNK_PAD(frames); t += RN_VL)
        for (long i = 0; i < n; i += RN_VL) {
            real *const place = to + t / RN_FOLD_WIDE * RN_FOLD_WIDE * n + i * RN_FOLD_WIDE + t % RN_FOLD_WIDE;
            rn_v square[RN_VL];
            RN_UNROLL for (int r = 0; r < RN_VL; r++)
                square[r] = t + r < frames ? rn_load_part(rows[t + r] + i, n - i) : (rn_v){0};
            rn_transpose_square(square);
            RN_UNROLL for (int r = 0; r < RN_VL; r++)
                if (i + r < n) rn_store(place + r * RN_FOLD_WIDE, square[r]);
        }
}

/* C [m][wide] (+)= A' X: row r of A at a + r * lda, X a panel of R rows, wide <= RN_FOLD_WIDE. */
RN_INLINE void rn_chunk_product(real *c, long ldc, long m, long wide, const real *a, long lda, const real *panel,
                                long R, int accumulate) {
    for (long r = 0; r < R; r += RN_FOLD_MOST) {
        const rn_rows rows = {a + r * lda, lda, NULL, 0};
        rn_fold_product(c, ldc, m, wide, &rows, panel + r * RN_FOLD_WIDE, RN_MIN(RN_FOLD_MOST, R - r), accumulate || r);
    }
}

/* p[s][t] = a[s] . b[t] for t >= s or so, of n numbers each, which stay turned in room->w and room->q. */
RN_INLINE void rn_chunk_dots(real *p, const rn_chunk_room *room, const real *const *a, const real *const *b,
                             long frames, long n) {
    rn_chunk_turn(room->w, a, frames, n);
    rn_chunk_turn(room->q, b, frames, n);
    for (long s = 0; s < frames; s += RN_FOLD_WIDE)
        for (long t = s; t < frames; t += RN_FOLD_WIDE)
            rn_chunk_product(p + s * RN_CHUNK + t, RN_CHUNK, RN_MIN(RN_FOLD_WIDE, frames - s), RN_FOLD_WIDE,
                             room->w + s * n, RN_FOLD_WIDE, room->q + t * n, n, 0);
}

/* Asks Z, `wide` columns: to[t] = Z' q[t], from row to row `step`; q is turned, of n numbers. */
RN_INLINE void rn_chunk_ask(real *to, long step, const real *turned, const real *z, long frames, long n, long wide) {
    for (long j = 0; j < wide; j += RN_FOLD_WIDE)
        for (long t = 0; t < frames; t += RN_FOLD_WIDE)
            rn_chunk_product(to + t * step + j, step, RN_MIN(RN_FOLD_WIDE, frames - t), RN_MIN(RN_FOLD_WIDE, wide - j),
                             turned + t * n, RN_FOLD_WIDE, z + j * n, n, 0);
}

/* What fades over a chunk: to_end[s] = D[s][last], since[t] = E[t], behind a vector for E of the frame before the first. */
typedef struct {
    RN_ALIGNED real to_end[RN_CHUNK];
    RN_ALIGNED real room[RN_VL + RN_CHUNK];
} rn_chunk_fades;
RN_INLINE real *rn_chunk_since(rn_chunk_fades *of) { return of->room + RN_VL; }

/* p[s][t] *= D[s][t] for s <= t (p NULL: no matter), or `late` D[s][t-1], which is 0 for s = t. */
RN_INLINE void rn_chunk_fade(const rn_chunk_rows *x, real *restrict p, rn_chunk_fades *to, int late) {
    const long last = x->frames - 1;
    real *restrict const since = rn_chunk_since(to);
    rn_zero(to->room, RN_VL + RN_CHUNK);
    for (long s = last; s >= 0; s--) {
        since[s] = 1;
        to->to_end[s] = since[last];
        const rn_v next = rn_all(x->a[s]);
        for (long t = last / RN_VL * RN_VL; t >= s / RN_VL * RN_VL; t -= RN_VL) {
            if (p) rn_store(p + s * RN_CHUNK + t, rn_load(p + s * RN_CHUNK + t) * rn_load(since + t - late));
            rn_store(since + t, rn_load(since + t) * next);
        }
    }
    since[-1] = 1;
}

/* p of all frames of the chunk, and their questions turned and faded, as they meet Z. */
RN_INLINE void rn_chunk_meet(const rn_chunk_rows *x, const rn_chunk_room *room, long n, rn_chunk_fades *by, int fresh,
                             int late) {
    rn_chunk_dots(room->p, room, x->w, x->q, x->frames, n);
    if (!x->fades) return;
    rn_chunk_fade(x, room->p, by, late);
    for (long t = 0; !fresh && t < x->frames; t += RN_VL) {
        const rn_v fade = rn_load(rn_chunk_since(by) + t - late);
        real *const q = room->q + t / RN_FOLD_WIDE * RN_FOLD_WIDE * n + t % RN_FOLD_WIDE;
        for (long i = 0; i < n; i++) rn_store(q + i * RN_FOLD_WIDE, rn_load(q + i * RN_FOLD_WIDE) * fade);
    }
}

/* Z goes over a chunk: from zero, on from what it was, or with one more product over the same frames. `w` as rows in the
 * room. */
enum { RN_CHUNK_GOES, RN_CHUNK_FRESH, RN_CHUNK_MORE };
RN_INLINE void rn_chunk_step(const rn_chunk_rows *x, const rn_chunk_room *room, long n, long wide, const real *to_end,
                             real all, int how) {
    for (long s = 0; s < x->frames; s++)
        for (long i = 0; i < n; i += RN_VL) {
            const rn_v w = rn_load_part(x->w[s] + i, n - i);
            rn_store(room->w + s * RN_PAD(n) + i, x->fades ? w * to_end[s] : w);
        }
    for (long j = 0; j < wide; j += RN_FOLD_WIDE) {
        real *const z = room->z + j * n;
        for (long i = 0; x->fades && how == RN_CHUNK_GOES && i < n * RN_FOLD_WIDE; i += RN_VL)
            rn_store(z + i, rn_load(z + i) * all);
        rn_chunk_product(z, RN_FOLD_WIDE, n, RN_FOLD_WIDE, room->w, RN_PAD(n), room->u + j * x->frames, x->frames,
                         how != RN_CHUNK_FRESH);
    }
}

RN_INLINE void rn_chunk_pack(const rn_chunk_rows *x, const rn_chunk_room *room, long j0, long wide) {
    const rn_rows rows = {NULL, 0, x->u, j0};
    rn_fold_pack(room->u, &rows, x->frames, wide, 0, rn_fold_panels(wide));
}

/* Answers the questions of a chunk, columns [j0, j0 + wide) of them, and steps Z unless this is the last chunk. `late`:
 * to what the frame before left. */
RN_FUNCTION void rn_attend(const rn_chunk_rows *x, const rn_chunk_room *room, long n, long j0, long wide, int fresh,
                           int last, int late) {
    rn_chunk_fades by;
    const long frames = x->frames, step = frames > 1 ? x->o[1] - x->o[0] : 0;
    real *const p = room->p;
    rn_chunk_meet(x, room, n, &by, fresh, late);
    rn_chunk_pack(x, room, j0, wide);
    if (!fresh) rn_chunk_ask(x->o[0] + j0, step, room->q, room->z, frames, n, wide);
    for (long j = 0; j < wide; j += RN_FOLD_WIDE)
        for (long t = RN_VL; t < frames; t += RN_VL)                           /* what is earlier than RN_VL frames */
            rn_chunk_product(x->o[0] + t * step + j0 + j, step, RN_MIN(RN_VL, frames - t),
                             RN_MIN(RN_FOLD_WIDE, wide - j), p + t, RN_CHUNK, room->u + j * frames, t, !fresh);
    for (long t = 0; t < frames; t++)                                          /* and those */
        for (long j = 0; j < wide; j += RN_FOLD_WIDE) {
            const real *u = room->u + j * frames + t / RN_VL * RN_VL * RN_FOLD_WIDE;
            RN_UNROLL for (int v = 0; v < RN_FOLD_MV; v++) {
                const long at = j + v * RN_VL;
                if (at >= wide) continue;
                real *const o = x->o[t] + j0 + at;
                rn_v sum = fresh && t < RN_VL ? (rn_v){0} : rn_load_part(o, wide - at);
                for (long s = t / RN_VL * RN_VL; s <= t - late; s++)
                    sum += rn_load(u + (s % RN_VL) * RN_FOLD_WIDE + v * RN_VL) * p[s * RN_CHUNK + t];
                rn_store_part(o, sum, wide - at);
            }
        }
    if (!last) rn_chunk_step(x, room, n, wide, by.to_end, rn_chunk_since(&by)[frames - 1], fresh);
}

/* Nothing but the step. */
RN_FUNCTION void rn_attended(const rn_chunk_rows *x, const rn_chunk_room *room, long n, long j0, long wide, int how) {
    rn_chunk_fades by;
    if (x->fades) rn_chunk_fade(x, NULL, &by, 0);
    rn_chunk_pack(x, room, j0, wide);
    rn_chunk_step(x, room, n, wide, by.to_end, rn_chunk_since(&by)[x->frames - 1], how);
}

/* Z from S, whose rows are those of Z, or else its columns; m columns in all. */
RN_FUNCTION void rn_chunk_load(const rn_chunk_room *room, const real *S, long n, long m, long j0, long wide,
                               int turned) {
    for (long j = 0; j < wide; j += RN_FOLD_WIDE)
        for (long i = 0; i < n; i++)
            for (long v = 0; v < RN_FOLD_WIDE; v++) {
                const long at = j0 + j + v;
                room->z[j * n + i * RN_FOLD_WIDE + v] = j + v >= wide ? 0 : turned ? S[i * m + at] : S[at * n + i];
            }
}

/* S from Z, its rows those of Z. */
RN_FUNCTION void rn_chunk_save(const rn_chunk_room *room, real *S, long n, long m, long j0, long wide) {
    for (long j = 0; j < wide; j += RN_FOLD_WIDE)
        for (long i = 0; i < n; i++)
            rn_copy(S + i * m + j0 + j, room->z + j * n + i * RN_FOLD_WIDE, RN_MIN(RN_FOLD_WIDE, wide - j));
}

/* S, or what it is turned, asked as it lies by frame t of a sequence of few frames; all m columns. */
RN_INLINE void rn_few_ask(const rn_chunk_rows *x, long t, const real *S, long n, long m, int turned, real fade) {
    real *const o = x->o[t];
    if (turned) rn_matvec_transposed(o, S, m, x->q[t], 1, n, m, 0);
    else rn_matvec(o, S, n, x->q[t], m, n, 0);
    for (long j = 0; x->fades && j < m; j += RN_VL) rn_store_part(o + j, rn_load_part(o + j, m - j) * fade, m - j);
}

/* p[s][t] of two frames, of n numbers each. */
RN_INLINE real rn_few_dot(const rn_chunk_rows *x, long s, long t, long n) {
    rn_v sum = {0};
    for (long i = 0; i < n; i += RN_VL) sum += rn_load_part(x->w[s] + i, n - i) * rn_load_part(x->q[t] + i, n - i);
    return rn_lanes_sum(sum);
}

/* d[s] = D[s][t] for s <= t, or `late` D[s][t-1] for s < t. */
RN_INLINE void rn_few_fade(const rn_chunk_rows *x, real *d, long t, int late) {
    d[t] = 1;
    for (long s = t; s > 0; s--) d[s - 1] = x->fades && !(late && s == t) ? d[s] * x->a[s] : d[s];
}

/* A sequence of few frames, all columns: S (NULL: zero) is asked as it lies, then each earlier frame of the chunk. */
RN_FUNCTION void rn_attend_few(const rn_chunk_rows *x, const real *S, long n, long m, int turned, int late) {
    rn_chunk_fades by;
    real d[RN_CHUNK];
    if (x->fades) rn_chunk_fade(x, NULL, &by, 0);
    for (long t = 0; t < x->frames; t++) {
        real *const o = x->o[t];
        if (S) rn_few_ask(x, t, S, n, m, turned, x->fades ? rn_chunk_since(&by)[t - late] : 1);
        else rn_zero(o, m);
        rn_few_fade(x, d, t, late);
        for (long s = 0; s <= t - late; s++) {
            const real weight = rn_few_dot(x, s, t, n) * d[s];
            for (long j = 0; j < m; j += RN_VL)
                rn_store_part(o + j, rn_load_part(o + j, m - j) + rn_load_part(x->u[s] + j, m - j) * weight, m - j);
        }
    }
}

/* S [n][m], rows those of w, after a sequence of few frames, from what it was `before` (NULL: zero). */
RN_FUNCTION void rn_attended_few(const rn_chunk_rows *x, real *S, const real *before, long n, long m) {
    rn_chunk_fades by;
    if (x->fades) rn_chunk_fade(x, NULL, &by, 0);
    for (long i = 0; i < n; i++)
        for (long j = 0; j < m; j += RN_VL) {
            rn_v sum = {0};
            if (before) sum = rn_load_part(before + i * m + j, m - j);
            if (before && x->fades) sum *= rn_chunk_since(&by)[x->frames - 1];
            for (long s = 0; s < x->frames; s++) {
                const real w = x->fades ? by.to_end[s] * x->w[s][i] : x->w[s][i];
                sum += rn_load_part(x->u[s] + j, m - j) * w;
            }
            rn_store_part(S + i * m + j, sum, m - j);
        }
}
