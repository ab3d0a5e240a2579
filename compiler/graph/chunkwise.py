"""Matrices that are linear in themselves and only ever asked: their loops become products over chunks of frames.

In: a graph. Out: one with the same values, in which a loop S[t] = a S[t-1] + outer(u, w) and its readers S @ q, S' @ q
are gone: each reader is one `attend` of all frames (ops/attend.py), and what the state holds of S is one `attended`. So
is an adjoint, whose loop runs backwards; it arises by itself, since the gradient is a graph like any other. `a` is
nothing, a scalar, or a vector along one axis, constant or not; the derivative by it, the sum of S[t-1] * R with an
adjoint R, is one `pair`.

Any other reader of S, another delay, an initial value, or a state of more than one frame: the loop stays as it is. So
does one with a coefficient for each number, and one whose coefficient is a matrix, as that of the delta rule.
"""

from dataclasses import dataclass, replace

from rnnc.graph.loops import Loop, Loops, loops
from rnnc.graph.nodes import FRAME, REAL, Graph, Read
from rnnc.graph.patch import Patch

CHUNK, FADE_CHUNK = 64, 16                     # frames: RN_CHUNK of runtime/attend.h, RN_FADE_CHUNK of fade.h
LEAST, MOST = 24, 256                          # units of either axis; smaller matrices are as quick frame by frame


@dataclass(frozen=True)
class Memory:
    """A loop of this form."""

    matrix: int                                # S
    u: Read
    w: Read
    fade: Read | None                          # a: what S, one frame ago, is multiplied by at this frame
    along: int | None                          # the axis of S along which a is a vector
    direction: int
    uses: tuple[tuple[int, int], ...]          # its readers outside the loop: (reader, argument position)


def chunkwise(graph: Graph) -> Graph:
    """Before: any checked graph, its gradient made. After: no loop of this form is left."""
    if not any(node.op == "outer" for node in graph.nodes):    # what such a loop adds: hardly any graph has one
        return graph
    found = loops(graph)
    memories = {m.matrix: m for m in (memory(graph, loop) for loop in found) if m is not None}
    while True:                                # one that stays a loop may keep another from going
        kept = {s: m for s, m in memories.items() if all(
            asks(graph, found, s, n, p) or pairs(graph, found, memories, n) for n, p in m.uses)}
        if len(kept) == len(memories):
            break
        memories = kept
    if not memories:
        return graph
    patch = Patch(graph)
    for one in memories.values():
        rewrite(patch, memories, one)
    return patch.finish()


def memory(graph: Graph, loop: Loop) -> Memory | None:
    """What a loop is of this form, if it is; who reads it is not looked at."""
    matrices = [n for n in loop.nodes if graph[n].op == "add"]
    if len(matrices) != 1:
        return None
    s, node = matrices[0], graph[matrices[0]]
    if len(node.shape) != 2 or not all(LEAST <= size <= MOST for size in node.shape) or not hidden(graph, s):
        return None
    inside = [read for read in node.args if read.node in loop.members]
    new = next((read for read in node.args if read.node not in loop.members), None)
    if len(inside) != 1 or new is None or new.delay or graph[new.node].op != "outer":
        return None
    carried = carry(graph, loop, s, inside[0])
    if carried is None:
        return None
    outside = tuple(use for use in graph.uses[s] if use[0] not in loop.members)
    return Memory(s, *graph[new.node].args, *carried, loop.direction, outside)


def hidden(graph: Graph, n: int) -> bool:
    """Nobody outside sees this signal but a state of its last frame."""
    return n not in replace(graph, state={}).roots() and n not in graph.initials and graph.state.get(n, 1) == 1


