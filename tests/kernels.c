/* What tests/test_kernels.py calls: the inlined and macro-made kernels behind plain functions. The fixed C of runtime/
 * is pasted before this text, as in a generated file. */
#include <pthread.h>

int vl(void) { return RN_VL; }
int rows_of(int mv) { return mv == 1 ? RN_ROWS(1) : mv == 2 ? RN_ROWS(2) : mv == 3 ? RN_ROWS(3) : RN_ROWS(4); }

/* ---- maths: vectors, then one at a time ---- */
#define EACH(name)                                                                                        \
    void v_##name(const real *x, real *y, long n) {                                                       \
        rn_mode before = rn_flush_denormals();                                                            \
        for (long i = 0; i < n; i += RN_VL) rn_store_part(y + i, rn_##name(rn_load_part(x + i, n - i)), n - i); \
        rn_restore(before);                                                                               \
    }                                                                                                     \
    void s_##name(const real *x, real *y, long n) {                                                       \
        rn_mode before = rn_flush_denormals();                                                            \
        for (long i = 0; i < n; i++) y[i] = rn_##name##1(x[i]);                                           \
        rn_restore(before);                                                                               \
    }
#define EACH2(name)                                                                                       \
    void v_##name(const real *a, const real *b, real *y, long n) {                                        \
        for (long i = 0; i < n; i += RN_VL)                                                               \
            rn_store_part(y + i, rn_##name(rn_load_part(a + i, n - i), rn_load_part(b + i, n - i)), n - i); \
    }                                                                                                     \
    void s_##name(const real *a, const real *b, real *y, long n) {                                        \
        for (long i = 0; i < n; i++) y[i] = rn_##name##1(a[i], b[i]);                                     \
    }
EACH(exp) EACH(log) EACH(sigmoid) EACH(tanh) EACH(softplus) EACH(relu) EACH(sin) EACH(cos) EACH(erf) EACH(sqrt)
EACH(abs) EACH(sign) EACH(floor) EACH(not)
EACH2(mod) EACH2(pow) EACH2(min) EACH2(max) EACH2(lt) EACH2(le) EACH2(gt) EACH2(ge) EACH2(eq) EACH2(ne) EACH2(and)
EACH2(or)
void v_quantize(const real *x, const real *step, real *y, long n) {
    for (long i = 0; i < n; i += RN_VL)
        rn_store_part(y + i, rn_quantize(rn_load_part(x + i, n - i), rn_load_part(step + i, n - i), rn_all(7)), n - i);
}

/* ---- products, packing, folds ---- */
#define EVERY_TILE(name, tile)                                                                                       \
    void name(int mv, const real *panel, long K, const real *const *rows, int nrows, real *acc, int accumulate) {    \
        if (mv == 1) tile(1, panel, K, rows, nrows, acc, accumulate);                                                \
        if (mv == 2) tile(2, panel, K, rows, nrows, acc, accumulate);                                                \
        if (mv == 3) tile(3, panel, K, rows, nrows, acc, accumulate);                                                \
        if (mv == 4) tile(4, panel, K, rows, nrows, acc, accumulate);                                                \
    }
int at_once(void) { return RN_AT_ONCE; }
int rows_at_once(void) { return RN_ROWS(RN_AT_ONCE); }
#define EVERY_SOME(name, some)                                                                                       \
    void name(int gates, int wide, const real *panel, long K, const real *const *rows, int nrows, real *acc,         \
              int accumulate) {                                                                                      \
        if (gates == 1) some(1, wide, panel, K, rows, nrows, acc, accumulate);                                       \
        if (gates == 2) some(2, wide, panel, K, rows, nrows, acc, accumulate);                                       \
    }
