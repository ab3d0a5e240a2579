/* base.h: the number type, and vectors of it as wide as the target has them.
 *
 * Everything below works on `rn_v`, a vector of RN_VL numbers in GCC's vector extension: 64 bytes with AVX-512, 32 with
 * AVX, 16 elsewhere (SSE, NEON). No intrinsics, so the same text compiles for any processor. RN_DOUBLE chooses the
 * number type. Vectors live in registers and in inlined functions only: between functions that are really called, data
 * goes through pointers. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L               /* sched_yield and getpid under plain -std=c11 */
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE                       /* syscall */
#endif
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef RN_DOUBLE
#define RN_DOUBLE 0
#endif

/* Whether a product asks for panels that are far away, in the third cache (products.h). Zen fetches them by itself, and
 * asking costs more than it helps: without, LSTM 512 with 16 streams runs 4 % and trains 3 % faster, GRU 512 trains 3 %, on
 * one thread and on two (Zen 4). */
#if defined(__znver1__) || defined(__znver2__) || defined(__znver3__) || defined(__znver4__) || defined(__znver5__)
#undef RN_ASKS
#define RN_ASKS 0
#elif !defined(RN_ASKS)
#define RN_ASKS 1
#endif

/* A module for Python is compiled in two halves side by side: 1, what trains, and 2, all else. 0: whole. */
#ifndef RN_HALF
#define RN_HALF 0
#endif

#if defined(__AVX512F__)
#define RN_BYTES 64
#elif defined(__AVX__)
#define RN_BYTES 32
#else
#define RN_BYTES 16
#endif

#if defined(__AVX512F__) || defined(__aarch64__)
#define RN_REGISTERS 32
#else
#define RN_REGISTERS 16
#endif

/* Inlined always; a real function, compiled once however often it is called; either may stay unused in silence. */
#define RN_INLINE static inline __attribute__((always_inline, unused))
#if defined(__clang__)
#define RN_FUNCTION static __attribute__((noinline, unused))
#else
#define RN_FUNCTION static __attribute__((noipa, unused))   /* as it stands: not once more for each constant size */
#endif
#define RN_UNUSED __attribute__((unused))
#define RN_HIDDEN __attribute__((visibility("hidden")))
#define RN_FLATTEN __attribute__((flatten))   /* whatever it calls is inlined, and that which those call (gcc) */

#define RN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RN_MAX(a, b) ((a) > (b) ? (a) : (b))
#define RN_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define RN_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define RN_LINE 64                            /* bytes; every buffer of the library starts on such a boundary */
#define RN_ALIGNED _Alignas(RN_LINE)

/* Small arrays of vectors stay in registers only if the loops over them are unrolled completely. */
#if defined(__clang__)
#define RN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RN_UNROLL _Pragma("GCC unroll 32")
#endif

#if RN_DOUBLE
typedef double real;
typedef int64_t rn_bits;                      /* an integer of the same size */
#define RN_VL (RN_BYTES / 8)
#define RN_EPSILON 2.2204460492503131e-16
#else
typedef float real;
typedef int32_t rn_bits;
#define RN_VL (RN_BYTES / 4)
#define RN_EPSILON 1.1920928955078125e-07f
#endif
#define RN_INFINITY ((real)INFINITY)
#define RN_NAN ((real)NAN)

typedef real rn_v __attribute__((vector_size(RN_BYTES)));
typedef rn_bits rn_i __attribute__((vector_size(RN_BYTES)));       /* integer view; as a mask, all bits or none */
typedef real rn_unaligned __attribute__((vector_size(RN_BYTES), aligned(sizeof(real)), may_alias));

/* n rounded up to whole vectors: the length of every padded row. Usable as a constant. */
#define RN_PAD(n) (((n) + RN_VL - 1) / RN_VL * RN_VL)

RN_INLINE rn_v rn_load(const real *p) { return *(const rn_unaligned *)p; }
RN_INLINE void rn_store(real *p, rn_v v) { *(rn_unaligned *)p = v; }
/* Asks for `vectors` vectors from p on that will be read, or be written. What the equations behind a product want lies
 * far away by then, in pieces too small for the processor to foresee: training a cell of 392 units, 4 streams, is 4 %
 * faster if it is asked for beforehand, four LSTM 256 with one stream 3 % (Zen 4, one thread). */
