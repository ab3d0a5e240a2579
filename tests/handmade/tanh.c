/* A small net written by hand to the C interface that the runtime loads: the border's test model.
 *
 *   input x : [2], k : class(4), m : flag, b : [3] per sequence;  target y : class(3)
 *   param W : [3, 2], E : [3, 4], U : [3, 3], V : [3, 3];  frozen c : [3]
 *   h = tanh(W @ x + E @ k + U @ h[t-1] + b);  logits = V @ h + m * c;  output p = softmax(logits), a = argmax(logits)
 *   loss cross_entropy(logits, y)
 *
 * One thread, plain loops; REAL is float or double. */
#include <math.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>
#include "tanh.h"

enum { NX = 2, NK = 4, N = 3, ROW = 16 };
enum { AT_W = 0, AT_E = 6, AT_U = 18, AT_V = 27, AT_C = 36, ALL = 39 };
#define W(i, j) w[AT_W + (i) * NX + (j)]
#define E(i, j) w[AT_E + (i) * NK + (j)]
#define U(i, j) w[AT_U + (i) * N + (j)]
#define V(i, j) w[AT_V + (i) * N + (j)]
#define C(i) w[AT_C + (i)]

/* A state: how many streams, in a line of its own; h; frames since the start. */
enum { HEAD = 64 };
static size_t entry_bytes(int streams) { return (sizeof(REAL) * ROW * streams + 63) / 64 * 64; }
size_t tiny_state_size(int streams) { return tiny_state_since(streams) + (8 * (size_t)streams + 63) / 64 * 64; }
size_t tiny_state_entry(int streams, int entry) { (void)streams; (void)entry; return HEAD; }
size_t tiny_state_row(int entry) { (void)entry; return ROW * sizeof(REAL); }
size_t tiny_state_since(int streams) { return HEAD + entry_bytes(streams); }
size_t tiny_packed_size(void) { return ALL * sizeof(REAL); }
int tiny_pack(const tiny_weights *weights, void *packed) { memcpy(packed, weights->values, ALL * sizeof(REAL)); return 0; }
int tiny_pack_threads(const tiny_weights *weights, void *packed, int threads, const void *tuning)
{
    (void)threads, (void)tuning;
    return tiny_pack(weights, packed);
}
void tiny_reset(void *state, int streams)
{
    memset(state, 0, tiny_state_size(streams));
    *(int32_t *)state = streams;
}
static REAL *rows_of(const void *state) { return state ? (REAL *)((char *)(uintptr_t)state + HEAD) : 0; }
static int64_t *since_of(const void *state)
{
    return (int64_t *)((char *)(uintptr_t)state + tiny_state_since(*(const int32_t *)state));
}
void tiny_reset_stream(void *state, int streams, int stream)
{
    (void)streams;
    memset(rows_of(state) + ROW * stream, 0, ROW * sizeof(REAL));
    since_of(state)[stream] = 0;
}
void tiny_copy_stream(void *to, int i, const void *from, int j)
{
    memcpy(rows_of(to) + ROW * i, rows_of(from) + ROW * j, ROW * sizeof(REAL));
    since_of(to)[i] = since_of(from)[j];
}
/* h and p and start and sequence of every frame, then the adjoint of h for each stream */
size_t tiny_workspace_size(int frames, int streams) { return (size_t)(frames + 1) * streams * (3 * N * sizeof(REAL) + 8); }
size_t tiny_workspace_size_of(int program, int frames, int streams) { (void)program; return tiny_workspace_size(frames, streams); }
const char *tiny_error(int code) { return code == 7 ? "an error made for a test" : "unknown"; }
uint32_t tiny_abi(void) { return 1; }

static int forward(const REAL *w, void *state, const tiny_inputs *in, tiny_outputs *out, int T, int B, REAL *work)
{
    REAL *h = work, *p = h + (size_t)T * B * N;
    int32_t *fresh = (int32_t *)(p + (size_t)T * B * N), *sequence = fresh + (size_t)T * B;
    int32_t count = 0;
    if (in->x && T && in->x[0] == (REAL)12345) return 7;
    for (int s = 0; s < B; s++) {
        REAL *memory = rows_of(state) + ROW * s;
        int64_t *since = since_of(state) + s;
        for (int t = 0; t < T; t++) {
            size_t r = (size_t)t * B + s;
            int start = in->starts && in->starts[r];
            if (start) *since = 0;
            if (t && start) count++;
            fresh[r] = *since == 0;
            sequence[r] = count;
            REAL *mine = h + r * N, *chance = p + r * N, top = -1e30, sum = 0;
            const REAL *before = t ? mine - (size_t)B * N : memory;
            for (int i = 0; i < N; i++) {
                REAL a = E(i, in->k[r]) + in->b[count * N + i];
                for (int j = 0; j < NX; j++) a += W(i, j) * in->x[r * NX + j];
                if (*since) for (int j = 0; j < N; j++) a += U(i, j) * before[j];
                mine[i] = tanh(a);
            }
            int best = 0;
            for (int i = 0; i < N; i++) {
                REAL a = in->m[r] * C(i);
                for (int j = 0; j < N; j++) a += V(i, j) * mine[j];
                chance[i] = a;
                if (a > top) { top = a; best = i; }
            }
            for (int i = 0; i < N; i++) sum += chance[i] = exp(chance[i] - top);
            for (int i = 0; i < N; i++) chance[i] /= sum;
            if (out && out->p) memcpy(out->p + r * N, chance, N * sizeof(REAL));
            if (out && out->a) out->a[r] = best;
            if (out && out->h) memcpy(out->h + r * N, mine, N * sizeof(REAL));
            ++*since;
        }
        memcpy(memory, h + ((size_t)(T - 1) * B + s) * N, N * sizeof(REAL));
        count++;
    }
    return 0;
}

