"""Loops that are a matrix, linear in itself: what such a loop adds to it, by what it fades, how it corrects itself.

In: a graph and one of its loops. Out: a `Memory`, if the loop is of the form

    S[t] = a S[t-1] + outer(u, w) + ...

where every w, and every u but one, is made outside the loop. That one u may depend on one answer of the matrix itself,
y = S[t-1] @ k, as c + d * y: the delta rule. The adjoint of such a loop is one too, with S[t] @ k for y and a u that is
added one frame later.
"""

from dataclasses import dataclass, replace

from rnnc.graph.loops import Loop
from rnnc.graph.nodes import FRAME, Graph, Read
from rnnc.graph.patch import Patch
from rnnc.graph.split import spread_vector

LEAST, MOST = 24, 256                          # units of either axis; smaller matrices are as quick frame by frame


@dataclass(frozen=True)
class Correction:
    """A u that depends on an answer."""

    answer: int                                # y, a product in the loop
    late: bool                                 # it is S[t-1] @ k, not S[t] @ k
    turned: bool                               # and S' for S in both, as outer(w, u) is added
    added: int                                 # which of the added products it is in


@dataclass(frozen=True)
class Memory:
    """A loop of this form."""

    matrix: int                                # S
    added: tuple[tuple[Read, Read], ...]       # u and w of each
    fade: Read | None                          # a: what S, one frame ago, is multiplied by at this frame
    along: int | None                          # the axis of S along which a is a vector
    direction: int
    correction: Correction | None
    uses: tuple[tuple[int, int], ...]          # its readers outside the loop: (reader, argument position)


def memory(graph: Graph, loop: Loop) -> Memory | None:
    """What a loop is of this form, if it is; who reads it is not looked at."""
    for s in loop.nodes:
        if graph[s].op == "add" and len(graph[s].shape) == 2 and hidden(graph, s):
            found = _of_matrix(graph, loop, s)
            if found is not None:
                return found
    return None


def _of_matrix(graph: Graph, loop: Loop, s: int) -> Memory | None:
    if not all(LEAST <= size <= MOST for size in graph[s].shape):
        return None
    terms = _Terms(graph, loop, s)
    if not terms.sum(s, 0) or terms.carried is None:
        return None
    correction = None
    if loop.members != terms.seen:
        correction = _correction(graph, loop, terms)
        if correction is None:
            return None
    elif any(read.node in loop.members for pair in terms.added for read in pair):
        return None
    outside = tuple(use for use in graph.uses[s] if use[0] not in loop.members)
    return Memory(s, tuple(terms.added), *terms.carried, loop.direction, correction, outside)


def hidden(graph: Graph, n: int) -> bool:
    """Nobody outside sees this signal but a state of its last frame."""
    return n not in replace(graph, state={}).roots() and n not in graph.initials and graph.state.get(n, 1) == 1


def inner(graph: Graph, loop: Loop, n: int) -> bool:
    """A node of the loop that one other node of it reads, and nobody else."""
    return n in loop.members and hidden(graph, n) and n not in graph.state and len(graph.uses[n]) == 1


def nothing_before(graph: Graph, factors: tuple[Read, ...]) -> bool:
    """Whether a product of these, read with delay, is zero where the delay leads out of the sequence or the call."""
    return any(graph[read.node].domain == FRAME and read.node not in graph.state and read.node not in graph.initials
               for read in factors)


def shifted(graph: Graph, read: Read, frames: int) -> Read:
    """What a read gives so many frames later; of a constant the same."""
    return Read(read.node, read.delay - frames * (graph[read.node].domain == FRAME))


