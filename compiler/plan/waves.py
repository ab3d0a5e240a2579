"""Which stages go through time together: chunk by chunk, so that nothing passes through memory twice.

In: the stages of a schedule. Out: its steps. Neighbouring stages form one step when each can do a chunk of frames as
soon as the stages before it have done that chunk: every read between them looks back along the step's direction, never
ahead. Input products then stand next to the loop that eats them, weight gradients next to the loop that makes their
deltas, and what crosses is still in the cache. The length of a chunk depends on the number of streams alone, so no sum
depends on threads or calibration.
"""

from math import lcm

from rnnc.graph.nodes import FRAME, SEQUENCE, Graph
from rnnc.plan.reads import behind
from rnnc.plan.roles import Roles
from rnnc.plan.schedule import Fold, Map, Once, Spans, Stage, Step, Sweep

ROWS = 512                                     # of a chunk, about: long enough for products at full speed


def steps(graph: Graph, role: Roles, stages: tuple[Stage, ...], nodes_of) -> tuple[Step, ...]:
    """`nodes_of(stage)`: the nodes that a stage computes."""
    where = {n: i for i, stage in enumerate(stages) for n in nodes_of(stage)}
    made: list[Step] = []
    group: list[int] = []
    direction = 0

    def close(reader: int | None = None) -> None:
        """Ends the group; maps at its end that the next stage alone waits for go on with that one."""
        moved: list[int] = []
        while reader is not None and len(group) > 1 and isinstance(stages[group[-1]], Map) \
                and group[-1] in read_by[reader]:
            moved.insert(0, group.pop())
        if group:
            loops = [stages[i].frames for i in group if isinstance(stages[i], Sweep)]
            made.append(Step(tuple(group), direction or 1, ROWS if len(group) > 1 else 0, lcm(*loops) if loops else 1))
            group.clear()
        group.extend(moved)

    read_by = [{where[read.node] for n in nodes_of(stage) for read in behind(graph, role, n) if read.node in where}
               for stage in stages]
    for number, stage in enumerate(stages):
        wanted = ways(graph, role, stage, where, {*group, number}, nodes_of)
        fits = bool(group) and not isinstance(stage, Once) and chunkable(stage) and chunkable(stages[group[-1]]) \
            and not isinstance(stages[group[-1]], Once) and wanted is not None \
            and (direction == 0 or wanted in (0, direction)) and not reads_a_fold(role, graph, stage, group, stages,
                                                                                  nodes_of)
        if not fits:
            close(number if isinstance(stage, Sweep) and chunkable(stage) else None)
            direction = 0
            wanted = ways(graph, role, stage, where, {*group, number}, nodes_of)
            if wanted is None and group:
                close()
                wanted = ways(graph, role, stage, where, {number}, nodes_of)
            wanted = wanted or 0
        group.append(number)
        direction = direction or wanted
    close()
    return tuple(made)


def chunkable(stage: Stage) -> bool:
    """A loop whose kernels lag behind one another does all of time in one go, and sequences are taken whole."""
    if isinstance(stage, Spans) or getattr(stage, "per", FRAME) == SEQUENCE:
        return False
    return not isinstance(stage, Sweep) or all(offset == 0 for phase in stage.phases for _, offset in phase.kernels)


def ways(graph: Graph, role: Roles, stage: Stage, where: dict, group: set[int], nodes_of) -> int | None:
    """The direction that the stage's reads of the group ask for: +1, -1, 0 (either), None (no direction does)."""
    wanted = {stage.direction} if isinstance(stage, Sweep) else set()
    for n in nodes_of(stage):
        for read in behind(graph, role, n):
            if read.delay and where.get(read.node) in group:
                wanted.add(1 if read.delay > 0 else -1)
    if isinstance(stage, Sweep):                                # its own reads are the loop's business
        wanted = {stage.direction} | {w for w in wanted if w != stage.direction and not _own(
            graph, role, stage, where, nodes_of, w)}
    return None if len(wanted) > 1 else next(iter(wanted), 0)


def _own(graph: Graph, role: Roles, stage: Stage, where: dict, nodes_of, way: int) -> bool:
    """Whether reads in direction `way` are all inside the stage itself."""
    mine = set(nodes_of(stage))
    return all(read.node in mine for n in mine for read in behind(graph, role, n)
               if read.delay * way > 0 and read.node in where)


def reads_a_fold(role: Roles, graph: Graph, stage: Stage, group: list[int], stages, nodes_of) -> bool:
    """A sum is there only when its last chunk is."""
    sums = {n for i in group if isinstance(stages[i], Fold) for n in nodes_of(stages[i])}
    return any(read.node in sums for n in nodes_of(stage) for read in behind(graph, role, n))
