"""What holds of every schedule, checked by walking it the dull way; shares nothing with the passes that made it.

Frame by frame it asks of every read: was the value made in an earlier stage, in an earlier phase or step of the same
loop, or before it in the same kernel by the same owner? And of memory: is a value that others read written at all, is
it still there when they read it, and do two values ever share a slot while both are wanted?
"""

from dataclasses import dataclass

from rnnc.errors import Broken
from rnnc.graph.nodes import CONSTANT, FRAME, SEQUENCE, Read
from rnnc.graph.ops import OPS, SPAN
from rnnc.plan.check_guards import guards_hold
from rnnc.plan.place import in_place
from rnnc.plan.schedule import Fold, Map, Once, Schedule, Spans, Sweep, UnitKernel

FRAMES = 9                                     # frames of the imagined call; more than any block and offset in tests


@dataclass(frozen=True)
class Seen:
    """What a walk over the schedule finds."""

    where: dict[int, tuple]                    # node -> (stage, phase, kernel, position, offset)
    stored: frozenset[int]                     # nodes written to memory
    units: frozenset[int]                      # kernels whose threads own units
    in_order: frozenset[int]                   # of those, the kernels that keep all rows of a unit with one thread


def look(made: Schedule) -> Seen:
    kernels = made.kernels()
    spans = frozenset(n for stage in made.stages if isinstance(stage, Spans) for n in stage.nodes)
    return Seen(positions(made), frozenset(n for k in kernels for n in k.stores) | spans,
                frozenset(k.number for k in kernels if isinstance(k, UnitKernel)),
                frozenset(k.number for k in kernels if isinstance(k, UnitKernel) and k.ordered))


def check(made: Schedule) -> None:
    seen = look(made)
    rows_hold(made)
    where = seen.where
    for n in where:
        for read, moved in real_reads(made, n):
            if read.node in where:
                ordered(made, seen, n, read, moved)
                found_in_memory(made, seen, n, read, moved)
            elif made.role[read.node] not in ("leaf", "early"):
                raise Broken(f"node {n} reads node {read.node} ({made.graph[read.node].op}), which nothing computes")
    outside = wanted_outside(made)
    for n in outside:
        there_at_the_end(made, seen, n)
    if [number for step in made.steps for number in step.stages] != list(range(len(made.stages))):
        raise Broken("the steps do not run every stage once, in order")
    for step in made.steps:
        chunks_hold(made, where, step)
    slots_hold(made, where, outside)
    guards_hold(made)


def rows_hold(made: Schedule) -> None:
    """A stage computes values whose rows are its own: of frames, of sequences, of nothing but the call."""
    for number, stage in enumerate(made.stages):
        for n in stage_nodes(stage):
            domain = made.graph[n].domain
            if isinstance(stage, (Fold, Once)) and domain != CONSTANT or isinstance(stage, Sweep) and domain != FRAME \
                    or isinstance(stage, Map) and domain != stage.per or \
                    isinstance(stage, Spans) != (OPS[made.graph[n].op].family == SPAN):
                raise Broken(f"node {n} ({made.graph[n].op}) has a value per {domain} and stands in stage {number}")
            if isinstance(stage, Fold):
                per_frame = any(made.graph[read.node].domain == FRAME for read in made.graph[n].args)
                if per_frame != (stage.per == FRAME):
                    raise Broken(f"the sum {n} stands among sums over each {stage.per}")


def stage_nodes(stage) -> list[int]:
    if isinstance(stage, (Fold, Spans)):
        return list(stage.nodes)
    kernels = [stage.kernel] if isinstance(stage, Once) else stage.kernels if isinstance(stage, Map) else \
        [k for phase in stage.phases for k, _ in phase.kernels]
    return [n for k in kernels for n in (*(g.node for g in getattr(k, "gates", ())), *k.body)]


