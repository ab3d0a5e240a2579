/* The machine's limits: multiply-adds a second, and bytes read a second by size of what is read over and over.
 * Prints one line of JSON:  limits THREADS
 * GCC's vectors, so that it is the same text on every processor. All threads work at once, each counts its own processor
 * time, which other programs do not lengthen; the sum of their speeds, the median of 7 turns. */
#define _GNU_SOURCE
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif
#if defined(__x86_64__)
#define HERE(v) __asm__ volatile("" : "+v"(v))
#elif defined(__aarch64__)
#define HERE(v) __asm__ volatile("" : "+w"(v))
#endif
#define SUMS 12
#define TURNS 7
typedef float vec __attribute__((vector_size(BYTES)));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v) {
    qsort(v, TURNS, sizeof *v, compare);
    return v[TURNS / 2];
}

static void multiply(long n) {
    vec sum[SUMS], by = (vec){0} + 0.999f, more = (vec){0} + 1e-3f;
#pragma GCC unroll 12
    for (int i = 0; i < SUMS; i++) sum[i] = (vec){0} + (float)i;
    for (long k = 0; k < n; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < SUMS; i++) {
            sum[i] = sum[i] * by + more;
            HERE(sum[i]);
        }
    }
}

static void read_over(const vec *p, size_t vectors, long times) {
    vec sum[8] = {{0}};
    for (long r = 0; r < times; r++)
        for (size_t k = 0; k < vectors; k += 8) {
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                sum[i] += p[k + (size_t)i];
                HERE(sum[i]);
            }
        }
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    const int kib[] = {16, 32, 256, 512, 1024, 2048, 4096, 8192, 65536};
    double turn[TURNS], speed;
    omp_set_num_threads(threads);
    for (int r = -1; r < TURNS; r++) {
        const long n = 4000000;
        speed = 0;
#pragma omp parallel reduction(+ : speed)
        {
            const double start = now();
            multiply(n);
            speed += (double)n * SUMS * (BYTES / 4) * 2 / (now() - start) * 1e-9;
        }
        if (r >= 0) turn[r] = speed;
    }
    printf("{\"threads\": %d, \"vector_bytes\": %d, \"gflops\": %.1f, \"gbytes\": {", threads, BYTES, median(turn));
    for (size_t q = 0; q < sizeof kib / sizeof *kib; q++) {
        const size_t bytes = (size_t)kib[q] * 1024;
        const long times = (long)(2e8 / (double)bytes) + 1;
        void *block[64];
#pragma omp parallel
        {
            const size_t whole = (bytes + (2u << 20) - 1) / (2u << 20) * (2u << 20);
            float *mine = block[omp_get_thread_num()] = aligned_alloc(2u << 20, whole);
            madvise(mine, whole, MADV_HUGEPAGE);
            for (size_t i = 0; i < bytes / 4; i++) mine[i] = 1e-9f;
        }
        for (int r = -1; r < TURNS; r++) {
            speed = 0;
#pragma omp parallel reduction(+ : speed)
            {
                const double start = now();
                read_over(block[omp_get_thread_num()], bytes / BYTES, times);
                speed += (double)bytes * (double)times / (now() - start) * 1e-9;
            }
            if (r >= 0) turn[r] = speed;
        }
        printf("%s\"%d\": %.1f", q ? ", " : "", kib[q], median(turn));
        for (int t = 0; t < threads; t++) free(block[t]);
    }
    printf("}}\n");
    return 0;
}
