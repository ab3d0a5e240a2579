"""What the run-time planner needs to know of a program's stages: what they cost, and which of them belong together.

In: a placed schedule. Out: one `Work` per stage. The C of runtime/plan.h deals stages out to crews of threads from it.
"""

from dataclasses import dataclass

from rnnc.graph.chunkwise import CHUNK, CHUNKED
from rnnc.graph.nodes import FRAME
from rnnc.plan.cost import FREE, in_chunks, terms
from rnnc.plan.guards import FUNCTIONS
from rnnc.plan.needs import Need
from rnnc.plan.place import stage_nodes
from rnnc.plan.schedule import Fold, Map, Schedule, Sweep, UnitKernel, kernels_of
from rnnc.plan.storage import bytes_of

FUNCTION = 8                                   # plain operators that one of FUNCTIONS costs as much as


@dataclass(frozen=True)
class Work:
    """One stage. Counts are of one row (a frame of a stream), but for `bytes`, of the matrices that a step reads."""

    flops: float                               # of products
    numbers: float                             # made by equations, in plain operators
    bytes: float
    panels: int                                # pieces that units can be dealt out in; 0: rows only
    meetings: int                              # of a step
    frames: int                                # of a step of a loop; 0: no loop
    wave: int                                  # steps of one wave do not wait for one another's loops
    group: int                                 # stages of one group go to one crew; -1: to all threads, as all do
                                               # in a step without a loop
    fine: int                                  # frames of its step's fine chunks; 0: there are none
    step: int


def works(made: Schedule, needs: tuple[tuple[Need, ...], ...], number: int) -> tuple[Work, ...]:
    """`number`: bytes of a number."""
    step = {s: i for i, each in enumerate(made.steps) for s in each.stages}
    waves, groups = _waves(made, needs, step), _groups(made, needs, step)
    return tuple(Work(*_counts(made, stage, number), waves[step[s]], groups[s], made.steps[step[s]].fine, step[s])
                 for s, stage in enumerate(made.stages))


def by_streams(stage) -> bool:
    """Whether the threads of a loop may take streams instead of units: one that goes frame by frame."""
    if not isinstance(stage, Sweep) or not stage.meets or stage.frames > 1:
        return False
    return not any(offset for phase in stage.phases for _, offset in phase.kernels) \
        and any(getattr(kernel, "panels", ()) for kernel in kernels_of(stage))


def overlap(made: Schedule) -> bool:
    """Whether crews may gain anything: several loops, or one that others can follow closely."""
    return sum(isinstance(stage, Sweep) for stage in made.stages) > 1 or any(step.fine for step in made.steps)


def several(made: Schedule) -> bool:
    """Whether there is anything to choose: crews, or a loop whose threads could take streams."""
    return overlap(made) or any(map(by_streams, made.stages))


def _counts(made: Schedule, stage, number: int) -> tuple[float, float, float, int, int, int]:
    graph = made.graph
    flops = numbers = matrices = 0.0
    panels = 0
    for n in stage_nodes(stage):
        node = graph[n]
        sizes = [graph[read.node].size for read in node.args]
        if node.op in CHUNKED:
            flops += in_chunks(graph, n, CHUNK + 1)
        elif node.op in ("fold_outer", "matmul", "outer") and not made.role.gates.get(n):
            flops += 2.0 * terms(graph, n) * node.size
        elif node.op not in FREE and node.domain == FRAME:
            numbers += max([node.size, *sizes]) * (FUNCTION if node.op in FUNCTIONS else 1)
        elif isinstance(stage, Fold):
            numbers += max([1, *sizes])
    for kernel in kernels_of(stage):
        if isinstance(kernel, UnitKernel):
            for panel in kernel.panels:
                weights = panel.inner * len(panel.gates) * kernel.width
                flops += 2.0 * weights
                matrices += weights * bytes_of(graph, panel, number)
            panels = max(panels, -(-kernel.width // 16))
    loop = isinstance(stage, Sweep)
    meetings = len(stage.phases) if loop and stage.meets else 0
    return flops, numbers, matrices, panels, meetings, stage.frames if loop else 0


def _waves(made: Schedule, needs, step: dict[int, int]) -> list[int]:
    """The wave of each step. A new one begins where a loop waits for the end of a loop of the present one."""
    behind: list[set[int]] = []                # of each stage, the loops that must have ended
    for stage_needs in needs:
        mine: set[int] = set()
        for need in stage_needs:
            mine |= behind[need.stage] if need.stage < len(behind) else set()
            if need.kind == "whole" and isinstance(made.stages[need.stage], Sweep):
                mine.add(need.stage)
        behind.append(mine)
    found, present = [], set()
    for each in made.steps:
        loops = {s for s in each.stages if isinstance(made.stages[s], Sweep)}
        if not loops or any(behind[s] & present for s in loops):
            found.append((found[-1] if found else -1) + 1)
            present = set()
        else:
            found.append(found[-1] if found else 0)
        present |= loops
    return found


def _groups(made: Schedule, needs, step: dict[int, int]) -> list[int]:
    """In a step that goes by fine chunks every stage is a group of its own. In other steps a loop and the maps that
    feed it alone are one, and everything else goes with the next loop, or with the last one: on another crew it would
    keep that from its own loops."""
    group = list(range(len(made.stages)))
    loop = lambda s: isinstance(made.stages[s], Sweep)
    readers: list[set[int]] = [set() for _ in made.stages]
    for s, stage_needs in enumerate(needs):
        for need in stage_needs:
            if need.kind == "chunk":
                readers[need.stage].add(s)
    for s in reversed(range(len(made.stages))):
        each = made.steps[step[s]]
        loops = [o for o in each.stages if loop(o)]
        wanted = {group[r] for r in readers[s]}
        if not loops:
            group[s] = -1
        elif each.fine or loop(s):
            continue
        elif isinstance(made.stages[s], Map) and len(wanted) == 1 and loop(min(wanted)):
            group[s] = min(wanted)
        else:
            group[s] = min((o for o in loops if o > s), default=loops[-1])
    return group
