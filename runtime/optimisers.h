/* optimisers.h: one pass over flat vectors for each rule of learning, in PyTorch's forms.
 *
 * theta: the numbers that learn; g: their gradient, times `scale` (1, or the clipping factor, so that clipping costs no
 * pass of its own). Vectors of memory belong to the caller and start as zeros. `step` counts from 1. `decay` is L2
 * regularisation, added to the gradient; AdamW alone takes it from theta directly. Every number is computed by itself:
 * a vector may be cut anywhere, between threads or rates of learning, and gives the same bits. Denormal numbers, which
 * fading memories run into, are flushed to zero. */

/* The piece of n numbers that one thread takes: how many, and where they begin. Whole lines of memory. */
RN_INLINE long rn_piece(long n, const rn_team *team, int thread, long *from) {
    const long line = 64 / (long)sizeof(real);
    long last;
    rn_share((n + line - 1) / line, thread, team->threads, from, &last);
    *from *= line, last *= line;
    return (last < n ? last : n) - *from;
}
#define RN_FROM(x) ((x) ? (x) + from : NULL)

/* The body sees at = 0, RN_VL, ... and how many numbers are left; RN_AT reads, RN_PUT writes, both up to the end. */
#define RN_AT(x) rn_load_part((x) + at, n - at)
#define RN_PUT(x, value) rn_store_part((x) + at, value, n - at)
#define RN_EACH(...)                                                                                                 \
    do {                                                                                                             \
        const rn_mode before = rn_flush_denormals();                                                                 \
        for (long at = 0; at < n; at += RN_VL) { __VA_ARGS__ }                                                       \
        rn_restore(before);                                                                                          \
    } while (0)
#define RN_GRADIENT (RN_AT(g) * (real)scale + RN_AT(theta) * (real)decay)

RN_FUNCTION void rn_sgd(long n, real *restrict theta, const real *restrict g, double rate, double decay, double scale) {
    RN_EACH(RN_PUT(theta, RN_AT(theta) - RN_GRADIENT * (real)rate););
}

/* velocity = momentum * velocity + (1 - dampening) * g, the first one g itself; theta -= rate * velocity */
RN_FUNCTION void rn_momentum(long n, real *restrict theta, const real *restrict g, real *restrict velocity, double rate,
                             double momentum, double dampening, double decay, int64_t step, double scale) {
    const double keep = step > 1 ? momentum : 0, take = step > 1 ? 1 - dampening : 1;
    RN_EACH(
        rn_v speed = RN_AT(velocity) * (real)keep + RN_GRADIENT * (real)take;
        RN_PUT(velocity, speed);
        RN_PUT(theta, RN_AT(theta) - speed * (real)rate);
    );
}

/* velocity = momentum * velocity + g; theta -= rate * (g + momentum * velocity) */
RN_FUNCTION void rn_nesterov(long n, real *restrict theta, const real *restrict g, real *restrict velocity, double rate,
                             double momentum, double decay, double scale) {
    RN_EACH(
        rn_v slope = RN_GRADIENT;
        rn_v speed = RN_AT(velocity) * (real)momentum + slope;
        RN_PUT(velocity, speed);
        RN_PUT(theta, RN_AT(theta) - (slope + speed * (real)momentum) * (real)rate);
    );
}

/* square = alpha * square + (1 - alpha) g^2; theta -= rate * g / (sqrt(square) + epsilon). With `mean` (or NULL) the
 * square is centred: square - mean^2; with `velocity` (or NULL) the quotient gathers there with the momentum. */
RN_FUNCTION void rn_rmsprop(long n, real *restrict theta, const real *restrict g, real *restrict square,
                            real *restrict mean, real *restrict velocity, double rate, double alpha, double epsilon,
                            double momentum, double decay, double scale) {
    RN_EACH(
        rn_v slope = RN_GRADIENT;
        rn_v power = RN_AT(square) * (real)alpha + slope * slope * (real)(1 - alpha);
        RN_PUT(square, power);
        if (mean) {
            rn_v middle = RN_AT(mean) * (real)alpha + slope * (real)(1 - alpha);
            RN_PUT(mean, middle);
            power = rn_max(power - middle * middle, (rn_v){0});
        }
        rn_v change = slope / (rn_sqrt(power) + (real)epsilon);
        if (velocity) {
            change += RN_AT(velocity) * (real)momentum;
            RN_PUT(velocity, change);
        }
        RN_PUT(theta, RN_AT(theta) - change * (real)rate);
    );
}

/* square as in RMSprop; change = sqrt(changes + epsilon) / sqrt(square + epsilon) * g; changes gathers change^2 */
RN_FUNCTION void rn_adadelta(long n, real *restrict theta, const real *restrict g, real *restrict square,
                             real *restrict changes, double rate, double rho, double epsilon, double decay,
                             double scale) {
    RN_EACH(
        rn_v slope = RN_GRADIENT;
        rn_v power = RN_AT(square) * (real)rho + slope * slope * (real)(1 - rho);
        RN_PUT(square, power);
        rn_v before_now = RN_AT(changes);
        rn_v change = rn_sqrt(before_now + (real)epsilon) / rn_sqrt(power + (real)epsilon) * slope;
        RN_PUT(changes, before_now * (real)rho + change * change * (real)(1 - rho));
        RN_PUT(theta, RN_AT(theta) - change * (real)rate);
    );
}