class _Terms:
    """A sum of matrices, taken apart."""

    def __init__(self, graph: Graph, loop: Loop, s: int):
        self.graph, self.loop, self.s = graph, loop, s
        self.added: list[tuple[Read, Read]] = []
        self.carried: tuple[Read | None, int | None] | None = None
        self.seen = {s}

    def sum(self, n: int, ago: int) -> bool:
        return all(self.term(read.node, ago + read.delay) for read in self.graph[n].args)

    def term(self, n: int, ago: int) -> bool:
        graph, node = self.graph, self.graph[n]
        if n == self.s:
            return self.carry(None, None, ago)
        if node.op == "outer":
            if n in self.loop.members:
                self.seen.add(n)
                if not inner(graph, self.loop, n):
                    return False
            elif ago and (n in graph.state or n in graph.initials or not nothing_before(graph, node.args)):
                return False
            self.added.append(tuple(shifted(graph, read, -ago) for read in node.args))
            return True
        if not inner(graph, self.loop, n):
            return False
        self.seen.add(n)
        if node.op == "add":
            return self.sum(n, ago)
        mine = [r for r in node.args if r.node == self.s]
        fade = [r for r in node.args if r.node != self.s]
        if node.op != "mul" or len(mine) != 1:
            return False
        a, along = spread_vector(graph, Read(fade[0].node, fade[0].delay + ago))
        if a.node in self.loop.members or \
                graph[a.node].shape != (() if along is None else graph[self.s].shape[along:along + 1]):
            return False
        return self.carry(a if graph[a.node].domain == FRAME else Read(a.node), along, ago + mine[0].delay)

    def carry(self, fade: Read | None, along: int | None, ago: int) -> bool:
        if self.carried is not None or ago != self.loop.direction:
            return False
        self.carried = fade, along
        return True


def _correction(graph: Graph, loop: Loop, terms: _Terms) -> Correction | None:
    answers = [n for n in loop.nodes if graph[n].op == "matmul"]
    fed = [(i, position) for i, pair in enumerate(terms.added) for position, read in enumerate(pair)
           if read.node in loop.members]
    if len(answers) != 1 or len(fed) != 1:
        return None
    y, (added, position) = answers[0], fed[0]
    node, way = graph[y], loop.direction
    turned, u = position == 1, terms.added[added][position]
    if len(node.shape) != 1 or node.args[0].node != terms.s or node.args[1].node in loop.members \
            or bool(node.attr("ta")) != turned or node.args[0].delay + u.delay != way or node.args[0].delay * u.delay:
        return None
    if not node.args[0].delay and (terms.s in graph.state or u.node in graph.state or u.node in graph.initials):
        return None
    chain: set[int] = set()
    if not linear(graph, loop, u.node, y, chain) or loop.members != terms.seen | chain | {y}:
        return None
    return Correction(y, bool(node.args[0].delay), turned, added)


def linear(graph: Graph, loop: Loop, n: int, y: int, chain: set[int]) -> bool:
    """Whether a value of the loop is c + d * y at its own frame; what it goes through is put into `chain`."""
    if n == y:
        return True
    chain.add(n)
    node = graph[n]
    inside = [read for read in node.args if read.node in loop.members]
    if not inside or any(read.delay for read in inside):
        return False
    alone = len(inside) == 1
    fits = node.op in ("add", "sub", "neg") or node.op == "mul" and alone or \
        node.op == "div" and alone and node.args[0].node in loop.members
    return fits and all(graph[read.node].shape == node.shape for read in inside) and \
        all(linear(graph, loop, read.node, y, chain) for read in inside)


def coefficients(patch: Patch, loop: frozenset[int], n: int, y: int) -> tuple[Read | None, Read | None]:
    """c (None: 0) and d (None: 1) of what `linear` found to be c + d * y, as nodes outside the loop."""
    if n == y:
        return None, None
    node = patch.nodes[n]

    def of(read: Read) -> tuple[Read | None, Read | None, bool]:
        """The same of an argument, and whether y is in it at all."""
        if read.node not in loop:
            return read, None, False
        return *coefficients(patch, loop, read.node, y), True

    def times(name: str, part: Read | None, factor: Read) -> Read | None:
        return part and patch.make(name, part, factor)

    parts = [of(read) for read in node.args]
    if node.op in ("mul", "div"):
        (c, d, inside), (factor, *_) = parts if parts[0][2] else parts[::-1]
        return times(node.op, c, factor), factor if node.op == "mul" and d is None else \
            patch.make(node.op, d or patch.number(1.0), factor)
    negative = lambda part: part and patch.make("neg", part)
    if node.op == "neg":
        (c, d, _), = parts
        return negative(c), patch.make("neg", d or patch.number(1.0))
    (c, d, first), (e, f, second) = parts
    if node.op == "sub":
        e, f = negative(e), patch.make("neg", f or patch.number(1.0)) if second else None
    both = patch.make("add", c, e) if c and e else c or e
    if first and second:
        return both, patch.make("add", d or patch.number(1.0), f or patch.number(1.0))
    return both, d if first else f
