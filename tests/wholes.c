/* Values of whole sequences from C: compiled by test_c.py together with an emitted programs/good/wholes.rnn.
 *
 * Prints nothing and returns 0, or names the line that failed. Every array is exactly as large as the header says, so
 * that a sanitizer sees what reaches beyond it. With the argument `hosted` only the part with threads of the host runs
 * (for the thread sanitizer). */
#define _DEFAULT_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wholes.h"
#include "trial.h"

enum { T = 9, B = 3, N = 5, KINDS = 3, FRAMES = T * B, MOST = FRAMES };

static float *numbers(long count) {
    float *made = memory(sizeof *made * (size_t)count);
    for (long i = 0; i < count; i++) made[i] = (float)(2 * chance() - 1);
    return made;
}

static int32_t *labels(long count, int classes) {
    int32_t *made = memory(sizeof *made * (size_t)count);
    for (long i = 0; i < count; i++) made[i] = (int32_t)(chance() * classes);
    return made;
}

static wholes_weights *weights, *gradient;
static void *packed, *workspace, *state;
static uint8_t starts[FRAMES];
static wholes_inputs in;
static long S;

/* One call's inputs; `spelled`: labels in each list. */
static void prepare(int spelled) {
    for (int r = 0; r < FRAMES; r++) starts[r] = chance() < 0.3;
    in.starts = starts;
    S = wholes_sequences(starts, T, B);
    long begun = B;
    for (int r = B; r < FRAMES; r++) begun += starts[r];
    CHECK(S == begun && wholes_sequences(NULL, T, B) == B);
    uint8_t *loud = memory((size_t)S);
    int32_t *lengths = memory(sizeof *lengths * (size_t)S);
    for (long s = 0; s < S; s++) loud[s] = chance() < 0.5, lengths[s] = spelled;
    in.x = numbers(FRAMES * N), in.a = numbers(S * 2), in.S = numbers(S * 2 * N), in.speaker = labels(S, 4);
    in.loud = loud, in.spoken = labels(S * spelled, KINDS), in.spoken_lengths = lengths, in.y = labels(S, KINDS);
    in.v = numbers(S * 2);
}

static void clean(void) {
    const void *given[] = {in.x, in.a, in.S, in.speaker, in.loud, in.spoken, in.spoken_lengths, in.y, in.v};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) free((void *)(uintptr_t)given[i]);
}

static float backprop(const wholes_tuning *tuning, int threads) {
    float loss;
    in.tuning = tuning;
    wholes_reset(state, B);
    memset(workspace, 0xff, wholes_workspace_size_of(2, T, B));             /* NaN, where nothing has been written */
    CHECK(wholes_backprop(packed, state, &in, NULL, T, B, workspace, threads, gradient, &loss) == 0);
    in.tuning = NULL;
    return loss;
}

static void outputs_per_sequence_are_written_and_nothing_else(void) {
    float *z = memory(sizeof *z * (size_t)S * KINDS), *d = memory(sizeof *d * FRAMES * N);
    float *u = memory(sizeof *u * (size_t)S * 2);
    int32_t *best = memory(sizeof *best * (size_t)S), *again = memory(sizeof *again * FRAMES);
    wholes_outputs out = {.z = z, .d = d, .best = best, .again = again, .u = u};
    memset(workspace, 0xff, wholes_workspace_size_of(0, T, B));
    wholes_reset(state, B);
    CHECK(wholes_run(packed, state, &in, &out, T, B, workspace, 1) == 0);
    for (long s = 0; s < S; s++) {
        CHECK(u[2 * s] == 2 * in.a[2 * s] && best[s] >= 0 && best[s] < KINDS);
        for (int k = 0; k < KINDS; k++) CHECK(isfinite(z[s * KINDS + k]) && z[s * KINDS + best[s]] >= z[s * KINDS + k]);
    }
    for (int i = 0; i < FRAMES * N; i++) CHECK(isfinite(d[i]));
    free(z), free(d), free(u), free(best), free(again);
}

static void the_gradient_goes_downhill(void) {
    float loss = backprop(NULL, 1);
    for (int update = 0; update < 40; update++) {
        for (int i = 0; i < WHOLES_TRAINABLE; i++) weights->values[i] -= 0.1f * gradient->values[i];
        CHECK(wholes_pack(weights, packed) == 0);
        const float next = backprop(NULL, 1);
        CHECK(isfinite(next));
        if (update == 39) CHECK(next < 0.8f * loss);
    }
}

static void a_list_that_is_too_long_costs_infinity(void) {
    clean(), prepare(T + 1);
    CHECK(isinf(backprop(NULL, 1)));
    for (int i = 0; i < WHOLES_TRAINABLE; i++) CHECK(isfinite(gradient->values[i]));
}

/* ------------------------------------------------------------------------------------------------ threads */

typedef struct {
    void (*work)(void *data, int thread, int threads);
    void *data;
    int thread, threads;
} job;

static void *begin(void *argument) {
    const job *j = argument;
    j->work(j->data, j->thread, j->threads);
    return NULL;
}

static void host(void *context, int threads, void (*work)(void *data, int thread, int threads), void *data) {
    pthread_t ids[8];
    job jobs[8];
    (void)context;
    for (int i = 0; i < threads; i++) {
        jobs[i] = (job){work, data, i, threads};
        CHECK(pthread_create(&ids[i], NULL, begin, &jobs[i]) == 0);
    }
    for (int i = 0; i < threads; i++) CHECK(pthread_join(ids[i], NULL) == 0);
}

static void any_number_of_threads_gives_the_same(void) {
    wholes_weights *first = memory(sizeof *first);
    const float loss = backprop(NULL, 1);
    memcpy(first, gradient, sizeof *first);
    const wholes_tuning tuning = {.run = host};
    for (int threads = 2; threads <= 5; threads++) {
        CHECK(backprop(&tuning, threads) == loss);
        CHECK(memcmp(first, gradient, sizeof *first) == 0);
    }
    free(first);
}

int main(int count, char **arguments) {
    const int hosted = count > 1 && !strcmp(arguments[1], "hosted");
    weights = memory(sizeof *weights), gradient = memory(sizeof *gradient);
    for (int i = 0; i < WHOLES_WEIGHTS; i++) weights->values[i] = (float)(0.6 * chance() - 0.3);
    packed = memory(wholes_packed_size()), state = memory(wholes_state_size(B));
    workspace = memory(wholes_workspace_size(T, B));
    CHECK(wholes_pack(weights, packed) == 0);
    prepare(1);
    any_number_of_threads_gives_the_same();
    if (!hosted) {
        outputs_per_sequence_are_written_and_nothing_else();
        the_gradient_goes_downhill();
        a_list_that_is_too_long_costs_infinity();
    }
    clean();
    free(weights), free(gradient), free(packed), free(workspace), free(state);
    return 0;
}
