/* fade.h: the same as attend.h, correct.h and pair.h where each unit of one axis of S fades at its own rate.
 *
 * The f of a frame is a vector over the columns of Z, or over its rows. What a frame means to a later one of its chunk
 * then differs from unit to unit, and is multiplied out frame by frame; so chunks are short, and only what goes through
 * S is a product of matrices. Nothing is divided by a coefficient here either. */
#define RN_FADE_CHUNK 16                      /* frames */
#define RN_FADE_MOST 256                      /* units: the most that the planner leaves to chunks */

/* Rows of whole vectors: the numbers [first, first + n) of each, a copy where they do not fill vectors. What is read
 * for every pair of frames had better not be read in parts. */
typedef real rn_fade_copy[RN_FADE_CHUNK * RN_FADE_MOST];
RN_INLINE void rn_fade_even(const real **even, real *copy, const real *const *rows, long frames, long first, long n) {
    for (long t = 0; t < frames; t++) {
        even[t] = rows[t] + first;
        if (n % RN_VL == 0) continue;
        for (long i = 0; i < n; i += RN_VL) rn_store(copy + t * RN_PAD(n) + i, rn_load_part(even[t] + i, n - i));
        even[t] = copy + t * RN_PAD(n);
    }
}

/* Z goes over a chunk; `u` packed in the room. */
RN_INLINE void rn_fade_step(const rn_chunk_rows *x, const rn_chunk_room *room, long n, long j0, long wide, int columns,
                            int how) {
    const long frames = x->frames;
    for (long i = 0; i < n; i += RN_VL) {
        rn_v e = rn_all(1);
        for (long s = frames - 1; s >= 0; s--) {
            const rn_v w = rn_load_part(x->w[s] + i, n - i);
            rn_store(room->w + s * RN_PAD(n) + i, columns ? w : w * e);
            if (!columns) e *= rn_load_part(x->f[s] + i, n - i);
        }
        for (long r = i; !columns && how == RN_CHUNK_GOES && r < RN_MIN(n, i + RN_VL); r++)
            for (long j = 0; j < wide; j += RN_FOLD_WIDE)
                RN_UNROLL for (int v = 0; v < RN_FOLD_MV; v++) {
                    real *const z = room->z + j * n + r * RN_FOLD_WIDE + v * RN_VL;
                    rn_store(z, rn_load(z) * e[r - i]);
                }
    }
    for (long j = 0; j < wide; j += RN_FOLD_WIDE) {
        real *const z = room->z + j * n, *const u = room->u + j * frames;
        for (long v = 0; columns && v < RN_FOLD_WIDE && j + v < wide; v += RN_VL) {
            rn_v e = rn_all(1);
            for (long s = frames - 1; s >= 0; s--) {
                real *const place = u + s * RN_FOLD_WIDE + v;
                rn_store(place, rn_load(place) * e);
                e *= rn_load_part(x->f[s] + j0 + j + v, wide - j - v);
            }
            for (long i = 0; how == RN_CHUNK_GOES && i < n; i++)
                rn_store(z + i * RN_FOLD_WIDE + v, rn_load(z + i * RN_FOLD_WIDE + v) * e);
        }
        rn_chunk_product(z, RN_FOLD_WIDE, n, RN_FOLD_WIDE, room->w, RN_PAD(n), u, frames,
                         how != RN_CHUNK_FRESH);
    }
}

/* p[s][t] of all frames of the chunk, `late` for s < t only, and what each of them asks of what was before: of Z, whose
 * answers go to o, or of S as it lies (a sequence of few frames, all m columns). */
RN_INLINE void rn_fade_meet(const rn_chunk_rows *x, const rn_chunk_room *room, real *p, const real *const *ws,
                            const real *const *fs, const real *S, long n, long m, long j0, long wide, int turned,
                            int columns, int fresh, int late) {
    const real *asked[RN_FADE_CHUNK];
    const long frames = x->frames, step = frames > 1 ? x->o[1] - x->o[0] : 0;
    for (long t = 0; t < frames; t++) {
        real *const g = room->w + t * RN_PAD(n);
        asked[t] = g;
        for (long i = 0; i < n; i += RN_VL) rn_store(g + i, rn_load_part(x->q[t] + i, n - i));
        for (long s = t - late; s >= 0; s--) {
            rn_v sum = {0};
            for (long i = 0; i < n; i += RN_VL) {
                const rn_v part = rn_load(g + i);
                sum += part * rn_load(ws[s] + i);
                if (!columns) rn_store(g + i, part * rn_load(fs[s] + i));
            }
            p[s * RN_FADE_CHUNK + t] = rn_lanes_sum(sum);
        }
        if (S && turned) rn_matvec_transposed(x->o[t], S, m, g, 1, n, m, 0);
        if (S && !turned) rn_matvec(x->o[t], S, n, g, m, n, 0);
    }
    if (fresh || S) return;
    rn_chunk_turn(room->q, asked, frames, n);
    rn_chunk_ask(x->o[0] + j0, step, room->q, room->z, frames, n, wide);
}

