/* plan.h: who should run what. From what each stage costs, the shape of the call and the number of threads a plan is
 * chosen: all threads together with units dealt out; loops by streams; or crews that overlap.
 *
 * The figures are rough on purpose: they must order the choices, not predict a time. */

/* One stage; counts are of one row, `bytes` of a step's matrices. See compiler/plan/crews.py. */
typedef struct {
    double flops, numbers, bytes;
    short panels, meetings, frames, wave, group, fine, step;
} rn_effort;

typedef struct {
    double flops, numbers, bytes;              /* a second, of one thread; bytes from its own cache */
    double call, meeting;                      /* seconds */
} rn_speeds;
#define RN_SPEEDS {7e9 * RN_VL, 2.5e9 * RN_VL, 1e11, 100e-9, 300e-9}

/* Whether the threads of a loop may take streams, and never meet. Each reads all matrices then, so a large loop goes that
 * way only where it is asked to, and has a tile full of streams for each thread. */
enum { RN_NEVER, RN_SMALL, RN_LARGE };
#define RN_FULL_TILE 8

enum { RN_PLAN_FREE, RN_PLAN_TOGETHER, RN_PLAN_STREAMS, RN_PLAN_CREWS, RN_PLAN_PAIRS };

/* Seconds of a stage over the call with `threads` that take units. A loop without meetings is one step. */
RN_INLINE double rn_cost(const rn_effort *w, const rn_speeds *at, long T, long B, int threads) {
    const int meets = w->frames && w->meetings;
    const long rows = meets ? w->frames * B : T * B;
    const double steps = meets ? (double)(T + w->frames - 1) / (double)w->frames : 1;
    double share = 1 / (double)threads;
    if (threads > 1 && w->frames) {
        const long pieces = RN_MAX(w->panels, meets ? rows : B);
        share = (double)((pieces + threads - 1) / threads) / (double)pieces;
    }
    const double products = RN_MAX(w->flops * (double)rows / at->flops, w->bytes / at->bytes);
    const double one = (products + w->numbers * (double)rows / at->numbers) * share + at->call;
    return steps * (one + (threads > 1 ? RN_MAX(1, w->meetings) * at->meeting : 0));
}

typedef struct {
    rn_plan *plan;
    const rn_effort *works;
    int stages, threads, size;                 /* size: threads of a crew */
    const rn_speeds *at;
    long T, B;
} rn_choice;

/* Deals stages out to crews; the seconds that it takes. In each wave the list of groups is cut into pieces of about as
 * much to do, one for each crew: neighbours in one piece, so that a crew waits for the one before it and for no other. */
RN_FUNCTION double rn_deal(const rn_choice *q) {
    rn_plan *const plan = q->plan;
    const int crews = RN_MIN(q->threads / q->size, RN_CREWS);
    double seconds[RN_STAGES] = {0}, total = 0;          /* of each group */
    unsigned char whose[RN_STAGES] = {0};                /* the crew of each group, from 1 */
    plan->crews = crews, plan->threads = q->threads;
    for (int i = 0; i <= crews; i++) plan->first[i] = i * q->threads / crews;
    for (int s = 0; s < q->stages;) {
        const rn_effort *const w = q->works + s;
        if (w->group < 0) {                    /* everybody's, and whoever is done waits for the others */
            plan->crew[s++] = 0;
            total += rn_cost(w, q->at, q->T, q->B, q->threads);
            continue;
        }
        double all = 0, before = 0, load[RN_CREWS] = {0}, most = 0, late = 0, latest = 0;
        int end = s;                           /* of the wave */
        for (; end < q->stages && q->works[end].wave == w->wave && q->works[end].group >= 0; end++) {
            const double one = rn_cost(q->works + end, q->at, q->T, q->B, q->size);
            seconds[q->works[end].group] += one, all += one;
        }
        for (int step = -1; s < end; step = q->works[s++].step) {
            const int group = q->works[s].group, fine = q->works[s].fine;
            if (!whose[group]) {               /* the piece that its middle lies in */
                const int piece = (int)((before + 0.5 * seconds[group]) / all * crews);
                whose[group] = (unsigned char)(RN_MIN(piece, crews - 1) + 1);
                before += seconds[group], load[whose[group] - 1] += seconds[group];
                most = RN_MAX(most, load[whose[group] - 1]);
            }
            plan->crew[s] = whose[group];
            if (q->works[s].step != step) late = 0;
            else if (fine && plan->crew[s] != plan->crew[s - 1]) {       /* it begins a chunk later than the one before */
                const double chunks = (double)rn_chunks(q->T, rn_fine_chunk(4 * fine, fine, q->T));
                late += 1 / chunks, total += chunks * q->at->meeting;
            }
            latest = RN_MAX(latest, late);
        }
        total += most * (1 + latest);
    }
    return total;
}

