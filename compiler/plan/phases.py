"""Inside a stage: which kernel computes what, and where threads must meet.

In: the nodes of one sweep or map. Out: phases of kernels. Within a block a value may be used by the thread that made
it: the same units of the same kernel, the same row. Anything else (a product, a view of other units, a change between
owning units and owning rows) needs a meeting, so it stands one phase later. This is `analysis.md`'s rule
phase(v) = max over inputs of phase(u) + 1 across a meeting, taken over groups of nodes that one block runs together.
"""

from dataclasses import dataclass

from rnnc.graph.blocks import Block
from rnnc.graph.loops import components
from rnnc.graph.nodes import Graph, Read
from rnnc.plan.roles import Roles


@dataclass(frozen=True)
class Source:
    """What a node takes from another one: `moved` if through a view or a product, so units change hands."""

    node: int
    delay: int
    moved: bool


def sources(graph: Graph, role: Roles, number: int) -> list[Source]:
    """The computed values that `number` reads, views and integers looked through."""
    found: list[Source] = []
    stack = [(read, number in role.gates) for read in role.reads(graph, number)]
    while stack:
        read, moved = stack.pop()
        what = role[read.node]
        if what in ("view", "index"):
            # A view is read at delay 0 only; what it shows may be delayed.
            stack += [(Read(r.node, r.delay + read.delay), moved or what == "view") for r in graph[read.node].args]
        elif what in ("unit", "row", "gate"):
            found.append(Source(read.node, read.delay, moved))
    return found


@dataclass(frozen=True)
class Slot:
    """A kernel to be: everything with the same slot runs in one kernel."""

    phase: int
    units: bool
    width: int
    offset: int


class Conflict(Exception):
    """This block size cannot be run by whole kernels; one frame at a time always can."""


def slots(graph: Graph, role: Roles, nodes: list[int], direction: int, block: Block, by_rows: bool) -> dict[int, Slot]:
    """The kernel of each node. `block.offsets` may lack nodes that only joined the loop: they follow their readers or
    what they read. Raises `Conflict` where the block size asks for the impossible."""
    members = set(nodes)
    offset = _offsets(graph, role, nodes, block)
    units = {n: not by_rows and role[n] in ("unit", "gate") for n in nodes}
    _follow_rows(graph, role, nodes, offset, units)
    edges: list[tuple[int, int, int]] = []                      # u, v, 1 if they must meet
    for v in nodes:
        for source in sources(graph, role, v):
            u = source.node
            if u not in members:
                continue
            ago = source.delay * direction + offset[v] - offset[u]
            if ago < 0:
                raise Conflict(f"{u} would be read before it is made")
            if ago >= block.frames:
                continue
            together = (units[u] == units[v] and offset[u] == offset[v] and not (units[v] and source.moved)
                        and (not units[v] or graph[u].size == graph[v].size)
                        and (units[v] or source.delay == 0))
            edges.append((u, v, 0 if together else 1))
    index = {n: i for i, n in enumerate(nodes)}
    groups = components(len(nodes), [(index[u], index[v], 0) for u, v, _ in edges])
    group_of = {nodes[i]: g for g, group in enumerate(groups) for i in group}
    phase = [0] * len(groups)
    into: dict[int, list[tuple[int, int]]] = {}
    for u, v, meet in edges:
        if group_of[u] == group_of[v]:
            if meet:
                raise Conflict("threads would have to meet inside a block's own cycle")
        else:
            into.setdefault(group_of[v], []).append((group_of[u], meet))
    for g in range(len(groups)):
        phase[g] = max((phase[u] + meet for u, meet in into.get(g, [])), default=0)
    _wait_for_readers(phase, into, {g for g, group in enumerate(groups)
                                    if any(role[nodes[i]] == "gate" for i in group)})
    return {n: Slot(phase[group_of[n]], units[n], graph[n].size if units[n] else 0, offset[n]) for n in nodes}


def _follow_rows(graph: Graph, role: Roles, nodes: list[int], offset: dict[int, int], units: dict[int, bool]) -> None:
    """Equations of vectors go with the rows where that saves a meeting: what is made of a reduction (the end of a
    normalisation, say) is computed by the thread that made the reduction, and so is what only such equations read.
    A layer-normalised LSTM so meets twice a frame, not nine times."""
    members, seen = set(nodes), {}
    now = {v: [s.node for s in sources(graph, role, v)
               if s.node in members and not s.delay and offset[s.node] == offset[v]] for v in nodes}
    for v in nodes:
        by = {own: max((seen.get(u, 0) + (units[u] != own) for u in now[v]), default=0) for own in (True, False)}
        if units[v] and role[v] == "unit" and by[False] < by[True]:
            units[v] = False
        seen[v] = by[units[v]] if role[v] != "gate" else max((seen.get(u, 0) + 1 for u in now[v]), default=0)
    early: set[int] = set()                                     # made of what earlier steps and stages left
    for v in nodes:
        if role[v] == "unit" and early.issuperset(now[v]):
            early.add(v)
    readers: dict[int, list[int]] = {}
    for v in reversed(nodes):
        mine = readers.get(v, [])
        if v in early and mine and not any(units[r] for r in mine):
            units[v] = False
        for u in now[v]:
            readers.setdefault(u, []).append(v)


def _wait_for_readers(phase: list[int], into: dict[int, list[tuple[int, int]]], gates: set[int]) -> None:
    """Equations that nothing hurries move to the phase of their first reader: there they may stay in registers.
    Groups are numbered in the order of the data."""
    latest: dict[int, int] = {}
    for g in reversed(range(len(phase))):
        if g not in gates and g in latest:
            phase[g] = max(phase[g], latest[g])
        for u, meet in into.get(g, []):
            latest[u] = min(latest.get(u, phase[g] - meet), phase[g] - meet)


def _offsets(graph: Graph, role: Roles, nodes: list[int], block: Block) -> dict[int, int]:
    """Offsets of the loop's own nodes, and for those that joined it: of their readers (least), else of what they read
    (most)."""
    offset = {n: r for n, r in block.offsets.items()}
    members = set(nodes)
    for n in reversed(nodes):
        if n not in offset:
            readers = [offset[r] for r, _ in graph.uses[n] if r in members and r in offset]
            if readers:
                offset[n] = min(readers)
    for n in nodes:
        if n not in offset:
            offset[n] = max((offset[s.node] for s in sources(graph, role, n) if s.node in members and s.node in offset),
                            default=0)
    return offset


def needs_meeting(graph: Graph, role: Roles, nodes: list[int], placed: dict[int, Slot]) -> bool:
    """Whether any value of the loop, however old, is used by another thread than the one that made it."""
    members = set(nodes)
    if len(set(placed.values())) > 1:
        return True
    for v in nodes:
        for source in sources(graph, role, v):
            if source.node in members and placed[v].units and source.moved:
                return True
    return False


def in_time_order(graph: Graph, role: Roles, nodes: list[int], placed: dict[int, Slot], frames: int) -> set[Slot]:
    """The kernels that read what they made a few frames ago in the same block: they must keep the order of time."""
    return {placed[v] for v in nodes for source in sources(graph, role, v)
            if source.node in placed and placed[source.node] == placed[v] and 0 < abs(source.delay) < frames}