/* One step of Adam from a slope: means of g and g^2, freed of their start at zero. */
RN_INLINE rn_v rn_adam_change(rn_v slope, rn_v *mean, rn_v *square, double beta1, double beta2, double rate,
                              double root, double epsilon) {
    *mean += (slope - *mean) * (real)(1 - beta1);
    *square = *square * (real)beta2 + slope * slope * (real)(1 - beta2);
    return *mean * (real)rate / (rn_sqrt(*square) * (real)root + (real)epsilon);
}

/* theta -= rate * m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + epsilon) */
RN_FUNCTION void rn_adam(long n, real *restrict theta, const real *restrict g, real *restrict m, real *restrict v,
                         double rate, double beta1, double beta2, double epsilon, double decay, int64_t step,
                         double scale) {
    const double fast = rate / (1 - pow(beta1, (double)step)), root = 1 / sqrt(1 - pow(beta2, (double)step));
    RN_EACH(
        rn_v mean = RN_AT(m);
        rn_v square = RN_AT(v);
        rn_v change = rn_adam_change(RN_GRADIENT, &mean, &square, beta1, beta2, fast, root, epsilon);
        RN_PUT(m, mean);
        RN_PUT(v, square);
        RN_PUT(theta, RN_AT(theta) - change);
    );
}

/* Adam, with theta shrunk by rate * decay before the step. */
RN_FUNCTION void rn_adamw(long n, real *restrict theta, const real *restrict g, real *restrict m, real *restrict v,
                          double rate, double beta1, double beta2, double epsilon, double decay, int64_t step,
                          double scale) {
    const double fast = rate / (1 - pow(beta1, (double)step)), root = 1 / sqrt(1 - pow(beta2, (double)step));
    RN_EACH(
        rn_v mean = RN_AT(m);
        rn_v square = RN_AT(v);
        rn_v change = rn_adam_change(RN_AT(g) * (real)scale, &mean, &square, beta1, beta2, fast, root, epsilon);
        RN_PUT(m, mean);
        RN_PUT(v, square);
        RN_PUT(theta, RN_AT(theta) * (real)(1 - rate * decay) - change);
    );
}

/* velocity = momentum * velocity + (1 - momentum) g; theta shrinks by rate * decay, then loses rate * gain * velocity */
RN_FUNCTION void rn_sgd_sai(long n, real *restrict theta, const real *restrict g, real *restrict velocity, double rate,
                            double gain, double momentum, double decay, double scale) {
    RN_EACH(
        rn_v speed = RN_AT(velocity) * (real)momentum + RN_AT(g) * (real)(scale * (1 - momentum));
        RN_PUT(velocity, speed);
        RN_PUT(theta, RN_AT(theta) * (real)(1 - rate * decay) - speed * (real)(rate * gain));
    );
}

/* How far numbers stand out: their norm over their standard deviation; 1 where they are all alike. In order, in double. */
RN_FUNCTION double rn_signal_to_noise(long n, const real *g, double epsilon) {
    double mean = 0, power = 0, spread = 0;
    for (long i = 0; i < n; i++) mean += (double)g[i] / (double)n;
    for (long i = 0; i < n; i++) {
        power += (double)g[i] * (double)g[i];
        spread += ((double)g[i] - mean) * ((double)g[i] - mean);
    }
    return spread > 1e-12 * power ? sqrt(power) / (sqrt(spread / (double)n) + epsilon) : 1;
}

/* ---- matrices through a few of their directions ----
 * Entry (i, j) of a matrix stands at i * row + j * column; i runs over `a`, the shorter axis, j over `b` channels. */

/* low[rank, b] = p[rank, a] times the matrix g, times scale */
RN_FUNCTION void rn_project(long a, long b, long row, long column, long rank, const real *p, const real *g, real *low,
                            double scale) {
    for (long k = 0; k < rank; k++) {
        for (long j = 0; j < b; j++) low[k * b + j] = 0;
        for (long i = 0; i < a; i++) {
            const real by = p[k * a + i] * (real)scale;
            for (long j = 0; j < b; j++) low[k * b + j] += by * g[i * row + j * column];
        }
    }
}

/* change = Adam's direction for the numbers `low`, without a rate */
RN_FUNCTION void rn_adam_direction(long n, const real *restrict low, real *restrict m, real *restrict v,
                                   real *restrict change, double beta1, double beta2, double epsilon, int64_t step) {
    const double fast = 1 / (1 - pow(beta1, (double)step)), root = 1 / sqrt(1 - pow(beta2, (double)step));
    RN_EACH(
        rn_v mean = RN_AT(m);
        rn_v square = RN_AT(v);
        rn_v direction = rn_adam_change(RN_AT(low), &mean, &square, beta1, beta2, fast, root, epsilon);
        RN_PUT(m, mean);
        RN_PUT(v, square);
        RN_PUT(change, direction);
    );
}

