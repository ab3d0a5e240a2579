"""What a node really reads: computed values and their delays, with views, integers and products looked through."""

from rnnc.graph.nodes import Graph, Read
from rnnc.plan.roles import Roles


def behind(graph: Graph, role: Roles, number: int) -> list[Read]:
    """The computed values that a node reads, at their delays, views and integers looked through; also what it sees in
    their place before a start."""
    stack = role.reads(graph, number)
    found = []
    while stack:
        read = stack.pop()
        stack += [Read(m) for m in graph.before(read)]
        if role[read.node] in ("view", "index", "inner"):
            stack += [Read(r.node, r.delay + read.delay) for r in graph[read.node].args]
        else:
            found.append(read)
    return found
