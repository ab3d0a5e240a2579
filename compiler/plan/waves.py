"""Which stages go through time together: chunk by chunk, so that nothing passes through memory twice.

In: the stages of a schedule. Out: its steps. Neighbouring stages form one step when each can do a chunk of frames as
soon as the stages before it have done that chunk: every read between them looks back along the step's direction, never
ahead. Input products then stand next to the loop that eats them, weight gradients next to the loop that makes their
deltas, and what crosses is still in the cache. A stage that stands alone goes in chunks too. The length of a chunk
depends on the number of streams alone, so no sum depends on threads or calibration, nor on how many frames a limit of
memory lets go at a time (parts.py). Where all loops of a step are small, crews of threads go by finer chunks, which no
result depends on; what would depend on them has none.
"""

from math import lcm

from rnnc.graph.chunkwise import CHUNKED
from rnnc.graph.kinds import in_lanes
from rnnc.graph.nodes import FRAME, SEQUENCE, Graph
from rnnc.plan.reads import behind
from rnnc.plan.roles import Roles
from rnnc.plan.schedule import Fold, Map, Once, Spans, Stage, Step, Sweep, kernels_of

ROWS = 256                                     # of a chunk, about: products are as fast as they get. What is kept for
                                               # 512 leaves a second cache of 1 MiB: 1 to 3 % slower (Zen 4)
FEW = 64                                       # where matrices are tiny: crews wait less for the first and last sums
FINE = 8                                       # frames of a fine chunk: what one small loop is ahead of the next one;
                                               # no fewer than 2, of which every tile forms its sums in one order
SMALL = 1 << 18                                # numbers of the matrices of a small loop: they fit a second cache
TINY = 1 << 16                                 # of a tiny one: with their gradients; what stands around it is as dear


