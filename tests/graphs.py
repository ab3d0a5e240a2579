"""Graphs for tests of the middle end, made by hand and at random, and derivatives by a complex step to judge them by.

`Sketch` makes a graph in a few lines; `random_graph(seed)` draws one with layers of both directions, delays of either
sign, initial values of every sort, labels, matrix states and sums over units.
"""

import numpy as np

from rnnc.graph import oracle
from rnnc.graph.nodes import INT, Builder, Initial, InputInfo, Node, ParamInfo, Read
from rnnc.graph.ops import OPS, make

STEP = 1e-30


class Sketch:
    """A graph being written down. Methods return node numbers; `past(v, k)` reads v at t - k."""

    def __init__(self):
        self.builder = Builder()
        self.inputs, self.params, self.initials = [], [], {}

    def input(self, name, *shape, classes=None, flag=False, target=False, per="frame", lists=False):
        kind = "labels" if lists else "class" if classes else "flag" if flag else "real"
        self.inputs.append(InputInfo(name, shape, kind, classes, target, per))
        more = {"domain": per} if per == "sequence" else {}
        return make(self.builder, "input", name=name, shape=shape, kind=INT if classes else "real", path=name, **more)

    def param(self, name, *shape, trainable=True):
        self.params.append(ParamInfo(name, shape, trainable))
        return make(self.builder, "param", name=name, shape=shape)

    def number(self, value):
        return make(self.builder, "number", value=value, kind=INT if isinstance(value, int) else "real")

    def table(self, data):
        return make(self.builder, "table", index=self.builder.table(data), shape=np.shape(data))

    def op(self, name, /, *reads, **attrs):
        return make(self.builder, name, *reads, **attrs)

    def later(self, *shape):
        """A signal to be given its equation by `equal`."""
        return self.builder.reserve(Node("identity", (), shape))

    def equal(self, signal, name, value):
        if self.builder.look(value).domain != "frame":
            value = self.op("add", value, self.op("mul", self.op("real", self.op("frame_index")), self.number(0.0)))
        node = self.builder.look(value)
        return self.builder.define(signal, Node("identity", (Read(value),), node.shape, node.kind, "frame", (), name))

    def name(self, name, value):
        return make(self.builder, "identity", value, path=name)

    def graph(self, **fields):
        state = {}
        for node in self.builder.nodes:
            for read in node.args:
                if read.delay > 0:
                    state[read.node] = max(state.get(read.node, 0), read.delay)
        state = {n: state[n] for n in sorted(state)}
        return self.builder.finish(inputs=tuple(self.inputs), params=tuple(self.params), initials=self.initials,
                                   state=state, **fields)


def past(node, delay):
    return Read(node, delay)


ELEMENTWISE_SAFE = ["tanh", "sigmoid", "sin", "softplus", "relu", "abs", "erf", "cos"]


