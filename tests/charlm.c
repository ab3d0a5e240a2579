/* The header's promises, tried from C: compiled by test_c.py together with an emitted charlm (vocab 11, hidden 24).
 *
 * Prints nothing and returns 0, or names the line that failed. With the argument `hosted` only the part with threads of
 * the host runs (for the thread sanitizer). */
#define _DEFAULT_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "charlm.h"
#include "trial.h"

enum { T = 7, B = 5, V = 11, FRAMES = T * B };

static charlm_weights *weights, *gradient;
static void *packed, *workspace;
static int32_t x[FRAMES], y[FRAMES];
static float p[FRAMES * V], q[FRAMES * V];

static int near(const float *a, const float *b, int n) {
    for (int i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) < 1e-5f)) return 0;
    return 1;
}

static void prepare(void) {
    weights = memory(sizeof *weights), gradient = memory(sizeof *gradient);
    for (int i = 0; i < CHARLM_WEIGHTS; i++) weights->values[i] = (float)(0.6 * chance() - 0.3);
    packed = memory(charlm_packed_size());
    workspace = memory(charlm_workspace_size(T, B));
    CHECK(charlm_pack(weights, packed) == 0);
    for (int i = 0; i < FRAMES; i++) x[i] = (int32_t)(chance() * V), y[i] = (int32_t)(chance() * V);
}

static void *fresh(int streams) {
    void *state = memory(charlm_state_size(streams));
    charlm_reset(state, streams);
    return state;
}

static void run(void *state, const int32_t *from, float *to, int frames, int streams) {
    charlm_inputs in = {.x = from};
    charlm_outputs out = {.p = to};
    CHECK(charlm_run(packed, state, &in, &out, frames, streams, workspace, 1) == 0);
}

/* ------------------------------------------------------------------------------------------------ running */

static void probabilities_add_up(void) {
    void *state = fresh(B);
    run(state, x, p, T, B);
    for (int r = 0; r < FRAMES; r++) {
        float sum = 0;
        for (int k = 0; k < V; k++) sum += p[r * V + k];
        CHECK(fabsf(sum - 1) < 1e-5f);
    }
    free(state);
}

static void steps_equal_a_run(void) {
    void *state = fresh(B), *other = fresh(B);
    run(state, x, p, T, B);
    for (int t = 0; t < T; t++) {
        charlm_inputs in = {.x = x + t * B};
        charlm_outputs out = {.p = q + t * B * V};
        CHECK(charlm_step(packed, other, &in, &out, B, workspace, 1) == 0);
    }
    CHECK(near(p, q, FRAMES * V));
    run(state, x, p, 1, B), run(other, x, q, 1, B);
    CHECK(near(p, q, B * V));
    free(state), free(other);
}

static void a_small_workspace_is_enough_for_a_step(void) {
    void *all = workspace, *state = fresh(1);
    workspace = memory(charlm_workspace_size_of(0, 1, 1));
    CHECK(charlm_workspace_size_of(0, 1, 1) <= charlm_workspace_size(1, 1));
    run(state, x, p, 1, 1);
    free(workspace), free(state);
    workspace = all;
}

static void a_copy_is_a_snapshot(void) {
    void *state = fresh(B), *kept = memory(charlm_state_size(B));
    run(state, x, p, 3, B);
    memcpy(kept, state, charlm_state_size(B));
    run(state, x + 3 * B, p, 4, B);
    run(kept, x + 3 * B, q, 4, B);
    CHECK(memcmp(p, q, sizeof(float) * 4 * B * V) == 0);
    CHECK(memcmp(state, kept, charlm_state_size(B)) == 0);
    free(state), free(kept);
}

static void streams_move_and_start_anew(void) {
    void *state = fresh(B), *single = fresh(1), *empty = fresh(1);
    run(state, x, p, 3, B);
    charlm_copy_stream(single, 0, state, 2);
    charlm_reset_stream(state, B, 4);
    run(state, x, p, 1, B);
    run(single, x + 2, q, 1, 1);
    CHECK(near(p + 2 * V, q, V));
    run(empty, x + 4, q, 1, 1);
    CHECK(near(p + 4 * V, q, V));
    CHECK(!near(p + 2 * V, p + 4 * V, V));
    free(state), free(single), free(empty);
}