def steps(graph: Graph, role: Roles, stages: tuple[Stage, ...], nodes_of) -> tuple[Step, ...]:
    """`nodes_of(stage)`: the nodes that a stage computes."""
    where = {n: i for i, stage in enumerate(stages) for n in nodes_of(stage)}
    read_by = [{where[read.node] for n in nodes_of(stage) for read in behind(graph, role, n) if read.node in where}
               for stage in stages]
    waits_for = _waits_for(read_by)
    made: list[Step] = []
    group: list[int] = []
    direction = 0

    def behind_loop(group: list[int]) -> bool:
        """Whether a loop backwards is waited for, which has made the last frames first."""
        return any(isinstance(stages[s], Sweep) and stages[s].direction < 0 for s in set().union(
            *(waits_for[i] for i in group)))

    def goes(way: int, moved: list[int]) -> bool:
        """Whether these can go chunk by chunk this way: of one another they read nothing from ahead of it."""
        return all(ways(graph, role, stages[m], where, set(moved), nodes_of) in (0, way) for m in moved)

    def close(reader: int | None = None, way: int = 0) -> None:
        """Ends the group; maps at its end that the next stage waits for go on with that one, which goes this way."""
        moved: list[int] = []
        while reader is not None and len(group) > 1 and isinstance(stages[group[-1]], Map) \
                and group[-1] in read_by[reader] and goes(way, [group[-1], *moved]):
            moved.insert(0, group.pop())
        if group:
            loops = [stages[i] for i in group if isinstance(stages[i], Sweep)]
            frames = lcm(*(loop.frames for loop in loops))
            meet = [loop for loop in loops if loop.meets]
            largest = max(map(matrices, meet), default=0)
            follow = meet and len(group) > 1 and largest <= (SMALL if len(meet) > 1 else TINY) \
                and not any(by_chunks(graph, stages[s]) for s in group)
            fine = -(-FINE // frames) * frames if follow else 0
            rows = FEW if fine and largest <= TINY else ROWS
            along = direction or (-1 if behind_loop(group) else 1)
            made.append(Step(tuple(group), along, rows * chunkable(stages[group[0]]), frames, fine=fine))
            group.clear()
        group.extend(moved)

    for number, stage in enumerate(stages):
        wanted = ways(graph, role, stage, where, {*group, number}, nodes_of)
        fits = bool(group) and chunkable(stage) and chunkable(stages[group[-1]]) and wanted is not None \
            and (direction == 0 or wanted in (0, direction)) and not reads_a_fold(role, graph, stage, group, stages,
                                                                                  nodes_of) \
            and not joins_loops(stages, read_by[number], waits_for, number, group)
        if not fits:
            if isinstance(stage, Sweep) and chunkable(stage):
                close(number, stage.direction)
            elif isinstance(stage, Map) and direction < 0 and wanted == 1 and chunkable(stage):
                close(number, wanted)                   # what a caller sees, behind the gradient and no part of it
            else:
                close()
            direction = 0
            wanted = ways(graph, role, stage, where, {*group, number}, nodes_of)
            if wanted is None and group:
                close()
                wanted = ways(graph, role, stage, where, {number}, nodes_of)
            wanted = wanted or 0
        shared = serves_others(stages, waits_for, number, group)
        if shared:                                              # those go before, in a step of their own
            kept = group[shared:]
            del group[shared:]
            close()
            group.extend(kept)
        group.append(number)
        direction = direction or wanted
    close()
    return tuple(made)


def joins_loops(stages: tuple[Stage, ...], read: set[int], waits_for: list[set[int]], number: int,
                group: list[int]) -> bool:
    """Whether a stage waits for a loop of an earlier step and for one of this step that does not wait for that one, as
    what reads both directions of a layer does. In this step it would have one direction wait for the other."""
    before = {s for s in read - set(group) if isinstance(stages[s], Sweep)}
    here = read & {s for s in group if isinstance(stages[s], Sweep)}
    return not isinstance(stages[number], Sweep) and any(not before & waits_for[loop] for loop in here if before)


def serves_others(stages: tuple[Stage, ...], waits_for: list[set[int]], number: int, group: list[int]) -> int:
    """If a loop begins in this step: how many of the stages before it must be done for another loop that does not wait
    for this one. Chunk by chunk with this one, they would have that one wait."""
    if not isinstance(stages[number], Sweep) or any(isinstance(stages[s], Sweep) for s in group):
        return 0
    others = [waits_for[s] for s in range(number + 1, len(stages)) if isinstance(stages[s], Sweep)]
    wanted = set().union(*(waited for waited in others if number not in waited))
    return max((i + 1 for i, s in enumerate(group) if s in wanted), default=0)


def _waits_for(read_by: list[set[int]]) -> list[set[int]]:
    """Of each stage, all those that it waits for, directly or not."""
    found: list[set[int]] = []
    for mine in read_by:
        found.append(mine.union(*(found[s] for s in mine if s < len(found))))
    return found


def by_chunks(graph: Graph, stage: Stage) -> bool:
    """Whether its numbers depend on where chunks begin: matrices that are asked in chunks, time cut into lanes."""
    kernels = kernels_of(stage)
    return any(graph[n].op in CHUNKED for kernel in kernels for n in kernel.body) \
        or isinstance(stage, Sweep) and any(in_lanes(graph, kernel.body) for kernel in kernels)


def matrices(loop: Sweep) -> int:
    """Numbers of the matrices that a step of a loop multiplies with."""
    return sum(panel.inner * len(panel.gates) * kernel.width for kernel in kernels_of(loop)
               for panel in getattr(kernel, "panels", ()))


def small(loop: Sweep) -> bool:
    """Whether a step is short, so that the loops of several layers had better follow one another on threads of their
    own than have all threads meet in every step of each."""
    return matrices(loop) <= SMALL


def chunkable(stage: Stage) -> bool:
    """A loop whose kernels lag behind one another does all of time in one go, and sequences are taken whole."""
    if isinstance(stage, (Once, Spans)) or getattr(stage, "per", FRAME) == SEQUENCE:
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
