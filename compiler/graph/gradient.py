"""The gradient of a graph is a graph of the same kind: if u[t] reads v[t-k], the adjoint of v at t reads that of u
at t+k.

In: a forward graph. Out: the joint graph, forward and gradient together. Each argument of each node that matters
sends its *pull* (the adjoint times the operator's derivative, at the reader's own frame); an adjoint is the sum of
the pulls of its readers, each read with the delay of the answered read, turned round. A pull is zero where there is
no reader (before the call, after it, beyond a start), and that is just what a delayed read of an adjoint sees there.
Constants read by frames collect their pulls with folds: a parameter's gradient is a sum of outer products over time.
So does a value of a sequence that its frames read, with a sum over these; and what such a sum was made of reads, frame
by frame, the adjoint of the sum. What a read saw of an `init` comes back through a fold as well, over the frames that
were near enough to a start.
"""

from dataclasses import dataclass, field, replace

from rnnc.graph.nodes import CONSTANT, FRAME, INT, REAL, SEQUENCE, Builder, Graph, Node, Read, finest
from rnnc.graph.ops import OPS, SPAN, Expr, make, pull
from rnnc.graph.scores import Weighing
from rnnc.graph.values import only_values, zeros

MOST_ROWS = 128                                # of a frame's matrix in a product over time: RN_FOLD_MOST of folds.h


def gradient(graph: Graph) -> Graph:
    """Before: a forward graph. After: `scores` holds the loss and `gradients` its derivative by every trainable
    parameter; outputs and state as they were."""
    builder = Builder(graph)
    weighing = Weighing(builder)
    loss = weighing.total(list(graph.losses.values()))
    seeds = [(n, weighing.seed(n)) for n in graph.losses.values()]
    adjoints = _Adjoints(graph, builder, _parameters(graph), frozenset())
    adjoints.build(seeds)
    found = _by_parameter(graph, builder, adjoints)
    return only_values(replace(graph, nodes=tuple(builder.nodes), tables=tuple(builder.tables), losses={}, metrics={},
                               scores={"loss": loss}, gradients=found))


def vjp(graph: Graph) -> Graph:
    """Before: a forward graph. After: given cotangents of the outputs and of the outgoing state, the derivatives by
    parameters, real inputs and the incoming state. The outputs themselves are not among the results."""
    builder = Builder(graph)
    inputs = {i.name for i in graph.inputs if i.kind == REAL and not i.target}
    leaves = {n for n, node in enumerate(graph.nodes) if node.op == "input" and node.attr("name") in inputs}
    params = _parameters(graph)
    signals = {n for n in graph.state if graph[n].kind == REAL}
    seeds = []
    for name, n in graph.outputs.items():
        if graph[n].kind == REAL:
            own = {"domain": SEQUENCE} if graph[n].domain == SEQUENCE else {}
            seeds.append((n, make(builder, "cotangent", name=name, shape=graph[n].shape, span=graph[n].span, **own)))
    handed = _handed(graph, builder, signals)
    seeds += handed.items()
    adjoints = _Adjoints(graph, builder, leaves | params, signals)
    adjoints.build(seeds)
    by_input = {}
    for i in graph.inputs:
        if i.name in inputs:
            parts = [adjoints.of[n] for n in sorted(leaves) if graph[n].attr("name") == i.name and n in adjoints.of]
            by_input[i.name] = _sum(builder, [Read(p) for p in parts]) if parts else zeros(builder, i.shape, i.per)
    states = _by_state(builder, adjoints, handed)
    found = _by_parameter(graph, builder, adjoints)
    return only_values(replace(graph, nodes=tuple(builder.nodes), tables=tuple(builder.tables), outputs={}, losses={},
                               metrics={}, scores={}, gradients=found, input_gradients=by_input,
                               state_gradients=states))


def _trained(graph: Graph) -> dict[str, tuple]:
    return {p.name: p.shape for p in graph.params if p.trainable}


def _parameters(graph: Graph) -> set[int]:
    trained = _trained(graph)
    return {n for n, node in enumerate(graph.nodes) if node.op == "param" and node.attr("name") in trained}


def _handed(graph: Graph, builder: Builder, signals) -> dict[int, int]:
    """The adjoint that each signal of the outgoing state is handed from outside."""
    return {n: make(builder, "state_cotangent", signal=graph[n].name or graph[n].attr("name"), shape=graph[n].shape,
                    span=graph[n].span) for n in sorted(signals)}


def _by_state(builder: Builder, adjoints: "_Adjoints", handed: dict[int, int]) -> dict[int, tuple[Read, ...]]:
    """What the incoming state's adjoint is made of: what it was handed, and the pulls of its readers."""
    return {n: (Read(handed[n]), *_by_delay(builder, adjoints.state_reads.get(n, []))) for n in adjoints.graph.state
            if n in handed}