static void starts_are_resets(void) {
    uint8_t starts[FRAMES] = {0};
    void *state = fresh(B), *other = fresh(B);
    run(state, x, p, 3, B), run(other, x, p, 3, B);
    starts[1] = 1;
    charlm_inputs in = {.x = x, .starts = starts};
    charlm_outputs out = {.p = p};
    CHECK(charlm_run(packed, state, &in, &out, T, B, workspace, 1) == 0);
    charlm_reset_stream(other, B, 1);
    run(other, x, q, T, B);
    CHECK(near(p, q, FRAMES * V));
    free(state), free(other);
}

static void unwanted_outputs_may_be_left_out(void) {
    void *state = fresh(B), *other = fresh(B);
    charlm_inputs in = {.x = x};
    charlm_outputs none = {NULL};
    CHECK(charlm_run(packed, state, &in, &none, T, B, workspace, 1) == 0);
    CHECK(charlm_run(packed, other, &in, NULL, T, B, workspace, 1) == 0);
    CHECK(memcmp(state, other, charlm_state_size(B)) == 0);
    free(state), free(other);
}

static void refusals(void) {
    void *state = fresh(B);
    charlm_inputs in = {.x = x};
    charlm_outputs out = {.p = p};
    CHECK(charlm_run(packed, state, &in, &out, 0, B, workspace, 1) != 0);
    CHECK(charlm_run(packed, state, &in, &out, T, 0, workspace, 1) != 0);
    const int other = charlm_run(packed, state, &in, &out, T, B - 1, workspace, 1);
    CHECK(other != 0 && strstr(charlm_error(other), "charlm_reset"));
    CHECK(strcmp(charlm_error(0), charlm_error(other)) != 0 && charlm_error(12345) != NULL);
    charlm_inputs nothing = {.y = y}, untaught = {.x = x};     /* x is wanted by every call, y by those with a loss */
    CHECK(strstr(charlm_error(charlm_run(packed, state, &nothing, &out, T, B, workspace, 1)), "NULL"));
    CHECK(strstr(charlm_error(charlm_run(NULL, state, &in, &out, T, B, workspace, 1)), "NULL"));
    CHECK(strstr(charlm_error(charlm_run(packed, NULL, &in, &out, T, B, workspace, 1)), "NULL"));
    CHECK(strstr(charlm_error(charlm_run(packed, state, &in, &out, T, B, NULL, 1)), "NULL"));
    CHECK(strstr(charlm_error(charlm_backprop(packed, state, &in, &out, T, B, workspace, 1, NULL, NULL)), "NULL"));
    CHECK(strstr(charlm_error(charlm_step(packed, state, &nothing, &out, B, workspace, 1)), "NULL"));
    CHECK(strstr(charlm_error(charlm_evaluate(packed, state, &untaught, T, B, workspace, 1, p)), "NULL"));
    charlm_inputs taught = {.x = x, .y = y};
    void *single = fresh(1);
    CHECK(charlm_state_size(-1) == 0);
    CHECK(strstr(charlm_error(charlm_evaluate(packed, state, &taught, T, B, workspace, 1, NULL)), "NULL"));
    CHECK(strstr(charlm_error(charlm_step(packed, single, NULL, &out, 1, workspace, 1)), "NULL"));
    CHECK(strstr(charlm_error(charlm_pack(NULL, packed)), "NULL"));
    CHECK(strstr(charlm_error(charlm_pack(weights, NULL)), "NULL"));
    free(single);
    memset(state, 0, charlm_state_size(B));
    CHECK(charlm_run(packed, state, &in, &out, T, B, workspace, 1) == other);
    free(state);
}

/* ------------------------------------------------------------------------------------------------ learning */

static float backprop(const charlm_tuning *tuning, int threads, int accumulate) {
    float loss = -1;
    void *state = fresh(B);
    charlm_inputs in = {.x = x, .y = y, .tuning = tuning, .accumulate = accumulate};
    charlm_outputs out = {.p = p};
    CHECK(charlm_backprop(packed, state, &in, &out, T, B, workspace, threads, gradient, &loss) == 0);
    free(state);
    return loss;
}

