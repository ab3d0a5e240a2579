"""Store or recompute: cheap values are made again where they are wanted, instead of crossing memory.

In: a graph. Out: the same values, with cheap elementwise nodes copied, one for each region that reads them (a loop, or
a single reader outside). A node is cheap if it is a few additions, multiplications, divisions or comparisons of values
that are kept anyway: then a copy costs less than a store and a load. Nothing is copied across a product, a reduction or
an expensive function, so no loop gets new products and no frame new exponentials. (Quotients: cells with layer norms
train 2 to 3 % faster when theirs do not cross memory. Zen 4, one thread.)
"""

from dataclasses import replace

from rnnc.graph.loops import Loops
from rnnc.graph.nodes import CONSTANT, FRAME, REAL, Graph, Node
from rnnc.graph.ops import OPS, SPAN
from rnnc.plan.regroup import compact, is_product

CHEAP = frozenset("add sub mul div neg minimum maximum relu abs where lt le gt ge eq ne and or not identity".split())
MOST = 6                                       # operators that a copy may bring with it


def costs(graph: Graph, found: Loops) -> list[int | None]:
    """Operators needed to make each value again from kept ones; None: it is kept, or must not be copied."""
    roots = frozenset(graph.roots())
    cost: list[int | None] = [None] * len(graph)
    for n in graph.order:
        node = graph[n]
        if node.op not in CHEAP or node.domain != FRAME or node.kind != REAL or not node.shape or kept(graph, n, roots):
            continue
        total = 1
        for read in node.args:
            if graph[read.node].domain != FRAME:
                continue
            inner = cost[read.node]
            if inner is not None and read.delay == 0:
                total += inner
        if total <= MOST:
            cost[n] = total
    # What the copy is made of must be kept: an expensive value that one kernel alone reads lives in registers.
    for n in graph.order:
        if cost[n] is not None and any(
                cost[r.node] is None and graph[r.node].domain == FRAME and not kept(graph, r.node, roots)
                and not shared(graph, found, r.node) for r in graph[n].args):
            cost[n] = None
    return cost


def kept(graph: Graph, n: int, roots: frozenset[int]) -> bool:
    """In memory whatever the planner does: the caller's, read from another frame, or multiplied by a matrix."""
    if n in roots or n in graph.initials or n in graph.state or graph[n].op in ("input", "cotangent", "weight"):
        return True
    for reader, position in graph.uses[n]:
        if graph[reader].args[position].delay or is_product(graph, reader) or graph[reader].domain == CONSTANT \
                or OPS[graph[reader].op].family == SPAN:
            return True
    return False


def shared(graph: Graph, found: Loops, n: int) -> bool:
    """Read by several regions: in memory for that."""
    return len({region(found, reader) for reader, _ in graph.uses[n]} | {region(found, n)}) > 2


def region(found: Loops, n: int):
    loop = found.loop.get(n)
    return ("loop", loop.nodes[0]) if loop is not None else ("node", n)


def recompute(graph: Graph, found: Loops) -> Graph:
    """Before: regrouped. After: every cheap value has readers in one region only."""
    cost = costs(graph, found)
    nodes: list[Node] = list(graph.nodes)
    readers: dict[int, list[tuple[int, int, object]]] = {}
    for n in range(len(graph)):
        readers[n] = [(r, p, region(found, r)) for r, p in graph.uses[n]]
    changed = False
    for n in reversed(graph.order):
        if cost[n] is None:
            continue
        groups: dict[object, list[tuple[int, int]]] = {}
        for reader, position, where in readers[n]:
            groups.setdefault(where, []).append((reader, position))
        own = region(found, n)
        keys = sorted(groups, key=lambda k: (k != own, k))
        for key in keys[1:] if own not in groups or found.loop.get(n) is None else [k for k in keys if k != own]:
            copy = len(nodes)
            nodes.append(replace(nodes[n], name=None))
            changed = True
            for reader, position in groups[key]:
                args = list(nodes[reader].args)
                args[position] = replace(args[position], node=copy)
                nodes[reader] = replace(nodes[reader], args=tuple(args))
            # The copy is a reader of its own, in the region that it was made for.
            for position, read in enumerate(nodes[copy].args):
                where = key if key[0] == "loop" else ("node", copy)
                readers.setdefault(read.node, []).append((copy, position, where))
    return compact(replace(graph, nodes=tuple(nodes))) if changed else graph
