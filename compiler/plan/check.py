"""What holds of every schedule, checked by walking it the dull way; shares nothing with the passes that made it.

Frame by frame it asks of every read: was the value made in an earlier stage, in an earlier phase or step of the same
loop, or before it in the same kernel by the same owner? And of memory: do two values ever share a slot while both are
wanted?
"""

from rnnc.errors import Broken
from rnnc.graph.nodes import Read
from rnnc.plan.schedule import Fold, Map, Once, Schedule, Sweep, UnitKernel

FRAMES = 9                                     # frames of the imagined call; more than any block and offset in tests


def check(made: Schedule) -> None:
    where = positions(made)
    for n in where:
        for read, moved in real_reads(made, n):
            if read.node in where:
                ordered(made, where, n, read, moved)
    slots_hold(made)


def positions(made: Schedule) -> dict[int, tuple]:
    """node -> (stage, phase, kernel, position, offset)."""
    found: dict[int, tuple] = {}

    def put(n, place):
        if n in found:
            raise Broken(f"node {n} is computed twice: at {found[n]} and {place}")
        found[n] = place

    for s, stage in enumerate(made.stages):
        if isinstance(stage, Fold):
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
    gate = role.gates.get(n)
    stack = [(r, gate is not None) for r in ([t.operand for t in gate.terms] if gate else graph[n].args)]
    found = []
    while stack:
        read, moved = stack.pop()
        if role[read.node] in ("view", "index"):
            stack += [(Read(r.node, r.delay + read.delay), moved or role[read.node] == "view")
                      for r in graph[read.node].args]
        else:
            found.append((read, moved))
    return found


def ordered(made: Schedule, where, n: int, read: Read, moved: bool) -> None:
    """The value is there when it is read, and its owner can have finished it."""
    s, p, kernel, position, offset = where[n]
    s2, p2, kernel2, position2, offset2 = where[read.node]
    text = f"node {n} ({made.graph[n].op}) reads node {read.node} ({made.graph[read.node].op}) at delay {read.delay}"
    if s2 < s:
        return
    if s2 > s:
        raise Broken(f"{text}, which a later stage makes")
    stage = made.stages[s]
    if isinstance(stage, Fold):
        raise Broken(f"{text}: both are sums of one stage")
    if not isinstance(stage, Sweep):
        if kernel != kernel2 or read.delay or moved and units(made, kernel) or position2 >= position and \
                units(made, kernel):
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
        if yours == mine and same_kernel and not (ago > 0 or position2 < position or not units(made, kernel)):
            raise Broken(f"{text}: it stands later in its own kernel")
        if yours == mine and same_kernel and ago > 0 and not ordered_rows(made, kernel):
            raise Broken(f"{text}: another thread may own that row")
        if yours == mine and same_kernel and moved and units(made, kernel):
            raise Broken(f"{text}: other threads own these units")
        if not stage.meets and (not same_kernel or moved and units(made, kernel)):
            raise Broken(f"{text} across threads, in a loop without meetings")


def units(made: Schedule, number: int) -> bool:
    return any(k.number == number and isinstance(k, UnitKernel) for k in made.kernels())


def ordered_rows(made: Schedule, number: int) -> bool:
    return any(k.number == number and isinstance(k, UnitKernel) and k.ordered for k in made.kernels())


def slots_hold(made: Schedule) -> None:
    """No value is overwritten by another one before its last reader's stage is over."""
    where = positions(made)
    tenants: dict[int, list[tuple[int, int, int]]] = {}
    for n, buffer in made.buffers.items():
        if buffer.slot is None or n not in where:
            continue
        last = where[n][0]
        for m in where:
            if any(r.node == n for r, _ in real_reads(made, m)):
                last = max(last, where[m][0])
        if n in made.graph.state or n in made.graph.outputs.values():
            last = len(made.stages)
        tenants.setdefault(buffer.slot, []).append((where[n][0], last, n))
        kind, size = made.slots[buffer.slot]
        if size < made.graph[n].size:
            raise Broken(f"slot {buffer.slot} has {size} numbers a row, node {n} needs {made.graph[n].size}")
    for slot, stays in tenants.items():
        stays.sort()
        for (_, last, a), (first, _, b) in zip(stays, stays[1:]):
            if first <= last:
                raise Broken(f"nodes {a} and {b} share slot {slot} while both are wanted")
