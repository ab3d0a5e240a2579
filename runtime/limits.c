/* Behind the fixed C of a model: how fast that C is here. One line of JSON, in about a second. Every figure is the best
 * of a few turns, since whatever else runs only lengthens them. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Processor time of this thread, which other programs do not lengthen. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#define TURNS 5
static real sums[12 * 4 * RN_VL + 64], row[4096];
static real *field;
static volatile real sink;

/* Seconds of one `work`, done `times` times in a turn. */
#define BEST(result, times, ...)                                    \
    do {                                                            \
        result = 1e9;                                               \
        for (int turn = 0; turn < TURNS; turn++) {                  \
            const double start = now();                             \
            for (long i = 0; i < (times); i++) { __VA_ARGS__; }     \
            const double each = (now() - start) / (double)(times);  \
            if (each < result) result = each;                       \
        }                                                           \
    } while (0)

#define TILES(M)                                                                                                     \
    do {                                                                                                             \
        printf("%s[", M > 1 ? ", " : "");                                                                            \
        for (int n = 1; n <= RN_ROWS(M); n++) {                                                                      \
            const long inner = 6144 / (M * RN_VL);                      /* a panel of 24 KiB */                      \
            const real *rows[12];                                                                                    \
            double took;                                                                                             \
            for (int j = 0; j < 12; j++) rows[j] = row + j * 64;                                                     \
            BEST(took, 600, rn_tile(M, field, inner, rows, n, sums, 0));                                             \
            printf("%s%.4g", n > 1 ? ", " : "", 2.0 * M * RN_VL * (double)inner * n / took);                         \
        }                                                                                                            \
        printf("]");                                                                                                 \
    } while (0)

/* Reads `bytes` of panels to and fro, as steps of a loop with one row do. */
static double read_rate(size_t bytes, long times) {
    const real *rows[12] = {row};
    const long inner = bytes < 65536 ? 64 : 512, panels = (long)(bytes / sizeof(real)) / (inner * 4 * RN_VL);
    double took;
    for (long p = 0; p < panels; p++) rn_tile(4, field + p * inner * 4 * RN_VL, inner, rows, 1, sums, 0);
    BEST(took, times,
         for (long p = 0; p < panels; p++) rn_tile(4, field + p * inner * 4 * RN_VL, inner, rows, 1, sums, 0));
    return (double)(panels * inner * 4 * RN_VL) * sizeof(real) / took;
}

int main(void) {
    const size_t most = (size_t)64 << 20;
    double plain, function, other, meeting = 0, region = 0;
    const rn_mode mode = rn_flush_denormals();
    field = aligned_alloc(4096, most);
    if (!field) return 1;
    for (size_t i = 0; i < most / sizeof(real); i++) field[i] = (real)1e-3;
    for (int i = 0; i < 4096; i++) row[i] = (real)(i % 7) / 8;
    printf("{\"lanes\": %d, \"product\": [", (int)RN_VL);
    TILES(1); TILES(2); TILES(3); TILES(4);
    printf("], \"read\": [%.4g, %.4g, %.4g, %.4g]", read_rate(24 << 10, 2000), read_rate(512 << 10, 100),
           read_rate(8 << 20, 4), read_rate(most, 1));
    /* Eight operations on numbers that stay in a register, so that loads and stores, counted apart, are few. */
    BEST(plain, 400, for (int k = 0; k < 4096; k += RN_VL) {
        rn_v a = rn_load(row + k), b = rn_load(field + k);
        for (int j = 0; j < 4; j++) { a = a * b; RN_PIN(a); b = b + a; RN_PIN(b); }
        rn_store(field + 8192 + k, a + b);
    });
    BEST(function, 100, for (int k = 0; k < 4096; k += RN_VL) rn_store(field + 8192 + k, rn_tanh(rn_load(row + k))));
    BEST(other, 100, for (int k = 0; k < 4096; k += RN_VL) rn_store(field + 8192 + k, rn_sigmoid(rn_load(row + k))));
#ifdef _OPENMP
    if (omp_get_num_procs() > 1) {
        static rn_flag flags[2];
        double took;
        BEST(region, 200, _Pragma("omp parallel num_threads(2)") { sink = (real)omp_get_thread_num(); });
        BEST(took, 1, _Pragma("omp parallel num_threads(2)") {
            const rn_team team = {flags, 2};
            if (omp_get_num_threads() == 2)
                for (int m = 0; m < 5000; m++) rn_meet(&team, omp_get_thread_num());
        });
        meeting = took / 5000;
    }
#endif
    rn_restore(mode);
    printf(", \"plain\": %.4g, \"function\": %.4g, \"meeting\": %.4g, \"region\": %.4g}\n", plain / 4096 / 9,
           (function + other) / 2 / 4096, meeting, region);
    return 0;
}
