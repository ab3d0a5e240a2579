"""Which way of running a call is fastest: in the first calls of a shape all of them are tried, later ones know.

Every way leaves the same bits: one thread or several, units dealt out, loops by streams, crews that overlap. The
planner in C orders them by a rough model; only a clock can tell whether two threads meet in 80 nanoseconds or in 400 (a
virtual machine moves between processors that share a cache and ones that do not) and what else runs. So each way is
timed, the best is taken, and from time to time all are timed again, soon at first and after every change of mind: what
was a bad moment shows. Calls that suddenly come late have all timed again at once: threads that share a processor with
another program wait a slice of time for one another, again and again. A cell of 128 units and one stream: 360 thousand
frames a second on one thread, 240 on two that meet slowly, 500 on two that meet fast, 60 on two beside another program.
"""

import os
import sys
import warnings
from collections import deque
from statistics import median
from threading import Lock
from time import perf_counter
from traceback import walk_stack

PLANS = ("free", "together", "streams", "crews")               # RN_PLAN_* in plan.h; "free": the planner chooses
PROGRAMS = ("run", "evaluate", "backprop", "vjp")              # as P_plan and P_workspace_size_of number them
FORCED = "RNNC_TEST_THREADS"                   # set: as many threads as asked, whatever the machine has
TIMINGS = 3                                    # of each way, whose median counts; one more before them warms it up
EACH = 3                                       # calls of a round of which one goes another way than the best so far
AGAIN, AT_MOST = 25, 800                       # calls after which all are timed again; each time twice as many,
REST = 0.1                                     # until so many seconds lie between: a round takes some twenty calls the
                                               # long way. One frame of 16 units from Python 2.5 -> 2.2 us (Zen 4)
CLEARLY = 0.9                                  # times what the best so far takes now: then it is a change of mind
LATE, LATES = 3.0, 2                           # times what the best took; so many calls so late in a row are a reason
SLOW, HOPELESS = 1.5, 2.0                      # times the best so far; twice slow, or once hopeless: not tried further
LONG = 0.005                                   # seconds of a call whose first run is a measure, and once slow enough
ALONE = 1.0                                    # seconds after which one thread, if best, is compared again


class Trial:
    """The ways of one kind of call, and what they took. `ways`: pairs of threads and P_tuning, the planner's first.

    In a round the best way so far meets the others one after another. Most calls still go the best way, so that a
    round is hardly felt, and what that takes is known of the same moments."""

    def __init__(self, ways: list[tuple[int, object]]):
        self.ways, self.best, self.calls, self.again = ways, 0, 0, AGAIN
        self.taken = [deque(maxlen=2 * TIMINGS) for _ in ways]
        self.cold = set(range(len(ways)))      # not run yet: the first run of a way is no measure
        self.waiting = deque(range(1, len(ways)))              # the others of this round; the first is being compared
        self.turn, self.before = 0, 0          # calls of the round; what was best before it
        self.usual, self.late = 1e9, 0         # what the best took; how many calls in a row have just come late
        self.most = AT_MOST                    # calls between two rounds
        self.lock = Lock()                     # two threads may use two states of one net

    @property
    def settled(self) -> bool:
        return not self.waiting

    def choose(self) -> int:
        """The way of the next call."""
        with self.lock:
            if not self.waiting:
                return self.best
            self.turn += 1
            return self.best if self.turn % EACH else self.waiting[0]

    def note(self, way: int, seconds: float, whole: float = 0.0) -> None:
        """What a frame took of a call of `whole` seconds that went that way."""
        with self.lock:
            first = way in self.cold
            self.cold.discard(way)
            if self.waiting:
                if whole > LONG or not first:
                    self.taken[way].append(seconds)
                self._compare(whole)
            elif way == self.best:
                self.calls += 1
                self.watch(seconds)
                if self.calls >= self.again:
                    self._begin()

    def _begin(self) -> None:
        """A round: what was then says nothing of now."""
        self.calls, self.again, self.turn, self.before = 0, min(2 * self.again, self.most), 0, self.best
        for taken in self.taken:
            taken.clear()
        self.waiting.extend(way for way in range(len(self.ways)) if way != self.best)

    def _compare(self, whole: float) -> None:
        """The best way so far with the one it meets, as far as both are known; then with the next."""
        while self.waiting and self.taken[self.best] and self.taken[self.waiting[0]]:
            other = self.waiting[0]
            mine, its = self.taken[self.best], self.taken[other]
            if hopeless(mine, its, long=False):
                self.best = other
            elif not hopeless(its, mine, long=whole > LONG):
                if len(its) < TIMINGS:
                    return
                if median(its) < median(mine):
                    self.best = other
            self.waiting.popleft()
        if not self.waiting:
            self._end(whole)

    def _end(self, whole: float) -> None:
        self.usual, self.late = median(self.taken[self.best]), 0
        self.most = max(AT_MOST, int(REST / whole)) if whole else AT_MOST
        if self.usual < CLEARLY * median(self.taken[self.before]):
            self.again = AGAIN
        elif self.ways[self.best][0] == 1 and whole:           # both cores of a virtual machine may be one for a while
            self.again = min(self.again, max(AGAIN, int(ALONE / whole)))

    def watch(self, seconds: float) -> None:
        """What a call took that went the best way: of late ones the next round follows."""
        self.late = self.late + 1 if seconds > LATE * self.usual else 0
        if self.late >= LATES:
            self.late, self.calls, self.again = 0, AGAIN // 2, AGAIN // 2


