/* ctc.h: connectionist temporal classification (Graves et al. 2006), for one sequence.
 *
 * The labels l_1 .. l_U, with blanks before, between and behind, are 2 U + 1 states. Each frame stays in a state, goes
 * on by one, or by two over a blank between different labels. `before` holds the logarithm of all paths to a state,
 * `after` that of all paths on from it; both in double, whatever the number type. For the slope every frame's `before`
 * is needed while `after` comes from the end: one in about sqrt(frames) frames is kept, the frames between are made
 * again. */

#define RN_NO_PATH (-HUGE_VAL)                   /* the logarithm of its probability */

typedef struct {
    const real *const *rows;                  /* logits of each frame; the last unit is the blank */
    long frames, units;
    const int32_t *labels;
    long states;                              /* 2 U + 1 */
    const double *whole;                      /* the logarithm of the sum of exp(logits), of each frame */
} rn_paths;

RN_INLINE long rn_unit(const rn_paths *p, long state) { return state & 1 ? p->labels[state / 2] : p->units - 1; }
RN_INLINE int rn_may_skip(const rn_paths *p, long state) {
    return state & 1 && state > 1 && p->labels[state / 2] != p->labels[state / 2 - 1];
}
RN_INLINE double rn_at(const rn_paths *p, long t, long state) {
    return (double)p->rows[t][rn_unit(p, state)] - p->whole[t];
}

/* log(exp(a) + exp(b) + exp(c)); -infinity is no path, NaN stays. */
RN_INLINE double rn_log_sum(double a, double b, double c) {
    const double ab = a > b ? a : b, most = ab > c ? ab : c;
    if (most == RN_NO_PATH) return a + b + c;
    return most + log(exp(a - most) + exp(b - most) + exp(c - most));
}

/* Frame t of `before` from frame t - 1. */
RN_FUNCTION void rn_paths_on(const rn_paths *p, long t, const double *last, double *now) {
    for (long s = 0; s < p->states; s++)
        now[s] = rn_at(p, t, s) + rn_log_sum(last[s], s > 0 ? last[s - 1] : RN_NO_PATH,
                                             rn_may_skip(p, s) ? last[s - 2] : RN_NO_PATH);
}

/* Frame t of `after` from frame t + 1, which it replaces: a state reads itself and those behind it. */
RN_FUNCTION void rn_paths_back(const rn_paths *p, long t, double *after) {
    for (long s = 0; s < p->states; s++) after[s] += rn_at(p, t + 1, s);
    for (long s = 0; s < p->states; s++)
        after[s] = rn_log_sum(after[s], s + 1 < p->states ? after[s + 1] : RN_NO_PATH,
                              s + 2 < p->states && rn_may_skip(p, s + 2) ? after[s + 2] : RN_NO_PATH);
}

RN_INLINE void rn_paths_begin(const rn_paths *p, double *now) {
    for (long s = 0; s < p->states; s++) now[s] = s < 2 ? rn_at(p, 0, s) : RN_NO_PATH;
}

/* Frames from one kept `before` to the next: their number is about its own root. */
RN_INLINE long rn_ctc_step(long frames) {
    long step = 1;
    while (step * step < frames) step++;
    return step;
}

#define RN_SPELLERS 8                          /* threads that may do this at once: each has its scratch */

/* Numbers of scratch for sequences of up to `frames` frames and `units` logits; no longer list can be spelled. */
RN_INLINE size_t rn_ctc_scratch(long frames, long units) {
    const long step = rn_ctc_step(frames);
    return (size_t)(2 * frames + (2 * step + 4) * (2 * frames + 1) + units);
}

/* Pointers to the logits' rows come first in the scratch: the caller writes them. */
RN_INLINE const real **rn_ctc_rows(double *scratch) { return (const real **)(void *)scratch; }

/* -log P(labels); infinity if they cannot be spelled in so few frames. With `slope` its derivative by the logits, frame
 * by frame, rows `stride` apart: softmax minus the share of the paths in each unit; zeros if there are no paths. */
RN_FUNCTION double rn_ctc(double *scratch, long frames, long units, const int32_t *labels, long count, real *slope,
                          long stride) {
    const long step = rn_ctc_step(frames), states = 2 * count + 1;
    double *const whole = scratch + frames;
    rn_paths paths = {rn_ctc_rows(scratch), frames, units, labels, states, whole}, *const p = &paths;
    long needed = count;
    for (long u = 1; u < count; u++) needed += labels[u] == labels[u - 1];
    if (slope)
        for (long t = 0; t < frames; t++) memset(slope + t * stride, 0, (size_t)units * sizeof(real));
    if (needed > frames) return -RN_NO_PATH;
    for (long t = 0; t < frames; t++) {
        const real *const row = p->rows[t];
        double most = (double)row[0], sum = 0;
        for (long k = 1; k < units; k++) most = RN_MAX((double)row[k], most);
        for (long k = 0; k < units; k++) sum += exp((double)row[k] - most);
        whole[t] = most + log(sum);
    }
    double *const kept = whole + frames, *const made = kept + ((frames + step - 1) / step) * states;
    double *last = made, *now = made + states;
    rn_paths_begin(p, last);
    for (long t = 0; t < frames; t++) {
        if (t) {
            rn_paths_on(p, t, last, now);
            double *const turn = last;
            last = now, now = turn;
        }
        if (t % step == 0) memcpy(kept + t / step * states, last, (size_t)states * sizeof(double));
    }
    const double total = rn_log_sum(last[states - 1], states > 1 ? last[states - 2] : RN_NO_PATH, RN_NO_PATH);
    if (!slope || total == RN_NO_PATH) return -total;

    double *const after = made + step * states, *const share = after + states;
    for (long s = 0; s < states; s++) after[s] = s < states - 2 ? RN_NO_PATH : 0;
    for (long block = (frames - 1) / step; block >= 0; block--) {
        const long first = block * step, end = RN_MIN(first + step, frames);
        memcpy(made, kept + block * states, (size_t)states * sizeof(double));
        for (long t = first + 1; t < end; t++)
            rn_paths_on(p, t, made + (t - 1 - first) * states, made + (t - first) * states);
        for (long t = end - 1; t >= first; t--) {
            if (t < frames - 1) rn_paths_back(p, t, after);
            for (long k = 0; k < units; k++) share[k] = 0;
            for (long s = 0; s < states; s++) share[rn_unit(p, s)] += exp(made[(t - first) * states + s] + after[s] - total);
            for (long k = 0; k < units; k++)
                slope[t * stride + k] = (real)(exp((double)p->rows[t][k] - whole[t]) - share[k]);
        }
    }
    return -total;
}