RN_INLINE void rn_fetch(const real *p, long vectors) {
    for (long i = 0; i < vectors * RN_VL; i += (long)(RN_LINE / sizeof(real))) __builtin_prefetch(p + i);
}
RN_INLINE void rn_fetch_to(const real *p, long vectors) {
    for (long i = 0; i < vectors * RN_VL; i += (long)(RN_LINE / sizeof(real))) __builtin_prefetch(p + i, 1);
}
/* Asks for rows of n numbers that several threads have made: a product would wait for one line after the other. Two
 * threads, 512 units, blocks of 4 frames: training is 4 to 9 % faster, a peephole LSTM of 256 2 % (Xeon). */
RN_INLINE void rn_fetch_rows(const real *const *rows, long count, long n) {
    for (long j = 0; j < count; j++) rn_fetch(rows[j], RN_PAD(n) / RN_VL);
}
/* x in every lane. Compilers drop `minus zero`; `plus zero` they may not (-0 + 0 is 0), and an addition here would cost
 * a third of the speed of products on processors that add and multiply in the same units. */
RN_INLINE rn_v rn_all(real x) { return x - (rn_v){0}; }

#if defined(__has_builtin)
#define RN_HAS(builtin) __has_builtin(builtin)
#else
#define RN_HAS(builtin) 0
#endif

/* sum += column * value, and column * *p for all lanes, in one instruction where there is one for both: of *p gcc would
 * make a vector first, if several want it. These are fused whatever the compiler makes of other sums, so a row has the
 * same ones in a tile of any number of rows, also where -ffp-contract is off. (Of the first in assembly gcc makes slow
 * tiles: 1 x 4 at 87 instead of 117 GFLOP/s; Zen 4.) */
#if defined(__AVX512F__) && RN_HAS(__builtin_ia32_vfmaddps512_mask)
#if RN_DOUBLE
#define RN_FUSED "vfmadd231pd"
#define RN_ALL_LANES "%1%{1to8%}"
#define RN_EVERY ((uint8_t)-1)
#define RN_ADD_PRODUCT(sum, column, value) ((sum) = __builtin_ia32_vfmaddpd512_mask(column, value, sum, RN_EVERY, 4))
#else
#define RN_FUSED "vfmadd231ps"
#define RN_ALL_LANES "%1%{1to16%}"
#if defined(__clang__)
#define RN_EVERY ((uint16_t)-1)
#else
#define RN_EVERY (-1)                          /* its mask is signed, and -Wconversion looks */
#endif
#define RN_ADD_PRODUCT(sum, column, value) ((sum) = __builtin_ia32_vfmaddps512_mask(column, value, sum, RN_EVERY, 4))
#endif
#define RN_ADD_ALL(sum, column, p)                                                                                    \
    __asm__(RN_FUSED " {" RN_ALL_LANES ", %2, %0|%0, %2, " RN_ALL_LANES "}" : "+v"(sum) : "m"(*(p)), "v"(column))
#else
#define RN_ADD_ALL(sum, column, p) ((sum) += (column) * rn_all(*(p)))
#define RN_ADD_PRODUCT(sum, column, value) ((sum) += (column) * (value))
#endif

/* Lanes 0 .. n-1 set. */
RN_INLINE rn_i rn_first(long n) {
    rn_i lane = {0};
    RN_UNROLL for (int i = 0; i < RN_VL; i++) lane[i] = i;
    return (rn_i)(lane < (rn_i){0} + (rn_bits)n);
}

/* One instruction for part of a vector, where there is one: without, its numbers go over the stack, and a vector loaded
 * from pieces that were just stored waits for all of them (12 ns instead of 0.7; Zen 4). Nothing beyond p[n - 1] is
 * touched. */