def hopeless(taken, other, long: bool) -> bool:
    """One call that is somewhat slower than those of another way may be anybody's fault; two are its own. Long ones
    cost too much to be asked twice."""
    return min(taken) > (SLOW if long or len(taken) > 1 else HOPELESS) * min(other)


def tried(net, what: str, call, work) -> int:
    """`work(threads)` makes one call and returns the C's code; its struct is `call.struct`."""
    trial = trial_of(net, what, call.frames, call.streams)
    if trial is None:
        return work(net._threads())
    way = trial.choose()
    threads, call.struct.tuning = trial.ways[way]
    begin = perf_counter()
    code = work(threads)
    whole = perf_counter() - begin
    trial.note(way, whole / call.frames, whole)
    return code


def chosen(net, what: str, frames: int, streams: int) -> tuple[int, object] | None:
    """The way of calls that are not timed any more; None as long as some are tried."""
    trial = trial_of(net, what, frames, streams) if what in PROGRAMS else None
    if trial is None:
        return net._wanted, net.module.ffi.NULL
    return trial.ways[trial.best] if trial.settled else None


def between(net) -> int:
    """Threads for the work between two calls, packing and rules of learning: one where the last call was fastest so. On
    a machine with more to do than processors, two threads wait a slice of time for each other: Adam on 2.2 million
    numbers takes 16 ms instead of 1.3."""
    last = net._last_trial
    return 1 if last is not None and last.settled and last.ways[last.best][0] == 1 else net._threads()


def trial_of(net, what: str, frames: int, streams: int) -> Trial | None:
    """Calls of nearly as many frames share a trial; None where there is but one way."""
    if net._border.tuning is not None or net._threads() == 1:
        return None
    key = what, frames.bit_length(), streams, net._wanted
    if key not in net._trials:
        ways = ways_of(net, what, frames, streams)
        net._trials[key] = Trial(ways) if len(ways) > 1 else None
    net._last_trial = net._trials[key]
    return net._last_trial


def ways_of(net, what: str, frames: int, streams: int) -> list[tuple[int, object]]:
    """One way for each plan that differs, at the threads asked for, and one thread; a test that lifts the cap gets what
    it asked for."""
    ffi, prefix = net.module.ffi, net._border.prefix
    threads, found = net._wanted or cores(), {}
    if net.module.function("plan") is None:    # a module of another maker, or from before there were plans
        return []
    for plan in PLANS if threads > 1 else ():
        if plan == "streams" and streams == 1:     # one thread would do all of it, and that is tried anyway
            continue
        tuning = ffi.new(f"{prefix}_tuning *", {"plan": PLANS.index(plan)})
        crews, by_streams, _ = planned(net, what, frames, streams, threads, tuning)
        found.setdefault((crews, by_streams), (net._wanted, tuning))
    return [*found.values()] if net._wanted and os.environ.get(FORCED) else [*found.values(), (1, ffi.NULL)]


def planned(net, what: str, frames: int, streams: int, threads: int, tuning=None) -> tuple[tuple, tuple, tuple]:
    """What the planner in C chooses: of each stage its crew, and whether its threads take streams; its guesses of the
    seconds of each way. A program with nothing to choose has no stages here."""
    ffi, plan, number = net.module.ffi, net.module.function("plan"), PROGRAMS.index(what)
    stages = plan(number, frames, streams, threads, *[ffi.NULL] * 4)
    crews, by_streams, seconds = ffi.new(f"int[{stages + 1}]"), ffi.new(f"int[{stages + 1}]"), ffi.new("double[3]")
    plan(number, frames, streams, threads, tuning or ffi.NULL, crews, by_streams, seconds)
    return tuple(crews[0:stages]), tuple(map(bool, by_streams[0:stages])), tuple(seconds)


def capped(threads: int, silent: bool) -> int:
    """Never more than this process may use, unless a test lifts the cap."""
    most = cores()
    if threads <= most or os.environ.get(FORCED):
        return threads
    if not silent:
        warnings.warn(f"threads = {threads}: this process may use {most} of the machine's processors, and gets as many "
                      f"threads", RuntimeWarning, stacklevel=outside())
    return most


def outside() -> int:
    """The `stacklevel` with which our caller warns of the user's line that led there."""
    ours = [frame.f_globals.get("__name__", "").split(".")[0] == "rnnc" for frame, _ in walk_stack(sys._getframe(1))]
    return ours.index(False) + 1 if False in ours else 1


def cores() -> int:
    """Processors this process may use. Where OpenMP was told to bind threads to processors, the first thread may use
    but one from the moment on that its library is loaded: then what could be used before counts."""
    bound = {"OMP_PROC_BIND", "GOMP_CPU_AFFINITY"} & set(os.environ)
    return max(allowed(), ALLOWED) if bound else allowed()


def allowed() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


ALLOWED = allowed()                            # before any library of ours is loaded
