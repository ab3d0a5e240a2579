/* ================================================================================================ elman */
typedef struct elman_weights {
    float values[218];
} elman_weights;

/* What the host may hand in: its threads, and measured figures of the machine (0: the defaults in the C). */
typedef struct elman_tuning {
    void (*run)(void *context, int threads, void (*work)(void *data, int thread, int threads), void *data);
    void *context;
    double flops_per_second;
    int plan;                                 /* 0: the planner's choice. For tests: 1 all threads together, 2 loops by
                                                 streams, 3 crews of one thread, 4 of two; results never differ */
} elman_tuning;

typedef struct elman_inputs {
    const float *x;                           /* [frames][streams][3] */
    const float *y;                           /* [frames][streams][2]; not for run */
    const uint8_t *starts;                    /* 1 where a sequence begins; NULL: nowhere */
    const float *weight;                      /* of each frame in the loss; NULL: 1 */
    int accumulate;                           /* 1: gradients are added to what is there */
    const elman_tuning *tuning;        /* NULL: the defaults */
} elman_inputs;

typedef struct elman_outputs {         /* NULL: not wanted */
    float *z;                                 /* [frames][streams][2] */
} elman_outputs;

/* What the planner chooses for a call of a program (0 run, 1 evaluate, 2 backprop, 3 vjp): the crew of each stage (0: all
 * threads), whether its threads take streams, and three guesses of seconds (all together, by streams, crews; 0: no
 * such choice). The number of stages; 0: all threads run everything together. Where `crews` is NULL only that. */
int elman_plan(int program, int frames, int streams, int threads, const elman_tuning *tuning,
    int *crews, int *by_streams, double *seconds);
/* A state is one flat block of so many bytes: memcpy is a snapshot. At state_since stand the frames since each stream's
 * start, int64_t[streams]; at state_entry(streams, entry) the last frames of a signal, newest last, a row of
 * state_row(entry) bytes for each frame and stream:
 *     0: h, 1 frame
 */
size_t elman_state_size(int streams);
size_t elman_state_since(int streams);
size_t elman_state_entry(int streams, int entry);
size_t elman_state_row(int entry);

/* Bytes that a call needs to work in: enough for any, or for one kind (0 run and step, 1 evaluate, 2 backprop, 3 vjp). Of
 * a call beyond counting it is SIZE_MAX / 2, rounded down to whole lines of 64: more than any allocation gives. */
size_t elman_workspace_size(int frames, int streams);
size_t elman_workspace_size_of(int program, int frames, int streams);

/* Weights as the kernels want them; again after every change of the weights. pack_threads is the same by several threads
 * (0: as many as it is worth); any number of them writes the same bytes. */
size_t elman_packed_size(void);
int elman_pack(const elman_weights *w, void *packed);
int elman_pack_threads(const elman_weights *w, void *packed, int threads, const elman_tuning *tuning);

/* Fresh: all streams, or one. copy_stream moves stream j of one state to stream i of another, each of as many streams as
 * reset has given it. */
void elman_reset(void *state, int streams);
void elman_reset_stream(void *state, int streams, int stream);
void elman_copy_stream(void *to, int i, const void *from, int j);

/* Calls advance the state. threads: 0 is as many as the work is worth, 1 enters no parallel region. */
int elman_run(const void *packed, void *state, const elman_inputs *in, elman_outputs *out,
    int frames, int streams, void *workspace, int threads);
/* A run from a fresh state that nobody keeps: only what the outputs need is computed. */
int elman_run_fresh(const void *packed, const elman_inputs *in, elman_outputs *out,
    int frames, int streams, void *workspace, int threads);
/* A run of one frame: arrays [streams][...]. */
int elman_step(const void *packed, void *state, const elman_inputs *in, elman_outputs *out,
    int streams, void *workspace, int threads);
/* scores: loss. */
int elman_evaluate(const void *packed, void *state, const elman_inputs *in,
    int frames, int streams, void *workspace, int threads, float *scores);
/* The gradient of the loss, frozen weights left out, in the places of the weights; out and loss may be NULL. */
int elman_backprop(const void *packed, void *state, const elman_inputs *in, elman_outputs *out,
    int frames, int streams, void *workspace, int threads, elman_weights *gradient, float *loss);
/* Optimisers on n numbers, the first 218 of weights and gradient. m, v, velocity, ...: vectors of their own,
 * zero at first (mean: NULL if not centred). step counts from 1; scale multiplies the gradient: clip(norm2(n, g), most).
 * Those that end in _threads are the same, to the bit, on at most so many threads (0: as many as the numbers are worth). */
int elman_sgd(long n, float *theta, const float *g, double rate, double decay, double scale);
int elman_sgd_threads(long n, float *theta, const float *g, double rate, double decay, double scale, int threads);
int elman_momentum(long n, float *theta, const float *g, float *velocity, double rate, double momentum,
    double dampening, double decay, int64_t step, double scale);
int elman_momentum_threads(long n, float *theta, const float *g, float *velocity, double rate, double momentum,
    double dampening, double decay, int64_t step, double scale, int threads);
int elman_nesterov(long n, float *theta, const float *g, float *velocity, double rate, double momentum,
    double decay, double scale);
int elman_nesterov_threads(long n, float *theta, const float *g, float *velocity, double rate, double momentum,
    double decay, double scale, int threads);
int elman_rmsprop(long n, float *theta, const float *g, float *square, float *mean, float *velocity, double rate,
    double alpha, double epsilon, double momentum, double decay, double scale);
int elman_rmsprop_threads(long n, float *theta, const float *g, float *square, float *mean, float *velocity, double rate,
    double alpha, double epsilon, double momentum, double decay, double scale, int threads);
int elman_adadelta(long n, float *theta, const float *g, float *square, float *changes, double rate, double rho,
    double epsilon, double decay, double scale);
int elman_adadelta_threads(long n, float *theta, const float *g, float *square, float *changes, double rate, double rho,
    double epsilon, double decay, double scale, int threads);
int elman_adam(long n, float *theta, const float *g, float *m, float *v, double rate, double beta1,
    double beta2, double epsilon, double decay, int64_t step, double scale);
int elman_adam_threads(long n, float *theta, const float *g, float *m, float *v, double rate, double beta1,
    double beta2, double epsilon, double decay, int64_t step, double scale, int threads);
int elman_adamw(long n, float *theta, const float *g, float *m, float *v, double rate, double beta1,
    double beta2, double epsilon, double decay, int64_t step, double scale);
int elman_adamw_threads(long n, float *theta, const float *g, float *m, float *v, double rate, double beta1,
    double beta2, double epsilon, double decay, int64_t step, double scale, int threads);
int elman_sgd_sai(long n, float *theta, const float *g, float *velocity, double rate, double gain,
    double momentum, double decay, double scale);
int elman_sgd_sai_threads(long n, float *theta, const float *g, float *velocity, double rate, double gain,
    double momentum, double decay, double scale, int threads);
double elman_signal_to_noise(long n, const float *g, double epsilon);
int elman_project(long a, long b, long row, long column, long rank, const float *p, const float *g, float *low,
    double scale);
int elman_adam_direction(long n, const float *low, float *m, float *v, float *change, double beta1, double beta2,
    double epsilon, int64_t step);
int elman_channel_scales(long rank, long b, const float *low, const float *change, float *scales, int whole);
double elman_channel_norm(long a, long b, long row, long column, const float *g, const float *scales);
int elman_channel_step(long a, long b, long row, long column, float *theta, const float *g, const float *scales,
    double rate, double shrink);
int elman_project_back(long a, long b, long row, long column, long rank, const float *p, const float *change,
    float *theta, double rate, double shrink);
double elman_norm2(long n, const float *g);
double elman_clip(double norm, double most);
double elman_norm2_threads(long n, const float *g, int threads);

/* Weights to and from a file's bytes; read refuses those of another network, size or number type, write gives the bytes
 * that are needed. */
int elman_weights_read(elman_weights *w, const void *blob, size_t bytes);
size_t elman_weights_write(const elman_weights *w, void *blob, size_t bytes);
const char *elman_error(int code);
uint32_t elman_abi(void);


enum { RN_WEIGHTS = 218, RN_TRAINABLE = 218 };
#define RN_HASH UINT64_C(0xeeb8f123b3973a46)
#define RN_ABI UINT32_C(1)
static const real rn_zeros[RN_PAD(12) + RN_VL] RN_UNUSED = {0};

/* Offsets in the packed weights, in numbers. */
enum {
    PANEL_0 = 0,    /* W */
    END_PANEL_0 = PANEL_0 + (RN_PANELS(12) * 3 * 1 * RN_VL),
    AT_b = END_PANEL_0,    /* param */
    END_AT_b = AT_b + (RN_PAD(12)),
    PANEL_1 = END_AT_b,    /* U */
    END_PANEL_1 = PANEL_1 + (RN_PANELS(12) * 12 * 1 * RN_VL),
    PANEL_2 = END_PANEL_1,    /* z_W */
    END_PANEL_2 = PANEL_2 + (RN_PANELS(2) * 12 * 1 * RN_VL),
    AT_z_b = END_PANEL_2,    /* param */
    END_AT_z_b = AT_z_b + (RN_PAD(2)),
    PANEL_3 = END_AT_z_b,    /* z_W' */
    END_PANEL_3 = PANEL_3 + (RN_PANELS(12) * 2 * 1 * RN_VL),
    PANEL_4 = END_PANEL_3,    /* U' */
    END_PANEL_4 = PANEL_4 + (RN_PANELS(12) * 12 * 1 * RN_VL),
    RN_PACKED = END_PANEL_4
};

/* Bytes rounded up to whole lines. */
#define RN_UP(bytes) (((bytes) + RN_LINE - 1) / RN_LINE * RN_LINE)

/* What a state holds besides the counters: for each signal read from the past its last frames. */
typedef struct {
    long depth;                               /* frames */
    size_t row;                               /* bytes of one frame of one stream */
    size_t one;                               /* where it begins in a state of one stream */
} rn_entry;
enum {
    RN_ENTRIES = 1,
    RN_COUNTS = 1,                            /* numbers of each stream beside them */
    RN_STATE_0 = 2 * RN_LINE,
    RN_STATE_1 = RN_STATE_0 + RN_UP(1 * RN_PAD(12) * sizeof(real)),
};
static const rn_entry rn_entries[RN_ENTRIES + 1] = {
    { 1, RN_PAD(12) * sizeof(real), RN_STATE_0 },    /* h */
    {0, 0, RN_STATE_1}
};

/* A call: everything its kernels look at. */
typedef struct {
    long T, B, R;                             /* frames, streams, rows = frames * streams */
    const int64_t *since;                     /* frames since the start, of each row */
    const int64_t *left;                      /* frames that follow, of each row */
    int unbroken;                             /* no stream starts anew inside the call */
    long S;                                   /* sequences inside the call, by stream, then start */
    const rn_span *spans;                     /* their rows */
    const long *sequence;                     /* the sequence of each row */
    const real *packed, *zeros;
    rn_flag *flags;                           /* of all threads; of threads in their crews; how far stages are */
    const rn_plan *plan;                      /* who runs what; NULL: all together */
    long turn;                                /* frames so far: loops begin where the call before has ended */
    long near_0;
    real *h;
    real *z;
    real *h_part_2;
    real *x;
    const real *old_h;
    real *value_part_16;
    real *value_part_4;
    real *value_part_3;
    real *y;
    real *weights_of_frames;
    real *value_part_12;
    real *value_part_9;
    real *value_part_8;
    real *value_part_7;
    real *value_part_6;
    real *value_part_2;
    real *value_part;
    real *ones;
    long near_2;
    real *value_part_25;
    real *value_part_11;
    real *d_z;
    real *d_h_part_2;
    real *value_part_20;
    real *value_part_17;
    real *value_part_15;
    real *value_part_14;
    real *value_part_10;
} rn_call;

static size_t rn_up(size_t bytes) { return RN_UP(bytes); }

typedef struct {
    uintptr_t base;
    size_t used;
} rn_space;

/* The next stretch of the workspace; without one only its size counts. */
RN_INLINE void *rn_give(rn_space *at, size_t bytes) {
    const uintptr_t place = at->base + at->used;
    at->used += rn_up(bytes + sizeof(rn_v));
    return (void *)place;
}

/* ------------------------------------------------------------------------------------------------ state */

typedef struct {
    uint64_t hash;
    int32_t streams;
    uint32_t size;                            /* of a number: the hash tells networks apart, not their types */
} rn_state_head;

RN_INLINE size_t rn_state_at(long B, int entry) {
    if (B == 1) return rn_entries[entry].one;
    size_t at = RN_LINE + rn_up((size_t)B * RN_COUNTS * sizeof(int64_t));
    for (int i = 0; i < entry; i++) at += rn_up((size_t)(rn_entries[i].depth * B) * rn_entries[i].row);
    return at;
}
/* NULL, a fresh state that nobody keeps, has none of these. */
RN_INLINE void *rn_state_entry(const void *state, int entry, long B) {
    return state ? (char *)(uintptr_t)state + rn_state_at(B, entry) : NULL;
}
/* Of each stream the frames since its start. */
static int64_t *rn_state_count(const void *state) {
    return state ? (int64_t *)((char *)(uintptr_t)state + RN_LINE) : NULL;
}
RN_FUNCTION void rn_state_clear(void *state, int entry, long B) {
    memset(rn_state_entry(state, entry, B), 0, (size_t)(rn_entries[entry].depth * B) * rn_entries[entry].row);
}

