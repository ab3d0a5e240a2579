/* threads.h: one parallel region per call, and inside it threads that meet by flags.
 *
 * Each thread owns one line of memory with a counter only it writes; everybody else only reads it. A meeting of n
 * threads takes ceil(log2 n) rounds: in round r a thread raises its own flag, then waits for the thread 2^r before it
 * (a dissemination barrier). For two threads that is one flag each way. Waiting spins a while, then gives the processor
 * away: with more threads than processors pure spinning stands still. Linux lets a thread sleep until a counter changes;
 * elsewhere it yields. A thread that slept is let in again at once, one that yielded only after a whole slice of the
 * others: with two processes beside a net of 16 streams on two cores that is 20,000 frames a second instead of 2,000. */
#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#include <unistd.h>
#define RN_YIELD() ((void)sched_yield())
#else
#define RN_YIELD() ((void)0)
#endif
#ifdef __linux__
#include <sys/syscall.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#define RN_MOST_THREADS 64
/* A waiting thread looks so many times, then so many times with a pause between, which leaves a shared core to whoever is
 * on its other half, and then gives its processor away: after 60 microseconds (Zen 4) to 150 (Xeon). That is longer than a
 * virtual machine needs to wake one that slept; after 10 microseconds, one late thread made the other sleep, which then
 * came late itself, and so on. Two threads alone on two cores, one stream, middle and slowest tenth of the times of a call:
 * GRU 512 13.9 and 17.4 ms, now 12.7 and 13.9; four LSTM 256 14.2 and 19.3, now 13.7 and 14.9 (Zen 4). Beside another program
 * it is the same; five times as long, a tenth slower there. */
#define RN_LOOKS 2000
#define RN_PAUSES 3000
#if defined(__x86_64__) || defined(__i386__)
#define RN_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RN_PAUSE() __asm__ volatile("yield")
#else
#define RN_PAUSE() ((void)0)
#endif

/* One counter alone on its lines: 128 bytes, since processors fetch lines in pairs. */
typedef struct {
    _Atomic uint32_t count;
    _Atomic uint32_t asleep;                  /* threads that sleep until it changes, or are about to */
    char rest[128 - 2 * sizeof(uint32_t)];
} rn_flag;

typedef struct {
    rn_flag *flags;                           /* one per thread, in memory of the caller */
    int threads;                              /* as many as really run */
    int first;                                /* its first thread, among those of the call */
} rn_team;

/* Has a counter that wraps around reached the value? */
RN_INLINE int rn_reached(const rn_flag *flag, uint32_t value) {
    return (int32_t)(atomic_load_explicit(&flag->count, memory_order_acquire) - value) >= 0;
}

#ifdef SYS_futex
/* The sleeper says so before it looks a last time, and the kernel compares once more with what it saw; who raises the
 * counter looks for sleepers after that. In the one order that both see, no change is missed. */
RN_FUNCTION void rn_sleep(rn_flag *flag, uint32_t value) {
    const int wait_private = 128;
    atomic_fetch_add(&flag->asleep, 1);
    const uint32_t seen = atomic_load(&flag->count);
    if ((int32_t)(seen - value) < 0) (void)syscall(SYS_futex, &flag->count, wait_private, seen, NULL, NULL, 0);
    atomic_fetch_sub(&flag->asleep, 1);
}
RN_FUNCTION void rn_wake(rn_flag *flag) {
    const int wake_private = 129, all = RN_MOST_THREADS;
    (void)syscall(SYS_futex, &flag->count, wake_private, all, NULL, NULL, 0);
}
RN_INLINE void rn_raise(rn_flag *flag, uint32_t value) {
    atomic_exchange(&flag->count, value);
    if (atomic_load(&flag->asleep)) rn_wake(flag);
}
#else
RN_INLINE void rn_sleep(const rn_flag *flag, uint32_t value) { (void)flag, (void)value, RN_YIELD(); }
RN_INLINE void rn_raise(rn_flag *flag, uint32_t value) {
    atomic_store_explicit(&flag->count, value, memory_order_release);
}
#endif

RN_FUNCTION void rn_wait_long(rn_flag *flag, uint32_t value) {
    for (long looks = 0; !rn_reached(flag, value); looks++)
        if (looks >= RN_LOOKS + RN_PAUSES) rn_sleep(flag, value);
        else if (looks >= RN_LOOKS) RN_PAUSE();
}

RN_INLINE void rn_wait(rn_flag *flag, uint32_t value) {
    if (!rn_reached(flag, value)) rn_wait_long(flag, value);
}

/* All threads of the team come here before any leaves; what was written before is seen behind. Even one thread reads it
 * from memory: a compiler that had the value still at hand (in the code of a step, where all is inlined) might fuse the
 * multiplication that made it with an addition behind, and give other bits than a run. */
