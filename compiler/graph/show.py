"""The one text form of a graph: a line per node in order, short enough to put in a test.

In: any graph. Out: text such as
    h.0.c : [256] = add(mul(h.0.f, h.0.c[t-1]), mul(h.0.i, h.0.g))    # lstm.rnn:17
Signals keep their paths, other values are v1, v2, … in order; an unnamed value that is read once is written where it
is read. A quote marks a transposed operand of a product.
"""

from rnnc.graph.nodes import FRAME, INT, SEQUENCE, Graph, Read

INLINE = 72                                    # longest text that is written where it is read
SHAPED = {"reshape", "broadcast", "one_hot", "place", "fold_column"}   # their shape is not seen from the arguments
NAMED_LEAVES = {"param", "input"}


def show(graph: Graph, spans: bool = True) -> str:
    """The text of a graph; `spans`: with file and line of each equation."""
    lines = [f"model {graph.name}"]
    for i in graph.inputs:
        what = {"class": f"class({i.classes})", "labels": f"labels({i.classes})", "flag": "flag"}.get(
            i.kind, sizes(i.shape))
        often = " per sequence" if i.per == SEQUENCE and i.kind != "labels" else ""
        lines.append(f"{'target' if i.target else 'input'} {i.name} : {what}{often}")
    for p in graph.params:
        init = f"= {p.init[1]:g}" if p.init[0] == "value" else "~ " + call(p.init[0], map(str, p.init[1:]))
        sparse = f" sparse({p.pattern})" if p.pattern is not None else ""
        lines.append(f"{'param' if p.trainable else 'frozen'} {p.name} : {sizes(p.shape)} {init}{sparse}")
    text = _Text(graph)
    lines += [text.line(n, spans) for n in graph.order if not text.inline(n)]
    name = lambda n: text.read(Read(n))
    for n, initial in graph.initials.items():
        if initial.every is not None:
            lines.append(f"init {name(n)} = {name(initial.every)}")
        lines += [f"init {name(n)}[t{offset:+}] = {name(m)}" for offset, m in initial.at]
    lines += [f"state {name(n)} : {depth}" for n, depth in graph.state.items()]
    for word, group in (("output", graph.outputs), ("loss", graph.losses), ("metric", graph.metrics),
                        ("score", graph.scores), ("gradient", graph.gradients),
                        ("gradient of input", graph.input_gradients)):
        lines += [f"{word} {key} = {name(n)}" for key, n in group.items()]
    for n, reads in graph.state_gradients.items():
        lines.append(f"gradient of state {name(n)} = {' + '.join(map(text.read, reads)) or '0'}")
    return "\n".join(lines) + "\n"


def sizes(shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


def call(name: str, parts) -> str:
    parts = list(parts)
    return f"{name}({', '.join(parts)})" if parts else name


def delayed(name: str, delay: int) -> str:
    return f"{name}[t{-delay:+}]" if delay else name


class _Text:
    """Names for unnamed values, and which of them need none."""

    def __init__(self, graph: Graph):
        self.graph = graph
        seen = set(graph.roots()) | {m for i in graph.initials.values() for m in i.nodes()} | set(graph.initials)
        self.lines_of: dict[int, str] = {}     # text of the inlined nodes
        self.names: dict[int, str] = {}
        unnamed = 0
        for n in graph.order:
            node = graph[n]
            uses = graph.uses[n]
            once = len(uses) == 1 and graph[uses[0][0]].args[uses[0][1]].delay == 0
            text = self.body(n)
            leaf = node.op == "number" or node.op in NAMED_LEAVES and node.name in (None, node.attr("name"))
            if leaf or node.name is None and once and n not in seen and len(text) <= INLINE:
                self.lines_of[n] = text
            else:
                unnamed += node.name is None
                self.names[n] = node.name or f"v{unnamed}"
        for n in self.lines_of:                # again, now that every name is known
            self.lines_of[n] = self.body(n)

    def inline(self, n: int) -> bool:
        return n in self.lines_of

    def read(self, read: Read) -> str:
        name = self.lines_of.get(read.node) or self.names.get(read.node) or "?"     # "?": not named yet
        return delayed(name, read.delay)

    def body(self, n: int) -> str:
        node = self.graph[n]
        if node.op == "number":
            return f"{node.attr('value'):g}"
        if node.op in NAMED_LEAVES:
            return node.attr("name")
        attrs = dict(node.attrs)
        parts = [self.read(read) for read in node.args]
        for position, turned in enumerate((attrs.pop("ta", False), attrs.pop("tb", False))):
            if turned:
                parts[position] += "'"
        if node.op in SHAPED:
            parts.append(sizes(node.shape))
        if node.op == "cotangent":
            attrs.pop("domain", None)
        if node.op == "slice":
            return f"{parts[0]}[{':, ' * attrs['axis']}{attrs['low']}:{attrs['high']}]"
        parts += [str(value) if isinstance(value, str) else f"{key}={value}" for key, value in attrs.items()
                  if value is not None]
        return call(node.op, parts)

    def line(self, n: int, spans: bool) -> str:
        node = self.graph[n]
        marks = "int " * (node.kind == INT) + (f"{node.domain} " if node.domain != FRAME else "")
        text = f"{self.names[n]} : {marks}{sizes(node.shape)} = {self.body(n)}"
        return f"{text}    # {node.span.source.name}:{node.span.line}" if spans and node.span else text
