/* spans.h: sequences inside a call, and what is made of all frames of one.
 *
 * A sequence is the part between two starts that lies inside the call; they are numbered by stream, then start. Its
 * rows are `frames` rows, as many apart as there are streams. Every sum has one order: frame by frame. */

typedef struct {
    long first, frames;                       /* the first row, and how many there are */
} rn_span;

/* The sequences of a call, and the number of the sequence of each row; how many there are. `starts` NULL: none begins
 * after the first frame. */
RN_FUNCTION long rn_fill_spans(rn_span *spans, long *sequence, const uint8_t *starts, long T, long B) {
    long count = 0;
    for (long b = 0; b < B; b++)
        for (long t = 0; t < T; t++) {
            if (t == 0 || (starts && starts[t * B + b])) spans[count++] = (rn_span){t * B + b, 0};
            spans[count - 1].frames++;
            sequence[t * B + b] = count - 1;
        }
    return count;
}

/* Where each sequence's labels begin in the lists laid end to end. */
RN_FUNCTION void rn_fill_lists(int64_t *from, const int32_t *lengths, long S) {
    from[0] = 0;
    for (long s = 0; s < S; s++) from[s + 1] = from[s] + lengths[s];
}

/* Units that one piece of a sequence has: wide enough for four chains of additions. */
#define RN_SPAN_UNITS (4 * RN_VL)

/* to[i] = the largest of a_r[i], of what `to` holds as well if `going` on; NaN wins. n <= RN_SPAN_UNITS. */
RN_FUNCTION void rn_span_max(real *restrict to, long n, const rn_rows *a, long R, int going) {
    for (long i = 0; i < n; i += RN_VL) {
        rn_v most = going ? rn_load_part(to + i, n - i) : rn_all(-RN_INFINITY);
        for (long r = 0; r < R; r++) most = rn_max(most, rn_load_part(rn_row(a, r) + i, n - i));
        rn_store_part(to + i, most, n - i);
    }
}

/* most[i] = the largest of a_r[i] so far, total[i] = the sum of exp(a_r[i] - most[i]). n <= RN_SPAN_UNITS. */
RN_FUNCTION void rn_span_exp(real *restrict most, real *restrict total, long n, const rn_rows *a, long R, int going) {
    RN_ALIGNED real before[RN_SPAN_UNITS];
    if (going) memcpy(before, most, (size_t)n * sizeof(real));
    rn_span_max(most, n, a, R, going);
    for (long i = 0; i < n; i += RN_VL) {
        const rn_v top = rn_load_part(most + i, n - i);
        const rn_v at = rn_where(rn_eq(top, rn_all(-RN_INFINITY)), (rn_v){0}, top);       /* all of nothing */
        rn_v sum = {0};
        if (going) sum = rn_load_part(total + i, n - i) * rn_exp(rn_load_part(before + i, n - i) - at);
        for (long r = 0; r < R; r++) sum += rn_exp(rn_load_part(rn_row(a, r) + i, n - i) - at);
        rn_store_part(total + i, sum, n - i);
    }
}

/* to[i] = log of the sum of all exp. */
RN_FUNCTION void rn_span_log(real *restrict to, const real *restrict most, const real *restrict total, long n) {
    for (long i = 0; i < n; i += RN_VL) {
        const rn_v top = rn_load_part(most + i, n - i);
        const rn_v at = rn_where(rn_eq(top, rn_all(-RN_INFINITY)), (rn_v){0}, top);
        rn_store_part(to + i, at + rn_log(rn_load_part(total + i, n - i)), n - i);
    }
}

/* Frame i of a sequence that takes the place of frame `here`: in blocks of n frames counted from the sequence's start,
 * which lies `since` frames back. -1: outside of the call. */
RN_INLINE long rn_permuted(const real *order, long n, int64_t since, long here, long frames) {
    const long place = (long)(since % n), source = here + (long)order[place] - place;
    return source >= 0 && source < frames ? source : -1;
}
