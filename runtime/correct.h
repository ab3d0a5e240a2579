/* correct.h: a matrix that corrects itself by what it answers, as the delta rule does, a chunk of frames at a time.
 *
 *     y[t] = base[t] + S[t-1] k[t]        u[t] = c[t] + d[t] y[t]        S[t] = a[t] S[t-1] + u[t] w[t]'
 *
 * By the sums of attend.h, with frames only asked of those before them,
 *
 *     y[t] = base[t] + E[t-1] S k[t] + sum over s < t of D[s][t-1] (w[s] . k[t]) u[s]
 *
 * which is solved frame after frame: what is earlier than RN_VL frames by a product of matrices, and those one after
 * another, all in registers: each u goes to the frames behind it as soon as it is there. Columns do not meet.
 *
 * In rn_chunk_rows q is k and o is y; u is made here. */
typedef struct {
    const real *d[RN_CHUNK], *c[RN_CHUNK], *base[RN_CHUNK];                    /* c, base: NULL for zero */
    int each;                                                                  /* d is a vector */
} rn_corrections;

RN_INLINE rn_v rn_corrected(const rn_corrections *by, long t, long j, long rest, rn_v y) {
    const rn_v d = by->each ? rn_load_part(by->d[t] + j, rest) : rn_all(*by->d[t]);
    return by->c[t] ? rn_load_part(by->c[t] + j, rest) + d * y : d * y;
}

/* Columns [j, j + RN_VL) of frames [t0, t0 + RN_VL), where y holds what earlier frames gave. */
RN_INLINE void rn_correct_block(const rn_chunk_rows *x, const rn_corrections *by, long t0, long j, long rest,
                                const real *p, real *u, int fresh) {
    const long rows = RN_MIN(RN_VL, x->frames - t0);
    rn_v y[RN_VL];
    RN_UNROLL for (int t = 0; t < RN_VL; t++) {
        y[t] = (rn_v){0};
        if (t >= rows) continue;
        if (!fresh) y[t] = rn_load_part(x->o[t0 + t] + j, rest);
        if (by->base[t0 + t]) y[t] += rn_load_part(by->base[t0 + t] + j, rest);
    }
    RN_UNROLL for (int t = 0; t < RN_VL; t++) {
        if (t >= rows) continue;
        const rn_v now = rn_corrected(by, t0 + t, j, rest, y[t]);
        rn_store_part(x->o[t0 + t] + j, y[t], rest);
        rn_store(u + t * RN_FOLD_WIDE, now);
        RN_UNROLL for (int r = 0; r < RN_VL; r++)
            if (r > t) y[r] += now * p[t * RN_CHUNK + r];
    }
}

/* y of a chunk, columns [j0, j0 + wide); steps Z unless this is the last chunk. */
RN_FUNCTION void rn_correct(const rn_chunk_rows *x, const rn_corrections *with, const rn_chunk_room *room, long n,
                            long j0, long wide, int fresh, int last) {
    rn_chunk_fades by;
    const long frames = x->frames, step = frames > 1 ? x->o[1] - x->o[0] : 0;
    rn_chunk_meet(x, room, n, &by, fresh, 1);
    if (!fresh) rn_chunk_ask(x->o[0] + j0, step, room->q, room->z, frames, n, wide);
    for (long j = 0; j < wide; j += RN_FOLD_WIDE) {
        real *const u = room->u + j * frames;
        for (long t = 0; t < frames; t += RN_VL) {
            if (t)
                rn_chunk_product(x->o[0] + t * step + j0 + j, step, RN_MIN(RN_VL, frames - t),
                                 RN_MIN(RN_FOLD_WIDE, wide - j), room->p + t, RN_CHUNK, u, t, !fresh);
            RN_UNROLL for (int v = 0; v < RN_FOLD_MV; v++) {
                real *const place = u + t * RN_FOLD_WIDE + v * RN_VL;
                if (j + v * RN_VL < wide)
                    rn_correct_block(x, with, t, j0 + j + v * RN_VL, wide - j - v * RN_VL,
                                     room->p + t * RN_CHUNK + t, place, fresh && !t);
                else
                    for (long r = t; r < RN_MIN(frames, t + RN_VL); r++)
                        rn_store(place + (r - t) * RN_FOLD_WIDE, (rn_v){0});
            }
        }
    }
    if (!last) rn_chunk_step(x, room, n, wide, by.to_end, rn_chunk_since(&by)[frames - 1], fresh);
}

/* A sequence of few frames, all m columns: S (NULL: zero) as it lies, then the corrections of earlier frames. */
RN_FUNCTION void rn_correct_few(const rn_chunk_rows *x, const rn_corrections *with, const real *S, long n, long m,
                                int turned) {
    rn_chunk_fades by;
    real d[RN_CHUNK];
    if (x->fades) rn_chunk_fade(x, NULL, &by, 0);
    for (long t = 0; t < x->frames; t++) {
        real *const o = x->o[t];
        if (S) rn_few_ask(x, t, S, n, m, turned, x->fades ? rn_chunk_since(&by)[t - 1] : 1);
        else rn_zero(o, m);
        rn_few_fade(x, d, t, 1);
        for (long j = 0; with->base[t] && j < m; j += RN_VL)
            rn_store_part(o + j, rn_load_part(o + j, m - j) + rn_load_part(with->base[t] + j, m - j), m - j);
        for (long s = 0; s < t; s++) {
            const real weight = rn_few_dot(x, s, t, n) * d[s];
            for (long j = 0; j < m; j += RN_VL)
                rn_store_part(o + j, rn_load_part(o + j, m - j) + weight * rn_corrected(
                    with, s, j, m - j, rn_load_part(x->o[s] + j, m - j)), m - j);
        }
    }
}