def carry(graph: Graph, loop: Loop, s: int, read: Read) -> tuple[Read | None, int | None] | None:
    """The coefficient of what S takes over from the frame before, and its axis; None if it is of another form."""
    way = loop.direction
    if read.node == s:
        return (None, None) if read.delay == way and loop.members == {s} else None
    product = graph[read.node]
    if product.op != "mul" or loop.members != {s, read.node} or read.node in graph.state \
            or not hidden(graph, read.node) or len(graph.uses[read.node]) != 1:
        return None
    mine = [r for r in product.args if r.node == s]
    fade = [r for r in product.args if r.node != s]
    if len(mine) != 1 or mine[0].delay + read.delay != way:
        return None
    a, along = vector(graph, Read(fade[0].node, fade[0].delay + read.delay))
    if graph[a.node].shape != (() if along is None else graph[s].shape[along:along + 1]):
        return None
    return a if graph[a.node].domain == FRAME else Read(a.node), along


def vector(graph: Graph, read: Read) -> tuple[Read, int | None]:
    """Of a vector spread over a matrix the vector, and the axis along which it lies."""
    for op in ("broadcast", "reshape"):
        if graph[read.node].op != op:
            return read, None
        shape, inner = graph[read.node].shape, graph[read.node].args[0]
        read = Read(inner.node, inner.delay + read.delay)
    return read, shape.index(1) ^ 1 if len(graph[read.node].shape) == 1 and len(shape) == 2 and 1 in shape else None


def asks(graph: Graph, found: Loops, s: int, reader: int, position: int) -> bool:
    """Whether a reader is S @ q or S' @ q, outside every loop."""
    node = graph[reader]
    return (node.op == "matmul" and position == 0 and node.args[0] == Read(s) and len(node.shape) == 1
            and node.args[1].node != s and reader not in found.loop)


def pairs(graph: Graph, found: Loops, memories: dict[int, Memory], reader: int) -> bool:
    """Whether a reader is S[t-1] * R, of two that run against one another, and nothing but its sum is wanted: the
    derivative by a."""
    if graph[reader].op != "mul" or len(graph.uses[reader]) != 1 or not hidden(graph, reader) or reader in graph.state:
        return False
    both = both_of(graph, memories, reader)
    total, _ = graph.uses[reader][0]
    if both is None or graph[total].op != "sum" or graph[total].args[0] != Read(reader) or total in found.loop:
        return False
    along = both[0].along
    return graph[total].attr("axis") == (None if along is None else 1 - along)


def both_of(graph: Graph, memories: dict[int, Memory], product: int) -> tuple[Memory, Memory] | None:
    """S and R of S[t-1] * R."""
    for one, other in (graph[product].args, graph[product].args[::-1]):
        s, r = memories.get(one.node), memories.get(other.node)
        if s and r and s.direction == -r.direction and (one.delay, other.delay) == (s.direction, 0) \
                and s.along == r.along and r.matrix not in graph.state:
            return s, r
    return None


def rewrite(patch: Patch, memories: dict[int, Memory], one: Memory) -> None:
    graph, s = patch.graph, one.matrix
    shape, name = graph[s].shape, graph[s].name
    held = s in graph.state
    before = (patch.make("carried", shape=shape, signal=name),) if held else ()
    axis = lambda turned: {} if one.along is None else {"along": one.along ^ turned}
    fade = lambda m: m.fade or patch.make("number", kind=REAL, value=1.0)
    for n, _ in one.uses:
        if graph[n].op == "matmul":
            q, turned = graph[n].args[1], bool(graph[n].attr("ta"))
            u, w = (one.w, one.u) if turned else (one.u, one.w)
            patch.become(n, "attend", q, u, w, fade(one), *before, direction=one.direction, turned=turned,
                         of=name or "", **axis(turned))
            continue
        first, other = both_of(graph, memories, n)
        if first is one:
            patch.become(graph.uses[n][0][0], "pair", one.u, one.w, fade(one), other.u, other.w, fade(other), *before,
                         direction=one.direction, of=name or "", **axis(False))
    if held:
        patch.become(s, "attended", one.u, one.w, fade(one), *before, **axis(False))