def chunks_hold(made: Schedule, where, step) -> None:
    """Stages that go chunk by chunk read nothing of one another that a later chunk makes."""
    if len(step.stages) > 1 and not step.rows:
        raise Broken(f"stages {step.stages} stand in one step, but go in one piece")
    inside = [n for n, place in where.items() if place[0] in step.stages]
    for n in inside:
        for read, _ in real_reads(made, n):
            if read.node not in inside or where[read.node][0] == where[n][0] or len(step.stages) == 1:
                continue
            if read.delay * step.direction < 0:
                raise Broken(f"node {n} reads node {read.node} at delay {read.delay}, a later chunk of the same step")
            if isinstance(made.stages[where[read.node][0]], Fold):
                raise Broken(f"node {n} reads the sum {read.node} before its last chunk")
    for number in step.stages:
        stage = made.stages[number]
        if len(step.stages) > 1 and (isinstance(stage, Spans) or getattr(stage, "per", FRAME) == SEQUENCE):
            raise Broken(f"stage {number} takes sequences whole, in a step that goes in chunks")
        if isinstance(stage, Sweep) and len(step.stages) > 1:
            if stage.direction != step.direction or step.frames % stage.frames:
                raise Broken(f"stage {number} does not fit the chunks of its step")


def positions(made: Schedule) -> dict[int, tuple]:
    """node -> (stage, phase, kernel, position, offset)."""
    found: dict[int, tuple] = {}

    def put(n, place):
        if n in found:
            raise Broken(f"node {n} is computed twice: at {found[n]} and {place}")
        found[n] = place

    for s, stage in enumerate(made.stages):
        if isinstance(stage, (Fold, Spans)):
            for i, n in enumerate(stage.nodes):
                put(n, (s, 0, None, i, 0))
            continue
        phases = ([[(stage.kernel, 0)]] if isinstance(stage, Once) else [[(k, 0) for k in stage.kernels]]
                  if isinstance(stage, Map) else [list(p.kernels) for p in stage.phases])
        for p, kernels in enumerate(phases):
            for kernel, offset in kernels:
                inside = [g.node for g in getattr(kernel, "gates", ())] + list(kernel.body)
                for i, n in enumerate(inside):
                    put(n, (s, p, kernel.number, i, offset))
    return found


def real_reads(made: Schedule, n: int) -> list[tuple[Read, bool]]:
    """What n takes from computed values; True if units change hands on the way."""
    graph, role = made.graph, made.role
    stack = [(read, n in role.gates) for read in role.reads(graph, n)]
    found = []
    while stack:
        read, moved = stack.pop()
        if read.delay and read.node in graph.initials:          # a start may lie between, from 1 frame on to the delay
            ends = [(-1 if read.delay > 0 else 1) * n for n in range(1, abs(read.delay) + 1)]
            seen = [graph.initials[read.node].node(offset) for offset in ends]
            stack += [(Read(m), moved) for m in seen if m is not None and graph[m].domain == SEQUENCE]
        if role[read.node] in ("view", "index"):
            stack += [(Read(r.node, r.delay + read.delay), moved or role[read.node] == "view")
                      for r in graph[read.node].args]
        else:
            found.append((read, moved))
    return found


def ordered(made: Schedule, seen: Seen, n: int, read: Read, moved: bool) -> None:
    """The value is there when it is read, and its owner can have finished it."""
    s, p, kernel, position, offset = seen.where[n]
    s2, p2, kernel2, position2, offset2 = seen.where[read.node]
    text = f"node {n} ({made.graph[n].op}) reads node {read.node} ({made.graph[read.node].op}) at delay {read.delay}"
    if s2 < s:
        return
    if s2 > s:
        raise Broken(f"{text}, which a later stage makes")
    stage = made.stages[s]
    if isinstance(stage, (Fold, Spans)):
        raise Broken(f"{text}: both are made of many frames, in one stage")
    if not isinstance(stage, Sweep):
        if kernel != kernel2 or read.delay or moved and kernel in seen.units or position2 >= position and \
                kernel in seen.units:
            raise Broken(f"{text} in the same map, where threads do not wait for one another")
        return
    ago = read.delay * stage.direction
    for t in range(FRAMES):
        if not 0 <= t - ago < FRAMES:
            continue
        mine, yours = (t + offset) // stage.frames, (t - ago + offset2) // stage.frames
        same_kernel = kernel == kernel2
        if yours > mine or yours == mine and not (p2 < p or same_kernel):
            raise Broken(f"{text}: at frame {t} it is not made yet")
        if yours == mine and same_kernel and not (ago > 0 or position2 < position or kernel not in seen.units):
            raise Broken(f"{text}: it stands later in its own kernel")
        if yours == mine and same_kernel and ago > 0 and kernel not in seen.in_order:
            raise Broken(f"{text}: another thread may own that row")
        if yours == mine and same_kernel and moved and kernel in seen.units:
            raise Broken(f"{text}: other threads own these units")
        if not stage.meets and (not same_kernel or moved and kernel in seen.units):
            raise Broken(f"{text} across threads, in a loop without meetings")