#if defined(__AVX512F__) && RN_HAS(__builtin_ia32_loadups512_mask)
#define RN_BELOW(n) (((uint32_t)1 << (n)) - 1)
#if RN_DOUBLE
#define RN_MASKED_LOAD(p, n) __builtin_ia32_loadupd512_mask(p, (rn_v){0}, (uint8_t)RN_BELOW(n))
#define RN_MASKED_STORE(p, v, n) __builtin_ia32_storeupd512_mask(p, v, (uint8_t)RN_BELOW(n))
#else
#define RN_MASKED_LOAD(p, n) __builtin_ia32_loadups512_mask(p, (rn_v){0}, (uint16_t)RN_BELOW(n))
#define RN_MASKED_STORE(p, v, n) __builtin_ia32_storeups512_mask(p, v, (uint16_t)RN_BELOW(n))
#endif
#elif defined(__AVX__) && RN_HAS(__builtin_ia32_maskloadps256)
#if RN_DOUBLE
typedef long long rn_lanes __attribute__((vector_size(RN_BYTES)));
#define RN_MASKED_LOAD(p, n) __builtin_ia32_maskloadpd256((const rn_v *)(p), (rn_lanes)rn_first(n))
#define RN_MASKED_STORE(p, v, n) __builtin_ia32_maskstorepd256((rn_v *)(p), (rn_lanes)rn_first(n), v)
#else
#define RN_MASKED_LOAD(p, n) __builtin_ia32_maskloadps256((const rn_v *)(p), rn_first(n))
#define RN_MASKED_STORE(p, v, n) __builtin_ia32_maskstoreps256((rn_v *)(p), rn_first(n), v)
#endif
#endif

/* The first n numbers of p, zeros behind them; 0 <= n <= RN_VL. */
RN_INLINE rn_v rn_load_part(const real *p, long n) {
    if (n >= RN_VL) return rn_load(p);
#if defined(RN_MASKED_LOAD)
    return RN_MASKED_LOAD(p, n);
#else
    RN_ALIGNED real lanes[RN_VL] = {0};
    for (long i = 0; i < n; i++) lanes[i] = p[i];
    return rn_load(lanes);
#endif
}

RN_INLINE void rn_store_part(real *p, rn_v v, long n) {
    if (n >= RN_VL) {
        rn_store(p, v);
        return;
    }
#if defined(RN_MASKED_STORE)
    RN_MASKED_STORE(p, v, n);
#else
    RN_ALIGNED real lanes[RN_VL];
    rn_store(lanes, v);
    for (long i = 0; i < n; i++) p[i] = lanes[i];
#endif
}

/* Lane by lane: where the mask is set a, elsewhere b. */
RN_INLINE rn_v rn_select(rn_i mask, rn_v a, rn_v b) { return (rn_v)((mask & (rn_i)a) | (~mask & (rn_i)b)); }

/* The counting build: which products ran, with which sizes, and how often threads met. Tests of the planner read it;
 * in every other build these are nothing. `stage` is a number the generated code gives to a place in the plan; a
 * product that threads share is logged as their pieces, some of which may be empty. Meetings between stages count under
 * RN_BETWEEN. */
#define RN_BETWEEN 1023
#ifdef RNNC_COUNT
#define RN_COUNT_LOG 65536
#define RN_COUNT_STAGES 1024
typedef struct {
    int stage;
    long rows, columns, inner;
} rn_product;
static rn_product rn_count_log[RN_COUNT_LOG];
static atomic_long rn_count_used, rn_count_met[RN_COUNT_STAGES];

RN_FUNCTION void rn_count_product(int stage, long rows, long columns, long inner) {
    long at = atomic_fetch_add(&rn_count_used, 1);
    if (at < RN_COUNT_LOG) rn_count_log[at] = (rn_product){stage, rows, columns, inner};
}
/* The number of products since the last clearing; the first RN_COUNT_LOG of them are kept. */
RN_FUNCTION long rn_count_products(void) { return atomic_load(&rn_count_used); }
RN_FUNCTION int rn_count_read(long i, long *rows, long *columns, long *inner) {
    *rows = rn_count_log[i].rows, *columns = rn_count_log[i].columns, *inner = rn_count_log[i].inner;
    return rn_count_log[i].stage;
}
RN_FUNCTION long rn_count_meetings(int stage) { return atomic_load(&rn_count_met[stage % RN_COUNT_STAGES]); }
RN_FUNCTION void rn_count_clear(void) {
    atomic_store(&rn_count_used, 0);
    for (int i = 0; i < RN_COUNT_STAGES; i++) atomic_store(&rn_count_met[i], 0);
}
#define RN_COUNT_PRODUCT(stage, rows, columns, inner) rn_count_product(stage, rows, columns, inner)
#define RN_COUNT_MEETING(stage) ((void)atomic_fetch_add(&rn_count_met[(stage) % RN_COUNT_STAGES], 1))
#define RN_COUNTING(text) text
#else
#define RN_COUNTING(text)
#define RN_COUNT_PRODUCT(stage, rows, columns, inner) ((void)0)
#define RN_COUNT_MEETING(stage) ((void)0)
#endif