class _Random:
    """Draws one graph."""

    def __init__(self, seed, ahead=True, whole=False):
        self.r = np.random.default_rng(seed)
        self.s = Sketch()
        self.ahead, self.whole = ahead, whole
        self.count = 0

    def chance(self, p):
        return self.r.random() < p

    def pick(self, things):
        return things[self.r.integers(len(things))]

    def param(self, *shape):
        self.count += 1
        return self.s.param(f"p{self.count}", *shape, trainable=not self.chance(0.1))

    def shape(self, read):
        node = read.node if isinstance(read, Read) else read
        return self.s.builder.look(node).shape

    def matrix(self, m, n):
        """A constant matrix: a parameter, or an expression of some."""
        s = self.s
        match self.r.integers(8):
            case 0:
                return s.op("transpose", self.param(n, m))
            case 1:
                return s.op("matmul", self.param(m, 2), self.param(n, 2), tb=True)
            case 2:
                return s.op("slice", self.param(m, n + 2), axis=1, low=1, high=n + 1)
            case 3:
                return s.op("mul", self.param(m, n), s.table(self.r.normal(size=(m, n))))
        return self.param(m, n)

    def vector(self, n, reads):
        """A frame vector of n units made of some reads."""
        s, read = self.s, self.pick(reads)
        shape, node = self.shape(read), s.builder.look(read.node)
        if node.kind == INT:
            return s.op("column", self.matrix(n, 5), read)
        if shape == (n,) and self.chance(0.5):
            return s.op("mul", read, self.param(n)) if self.chance(0.5) else s.op("identity", read)
        if shape == ():
            return s.op("mul", self.param(n), read)
        if len(shape) == 2:
            return s.op("matmul", self.matrix(n, shape[0]), s.op("sum", read, axis=1))
        if self.chance(0.25):
            other = self.pick([x for x in reads if len(self.shape(x)) == 1] or [read])
            both = s.op("concat", read, other, axis=0)
            return s.op("matmul", self.matrix(n, shape[0] + self.shape(other)[0]), both)
        if self.chance(0.2) and shape[0] >= n:
            low = int(self.r.integers(shape[0] - n + 1))
            return s.op("slice", read, axis=0, low=low, high=low + n)
        if self.chance(0.3):
            return s.op("matmul", self.matrix(shape[0], n), read, ta=True)
        return s.op("matmul", self.matrix(n, shape[0]), read)

    def mixed(self, n, value):
        """Now and then something that mixes units."""
        s = self.s
        match self.r.integers(8):
            case 0:
                return s.op("softmax", value, axis=None)
            case 1:
                return s.op("sub", value, s.op("mul", s.number(1 / n), s.op("sum", value, axis=None)))
            case 2:
                return s.op("mul", value, s.op("sigmoid", s.op("max", value, axis=None)))
        return value

    def equation(self, n, reads):
        s = self.s
        total = self.vector(n, reads)
        for _ in range(self.r.integers(1, 3)):
            term = self.vector(n, reads)
            gate = s.op("sigmoid", self.vector(n, reads)) if self.chance(0.4) else None
            term = s.op("mul", gate, term) if gate is not None else term
            total = s.op(self.pick(["add", "add", "sub"]), total, term)
        return s.op(self.pick(ELEMENTWISE_SAFE), self.mixed(n, total))

    def initial(self, signal, deepest, forwards):
        def value():
            shape = self.shape(signal)
            made = self.param(*shape)
            if self.whole and len(shape) == 1 and self.chance(0.7):
                made = self.s.op("add", made, self.vector(shape[0], [Read(v) for v in self.wholes]))
            return self.s.op("tanh", made) if self.chance(0.5) else made
        sign = -1 if forwards else 1
        match self.r.integers(4):
            case 0:
                self.s.initials[signal] = Initial(every=value())
            case 1:
                offset = sign * int(self.r.integers(1, deepest + 1))
                self.s.initials[signal] = Initial(every=value() if self.chance(0.5) else None, at=((offset, value()),))

    def layer(self, index, sources, forwards):
        """Signals that read each other with delays of one sign, and earlier signals with any."""
        s = self.s
        sizes = [int(self.r.integers(2, 5)) for _ in range(self.r.integers(1, 3))]
        signals = [s.later(n) for n in sizes]
        sign = 1 if forwards else -1
        done = []
        for k, (signal, n) in enumerate(zip(signals, sizes)):
            reads = [Read(v, sign * int(self.r.integers(1, 4))) for v in signals] + [Read(v) for v in done]
            for v in sources:
                delay = int(self.r.integers(-2, 4)) if self.chance(0.4) else 0
                reads.append(Read(v, delay if self.ahead else abs(delay)))
            reads += [Read(v) for v in self.wholes]
            s.equal(signal, f"s{index}_{k}", self.equation(n, reads))
            done.append(signal)
            self.initial(signal, 3, forwards)
        if self.chance(0.3):
            memory = s.later(sizes[0], sizes[-1])
            kept = s.op("mul", s.op("sigmoid", self.param()), past(memory, sign * int(self.r.integers(1, 3))))
            new = s.op("outer", done[0], s.op("tanh", done[-1]))
            s.equal(memory, f"m{index}", s.op("add", kept, new))
            self.initial(memory, 2, forwards)
            done.append(memory)
        return done

    def spans(self, sources):
        """Values per sequence made of signals, and signals in a new order."""
        s, made = self.s, []
        for _ in range(self.r.integers(1, 4)):
            v = self.pick(sources)
            real = s.builder.look(v).kind != INT
            read = Read(v, int(self.r.integers(-1, 2)) if self.ahead and self.chance(0.2) else 0)
            op = self.pick(["span_sum", "span_max", "span_last", "span_first", "span_logsumexp"] if real
                           else ["span_last", "span_first"])
            self.wholes.append(s.op(op, read))
            if real and self.chance(0.4):
                pooled = self.vector(self.pick([2, 3]), [Read(w) for w in self.wholes])
                self.wholes.append(s.op("tanh", pooled))
            if real and self.chance(0.4):
                order = s.table(self.r.permutation(self.r.integers(1, 5)))
                made.append(s.name(f"q{v}_{len(self.wholes)}", s.op("permute", read, s.op("frame_index"), order)))
        return made

    def draw(self):
        s = self.s
        x, a, c = s.input("x", 3), s.input("a"), s.input("c", classes=5)
        self.wholes = []
        if self.whole:
            self.wholes = [s.input("u", 2, per="sequence"), s.input("k", classes=4, per="sequence")]
            labels = s.input("l", classes=2, lists=True, target=True, per="sequence")
        if self.chance(0.5):
            self.initial(x, 3, self.chance(0.7) or not self.ahead)
        y = s.input("y", classes=3, target=True)
        sources = [x, a, c]
        for index in range(self.r.integers(1, 4)):
            made = self.layer(index, sources, not self.ahead or self.chance(0.7))
            sources = [*made, self.pick(sources)]
            if self.whole:
                sources += self.spans(sources)
        vectors = [v for v in sources if len(self.shape(v)) == 1] or [x]
        logits = s.name("logits", self.vector(3, [Read(v) for v in vectors]))
        entropy = s.op("where", s.op("lt", y, s.number(0)), s.number(0.0), s.op("surprisal", logits, y))
        losses = {"loss": entropy}
        if self.chance(0.5):
            v = self.pick(vectors)
            losses["loss_2"] = s.op("sum", s.op("mul", v, v), axis=None)
        outputs = {"p": s.op("softmax", logits, axis=None), "v": self.pick(vectors)}
        if self.whole:
            one = self.vector(3, [Read(v) for v in self.wholes])
            outputs["w"] = s.op("tanh", one)
            losses["loss_3"] = s.op("sum", s.op("mul", one, one), axis=None)
            losses["loss_4"] = s.op("ctc", logits, labels)
        return s.graph(outputs=outputs, losses=losses, metrics={"m": s.op("take", logits, y)})