def found_in_memory(made: Schedule, seen: Seen, n: int, read: Read, moved: bool) -> None:
    """A value that does not stay in its kernel is written, and in a ring not yet overwritten."""
    m = read.node
    s, _, kernel, _, offset = seen.where[n]
    s2, _, kernel2, _, offset2 = seen.where[m]
    stays = kernel == kernel2 and not read.delay and not (moved and kernel in seen.units)
    if stays or made.graph[m].domain == CONSTANT:
        return
    text = f"node {m} ({made.graph[m].op}), which node {n} reads at delay {read.delay},"
    if m not in made.buffers or m not in seen.stored:
        raise Broken(f"{text} is not written to memory")
    ring, near = made.buffers[m].ring, made.buffers[m].near
    if near is not None and (s not in made.steps[near].stages or abs(read.delay) > made.steps[near].margin):
        raise Broken(f"{text} is kept for a chunk of another step, or for too few frames before it")
    if ring is None:
        return
    stage = made.stages[s]
    if s != s2:
        raise Broken(f"{text} is kept for a few frames only, in another stage")
    for t in range(FRAMES):
        written = (t + offset) // stage.frames * stage.frames - offset2 + stage.frames - 1      # the latest frame
        ago = written - (t - read.delay * stage.direction)
        if ago >= ring and not (ago == ring and kernel == kernel2 and in_place(made.graph, stage, made.role, m)):
            raise Broken(f"{text} is overwritten after {ring} frames")


def wanted_outside(made: Schedule) -> set[int]:
    """What the caller gets, views and integers looked through."""
    found: set[int] = set()
    stack = made.graph.roots()
    while stack:
        n = stack.pop()
        if made.role[n] in ("view", "index"):
            stack += [read.node for read in made.graph[n].args]
        elif made.role[n] not in ("leaf", "early"):
            found.add(n)
    return found


def there_at_the_end(made: Schedule, seen: Seen, n: int) -> None:
    """What the caller gets was computed, and is in memory when the stages are done."""
    graph = made.graph
    if n not in seen.where:
        raise Broken(f"node {n} ({graph[n].op}) is wanted outside, and nothing computes it")
    if graph[n].domain == CONSTANT:
        return
    if n not in made.buffers or n not in seen.stored:
        raise Broken(f"node {n} ({graph[n].op}) is wanted outside and not written to memory")
    ring, near = made.buffers[n].ring, made.buffers[n].near
    if near is not None and (n not in graph.state or made.steps[near].margin < graph.state[n]):
        raise Broken(f"node {n} ({graph[n].op}) is wanted outside longer than its chunk")
    loop = made.stages[seen.where[n][0]]
    if ring is not None and (n not in graph.state or ring < graph.state[n] or getattr(loop, "direction", 1) < 0):
        raise Broken(f"node {n} ({graph[n].op}) is wanted outside longer than it is kept")


def slots_hold(made: Schedule, where: dict[int, tuple], outside: set[int]) -> None:
    """No value is overwritten by another one before its last reader's step is over."""
    step = {stage: i for i, s in enumerate(made.steps) for stage in s.stages}
    last_read = {n: step[place[0]] for n, place in where.items()}
    for m in where:
        for read, _ in real_reads(made, m):
            if read.node in where:
                last_read[read.node] = max(last_read[read.node], step[where[m][0]])
    tenants: dict[int, list[tuple[int, int, int]]] = {}
    for n, buffer in made.buffers.items():
        if buffer.slot is None or n not in where:
            continue
        last = last_read[n]
        if n in outside:
            last = len(made.steps)
        tenants.setdefault(buffer.slot, []).append((step[where[n][0]], last, n))
        kind, size = made.slots[buffer.slot]
        if size < made.graph[n].size:
            raise Broken(f"slot {buffer.slot} has {size} numbers a row, node {n} needs {made.graph[n].size}")
    for slot, stays in tenants.items():
        stays.sort()
        for (_, last, a), (first, _, b) in zip(stays, stays[1:]):
            if first <= last:
                raise Broken(f"nodes {a} and {b} share slot {slot} while both are wanted")