/* What frame t is answered, RN_VL columns of it: `before` by what was before the chunk, then by each frame of it. */
RN_INLINE rn_v rn_fade_answer(const real *p, const real *const *us, const real *const *fs, long t, long j, rn_v before,
                              int columns, int late) {
    rn_v sum = {0}, d = rn_all(1);
    for (long s = t - late; s >= 0; s--) {
        sum += rn_load(us[s] + j) * d * p[s * RN_FADE_CHUNK + t];
        if (columns) d *= rn_load(fs[s] + j);
    }
    return sum + d * before;
}

/* As rn_attend. `S`: asked as it lies in place of Z (a sequence of few frames, all m columns; no step follows). */
RN_FUNCTION void rn_fade_attend(const rn_chunk_rows *x, const rn_chunk_room *room, const real *S, long n, long m,
                                long j0, long wide, int turned, int columns, int fresh, int last, int late) {
    RN_ALIGNED real p[RN_FADE_CHUNK * RN_FADE_CHUNK];
    RN_ALIGNED rn_fade_copy u_copy, w_copy, f_copy;
    const real *us[RN_FADE_CHUNK], *ws[RN_FADE_CHUNK], *fs[RN_FADE_CHUNK];
    rn_fade_even(us, u_copy, x->u, x->frames, j0, wide);
    rn_fade_even(ws, w_copy, x->w, x->frames, 0, n);
    rn_fade_even(fs, f_copy, x->f, x->frames, columns ? j0 : 0, columns ? wide : n);
    rn_fade_meet(x, room, p, ws, fs, S, n, m, j0, wide, turned, columns, fresh, late);
    for (long t = 0; t < x->frames; t++)
        for (long j = 0; j < wide; j += RN_VL) {
            real *const o = x->o[t] + j0 + j;
            const rn_v before = fresh ? (rn_v){0} : rn_load_part(o, wide - j);
            rn_store_part(o, rn_fade_answer(p, us, fs, t, j, before, columns, late), wide - j);
        }
    if (last) return;
    rn_chunk_pack(x, room, j0, wide);
    rn_fade_step(x, room, n, j0, wide, columns, fresh);
}

/* As rn_correct; `S` as above. */
RN_FUNCTION void rn_fade_correct(const rn_chunk_rows *x, const rn_corrections *with, const rn_chunk_room *room,
                                 const real *S, long n, long m, long j0, long wide, int turned, int columns, int fresh,
                                 int last) {
    RN_ALIGNED real p[RN_FADE_CHUNK * RN_FADE_CHUNK];
    RN_ALIGNED rn_fade_copy u_made, w_copy, f_copy;
    const real *us[RN_FADE_CHUNK], *ws[RN_FADE_CHUNK], *fs[RN_FADE_CHUNK];
    const rn_rows made = {u_made, RN_PAD(wide), NULL, 0};
    rn_fade_even(ws, w_copy, x->w, x->frames, 0, n);
    rn_fade_even(fs, f_copy, x->f, x->frames, columns ? j0 : 0, columns ? wide : n);
    rn_fade_meet(x, room, p, ws, fs, S, n, m, j0, wide, turned, columns, fresh, 1);
    for (long t = 0; t < x->frames; t++) {
        real *const u = u_made + t * RN_PAD(wide);
        us[t] = u;
        for (long j = 0; j < wide; j += RN_VL) {
            real *const o = x->o[t] + j0 + j;
            const rn_v before = fresh ? (rn_v){0} : rn_load_part(o, wide - j);
            rn_v y = rn_fade_answer(p, us, fs, t, j, before, columns, 1);
            if (with->base[t]) y += rn_load_part(with->base[t] + j0 + j, wide - j);
            rn_store_part(o, y, wide - j);
            rn_store(u + j, rn_corrected(with, t, j0 + j, wide - j, y));
        }
    }
    if (last) return;
    rn_fold_pack(room->u, &made, x->frames, wide, 0, rn_fold_panels(wide));
    rn_fade_step(x, room, n, j0, wide, columns, fresh);
}

