"""A graph under change: what every rewrite of simplify.py and split.py works with.

A rewrite either gives a node another equation of the same value (`become`), or says that a node is another read
(`replace_by`), where that is allowed; `finish` makes the new graph of it, without what nobody reads any more. The one
thing to get right is delay: v[t-1] is not "v, earlier" at a start, but v's initial value, or the state's entry. So a
node that is read with delay may only give way to one whose delayed reads mean the same.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from rnnc.errors import Span
from rnnc.graph.loops import components
from rnnc.graph.nodes import FRAME, REAL, Builder, Graph, Node, Read, only, renumber
from rnnc.graph.ops import make


class Patch(Builder):
    """A builder over a graph whose nodes may be redefined. Numbers stay until `finish`."""

    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.graph = graph
        self.instead: dict[int, Read] = {}
        self.changed = False
        self.outside = set(graph.roots()) | {n for i in graph.initials.values() for n in i.nodes()}
        self._delays: list[tuple[int, ...]] | None = None

    def read(self, read: Read) -> Read:
        """Where a read leads by now."""
        while read.node in self.instead:
            target = self.instead[read.node]
            read = Read(target.node, read.delay + target.delay)
        return read

    def arg(self, n: int, position: int = 0) -> Read:
        return self.read(self.nodes[n].args[position])

    def at(self, read: Read) -> Node:
        """The node read, if it is read at its own frame and nothing else is meant by it than its value; a read of
        another frame is opaque to rewrites."""
        return self.nodes[read.node] if read.delay == 0 else _OPAQUE

    def delays(self, n: int) -> tuple[int, ...]:
        """The delays other than 0 with which a node of the graph is read."""
        if self._delays is None:
            found: list[set[int]] = [set() for _ in self.graph.nodes]
            for node in self.graph.nodes:
                for read in node.args:
                    if read.delay:
                        found[read.node].add(read.delay)
            self._delays = [tuple(sorted(f)) for f in found]
        return self._delays[n] if n < len(self._delays) else ()

    @cached_property
    def home(self) -> list[tuple[int, ...]]:
        """Of each node of the graph all that depend on themselves through it: it alone, or its loop."""
        edges = [(read.node, reader) for reader, node in enumerate(self.graph.nodes) for read in node.args]
        found: list[tuple[int, ...]] = [()] * len(self.graph)
        for members in components(len(self.graph), edges):
            for n in members:
                found[n] = members
        return found

    def private(self, n: int) -> bool:
        """Nobody but readers at the same frame sees this node."""
        return n not in self.outside and not self.delays(n)

    def plain(self, n: int) -> bool:
        """A delayed read of this node sees zero at a start and before the call: no initial value, no state."""
        return n not in self.graph.initials and n not in self.graph.state

    def become(self, n: int, name: str, /, *reads: Read | int, **attrs) -> None:
        """Gives node n another equation. Its shape and domain stay, and so does whatever the outside sees of it."""
        old = self.nodes[n]
        made = make(self, name, *reads, shape=old.shape, kind=old.kind, span=old.span, **attrs)
        new = self.nodes.pop(made)
        if (new.shape, new.kind, new.domain) != (old.shape, old.kind, old.domain):
            return                             # a frame's value that has become constant is still read as a frame's
        self.nodes[n] = replace(new, name=old.name)
        self.changed = True

    def make(self, name: str, /, *reads: Read | int, **attrs) -> Read:
        """A new node, to be read."""
        return Read(make(self, name, *reads, **attrs))

    def number(self, value: float) -> Read:
        return self.make("number", kind=REAL, value=value)

    def total(self, parts: Sequence[Read], span: Span | None = None) -> Read:
        """The sum of these, from the first on."""
        found, *more = parts
        for part in more:
            found = self.make("add", found, part, span=span)
        return found

    def become_sum(self, n: int, parts: Sequence[Read]) -> None:
        """Node n becomes the sum of these, of at least two."""
        *first, last = parts
        self.become(n, "add", self.total(first, self.nodes[n].span), last)

    def replace_by(self, n: int, target: Read) -> bool:
        """Everyone who reads n reads `target`, if that means the same; whether it does."""
        target = self.read(target)
        old, new, delays = self.nodes[n], self.nodes[target.node], self.delays(n)
        if n in self.graph.state or target.node == n or old.domain != new.domain or old.shape != new.shape:
            return False
        if target.delay and (delays or n in self.outside):
            return False
        if delays and (new.domain != FRAME or n in self.graph.initials or target.node in self.graph.initials):
            return False
        if delays and delays[-1] > 0 and target.node in self.graph.state:
            return False
        if delays and target.node < len(self.graph.nodes):
            merged = sorted({*delays, *self.delays(target.node)})
            self._delays[target.node] = tuple(merged)
        if n in self.outside:
            self.outside.add(target.node)
        if old.name and not new.name and new.args and target.delay == 0:
            self.nodes[target.node] = replace(new, name=old.name)
            self.nodes[n] = replace(old, name=None)
        self.instead[n] = target
        self.changed = True
        return True

    def finish(self) -> Graph:
        """The same graph if nothing has changed; else the new one, without dead nodes, numbered in order."""
        if not self.changed:
            return self.graph
        nodes = []
        for node in self.nodes:
            args = tuple(self.read(read) for read in node.args)
            nodes.append(node if args == node.args else replace(node, args=args))
        where = {n: n if n not in self.instead else self.read(Read(n)).node for n in range(len(nodes))
                 if n not in self.instead or self.read(Read(n)).delay == 0}
        initials = {n: i for n, i in self.graph.initials.items() if n not in self.instead}
        return tidy(renumber(replace(self.graph, initials=initials), nodes, where, self.tables))


def tidy(graph: Graph) -> Graph:
    """Without what nobody reads, in order."""
    alive = graph.live()
    order = [n for n in graph.order if n in alive]
    return graph if order == list(range(len(graph))) else only(graph, order)


_OPAQUE = Node("delayed read", (), ())