int tiny_run(const void *packed, void *state, const tiny_inputs *in, tiny_outputs *out, int T, int B, void *work, int threads)
{
    (void)threads;
    return forward(packed, state, in, out, T, B, work);
}

int tiny_step(const void *packed, void *state, const tiny_inputs *in, tiny_outputs *out, int B, void *work, int threads)
{
    return tiny_run(packed, state, in, out, 1, B, work, threads);
}

/* The loss and, in p, its gradient by the logits. */
static REAL score(const tiny_inputs *in, int T, int B, REAL *work, REAL *correct)
{
    REAL *p = work + (size_t)T * B * N, loss = 0, total = 0;
    *correct = 0;
    for (size_t r = 0; r < (size_t)T * B; r++) total += in->weight ? in->weight[r] : 1;
    for (size_t r = 0; r < (size_t)T * B; r++) {
        REAL weight = (in->weight ? in->weight[r] : 1) / (total == 0 ? 1 : total);
        int best = 0;
        for (int i = 1; i < N; i++) if (p[r * N + i] > p[r * N + best]) best = i;
        *correct += weight * (best == in->y[r]);
        loss -= weight * log(p[r * N + in->y[r]]);
        for (int i = 0; i < N; i++) p[r * N + i] = weight * (p[r * N + i] - (i == in->y[r]));
    }
    return loss;
}

int tiny_evaluate(const void *packed, void *state, const tiny_inputs *in, int T, int B, void *work, int threads, REAL *scores)
{
    (void)threads;
    int code = forward(packed, state, in, 0, T, B, work);
    if (!code) scores[0] = score(in, T, B, work, scores + 1);
    return code;
}

/* From the gradient by the logits in p: everything else. `first` is the state before the call. */
static void backward(const REAL *w, const REAL *first, const tiny_inputs *in, int T, int B, REAL *work, REAL *g,
                     tiny_gradients *dx, const REAL *after, REAL *before)
{
    REAL *h = work, *d = h + (size_t)T * B * N, *up = d + 2 * (size_t)T * B * N;
    int32_t *fresh = (int32_t *)(d + (size_t)T * B * N), *sequence = fresh + (size_t)T * B;
    up = (REAL *)(sequence + (size_t)T * B);
    if (!in->accumulate) memset(g, 0, ALL * sizeof(REAL));
    for (int s = 0; s < B; s++) {
        for (int i = 0; i < N; i++) up[i] = after ? after[ROW * s + i] : 0;
        for (int t = T - 1; t >= 0; t--) {
            size_t r = (size_t)t * B + s;
            const REAL *old = t ? h + (r - B) * N : first + ROW * s;
            REAL da[N], next[N] = {0};
            for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) {
                g[AT_V + i * N + j] += d[r * N + i] * h[r * N + j];
                up[j] += V(i, j) * d[r * N + i];
            }
            for (int i = 0; i < N; i++) {
                da[i] = up[i] * (1 - h[r * N + i] * h[r * N + i]);
                for (int j = 0; j < NX; j++) g[AT_W + i * NX + j] += da[i] * in->x[r * NX + j];
                g[AT_E + i * NK + in->k[r]] += da[i];
                if (!fresh[r]) for (int j = 0; j < N; j++) {
                    g[AT_U + i * N + j] += da[i] * old[j];
                    next[j] += U(i, j) * da[i];
                }
                if (dx && dx->b) dx->b[sequence[r] * N + i] += da[i];
                if (dx && dx->x) for (int j = 0; j < NX; j++) dx->x[r * NX + j] += W(i, j) * da[i];
            }
            memcpy(up, next, sizeof next);
        }
        if (before) for (int i = 0; i < N; i++) before[ROW * s + i] = up[i];
    }
}

int tiny_backprop(const void *packed, void *state, const tiny_inputs *in, tiny_outputs *out, int T, int B, void *work,
                  int threads, tiny_weights *gradient, REAL *loss)
{
    REAL first[ROW * 64], correct;
    (void)threads;
    memcpy(first, rows_of(state), ROW * B * sizeof(REAL));
    int code = forward(packed, state, in, out, T, B, work);
    if (code) return code;
    *loss = score(in, T, B, work, &correct);
    backward(packed, first, in, T, B, work, gradient->values, 0, 0, 0);
    return 0;
}

int tiny_vjp(const void *packed, const void *state, const tiny_inputs *in, const tiny_outputs *cotangent,
             const void *state_cotangent, int T, int B, void *work, int threads, tiny_weights *gradient,
             tiny_gradients *dx, void *state_gradient)
{
    REAL memory[64 * ROW + 256], *p = (REAL *)work + (size_t)T * B * N;
    (void)threads;
    memcpy(memory, state, tiny_state_size(B));
    int code = forward(packed, memory, in, 0, T, B, work);
    if (code) return code;
    for (size_t r = 0; r < (size_t)T * B; r++) {                       /* through the softmax */
        REAL dot = 0;
        for (int i = 0; i < N; i++) dot += p[r * N + i] * cotangent->p[r * N + i];
        for (int i = 0; i < N; i++) p[r * N + i] *= cotangent->p[r * N + i] - dot;
    }
    backward(packed, rows_of(state), in, T, B, work, gradient->values, dx, rows_of(state_cotangent),
             rows_of(state_gradient));
    return 0;
}
