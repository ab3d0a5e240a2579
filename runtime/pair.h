/* pair.h: how a matrix that is linear in itself meets the adjoint that comes back through it: the derivative by its
 * coefficient, f[t] = sum of all S[t-1] * R[t], a chunk of frames at a time.
 *
 *     S[t] = a[t] S[t-1] + u[t] w[t]'        R[t] = b[t] R[t+1] + v[t] x[t]'
 *
 * Within a chunk f is a sum over s < t <= r of (u[s] . v[r]) (w[s] . x[r]) a[s+1] ... a[t-1] b[t] ... b[r-1], to which
 * what S was before the chunk adds one more s, and what R is behind it one more r. The numbers (s, r) are two products
 * of matrices; the sum goes through t with one number for each r in hand. Nothing is divided by a coefficient.
 *
 * S goes forwards first and is kept as each chunk begins; then R comes back. Rows and panels are those of attend.h. */

/* to[t] = a[t] . (Z' b[t]), b turned, Z [n][m]. */
RN_INLINE void rn_pair_ask(real *to, const rn_chunk_room *room, const real *const *a, const real *turned, const real *z,
                           long frames, long n, long m) {
    const long wide = RN_CHUNK_PAD(m);
    rn_chunk_ask(room->u, wide, turned, z, frames, n, wide);
    for (long t = 0; t < frames; t++) {
        rn_v sum = {0};
        for (long j = 0; j < m; j += RN_VL) sum += rn_load(room->u + t * wide + j) * rn_load_part(a[t] + j, m - j);
        to[t] = rn_lanes_sum(sum);
    }
}

/* One chunk: f of its frames; room->z, which is R behind the chunk, becomes R at its first frame. `s` holds a, u, w and
 * in `o` where f goes; `r` holds b, v (as u), x (as w). z: S before the chunk. */
RN_FUNCTION void rn_pair(const rn_chunk_rows *s, const rn_chunk_rows *r, const rn_chunk_room *room, const real *z,
                         long n, long m) {
    RN_ALIGNED real other[RN_CHUNK * RN_CHUNK], far[RN_CHUNK] = {0}, near[RN_CHUNK], beyond[RN_CHUNK];
    RN_ALIGNED real to_start[RN_CHUNK] = {0};
    const long frames = s->frames;
    real *const p = room->p, all, behind = 1;                                  /* sums of S before with R behind */
    rn_v whole = {0};
    rn_chunk_dots(p, room, s->w, r->w, frames, n);
    rn_pair_ask(far, room, r->u, room->q, z, frames, n, m);
    rn_pair_ask(near, room, s->u, room->w, room->z, frames, n, m);
    for (long i = 0; i < n * RN_CHUNK_PAD(m); i += RN_VL) whole += rn_load(z + i) * rn_load(room->z + i);
    all = rn_lanes_sum(whole);
    rn_chunk_dots(other, room, s->u, r->u, frames, m);
    for (long t = 0; t < frames; t++)
        for (long i = t / RN_FOLD_WIDE * RN_FOLD_WIDE; i < frames; i += RN_VL)
            rn_store(p + t * RN_CHUNK + i, rn_load(p + t * RN_CHUNK + i) * rn_load(other + t * RN_CHUNK + i));
    for (long t = frames - 1; t >= 0; t--) {                       /* other[t][i] = b[t] ... b[i-1], i >= t */
        for (long i = 0; i < RN_CHUNK; i += RN_VL) rn_store(to_start + i, rn_load(to_start + i) * r->a[t]);
        to_start[t] = 1;
        memcpy(other + t * RN_CHUNK, to_start, sizeof to_start);
        beyond[t] = behind *= r->a[t];
    }
    for (long t = 0; t < frames; t++) {
        rn_v sum = {0};
        for (long i = t / RN_VL * RN_VL; i < frames; i += RN_VL)
            sum += rn_load(other + t * RN_CHUNK + i) * rn_load(far + i);
        s->o[t][0] = rn_lanes_sum(sum) + beyond[t] * all;
        for (long i = t / RN_VL * RN_VL; i < frames; i += RN_VL)
            rn_store(far + i, rn_load(far + i) * s->a[t] + rn_load(p + t * RN_CHUNK + i));
        all = all * s->a[t] + near[t];
    }
    rn_chunk_pack(r, room, 0, m);
    rn_chunk_step(r, room, n, RN_CHUNK_PAD(m), to_start, behind, 0);
}
