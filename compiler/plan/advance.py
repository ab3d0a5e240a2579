"""Delays move from sums of products to what they multiply: `(U' @ d + e)[t+1]` becomes `U' @ d[t+1] + e[t+1]`.

In: a graph. Out: the same values, with products read at their reader's own frame, so that a step of a loop begins with
its products and goes on with their sum in registers: one meeting a step instead of two. It changes nothing where the
moved read looks across a start or the edge of the call: both sides see zero there, which is why only unnamed products
and sums of values without an initial value are moved (the adjoints, in practice).
"""

from dataclasses import replace

from rnnc.graph.nodes import FRAME, Graph, Node, Read
from rnnc.plan.regroup import compact, is_product

EDGELESS = ("input", "weight", "cotangent", "state_cotangent", "frame_index", "frames_left")


def advance(graph: Graph) -> Graph:
    """Before: any checked graph. After: no product, and no sum with a product in it, is read at one delay only."""
    while True:
        moved = _once(graph)
        if moved is graph:
            return graph
        graph = moved


def _once(graph: Graph) -> Graph:
    """Moves every delay that can move by one node."""
    roots = frozenset(graph.roots())
    moving: dict[int, int] = {}
    for number, node in enumerate(graph.nodes):
        delays = {graph[reader].args[position].delay for reader, position in graph.uses[number]}
        if len(delays) == 1 and delays != {0} and number not in roots and node.name is None \
                and _vanishes(graph, number) and _holds_product(graph, number):
            moving[number] = delays.pop()
    # A node and what it reads do not move in one round: the reads are settled first.
    moving = {n: d for n, d in moving.items() if not any(read.node in moving for read in graph[n].args)}
    moving = {n: d for n, d in moving.items()
              if all(not r.delay or (r.delay > 0) == (d > 0) for r in graph[n].args)}
    if not moving:
        return graph
    nodes: list[Node] = []
    for number, node in enumerate(graph.nodes):
        args = [Read(r.node) if r.node in moving else r for r in node.args]
        if number in moving:
            args = [r if graph[r.node].domain != FRAME else Read(r.node, r.delay + moving[number]) for r in args]
        nodes.append(replace(node, args=tuple(args)))
    return compact(replace(graph, nodes=tuple(nodes)))


def _vanishes(graph: Graph, number: int) -> bool:
    """Zero wherever what it reads is zero, and what it reads is zero beyond every edge."""
    node = graph[number]
    if number in graph.initials or number in graph.state:
        return False
    if is_product(graph, number):
        frames = [node.args[1].node]
    elif node.op == "add" and node.domain == FRAME and all(graph[r.node].domain == FRAME for r in node.args):
        frames = [r.node for r in node.args]
    else:
        return False
    return all(n not in graph.initials and n not in graph.state and graph[n].op not in EDGELESS for n in frames)


def _holds_product(graph: Graph, number: int) -> bool:
    """A product, or an unnamed sum with one somewhere inside."""
    stack = [number]
    while stack:
        n = stack.pop()
        if is_product(graph, n):
            return True
        if graph[n].op == "add":
            stack += [r.node for r in graph[n].args if graph[r.node].op in ("add", "matmul") and not r.delay]
    return False
