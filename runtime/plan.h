/* plan.h: who should run what. From what each stage costs, the shape of the call and the number of threads a plan is
 * chosen: all threads together with units dealt out; loops by streams; or crews that overlap.
 *
 * The figures are rough on purpose: they must order the choices, not predict a time. */

/* One stage; counts are of one row, `bytes` of a step's matrices. See compiler/plan/crews.py. */
typedef struct {
    double flops, numbers, bytes;
    short panels, meetings, frames, wave, group, fine;
} rn_effort;

typedef struct {
    double flops, numbers, bytes;              /* a second, of one thread; bytes from its own cache */
    double call, meeting;                      /* seconds */
} rn_speeds;
#define RN_SPEEDS {7e9 * RN_VL, 2.5e9 * RN_VL, 1e11, 100e-9, 300e-9}

enum { RN_PLAN_FREE, RN_PLAN_TOGETHER, RN_PLAN_STREAMS, RN_PLAN_CREWS, RN_PLAN_PAIRS };

/* Seconds of a stage over the call with `threads` that take units. */
RN_INLINE double rn_cost(const rn_effort *w, const rn_speeds *at, long T, long B, int threads) {
    const long rows = w->frames ? w->frames * B : T * B;
    const double steps = w->frames ? (double)(T + w->frames - 1) / (double)w->frames : 1;
    double share = 1 / (double)threads;
    if (threads > 1 && w->frames) {
        const long pieces = RN_MAX(w->panels, rows);
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

/* Deals stages out to crews, group by group, to whoever has least to do in this wave; the seconds that it takes. */
RN_FUNCTION double rn_deal(const rn_choice *q) {
    rn_plan *const plan = q->plan;
    const int crews = RN_MIN(q->threads / q->size, RN_CREWS);
    double load[RN_CREWS], total = 0, most = 0, behind = 0;
    unsigned char whose[RN_STAGES] = {0};      /* the crew of each group, from 1 */
    int wave = -1;
    plan->crews = crews, plan->threads = q->threads;
    for (int i = 0; i <= crews; i++) plan->first[i] = i * q->threads / crews;
    for (int s = 0; s < q->stages; s++) {
        const rn_effort *w = q->works + s;
        const int shared = w->group < 0;
        int least = 0;
        if (w->wave != wave || (shared && !w->fine)) {       /* whoever is done waits for the others */
            total += most, most = behind = 0, wave = w->wave;
            for (int i = 0; i < crews; i++) load[i] = 0;
        }
        if (shared) {
            plan->crew[s] = 0;
            total += rn_cost(w, q->at, q->T, q->B, q->threads);
            continue;
        }
        for (int i = 1; i < crews; i++)
            if (load[i] < load[least]) least = i;
        if (whose[w->group]) least = whose[w->group] - 1;
        plan->crew[s] = whose[w->group] = (unsigned char)(least + 1);
        load[least] += rn_cost(w, q->at, q->T, q->B, q->size);
        if (w->fine) {                         /* the second crew begins a chunk later than the first, and so on */
            const long chunks = (q->T + w->fine - 1) / w->fine;
            behind = RN_MAX(behind, load[least] * (crews - 1) / (double)chunks);
        }
        most = RN_MAX(most, load[least] + behind);
    }
    return total + most;
}

/* The plan of a call; its `threads` is 0 where all go together and units are dealt out, which needs none. `wanted` forces
 * one of RN_PLAN_*. */
RN_FUNCTION void rn_choose(rn_plan *plan, const rn_effort *works, const unsigned char *by_streams, int stages,
                           int threads, long T, long B, int wanted) {
    static const rn_speeds usual = RN_SPEEDS;
    const rn_choice question = {plan, works, stages, threads, 1, &usual, T, B};
    double together = 0, streams = 0;
    int any = 0, loops = 0;
    memset(plan, 0, sizeof *plan);
    if (threads < 2) return;
    for (int s = 0; s < stages; s++) {
        const double units = rn_cost(works + s, &usual, T, B, threads);
        const long blocks = by_streams[s] ? rn_even_cuts(B, by_streams[s]) : 0;
        double least = units;
        loops += works[s].frames > 0;
        if (blocks >= threads || (blocks && wanted == RN_PLAN_STREAMS)) {
            const double alone = rn_cost(works + s, &usual, T, B, 1)
                                 * (double)((blocks + threads - 1) / threads) / (double)blocks;
            if (alone < units || wanted == RN_PLAN_STREAMS) plan->streams[s] = 1, any = 1, least = alone;
        }
        together += units, streams += least;
    }
    plan->seconds[0] = together, plan->seconds[1] = any ? streams : 0;
    if (wanted == RN_PLAN_TOGETHER) memset(plan->streams, 0, sizeof plan->streams);
    plan->threads = any && wanted != RN_PLAN_TOGETHER ? threads : 0;
    if (wanted == RN_PLAN_TOGETHER || wanted == RN_PLAN_STREAMS || loops < 2) return;
    rn_plan other = *plan;
    rn_choice dealt = question;
    dealt.plan = &other;
    memset(other.streams, 0, sizeof other.streams);
    if (wanted == RN_PLAN_PAIRS && threads >= 4) dealt.size = 2;
    plan->seconds[2] = other.seconds[2] = rn_deal(&dealt);
    if (wanted >= RN_PLAN_CREWS || plan->seconds[2] < 0.97 * RN_MIN(together, streams)) *plan = other;
}