EVERY_TILE(tile, rn_tile)
EVERY_SOME(some, rn_some)
#if !RN_DOUBLE
EVERY_TILE(tile16, rn_tile16)
EVERY_SOME(some16, rn_some16)
void pack16(real *dst, const real *src, long row, long column, long n, long K, int gate, int g, int q, int thread,
            int threads) {
    rn_pack16(dst, src, row, column, n, K, gate, g, q, thread, threads);
}
EVERY_TILE(tile8, rn_tile8)
EVERY_SOME(some8, rn_some8)
void pack8(real *dst, const real *src, long row, long column, long n, long K, int gate, int g, int q, int thread,
           int threads, const real *step, int most) {
    rn_pack8(dst, src, row, column, n, K, gate, g, q, thread, threads, *step, most);
}
void v_quantized(const real *x, const real *step, int most, real *y, long n) {
    for (long i = 0; i < n; i += RN_VL)
        rn_store_part(y + i, rn_quantize(rn_load_part(x + i, n - i), rn_all(*step), rn_all((real)most)), n - i);
}
#endif
void cut(long R, long most, long i, long *ends) { rn_cut(R, rn_cuts(R, most), i, ends, ends + 1); }
void share(long total, int thread, int threads, long *ends) { rn_share(total, thread, threads, ends, ends + 1); }
long packed(long n, long K, int g, int q) { return rn_packed(n, K, g, q); }
void pack(real *dst, const real *src, long row, long column, long n, long K, int gate, int g, int q, int thread,
          int threads) {
    rn_pack(dst, src, row, column, n, K, gate, g, q, thread, threads);
}
void transpose_add(real *dst, long to, const real *src, long from, long rows, long columns, int accumulate) {
    rn_transpose_add(dst, to, src, from, rows, columns, accumulate);
}
int fold(real *c, long ldc, long m, long K, const real *a, long lda, long skip, const real *const *x, long R,
         int accumulate) {
    const rn_rows left = {a, lda, NULL, skip}, right = {NULL, 0, x, 0};
    rn_fold(c, ldc, m, K, &left, &right, R, accumulate);
    return RN_FOLD_MOST;
}
void fold_sum(real *dst, long n, const real *a, long lda, long R, int accumulate) {
    const rn_rows rows = {a, lda, NULL, 0};
    rn_fold_sum(dst, n, &rows, R, accumulate);
}
void gather(real *dst, const real *table, long stride, long n, long classes, long label) {
    rn_gather(dst, table, stride, n, classes, label);
}
void scatter(real *table, const real *src, long stride, long n, long classes, long label) {
    rn_scatter_add(table, src, stride, n, classes, label);
}

/* ---- reductions ---- */
real reduce(int which, const real *x, const real *y, long n) {
    switch (which) {
        case 0: return rn_row_sum(x, n);
        case 1: return rn_row_max(x, n);
        case 2: return rn_row_min(x, n);
        case 3: return rn_row_logsumexp(x, n);
        case 4: return rn_row_dot(x, y, n);
        default: return (real)rn_row_argmax(x, n);
    }
}
void softmax(real *y, const real *x, long n) { rn_row_softmax(y, x, n); }
void logsoftmax(real *y, const real *x, long n) { rn_row_logsoftmax(y, x, n); }
void turn(real *to, const real *from, long rows, long columns) { rn_turn(to, from, rows, columns); }
void small_product(real *to, const real *a, const real *b, long rows, long inner, long columns, int ta, int tb) {
    rn_small_product(to, a, b, rows, inner, columns, ta, tb);
}
void matvec(real *y, const real *S, long stride, const real *q, long m, long n, int turned, int accumulate) {
    if (turned) rn_matvec_transposed(y, S, stride, q, 1, m, n, accumulate);
    else rn_matvec(y, S, stride, q, m, n, accumulate);
}
void along_axis(int which, real *to, const real *from, long outer, long count, long inner) {
    switch (which) {
        case 0: rn_axis_sum(to, from, outer, count, inner); break;
        case 1: rn_axis_max(to, from, outer, count, inner); break;
        case 2: rn_axis_min(to, from, outer, count, inner); break;
        case 3: rn_axis_logsumexp(to, from, outer, count, inner); break;
        case 4: rn_axis_softmax(to, from, outer, count, inner); break;
        default: rn_axis_logsoftmax(to, from, outer, count, inner);
    }
}

