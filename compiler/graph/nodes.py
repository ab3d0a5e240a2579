"""The one representation between syntax tree and schedule: a system of recurrence equations.

A node is a tensor *per frame*, per sequence or per call (its domain); an argument is a `Read`: another node, `delay`
frames ago (negative: ahead). A frame reads the values of its own sequence, and constants, as they are. A sequence is
the stretch between two starts that lies inside the call. Streams and time are not axes of any node. Graphs are frozen;
a pass builds a new one with a `Builder`.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from rnnc.errors import Broken, Span

Shape = tuple[int, ...]
CONSTANT, SEQUENCE, FRAME = "constant", "sequence", "frame"    # domains: one value of a call, of a sequence, of a frame
REAL, INT = "real", "int"                      # kinds of number; labels, `t` and argmax are int


def finest(domains) -> str:
    """The domain of what is made of values of these domains, each frame and each sequence by itself."""
    found = set(domains)
    return FRAME if FRAME in found else SEQUENCE if SEQUENCE in found else CONSTANT


@dataclass(frozen=True, order=True)
class Read:
    """The value of `node` at frame t - delay. Only frames are read with a delay other than 0."""

    node: int
    delay: int = 0


@dataclass(frozen=True)
class Node:
    """One equation. `op` is a row of `ops.OPS`; `attrs` are its static arguments, sorted by name."""

    op: str
    args: tuple[Read, ...]
    shape: Shape
    kind: str = REAL
    domain: str = FRAME
    attrs: tuple[tuple[str, object], ...] = ()
    name: str | None = None                    # the signal's path, "h.0.c"; None for an unnamed value
    span: Span | None = field(default=None, compare=False)

    def attr(self, key: str, default=None):
        for name, value in self.attrs:
            if name == key:
                return value
        return default

    @property
    def size(self) -> int:
        """Numbers in one value of this node."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class InputInfo:
    """What a call must bring, `per` frame or per sequence. kind: "real", "class" and "labels" (a list of labels; both
    with `classes`), "flag"."""

    name: str
    shape: Shape
    kind: str = REAL
    classes: int | None = None
    target: bool = False
    per: str = FRAME
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ParamInfo:
    """A parameter by its path. `init`: (name, *numbers), e.g. ("glorot",), ("value", 1.0), ("uniform", -0.1, 0.1).
    `pattern`: of a sparse one (ops/sparse.py), whose `shape` is that of the numbers stored."""

    name: str
    shape: Shape
    trainable: bool = True
    init: tuple = ("value", 0.0)
    pattern: object = None
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Initial:
    """What a read across a start sees: a node (a constant, or a value of the reader's sequence) for every depth, or for
    one offset (-2: two frames before the first frame; +1: one after the last). `None` and absent: zero (a label: no
    label, -1)."""

    every: int | None = None
    at: tuple[tuple[int, int], ...] = ()       # (offset, node), sorted

    def node(self, offset: int) -> int | None:
        return dict(self.at).get(offset, self.every)

    def nodes(self) -> list[int]:
        return ([] if self.every is None else [self.every]) + [n for _, n in self.at]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes by number, and what of them the outside sees. All dicts are ordered and never changed."""

    nodes: tuple[Node, ...]
    inputs: tuple[InputInfo, ...] = ()
    params: tuple[ParamInfo, ...] = ()
    tables: tuple[np.ndarray, ...] = ()                         # data of the `table` nodes, float64
    initials: dict[int, Initial] = field(default_factory=dict)  # signal node -> what its delayed reads see
    outputs: dict[str, int] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)        # scalars per frame or sequence: "loss", "loss_2", …
    metrics: dict[str, int] = field(default_factory=dict)       # likewise
    # Which signals a state holds, and how many frames of each: fixed by the elaborated graph, kept by every pass.
    state: dict[int, int] = field(default_factory=dict)
    # Made by the gradient and score passes:
    scores: dict[str, int] = field(default_factory=dict)        # constants: "loss", then the metrics
    gradients: dict[str, int] = field(default_factory=dict)     # parameter -> its gradient, a constant of its shape
    input_gradients: dict[str, int] = field(default_factory=dict)
    # signal -> reads whose sum, taken at the frames before the call, is the gradient of its state entries
    state_gradients: dict[int, tuple[Read, ...]] = field(default_factory=dict)
    name: str = "model"

    def __getitem__(self, node: int) -> Node:
        return self.nodes[node]

    def __len__(self) -> int:
        return len(self.nodes)

    def roots(self) -> list[int]:
        """Every node that the outside sees; what none of these reaches is dead."""
        groups = (self.outputs, self.losses, self.metrics, self.scores, self.gradients, self.input_gradients)
        found = [n for group in groups for n in group.values()] + list(self.state)
        found += [read.node for reads in self.state_gradients.values() for read in reads]
        return list(dict.fromkeys(found))

    @cached_property
    def uses(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each node, who reads it: (reader, argument position)."""
        found: list[list[tuple[int, int]]] = [[] for _ in self.nodes]
        for number, node in enumerate(self.nodes):
            for position, read in enumerate(node.args):
                found[read.node].append((number, position))
        return tuple(tuple(f) for f in found)

    def before(self, read: Read) -> list[int]:
        """The initial values that a delayed read may see in place of the signal, each once."""
        if read.delay == 0 or read.node not in self.initials:
            return []
        initial, k = self.initials[read.node], read.delay
        offsets = range(-k, 0) if k > 0 else range(1, -k + 1)
        return list(dict.fromkeys(n for n in (initial.node(o) for o in offsets) if n is not None))

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Every node after the arguments that it reads at delay 0 (and after what its reads may see at a start). Ties
        by number, so that text made from this order is stable. A zero-delay cycle is `Broken` here: elaboration has
        refused it."""
        needs = [set() for _ in self.nodes]
        for number, node in enumerate(self.nodes):
            for read in node.args:
                if read.delay == 0:
                    needs[number].add(read.node)
                elif read.node in self.initials:
                    needs[number].update(self.initials[read.node].nodes())
        done: set[int] = set()
        out: list[int] = []
        for root in range(len(self.nodes)):
            stack = [root]
            open_: set[int] = set()
            while stack:
                n = stack[-1]
                if n in done:
                    stack.pop()
                    continue
                missing = sorted(m for m in needs[n] if m not in done)
                if not missing:
                    stack.pop()
                    done.add(n)
                    out.append(n)
                elif n in open_:
                    raise Broken(f"zero-delay cycle through node {n} ({self.nodes[n].op} {self.nodes[n].name})")
                else:
                    open_.add(n)
                    stack.extend(reversed(missing))
        return tuple(out)

    def live(self) -> set[int]:
        """What the outside sees and what that needs. An initial value lives while some delayed read may see it."""
        found: set[int] = set()
        stack = self.roots()
        while stack:
            n = stack.pop()
            if n in found:
                continue
            found.add(n)
            for read in self.nodes[n].args:
                stack.append(read.node)
                if read.delay and read.node in self.initials:
                    stack += self.initials[read.node].nodes()
        return found

    def named(self) -> dict[str, int]:
        """Signals by path."""
        return {node.name: n for n, node in enumerate(self.nodes) if node.name is not None}


class Builder:
    """Makes a graph. `reserve` gives a number before the node is known, for reads round a loop."""

    def __init__(self, base: Graph | None = None):
        self.nodes: list[Node | None] = list(base.nodes) if base else []
        self.tables: list[np.ndarray] = list(base.tables) if base else []
        self.promised: dict[int, Node] = {}

    def reserve(self, like: Node | None = None) -> int:
        """A number for a node to come; `like` promises its shape, kind and domain to whoever reads it before."""
        self.nodes.append(None)
        if like is not None:
            self.promised[len(self.nodes) - 1] = like
        return len(self.nodes) - 1

    def look(self, number: int) -> Node:
        """The node, or what was promised of it."""
        node = self.nodes[number] or self.promised.get(number)
        if node is None:
            raise Broken(f"node {number} is read before anything is known of it")
        return node

    def define(self, number: int, node: Node) -> int:
        if self.nodes[number] is not None:
            raise Broken(f"node {number} is defined twice")
        self.nodes[number] = node
        return number

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def table(self, data: np.ndarray) -> int:
        self.tables.append(np.asarray(data, dtype=np.float64))
        return len(self.tables) - 1

    def finish(self, **fields) -> Graph:
        """The graph; every field of `Graph` but nodes and tables is given by the caller."""
        missing = [n for n, node in enumerate(self.nodes) if node is None]
        if missing:
            raise Broken(f"nodes never defined: {missing}")
        return Graph(nodes=tuple(self.nodes), tables=tuple(self.tables), **fields)


def renumber(graph: Graph, nodes: list[Node], where: dict[int, int], tables=None) -> Graph:
    """`graph` with `nodes` in place of its own; `where` maps each old number that is still wanted to its new one.
    The nodes' own arguments are already in new numbers; every table of the graph (roots, initials, state) is moved."""
    move = lambda group: {key: where[n] for key, n in group.items()}
    initials = {
        where[n]: Initial(None if i.every is None else where[i.every], tuple((o, where[m]) for o, m in i.at))
        for n, i in graph.initials.items()
        if n in where and all(m in where for m in i.nodes())
    }
    return replace(
        graph, nodes=tuple(nodes), tables=graph.tables if tables is None else tuple(tables), initials=initials,
        outputs=move(graph.outputs), losses=move(graph.losses), metrics=move(graph.metrics),
        state={where[n]: k for n, k in graph.state.items()},
        scores=move(graph.scores), gradients=move(graph.gradients), input_gradients=move(graph.input_gradients),
        state_gradients={where[n]: tuple(Read(where[r.node], r.delay) for r in reads)
                         for n, reads in graph.state_gradients.items()})


def only(graph: Graph, wanted: list[int]) -> Graph:
    """`graph` with these nodes alone, in this order: they read no others."""
    where = {n: m for m, n in enumerate(wanted)}
    moved = [replace(node, args=tuple(Read(where[read.node], read.delay) for read in node.args)) if node.args else node
             for node in (graph[n] for n in wanted)]
    return renumber(graph, moved, where)
