"""Who runs what, as the planner in C will choose it: all threads together, loops by streams, or crews that overlap.

In: a placed schedule, frames, streams, threads. Out: a `Choice`. The rules are those of runtime/plan.h, which decides
at run time; this is their twin for those who ask beforehand (`rnnc explain`), and a test compares the two. The C knows
a usual machine only, so it orders the ways; what the chosen one takes is told by the cost model.
"""

from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from rnnc.plan.cost import cost
from rnnc.plan.crews import Work, by_streams, overlap, several, works
from rnnc.plan.machine import Machine
from rnnc.plan.needs import needs
from rnnc.plan.schedule import Schedule
from rnnc.plan.waves import small

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
    if threads < 2 or not several(made):
        return Choice(nobody, units, (0.0, 0.0, 0.0))
    asked = Asked(works(made, needs(made), number), frames, streams, threads, max(1, machine.lanes * 4 // number))
    whole = [asked.seconds(w, threads) for w in asked.works]
    least, mine = list(whole), list(units)
    for s, stage in enumerate(made.stages):
        if by_streams(stage) and small(stage) and streams >= 2 * threads:
            alone = replace(asked, streams=-(-streams // threads)).seconds(asked.works[s], 1)
            if alone < whole[s]:
                least[s], mine[s] = alone, True
    together, split = sum(whole), sum(least) if any(mine) else 0.0
    if not overlap(made):
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
    if way.kind == "crews":
        alone = [s.seconds for s in cost(made, frames, streams, 1, machine, number).stages]
        return spent.overhead + deal(works(made, needs(made), number), whole, alone, threads, frames, way.crews)[1]
    if any(way.streams):
        share = cost(made, frames, -(-streams // threads), 1, machine, number).stages
        whole = [share[s].seconds if mine else whole[s] for s, mine in enumerate(way.streams)]
    return spent.overhead + sum(whole)


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
    """The crew of each stage, and the seconds: in each wave the groups are cut into pieces of about as much to do, one
    for each crew. `whole`, `alone`: of each stage on all threads and on one. `given`: crews that are fixed already."""
    crews, found, total = min(threads, MOST), [0] * len(works), 0.0
    for (_, shared), stages in groupby(range(len(works)), lambda s: (works[s].wave, works[s].group < 0)):
        mine = list(stages)
        if shared:                                           # everybody's, and whoever is done waits for the others
            total += sum(whole[s] for s in mine)
            continue
        groups: dict[int, list[int]] = {}
        for s in mine:
            groups.setdefault(works[s].group, []).append(s)
        seconds, load, before = sum(alone[s] for s in mine), [0.0] * crews, 0.0
        for group in groups.values():
            here = sum(alone[s] for s in group)              # goes to the piece that its middle lies in
            crew = given[group[0]] if given else min(int((before + here / 2) / seconds * crews), crews - 1) + 1
            before += here
            load[crew - 1] += here
            for s in group:
                found[s] = crew
        late = 0.0                                           # chunks, of all, for which a last crew waits
        for _, step in groupby(mine, lambda s: works[s].step):
            stages = list(step)
            fine = works[stages[0]].fine
            if fine:                                         # each begins a chunk after the one before it
                handed, chunks = sum(found[a] != found[b] for a, b in pairwise(stages)), fine_chunks(fine, frames)
                late, total = max(late, handed / chunks), total + handed * chunks * MEETING
        total += max(load) * (1 + late)
    return tuple(found), total


def fine_chunks(fine: int, frames: int) -> int:
    """Chunks in which one crew follows another (rn_fine_chunk)."""
    chunk = fine
    while chunk < 4 * fine and 32 * chunk <= frames:
        chunk *= 2
    return -(-frames // chunk)
