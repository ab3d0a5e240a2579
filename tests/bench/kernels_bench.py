"""What the fixed C of runtime/ reaches on this machine: GFLOP/s, GB/s, nanoseconds. Prints one table.

    python tests/bench/kernels_bench.py [--compiler clang] [--flags "-O2 -march=x86-64-v3"] [--double]

Best of many: run it on a quiet machine, and take differences below 5 % as nothing.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from rnnc.target.module import FIXED

RUNTIME = Path(__file__).parents[2] / "runtime"
MATHS = "-std=c11 -ffp-contract=fast -fno-math-errno -fno-trapping-math -fopenmp -D_GNU_SOURCE".split()

BENCH = r"""
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#define BEST(best, ...)                                                     \
    double best = 1e9;                                                      \
    for (int again = 0; again < 15; again++) {                              \
        double t = now();                                                   \
        __VA_ARGS__;                                                        \
        t = now() - t;                                                      \
        if (t < best) best = t;                                             \
    }
static real *numbers(long n) {
    real *x = aligned_alloc(64, (size_t)(RN_PAD(n) + RN_VL) * sizeof(real));
    for (long i = 0; i < n; i++) x[i] = (real)(rand() % 1000) / 500 - 1;
    return x;
}
static double peak(void) {
    rn_v s[12], a = rn_all((real)1e-9), total = {0};
    RN_UNROLL for (int i = 0; i < 12; i++) s[i] = rn_all(0);
    BEST(best, for (long n = 0; n < 100000; n++) RN_UNROLL for (int i = 0; i < 12; i++) {
        s[i] += a * a;
        RN_PIN(s[i]);
    })
    RN_UNROLL for (int i = 0; i < 12; i++) total += s[i];
    volatile real keep = total[0];
    (void)keep;
    return 100000.0 * 12 * RN_VL * 2 / best * 1e-9;
}
#define TILE(mv, nrows)                                                                                     \
    if (nrows <= RN_ROWS(mv)) {                                                                             \
        BEST(best, for (int n = 0; n < 40; n++) for (int p = 0; p < 12 / mv; p++)                            \
            rn_tile(mv, panel + (long)p * mv * RN_VL * K, K, rows, nrows, acc, 0))                           \
        printf("  %d x %-2d %4.0f", mv, nrows, 40.0 * (12 / mv) * mv * RN_VL * nrows * (double)K * 2 / best * 1e-9); \
    }
static void tiles(long K) {
    real *panel = numbers(12 * RN_VL * K), *x = numbers(12 * (K + 16));
    RN_ALIGNED real acc[24 * RN_VL];
    const real *rows[12];
    for (int j = 0; j < 12; j++) rows[j] = x + j * (K + 16);
    printf("tiles, inner %ld, %ld KiB of panels, GFLOP/s\n", K, 12 * RN_VL * K * (long)sizeof(real) / 1024);
    TILE(1, 1) TILE(1, 4) TILE(1, 12) puts("");
    TILE(2, 1) TILE(2, 2) TILE(2, 4) TILE(2, 6) TILE(2, 8) TILE(2, 12) puts("");
    TILE(3, 1) TILE(3, 2) TILE(3, 4) TILE(3, 6) TILE(3, 8) puts("");
    TILE(4, 1) TILE(4, 2) TILE(4, 3) TILE(4, 4) TILE(4, 5) TILE(4, 6) puts("");
}
static void fold(long m, long K, long R) {
    real *a = numbers(R * m), *x = numbers(R * K), *c = numbers(m * K);
    const int times = 1 + (int)(1e8 / (double)(m * K * R));
    BEST(best, for (int i = 0; i < times; i++) for (long r = 0; r < R; r += RN_FOLD_MOST) {
        const rn_rows left = {a + r * m, m, NULL, 0}, right = {x + r * K, K, NULL, 0};
        rn_fold(c, K, m, K, &left, &right, RN_MIN(R - r, RN_FOLD_MOST), 1);
    })
    printf("fold %4ld x %-4ld over %3ld rows %22.0f GFLOP/s\n", m, K, R, 2e-9 * (double)(m * K * R) * times / best);
    free(a), free(x), free(c);
}
#define MATHS(name)                                                                                      \
    {                                                                                                    \
        BEST(best, for (int n = 0; n < 50; n++) for (long i = 0; i < 4096; i += RN_VL)                    \
            rn_store(y + i, rn_##name(rn_load(x + i))))                                                  \
        printf("  " #name " %.2f", best / (50 * 4096) * 1e9);                                            \
    }
static void meet_often(void *argument, const rn_team *team, int thread) {
    double t = now();
    for (int i = 0; i < 100000; i++) rn_meet(team, thread);
    if (thread == 0) *(double *)argument = (now() - t) / 100000;
}
int main(void) {
    static _Alignas(128) rn_flag flags[RN_MOST_THREADS];
    long n = 1 << 20;
    real *x = numbers(n), *y = numbers(n), *z = numbers(n), *w = numbers(n);
    double gap = 1;
    printf("vectors of %d numbers, peak of one thread %.0f GFLOP/s\n", RN_VL, peak());
    tiles(64);
    tiles(512);
    fold(2048, 512, 256), fold(2048, 128, 256), fold(512, 512, 128), fold(256, 256, 64), fold(2048, 512, 16);
    for (int form = 0; form < 2; form++) {
        BEST(best, rn_pack(y, x, form ? 1 : 1024, form ? 1024 : 1, 1024, 1024, 0, 1, 4, 0, 1))
        printf("pack 1024 x 1024, %s %29.1f GB/s\n", form ? "turned over" : "as it is  ",
               2.0 * (double)n * sizeof(real) / best * 1e-9);
    }
    printf("maths, ns a number:");
    MATHS(exp) MATHS(sigmoid) MATHS(tanh) MATHS(softplus) MATHS(log) MATHS(sin) MATHS(erf) MATHS(sqrt) puts("");
    BEST(adam, rn_adam(n, x, y, z, w, 1e-9, 0.9, 0.99, 1e-8, 0, 9, 1))
    printf("adam over 2^20 numbers %26.1f GB/s\n", 7.0 * (double)n * sizeof(real) / adam * 1e-9);
    BEST(norm, gap += rn_norm2(n, x))
    printf("norm of 2^20 numbers %28.1f GB/s\n", (double)n * sizeof(real) / norm * 1e-9);
    BEST(soft, for (int i = 0; i < 1000; i++) rn_row_softmax(y, x, 128))
    printf("softmax of 128 %34.0f ns\n", soft * 1e6);
    rn_parallel(2, flags, meet_often, &gap, NULL);
    printf("meeting of 2 threads %28.0f ns\n", gap * 1e9);
    return 0;
}
"""


def main():
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--compiler", default="gcc")
    ask.add_argument("--flags", default="-O3 -march=native")
    ask.add_argument("--double", action="store_true")
    args = ask.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source, program = Path(place, "bench.c"), Path(place, "bench")
        fixed = "\n".join((RUNTIME / name).read_text() for name in FIXED)
        source.write_text(f"#define RN_DOUBLE {int(args.double)}\n{fixed}\n{BENCH}")
        subprocess.run([args.compiler, *MATHS, *args.flags.split(), str(source), "-o", str(program), "-lm"], check=True)
        subprocess.run([str(program)], check=True)


if __name__ == "__main__":
    main()
