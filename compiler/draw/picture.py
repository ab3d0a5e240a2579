"""What a picture of a graph shows: the signals that have names, how they feed each other, and a box for each loop.

In: a graph. Out: a `Picture`. Unnamed values disappear into the signals they feed and parameters are left out, so that
an LSTM is six signals, not forty nodes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rnnc.graph.blocks import block
from rnnc.graph.kinds import kind
from rnnc.graph.loops import Loops, components, loops
from rnnc.graph.nodes import CONSTANT, SEQUENCE, Graph, Read
from rnnc.graph.show_loops import title

SIGNS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "matmul": "product", "frame_index": "frame number",
         "identity": "", "input": "", "span_sum": "Σ over time", "span_max": "max over time", "span_last": "last",
         "span_first": "first", "span_logsumexp": "log Σ exp over time", "permute": "new order"}


@dataclass(frozen=True)
class Signal:
    """One shape of the picture. role: input, target, signal, output, loss, metric."""

    key: int
    name: str
    role: str
    sign: str                                  # its operator, or what it carries
    tip: str                                   # the equation as it was written, if that is known


@dataclass(frozen=True)
class Flow:
    """`target` reads `source` that many frames ago."""

    source: int
    target: int
    delay: int


@dataclass(frozen=True)
class Box:
    """A loop: its signals, what is said of it, and its kind for the colour."""

    members: tuple[int, ...]
    name: str
    title: str
    kind: str
    direction: int


@dataclass(frozen=True)
class Picture:
    name: str
    signals: dict[int, Signal]
    flows: tuple[Flow, ...]
    boxes: tuple[Box, ...]


def picture(graph: Graph) -> Picture:
    """The picture of a graph; ends of the graph (losses, outputs under another name) get keys of their own."""
    found = loops(graph)
    kept = _kept(graph, found)
    signals = {node: _signal(graph, node) for node in kept}
    flows = {flow for node in kept for flow in _reads(graph, node, kept)}
    for role, group in (("output", graph.outputs), ("loss", graph.losses), ("metric", graph.metrics)):
        for name, node in group.items():
            if role == "output" and graph[node].name == name:
                continue                       # drawn as an output already
            key = len(graph) + len(signals)
            signals[key] = Signal(key, name, role, "", _tip(graph, node))
            if node in kept:
                flows.add(Flow(node, key, 0))
            else:
                flows |= {Flow(flow.source, key, flow.delay) for flow in _reads(graph, node, kept)}
    boxes = []
    for loop in found:
        members = tuple(node for node in loop.nodes if node in signals)
        name = _common(signals[node].name for node in members)
        for node in members:
            signals[node] = _within(signals[node], name)
        sort = kind(graph, loop)
        said = title(loop, block(graph, loop, offsets=False), sort)
        boxes.append(Box(members, name, said, str(sort), loop.direction))
    read = {flow.source for flow in flows} | {flow.target for flow in flows}
    signals = {key: s for key, s in signals.items() if key in read or s.role != "signal"}
    return Picture(graph.name, signals, tuple(sorted(flows, key=lambda f: (f.source, f.target, f.delay))), tuple(boxes))


def _kept(graph: Graph, found: Loops) -> dict[int, None]:
    """The nodes that are drawn: everything with a name, and as much of unnamed loops as keeps them visible."""
    live = _live(graph)
    kept = dict.fromkeys(n for n, node in enumerate(graph.nodes)
                         if n in live and node.domain != CONSTANT and (node.name is not None or node.op == "input"))
    hidden = [n for loop in found for n in loop.nodes if n not in kept]
    place = {n: i for i, n in enumerate(hidden)}
    edges = [(place[r.node], place[n]) for n in hidden for r in graph[n].args if r.node in place]
    far = {r.node for n in hidden for r in graph[n].args if r.delay != 0}
    itself = {a for a, b in edges if a == b}
    for members in components(len(hidden), edges):
        if len(members) > 1 or members[0] in itself:
            kept |= dict.fromkeys(hidden[i] for i in members if hidden[i] in far)
    return dict.fromkeys(sorted(kept))


def _live(graph: Graph) -> set[int]:
    """What reaches an output, a loss or a metric."""
    waiting = [n for group in (graph.outputs, graph.losses, graph.metrics) for n in group.values()]
    seen = set(waiting)
    while waiting:
        for n in (n for read in graph[waiting.pop()].args for n, _ in _places(graph, read)):
            if n not in seen:
                seen.add(n)
                waiting.append(n)
    return seen


def _reads(graph: Graph, target: int, kept) -> set[Flow]:
    """The drawn signals that a node reads, through whatever is not drawn; delays on the way add up."""
    found, seen = set(), set()
    waiting = [place for read in graph[target].args for place in _places(graph, read)]
    while waiting:
        node, delay = waiting.pop()
        if (node, delay) in seen or graph[node].domain == CONSTANT:
            continue
        seen.add((node, delay))
        if node in kept:
            found.add(Flow(node, target, delay))
        else:
            waiting += [(m, k + delay) for read in graph[node].args for m, k in _places(graph, read)]
    return found


def _places(graph: Graph, read: Read) -> list[tuple[int, int]]:
    """What a read sees: a signal at its delay; or, at a start, another value."""
    return [(read.node, read.delay), *((m, 0) for m in graph.before(read))]


def _signal(graph: Graph, number: int) -> Signal:
    node = graph[number]
    name = node.name or node.attr("name") or node.op
    sign = SIGNS.get(node.op, node.op)
    if node.op == "input":
        known = next(i for i in graph.inputs if i.name == node.attr("name"))
        what = {"class": f"class of {known.classes}", "labels": f"labels of {known.classes}", "flag": "flag"}.get(
            known.kind, _shape(node.shape)) + " per sequence" * (known.per == SEQUENCE and known.kind != "labels")
        return Signal(number, name, "target" if known.target else "input", what, _tip(graph, number))
    role = "output" if graph.outputs.get(name) == number else "signal"
    return Signal(number, name, role, sign, _tip(graph, number))


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) if shape else "scalar"


def _tip(graph: Graph, number: int) -> str:
    node = graph[number]
    lines = [f"{node.name or node.op}: {_shape(node.shape)}"]
    if node.span:
        lines += [str(node.span), node.span.source.line(node.span.line).strip()]
    return "\n".join(lines)


def _common(names: Iterable[str]) -> str:
    """The part of the path that all names share."""
    parts = [name.split(".") for name in names]
    shared = []
    for step in zip(*parts):
        if len(set(step)) > 1:
            break
        shared.append(step[0])
    if parts and any(len(part) == len(shared) for part in parts):
        shared = shared[:-1] if len(parts) == 1 or len(shared) > 1 else shared
    return ".".join(shared)


def _within(signal: Signal, prefix: str) -> Signal:
    """The signal by its name inside a box."""
    name = signal.name.removeprefix(prefix + ".") if prefix else signal.name
    return Signal(signal.key, name, signal.role, signal.sign, signal.tip)