/* scales[j] = norm of column j of `change` over that of `low`, both [rank, b]; one scale for all if `whole`. */
RN_FUNCTION void rn_channel_scales(long rank, long b, const real *low, const real *change, real *scales, int whole) {
    double all[2] = {0};
    for (long j = 0; j < b; j++) {
        double one[2] = {0};
        for (long k = 0; k < rank; k++) {
            one[0] += (double)low[k * b + j] * (double)low[k * b + j];
            one[1] += (double)change[k * b + j] * (double)change[k * b + j];
        }
        all[0] += one[0], all[1] += one[1];
        scales[j] = (real)(one[0] > 0 ? sqrt(one[1] / one[0]) : 0);
    }
    for (long j = 0; whole && j < b; j++) scales[j] = (real)(all[0] > 0 ? sqrt(all[1] / all[0]) : 0);
}

/* The norm of the matrix g with its channels scaled. */
RN_FUNCTION double rn_channel_norm(long a, long b, long row, long column, const real *g, const real *scales) {
    double total = 0;
    for (long i = 0; i < a; i++)
        for (long j = 0; j < b; j++) {
            const double x = (double)g[i * row + j * column] * (double)scales[j];
            total += x * x;
        }
    return sqrt(total);
}

/* theta shrinks by `shrink` and loses rate * g with its channels scaled */
RN_FUNCTION void rn_channel_step(long a, long b, long row, long column, real *theta, const real *g, const real *scales,
                                 double rate, double shrink) {
    for (long i = 0; i < a; i++)
        for (long j = 0; j < b; j++) {
            const long at = i * row + j * column;
            theta[at] = theta[at] * (real)(1 - shrink) - g[at] * scales[j] * (real)rate;
        }
}

/* theta shrinks by `shrink` and loses rate * transpose(p) times change[rank, b] */
RN_FUNCTION void rn_project_back(long a, long b, long row, long column, long rank, const real *p, const real *change,
                                 real *theta, double rate, double shrink) {
    for (long i = 0; i < a; i++)
        for (long j = 0; j < b; j++) {
            real sum = 0;
            for (long k = 0; k < rank; k++) sum += p[k * a + i] * change[k * b + j];
            const long at = i * row + j * column;
            theta[at] = theta[at] * (real)(1 - shrink) - sum * (real)rate;
        }
}

/* The Euclidean norm, summed in double whatever the number type: in order, RN_NORM_LANES chains, whole blocks. These are
 * dealt to RN_NORM_PIECES sums, however many threads take part, and so the bits are always the same. */
#define RN_NORM_LANES 16
#define RN_NORM_BLOCK 4096
#define RN_NORM_PIECES 64
typedef struct {
    long n;
    const real *g;
    double sums[RN_NORM_PIECES];
} rn_norm2_call;

RN_INLINE double rn_sum_of_squares(long first, long last, const real *g) {
    double lanes[RN_NORM_LANES] = {0}, sum = 0;
    long i = first;
    for (; i + RN_NORM_LANES <= last; i += RN_NORM_LANES)
        RN_UNROLL for (int l = 0; l < RN_NORM_LANES; l++) lanes[l] += (double)g[i + l] * (double)g[i + l];
    for (; i < last; i++) lanes[0] += (double)g[i] * (double)g[i];
    for (int l = 0; l < RN_NORM_LANES; l++) sum += lanes[l];
    return sum;
}

static void rn_body_norm2(void *argument, const rn_team *team, int thread) {
    rn_norm2_call *p = argument;
    long first, last, block, end;
    rn_share(RN_NORM_PIECES, thread, team->threads, &first, &last);
    for (long piece = first; piece < last; piece++) {
        rn_share((p->n + RN_NORM_BLOCK - 1) / RN_NORM_BLOCK, (int)piece, RN_NORM_PIECES, &block, &end);
        for (; block < end; block++) {
            const long from = block * RN_NORM_BLOCK, rest = p->n - from;
            p->sums[piece] += rn_sum_of_squares(from, from + (rest < RN_NORM_BLOCK ? rest : RN_NORM_BLOCK), p->g);
        }
    }
}

RN_INLINE double rn_norm2_of(const rn_norm2_call *call) {
    double total = 0;
    for (int piece = 0; piece < RN_NORM_PIECES; piece++) total += call->sums[piece];
    return sqrt(total);
}

RN_FUNCTION double rn_norm2(long n, const real *g) {
    const rn_team alone = {NULL, 1, 0};
    rn_norm2_call call = {n, g, {0}};
    rn_body_norm2(&call, &alone, 0);
    return rn_norm2_of(&call);
}

/* The `scale` for gradients of this norm, so that it becomes `most` at most; most <= 0: no clipping. */
RN_FUNCTION double rn_clip(double norm, double most) {
    const double scale = most / (norm + 1e-6);
    return most > 0 && scale < 1 ? scale : 1;
}