/* Nothing but the step. */
RN_FUNCTION void rn_faded(const rn_chunk_rows *x, const rn_chunk_room *room, long n, long j0, long wide, int columns,
                          int how) {
    rn_chunk_pack(x, room, j0, wide);
    rn_fade_step(x, room, n, j0, wide, columns, how);
}

/* As rn_attended_few, frame by frame. */
RN_FUNCTION void rn_faded_few(const rn_chunk_rows *x, real *S, const real *before, long n, long m, int columns) {
    for (long t = 0; t < x->frames; t++) {
        const real *const from = t ? S : before;
        for (long j = 0; j < m; j += RN_VL) {
            const rn_v u = rn_load_part(x->u[t] + j, m - j), f = columns ? rn_load_part(x->f[t] + j, m - j) : (rn_v){0};
            for (long i = 0; i < n; i++) {
                rn_v sum = u * x->w[t][i];
                if (from) sum += rn_load_part(from + i * m + j, m - j) * (columns ? f : rn_all(x->f[t][i]));
                rn_store_part(S + i * m + j, sum, m - j);
            }
        }
    }
}

/* As rn_pair, columns [j0, j0 + wide) of f, which is a vector over the columns of Z: f[t][j] = sum over the rows of
 * S[t-1] * R[t]. `s` in the order of S, its u on the columns; `r` in that of R, so the other way round. */
RN_FUNCTION void rn_fade_pair(const rn_chunk_rows *s, const rn_chunk_rows *r, const rn_chunk_room *room, const real *z,
                              long n, long j0, long wide) {
    RN_ALIGNED real dots[RN_FADE_CHUNK * RN_FADE_CHUNK];
    RN_ALIGNED rn_fade_copy w_copy, x_copy, v_copy, b_copy;
    const real *ws[RN_FADE_CHUNK], *xs[RN_FADE_CHUNK], *vs[RN_FADE_CHUNK], *bs[RN_FADE_CHUNK];
    const long frames = s->frames, step = RN_CHUNK_PAD(wide);
    real *const near = room->u, *const far = room->u + RN_FADE_CHUNK * step;    /* w[s] asks R behind, x[r] asks S */
    rn_fade_even(ws, w_copy, s->w, frames, 0, n);
    rn_fade_even(xs, x_copy, r->w, frames, 0, n);
    rn_fade_even(vs, v_copy, r->u, frames, j0, wide);
    rn_fade_even(bs, b_copy, r->f, frames, j0, wide);
    for (long t = 0; t < frames; t++)
        for (long i = t + 1; i < frames; i++) {
            rn_v sum = {0};
            for (long k = 0; k < n; k += RN_VL) sum += rn_load(ws[t] + k) * rn_load(xs[frames - 1 - i] + k);
            dots[t * RN_FADE_CHUNK + i] = rn_lanes_sum(sum);
        }
    rn_chunk_turn(room->q, s->w, frames, n);
    rn_chunk_ask(near, step, room->q, room->z, frames, n, step);
    rn_chunk_turn(room->q, r->w, frames, n);
    rn_chunk_ask(far, step, room->q, z, frames, n, step);                       /* in the order of R */
    for (long j = 0; j < wide; j += RN_VL) {
        const real *const a = z + j / RN_FOLD_WIDE * RN_FOLD_WIDE * n + j % RN_FOLD_WIDE;
        const real *const b = room->z + (a - z);
        rn_v whole = {0}, meets[RN_FADE_CHUNK];
        for (long i = 0; i < n; i++) whole += rn_load(a + i * RN_FOLD_WIDE) * rn_load(b + i * RN_FOLD_WIDE);
        for (long i = 0; i < frames; i++) meets[i] = rn_load(far + (frames - 1 - i) * step + j);
        for (long t = 0; t < frames; t++) {
            rn_v sum = {0}, d = rn_all(1);
            const rn_v fade = rn_load_part(s->f[t] + j0 + j, wide - j), u = rn_load_part(s->u[t] + j0 + j, wide - j);
            for (long i = t; i < frames; i++) {
                const long back = frames - 1 - i;
                sum += d * rn_load(vs[back] + j) * meets[i];
                d *= rn_load(bs[back] + j);
                meets[i] = meets[i] * fade + u * (i > t ? dots[t * RN_FADE_CHUNK + i] : 0);
            }
            rn_store_part(s->o[t] + j0 + j, sum + d * whole, wide - j);
            whole = whole * fade + u * rn_load(near + t * step + j);
        }
    }
    rn_chunk_pack(r, room, j0, wide);
    rn_fade_step(r, room, n, j0, wide, 1, 0);
}
