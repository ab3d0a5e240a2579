"""Delays move from products to what they multiply: `(U' @ d)[t+1]` becomes `U' @ d[t+1]`.

In: a graph. Out: the same values, with products read at their reader's own frame, so that a step of a loop begins with
its products and goes on with their sum in registers: one meeting a step instead of two. It changes nothing where the
moved read looks across a start or the edge of the call: both sides see zero there, which is why only unnamed products
of values without an initial value are moved (the adjoints, in practice).
"""

from dataclasses import replace

from rnnc.graph.nodes import Graph, Node, Read
from rnnc.plan.regroup import compact, is_product


def advance(graph: Graph) -> Graph:
    nodes: list[Node] = list(graph.nodes)
    roots = frozenset(graph.roots())
    moved: dict[tuple[int, int], int] = {}
    for number, node in enumerate(graph.nodes):
        if not is_product(graph, number) or number in roots or number in graph.initials or number in graph.state:
            continue
        matrix, operand = node.args
        delays = {graph[reader].args[position].delay for reader, position in graph.uses[number]}
        base = operand.node
        if len(delays) != 1 or delays == {0} or base in graph.initials or base in graph.state \
                or graph[base].op in ("input", "weight"):
            continue
        delay = delays.pop()
        if operand.delay and (operand.delay > 0) != (delay > 0):
            continue                                            # there and back is not the same at the edges
        nodes[number] = replace(node, args=(matrix, Read(base, operand.delay + delay)))
        moved[number, delay] = number
    if not moved:
        return graph
    for number, node in enumerate(nodes):
        if any((read.node, read.delay) in moved for read in node.args):
            nodes[number] = replace(node, args=tuple(Read(r.node) if (r.node, r.delay) in moved else r
                                                     for r in node.args))
    return compact(replace(graph, nodes=tuple(nodes)))