static void gradients_are_slopes(void) {
    const float loss = backprop(NULL, 1, 0);
    const double norm = charlm_norm2(CHARLM_TRAINABLE, gradient->values), small = 1e-2;
    CHECK(loss > 2 && loss < 3 && norm > 0);
    charlm_weights *kept = memory(sizeof *kept);
    memcpy(kept, weights, sizeof *kept);
    for (int i = 0; i < CHARLM_TRAINABLE; i++) weights->values[i] -= (float)(small * gradient->values[i]);
    CHECK(charlm_pack(weights, packed) == 0);
    const float lower = backprop(NULL, 1, 0);
    CHECK(fabs((loss - lower) / (small * norm * norm) - 1) < 0.1);
    memcpy(weights, kept, sizeof *kept);
    CHECK(charlm_pack(weights, packed) == 0);
    free(kept);
}

static void gradients_accumulate(void) {
    backprop(NULL, 1, 0);
    charlm_weights *once = memory(sizeof *once);
    memcpy(once, gradient, sizeof *once);
    backprop(NULL, 1, 1);
    for (int i = 0; i < CHARLM_TRAINABLE; i++)
        CHECK(fabsf(gradient->values[i] - 2 * once->values[i]) <= 1e-6f + 1e-5f * fabsf(once->values[i]));
    free(once);
}

static void evaluation_is_the_loss(void) {
    float scores[2] = {0};
    void *state = fresh(B);
    charlm_inputs in = {.x = x, .y = y};
    CHECK(charlm_evaluate(packed, state, &in, T, B, workspace, 1, scores) == 0);
    CHECK(fabsf(scores[0] - backprop(NULL, 1, 0)) < 1e-5f);
    free(state);
}

static void it_learns(void) {
    charlm_weights *kept = memory(sizeof *kept);
    float *m = memory(sizeof *kept), *v = memory(sizeof *kept);
    memcpy(kept, weights, sizeof *kept);
    memset(m, 0, sizeof *kept), memset(v, 0, sizeof *kept);
    const float before = backprop(NULL, 1, 0);
    for (int step = 1; step <= 60; step++) {
        backprop(NULL, 1, 0);
        const double norm = charlm_norm2(CHARLM_TRAINABLE, gradient->values);
        CHECK(charlm_adam(CHARLM_TRAINABLE, weights->values, gradient->values, m, v, 0.02, 0.9, 0.999, 1e-8, 0, step,
                          charlm_clip(norm, 1.0)) == 0);
        CHECK(charlm_pack(weights, packed) == 0);
    }
    CHECK(backprop(NULL, 1, 0) < 0.5f * before);
    memcpy(weights, kept, sizeof *kept);
    CHECK(charlm_pack(weights, packed) == 0);
    free(kept), free(m), free(v);
}

/* ------------------------------------------------------------------------------------------------ weights */

static void weights_as_a_block(void) {
    const size_t size = charlm_weights_write(weights, NULL, 0);
    unsigned char *blob = memory(size);
    charlm_weights *back = memory(sizeof *back);
    CHECK(charlm_weights_write(weights, blob, size) == size);
    CHECK(charlm_weights_read(back, blob, size) == 0 && memcmp(back, weights, sizeof *back) == 0);
    back->values[0] = 42;
    const int shorter = charlm_weights_read(back, blob, size - 1), longer = charlm_weights_read(back, blob, size + 1);
    blob[0] ^= 1;
    const int mark = charlm_weights_read(back, blob, size);
    blob[0] ^= 1, blob[8] ^= 1;
    const int abi = charlm_weights_read(back, blob, size);
    blob[8] ^= 1, blob[16] ^= 1;
    const int graph = charlm_weights_read(back, blob, size);
    CHECK(shorter && shorter == longer && mark && mark == abi && graph && graph != mark && mark != shorter);
    CHECK(back->values[0] == 42);             /* a refused block changes nothing */
    memset(blob, 7, size);
    CHECK(charlm_weights_write(weights, blob, size - 1) == size && blob[0] == 7);
    CHECK(charlm_abi() > 0);
    free(blob), free(back);
}

