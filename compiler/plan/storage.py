"""Which matrices are stored as bfloat16: those that products inside loops read, frame after frame.

In: a graph as it will be planned, so after every pass that moves products. Out: the same graph in which such a product
reads its matrix through a `bfloat16` node, paired along the index that is summed. Everything else (products of all
frames at once, sparse matrices, gradients of weights, values) stays as it is. The node says what is multiplied, so that
the oracle can interpret the planned graph; the numbers it stands for exist in packed panels only.
"""

from dataclasses import replace

from rnnc.graph.loops import loops
from rnnc.graph.nodes import Builder, Graph, Read
from rnnc.graph.ops import make
from rnnc.plan.regroup import is_product
from rnnc.plan.roles import roles
from rnnc.plan.schedule import Panel


def shorten(graph: Graph) -> Graph:
    """Before: any checked graph. After: every packed product of a loop has a matrix of bfloat16."""
    found = loops(graph)
    role = roles(graph, found)
    builder, made = Builder(graph), {}
    for number, node in enumerate(graph.nodes):
        if number not in found.loop or not is_product(graph, number):
            continue
        matrix, operand = node.args
        if role[matrix.node] != "early" or graph[matrix.node].op == "scatter":
            continue                           # it waits for a sum over frames and has no panel, or it is sparse
        key = (matrix.node, 0 if node.attr("ta", False) else 1)
        if key not in made:
            made[key] = Read(make(builder, "bfloat16", matrix, axis=key[1], span=node.span))
        builder.nodes[number] = replace(node, args=(made[key], operand))
    return replace(graph, nodes=tuple(builder.nodes)) if made else graph


def is_short(graph: Graph, panel: Panel) -> bool:
    """Whether a panel holds bfloat16: all of its matrices do, or none, as its products are in one loop or in none."""
    return graph[panel.matrices[0][0]].op == "bfloat16"
