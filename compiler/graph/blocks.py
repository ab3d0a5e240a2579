"""How many frames of a loop can go at once: the block size D, and the offsets that it takes.

In: a graph and one of its loops. Out: a `Block`. D frames go together if, node by node, all D frames of what a node
reads are there before its own D frames are made. Node v may lag by r(v) frames, which changes the delay of v's read
of u to d + r(v) - r(u); no such delay may be negative, and the reads with delays below D may form no cycle. Only
cycles with a mixing operator count: elementwise ones go frame by frame inside a block. An offset says when a node
runs, never what it reads.

Finding the largest D is NP-complete in general, and immediate for nearly every real cell: the least sum of delays
round a cycle bounds D from above and is nearly always reached.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from rnnc.graph.loops import Cycle, Edge, Loop, components, least_sums
from rnnc.graph.nodes import Graph, Node
from rnnc.graph.ops import MIXING, OPS

SOLVES = 300        # offsets tried for one D before it is given up; real loops take one to six


@dataclass(frozen=True)
class Block:
    """`frames` is D, None if nothing bounds it. Node v makes, in block k, the frames kD - r(v) … kD - r(v) + D - 1,
    counted in the direction of the loop."""

    frames: int | None
    offsets: dict[int, int]                    # node -> r(v), for every node of the loop; the least is 0
    needs_offsets: bool                        # something is read ahead: without offsets not even one frame can go
    bound: int | None                          # the least sum of delays round a cycle that mixes; frames <= bound
    limit: Cycle = ()                          # a cycle that keeps D from being larger
    exact: bool = True                         # False: the search was cut short, a larger D may exist


def mixes(node: Node) -> bool:
    """Does a unit of the result depend on other units of the operands?"""
    return OPS[node.op].family == MIXING


def block(graph: Graph, loop: Loop, offsets: bool = True) -> Block:
    """The largest D of a loop; with offsets=False the largest for which every r(v) is 0.

    If the loop reads ahead, no D does without offsets: then D = 1 with the least offsets, and `needs_offsets` says so.
    """
    mixing = frozenset(n for n in loop.nodes if mixes(graph[n]))
    # Of several reads of u by v the nearest one decides.
    nearest: dict[tuple[int, int], int] = {}
    for edge in loop.edges:
        pair, ago = edge[:2], loop.ago(edge)
        nearest[pair] = min(nearest.get(pair, ago), ago)
    edges = tuple((u, v, d) for (u, v), d in nearest.items())
    found = search(loop.nodes, edges, mixing, offsets)
    limit = tuple((u, v, d * loop.direction) for u, v, d in found.limit)
    return Block(found.frames, found.offsets, found.needs_offsets, found.bound, limit, found.exact)


def search(nodes: Iterable[int], edges: tuple[Edge, ...], mixing: frozenset[int], offsets: bool = True) -> Block:
    """`block` on plain edges, at most one for each pair, whose every cycle has a positive sum."""
    nodes = tuple(nodes)
    still = dict.fromkeys(nodes, 0)
    ahead = any(d < 0 for *_, d in edges)
    least = _solve(nodes, edges, frozenset(), 0) if ahead else still
    bound, limit = _least_cycle(nodes, edges, mixing, least)
    if bound is None:
        return Block(None, least, ahead, None)
    if not offsets and ahead:
        return Block(1, least, True, bound, limit)
    if not offsets:
        return _without_offsets(nodes, edges, mixing, bound)

    low, high = 1, bound                       # low is possible; what is possible for D is possible for D - 1
    chosen, exact = least, True
    while low < high:
        frames = high if high == bound else (low + high + 1) // 2      # the bound itself is the likeliest answer
        lags, certain = _lags(nodes, edges, mixing, frames)
        if lags is None:
            high = frames - 1
            exact = exact and certain
        else:
            low, chosen = frames, lags
    return Block(low, chosen, ahead, bound, limit, exact)


def _without_offsets(nodes: tuple[int, ...], edges: tuple[Edge, ...], mixing: frozenset[int], bound: int) -> Block:
    """Reads with a delay below D form no cycle that mixes: D is one of the delays."""
    frames, limit = 1, ()
    for frames in sorted({d for *_, d in edges if d > 0}):
        limit = mixing_cycle(nodes, [e for e in edges if e[2] <= frames], mixing)
        if limit:
            break
    return Block(frames, dict.fromkeys(nodes, 0), False, bound, limit)


def _lags(
    nodes: tuple[int, ...], edges: tuple[Edge, ...], mixing: frozenset[int], frames: int,
) -> tuple[dict[int, int] | None, bool]:
    """Offsets with which `frames` frames can go at once. None if there are none, and then whether that is certain.

    While a cycle of reads with delays below D is left, one of its edges must be given a delay of D: try each."""
    tried: set[frozenset[Edge]] = set()
    waiting: list[frozenset[Edge]] = [frozenset()]
    while waiting:
        whole = waiting.pop()
        if whole in tried:
            continue
        if len(tried) == SOLVES:
            return None, False
        tried.add(whole)
        lags = _solve(nodes, edges, whole, frames)
        if lags is None:
            continue
        short = [(u, v, d) for u, v, d in edges if d + lags[v] - lags[u] < frames]
        cycle = mixing_cycle(nodes, short, mixing)
        if not cycle:
            return lags, True
        # The longest delay is the likeliest to be stretched to D: it goes last onto the stack.
        waiting += [whole | {edge} for edge in sorted(cycle, key=lambda e: e[2])]
    return None, True


def _solve(
    nodes: tuple[int, ...], edges: tuple[Edge, ...], whole: frozenset[Edge], frames: int,
) -> dict[int, int] | None:
    """The least offsets r >= 0 that leave every delay at 0 or more, and those of `whole` at `frames` or more."""
    sums, cycle = least_sums(nodes, edges, lambda e: e[2] - (frames if e in whole else 0))
    return None if cycle else {node: -least for node, least in sums.items()}


def mixing_cycle(nodes: tuple[int, ...], edges: Iterable[Edge], mixing: frozenset[int]) -> Cycle:
    """A short cycle through a mixing node, or ()."""
    edges = list(edges)
    place = {node: i for i, node in enumerate(nodes)}
    for members in components(len(nodes), [(place[u], place[v]) for u, v, _ in edges]):
        inside = {nodes[i] for i in members}
        start = next((n for n in nodes if n in inside and n in mixing), None)
        if start is None:
            continue
        out: dict[int, list[Edge]] = {node: [] for node in inside}
        for edge in edges:
            if edge[0] in inside and edge[1] in inside:
                out[edge[0]].append(edge)
        came: dict[int, Edge] = {}
        queue = deque([start])
        while queue and start not in came:
            for edge in out[queue.popleft()]:
                if edge[1] not in came:
                    came[edge[1]] = edge
                    queue.append(edge[1])
        if start in came:
            return _back(came, start)
    return ()


def _least_cycle(
    nodes: tuple[int, ...], edges: tuple[Edge, ...], mixing: frozenset[int], lags: dict[int, int],
) -> tuple[int | None, Cycle]:
    """The least sum of delays round a cycle that mixes, and such a cycle with few edges (Dijkstra from each mixing
    node; `lags` make every delay non-negative and change no sum round a cycle)."""
    out: dict[int, list[tuple[Edge, int]]] = {node: [] for node in nodes}
    for edge in edges:
        u, v, d = edge
        out[u].append((edge, d + lags[v] - lags[u]))
    best: tuple[int, Cycle] = (None, ())
    for start in nodes:
        if start not in mixing:
            continue
        came: dict[int, Edge] = {}
        cost: dict[int, tuple[int, int]] = {}
        heap = [((0, 0), start)]
        while heap:
            here, node = heapq.heappop(heap)
            if node == start and here[1]:
                best = here[0], _back(came, start)
                break
            if node != start and here > cost[node]:
                continue
            for edge, delay in out[node]:
                there = here[0] + delay, here[1] + 1
                if (best[0] is None or there[0] < best[0]) and (edge[1] not in cost or there < cost[edge[1]]):
                    cost[edge[1]], came[edge[1]] = there, edge
                    heapq.heappush(heap, (there, edge[1]))
        if best[0] == 1:                       # nothing is less
            break
    return best


def _back(came: dict[int, Edge], start: int) -> Cycle:
    """The cycle through `start`, from the edge by which each node was reached."""
    steps = [came[start]]
    while steps[-1][0] != start:
        steps.append(came[steps[-1][0]])
    return tuple(reversed(steps))