/* The seed of an outgoing state as rows of the call: zero but for the last frames. */
RN_FUNCTION void rn_seed(real *to, const void *seed, int entry, long T, long B, long step) {
    const long depth = rn_entries[entry].depth;
    const real *from = seed ? rn_state_entry(seed, entry, B) : NULL;
    for (long t = 0; t < T; t++) {
        const long j = depth - 1 - (T - 1 - t);
        if (from && j >= 0) memcpy(to + t * B * step, from + j * B * step, sizeof(real) * (size_t)(B * step));
        else memset(to + t * B * step, 0, sizeof(real) * (size_t)(B * step));
    }
}

/* ------------------------------------------------------------------------------------------------ packing */

/* Constants first, by one thread, then the panels that products read, each by all. */
static void rn_pack_all(const real *w, real *packed, const rn_team *team, int thread)
{
    if (thread == 0) {
        rn_pack_value(packed + AT_b, w + 180, 12);
        rn_pack_value(packed + AT_z_b, w + 216, 2);
    }
    rn_meet(team, thread);
    rn_pack(packed + PANEL_0, w + 0, 3, 1, 12, 3, 0, 1, 1, thread, team->threads);
    rn_pack(packed + PANEL_1, w + 36, 12, 1, 12, 12, 0, 1, 1, thread, team->threads);
    rn_pack(packed + PANEL_2, w + 192, 12, 1, 2, 12, 0, 1, 1, thread, team->threads);
    rn_pack(packed + PANEL_3, w + 192, 1, 12, 12, 2, 0, 1, 1, thread, team->threads);
    rn_pack(packed + PANEL_4, w + 36, 1, 12, 12, 12, 0, 1, 1, thread, team->threads);
    (void)w, (void)packed, (void)team, (void)thread;
}
/* ================================================================================================ run */

/* h[t-1]: its initial value across a start, the state before the call */
RN_INLINE const real *run_h_before_1(const rn_call *c, long r, long turn)
{
    if (c->since[r] < 1) return c->zeros;
    if (r < c->B) return c->old_h + r * RN_PAD(12);
    return c->h + rn_ring(r - c->B - turn, c->near_0 * c->B) * RN_PAD(12);
}
/* unnamed values
 * elman.rnn:9
 * run_0 shares it with evaluate_0 */
