"""How a training call that is longer than a limit of memory goes in segments, with the bits of a whole call.

In: the schedule of such a call. Out: `Parts`: to which part of the work each stage belongs, and what a segment hands to
the one before it. A call in segments is three walks over them, the first two from the first frame on:

  early    sums of what the caller brings that frames read: the weight of all frames
  forth    what goes forwards, sums included; only the state at each segment's start is kept
  back     from the last segment to the first: forwards once more, now without the sums, then what goes backwards

Segments are whole chunks, so the products and sums of a segment are those of a whole call, piece by piece and in the
same order. What reads ahead finds the first frames of the segment behind, which were handed over.
"""

from dataclasses import dataclass

from rnnc.graph.nodes import CONSTANT
from rnnc.plan.place import stage_nodes
from rnnc.plan.reads import behind
from rnnc.plan.schedule import Fold, Once, Schedule, Sweep

EARLY, FORTH, SUMS, BACK = "RN_EARLY", "RN_FORTH", "RN_SUMS", "RN_BACK"


@dataclass(frozen=True)
class Parts:
    program: str                               # whose parts they are
    stages: tuple[str, ...]                    # of each stage; of a Fold that of its nodes that are not early
    early: frozenset[int]                      # folds that frames read
    handed: dict[int, int]                     # values read ahead -> how many frames
    trouble: str | None = None                 # why the call cannot be cut

    @property
    def ahead(self) -> int:
        return max(self.handed.values(), default=0)


def parts(made: Schedule) -> Parts:
    graph, role = made.graph, made.role
    where = {n: s for s, stage in enumerate(made.stages) for n in stage_nodes(stage)}
    reads = {n: behind(graph, role, n) for n in where}
    step = {s: i for i, each in enumerate(made.steps) for s in each.stages}
    back: set[int] = set()                     # steps
    handed: dict[int, int] = {}
    for n, s in where.items():                 # in the order of the stages
        for read in reads[n]:
            if read.delay < 0:
                handed[read.node] = max(handed.get(read.node, 0), -read.delay)
            if read.delay < 0 or step.get(where.get(read.node)) in back:
                back.add(step[s])
        if isinstance(made.stages[s], Sweep) and made.stages[s].direction < 0:
            back.add(step[s])
    early, trouble = _read_by_frames(made, where, reads), None
    if any(step[where[n]] in back or any(role[read.node] != "leaf" for read in reads[n]) for n in early):
        trouble = "frames read a sum over all frames"
    elif any(made.steps[i].direction > 0 and not isinstance(made.stages[made.steps[i].stages[0]], Once) for i in back):
        trouble = "part of its gradient goes forwards"
    found = []
    for s, stage in enumerate(made.stages):
        if step[s] in back:
            found.append(BACK)
        elif isinstance(stage, Once):
            known = {read.node for n in stage_nodes(stage) for read in reads[n] if where.get(read.node, s) != s}
            found.append(EARLY if all(m in early or found[where[m]] == EARLY for m in known) else SUMS)
        else:
            found.append(SUMS if isinstance(stage, Fold) else FORTH)
    handed = {n: frames for n, frames in handed.items() if role[n] != "leaf"}
    return Parts(made.program, tuple(found), frozenset(early), handed, trouble)


def _read_by_frames(made: Schedule, where: dict, reads: dict) -> set[int]:
    """The sums that a frame needs, directly or through other constants."""
    graph, wanted = made.graph, set()
    stack = [read.node for n in where if graph[n].domain != CONSTANT or isinstance(made.stages[where[n]], Fold)
             for read in reads[n]]
    while stack:
        n = stack.pop()
        if n in where and graph[n].domain == CONSTANT and n not in wanted:
            wanted.add(n)
            stack += [read.node for read in reads[n]]
    return {n for n in wanted if isinstance(made.stages[where[n]], Fold)}