/* ---- optimisers ---- */
void sgd(long n, real *t, const real *g, double rate, double decay, double scale) {
    rn_sgd(n, t, g, rate, decay, scale);
}
void momentum(long n, real *t, const real *g, real *v, double rate, double m, double damp, double decay, int64_t step,
              double scale) {
    rn_momentum(n, t, g, v, rate, m, damp, decay, step, scale);
}
void nesterov(long n, real *t, const real *g, real *v, double rate, double m, double decay, double scale) {
    rn_nesterov(n, t, g, v, rate, m, decay, scale);
}
void rmsprop(long n, real *t, const real *g, real *s, real *mean, real *v, double rate, double alpha, double eps,
             double m, double decay, double scale) {
    rn_rmsprop(n, t, g, s, mean, v, rate, alpha, eps, m, decay, scale);
}
void adadelta(long n, real *t, const real *g, real *s, real *c, double rate, double rho, double eps, double decay,
              double scale) {
    rn_adadelta(n, t, g, s, c, rate, rho, eps, decay, scale);
}
void adam(int w, long n, real *t, const real *g, real *m, real *v, double rate, double b1, double b2, double eps,
          double decay, int64_t step, double scale) {
    if (w) rn_adamw(n, t, g, m, v, rate, b1, b2, eps, decay, step, scale);
    else rn_adam(n, t, g, m, v, rate, b1, b2, eps, decay, step, scale);
}
double norm2(long n, const real *g) { return rn_norm2(n, g); }
double clip(double norm, double most) { return rn_clip(norm, most); }

/* ---- threads ---- */
typedef struct {
    long rounds;
    int got;
    int flushed;                              /* threads that saw denormals flushed */
    _Atomic long wrong, here;
    volatile long cells[RN_MOST_THREADS][16];
} meeting;

static void meet_often(void *argument, const rn_team *team, int thread) {
    meeting *m = argument;
    volatile float tiny = 1e-38f;
    float flushed = tiny * 0.001f;
    atomic_fetch_add(&m->here, flushed == 0);
    for (long i = 1; i <= m->rounds; i++) {
        m->cells[thread][0] = i;
        rn_meet(team, thread);
        RN_COUNT_MEETING(5);
        for (int other = 0; other < team->threads; other++)
            if (m->cells[other][0] != i) atomic_fetch_add(&m->wrong, 1);
        rn_meet(team, thread);
    }
    if (thread == 0) m->got = team->threads;
}

typedef struct {
    void (*work)(void *, int, int);
    void *data;
    int thread, threads;
} errand;
static void *run_errand(void *p) {
    errand *e = p;
    e->work(e->data, e->thread, e->threads);
    return NULL;
}
/* A host that gives one thread less than it was asked for. */
static void host_run(void *context, int threads, void (*work)(void *, int, int), void *data) {
    pthread_t ids[RN_MOST_THREADS];
    errand errands[RN_MOST_THREADS];
    ++*(int *)context;
    for (int i = 0; i < threads - 1; i++) {
        errands[i] = (errand){work, data, i, threads - 1};
        pthread_create(&ids[i], NULL, run_errand, &errands[i]);
    }
    for (int i = 0; i < threads - 1; i++) pthread_join(ids[i], NULL);
}

/* Threads really got, or -1 if somebody left a meeting early, -2 if denormals were not flushed, -3 if the host was not
 * asked, -4 if the caller's mode was not put back. */
int stress(int threads, long rounds, int with_host) {
    static _Alignas(128) rn_flag flags[RN_MOST_THREADS];
    static meeting m;
    int asked = 0;
    rn_host host = {host_run, &asked};
    memset(flags, 77, sizeof flags);
    memset(&m, 0, sizeof m);
    m.rounds = rounds;
    volatile float tiny = 1e-38f;
    rn_parallel(threads, flags, meet_often, &m, with_host ? &host : NULL);
    if (m.wrong) return -1;
#if defined(__SSE__) || defined(__aarch64__)
    if (m.here != m.got) return -2;
#endif
    if (with_host && asked != (threads > 1)) return -3;
    volatile float after = tiny * 0.001f;
    if (after == 0) return -4;
    return m.got;
}

/* Hands numbers down a chain of threads by progress counters; returns how many arrived out of order. */
static struct {
    rn_flag flags[RN_MOST_THREADS];
    long value[RN_MOST_THREADS][256], wrong;
} chain;
static void pass_on(void *argument, const rn_team *team, int thread) {
    (void)argument, (void)team;
    for (long chunk = 0; chunk < 256; chunk++) {
        if (thread) rn_progress_wait(&chain.flags[thread - 1], chunk + 1);
        if (thread && chain.value[thread - 1][chunk] != chunk * (thread)) chain.wrong++;
        chain.value[thread][chunk] = chunk * (thread + 1);
        rn_progress_set(&chain.flags[thread], chunk + 1);
    }
}
long hand_down(int threads) {
    static rn_flag flags[RN_MOST_THREADS];
    memset(&chain, 0, sizeof chain);
    rn_parallel(threads, flags, pass_on, NULL, NULL);
    return chain.wrong;
}