def _by_parameter(graph: Graph, builder: Builder, adjoints: "_Adjoints") -> dict[str, int]:
    """Every trainable parameter's gradient; zeros for one that reaches no result."""
    found = {}
    for name, shape in _trained(graph).items():
        parts = [Read(adjoints.of[n]) for n in adjoints.wanted
                 if n in adjoints.of and graph[n].op == "param" and graph[n].attr("name") == name]
        found[name] = _sum(builder, parts) if parts else zeros(builder, shape, CONSTANT)
    return found


def _by_delay(builder: Builder, reads: list[Read]) -> list[Read]:
    """Pulls that are read with one delay are summed first and read once: one signal to keep, and products that add up
    where they are made. (A pull is zero beyond a start and outside the call, so its sum is.)"""
    groups: dict[int, list[Read]] = {}
    for read in reads:
        groups.setdefault(read.delay, []).append(Read(read.node))
    return [Read(_sum(builder, group), delay) for delay, group in groups.items()]


def _sum(builder: Builder, reads: list[Read]) -> int:
    if len(reads) == 1 and reads[0].delay == 0:
        return reads[0].node
    if len(reads) == 1:
        return make(builder, "identity", reads[0])
    total = make(builder, "add", reads[0], reads[1])
    for read in reads[2:]:
        total = make(builder, "add", total, read)
    return total


@dataclass
class _Adjoints:
    """Adjoint nodes by forward node, and the pulls that make them."""

    graph: Graph
    builder: Builder
    wanted: set[int]                           # leaves whose adjoint is asked for
    signals: frozenset[int] | set[int]         # state signals whose entries' adjoint is asked for
    of: dict[int, int] = field(default_factory=dict)
    state_reads: dict[int, list[Read]] = field(default_factory=dict)

    def build(self, seeds: list[tuple[int, int]]) -> None:
        """`seeds`: (node, adjoint handed to it from outside)."""
        active = self._active()
        needed = self._needed(active, [n for n, _ in seeds])
        names = _Names(self.graph)
        for n in needed:
            node = self.graph[n]
            self.of[n] = self.builder.reserve(Node("identity", (), node.shape, REAL, node.domain))
        parts: dict[int, list[Read]] = {n: [] for n in needed}
        for n, seed in seeds:
            if n in parts:
                parts[n].append(self._collected(n, Read(seed)))
        for u in needed:
            for position, read in self._edges(u):
                self._send(u, position, read, parts)
        for n in needed:
            self._define(n, parts[n], names)

    def _edges(self, u: int) -> list[tuple[int, Read]]:
        """Arguments through which a change can come."""
        node = self.graph[u]
        op = OPS[node.op]
        if node.kind == INT:
            return []
        return [(i, r) for i, r in enumerate(node.args) if op.differentiable(i) and self.graph[r.node].kind == REAL]

    def _active(self) -> set[int]:
        """Nodes that depend on something wanted, through whatever delays."""
        readers: dict[int, list[int]] = {}
        stack = sorted(self.wanted)
        for u in range(len(self.graph)):
            for _, read in self._edges(u):
                for source in [read.node, *self.graph.before(read)]:
                    readers.setdefault(source, []).append(u)
                if read.delay > 0 and read.node in self.signals:
                    stack.append(u)
        active: set[int] = set()
        while stack:
            n = stack.pop()
            if n not in active:
                active.add(n)
                stack.extend(readers.get(n, ()))
        return active

    def _needed(self, active: set[int], results: list[int]) -> list[int]:
        """Active nodes on which a result depends, readers roughly before what they read."""
        found: set[int] = set()
        stack = [n for n in results if n in active]
        while stack:
            n = stack.pop()
            if n in found:
                continue
            found.add(n)
            for _, read in self._edges(n):
                stack += [m for m in [read.node, *self.graph.before(read)] if m in active]
        place = {n: i for i, n in enumerate(self.graph.order)}
        return sorted(found, key=lambda n: -place[n])

    def _send(self, u: int, position: int, read: Read, parts: dict[int, list[Read]]) -> None:
        """The pull of one argument of u, to what it read: the signal, its initial values, the state."""
        v = read.node
        to_state = v in self.signals and read.delay > 0
        initial = [m for m in self.graph.before(read) if m in parts]
        if not (v in parts or to_state or initial):
            return
        sent = pull(self.builder, u, self.of[u], position)
        if sent is None:
            return
        by_frames = read.delay or OPS[self.graph[u].op].family == SPAN        # u reads v at frames: so is it answered
        if by_frames and self.builder.look(sent).domain != FRAME:
            sent = make(self.builder, "add", sent, zeros(self.builder, self.graph[v].shape, FRAME))
        if v in parts:
            parts[v].append(self._collected(v, Read(sent, -read.delay)))
        if to_state:
            self.state_reads.setdefault(v, []).append(Read(sent, -read.delay))
        for m in dict.fromkeys(initial):
            parts[m].append(Read(self._of_initial(read, m, sent)))

    def _collected(self, v: int, read: Read) -> Read:
        """What a constant gets of a frame's pull is the sum over frames, what a sequence gets the sum over its own."""
        mine, theirs = self.graph[v].domain, self.builder.look(read.node).domain
        if mine == CONSTANT and theirs != CONSTANT:
            return Read(fold(self.builder, read.node))
        return Read(make(self.builder, "span_sum", read)) if mine == SEQUENCE and theirs == FRAME else read

    def _of_initial(self, read: Read, m: int, sent: int) -> int:
        """The pull of a delayed read, summed over the frames at which it saw m in place of the signal."""
        initial, k = self.graph.initials[read.node], read.delay
        span = self.graph[m].span
        count = Expr(self.builder, Read(make(self.builder, "frame_index" if k > 0 else "frames_left", span=span)), span)
        whole = lambda value: Expr(self.builder, Read(
            make(self.builder, "number", kind=INT, value=value, span=span)), span)
        offsets = list(range(-k, 0)) if k > 0 else list(range(1, -k + 1))
        seen = [o for o in offsets if initial.node(o) == m]
        if len(seen) == len(offsets):
            condition = count("lt", whole(abs(k)))
        else:                                  # since = k + offset, or left = -k - offset
            places = [k + o if k > 0 else -k - o for o in seen]
            condition = count("eq", whole(places[0]))
            for place in places[1:]:
                condition = condition("or", count("eq", whole(place)))
        chosen = condition("where", Expr(self.builder, Read(sent), span), 0)
        return self._collected(m, chosen.read).node

    def _define(self, n: int, parts: list[Read], names: "_Names") -> None:
        """The adjoint of n: the sum of its parts, under the number that was promised."""
        node, number = self.graph[n], self.of[n]
        if finest(self.builder.look(part.node).domain for part in parts) != node.domain:
            parts = [*parts, Read(zeros(self.builder, node.shape, node.domain))]   # a value at each frame all the same
        if not parts:                          # reached only through pulls that are none
            parts = [Read(zeros(self.builder, node.shape, CONSTANT))]
        now = [part for part in parts if part.delay == 0]
        parts = now + _by_delay(self.builder, [part for part in parts if part.delay])
        if len(parts) == 1:
            op, args = "identity", (parts[0],)
        else:
            op, args = "add", (Read(_sum(self.builder, parts[:-1])), parts[-1])
        if len(parts) == 2:
            args = (parts[0], parts[1])
        name = names.adjoint(node) if node.domain != CONSTANT else None
        self.builder.define(number, Node(op, args, node.shape, REAL, node.domain, (), name, node.span))