static void weights_may_be_read_only(void) {
    const size_t size = (charlm_packed_size() + 4095) / 4096 * 4096;
    void *fixed = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *usual = packed;
    CHECK(fixed != MAP_FAILED && charlm_pack(weights, fixed) == 0 && mprotect(fixed, size, PROT_READ) == 0);
    packed = fixed;
    steps_equal_a_run();
    backprop(NULL, 1, 0);
    packed = usual;
    munmap(fixed, size);
}

/* ------------------------------------------------------------------------------------------------ threads */

typedef struct {
    void (*work)(void *, int, int);
    void *data;
    int thread, threads;
} job;

static void *worker(void *argument) {
    job *mine = argument;
    mine->work(mine->data, mine->thread, mine->threads);
    return NULL;
}

static int most, calls;                        /* what the host grants, and how often it was asked */

static void host(void *context, int threads, void (*work)(void *, int, int), void *data) {
    pthread_t ids[64];
    job jobs[64];
    CHECK(context == &most);
    const int given = threads < most ? threads : most;
    calls++;
    for (int i = 1; i < given; i++) {
        jobs[i] = (job){work, data, i, given};
        CHECK(pthread_create(&ids[i], NULL, worker, &jobs[i]) == 0);
    }
    work(data, 0, given);
    for (int i = 1; i < given; i++) pthread_join(ids[i], NULL);
}

static void threads_of_the_host(void) {
    const charlm_tuning tuning = {.run = host, .context = &most};
    charlm_weights *one = memory(sizeof *one);
    float wanted[FRAMES * V];
    const float loss = backprop(NULL, 1, 0);
    memcpy(one, gradient, sizeof *one);
    memcpy(wanted, p, sizeof wanted);
    for (most = 1; most <= 4; most++) {
        calls = 0;
        memset(gradient, 0, sizeof *gradient), memset(p, 0, sizeof p);
        CHECK(backprop(&tuning, 3, 0) == loss);
        CHECK(calls == 1 && memcmp(one->values, gradient->values, sizeof(float) * CHARLM_TRAINABLE) == 0);
        CHECK(memcmp(p, wanted, sizeof p) == 0);
    }
    free(one);
}

static void threads_of_its_own_choice(void) {
    const charlm_tuning slow = {.flops_per_second = 1e3};           /* a machine on which every thread would pay */
    const float loss = backprop(NULL, 1, 0);
    CHECK(backprop(NULL, 0, 0) == loss && backprop(&slow, 0, 0) == loss && backprop(NULL, 100, 0) == loss);
}

/* Two callers at once, each with a state and a workspace of its own, on the same weights. */
static void *caller(void *argument) {
    float *to = argument;
    void *state = fresh(B), *space = memory(charlm_workspace_size_of(0, T, B));
    charlm_inputs in = {.x = x};
    charlm_outputs out = {.p = to};
    for (int i = 0; i < 20; i++) {
        charlm_reset(state, B);
        CHECK(charlm_run(packed, state, &in, &out, T, B, space, 1) == 0);
    }
    free(state), free(space);
    return NULL;
}

static void callers_at_once(void) {
    pthread_t ids[2];
    float *to[2] = {p, q};
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&ids[i], NULL, caller, to[i]) == 0);
    for (int i = 0; i < 2; i++) pthread_join(ids[i], NULL);
    CHECK(memcmp(p, q, sizeof p) == 0);
}

int main(int count, char **arguments) {
    prepare();
    threads_of_the_host();
    callers_at_once();
    threads_of_its_own_choice();
    if (count < 2 || strcmp(arguments[1], "hosted")) {
        probabilities_add_up();
        steps_equal_a_run();
        a_small_workspace_is_enough_for_a_step();
        a_copy_is_a_snapshot();
        streams_move_and_start_anew();
        starts_are_resets();
        unwanted_outputs_may_be_left_out();
        refusals();
        gradients_are_slopes();
        gradients_accumulate();
        evaluation_is_the_loss();
        weights_as_a_block();
        weights_may_be_read_only();
        it_learns();
    }
    free(weights), free(gradient), free(packed), free(workspace);
    return 0;
}