/* ---- the counting build ---- */
#ifdef RNNC_COUNT
long counted(long *out) {
    rn_count_clear();
    RN_COUNT_PRODUCT(3, 5, 64, 7);
    RN_COUNT_PRODUCT(4, 1, 16, 9);
    out[0] = rn_count_read(1, out + 1, out + 2, out + 3);
    stress(2, 10, 0);
    out[4] = rn_count_meetings(5);
    return rn_count_products();
}
#endif

/* ---- random numbers ---- */
uint64_t key(uint64_t k, uint64_t counter) { return rn_key(k, counter); }
void frame_keys(uint64_t *keys, uint64_t seed, uint64_t draw, const int64_t *age, long before, long T, long after,
                long B) {
    rn_frame_keys(keys, seed, draw, age, before, T, after, B);
}
void dropout(real *x, long n, uint64_t k, uint32_t site, uint32_t threshold, double scale) {
    for (long i = 0; i < n; i += RN_VL)
        rn_store_part(x + i, rn_dropout(rn_load_part(x + i, n - i), k, i, site, threshold, (real)scale), n - i);
}
void noise(real *x, long n, uint64_t k, uint32_t site) {
    for (long i = 0; i < n; i += RN_VL) rn_store_part(x + i, rn_noise(rn_load_part(x + i, n - i), k, i, site), n - i);
}

/* ---- sparse matrices: columns [row of blocks][K], stored numbers v [n][K] ---- */
#define MOST 4096
static int32_t sparse_columns[MOST], sparse_begin[MOST], sparse_blocks[MOST], sparse_places[MOST];
static real sparse_packed[MOST * RN_BLOCK];

static long take_columns(const int64_t *columns, long n, long K) {
    const long count = (n + RN_BLOCK - 1) / RN_BLOCK * K;
    for (long i = 0; i < count; i++) sparse_columns[i] = (int32_t)columns[i];
    return count;
}
/* y [rows][n] = x [rows][m] times the transposed matrix; rows <= 12. */
void sparse(real *y, const real *v, const int64_t *columns, long n, long m, long K, const real *x, long rows) {
    const real *row[12];
    RN_ALIGNED real acc[12 * RN_VL];
    take_columns(columns, n, K);
    rn_pack(sparse_packed, v, K, 1, n, K, 0, 1, 1, 0, 1);
    for (long j = 0; j < rows; j++) row[j] = x + j * m;
    for (long p = 0; p * RN_VL < n; p++) {
        rn_sparse(sparse_packed + p * K * RN_VL, sparse_columns + p * RN_VL / RN_BLOCK * K, K, row, (int)rows, acc, 0);
        for (long j = 0; j < rows; j++) rn_store_part(y + j * n + p * RN_VL, rn_load(acc + j * RN_VL), n - p * RN_VL);
    }
}
/* z [rows][m] = d [rows][n] times the matrix. */
void sparse_turned(real *z, const real *v, const int64_t *columns, long n, long m, long K, const real *d, long rows) {
    const real *row[12];
    RN_ALIGNED real acc[12 * RN_VL];
    const long count = take_columns(columns, n, K);
    long at = 0;
    for (long c = 0; c < m; c++) {
        sparse_begin[c] = (int32_t)at;
        for (long i = 0; i < count; i++)
            if (sparse_columns[i] == c) sparse_blocks[at] = (int32_t)(i / K), sparse_places[at++] = (int32_t)(i % K);
    }
    sparse_begin[m] = (int32_t)at;
    rn_pack_turned(sparse_packed, v, K, 1, n, sparse_blocks, sparse_places, count);
    for (long j = 0; j < rows; j++) row[j] = d + j * n;
    for (long p = 0; p * RN_VL < m; p++) {
        rn_sparse_turned(sparse_packed, sparse_begin, sparse_blocks, p * RN_VL, m, n, row, (int)rows, acc, 0);
        for (long j = 0; j < rows; j++) rn_store_part(z + j * m + p * RN_VL, rn_load(acc + j * RN_VL), m - p * RN_VL);
    }
}
void fold_sparse(real *to, long n, long m, long K, const int64_t *columns, const real *d, const real *x, long rows,
                 int accumulate) {
    const real *a_rows[12], *x_rows[12];
    take_columns(columns, n, K);
    for (long j = 0; j < rows; j++) a_rows[j] = d + j * n, x_rows[j] = x + j * m;
    rn_fold_sparse(to, n, K, sparse_columns, a_rows, x_rows, rows, 0, (n + RN_BLOCK - 1) / RN_BLOCK, accumulate);
}

