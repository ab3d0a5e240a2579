"""Who runs what, as the planner in C will choose it: all threads together, loops by streams, or crews that overlap.

In: a placed schedule, frames, streams, threads. Out: a `Choice`. The rules are those of runtime/plan.h, which decides
at run time; this is their twin for those who ask beforehand (`rnnc explain`), and a test compares the two. The C knows
a usual machine only, so it orders the ways; what the chosen one takes is told by the cost model.
"""

from dataclasses import dataclass

from rnnc.plan.cost import cost
from rnnc.plan.crews import Work, by_streams, several, widest, works
from rnnc.plan.machine import Machine
from rnnc.plan.needs import needs
from rnnc.plan.schedule import Schedule, Sweep, kernels_of

FLOPS, NUMBERS, BYTES = 7e9, 2.5e9, 1e11       # a second: of a lane, of a lane, of a thread (RN_SPEEDS)
CALL, MEETING = 100e-9, 300e-9
GAIN = 0.97                                    # crews have to be so much faster
MOST = 8                                       # crews (RN_CREWS)


@dataclass(frozen=True)
class Choice:
    """`crews`: of each stage, counted from 1; 0: everybody's. `streams`: stages whose threads take streams."""

    crews: tuple[int, ...]
    streams: tuple[bool, ...]
    seconds: tuple[float, float, float]        # guesses: together, by streams, crews; 0: no such way

    @property
    def kind(self) -> str:
        return "crews" if any(self.crews) else "streams" if any(self.streams) else "together"


def choose(made: Schedule, frames: int, streams: int, threads: int, machine: Machine, number: int = 4) -> Choice:
    """`number`: bytes of a number."""
    count = len(made.stages)
    nobody, units = (0,) * count, (False,) * count
    if threads < 2 or not several(made.stages):
        return Choice(nobody, units, (0.0, 0.0, 0.0))
    asked = Asked(works(made, needs(made), number), frames, streams, threads, max(1, machine.lanes * 4 // number))
    whole = [asked.seconds(w, threads) for w in asked.works]
    least, mine = list(whole), list(units)
    for s, stage in enumerate(made.stages):
        blocks = even_cuts(streams, rows_of(stage, machine)) if by_streams(stage) else 0
        if blocks >= threads:
            alone = asked.seconds(asked.works[s], 1) * -(-blocks // threads) / blocks
            if alone < whole[s]:
                least[s], mine[s] = alone, True
    together, split = sum(whole), sum(least) if any(mine) else 0.0
    if sum(isinstance(stage, Sweep) for stage in made.stages) < 2:
        return Choice(nobody, tuple(mine), (together, split, 0.0))
    alone = [asked.seconds(w, 1) for w in asked.works]
    crews, dealt = deal(asked.works, whole, alone, threads, frames)
    seconds = (together, split, dealt)
    if dealt < GAIN * min(together, sum(least)):
        return Choice(crews, units, seconds)
    return Choice(nobody, tuple(mine), seconds)


def expected(made: Schedule, frames: int, streams: int, threads: int, machine: Machine, number: int = 4) -> float:
    """Seconds of the call in the way that is chosen, by the cost model."""
    way = choose(made, frames, streams, threads, machine, number)
    spent = cost(made, frames, streams, threads, machine, number)
    whole = [s.seconds for s in spent.stages]
    alone = [s.seconds for s in cost(made, frames, streams, 1, machine, number).stages]
    if way.kind == "crews":
        return spent.overhead + deal(works(made, needs(made), number), whole, alone, threads, frames, way.crews)[1]
    for s, stage in enumerate(made.stages):
        if way.streams[s]:
            blocks = even_cuts(streams, rows_of(stage, machine))
            whole[s] = alone[s] * -(-blocks // threads) / blocks
    return spent.overhead + sum(whole)


def rows_of(stage, machine: Machine) -> int:
    """The most streams of a block."""
    return machine.most_rows(max(1, widest(kernels_of(stage))))


def even_cuts(rows: int, most: int) -> int:
    cuts = -(-rows // most)
    return cuts + 1 if cuts > 1 and cuts % 2 else cuts


@dataclass(frozen=True)
class Asked:
    """One question: `works` of a program, the shape of a call, threads, numbers in a vector."""

    works: tuple[Work, ...]
    frames: int
    streams: int
    threads: int
    lanes: int

    def seconds(self, w: Work, threads: int) -> float:
        """Of a stage over the call, with threads that take units. A loop without meetings is one step."""
        meets = w.frames and w.meetings
        rows = w.frames * self.streams if meets else self.frames * self.streams
        steps = (self.frames + w.frames - 1) / w.frames if meets else 1.0
        share = 1 / threads
        if threads > 1 and w.frames:
            pieces = max(w.panels, rows if meets else self.streams)
            share = -(-pieces // threads) / pieces
        products = max(w.flops * rows / (FLOPS * self.lanes), w.bytes / BYTES)
        one = (products + w.numbers * rows / (NUMBERS * self.lanes)) * share + CALL
        return steps * (one + (max(1, w.meetings) * MEETING if threads > 1 else 0.0))


def deal(works: tuple[Work, ...], whole: list[float], alone: list[float], threads: int, frames: int,
         given: tuple[int, ...] | None = None) -> tuple[tuple[int, ...], float]:
    """The crew of each stage, group by group to whoever has least to do in a wave; and the seconds. `whole`, `alone`:
    of each stage on all threads and on one. `given`: crews that are fixed already."""
    crews = min(threads, MOST)
    load, whose, found = [0.0] * crews, {}, []
    total = most = behind = 0.0
    wave = -1
    for s, w in enumerate(works):
        shared = w.group < 0
        if w.wave != wave or shared and not w.fine:          # whoever is done waits for the others
            total, most, behind, wave, load = total + most, 0.0, 0.0, w.wave, [0.0] * crews
        if shared:
            found.append(0)
            total += whole[s]
            continue
        mine = given[s] - 1 if given else whose.setdefault(w.group, load.index(min(load)))
        found.append(mine + 1)
        load[mine] += alone[s]
        if w.fine:                                           # the second crew begins a chunk later than the first
            behind = max(behind, load[mine] * (crews - 1) / -(-frames // w.fine))
        most = max(most, load[mine] + behind)
    return tuple(found), total + most
