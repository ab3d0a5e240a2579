"""Values of few entries: rows of them lie in lanes, a vector for each entry (target/lanes.py).

In: nodes of a graph. Out: whether they can be made so, and from how many streams on that is quicker than to make them
row by row, with the entries of a row in lanes.
"""

from collections.abc import Collection, Sequence
from math import ceil

from rnnc.graph.loops import Loop
from rnnc.graph.nodes import CONSTANT, FRAME, INT, Graph, Node
from rnnc.graph.ops import is_elementwise
from rnnc.graph.ops.random import RANDOM
from rnnc.graph.ops.storage import STORED
from rnnc.plan.guards import FUNCTIONS

ENTRIES = 64                                   # of a value, at most: RN_MOST_ENTRIES of runtime/lanes.h
STATEMENTS = 1000                              # of a kernel, at most, each entry counted;
LOOP, CELL = 400, 64                           # of a loop that has products, of a cell of one width,
STEPS = 3                                      # for each product, if so many at least wait for one another
WIDE = 16                                      # numbers of a vector, as AVX-512 has them
# In the time of a vector that is added: a vector of tanh or its kin; what mixes a row by itself, an equation of vectors
# there, one of single numbers; and an entry of rows that are turned over. With up to SURE times the work lanes are as
# quick: nothing waits for memory. From more than MANY streams on alone they are never worth their code.
FUNCTION, MIXING, EQUATION, NUMBER, TURNED, SURE, MANY = 3, 14, 8, 3, 7, 1.6, 12

MOVED = frozenset("transpose reshape broadcast slice".split())                 # operators that only rename entries
MIXED = MOVED | frozenset("""matmul outer sum max min logsumexp argmax softmax logsoftmax concat pad one_hot take place
    column surprisal""".split())


def few(graph: Graph, nodes: Collection[int]) -> bool:
    """Whether all that these make and read has few entries. Where a value does not count it is computed all the same,
    as other lanes may want it."""
    most = max(STATEMENTS, len(nodes))         # numbers alone may be as many as they like
    return all(_few(graph, n) for n in nodes) and sum(statements(graph, n) for n in nodes) <= most


def together(graph: Graph, loop: Loop, role: Sequence[str]) -> bool:
    """Whether a loop with products goes better by rows in lanes than by units: then nothing in it waits for a meeting
    or for memory. One stream, 64 frames, one thread: a stack of 3 rows driven by 4 units runs 1.3 times as fast and
    trains 1.4 times, with 16 streams 6 and 3 times; by 12 units 0.9 and 1.0, and 4.3 and 2.8 (Xeon). A cell of products
    and equations of one width has but one stage: there the entries have to be very few. GRU 3: run 0.94, training 1.0,
    with 16 streams 2.0 and 1.2; GRU 4: run 0.75, training 0.93, with 16 streams 2.2 and 1.1. Where more products wait
    for one another, units would wait as often: 4 species by Runge-Kutta of 4 steps run 1.4 times as fast and train 1.45
    times, with 256 streams 3.5 and 1.3."""
    matrices = [graph[graph[n].args[0].node].op for n in loop.nodes if graph[n].op == "matmul"]
    if not matrices or STORED & {*matrices} or not few(graph, loop.nodes):
        return False
    made = [statements(graph, n) for n in loop.nodes]
    plain = len({graph[n].size for n in loop.nodes}) == 1 and all(
        role[n] == "unit" or graph[n].op == "matmul" for n in loop.nodes)
    if not plain:
        return sum(made) <= min(LOOP, MIXING * sum(map(bool, made)))
    waiting = phases(graph, loop)
    return sum(made) <= (CELL * waiting if waiting >= STEPS else CELL)


def phases(graph: Graph, loop: Loop) -> int:
    """How many products wait for one another within a frame."""
    depth: dict[int, int] = {}
    for n in graph.order:
        if n in loop.members:
            before = [depth[read.node] for read in graph[n].args if not read.delay and read.node in depth]
            depth[n] = max(before, default=0) + (graph[n].op == "matmul")
    return max(depth.values())


def _few(graph: Graph, n: int) -> bool:
    node = graph[n]
    plain = node.op in MIXED or is_elementwise(node) and node.op not in RANDOM
    return plain and node.domain == FRAME and node.size <= ENTRIES and (whole(node) or node.kind != INT) and all(
        graph[read.node].size <= ENTRIES or graph[read.node].domain == CONSTANT for read in node.args)


def whole(node: Node) -> bool:
    """Whether a value is a whole number, of which each lane has its own integer."""
    return node.kind == INT and not node.shape


def statements(graph: Graph, n: int) -> int:
    """How many vectors an equation makes, those on the way counted."""
    node = graph[n]
    first = graph[node.args[0].node] if node.args else node
    match node.op:
        case op if op in MOVED:
            return 0
        case "matmul":
            return node.size * first.shape[0 if node.attr("ta") else 1]
        case "take" | "column":
            return node.size * first.shape[-1 if node.op == "column" else 0]
    return max([node.size, *(graph[read.node].size for read in node.args)])


def least_streams(graph: Graph, body: Sequence[int], stores: Sequence[int], small: Collection[Loop]) -> int:
    """From how many streams on a row kernel is quicker with rows in lanes; 1: always, as those of `small` loops; 0:
    never. Counted in the time of a vector that is added, as measured on programs of 3 to 32 units (one thread, 64
    frames, Xeon)."""
    if not few(graph, body):
        return 0
    if any(n in loop.members for loop in small for n in body):
        return 1
    lanes = rows = 0
    for n in body:
        node, made = graph[n], statements(graph, n)
        each = FUNCTION if node.op in FUNCTIONS else 1
        lanes += each * made
        if is_elementwise(node):
            rows += EQUATION + each * ceil(made / WIDE) if node.shape else NUMBER
        else:
            rows += MIXING + each * ceil(made / WIDE)
    read = {read for n in body for read in graph[n].args
            if graph[read.node].domain != CONSTANT and (read.delay or read.node not in body)}
    touched = sum(graph[read.node].size for read in read) + sum(graph[n].size for n in stores)
    if lanes + touched <= SURE * rows:
        return 1
    least = max(2, ceil((lanes + TURNED * touched) / rows))
    return least if least <= MANY else 0
