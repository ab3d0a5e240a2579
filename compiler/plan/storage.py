"""How the matrices of packed products are stored: as bfloat16 those that loops read, frame after frame; as int8 the
quantised ones.

In: a graph as it will be planned, so after every pass that moves products. Out: the same graph in which such a product
reads its matrix through a `bfloat16` node, paired along the index that is summed, or through an `int8` node. Everything
else (sparse matrices, look-ups, gradients of weights, values) stays as it is. The node says what is multiplied, so that
the oracle can interpret the planned graph; the numbers it stands for exist in packed panels only.
"""

from dataclasses import replace

from rnnc.graph.loops import loops
from rnnc.graph.nodes import Builder, Graph, Read
from rnnc.graph.ops import make
from rnnc.plan.regroup import is_product
from rnnc.plan.roles import roles
from rnnc.plan.schedule import Panel

BYTES = {"bfloat16": 2, "int8": 1}             # of one number
MOST = 127                                     # steps either way that a byte counts: quantize of 8 bits
PARTS = ("slice", "transpose", "reshape")      # of a matrix, still its numbers


def shorten(graph: Graph, weights: str) -> Graph:
    """Before: any checked graph. After: as bfloat16, every packed product of a loop has a matrix of bfloat16; as int8,
    every packed product with a quantised matrix has it as int8."""
    found = loops(graph)
    role = roles(graph, found)
    builder, made = Builder(graph), {}
    for number, node in enumerate(graph.nodes):
        if not is_product(graph, number):
            continue
        matrix, operand = node.args
        if role[matrix.node] != "early" or graph[matrix.node].op == "scatter":
            continue                           # it waits for a sum over frames and has no panel, or it is sparse
        if weights == "int8" and in_steps(graph, matrix.node):
            key, attrs = matrix.node, {}
        elif weights == "bfloat16" and number in found.loop:
            axis = 0 if node.attr("ta", False) else 1
            key, attrs = (matrix.node, axis), {"axis": axis}
        else:
            continue
        if key not in made:
            of = inwards(builder, matrix) if weights == "int8" else matrix
            made[key] = Read(make(builder, weights, of, span=node.span, **attrs))
        builder.nodes[number] = replace(node, args=(made[key], operand))
    return replace(graph, nodes=tuple(builder.nodes)) if made else graph


def in_steps(graph: Graph, number: int) -> bool:
    """Whether a matrix is quantised, or a part of one that is, with one step for all and as few as a byte counts."""
    node = graph[number]
    while node.op in PARTS:
        node = graph[node.args[0].node]
    if node.op != "quantize":
        return False
    _, step, most = (graph[read.node] for read in node.args)
    return step.shape == () and most.op == "number" and most.attr("value") <= MOST


def inwards(builder: Builder, matrix: Read) -> Read:
    """The same matrix as quantize(part(v)) in place of part(quantize(v)): so it is packed from v, as that lies."""
    part = builder.look(matrix.node)
    if part.op == "quantize":
        return matrix
    whole = builder.look(inwards(builder, part.args[0]).node)
    moved = builder.add(replace(part, args=(whole.args[0],), name=None))
    return Read(builder.add(replace(whole, args=(Read(moved), *whole.args[1:]), shape=part.shape, name=part.name)))


def alike(graph: Graph, matrices: tuple[tuple[int, bool], ...]) -> tuple[tuple[int, bool], ...]:
    """The matrices that share a panel: as int8 if all of them are, as in float32 they would have shared it too, and
    the sums are to be the same bit for bit."""
    if all(graph[m].op == "int8" for m, _ in matrices):
        return matrices
    return tuple((graph[m].args[0].node if graph[m].op == "int8" else m, turned) for m, turned in matrices)


def stored_as(graph: Graph, panel: Panel) -> str:
    """"bfloat16" | "int8", or "" of a panel that holds plain numbers: it holds one kind only (bfloat16 because its
    products are in one loop or in none)."""
    op = graph[panel.matrices[0][0]].op
    return op if op in BYTES else ""


def bytes_of(graph: Graph, panel: Panel, number: int) -> int:
    """Of one number of a panel; `number`: bytes of a plain one."""
    return BYTES.get(stored_as(graph, panel), number)
