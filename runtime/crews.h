/* crews.h: who runs which stage, and when it may begin.
 *
 * A program is a list of stages, some of which go through the call together, chunk by chunk. Without a plan all threads
 * run every stage together and meet behind it. With one, threads form crews, stages belong to crews, and every thread
 * walks the same list, chunk by chunk and stage by stage, passing over what is not its crew's. Before a stage does a
 * chunk it waits for the stages it needs; behind it the crew meets, and its first thread says how far they are. Since
 * all walk one order, and whatever a stage waits for stands earlier in it, nobody waits for ever. Who runs a stage never
 * changes what it computes.
 *
 * A crew has neighbours of a step's list, so it waits for what comes before them alone, and is at work on a chunk while the
 * crew before it does the next one. Fine chunks make that distance short: two LSTM of 64 units, one stream of 256 frames, train
 * at 390 thousand frames a second instead of 260 (Xeon, two threads; one thread 245). */
#ifndef RN_STAGES
#define RN_STAGES 1                            /* of the program that has most */
#endif
#define RN_CREWS 8

/* The stage waited for, and how far it must be before this one does its chunk k. */
enum { RN_CHUNK, RN_ROOM, RN_WHOLE };          /* chunk k; chunk k - depth; the last one */
typedef struct {
    short stage, kind;
} rn_need;

typedef struct {
    int threads;                               /* for how many it was made; 0: all together, units dealt out */
    int crews;                                 /* crew i, from 1, has the threads first[i - 1] .. first[i] - 1 */
    int first[RN_CREWS + 1];
    unsigned char crew[RN_STAGES];             /* whose stage it is; 0: everybody's */
    unsigned char streams[RN_STAGES];          /* a loop whose threads take streams, all of time, without meeting */
    double seconds[3];                         /* guessed: all together by units, loops by streams, crews; 0: no such */
} rn_plan;

/* One thread's way through a program. */
typedef struct {
    const rn_plan *plan;                       /* NULL: all together */
    const rn_team *all;
    int thread;
    rn_flag *flags, *progress;                 /* a line for each thread, behind them one for each stage */
    long depth;                                /* chunks that fit the memory of what is kept for a chunk */
    rn_team team;                              /* whose stage it is now */
    int rank;                                  /* which of them this thread is */
} rn_walk;

#define RN_DONE 0x3fffffff

RN_INLINE rn_walk rn_walk_of(const rn_plan *plan, const rn_team *all, int thread, rn_flag *flags) {
    const int planned = plan && plan->crews && plan->threads == all->threads;
    return (rn_walk){planned ? plan : NULL, all, thread, flags, flags + RN_MOST_THREADS, 1, *all, thread};
}

RN_INLINE long rn_chunks(long T, long chunk) { return (T + chunk - 1) / chunk; }

/* Whether this thread runs the stage; if so, once everything that it needs for chunk k is there. */
RN_INLINE int rn_enter_inline(rn_walk *w, int stage, const rn_need *needs, int count, long k) {
    if (!w->plan) return 1;
    const int crew = w->plan->crew[stage];
    if (crew == 0) {
        w->team = *w->all, w->rank = w->thread;
    } else {
        const int first = w->plan->first[crew - 1], end = w->plan->first[crew];
        if (w->thread < first || w->thread >= end) return 0;
        w->team = (rn_team){w->flags + first, end - first, first}, w->rank = w->thread - first;
    }
    for (int i = 0; i < count; i++) {
        const int kind = needs[i].kind;
        rn_progress_wait(&w->progress[needs[i].stage],
                         kind == RN_WHOLE ? RN_DONE : kind == RN_ROOM ? k + 1 - w->depth : k + 1);
    }
    return 1;
}

/* Behind chunk k of a stage. */
RN_INLINE void rn_leave_inline(rn_walk *w, int stage, long k, long chunks) {
    if (w->rank == 0) RN_COUNT_MEETING(RN_BETWEEN);
    rn_meet(&w->team, w->rank);
    if (w->plan && w->rank == 0) rn_progress_set(&w->progress[stage], k + 1 == chunks ? RN_DONE : k + 1);
}

/* Inlined they are most of the code of a program with many stages (of 262 stages half a minute of gcc), and only a step
 * of one frame would feel the call. */
RN_FUNCTION int rn_enter(rn_walk *w, int stage, const rn_need *needs, int count, long k) {
    return rn_enter_inline(w, stage, needs, count, k);
}
RN_FUNCTION void rn_leave(rn_walk *w, int stage, long k, long chunks) { rn_leave_inline(w, stage, k, chunks); }