/* ---- counters, time cut into lanes, how many threads ---- */
void fill_since(int64_t *since, const int64_t *count, const int64_t *starts, int given, long T, long B) {
    uint8_t bytes[4096];
    for (long r = 0; r < T * B; r++) bytes[r] = (uint8_t)starts[r];
    rn_fill_since(since, count, given ? bytes : NULL, T, B);
}
void fill_left(int64_t *left, const int64_t *since, long T, long B) { rn_fill_left(left, since, T, B); }
int all_since(const int64_t *since, long n, long B, long least) { return rn_all_since(since, n, B, least); }
int all_left(const int64_t *left, long n, long B, long least) { return rn_all_left(left, n, B, least); }

/* x[m][VL] holds b and becomes x, a[m * m][VL], last[m]; whether all is finite. */
#define SCAN(m)                                                                                                      \
    case m: {                                                                                                        \
        rn_v xs[m], as[(m) * (m)], lasts[m];                                                                         \
        for (int i = 0; i < m; i++) xs[i] = rn_load(x + i * RN_VL), lasts[i] = rn_all(last[i]);                      \
        for (int i = 0; i < (m) * (m); i++) as[i] = rn_load(a + i * RN_VL);                                          \
        rn_scan(m, xs, as, lasts);                                                                                   \
        for (int i = 0; i < m; i++) rn_store(x + i * RN_VL, xs[i]);                                                  \
        return rn_scan_finite(m, xs);                                                                                \
    }
int scan(int m, real *x, const real *a, const real *last) {
    switch (m) { SCAN(1) SCAN(2) SCAN(3) SCAN(4) }
    return -1;
}
void lanes(real *y, const real *x, const real *before) {
    rn_store(y, rn_later(rn_load(x), rn_load(before), 1));
    rn_store(y + RN_VL, rn_later(rn_load(x), rn_load(before), 2));
    rn_store(y + 2 * RN_VL, rn_back(rn_load(x)));
    rn_store(y + 3 * RN_VL, rn_spread(rn_load(x), 1));
}
void scatter_column(real *to, long stride, const real *src, long n, long classes, long label) {
    rn_scatter_column(to, stride, src, n, classes, label);
}

/* A loop of so many operations, numbers and bytes a row or step, with products outside before it. */
int worth(double outside, double flops, double numbers, double bytes, int panels, int meetings, int most, long T, long B) {
    const rn_effort works[] = {{outside, 0, 0, 1, 0, 0, 0, 0, 0, 0}, {flops, numbers, bytes, (short)panels, (short)meetings, 1, 0, 1, 0, 0}};
    return rn_worth(works, NULL, RN_STAGES, most, T, B, 0);
}

/* n rows of `size` entries, `stride` apart: as entries in lanes, and these as rows again. */
void entries(real *lanes, real *rows, const real *from, long size, long stride, long n) {
    rn_v at[RN_MOST_ENTRIES];
    rn_load_even_rows(at, size, from, stride, n);
    for (long u = 0; u < size; u++) rn_store(lanes + u * RN_VL, at[u]);
    rn_store_even_rows(rows, size, at, RN_PAD(size), n);
}
/* A line of 5 in two lanes' worth of tensors [2][5][3]: what is made of it along the middle axis, in the order of `how`. */
void each_line(int how, real *to, const real *from) {
    rn_v x[30], y[30] = {{0}};
    for (int u = 0; u < 30; u++) x[u] = rn_load(from + u * RN_VL);
    switch (how) {
    case 0: rn_each_softmax(y, x, 2, 5, 3); break;
    case 1: rn_each_logsoftmax(y, x, 2, 5, 3); break;
    case 2: rn_each_logsumexp(y, x, 2, 5, 3); break;
    case 3: rn_each_argmax(y, x, 2, 5, 3); break;
    case 4: y[0] = rn_each_surprisal(x, 30, rn_all(7)), y[1] = rn_each_surprisal(x, 30, rn_all(-1)); break;
    }
    for (int u = 0; u < 30; u++) rn_store(to + u * RN_VL, y[u]);
}