static void run_0_0(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    const long products = part.p1 - part.p0, cuts = rn_cuts(rows, RN_ROWS(1));
    const long together = rn_together(part, products, 2048);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from, to;
            rn_cut(rows, cuts, block, &from, &to);
            from += first, to += first;
            const real *x_0[RN_ROWS(1)];
            real *h_part_2_row[RN_ROWS(1)];
            for (long r = from; r < to; r++) {
                x_0[r - from] = c->x + r * 3;
                h_part_2_row[r - from] = c->h_part_2 + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(12);
            }
            for (long n = group, both; n < group_end; n += both) {
                both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                for (long q = 0; q < both; q++) {
                    const long p = rn_panel(part, n + q);
                    real *const sums = sums_of[q];
                    rn_tile(1, c->packed + PANEL_0 + p * (3 * RN_VL), 3, x_0, (int)(to - from), sums, 0);
                }
                for (long q = 0; q < both; q++) {
                    const long u = rn_panel(part, n + q) * RN_VL;
                    const real *const sums = sums_of[q];
                    for (long j = 0; j < to - from; j++) {
                        const rn_v h_part_4 = rn_load(sums + (j * 1 + 0) * RN_VL);
                        const rn_v k_b = rn_load((c->packed + AT_b) + u);
                        const rn_v h_part_2 = h_part_4 + k_b;
                        rn_store(h_part_2_row[j] + u, h_part_2);
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(0, rn_rows_of(rows, cuts, part), rn_columns_of(12, 12, part), 3);
}

/* h
 * elman.rnn:9
 * run_1 shares it with evaluate_1 */
static void run_1_1(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    const long products = part.p1 - part.p0, cuts = rn_cuts(rows, RN_ROWS(1));
    const long together = rn_together(part, products, 512);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from, to;
            rn_cut(rows, cuts, block, &from, &to);
            from += first, to += first;
            const real *x_0[RN_ROWS(1)];
            const real *h_part_2_row[RN_ROWS(1)];
            real *h_row[RN_ROWS(1)];
            for (long r = from; r < to; r++) {
                x_0[r - from] = run_h_before_1(c, r, near_0);
                h_part_2_row[r - from] = c->h_part_2 + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(12);
                h_row[r - from] = c->h + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(12);
            }
            if (group == 0) rn_fetch_rows(x_0, to - from, 12);    /* what other threads have just made */
            for (long n = group, both; n < group_end; n += both) {
                both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                for (long q = 0; q < both; q++) {
                    const long p = rn_panel(part, n + q);
                    real *const sums = sums_of[q];
                    rn_tile(1, c->packed + PANEL_1 + p * (12 * RN_VL), 12, x_0, (int)(to - from), sums, 0);
                }
                for (long q = 0; q < both; q++) {
                    const long u = rn_panel(part, n + q) * RN_VL;
                    const real *const sums = sums_of[q];
                    for (long j = 0; j < to - from; j++) {
                        const rn_v h_part_3 = rn_load(sums + (j * 1 + 0) * RN_VL);
                        const rn_v h_part_2_row_u = rn_load(h_part_2_row[j] + u);
                        const rn_v h = rn_tanh((h_part_2_row_u + h_part_3));
                        rn_store(h_row[j] + u, h);
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(1, rn_rows_of(rows, cuts, part), rn_columns_of(12, 12, part), 12);
}

/* z
 * dense.rnn:11, elman.rnn:10 */
static void run_2_2(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    const long products = part.p1 - part.p0, cuts = rn_cuts(rows, RN_ROWS(1));
    const long together = rn_together(part, products, 512);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from, to;
            rn_cut(rows, cuts, block, &from, &to);
            from += first, to += first;
            const real *x_0[RN_ROWS(1)];
            for (long r = from; r < to; r++) {
                x_0[r - from] = c->h + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(12);
            }
            for (long n = group, both; n < group_end; n += both) {
                both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                for (long q = 0; q < both; q++) {
                    const long p = rn_panel(part, n + q);
                    real *const sums = sums_of[q];
                    rn_tile(1, c->packed + PANEL_2 + p * (12 * RN_VL), 12, x_0, (int)(to - from), sums, 0);
                }
                for (long q = 0; q < both; q++) {
                    const long u = rn_panel(part, n + q) * RN_VL;
                    const real *const sums = sums_of[q];
                    for (long j = 0; j < to - from; j++) {
                        const long r = from + j;
                        const rn_v z_part = rn_load(sums + (j * 1 + 0) * RN_VL);
                        const rn_v k_z_b = rn_load((c->packed + AT_z_b) + u);
                        const rn_v z = z_part + k_z_b;
                        rn_store(c->z + r * RN_PAD(2) + u, z);
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(2, rn_rows_of(rows, cuts, part), rn_columns_of(2, 2, part), 12);
}

/* Products that wait for no loop: all frames at once. */
static void run_0(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    run_0_0(c, t0 * c->B, rows,
        rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(12), thread, team->threads));
}

/* A loop forwards through time, one frame a step: each frame needs the one before it.
 * h */
static void run_1(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long frames = t1 - t0;
    if (c->plan && c->plan->streams[1]) {        /* threads take streams, all of time, and never meet */
        long from, to;
        rn_share_streams(c->B, thread, team->threads, &from, &to);
        const long rows = to - from;
        for (long k = 0; k < frames && rows; k++) {
            const long t = t0 + k;
            run_1_1(c, t * c->B + from, rows, rn_zigzag((rn_part){0, rn_cuts(rows, RN_ROWS(1)), 0, RN_PANELS(12), 0}, c->turn + k));
        }
        return;
    }
    for (long k = 0; k < frames; k += 1) {
        {
            const long low = k, high = k + 1;
            const long rows = (high - low) * c->B;
            run_1_1(c, (t0 + low) * c->B, rows,
                rn_zigzag(rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(12), thread, team->threads),
                          c->turn + k));
        }
        RN_COUNT_MEETING_OF(1, thread);
        rn_meet(team, thread);
    }
}

/* Products that wait for no loop: all frames at once. */
static void run_2(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    run_2_2(c, t0 * c->B, rows,
        rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(2), thread, team->threads));
}

static size_t rn_layout_run(rn_call *c, void *workspace, long T, long B)
{
    rn_space at = {(uintptr_t)workspace, 0};
    const long R = T * B;
    (void)R;
    c->flags = rn_give(&at, (2 * RN_MOST_THREADS + 3) * sizeof(rn_flag));
    c->since = rn_give(&at, (size_t)R * sizeof(int64_t));
    c->near_0 = RN_MIN(T, 2 * rn_whole_chunk(B, 64, 1, 8) + 1);    /* frames kept of values of one step */
    void *const slot_0 = rn_give(&at, (size_t)(c->near_0 * B * RN_PAD(12)) * sizeof(real));
    void *const slot_1 = rn_give(&at, (size_t)(R * RN_PAD(2)) * sizeof(real));
    void *const slot_2 = rn_give(&at, (size_t)(c->near_0 * B * RN_PAD(12)) * sizeof(real));
    c->h = slot_0;
    c->z = slot_1;
    c->h_part_2 = slot_2;
    return at.used;
}

static const rn_effort run_works[] = {
    {72, 48, 144, 1, 0, 0, 0, 0, 8, 0},
    {288, 252, 576, 1, 1, 1, 0, 1, 8, 0},
    {48, 26, 96, 1, 0, 0, 0, 2, 8, 0},
};
static const rn_need run_0_needs[] = { {1, RN_ROOM} };
static const rn_need run_1_needs[] = { {0, RN_CHUNK}, {2, RN_ROOM} };
static const rn_need run_2_needs[] = { {1, RN_CHUNK} };
static const unsigned char run_streams[] = { RN_NEVER, RN_SMALL, RN_NEVER };
static void rn_body_run(void *argument, const rn_team *team, int thread)
{
    const rn_call *c = argument;
    rn_walk walk = rn_walk_of(c->plan, team, thread, c->flags + RN_MOST_THREADS), *const w = &walk;
    (void)c;
    {   /* Together, chunk by chunk: what one stage makes is still near when the next one reads it. */
        const long whole = rn_whole_chunk(c->B, 64, 1, 8);
        const long chunk = w->plan ? rn_fine_chunk(whole, 8, c->T) : whole;
        const long chunks = rn_fine_chunks(c->T, whole, chunk);
        w->depth = 2 * (whole / chunk) - (chunk < whole);        /* the last one may be longer */
        for (long k = 0; k < chunks; k++) {
            const long n = k;
            const long t0 = rn_fine_begin(n, chunks, c->T, whole, chunk, 1);
            const long t1 = rn_fine_begin(n + 1, chunks, c->T, whole, chunk, 1);
            if (rn_enter_inline(w, 0, run_0_needs, 1, k)) {
                run_0(c, &w->team, w->rank, t0, t1);
                rn_leave_inline(w, 0, k, chunks);
            }
            if (rn_enter_inline(w, 1, run_1_needs, 2, k)) {
                run_1(c, &w->team, w->rank, t0, t1);
                rn_leave_inline(w, 1, k, chunks);
            }
            if (rn_enter_inline(w, 2, run_2_needs, 1, k)) {
                run_2(c, &w->team, w->rank, t0, t1);
                rn_leave_inline(w, 2, k, chunks);
            }
        }
    }
}

/* ================================================================================================ evaluate */

/* unnamed values */
static void evaluate_2_2(const rn_call *c, long first, long rows, rn_part part)
{
    (void)rows;
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    for (long r = first + part.b0; r < first + part.b1; r += RN_VL) {
        const long n = RN_MIN(RN_VL, first + part.b1 - r);
        const int whole_near_0 = rn_ring(r - near_0, c->near_0 * c->B) + n <= c->near_0 * c->B;
        const rn_v at_weights_of_frames = rn_load_lanes(c->weights_of_frames + r, n);
        const rn_v value_part_4 = rn_eq(at_weights_of_frames, rn_all((real)0));
        if (rn_forget(whole_near_0)) rn_store_lanes(c->value_part_4 + rn_ring(r - near_0, c->near_0 * c->B), value_part_4, n);
        else for (long lane = 0; lane < n; lane++) *(c->value_part_4 + rn_ring((r + lane) - near_0, c->near_0 * c->B)) = value_part_4[lane];
    }
}

/* z
 * dense.rnn:11, elman.rnn:10, elman.rnn:13 */
static void evaluate_3_3(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    const long products = part.p1 - part.p0;
    const long u0 = part.p0 * RN_VL, units = RN_MIN(2, part.p1 * RN_VL) - u0;
    RN_COUNTING(long rows_picked = 0;)
    const long together = rn_together(part, products, 512);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from = block * RN_PICKED, to = RN_MIN(rows, from + RN_PICKED);
            long picked[RN_PICKED], count = 0;    /* rows that somebody asks for; the others are zero */
            for (long r = first + from; r < first + to; r++) {
                if (*(c->value_part_4 + rn_ring(r - near_0, c->near_0 * c->B)) == 0) {
                    picked[count++] = r;
                } else if (group == 0) {
                    rn_zero(c->value_part_16 + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(2) + u0, units);
                }
            }
            RN_COUNTING(if (group == 0) rows_picked += count;)
            /* Two at least: so the sums have one order, wherever a block ends. */
            if (rows > 1 && count == 1) picked[count++] = picked[0];
            for (long tile = 0, tiles = rn_cuts(count, RN_ROWS(1)); tile < tiles; tile++) {
                rn_cut(count, tiles, tile, &from, &to);
                const real *x_0[RN_ROWS(1)];
                real *value_part_16_row[RN_ROWS(1)];
                for (long j = 0; j < to - from; j++) {
                    const long r = picked[from + j];
                    x_0[j] = c->h + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(12);
                    value_part_16_row[j] = c->value_part_16 + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(2);
                }
                for (long n = group, both; n < group_end; n += both) {
                    both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                    RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                    for (long q = 0; q < both; q++) {
                        const long p = rn_panel(part, n + q);
                        real *const sums = sums_of[q];
                        rn_tile(1, c->packed + PANEL_2 + p * (12 * RN_VL), 12, x_0, (int)(to - from), sums, 0);
                    }
                    for (long q = 0; q < both; q++) {
                        const long u = rn_panel(part, n + q) * RN_VL;
                        const real *const sums = sums_of[q];
                        for (long j = 0; j < to - from; j++) {
                            const long r = picked[from + j];
                            const rn_v z_part = rn_load(sums + (j * 1 + 0) * RN_VL);
                            const rn_v k_z_b = rn_load((c->packed + AT_z_b) + u);
                            const rn_v y_u = rn_load(c->y + r * RN_PAD(2) + u);
                            const rn_v z = z_part + k_z_b;
                            const rn_v value_part_17 = z - y_u;
                            const rn_v value_part_16 = value_part_17 * value_part_17;
                            rn_store(value_part_16_row[j] + u, value_part_16);
                        }
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(3, rows_picked, rn_columns_of(2, 2, part), 12);
}

/* unnamed values
 * elman.rnn:13 */
static void evaluate_4_4(const rn_call *c, long first, long rows, rn_part part)
{
    (void)rows;
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    for (long r = first + part.b0; r < first + part.b1; r += RN_VL) {
        const long n = RN_MIN(RN_VL, first + part.b1 - r);
        const int whole_near_0 = rn_ring(r - near_0, c->near_0 * c->B) + n <= c->near_0 * c->B;
        rn_v at_value_part_16[2];
        if (rn_forget(whole_near_0)) rn_load_entries(at_value_part_16, 2, c->value_part_16 + rn_ring(r - near_0, c->near_0 * c->B) * RN_PAD(2), RN_PAD(2), n);
        else RN_SET_ENTRIES(at_value_part_16, 2, n, c->value_part_16 + rn_ring((r + lane) - near_0, c->near_0 * c->B) * RN_PAD(2));
        rn_v at_value_part_4;
        if (rn_forget(whole_near_0)) at_value_part_4 = rn_load_lanes(c->value_part_4 + rn_ring(r - near_0, c->near_0 * c->B), n);
        else RN_SET_LANES(at_value_part_4, n, *(c->value_part_4 + rn_ring((r + lane) - near_0, c->near_0 * c->B)));
        rn_v value_part_15_all = rn_all(0);
        RN_FOR(k, 2) value_part_15_all = value_part_15_all + at_value_part_16[k];
        const rn_v value_part_15 = rn_where(rn_not(at_value_part_4), value_part_15_all, rn_all(0));
        const rn_v value_part_13 = value_part_15 * rn_all((real)0.5);
        const rn_v at_weights_of_frames = rn_load_lanes(c->weights_of_frames + r, n);
        const rn_v value_part_5 = at_weights_of_frames * value_part_13;
        const rn_v value_part_3 = rn_where(at_value_part_4, rn_all((real)0), value_part_5);
        if (rn_forget(whole_near_0)) rn_store_lanes(c->value_part_3 + rn_ring(r - near_0, c->near_0 * c->B), value_part_3, n);
        else for (long lane = 0; lane < n; lane++) *(c->value_part_3 + rn_ring((r + lane) - near_0, c->near_0 * c->B)) = value_part_3[lane];
    }
}

/* value_part_12: the sum over all frames of weights_of_frames */
static void evaluate_5_value_part_12(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    real *const to = c->value_part_12;
    (void)team;
    if (thread > 0) return;
    int more = !(t0 == 0);
    for (long r = begin; r < end; r += RN_FOLD_MOST) {
        const long rows = RN_MIN(RN_FOLD_MOST, end - r);
        *to = (more ? *to : 0) + rn_row_sum(c->weights_of_frames + r, rows);
        more = 1;
    }
}
/* value_part_2: the sum over all frames of value_part_3 */
static void evaluate_5_value_part_2(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    const long near_0 = rn_ring_begin(begin, c->near_0 * c->B);
    real *const to = c->value_part_2;
    (void)team;
    if (thread > 0) return;
    RN_ALIGNED real a[RN_FOLD_MOST];
    int more = !(t0 == 0);
    for (long r = begin; r < end;) {
        long rows = 0;
        for (; r < end && rows < RN_FOLD_MOST; r++) {
            a[rows] = *(c->value_part_3 + rn_ring(r - near_0, c->near_0 * c->B));
            rows++;
        }
        *to = (more ? *to : 0) + rn_row_sum(a, rows);
        more = 1;
    }
}
/* unnamed values
 * elman.rnn:13 */
static void evaluate_6_5(const rn_call *c, long first, long rows, rn_part part)
{
    (void)rows;
    const rn_v at_value_part_12 = rn_all(*(c->value_part_12));
    const rn_v at_value_part_2 = rn_all(*(c->value_part_2));
    for (long r = first + part.b0; r < first + part.b1; r++) {
        const rn_v value_part_9 = rn_eq(at_value_part_12, rn_all((real)0));
        const rn_v value_part_8 = rn_where(value_part_9, rn_all((real)1), at_value_part_12);
        const rn_v value_part_7 = rn_all((real)1) / value_part_8;
        const rn_v value_part_6 = rn_where(value_part_9, rn_all((real)0), value_part_7);
        const rn_v value_part = at_value_part_2 * value_part_6;
        *(c->value_part) = value_part[0];
    }
}

/* Products that wait for no loop: all frames at once. */
static void evaluate_0(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    run_0_0(c, t0 * c->B, rows,
        rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(12), thread, team->threads));
}

/* A loop forwards through time, one frame a step: each frame needs the one before it.
 * h */
static void evaluate_1(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long frames = t1 - t0;
    if (c->plan && c->plan->streams[1]) {        /* threads take streams, all of time, and never meet */
        long from, to;
        rn_share_streams(c->B, thread, team->threads, &from, &to);
        const long rows = to - from;
        for (long k = 0; k < frames && rows; k++) {
            const long t = t0 + k;
            run_1_1(c, t * c->B + from, rows, rn_zigzag((rn_part){0, rn_cuts(rows, RN_ROWS(1)), 0, RN_PANELS(12), 0}, c->turn + k));
        }
        return;
    }
    for (long k = 0; k < frames; k += 1) {
        {
            const long low = k, high = k + 1;
            const long rows = (high - low) * c->B;
            run_1_1(c, (t0 + low) * c->B, rows,
                rn_zigzag(rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(12), thread, team->threads),
                          c->turn + k));
        }
        RN_COUNT_MEETING_OF(1, thread);
        rn_meet(team, thread);
    }
}

/* All frames at once. */
static void evaluate_2(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    evaluate_2_2(c, t0 * c->B, rows,
        rn_split(rows, 1, thread, team->threads));
}

/* Products that wait for no loop: all frames at once. */
static void evaluate_3(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    evaluate_3_3(c, t0 * c->B, rows,
        rn_split(rn_cuts(rows, RN_PICKED), RN_PANELS(2), thread, team->threads));
}

/* All frames at once. */
static void evaluate_4(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    evaluate_4_4(c, t0 * c->B, rows,
        rn_split(rows, 1, thread, team->threads));
}

/* Sums over frames and streams: every piece has one owner. */
static void evaluate_5(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    evaluate_5_value_part_12(c, team, thread, t0, t1);
    evaluate_5_value_part_2(c, team, thread, t0, t1);
}

/* Constants that wait for a sum. */
static void evaluate_6(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    (void)team, (void)t0, (void)t1;
    if (thread == 0) evaluate_6_5(c, 0, 1, (rn_part){0, 1, 0, 1, 0});
}

static size_t rn_layout_evaluate(rn_call *c, void *workspace, long T, long B)
{
    rn_space at = {(uintptr_t)workspace, 0};
    const long R = T * B;
    (void)R;
    c->flags = rn_give(&at, (2 * RN_MOST_THREADS + 7) * sizeof(rn_flag));
    c->since = rn_give(&at, (size_t)R * sizeof(int64_t));
    c->near_0 = RN_MIN(T, 2 * rn_whole_chunk(B, 64, 1, 8) + 1);    /* frames kept of values of one step */
    void *const slot_0 = rn_give(&at, (size_t)(c->near_0 * B * RN_PAD(12)) * sizeof(real));
    void *const slot_1 = rn_give(&at, (size_t)(c->near_0 * B * RN_PAD(2)) * sizeof(real));
    void *const slot_2 = rn_give(&at, (size_t)(c->near_0 * B * 1) * sizeof(real));
    void *const slot_3 = rn_give(&at, (size_t)(c->near_0 * B * 1) * sizeof(real));
    void *const slot_4 = rn_give(&at, (size_t)(c->near_0 * B * RN_PAD(12)) * sizeof(real));
    void *const slot_5 = rn_give(&at, (size_t)(R * RN_PAD(2)) * sizeof(real));
    c->h = slot_0;
    c->value_part_16 = slot_1;
    c->value_part_4 = slot_2;
    c->value_part_3 = slot_3;
    c->h_part_2 = slot_4;
    c->y = slot_5;
    c->value_part_12 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_9 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_8 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_7 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_6 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_2 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->ones = rn_give(&at, (size_t)R * sizeof(real));
    return at.used;
}

static const rn_effort evaluate_works[] = {
    {72, 48, 144, 1, 0, 0, 0, 0, 8, 0},
    {288, 252, 576, 1, 1, 1, 0, 1, 8, 0},
    {0, 1, 0, 0, 0, 0, 0, 2, 8, 0},
    {48, 30, 96, 1, 0, 0, 0, 3, 8, 0},
    {0, 5, 0, 0, 0, 0, 0, 4, 8, 0},
    {0, 2, 0, 0, 0, 0, 0, 5, 8, 0},
    {0, 0, 0, 0, 0, 0, 1, -1, 0, 1},
};
static const rn_need evaluate_0_needs[] = { {1, RN_ROOM} };
static const rn_need evaluate_1_needs[] = { {0, RN_CHUNK}, {3, RN_ROOM} };
static const rn_need evaluate_2_needs[] = { {3, RN_ROOM}, {4, RN_ROOM} };
static const rn_need evaluate_3_needs[] = { {1, RN_CHUNK}, {2, RN_CHUNK}, {4, RN_ROOM} };
static const rn_need evaluate_4_needs[] = { {2, RN_CHUNK}, {3, RN_CHUNK}, {5, RN_ROOM} };
static const rn_need evaluate_5_needs[] = { {4, RN_CHUNK} };
static const rn_need evaluate_6_needs[] = { {5, RN_WHOLE} };
static const unsigned char evaluate_streams[] = { RN_NEVER, RN_SMALL, RN_NEVER, RN_NEVER, RN_NEVER, RN_NEVER, RN_NEVER };
static void rn_body_evaluate(void *argument, const rn_team *team, int thread)
{
    const rn_call *c = argument;
    rn_walk walk = rn_walk_of(c->plan, team, thread, c->flags + RN_MOST_THREADS), *const w = &walk;
    (void)c;
    {   /* Together, chunk by chunk: what one stage makes is still near when the next one reads it. */
        const long whole = rn_whole_chunk(c->B, 64, 1, 8);
        const long chunk = w->plan ? rn_fine_chunk(whole, 8, c->T) : whole;
        const long chunks = rn_fine_chunks(c->T, whole, chunk);
        w->depth = 2 * (whole / chunk) - (chunk < whole);        /* the last one may be longer */
        for (long k = 0; k < chunks; k++) {
            const long n = k;
            const long t0 = rn_fine_begin(n, chunks, c->T, whole, chunk, 1);
            const long t1 = rn_fine_begin(n + 1, chunks, c->T, whole, chunk, 1);
            if (rn_enter(w, 0, evaluate_0_needs, 1, k)) {
                evaluate_0(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 0, k, chunks);
            }
            if (rn_enter(w, 1, evaluate_1_needs, 2, k)) {
                evaluate_1(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 1, k, chunks);
            }
            if (rn_enter(w, 2, evaluate_2_needs, 2, k)) {
                evaluate_2(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 2, k, chunks);
            }
            if (rn_enter(w, 3, evaluate_3_needs, 3, k)) {
                evaluate_3(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 3, k, chunks);
            }
            if (rn_enter(w, 4, evaluate_4_needs, 3, k)) {
                evaluate_4(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 4, k, chunks);
            }
            if (!w->plan && rn_enter(w, 5, evaluate_5_needs, 1, k)) {
                evaluate_5(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 5, k, chunks);
            }
            if (!w->plan || (t1 % whole && t1 < c->T)) continue;
            /* Crews make sums when a whole chunk is there, and behind the loops: the next crew waits for these. */
            const long begin = (t1 - 1) / whole * whole, end = t1;
            if (rn_enter(w, 5, evaluate_5_needs, 1, k)) {
                evaluate_5(c, &w->team, w->rank, begin, end);
                rn_leave(w, 5, k, chunks);
            }
        }
    }
    if (rn_enter(w, 6, evaluate_6_needs, 1, 0)) {
        evaluate_6(c, &w->team, w->rank, 0, c->T);
        rn_leave(w, 6, 0, 1);
    }
}

/* ================================================================================================ backprop */

/* h[t-1]: its initial value across a start, the state before the call */
RN_INLINE const real *backprop_h_before_1(const rn_call *c, long r)
{
    if (c->since[r] < 1) return c->zeros;
    if (r < c->B) return c->old_h + r * RN_PAD(12);
    return c->h + (r - c->B) * RN_PAD(12);
}
/* value_part_4[t+1]: its initial value after the last frame */
RN_INLINE const real *backprop_value_part_4_after_1(const rn_call *c, long r, long turn)
{
    if (c->left[r] < 1) return c->zeros;
    return c->value_part_4 + rn_ring(r + c->B - turn, c->near_2 * c->B) * RN_PAD(12);
}
/* unnamed values
 * elman.rnn:9 */
static void backprop_0_0(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    const long products = part.p1 - part.p0, cuts = rn_cuts(rows, RN_ROWS(1));
    const long together = rn_together(part, products, 2048);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from, to;
            rn_cut(rows, cuts, block, &from, &to);
            from += first, to += first;
            const real *x_0[RN_ROWS(1)];
            real *h_part_2_row[RN_ROWS(1)];
            for (long r = from; r < to; r++) {
                x_0[r - from] = c->x + r * 3;
                h_part_2_row[r - from] = c->h_part_2 + (r - near_0) * RN_PAD(12);
            }
            for (long n = group, both; n < group_end; n += both) {
                both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                for (long q = 0; q < both; q++) {
                    const long p = rn_panel(part, n + q);
                    real *const sums = sums_of[q];
                    rn_tile(1, c->packed + PANEL_0 + p * (3 * RN_VL), 3, x_0, (int)(to - from), sums, 0);
                }
                for (long q = 0; q < both; q++) {
                    const long u = rn_panel(part, n + q) * RN_VL;
                    const real *const sums = sums_of[q];
                    for (long j = 0; j < to - from; j++) {
                        const rn_v h_part_4 = rn_load(sums + (j * 1 + 0) * RN_VL);
                        const rn_v k_b = rn_load((c->packed + AT_b) + u);
                        const rn_v h_part_2 = h_part_4 + k_b;
                        rn_store(h_part_2_row[j] + u, h_part_2);
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(0, rn_rows_of(rows, cuts, part), rn_columns_of(12, 12, part), 3);
}

/* h
 * elman.rnn:9 */
static void backprop_1_1(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    const long products = part.p1 - part.p0, cuts = rn_cuts(rows, RN_ROWS(1));
    const long together = rn_together(part, products, 512);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from, to;
            rn_cut(rows, cuts, block, &from, &to);
            from += first, to += first;
            const real *x_0[RN_ROWS(1)];
            const real *h_part_2_row[RN_ROWS(1)];
            for (long r = from; r < to; r++) {
                x_0[r - from] = backprop_h_before_1(c, r);
                h_part_2_row[r - from] = c->h_part_2 + (r - near_0) * RN_PAD(12);
            }
            if (group == 0) rn_fetch_rows(x_0, to - from, 12);    /* what other threads have just made */
            for (long n = group, both; n < group_end; n += both) {
                both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                for (long q = 0; q < both; q++) {
                    const long p = rn_panel(part, n + q);
                    real *const sums = sums_of[q];
                    rn_tile(1, c->packed + PANEL_1 + p * (12 * RN_VL), 12, x_0, (int)(to - from), sums, 0);
                }
                for (long q = 0; q < both; q++) {
                    const long u = rn_panel(part, n + q) * RN_VL;
                    const real *const sums = sums_of[q];
                    for (long j = 0; j < to - from; j++) {
                        const long r = from + j;
                        const rn_v h_part_3 = rn_load(sums + (j * 1 + 0) * RN_VL);
                        const rn_v h_part_2_row_u = rn_load(h_part_2_row[j] + u);
                        const rn_v h = rn_tanh((h_part_2_row_u + h_part_3));
                        rn_store(c->h + r * RN_PAD(12) + u, h);
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(1, rn_rows_of(rows, cuts, part), rn_columns_of(12, 12, part), 12);
}

/* z
 * dense.rnn:11, elman.rnn:10, elman.rnn:13 */
static void backprop_2_2(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    const long products = part.p1 - part.p0, cuts = rn_cuts(rows, RN_ROWS(1));
    const long together = rn_together(part, products, 512);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from, to;
            rn_cut(rows, cuts, block, &from, &to);
            from += first, to += first;
            const real *x_0[RN_ROWS(1)];
            real *value_part_25_row[RN_ROWS(1)];
            for (long r = from; r < to; r++) {
                x_0[r - from] = c->h + r * RN_PAD(12);
                value_part_25_row[r - from] = c->value_part_25 + (r - near_0) * RN_PAD(2);
            }
            for (long n = group, both; n < group_end; n += both) {
                both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                for (long q = 0; q < both; q++) {
                    const long p = rn_panel(part, n + q);
                    real *const sums = sums_of[q];
                    rn_tile(1, c->packed + PANEL_2 + p * (12 * RN_VL), 12, x_0, (int)(to - from), sums, 0);
                }
                for (long q = 0; q < both; q++) {
                    const long u = rn_panel(part, n + q) * RN_VL;
                    const real *const sums = sums_of[q];
                    for (long j = 0; j < to - from; j++) {
                        const long r = from + j;
                        const rn_v z_part = rn_load(sums + (j * 1 + 0) * RN_VL);
                        const rn_v k_z_b = rn_load((c->packed + AT_z_b) + u);
                        const rn_v y_u = rn_load(c->y + r * RN_PAD(2) + u);
                        const rn_v z = z_part + k_z_b;
                        const rn_v value_part_25 = z - y_u;
                        rn_store(c->z + r * RN_PAD(2) + u, z);
                        rn_store(value_part_25_row[j] + u, value_part_25);
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(2, rn_rows_of(rows, cuts, part), rn_columns_of(2, 2, part), 12);
}

/* unnamed values
 * elman.rnn:13 */
static void backprop_3_3(const rn_call *c, long first, long rows, rn_part part)
{
    (void)rows;
    const long near_0 = rn_ring_begin(first, c->near_0 * c->B);
    for (long r = first + part.b0; r < first + part.b1; r += RN_VL) {
        const long n = RN_MIN(RN_VL, first + part.b1 - r);
        rn_v at_value_part_25[2];
        rn_load_entries(at_value_part_25, 2, c->value_part_25 + (r - near_0) * RN_PAD(2), RN_PAD(2), n);
        rn_v value_part_24[2];
        RN_FOR(u, 2) value_part_24[u] = at_value_part_25[u] * at_value_part_25[u];
        rn_v value_part_23 = rn_all(0);
        RN_FOR(k, 2) value_part_23 = value_part_23 + value_part_24[k];
        const rn_v value_part_21 = value_part_23 * rn_all((real)0.5);
        const rn_v at_weights_of_frames = rn_load_lanes(c->weights_of_frames + r, n);
        const rn_v value_part_13 = at_weights_of_frames * value_part_21;
        const rn_v value_part_12 = rn_eq(at_weights_of_frames, rn_all((real)0));
        const rn_v value_part_11 = rn_where(value_part_12, rn_all((real)0), value_part_13);
        rn_store_lanes(c->value_part_12 + r, value_part_12, n);
        rn_store_lanes(c->value_part_11 + (r - near_0), value_part_11, n);
    }
}

/* value_part_20: the sum over all frames of weights_of_frames */
static void backprop_4_value_part_20(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    real *const to = c->value_part_20;
    (void)team;
    if (thread > 0) return;
    int more = !(t0 == 0);
    for (long r = begin; r < end; r += RN_FOLD_MOST) {
        const long rows = RN_MIN(RN_FOLD_MOST, end - r);
        *to = (more ? *to : 0) + rn_row_sum(c->weights_of_frames + r, rows);
        more = 1;
    }
}
/* value_part_10: the sum over all frames of value_part_11 */
static void backprop_4_value_part_10(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    const long near_0 = rn_ring_begin(begin, c->near_0 * c->B);
    real *const to = c->value_part_10;
    (void)team;
    if (thread > 0) return;
    int more = !(t0 == 0);
    for (long r = begin; r < end; r += RN_FOLD_MOST) {
        const long rows = RN_MIN(RN_FOLD_MOST, end - r);
        *to = (more ? *to : 0) + rn_row_sum(c->value_part_11 + (r - near_0), rows);
        more = 1;
    }
}
/* unnamed values */
static void backprop_5_4(const rn_call *c, long first, long rows, rn_part part)
{
    (void)rows;
    const rn_v at_value_part_20 = rn_all(*(c->value_part_20));
    for (long r = first + part.b0; r < first + part.b1; r++) {
        const rn_v value_part_17 = rn_eq(at_value_part_20, rn_all((real)0));
        const rn_v value_part_16 = rn_where(value_part_17, rn_all((real)1), at_value_part_20);
        const rn_v value_part_15 = rn_all((real)1) / value_part_16;
        const rn_v value_part_14 = rn_where(value_part_17, rn_all((real)0), value_part_15);
        *(c->value_part_14) = value_part_14[0];
    }
}

/* d_z
 * elman.rnn:13 */
static void backprop_6_5(const rn_call *c, long first, long rows, rn_part part)
{
    (void)rows;
    const long near_2 = rn_ring_begin(first, c->near_2 * c->B);
    const rn_v at_value_part_14 = rn_all(*(c->value_part_14));
    for (long r = first + part.b0; r < first + part.b1; r += RN_VL) {
        const long n = RN_MIN(RN_VL, first + part.b1 - r);
        const int whole_near_2 = rn_ring(r - near_2, c->near_2 * c->B) + n <= c->near_2 * c->B;
        const rn_v at_weights_of_frames = rn_load_lanes(c->weights_of_frames + r, n);
        const rn_v d_z_part_7 = at_weights_of_frames * at_value_part_14;
        const rn_v at_value_part_12 = rn_load_lanes(c->value_part_12 + r, n);
        const rn_v d_z_part_6 = rn_where(at_value_part_12, rn_all((real)0), d_z_part_7);
        const rn_v d_z_part_5 = d_z_part_6 * rn_all((real)0.5);
        rn_v at_z[2];
        rn_load_entries(at_z, 2, c->z + r * RN_PAD(2), RN_PAD(2), n);
        rn_v at_y[2];
        rn_load_entries(at_y, 2, c->y + r * RN_PAD(2), RN_PAD(2), n);
        rn_v d_z_part_4[2];
        RN_FOR(u, 2) d_z_part_4[u] = at_z[u] - at_y[u];
        rn_v d_z_part_3[2];
        RN_FOR(u, 2) d_z_part_3[u] = d_z_part_5 * d_z_part_4[u];
        rn_v d_z_part[2];
        RN_FOR(u, 2) d_z_part[u] = rn_where(at_value_part_12, rn_all((real)0), d_z_part_3[u]);
        rn_v d_z[2];
        RN_FOR(u, 2) d_z[u] = d_z_part[u] + d_z_part[u];
        if (rn_forget(whole_near_2)) rn_store_entries(c->d_z + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(2), 2, d_z, RN_PAD(2), n);
        else for (long lane = 0; lane < n; lane++) RN_FOR(u, 2) (c->d_z + rn_ring((r + lane) - near_2, c->near_2 * c->B) * RN_PAD(2))[u] = d_z[u][lane];
    }
}

/* value_part_8: the sum over all frames of d_z */
static void backprop_7_value_part_8(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    const long near_2 = rn_ring_begin(begin, c->near_2 * c->B);
    real *const to = c->value_part_8;
    long u0, u1;
    const real *a_rows[RN_FOLD_MOST];
    rn_share(2, thread, team->threads, &u0, &u1);
    const rn_rows of = {NULL, 0, a_rows, u0};
    int more = !(t1 == c->T);
    for (long r = begin; r < end;) {
        long rows = 0;
        for (; r < end && rows < RN_FOLD_MOST; r++) {
            if (!(*(c->value_part_12 + r) == 0)) continue;
            a_rows[rows] = c->d_z + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(2);
            rows++;
        }
        if (rows == 0 && more) break;
        rn_fold_sum(to + u0, u1 - u0, &of, rows, more);
        more = 1;
    }
}
/* value_part_7: the sum over all frames of d_z times h transposed */
static void backprop_7_value_part_7(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    const long near_2 = rn_ring_begin(begin, c->near_2 * c->B);
    const rn_share2 mine = rn_fold_share(2, 12, thread, team->threads);
    real *const to = c->value_part_7;
    const real *a_rows[RN_FOLD_MOST], *x_rows[RN_FOLD_MOST];
    int more = !(t1 == c->T);
    RN_COUNTING(long taken = 0;)
    for (long r = begin; r < end;) {
        long rows = 0;
        for (; r < end && rows < RN_FOLD_MOST; r++) {
            if (!(*(c->value_part_12 + r) == 0)) continue;
            a_rows[rows] = c->d_z + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(2);
            x_rows[rows] = c->h + r * RN_PAD(12);
            rows++;
        }
        if (rows == 0 && more) break;
        rn_fold_rows(to, 12, a_rows, x_rows, rows, mine, more);
        more = 1;
        RN_COUNTING(taken += rows;)
    }
    RN_COUNT_PRODUCT(7, mine.m1 - mine.m0, mine.k1 - mine.k0, taken);
}
/* unnamed values
 * dense.rnn:11 */
static void backprop_8_6(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_2 = rn_ring_begin(first, c->near_2 * c->B);
    const long products = part.p1 - part.p0;
    const long u0 = part.p0 * RN_VL, units = RN_MIN(12, part.p1 * RN_VL) - u0;
    RN_COUNTING(long rows_picked = 0;)
    const long together = rn_together(part, products, 3072);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from = block * RN_PICKED, to = RN_MIN(rows, from + RN_PICKED);
            long picked[RN_PICKED], count = 0;    /* rows that somebody asks for; the others are zero */
            for (long r = first + from; r < first + to; r++) {
                if (*(c->value_part_12 + r) == 0) {
                    picked[count++] = r;
                } else if (group == 0) {
                    rn_zero(c->d_h_part_2 + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(12) + u0, units);
                }
            }
            RN_COUNTING(if (group == 0) rows_picked += count;)
            /* Two at least: so the sums have one order, wherever a block ends. */
            if (rows > 1 && count == 1) picked[count++] = picked[0];
            for (long tile = 0, tiles = rn_cuts(count, RN_ROWS(1)); tile < tiles; tile++) {
                rn_cut(count, tiles, tile, &from, &to);
                const real *x_0[RN_ROWS(1)];
                real *d_h_part_2_row[RN_ROWS(1)];
                for (long j = 0; j < to - from; j++) {
                    const long r = picked[from + j];
                    x_0[j] = c->d_z + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(2);
                    d_h_part_2_row[j] = c->d_h_part_2 + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(12);
                }
                for (long n = group, both; n < group_end; n += both) {
                    both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                    RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                    for (long q = 0; q < both; q++) {
                        const long p = rn_panel(part, n + q);
                        real *const sums = sums_of[q];
                        rn_tile(1, c->packed + PANEL_3 + p * (2 * RN_VL), 2, x_0, (int)(to - from), sums, 0);
                    }
                    for (long q = 0; q < both; q++) {
                        const long u = rn_panel(part, n + q) * RN_VL;
                        const real *const sums = sums_of[q];
                        for (long j = 0; j < to - from; j++) {
                            const rn_v d_h_part_2 = rn_load(sums + (j * 1 + 0) * RN_VL);
                            rn_store(d_h_part_2_row[j] + u, d_h_part_2);
                        }
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(8, rows_picked, rn_columns_of(12, 12, part), 2);
}

/* d_h
 * elman.rnn:9 */
static void backprop_9_7(const rn_call *c, long first, long rows, rn_part part)
{
    const long near_2 = rn_ring_begin(first, c->near_2 * c->B);
    const long products = part.p1 - part.p0, cuts = rn_cuts(rows, RN_ROWS(1));
    const long together = rn_together(part, products, 512);
    for (long group = 0; group < products; group += together) {
        const long group_end = RN_MIN(group + together, products);
        for (long block = part.b0; block < part.b1; block++) {
            long from, to;
            rn_cut(rows, cuts, block, &from, &to);
            from += first, to += first;
            const real *x_0[RN_ROWS(1)];
            const real *d_h_part_2_row[RN_ROWS(1)];
            real *value_part_4_row[RN_ROWS(1)];
            for (long r = from; r < to; r++) {
                x_0[r - from] = backprop_value_part_4_after_1(c, r, near_2);
                d_h_part_2_row[r - from] = c->d_h_part_2 + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(12);
                value_part_4_row[r - from] = c->value_part_4 + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(12);
            }
            if (group == 0) rn_fetch_rows(x_0, to - from, 12);    /* what other threads have just made */
            for (long n = group, both; n < group_end; n += both) {
                both = RN_MIN(to - from == 1 ? RN_PAIR : 1, group_end - n);
                RN_ALIGNED real sums_of[RN_PAIR][RN_ROWS(1) * 1 * RN_VL];
                for (long q = 0; q < both; q++) {
                    const long p = rn_panel(part, n + q);
                    real *const sums = sums_of[q];
                    rn_tile(1, c->packed + PANEL_4 + p * (12 * RN_VL), 12, x_0, (int)(to - from), sums, 0);
                }
                for (long q = 0; q < both; q++) {
                    const long u = rn_panel(part, n + q) * RN_VL;
                    const real *const sums = sums_of[q];
                    for (long j = 0; j < to - from; j++) {
                        const long r = from + j;
                        const rn_v d_h_part = rn_load(sums + (j * 1 + 0) * RN_VL);
                        const rn_v d_h_part_2_row_u = rn_load(d_h_part_2_row[j] + u);
                        const rn_v h_u = rn_load(c->h + r * RN_PAD(12) + u);
                        const rn_v d_h = d_h_part_2_row_u + d_h_part;
                        const rn_v value_part_4 = d_h * (rn_all((real)1) - (h_u * h_u));
                        rn_store(value_part_4_row[j] + u, value_part_4);
                    }
                }
            }
        }
    }
    RN_COUNT_PRODUCT(9, rn_rows_of(rows, cuts, part), rn_columns_of(12, 12, part), 12);
}

/* value_part_3: the sum over all frames of value_part_4 times h[t-1] transposed */
static void backprop_10_value_part_3(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    const long near_2 = rn_ring_begin(begin, c->near_2 * c->B);
    const rn_share2 mine = rn_fold_share(12, 12, thread, team->threads);
    real *const to = c->value_part_3;
    const real *a_rows[RN_FOLD_MOST], *x_rows[RN_FOLD_MOST];
    int more = !(t1 == c->T);
    RN_COUNTING(long taken = 0;)
    for (long r = begin; r < end;) {
        long rows = 0;
        for (; r < end && rows < RN_FOLD_MOST; r++) {
            a_rows[rows] = c->value_part_4 + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(12);
            x_rows[rows] = backprop_h_before_1(c, r);
            rows++;
        }
        rn_fold_rows(to, 12, a_rows, x_rows, rows, mine, more);
        more = 1;
        RN_COUNTING(taken += rows;)
    }
    RN_COUNT_PRODUCT(10, mine.m1 - mine.m0, mine.k1 - mine.k0, taken);
}
/* value_part_2: the sum over all frames of value_part_4 times x transposed */
static void backprop_10_value_part_2(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    const long near_2 = rn_ring_begin(begin, c->near_2 * c->B);
    const rn_share2 mine = rn_fold_share(12, 3, thread, team->threads);
    real *const to = c->value_part_2;
    const real *a_rows[RN_FOLD_MOST], *x_rows[RN_FOLD_MOST];
    int more = !(t1 == c->T);
    RN_COUNTING(long taken = 0;)
    for (long r = begin; r < end;) {
        long rows = 0;
        for (; r < end && rows < RN_FOLD_MOST; r++) {
            a_rows[rows] = c->value_part_4 + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(12);
            x_rows[rows] = c->x + r * 3;
            rows++;
        }
        rn_fold_rows(to, 3, a_rows, x_rows, rows, mine, more);
        more = 1;
        RN_COUNTING(taken += rows;)
    }
    RN_COUNT_PRODUCT(10, mine.m1 - mine.m0, mine.k1 - mine.k0, taken);
}
/* value_part: the sum over all frames of value_part_4 */
static void backprop_10_value_part(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long begin = t0 * c->B, end = t1 * c->B;
    const long near_2 = rn_ring_begin(begin, c->near_2 * c->B);
    real *const to = c->value_part;
    long u0, u1;
    const real *a_rows[RN_FOLD_MOST];
    rn_share(12, thread, team->threads, &u0, &u1);
    const rn_rows of = {NULL, 0, a_rows, u0};
    int more = !(t1 == c->T);
    for (long r = begin; r < end;) {
        long rows = 0;
        for (; r < end && rows < RN_FOLD_MOST; r++) {
            a_rows[rows] = c->value_part_4 + rn_ring(r - near_2, c->near_2 * c->B) * RN_PAD(12);
            rows++;
        }
        rn_fold_sum(to + u0, u1 - u0, &of, rows, more);
        more = 1;
    }
}
/* unnamed values
 * elman.rnn:13 */
static void backprop_11_8(const rn_call *c, long first, long rows, rn_part part)
{
    (void)rows;
    const rn_v at_value_part_10 = rn_all(*(c->value_part_10));
    const rn_v at_value_part_14 = rn_all(*(c->value_part_14));
    for (long r = first + part.b0; r < first + part.b1; r++) {
        const rn_v value_part_9 = at_value_part_10 * at_value_part_14;
        *(c->value_part_9) = value_part_9[0];
    }
}

/* Products that wait for no loop: all frames at once. */
static void backprop_0(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    backprop_0_0(c, t0 * c->B, rows,
        rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(12), thread, team->threads));
}

/* A loop forwards through time, one frame a step: each frame needs the one before it.
 * h */
static void backprop_1(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long frames = t1 - t0;
    if (c->plan && c->plan->streams[1]) {        /* threads take streams, all of time, and never meet */
        long from, to;
        rn_share_streams(c->B, thread, team->threads, &from, &to);
        const long rows = to - from;
        for (long k = 0; k < frames && rows; k++) {
            const long t = t0 + k;
            backprop_1_1(c, t * c->B + from, rows, rn_zigzag((rn_part){0, rn_cuts(rows, RN_ROWS(1)), 0, RN_PANELS(12), 0}, c->turn + k));
        }
        return;
    }
    for (long k = 0; k < frames; k += 1) {
        {
            const long low = k, high = k + 1;
            const long rows = (high - low) * c->B;
            backprop_1_1(c, (t0 + low) * c->B, rows,
                rn_zigzag(rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(12), thread, team->threads),
                          c->turn + k));
        }
        RN_COUNT_MEETING_OF(1, thread);
        rn_meet(team, thread);
    }
}

/* Products that wait for no loop: all frames at once. */
static void backprop_2(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    backprop_2_2(c, t0 * c->B, rows,
        rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(2), thread, team->threads));
}

/* All frames at once. */
static void backprop_3(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    backprop_3_3(c, t0 * c->B, rows,
        rn_split(rows, 1, thread, team->threads));
}

/* Sums over frames and streams: every piece has one owner. */
static void backprop_4(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    backprop_4_value_part_20(c, team, thread, t0, t1);
    backprop_4_value_part_10(c, team, thread, t0, t1);
}

/* Constants that wait for a sum. */
static void backprop_5(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    (void)team, (void)t0, (void)t1;
    if (thread == 0) backprop_5_4(c, 0, 1, (rn_part){0, 1, 0, 1, 0});
}

/* All frames at once. */
static void backprop_6(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    backprop_6_5(c, t0 * c->B, rows,
        rn_split(rows, 1, thread, team->threads));
}

/* Sums over frames and streams: every piece has one owner. */
static void backprop_7(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    backprop_7_value_part_8(c, team, thread, t0, t1);
    backprop_7_value_part_7(c, team, thread, t0, t1);
}

/* Products that wait for no loop: all frames at once. */
static void backprop_8(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long rows = (t1 - t0) * c->B;
    backprop_8_6(c, t0 * c->B, rows,
        rn_split(rn_cuts(rows, RN_PICKED), RN_PANELS(12), thread, team->threads));
}

/* A loop backwards through time, one frame a step: each frame needs the one before it.
 * d_h */
static void backprop_9(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    const long frames = t1 - t0;
    if (c->plan && c->plan->streams[9]) {        /* threads take streams, all of time, and never meet */
        long from, to;
        rn_share_streams(c->B, thread, team->threads, &from, &to);
        const long rows = to - from;
        for (long k = 0; k < frames && rows; k++) {
            const long t = t1 - 1 - k;
            backprop_9_7(c, t * c->B + from, rows, rn_zigzag((rn_part){0, rn_cuts(rows, RN_ROWS(1)), 0, RN_PANELS(12), 0}, c->turn + k));
        }
        return;
    }
    for (long k = 0; k < frames; k += 1) {
        {
            const long low = k, high = k + 1;
            const long rows = (high - low) * c->B;
            backprop_9_7(c, (t1 - high) * c->B, rows,
                rn_zigzag(rn_split(rn_cuts(rows, RN_ROWS(1)), RN_PANELS(12), thread, team->threads),
                          c->turn + k));
        }
        RN_COUNT_MEETING_OF(9, thread);
        rn_meet(team, thread);
    }
}

/* Sums over frames and streams: every piece has one owner. */
static void backprop_10(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    backprop_10_value_part_3(c, team, thread, t0, t1);
    backprop_10_value_part_2(c, team, thread, t0, t1);
    backprop_10_value_part(c, team, thread, t0, t1);
}

/* Constants that wait for a sum. */
static void backprop_11(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{
    (void)team, (void)t0, (void)t1;
    if (thread == 0) backprop_11_8(c, 0, 1, (rn_part){0, 1, 0, 1, 0});
}

static size_t rn_layout_backprop(rn_call *c, void *workspace, long T, long B)
{
    rn_space at = {(uintptr_t)workspace, 0};
    const long R = T * B;
    (void)R;
    c->flags = rn_give(&at, (2 * RN_MOST_THREADS + 12) * sizeof(rn_flag));
    c->since = rn_give(&at, (size_t)R * sizeof(int64_t));
    c->left = rn_give(&at, (size_t)R * sizeof(int64_t));
    c->near_0 = RN_MIN(T, 2 * rn_whole_chunk(B, 64, 1, 8) + 0);    /* frames kept of values of one step */
    c->near_2 = RN_MIN(T, 2 * rn_whole_chunk(B, 64, 1, 8) + 1);    /* frames kept of values of one step */
    void *const slot_0 = rn_give(&at, (size_t)(R * RN_PAD(12)) * sizeof(real));
    void *const slot_1 = rn_give(&at, (size_t)(R * RN_PAD(2)) * sizeof(real));
    void *const slot_2 = rn_give(&at, (size_t)(c->near_0 * B * RN_PAD(2)) * sizeof(real));
    void *const slot_3 = rn_give(&at, (size_t)(R) * sizeof(real));
    void *const slot_4 = rn_give(&at, (size_t)(c->near_0 * B * 1) * sizeof(real));
    void *const slot_5 = rn_give(&at, (size_t)(c->near_0 * B * RN_PAD(12)) * sizeof(real));
    void *const slot_6 = rn_give(&at, (size_t)(c->near_2 * B * RN_PAD(2)) * sizeof(real));
    void *const slot_7 = rn_give(&at, (size_t)(c->near_2 * B * RN_PAD(12)) * sizeof(real));
    void *const slot_8 = rn_give(&at, (size_t)(c->near_2 * B * RN_PAD(12)) * sizeof(real));
    void *const slot_9 = rn_give(&at, (size_t)(R * RN_PAD(2)) * sizeof(real));
    c->h = slot_0;
    c->z = slot_1;
    c->value_part_25 = slot_2;
    c->value_part_12 = slot_3;
    c->value_part_11 = slot_4;
    c->h_part_2 = slot_5;
    c->d_z = slot_6;
    c->d_h_part_2 = slot_7;
    c->value_part_4 = slot_8;
    c->y = slot_9;
    c->value_part_20 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_17 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_16 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_15 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_14 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_10 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_9 = rn_give(&at, RN_PAD(1) * sizeof(real));
    c->value_part_8 = rn_give(&at, RN_PAD(2) * sizeof(real));
    c->value_part_7 = rn_give(&at, RN_PAD(24) * sizeof(real));
    c->value_part_3 = rn_give(&at, RN_PAD(144) * sizeof(real));
    c->value_part_2 = rn_give(&at, RN_PAD(36) * sizeof(real));
    c->value_part = rn_give(&at, RN_PAD(12) * sizeof(real));
    c->ones = rn_give(&at, (size_t)R * sizeof(real));
    return at.used;
}

static const rn_effort backprop_works[] = {
    {72, 48, 144, 1, 0, 0, 0, 0, 8, 0},
    {288, 252, 576, 1, 1, 1, 0, 1, 8, 0},
    {48, 28, 96, 1, 0, 0, 0, 2, 8, 0},
    {0, 8, 0, 0, 0, 0, 0, 3, 8, 0},
    {0, 2, 0, 0, 0, 0, 0, 4, 8, 0},
    {0, 0, 0, 0, 0, 0, 1, -1, 0, 1},
    {0, 11, 0, 0, 0, 0, 1, 6, 8, 2},
    {48, 2, 0, 0, 0, 0, 1, 7, 8, 2},
    {48, 24, 96, 1, 0, 0, 1, 8, 8, 2},
    {288, 192, 576, 1, 1, 1, 1, 9, 8, 2},
    {360, 12, 0, 0, 0, 0, 1, 10, 8, 2},
    {0, 0, 0, 0, 0, 0, 2, -1, 0, 3},
};
static const rn_need backprop_0_needs[] = { {1, RN_ROOM} };
static const rn_need backprop_1_needs[] = { {0, RN_CHUNK} };
static const rn_need backprop_2_needs[] = { {1, RN_CHUNK}, {3, RN_ROOM} };
static const rn_need backprop_3_needs[] = { {2, RN_CHUNK}, {4, RN_ROOM} };
static const rn_need backprop_4_needs[] = { {3, RN_CHUNK} };
static const rn_need backprop_5_needs[] = { {4, RN_WHOLE} };
static const rn_need backprop_6_needs[] = { {2, RN_WHOLE}, {3, RN_WHOLE}, {5, RN_WHOLE}, {7, RN_ROOM}, {8, RN_ROOM} };
static const rn_need backprop_7_needs[] = { {1, RN_WHOLE}, {3, RN_WHOLE}, {6, RN_CHUNK} };
static const rn_need backprop_8_needs[] = { {3, RN_WHOLE}, {6, RN_CHUNK}, {9, RN_ROOM} };
static const rn_need backprop_9_needs[] = { {1, RN_WHOLE}, {8, RN_CHUNK}, {10, RN_ROOM} };
static const rn_need backprop_10_needs[] = { {1, RN_WHOLE}, {9, RN_CHUNK} };
static const rn_need backprop_11_needs[] = { {4, RN_WHOLE}, {5, RN_WHOLE} };
static const unsigned char backprop_streams[] = { RN_NEVER, RN_SMALL, RN_NEVER, RN_NEVER, RN_NEVER, RN_NEVER, RN_NEVER, RN_NEVER, RN_NEVER, RN_SMALL, RN_NEVER, RN_NEVER };
static void rn_body_backprop(void *argument, const rn_team *team, int thread)
{
    const rn_call *c = argument;
    rn_walk walk = rn_walk_of(c->plan, team, thread, c->flags + RN_MOST_THREADS), *const w = &walk;
    (void)c;
    {   /* Together, chunk by chunk: what one stage makes is still near when the next one reads it. */
        const long whole = rn_whole_chunk(c->B, 64, 1, 8);
        const long chunk = w->plan ? rn_fine_chunk(whole, 8, c->T) : whole;
        const long chunks = rn_fine_chunks(c->T, whole, chunk);
        w->depth = 2 * (whole / chunk) - (chunk < whole);        /* the last one may be longer */
        for (long k = 0; k < chunks; k++) {
            const long n = k;
            const long t0 = rn_fine_begin(n, chunks, c->T, whole, chunk, 1);
            const long t1 = rn_fine_begin(n + 1, chunks, c->T, whole, chunk, 1);
            if (rn_enter(w, 0, backprop_0_needs, 1, k)) {
                backprop_0(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 0, k, chunks);
            }
            if (rn_enter(w, 1, backprop_1_needs, 1, k)) {
                backprop_1(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 1, k, chunks);
            }
            if (rn_enter(w, 2, backprop_2_needs, 2, k)) {
                backprop_2(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 2, k, chunks);
            }
            if (rn_enter(w, 3, backprop_3_needs, 2, k)) {
                backprop_3(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 3, k, chunks);
            }
            if (!w->plan && rn_enter(w, 4, backprop_4_needs, 1, k)) {
                backprop_4(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 4, k, chunks);
            }
            if (!w->plan || (t1 % whole && t1 < c->T)) continue;
            /* Crews make sums when a whole chunk is there, and behind the loops: the next crew waits for these. */
            const long begin = (t1 - 1) / whole * whole, end = t1;
            if (rn_enter(w, 4, backprop_4_needs, 1, k)) {
                backprop_4(c, &w->team, w->rank, begin, end);
                rn_leave(w, 4, k, chunks);
            }
        }
    }
    if (rn_enter(w, 5, backprop_5_needs, 1, 0)) {
        backprop_5(c, &w->team, w->rank, 0, c->T);
        rn_leave(w, 5, 0, 1);
    }
    {   /* Together, chunk by chunk: what one stage makes is still near when the next one reads it. */
        const long whole = rn_whole_chunk(c->B, 64, 1, 8);
        const long chunk = w->plan ? rn_fine_chunk(whole, 8, c->T) : whole;
        const long chunks = rn_fine_chunks(c->T, whole, chunk);
        w->depth = 2 * (whole / chunk) - (chunk < whole);        /* the last one may be longer */
        for (long k = 0; k < chunks; k++) {
            const long n = chunks - 1 - k;
            const long t0 = rn_fine_begin(n, chunks, c->T, whole, chunk, -1);
            const long t1 = rn_fine_begin(n + 1, chunks, c->T, whole, chunk, -1);
            if (rn_enter(w, 6, backprop_6_needs, 5, k)) {
                backprop_6(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 6, k, chunks);
            }
            if (!w->plan && rn_enter(w, 7, backprop_7_needs, 3, k)) {
                backprop_7(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 7, k, chunks);
            }
            if (rn_enter(w, 8, backprop_8_needs, 3, k)) {
                backprop_8(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 8, k, chunks);
            }
            if (rn_enter(w, 9, backprop_9_needs, 3, k)) {
                backprop_9(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 9, k, chunks);
            }
            if (!w->plan && rn_enter(w, 10, backprop_10_needs, 2, k)) {
                backprop_10(c, &w->team, w->rank, t0, t1);
                rn_leave(w, 10, k, chunks);
            }
            if (!w->plan || t0 % whole) continue;
            /* Crews make sums when a whole chunk is there, and behind the loops: the next crew waits for these. */
            const long begin = t0, end = RN_MIN(c->T, t0 + whole);
            if (rn_enter(w, 7, backprop_7_needs, 3, k)) {
                backprop_7(c, &w->team, w->rank, begin, end);
                rn_leave(w, 7, k, chunks);
            }
            if (rn_enter(w, 10, backprop_10_needs, 2, k)) {
                backprop_10(c, &w->team, w->rank, begin, end);
                rn_leave(w, 10, k, chunks);
            }
        }
    }
    if (rn_enter(w, 11, backprop_11_needs, 2, 0)) {
        backprop_11(c, &w->team, w->rank, 0, c->T);
        rn_leave(w, 11, 0, 1);
    }
}

/* ------------------------------------------------------------------------------------------------ functions */

enum { RN_OK, RN_NO_FRAMES, RN_NO_INPUT, RN_OTHER_STATE, RN_BLOB_SIZE, RN_BLOB_KIND, RN_BLOB_GRAPH, RN_NO_MEMORY, RN_LOOKS_AHEAD };

/* Threads for a call: what is asked for, or as many as its work allows (one below some 50 microseconds). */
RN_INLINE int rn_threads(int threads, double work, const elman_tuning *tuning)
{
    if (threads > 0) return threads;
#ifdef _OPENMP
    const double speed = tuning && tuning->flops_per_second > 0 ? tuning->flops_per_second : 5e10;
    const double share = work / speed / 20e-6;
    if (share < 2) return 1;
    const int most = omp_get_num_procs();
    return share < most ? (int)share : most;
#else
    (void)work, (void)tuning;
    return 1;
#endif
}

/* `fresh`: there need be no state. */
RN_INLINE int rn_refuse(const void *packed, const void *state, int fresh, const void *workspace, int frames, int streams)
{
    const rn_state_head *head = state;
    if (frames < 1 || streams < 1) return RN_NO_FRAMES;
    if (!packed || !workspace || !(state || fresh)) return RN_NO_MEMORY;
    if (state && (head->hash != RN_HASH || head->streams != streams || head->size != sizeof(real))) return RN_OTHER_STATE;
    return RN_OK;
}

/* The counters of a call: frames since the start (and, if anything looks ahead, frames that follow; if anything has one
 * value per sequence, where each of these begins and ends). */
RN_INLINE void rn_counters(rn_call *c, const void *state, const uint8_t *starts, int ahead, int spans)
{
    if (spans) c->S = rn_fill_spans((rn_span *)(uintptr_t)c->spans, (long *)(uintptr_t)c->sequence, starts, c->T, c->B);
    c->turn = state ? rn_state_count(state)[0] : 0;
    c->unbroken = !starts;
    rn_fill_since((int64_t *)(uintptr_t)c->since, rn_state_count(state), starts, c->T, c->B);
    if (ahead) rn_fill_left((int64_t *)(uintptr_t)c->left, c->since, c->T, c->B);
}

RN_INLINE void rn_count_on(const rn_call *c, void *state)
{
    for (long b = 0; b < c->B; b++) rn_state_count(state)[b] = c->since[(c->T - 1) * c->B + b] + 1;
}

RN_INLINE void rn_start(rn_call *c, const void *packed, int frames, int streams)
{
    const real *zeros = rn_zeros;
    /* What stands there is hidden from the compiler: in the code of a step it would multiply the zeros before a start
     * by itself, and not fuse the addition that follows with the product of other frames, as a run does. */
    __asm__("" : "+r"(zeros));
    memset(c, 0, sizeof *c);
    c->T = frames, c->B = streams, c->R = (long)frames * streams;
    c->packed = packed, c->zeros = zeros;
}

RN_FUNCTION void rn_go(rn_call *c, rn_body body, int asked, double work, const elman_tuning *tuning,
    const rn_effort *works, const unsigned char *streams, int stages)
{
    int threads = rn_threads(asked, work * (double)c->R, tuning);
    rn_host host = {tuning ? tuning->run : NULL, tuning ? tuning->context : NULL};
    rn_plan plan;
    if (asked <= 0 && works && threads > 1)
        threads = rn_worth(works, streams, stages, threads, c->T, c->B, tuning ? tuning->flops_per_second : 0);
    if (streams && threads > 1) {
        rn_choose(&plan, works, streams, stages, threads, c->T, c->B, tuning ? tuning->plan : RN_PLAN_FREE);
        if (plan.threads) c->plan = &plan;
        if (plan.crews) rn_flags_clear(c->flags + RN_MOST_THREADS, RN_MOST_THREADS + stages);
    }
    rn_parallel(threads, c->flags, body, c, &host);
    c->plan = NULL;
}

#if RN_HALF != 1                              /* what does not train */
int elman_plan(int program, int frames, int streams, int threads, const elman_tuning *tuning,
    int *crews, int *by_streams, double *seconds)
{
    rn_plan plan;
    switch (program) {
    case 0:
        if (!crews) return 3;
        rn_choose(&plan, run_works, run_streams, 3, threads, frames, streams, tuning ? tuning->plan : RN_PLAN_FREE);
        for (int s = 0; s < 3; s++) crews[s] = plan.crew[s], by_streams[s] = plan.streams[s];
        memcpy(seconds, plan.seconds, sizeof plan.seconds);
        return 3;
    case 1:
        if (!crews) return 7;
        rn_choose(&plan, evaluate_works, evaluate_streams, 7, threads, frames, streams, tuning ? tuning->plan : RN_PLAN_FREE);
        for (int s = 0; s < 7; s++) crews[s] = plan.crew[s], by_streams[s] = plan.streams[s];
        memcpy(seconds, plan.seconds, sizeof plan.seconds);
        return 7;
    case 2:
        if (!crews) return 12;
        rn_choose(&plan, backprop_works, backprop_streams, 12, threads, frames, streams, tuning ? tuning->plan : RN_PLAN_FREE);
        for (int s = 0; s < 12; s++) crews[s] = plan.crew[s], by_streams[s] = plan.streams[s];
        memcpy(seconds, plan.seconds, sizeof plan.seconds);
        return 12;
    }
    (void)plan, (void)frames, (void)streams, (void)threads, (void)tuning, (void)crews, (void)by_streams, (void)seconds;
    return 0;
}

/* Behind the last row stands a vector more: one that begins inside a row may be read. */
size_t elman_state_size(int streams) { return streams < 0 ? 0 : rn_state_at(streams, RN_ENTRIES) + RN_LINE; }
size_t elman_state_since(int streams) { (void)streams; return RN_LINE; }
size_t elman_state_entry(int streams, int entry) { return rn_state_at(streams, entry); }
size_t elman_state_row(int entry) { return rn_entries[entry].row; }
size_t elman_packed_size(void) { return rn_up((size_t)RN_PACKED * sizeof(real) + sizeof(rn_v)); }

#define RN_UNCOUNTED (SIZE_MAX / 2 / RN_LINE * RN_LINE)
size_t elman_workspace_size_of(int program, int frames, int streams)
{
    rn_call c;
    size_t size = 0;
    int halved = 0;                            /* so often: a size beyond counting shows in a fraction of the call */
    if (frames < 1 || streams < 1) return 0;
    while (RN_MAX(frames, streams) >> halved > 1024) halved++;
    for (; halved >= 0 && size <= RN_UNCOUNTED / 4; halved--) {
        const long T = ((frames - 1) >> halved) + 1, B = ((streams - 1) >> halved) + 1;
        switch (program) {
        case 0: size = rn_layout_run(&c, NULL, T, B); break;
        case 1: size = rn_layout_evaluate(&c, NULL, T, B); break;
        case 2: size = rn_layout_backprop(&c, NULL, T, B); break;
        }
    }
    return halved < 0 ? size : RN_UNCOUNTED;
}

size_t elman_workspace_size(int frames, int streams)
{
    size_t most = 0;
    for (int program = 0; program < 4; program++) {
        const size_t size = elman_workspace_size_of(program, frames, streams);
        most = RN_MAX(most, size);
    }
    return most;
}

void elman_reset(void *state, int streams)
{
    memset(state, 0, elman_state_size(streams));
    *(rn_state_head *)state = (rn_state_head){RN_HASH, streams, sizeof(real)};
}

void elman_reset_stream(void *state, int streams, int stream)
{
    rn_state_count(state)[stream] = 0;
    for (int e = 0; e < RN_ENTRIES; e++)
        for (long j = 0; j < rn_entries[e].depth; j++)
            memset((char *)rn_state_entry(state, e, streams) + (size_t)(j * streams + stream) * rn_entries[e].row, 0,
                   rn_entries[e].row);
}

void elman_copy_stream(void *to, int i, const void *from, int j)
{
    const long to_streams = ((const rn_state_head *)to)->streams, from_streams = ((const rn_state_head *)from)->streams;
    rn_state_count(to)[i] = rn_state_count(from)[j];
    for (int e = 0; e < RN_ENTRIES; e++)
        for (long k = 0; k < rn_entries[e].depth; k++)
            memcpy((char *)rn_state_entry(to, e, to_streams) + (size_t)(k * to_streams + i) * rn_entries[e].row,
                   (const char *)rn_state_entry(from, e, from_streams) + (size_t)(k * from_streams + j) * rn_entries[e].row,
                   rn_entries[e].row);
}

typedef struct {
    const real *from;
    real *to;
} rn_packing;
static void rn_body_pack(void *argument, const rn_team *team, int thread)
{
    const rn_packing *p = argument;
    rn_pack_all(p->from, p->to, team, thread);
}

/* What lies between calls, on at most `threads` (0: any), and no more than so many operations of a product are worth. */
RN_FUNCTION int rn_between(int threads, double work, const elman_tuning *tuning, rn_body body, void *argument)
{
    rn_flag flags[RN_MOST_THREADS];
    const rn_host host = {tuning ? tuning->run : NULL, tuning ? tuning->context : NULL};
    const int most = rn_threads(0, work, tuning);
    rn_parallel(threads > 0 ? RN_MIN(threads, most) : most, flags, body, argument, &host);
    return RN_OK;
}

/* Some 0.1 ns a number, as much as five operations. */
int elman_pack_threads(const elman_weights *w, void *packed, int threads, const elman_tuning *tuning)
{
    if (!w || !packed) return RN_NO_MEMORY;
    rn_packing packing = {w->values, packed};
    return rn_between(threads, 5.0 * RN_PACKED, tuning, rn_body_pack, &packing);
}

int elman_pack(const elman_weights *w, void *packed)
{
    return elman_pack_threads(w, packed, 1, NULL);
}

/* A call of run; `fresh`: on no state, as on a fresh one; `alone`: on the calling thread. */
RN_INLINE int rn_run(const void *packed, void *state, int fresh, const elman_inputs *in,
    elman_outputs *out, int frames, int streams, void *workspace, int threads, int alone)
{
    rn_call call, *const c = &call;
    const int refused = rn_refuse(packed, state, fresh, workspace, frames, streams);
    if (refused) return refused;
    if (!in || !in->x) return RN_NO_INPUT;
    rn_start(c, packed, frames, streams);
    rn_layout_run(c, workspace, c->T, c->B);
    rn_counters(c, state, in->starts, 0, 0);
    c->x = RN_BORROW(in->x);
    c->old_h = (const real *)rn_state_entry(state, 0, c->B);
    if (out && out->z && 2 == RN_PAD(2)) c->z = out->z;
    if (alone) {
        const rn_mode before = rn_flush_denormals();
        rn_body_run(c, &(const rn_team){c->flags, 1, 0}, 0);
        rn_restore(before);
    } else rn_go(c, rn_body_run, threads, 408.0, in->tuning, run_works, run_streams, 3);
    if (state) {
        for (long j = 0; j < 1; j++) {        /* h: the last 1 frames */
            real *const to = (real *)rn_state_entry(state, 0, c->B) + j * c->B * RN_PAD(12);
            const long t = c->T - 1 + j;
            if (t < 0) memmove(to, to + c->T * c->B * RN_PAD(12), (size_t)(c->B * RN_PAD(12)) * sizeof(real));
            else for (long b = 0; b < c->B; b++)
                memcpy(to + b * RN_PAD(12), c->h + rn_ring((t * c->B + b) - rn_ring_begin((t * c->B + b), c->near_0 * c->B), c->near_0 * c->B) * RN_PAD(12), sizeof(real) * 12);
        }
        rn_count_on(c, state);
    }
    if (out && out->z && out->z != c->z)
        for (long r = 0; r < c->R; r++) rn_copy(out->z + r * 2, c->z + r * RN_PAD(2), 2);
    return RN_OK;
}

int elman_evaluate(const void *packed, void *state, const elman_inputs *in,
    int frames, int streams, void *workspace, int threads, real *scores)
{
    rn_call call, *const c = &call;
    const int refused = !scores ? RN_NO_MEMORY : rn_refuse(packed, state, 0, workspace, frames, streams);
    if (refused) return refused;
    if (!in || !in->x || !in->y) return RN_NO_INPUT;
    rn_start(c, packed, frames, streams);
    rn_layout_evaluate(c, workspace, c->T, c->B);
    rn_counters(c, state, in->starts, 0, 0);
    c->x = RN_BORROW(in->x);
    rn_copy_rows(c->y, RN_PAD(2), in->y, 2, c->R, 2);
    for (long r = 0; !in->weight && r < c->R; r++) c->ones[r] = 1;
    c->weights_of_frames = in->weight ? RN_BORROW(in->weight) : c->ones;
    c->old_h = (const real *)rn_state_entry(state, 0, c->B);
    rn_go(c, rn_body_evaluate, threads, 408.0, in->tuning, evaluate_works, evaluate_streams, 7);
    for (long j = 0; j < 1; j++) {        /* h: the last 1 frames */
        real *const to = (real *)rn_state_entry(state, 0, c->B) + j * c->B * RN_PAD(12);
        const long t = c->T - 1 + j;
        if (t < 0) memmove(to, to + c->T * c->B * RN_PAD(12), (size_t)(c->B * RN_PAD(12)) * sizeof(real));
        else for (long b = 0; b < c->B; b++)
            memcpy(to + b * RN_PAD(12), c->h + rn_ring((t * c->B + b) - rn_ring_begin((t * c->B + b), c->near_0 * c->B), c->near_0 * c->B) * RN_PAD(12), sizeof(real) * 12);
    }
    scores[0] = *c->value_part;
    rn_count_on(c, state);
    return RN_OK;
}

int elman_run(const void *packed, void *state, const elman_inputs *in, elman_outputs *out,
    int frames, int streams, void *workspace, int threads)
{
    return rn_run(packed, state, 0, in, out, frames, streams, workspace, threads, 0);
}

int elman_run_fresh(const void *packed, const elman_inputs *in, elman_outputs *out,
    int frames, int streams, void *workspace, int threads)
{
    return rn_run(packed, NULL, 1, in, out, frames, streams, workspace, threads, 0);
}

/* One frame of one stream on one thread: the functions of run once more, inlined into one. Where all sizes are 1 no
 * loops over rows remain, no dividing of work and no table of the call's memory. LSTM 32, in 32: 210 ns instead of 234
 * (Xeon, 2 threads a core); products and activations alone take 190. */
RN_FLATTEN static int rn_step_one(const void *packed, void *state, const elman_inputs *in,
    elman_outputs *out, void *workspace)
{
    return rn_run(packed, state, 0, in, out, 1, 1, workspace, 1, 1);
}

int elman_step(const void *packed, void *state, const elman_inputs *in, elman_outputs *out,
    int streams, void *workspace, int threads)
{
    if (streams == 1 && in && rn_threads(threads, 408.0, in->tuning) == 1)
        return rn_step_one(packed, state, in, out, workspace);
    return elman_run(packed, state, in, out, 1, streams, workspace, threads);
}

/* Rules of learning, each thread on its piece of the vectors: some 0.5 ns a number, as much as 25 operations. */
double elman_signal_to_noise(long n, const real *g, double epsilon)
{
    return rn_signal_to_noise(n, g, epsilon);
}
int elman_project(long a, long b, long row, long column, long rank, const real *p, const real *g, real *low,
    double scale)
{
    rn_project(a, b, row, column, rank, p, g, low, scale);
    return RN_OK;
}
int elman_adam_direction(long n, const real *low, real *m, real *v, real *change, double beta1, double beta2,
    double epsilon, int64_t step)
{
    rn_adam_direction(n, low, m, v, change, beta1, beta2, epsilon, step);
    return RN_OK;
}
int elman_channel_scales(long rank, long b, const real *low, const real *change, real *scales, int whole)
{
    rn_channel_scales(rank, b, low, change, scales, whole);
    return RN_OK;
}
double elman_channel_norm(long a, long b, long row, long column, const real *g, const real *scales)
{
    return rn_channel_norm(a, b, row, column, g, scales);
}
int elman_channel_step(long a, long b, long row, long column, real *theta, const real *g, const real *scales,
    double rate, double shrink)
{
    rn_channel_step(a, b, row, column, theta, g, scales, rate, shrink);
    return RN_OK;
}
int elman_project_back(long a, long b, long row, long column, long rank, const real *p, const real *change,
    real *theta, double rate, double shrink)
{
    rn_project_back(a, b, row, column, rank, p, change, theta, rate, shrink);
    return RN_OK;
}
double elman_norm2(long n, const real *g)
{
    return rn_norm2(n, g);
}
double elman_clip(double norm, double most)
{
    return rn_clip(norm, most);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    double rate;
    double decay;
    double scale;
} rn_sgd_call;
static void rn_body_sgd(void *argument, const rn_team *team, int thread)
{
    const rn_sgd_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_sgd(count, RN_FROM(p->theta), RN_FROM(p->g), p->rate, p->decay, p->scale);
}
int elman_sgd_threads(long n, real *theta, const real *g, double rate, double decay, double scale, int threads)
{
    rn_sgd_call call = {n, theta, g, rate, decay, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_sgd, &call);
}
int elman_sgd(long n, real *theta, const real *g, double rate, double decay, double scale)
{
    return elman_sgd_threads(n, theta, g, rate, decay, scale, 1);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    real *velocity;
    double rate;
    double momentum;
    double dampening;
    double decay;
    int64_t step;
    double scale;
} rn_momentum_call;
static void rn_body_momentum(void *argument, const rn_team *team, int thread)
{
    const rn_momentum_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_momentum(count, RN_FROM(p->theta), RN_FROM(p->g), RN_FROM(p->velocity), p->rate, p->momentum, p->dampening,
        p->decay, p->step, p->scale);
}
int elman_momentum_threads(long n, real *theta, const real *g, real *velocity, double rate, double momentum,
    double dampening, double decay, int64_t step, double scale, int threads)
{
    rn_momentum_call call = {n, theta, g, velocity, rate, momentum, dampening, decay, step, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_momentum, &call);
}
int elman_momentum(long n, real *theta, const real *g, real *velocity, double rate, double momentum,
    double dampening, double decay, int64_t step, double scale)
{
    return elman_momentum_threads(n, theta, g, velocity, rate, momentum, dampening, decay, step, scale, 1);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    real *velocity;
    double rate;
    double momentum;
    double decay;
    double scale;
} rn_nesterov_call;
static void rn_body_nesterov(void *argument, const rn_team *team, int thread)
{
    const rn_nesterov_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_nesterov(count, RN_FROM(p->theta), RN_FROM(p->g), RN_FROM(p->velocity), p->rate, p->momentum, p->decay, p->scale);
}
int elman_nesterov_threads(long n, real *theta, const real *g, real *velocity, double rate, double momentum, double decay,
    double scale, int threads)
{
    rn_nesterov_call call = {n, theta, g, velocity, rate, momentum, decay, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_nesterov, &call);
}
int elman_nesterov(long n, real *theta, const real *g, real *velocity, double rate, double momentum, double decay,
    double scale)
{
    return elman_nesterov_threads(n, theta, g, velocity, rate, momentum, decay, scale, 1);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    real *square;
    real *mean;
    real *velocity;
    double rate;
    double alpha;
    double epsilon;
    double momentum;
    double decay;
    double scale;
} rn_rmsprop_call;
static void rn_body_rmsprop(void *argument, const rn_team *team, int thread)
{
    const rn_rmsprop_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_rmsprop(count, RN_FROM(p->theta), RN_FROM(p->g), RN_FROM(p->square), RN_FROM(p->mean), RN_FROM(p->velocity),
        p->rate, p->alpha, p->epsilon, p->momentum, p->decay, p->scale);
}
int elman_rmsprop_threads(long n, real *theta, const real *g, real *square, real *mean, real *velocity, double rate,
    double alpha, double epsilon, double momentum, double decay, double scale, int threads)
{
    rn_rmsprop_call call = {n, theta, g, square, mean, velocity, rate, alpha, epsilon, momentum, decay, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_rmsprop, &call);
}
int elman_rmsprop(long n, real *theta, const real *g, real *square, real *mean, real *velocity, double rate,
    double alpha, double epsilon, double momentum, double decay, double scale)
{
    return elman_rmsprop_threads(n, theta, g, square, mean, velocity, rate, alpha, epsilon, momentum, decay, scale, 1);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    real *square;
    real *changes;
    double rate;
    double rho;
    double epsilon;
    double decay;
    double scale;
} rn_adadelta_call;
static void rn_body_adadelta(void *argument, const rn_team *team, int thread)
{
    const rn_adadelta_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_adadelta(count, RN_FROM(p->theta), RN_FROM(p->g), RN_FROM(p->square), RN_FROM(p->changes), p->rate, p->rho,
        p->epsilon, p->decay, p->scale);
}
int elman_adadelta_threads(long n, real *theta, const real *g, real *square, real *changes, double rate, double rho,
    double epsilon, double decay, double scale, int threads)
{
    rn_adadelta_call call = {n, theta, g, square, changes, rate, rho, epsilon, decay, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_adadelta, &call);
}
int elman_adadelta(long n, real *theta, const real *g, real *square, real *changes, double rate, double rho,
    double epsilon, double decay, double scale)
{
    return elman_adadelta_threads(n, theta, g, square, changes, rate, rho, epsilon, decay, scale, 1);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    real *m;
    real *v;
    double rate;
    double beta1;
    double beta2;
    double epsilon;
    double decay;
    int64_t step;
    double scale;
} rn_adam_call;
static void rn_body_adam(void *argument, const rn_team *team, int thread)
{
    const rn_adam_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_adam(count, RN_FROM(p->theta), RN_FROM(p->g), RN_FROM(p->m), RN_FROM(p->v), p->rate, p->beta1, p->beta2,
        p->epsilon, p->decay, p->step, p->scale);
}
int elman_adam_threads(long n, real *theta, const real *g, real *m, real *v, double rate, double beta1, double beta2,
    double epsilon, double decay, int64_t step, double scale, int threads)
{
    rn_adam_call call = {n, theta, g, m, v, rate, beta1, beta2, epsilon, decay, step, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_adam, &call);
}
int elman_adam(long n, real *theta, const real *g, real *m, real *v, double rate, double beta1, double beta2,
    double epsilon, double decay, int64_t step, double scale)
{
    return elman_adam_threads(n, theta, g, m, v, rate, beta1, beta2, epsilon, decay, step, scale, 1);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    real *m;
    real *v;
    double rate;
    double beta1;
    double beta2;
    double epsilon;
    double decay;
    int64_t step;
    double scale;
} rn_adamw_call;
static void rn_body_adamw(void *argument, const rn_team *team, int thread)
{
    const rn_adamw_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_adamw(count, RN_FROM(p->theta), RN_FROM(p->g), RN_FROM(p->m), RN_FROM(p->v), p->rate, p->beta1, p->beta2,
        p->epsilon, p->decay, p->step, p->scale);
}
int elman_adamw_threads(long n, real *theta, const real *g, real *m, real *v, double rate, double beta1, double beta2,
    double epsilon, double decay, int64_t step, double scale, int threads)
{
    rn_adamw_call call = {n, theta, g, m, v, rate, beta1, beta2, epsilon, decay, step, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_adamw, &call);
}
int elman_adamw(long n, real *theta, const real *g, real *m, real *v, double rate, double beta1, double beta2,
    double epsilon, double decay, int64_t step, double scale)
{
    return elman_adamw_threads(n, theta, g, m, v, rate, beta1, beta2, epsilon, decay, step, scale, 1);
}

typedef struct {
    long n;
    real *theta;
    const real *g;
    real *velocity;
    double rate;
    double gain;
    double momentum;
    double decay;
    double scale;
} rn_sgd_sai_call;
static void rn_body_sgd_sai(void *argument, const rn_team *team, int thread)
{
    const rn_sgd_sai_call *p = argument;
    long from;
    const long count = rn_piece(p->n, team, thread, &from);
    rn_sgd_sai(count, RN_FROM(p->theta), RN_FROM(p->g), RN_FROM(p->velocity), p->rate, p->gain, p->momentum, p->decay,
        p->scale);
}
int elman_sgd_sai_threads(long n, real *theta, const real *g, real *velocity, double rate, double gain, double momentum,
    double decay, double scale, int threads)
{
    rn_sgd_sai_call call = {n, theta, g, velocity, rate, gain, momentum, decay, scale};
    return rn_between(threads, 25.0 * (double)n, NULL, rn_body_sgd_sai, &call);
}
int elman_sgd_sai(long n, real *theta, const real *g, real *velocity, double rate, double gain, double momentum,
    double decay, double scale)
{
    return elman_sgd_sai_threads(n, theta, g, velocity, rate, gain, momentum, decay, scale, 1);
}

double elman_norm2_threads(long n, const real *g, int threads)
{
    rn_norm2_call call = {n, g, {0}};
    rn_between(threads, 25.0 * (double)n, NULL, rn_body_norm2, &call);
    return rn_norm2_of(&call);
}

/* Weights as one block: a head of 32 bytes (mark, abi, size of a number, hash of the graph, count), then the numbers. */
typedef struct {
    char mark[8];
    uint32_t abi, size;
    uint64_t hash, count;
} rn_blob;

int elman_weights_read(elman_weights *w, const void *blob, size_t bytes)
{
    rn_blob head;
    if (!w || !blob) return RN_NO_MEMORY;
    if (bytes != sizeof head + sizeof(real) * RN_WEIGHTS) return RN_BLOB_SIZE;
    memcpy(&head, blob, sizeof head);
    if (memcmp(head.mark, "rnnc-w1", 8) || head.abi != RN_ABI || head.size != sizeof(real)) return RN_BLOB_KIND;
    if (head.hash != RN_HASH || head.count != RN_WEIGHTS) return RN_BLOB_GRAPH;
    memcpy(w->values, (const char *)blob + sizeof head, sizeof(real) * RN_WEIGHTS);
    return RN_OK;
}

size_t elman_weights_write(const elman_weights *w, void *blob, size_t bytes)
{
    const rn_blob head = {"rnnc-w1", RN_ABI, sizeof(real), RN_HASH, RN_WEIGHTS};
    const size_t needed = sizeof head + sizeof(real) * RN_WEIGHTS;
    if (blob && bytes >= needed) {
        memcpy(blob, &head, sizeof head);
        memcpy((char *)blob + sizeof head, w->values, sizeof(real) * RN_WEIGHTS);
    }
    return needed;
}

const char *elman_error(int code)
{
    switch (code) {
    case RN_OK: return "no error";
    case RN_NO_FRAMES: return "a call needs at least one frame and one stream";
    case RN_NO_INPUT: return "the pointer to an input, or to all of them, is NULL";
    case RN_OTHER_STATE: return "the state was made for another model, number type or number of streams: call elman_reset";
    case RN_BLOB_SIZE: return "the block of weights has another size than this model's";
    case RN_BLOB_KIND: return "the block is not weights of this version and number type";
    case RN_NO_MEMORY: return "the pointer to a state, to weights, a workspace, a gradient or scores is NULL";
    case RN_BLOB_GRAPH: return "the weights belong to another network";
    }
    return "unknown error code";
}

uint32_t elman_abi(void) { return RN_ABI; }
#endif
#if RN_HALF != 2                              /* what trains */

int elman_backprop(const void *packed, void *state, const elman_inputs *in, elman_outputs *out,
    int frames, int streams, void *workspace, int threads, elman_weights *gradient, real *loss)
{
    rn_call call, *const c = &call;
    const int refused = !gradient ? RN_NO_MEMORY : rn_refuse(packed, state, 0, workspace, frames, streams);
    if (refused) return refused;
    if (!in || !in->x || !in->y) return RN_NO_INPUT;
    rn_start(c, packed, frames, streams);
    rn_layout_backprop(c, workspace, c->T, c->B);
    rn_counters(c, state, in->starts, 1, 0);
    c->x = RN_BORROW(in->x);
    rn_copy_rows(c->y, RN_PAD(2), in->y, 2, c->R, 2);
    for (long r = 0; !in->weight && r < c->R; r++) c->ones[r] = 1;
    c->weights_of_frames = in->weight ? RN_BORROW(in->weight) : c->ones;
    c->old_h = (const real *)rn_state_entry(state, 0, c->B);
    if (out && out->z && 2 == RN_PAD(2)) c->z = out->z;
    if (!in->accumulate) c->value_part_2 = gradient->values + 0;
    if (!in->accumulate) c->value_part_3 = gradient->values + 36;
    if (!in->accumulate) c->value_part = gradient->values + 180;
    if (!in->accumulate) c->value_part_7 = gradient->values + 192;
    if (!in->accumulate) c->value_part_8 = gradient->values + 216;
    rn_go(c, rn_body_backprop, threads, 744.0, in->tuning, backprop_works, backprop_streams, 12);
    for (long j = 0; j < 1; j++) {        /* h: the last 1 frames */
        real *const to = (real *)rn_state_entry(state, 0, c->B) + j * c->B * RN_PAD(12);
        const long t = c->T - 1 + j;
        if (t < 0) memmove(to, to + c->T * c->B * RN_PAD(12), (size_t)(c->B * RN_PAD(12)) * sizeof(real));
        else for (long b = 0; b < c->B; b++)
            memcpy(to + b * RN_PAD(12), c->h + (t * c->B + b) * RN_PAD(12), sizeof(real) * 12);
    }
    if (out && out->z && out->z != c->z)
        for (long r = 0; r < c->R; r++) rn_copy(out->z + r * 2, c->z + r * RN_PAD(2), 2);
    if (loss) *loss = *c->value_part_9;
    if (in->accumulate) rn_add(gradient->values + 0, c->value_part_2, 36);
    if (in->accumulate) rn_add(gradient->values + 36, c->value_part_3, 144);
    if (in->accumulate) rn_add(gradient->values + 180, c->value_part, 12);
    if (in->accumulate) rn_add(gradient->values + 192, c->value_part_7, 24);
    if (in->accumulate) rn_add(gradient->values + 216, c->value_part_8, 2);
    rn_count_on(c, state);
    return RN_OK;
}
#endif

