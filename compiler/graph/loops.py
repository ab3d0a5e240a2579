"""Which equations depend on themselves, and which way in time each such loop runs.

In: a graph, or plain edges. Out: `Loops`, the strongly connected components over all reads, delayed or not, in the
order of the data. A component with a cycle is a `Loop`; everything else needs no order in time at all.
`direction` works on plain edges because elaboration asks it before there is a graph that is known to be right: it
answers +1 or -1, or a `Fault` with the cycles that forbid an answer.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rnnc.errors import Broken
from rnnc.graph.nodes import FRAME, Graph
from rnnc.graph.ops import OPS, SPAN

Edge = tuple[int, int, int]                    # (u, v, d): v reads u at delay d
Cycle = tuple[Edge, ...]                       # each edge starts where the one before it ends, the first too


@dataclass(frozen=True)
class Fault:
    """Why members have no direction. "instant": `cycles` holds one of delay-0 reads only; "zero": one whose delays
    add up to 0; "mixed": one with a positive and one with a negative sum."""

    kind: Literal["instant", "zero", "mixed"]
    cycles: tuple[Cycle, ...]


@dataclass(frozen=True)
class Loop:
    """Signals that depend on themselves. `direction`: +1 runs forwards in time, -1 backwards."""

    nodes: tuple[int, ...]                     # ascending
    direction: int
    edges: tuple[Edge, ...]                    # the reads inside, each once, sorted

    @cached_property
    def members(self) -> frozenset[int]:
        return frozenset(self.nodes)

    def ago(self, edge: Edge) -> int:
        """The delay of an edge counted along the direction of the loop: frames ago in the order they are computed."""
        return edge[2] * self.direction


@dataclass(frozen=True)
class Loops:
    """Every component in the order of the data: a component comes after all that it reads."""

    components: tuple[tuple[int, ...], ...]    # members ascending; constants are here too, each on its own
    component: tuple[int, ...]                 # node -> number of its component
    loops: tuple[Loop, ...]                    # the components that have a cycle, in the same order
    loop: dict[int, Loop]                      # node -> its loop, for the nodes that are in one

    def __iter__(self):
        return iter(self.loops)

    def __len__(self) -> int:
        return len(self.loops)


def loops(graph: Graph) -> Loops:
    """The loops of a graph whose causality has been checked; a fault here is a bug of ours."""
    edges = [(read.node, number, read.delay) for number, node in enumerate(graph.nodes) for read in node.args]
    starts = [(initial, number, 0) for number, node in enumerate(graph.nodes) for read in node.args
              if read.delay != 0 and read.node in graph.initials
              for initial in graph.initials[read.node].nodes()]
    found = components(len(graph), [*edges, *starts])
    component = [0] * len(graph)
    for number, members in enumerate(found):
        for node in members:
            component[node] = number
    inside: dict[int, set[Edge]] = {}
    for edge in edges:
        if component[edge[0]] == component[edge[1]]:
            inside.setdefault(component[edge[0]], set()).add(edge)
    made = []
    for number in sorted(inside):
        members, reads = found[number], tuple(sorted(inside[number]))
        if any(graph[node].domain != FRAME or OPS[graph[node].op].family == SPAN for node in members):
            raise Broken(f"a constant, or a value of a whole sequence, depends on itself, among nodes {members}")
        answer = direction(members, reads)
        if isinstance(answer, Fault):
            raise Broken(f"a loop without direction reached the analyses: {answer}")
        made.append(Loop(members, answer, reads))
    return Loops(tuple(found), tuple(component), tuple(made), {n: loop for loop in made for n in loop.nodes})


def components(size: int, edges: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """Strongly connected components of the nodes 0..size-1 (Tarjan 1972, without recursion), members ascending, each
    component after all that it reads. Deterministic: the search takes nodes and what they read in ascending order."""
    reads: list[list[int]] = [[] for _ in range(size)]
    for edge in edges:
        reads[edge[1]].append(edge[0])
    for read in reads:
        read.sort()
    found: list[tuple[int, ...]] = []
    index = [-1] * size                        # order of discovery
    low = [0] * size                           # earliest open node that can be reached
    open_: list[int] = []
    is_open = [False] * size
    count = 0
    for root in range(size):
        if index[root] >= 0:
            continue
        path = [(root, 0)]
        while path:
            node, position = path.pop()
            if position == 0:
                index[node] = low[node] = count
                count += 1
                open_.append(node)
                is_open[node] = True
            else:
                low[node] = min(low[node], low[reads[node][position - 1]])
            while position < len(reads[node]):
                other = reads[node][position]
                position += 1
                if index[other] < 0:
                    path += [(node, position), (other, 0)]
                    break
                if is_open[other]:
                    low[node] = min(low[node], index[other])
            else:
                if low[node] == index[node]:
                    at = len(open_) - 1
                    while open_[at] != node:
                        at -= 1
                    members = open_[at:]
                    del open_[at:]
                    for member in members:
                        is_open[member] = False
                    found.append(tuple(sorted(members)))
    return found


def direction(members: Iterable[int], edges: Iterable[Edge]) -> int | Fault:
    """+1 if the delays round every cycle among `members` add up to more than 0, -1 if all to less, else the fault.

    With n members, a cycle of k <= n edges is positive iff the sum of (n+1)d - 1 round it is not negative: so one
    search for a negative cycle settles all of them."""
    members = list(members)
    wanted = set(members)
    edges = sorted({e for e in edges if e[0] in wanted and e[1] in wanted})
    order, instant = _instant(members, edges)
    if instant:
        return Fault("instant", (instant,))
    edges.sort(key=lambda e: (order[e[0]], order[e[1]], e[2]))   # chains of delay-0 reads settle in one round
    scale = len(members) + 1
    not_positive = negative_cycle(members, edges, lambda e: scale * e[2] - 1)
    if not not_positive:
        return 1
    not_negative = negative_cycle(members, edges, lambda e: -scale * e[2] - 1)
    if not not_negative:
        return -1
    negative = negative_cycle(members, edges, lambda e: e[2])
    positive = negative_cycle(members, edges, lambda e: -e[2])
    if negative and positive:
        return Fault("mixed", (positive, negative))
    # One sign is absent, and the cycle found while looking for that sign's absence is not of the other: it is zero.
    return Fault("zero", (not_negative if negative else not_positive,))


def negative_cycle(members: Iterable[int], edges: Sequence[Edge], weight: Callable[[Edge], int]) -> Cycle | None:
    """A simple cycle whose weights add up to less than 0, if there is one."""
    return least_sums(members, edges, weight)[1]


def least_sums(
    members: Iterable[int], edges: Sequence[Edge], weight: Callable[[Edge], int],
) -> tuple[dict[int, int], Cycle | None]:
    """For each member the least sum of weights along any path to it, at most 0 (Bellman-Ford from everywhere at once);
    with a cycle of negative sum there is no least, and that cycle comes second."""
    least = dict.fromkeys(members, 0)
    came: dict[int, Edge] = {}
    weighted = [(edge, weight(edge)) for edge in edges]
    while True:
        changed = False
        for edge, cost in weighted:
            if least[edge[0]] + cost < least[edge[1]]:
                least[edge[1]] = least[edge[0]] + cost
                came[edge[1]] = edge
                changed = True
        if not changed:
            return least, None
        cycle = _closed(came)
        if cycle:
            return least, cycle


def _closed(came: dict[int, Edge]) -> Cycle | None:
    """A cycle among the edges by which nodes were last reached; there is one soon after there is a negative cycle."""
    state: dict[int, int] = {}
    for mark, start in enumerate(came):
        node = start
        while node in came and node not in state:
            state[node] = mark
            node = came[node][0]
        if node in came and state[node] == mark:
            back = [came[node]]
            while back[-1][0] != node:
                back.append(came[back[-1][0]])
            return tuple(reversed(back))
    return None


def _instant(members: list[int], edges: list[Edge]) -> tuple[dict[int, int], Cycle | None]:
    """An order in which every node follows what it reads at delay 0, or the cycle that forbids one."""
    reads: dict[int, list[Edge]] = {node: [] for node in members}
    for edge in edges:
        if edge[2] == 0:
            reads[edge[1]].append(edge)
    order: dict[int, int] = {}
    for root in members:
        path: list[tuple[int, int]] = [(root, 0)]
        on_path = {root}
        while path:
            node, position = path.pop()
            if node in order:
                continue
            if position == len(reads[node]):
                order[node] = len(order)
                on_path.discard(node)
                continue
            path.append((node, position + 1))
            other = reads[node][position][0]
            if other in on_path:
                at = next(i for i, (n, _) in enumerate(path) if n == other)
                # Each node on the path reads the next one, and the last reads `other` again: flow is the reverse.
                steps = [reads[n][p - 1] for n, p in path[at:]]
                return order, tuple(reversed(steps))
            if other not in order:
                path.append((other, 0))
                on_path.add(other)
    return order, None
