"""Matrices that are linear in themselves and only ever asked: their loops become products over chunks of frames.

In: a graph. Out: one with the same values, in which a loop S[t] = a S[t-1] + outer(u, w) (memories.py) and its readers
S @ q, S' @ q are gone: each reader is one `attend` of all frames (ops/attend.py), and what the state holds of S is one
`attended`. So is an adjoint, whose loop runs backwards; it arises by itself, since the gradient is a graph like any
other. `a` is nothing, a scalar, or a vector along one axis, constant or not; the derivative by it, the sum of
S[t-1] * R with an adjoint R, is one `pair`. Where u depends on an answer, as in the delta rule, that answer is a
`correct`, and u is then made like any other value.

Any other reader of S, another delay, an initial value, or a state of more than one frame: the loop stays as it is. So
does one with a coefficient for each number.
"""

from dataclasses import replace

from rnnc.graph.loops import Loops, loops
from rnnc.graph.memories import Memory, coefficients, hidden, memory, nothing_before, shifted
from rnnc.graph.nodes import Graph, Read
from rnnc.graph.patch import Patch

CHUNKED = ("attend", "correct", "attended", "pair")            # what such a loop becomes
CHUNK, FADE_CHUNK = 64, 16                     # frames: RN_CHUNK of runtime/attend.h, RN_FADE_CHUNK of fade.h


def chunkwise(graph: Graph) -> Graph:
    """Before: any checked graph, its gradient made. After: no loop of this form is left."""
    if not any(node.op == "outer" for node in graph.nodes):    # what such a loop adds: hardly any graph has one
        return graph
    found = loops(graph)
    memories = {m.matrix: m for m in (memory(graph, loop) for loop in found) if m is not None}
    while True:                                # one that stays a loop may keep another from going
        kept = {s: m for s, m in memories.items() if all(
            asks(graph, found, m, n, p) or pairs(graph, found, memories, n) for n, p in m.uses)}
        if len(kept) == len(memories):
            break
        memories = kept
    if not memories:
        return graph
    patch = Patch(graph)
    for one in memories.values():
        rewrite(patch, found, memories, one)
    return patch.finish()


def asks(graph: Graph, found: Loops, one: Memory, reader: int, position: int) -> bool:
    """Whether a reader is S @ q or S' @ q, outside every loop; of this frame, or of the one before."""
    node, s = graph[reader], one.matrix
    late = node.args[position] == Read(s, one.direction)
    return (node.op == "matmul" and position == 0 and (node.args[0] == Read(s) or late) and len(node.shape) == 1
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
    """S and R of S[t-1] * R, R as this frame has it; where it is that of the frame before, in R's order, what makes it
    one frame later."""
    for one, other in (graph[product].args, graph[product].args[::-1]):
        s, r = memories.get(one.node), memories.get(other.node)
        if not (s and r) or s.direction != -r.direction or one.delay != s.direction or s.along != r.along \
                or r.matrix in graph.state:
            continue
        if not other.delay:
            return s, r
        if other.delay == r.direction and all(nothing_before(graph, pair) for pair in r.added):
            added = tuple(tuple(shifted(graph, read, -r.direction) for read in pair) for pair in r.added)
            return s, replace(r, added=added, fade=r.fade and shifted(graph, r.fade, -r.direction))
    return None


def rewrite(patch: Patch, found: Loops, memories: dict[int, Memory], one: Memory) -> None:
    graph, s = patch.graph, one.matrix
    name = graph[s].name or ""
    held = s in graph.state
    before = (patch.make("carried", shape=graph[s].shape, signal=graph[s].name),) if held else ()
    fade = lambda m: m.fade or patch.number(1.0)

    def answers(q: Read, turned: bool, late: bool, added, before=before) -> list[tuple]:
        """Of each added product what it answers; what was before is asked with the first."""
        return [("attend", q, *(pair[::-1] if turned else pair), fade(one), *before[:1 - i],
                 dict(direction=one.direction, turned=turned, of=name, **along(one, turned),
                      **{"late": True} if late else {})) for i, pair in enumerate(added)]

    if one.correction is not None:
        correct(patch, found, one, before, answers)
    for n, _ in one.uses:
        if graph[n].op == "matmul":
            become_sum(patch, n, answers(graph[n].args[1], bool(graph[n].attr("ta")), bool(graph[n].args[0].delay),
                                         one.added))
            continue
        first, other = both_of(graph, memories, n)
        if first is one:
            become_sum(patch, graph.uses[n][0][0], [
                ("pair", *mine, fade(one), *theirs, fade(other), *before[:1 - i],
                 dict(direction=one.direction, of=name, **along(one, False)))
                for i, mine in enumerate(one.added) for theirs in other.added])
    if held:
        products = {"products": len(one.added)} if len(one.added) > 1 else {}
        patch.become(s, "attended", *sum(one.added, ()), fade(one), *before, **along(one, False), **products)


def along(one: Memory, turned: bool) -> dict:
    """The attribute that says along which axis it fades."""
    return {} if one.along is None else {"along": one.along ^ turned}


def become_sum(patch: Patch, n: int, parts: list[tuple]) -> None:
    """Node n becomes the sum of these, each an operator, its reads and last its attributes."""
    if len(parts) == 1:
        (name, *reads, attrs), = parts
        patch.become(n, name, *reads, **attrs)
    else:
        patch.become_sum(n, made(patch, parts))


def made(patch: Patch, parts: list[tuple]) -> list[Read]:
    return [patch.make(name, *reads, **attrs) for name, *reads, attrs in parts]


def correct(patch: Patch, found: Loops, one: Memory, before: tuple, answers) -> None:
    """The answer that the matrix corrects itself by. Of S[t] @ k, what it corrects is added one frame later: so `w` and
    `a` of the frame after are those that belong to the answer, and the rest of S has been asked by then."""
    graph, form = patch.graph, one.correction
    shift = lambda read: read if form.late else shifted(graph, read, one.direction)
    u, w = one.added[form.added][::-1] if form.turned else one.added[form.added]
    others = [pair for i, pair in enumerate(one.added) if i != form.added]
    c, d = coefficients(patch, found.loop[one.matrix].members, u.node, form.answer)
    k = graph[form.answer].args[1]
    base = made(patch, answers(k, form.turned, form.late, others, ()))
    if c and not patch.nodes[c.node].shape:
        c = patch.make("broadcast", c, shape=graph[form.answer].shape)
    given = [c] * bool(c) + ([patch.total(base)] if base else [])
    a = shift(one.fade) if one.fade else patch.number(1.0)
    patch.become(form.answer, "correct", k, d or patch.number(1.0), shift(w), a,
                 *given, *before, direction=one.direction,
                 turned=form.turned, constant=bool(c), based=bool(base), of=graph[one.matrix].name or "",
                 **along(one, form.turned))