/* The plan of a call; its `threads` is 0 where all go together and units are dealt out, which needs none. `wanted` forces
 * one of RN_PLAN_*. */
RN_FUNCTION void rn_choose_at(rn_plan *plan, const rn_effort *works, const unsigned char *by_streams, int stages,
                              int threads, long T, long B, int wanted, const rn_speeds *at) {
    const rn_choice question = {plan, works, stages, threads, 1, at, T, B};
    double together = 0, streams = 0;
    int any = 0, loops = 0, follow = 0;        /* whether a step has fine chunks */
    memset(plan, 0, sizeof *plan);
    if (threads < 2) {
        for (int s = 0; s < stages; s++) plan->seconds[0] += rn_cost(works + s, at, T, B, 1);
        return;
    }
    for (int s = 0; s < stages; s++) {
        const double units = rn_cost(works + s, at, T, B, threads);
        const int way = by_streams ? by_streams[s] : RN_NEVER, asked = wanted == RN_PLAN_STREAMS;
        double least = units;
        loops += works[s].frames > 0, follow |= works[s].fine > 0;
        if (asked ? way == RN_SMALL || (way == RN_LARGE && B >= RN_FULL_TILE * threads)
                  : way == RN_SMALL && B >= 2 * threads) {
            const int shares = rn_stream_shares(B, threads);
            const double alone = rn_cost(works + s, at, T, (B + shares - 1) / shares, 1);
            if (alone < units || asked) plan->streams[s] = 1, any = 1, least = alone;
        }
        together += units, streams += least;
    }
    plan->seconds[0] = together, plan->seconds[1] = any ? streams : 0;
    if (wanted == RN_PLAN_TOGETHER) memset(plan->streams, 0, sizeof plan->streams);
    plan->threads = any && wanted != RN_PLAN_TOGETHER ? threads : 0;
    if (wanted == RN_PLAN_TOGETHER || wanted == RN_PLAN_STREAMS || (loops < 2 && !follow)) return;
    rn_plan other = *plan;
    rn_choice dealt = question;
    dealt.plan = &other;
    memset(other.streams, 0, sizeof other.streams);
    if (wanted == RN_PLAN_PAIRS && threads >= 4) dealt.size = 2;
    plan->seconds[2] = other.seconds[2] = rn_deal(&dealt);
    if (wanted >= RN_PLAN_CREWS || plan->seconds[2] < 0.97 * RN_MIN(together, streams)) *plan = other;
}

RN_FUNCTION void rn_choose(rn_plan *plan, const rn_effort *works, const unsigned char *by_streams, int stages,
                           int threads, long T, long B, int wanted) {
    static const rn_speeds usual = RN_SPEEDS;
    rn_choose_at(plan, works, by_streams, stages, threads, T, B, wanted, &usual);
}

/* How many threads, at most `most`, a call is worth: twice as many must make it a tenth faster, or loops whose steps are
 * short would have their threads wait for one another. `flops`: operations a second of one thread; 0: unknown. */
#define RN_REGION 2e-6                        /* seconds in which threads are called together */
RN_FUNCTION int rn_worth(const rn_effort *works, const unsigned char *by_streams, int stages, int most, long T, long B,
                         double flops) {
    rn_speeds at = RN_SPEEDS;
    rn_plan plan;
    int found = 1;
    double least = 0;
    if (flops > 0) at.flops = flops;
    for (int n = 1; n <= most; n = n < most && 2 * n > most ? most : 2 * n) {
        rn_choose_at(&plan, works, by_streams, stages, n, T, B, RN_PLAN_FREE, &at);
        double seconds = plan.seconds[0];
        for (int way = 1; way < 3; way++)
            if (plan.seconds[way] > 0) seconds = RN_MIN(seconds, plan.seconds[way]);
        if (n > 1) seconds += RN_REGION;
        if (n > 1 && seconds > 0.9 * least) continue;
        found = n, least = seconds;
    }
    return found;
}