class _Names:
    """d_h.0.c for the adjoint of h.0.c, kept apart from every name of the program, also once dots are flattened."""

    def __init__(self, graph: Graph):
        flat = lambda name: name.replace(".", "_")
        self.taken = {flat(node.name) for node in graph.nodes if node.name}
        self.taken |= {flat(i.name) for i in graph.inputs} | {flat(p.name) for p in graph.params}

    def adjoint(self, node: Node) -> str | None:
        name = node.name or (node.attr("name") if node.op == "input" else None)
        if name is None:
            return None
        name = f"d_{name}"
        while name.replace(".", "_") in self.taken:
            name += "_"
        self.taken.add(name.replace(".", "_"))
        return name


def _rows_of_time(node: Node) -> bool:
    """A matrix of each frame, few enough of whose rows or columns go into a sum over frames."""
    return node.domain != CONSTANT and len(node.shape) == 2 and max(node.shape) <= MOST_ROWS


def fold(builder: Builder, number: int) -> int:
    """The sum over frames and streams (or sequences) of a node; of an outer product of vectors, or of a product of
    matrices, as one product over time, of an outer product with a label's column as a sum by columns."""
    node = builder.look(number)
    if node.op == "matmul" and len(node.shape) == 2 and all(_rows_of_time(builder.look(r.node)) for r in node.args):
        a, b = node.args
        return make(builder, "fold_outer", a if node.attr("ta") else make(builder, "transpose", a, span=node.span),
                    make(builder, "transpose", b, span=node.span) if node.attr("tb") else b, span=node.span)
    if node.op == "outer":
        a, b = node.args
        column = builder.look(b.node)
        if column.op == "one_hot" and b.delay == 0:
            return make(builder, "fold_column", a, column.args[0], shape=node.shape, span=node.span)
        return make(builder, "fold_outer", a, b, span=node.span)
    return make(builder, "fold_sum", number, span=node.span)
