"""Graphs of which only the values matter from here on: operators give way to plainer ones.

`only_values`: gradients are taken, so nothing has to say how it is differentiated. `at_rest`: no training either, so
nothing is drawn at random.
"""

from collections.abc import Callable
from dataclasses import replace

from rnnc.graph.nodes import CONSTANT, FRAME, Builder, Graph, Node, Read
from rnnc.graph.ops import make


def only_values(graph: Graph) -> Graph:
    """The same values without stop_gradient, straight_through and spike, which differ from plainer operators in their
    derivatives only."""
    return _with(graph, {"stop_gradient": _first, "straight_through": _first, "spike": _above_zero})


def at_rest(graph: Graph) -> Graph:
    """What a run that is no training computes: dropout is its argument, noise is zero."""
    return _with(graph, {"dropout": _first, "noise": lambda builder, node: _moved(builder, node, [])})


def zeros(builder: Builder, shape, domain: str) -> int:
    """Zeros of a shape; for a domain they must be something that has a value at each frame, or of each sequence."""
    zero = make(builder, "number", value=0.0)
    if domain != CONSTANT:
        counter = make(builder, "frame_index" if domain == FRAME else "span_frames")
        zero = make(builder, "mul", make(builder, "real", counter), zero)
    return make(builder, "broadcast", zero, shape=shape) if shape else zero


def _with(graph: Graph, rules: dict[str, Callable[[Builder, Node], Node]]) -> Graph:
    if not any(node.op in rules for node in graph.nodes):
        return graph
    builder = Builder(graph)
    for n, node in enumerate(graph.nodes):
        if node.op in rules:
            builder.nodes[n] = rules[node.op](builder, node)
    return replace(graph, nodes=tuple(builder.nodes))


def _moved(builder: Builder, node: Node, reads: list[Read]) -> Node:
    """The sum of some reads as the equation of a node, with its shape and domain."""
    known = [builder.look(read.node) for read in reads]
    if not any((k.shape, k.domain) == (node.shape, node.domain) for k in known):
        reads = [*reads, Read(zeros(builder, node.shape, node.domain))]
    return replace(node, op="identity" if len(reads) == 1 else "add", args=tuple(reads), attrs=())


def _first(builder: Builder, node: Node) -> Node:
    return _moved(builder, node, [node.args[0]])


def _above_zero(builder: Builder, node: Node) -> Node:
    zero = make(builder, "number", value=0.0)
    return replace(node, op="gt", args=(node.args[0], Read(zero)), attrs=())