def random_graph(seed, ahead=True, whole=False):
    """`ahead`: with reads ahead and layers that run backwards; `whole`: with values of whole sequences."""
    return _Random(seed, ahead, whole).draw()


class Numbers:
    """Arguments of a call of a graph, drawn."""

    def __init__(self, graph, seed, frames=6, streams=2, starts=0.2):
        r = np.random.default_rng(seed)
        self.graph, self.r = graph, r
        lead = (frames, streams)
        self.inputs = {}
        for i in graph.inputs:
            if i.per == "frame":
                self.inputs[i.name] = self.draw(i, lead)
        self.params = {p.name: 0.7 * r.normal(size=p.shape) for p in graph.params}
        self.starts = (r.random(lead) < starts).astype(float)
        for i in graph.inputs:
            if i.per == "sequence":
                self.inputs[i.name] = self.draw(i, (streams + int(self.starts[1:].sum()),))
        self.weight = r.random(lead)
        self.state = oracle.State(r.integers(0, 4, streams), {
            oracle.signal_name(graph, n): r.integers(0, 3, (k, streams)) if graph[n].kind == INT
            else 0.5 * r.normal(size=(k, streams, *graph[n].shape)) for n, k in graph.state.items()})

    def draw(self, info, lead):
        if info.kind == "labels":
            return [self.r.integers(0, info.classes, self.r.integers(0, 2)) for _ in range(lead[0])]
        if info.kind == "class":
            return self.r.integers(0, info.classes, lead)
        return self.r.normal(size=(*lead, *info.shape))

    def run(self, graph, **changes):
        arguments = dict(inputs=self.inputs, params=self.params, starts=self.starts, weight=self.weight,
                         state=self.state)
        return oracle.run(graph, **(arguments | changes))

    def direction(self, arrays):
        return {name: self.r.normal(size=np.shape(a)) for name, a in arrays.items()
                if not isinstance(a, list) and np.asarray(a).dtype.kind == "f"}


def moved(arrays, direction):
    """`arrays` with an imaginary step along the direction."""
    return {name: a + 1j * STEP * direction[name] if name in direction else a for name, a in arrays.items()}


def along(gradients, direction):
    return sum(float(np.sum(gradients[name] * d)) for name, d in direction.items() if name in gradients)


def all_ops():
    return sorted(OPS)