RN_INLINE void rn_meet(const rn_team *team, int thread) {
    atomic_signal_fence(memory_order_seq_cst);
    if (team->threads == 1) return;
    uint32_t count = atomic_load_explicit(&team->flags[thread].count, memory_order_relaxed);
    for (int reach = 1; reach < team->threads; reach *= 2) {
        int other = thread - reach;
        rn_raise(&team->flags[thread], ++count);
        rn_wait(&team->flags[other < 0 ? other + team->threads : other], count);
    }
}

/* How far a thread has come with something others wait for, chunk by chunk; starts at 0, only grows, one writer. */
RN_INLINE void rn_progress_set(rn_flag *progress, long value) {
    rn_raise(progress, (uint32_t)value);
}
RN_INLINE void rn_progress_wait(rn_flag *progress, long value) { rn_wait(progress, (uint32_t)value); }

RN_INLINE void rn_flags_clear(rn_flag *flags, int n) {
    for (int i = 0; i < n; i++) {
        atomic_store_explicit(&flags[i].count, 0, memory_order_relaxed);
        atomic_store_explicit(&flags[i].asleep, 0, memory_order_relaxed);
    }
}

/* The contiguous share [first, last) of one thread; shares differ by one at most. */
RN_INLINE void rn_share(long total, int thread, int threads, long *first, long *last) {
    *first = total * thread / threads;
    *last = total * (thread + 1) / threads;
}

/* Denormal numbers are flushed to zero while we compute, since some processors take a hundred cycles for one.
 * The mode belongs to a thread: each sets it on entry and puts back what it found. That is 17 ns of a call (Xeon),
 * which a host saves that runs with the mode set. */
#if defined(__SSE__)
typedef unsigned int rn_mode;
RN_INLINE rn_mode rn_flush_denormals(void) {
    rn_mode before = __builtin_ia32_stmxcsr();
    if ((before & 0x8040) != 0x8040) __builtin_ia32_ldmxcsr(before | 0x8040);
    return before;                            /* 0x8040: flush results, and take operands as zero */
}
RN_INLINE void rn_restore(rn_mode before) {
    if ((before & 0x8040) != 0x8040) __builtin_ia32_ldmxcsr(before);
}
#elif defined(__aarch64__)
typedef uint64_t rn_mode;
RN_INLINE rn_mode rn_flush_denormals(void) {
    rn_mode before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (UINT64_C(1) << 24)));
    return before;
}
RN_INLINE void rn_restore(rn_mode before) { __asm__ volatile("msr fpcr, %0" : : "r"(before)); }
#else
typedef int rn_mode;
RN_INLINE rn_mode rn_flush_denormals(void) { return 0; }
RN_INLINE void rn_restore(rn_mode before) { (void)before; }
#endif

/* What a thread runs: `thread` counts from 0 to team->threads - 1. */
typedef void (*rn_body)(void *argument, const rn_team *team, int thread);

/* A host with threads of its own hands in `run`, which must call work(data, thread, n) for all thread = 0 .. n-1 at the
 * same time and return when all have; n is its choice, at most `threads`. */
typedef struct {
    void (*run)(void *context, int threads, void (*work)(void *data, int thread, int threads), void *data);
    void *context;
} rn_host;

typedef struct {
    rn_flag *flags;
    rn_body body;
    void *argument;
} rn_job;

static void rn_work(void *data, int thread, int threads) {
    const rn_job *job = data;
    const rn_team team = {job->flags, threads, 0};
    rn_mode before = rn_flush_denormals();
    job->body(job->argument, &team, thread);
    rn_restore(before);
}

#ifdef _OPENMP
/* libgomp hangs in a child forked after its first region: the process of that region is remembered, children get one
 * thread. The only writable global of the library, touched only where OpenMP is about to be used; both halves share it. */
#if RN_HALF == 1
extern RN_HIDDEN _Atomic long rn_owner;
#elif RN_HALF == 2
RN_HIDDEN _Atomic long rn_owner;
#else
static RN_UNUSED _Atomic long rn_owner;
#endif
static int rn_forked(void) {
#if defined(__unix__) || defined(__APPLE__)
    long nobody = 0, me = (long)getpid();
    return !atomic_compare_exchange_strong(&rn_owner, &nobody, me) && nobody != me;
#else
    return 0;
#endif
}
#endif

/* Runs the body on at most `threads` threads (1 .. RN_MOST_THREADS). `flags` has one line for each, its contents do not
 * matter. One thread enters no region. The body divides work by team->threads, which is what the region really got. */
RN_FUNCTION void rn_parallel(int threads, rn_flag *flags, rn_body body, void *argument, const rn_host *host) {
    rn_job job = {flags, body, argument};
    if (threads > RN_MOST_THREADS) threads = RN_MOST_THREADS;
    if (threads > 1) rn_flags_clear(flags, threads);
    if (threads > 1 && host && host->run) {
        host->run(host->context, threads, rn_work, &job);
        return;
    }
#ifdef _OPENMP
    if (threads > 1 && !rn_forked()) {
#pragma omp parallel num_threads(threads) default(none) shared(job)
        rn_work(&job, omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    rn_work(&job, 0, 1);
}
