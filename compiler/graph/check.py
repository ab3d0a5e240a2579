"""What holds of every graph, after every pass. Dull on purpose: it shares nothing with the passes but the operator
table, and finds faults of ours, never the user's.

In: any graph. Out: nothing, or `Broken` naming the node.
"""

from rnnc.errors import Broken
from rnnc.graph.nodes import CONSTANT, FRAME, INT, REAL, Graph, Node
from rnnc.graph.ops import FOLD, LEAF, OPS, SPAN, infer


def check(graph: Graph) -> Graph:
    """The same graph, so that a pipeline may call it between stages."""
    for n, node in enumerate(graph.nodes):
        _reads(graph, n, node)
        _rule(graph, n, node)
        if OPS[node.op].family == LEAF:
            _leaf(graph, n, node)
    _names(graph)
    _initials(graph)
    _state(graph)
    _results(graph)
    _no_instant_cycle(graph)
    return graph


def _demand(condition: bool, graph: Graph, n: int, message: str) -> None:
    if not condition:
        node = graph[n] if 0 <= n < len(graph) else None
        raise Broken(f"node {n} ({node and node.name or node and node.op}): {message}")


def _reads(graph: Graph, n: int, node: Node) -> None:
    for read in node.args:
        _demand(0 <= read.node < len(graph), graph, n, f"reads node {read.node}, which does not exist")
        domain = graph[read.node].domain
        _demand(read.delay == 0 or domain == FRAME, graph, n, f"delays the {domain} {read.node}")
        _demand(domain != FRAME or node.domain == FRAME or OPS[node.op].family in (FOLD, SPAN),
                graph, n, f"reads frames of node {read.node} and has no value for each of them")


def _rule(graph: Graph, n: int, node: Node) -> None:
    _demand(node.attrs == tuple(sorted(node.attrs)), graph, n, "attributes out of order")
    try:
        found = infer(node.op, [graph[r.node] for r in node.args], dict(node.attrs), node.shape, node.kind)
    except Broken as fault:
        raise Broken(f"node {n} ({node.name or node.op}): {fault}") from None
    stated = (node.shape, node.kind, node.domain)
    _demand(stated == found, graph, n, f"states {stated} where its operator makes {found}")
    _demand(all(isinstance(size, int) and size >= 0 for size in node.shape), graph, n, f"shape {node.shape}")


def _leaf(graph: Graph, n: int, node: Node) -> None:
    name = node.attr("name")
    if node.op == "param":
        shapes = {p.name: p.shape for p in graph.params}
        _demand(shapes.get(name) == node.shape and node.kind == REAL, graph, n, f"is not parameter {name} as declared")
    if node.op == "input":
        infos = {i.name: (i.shape, INT if i.kind in ("class", "labels") else REAL, i.per) for i in graph.inputs}
        found = (node.shape, node.kind, node.domain)
        _demand(infos.get(name) == found, graph, n, f"is not input {name} as declared")
    if node.op == "table":
        index = node.attr("index")
        _demand(0 <= index < len(graph.tables) and graph.tables[index].shape == node.shape, graph, n, "has no table")
    if node.op == "number":
        whole = isinstance(node.attr("value"), int)
        _demand(whole or node.kind == REAL, graph, n, "a whole number with a fraction")
    if node.op == "state_cotangent":
        shapes = {_state_name(graph, s): graph[s].shape for s in graph.state}
        _demand(shapes.get(node.attr("signal")) == node.shape, graph, n, "is the seed of no state signal")
    if node.op == "carried":
        depths = {_state_name(graph, s): (graph[s].shape, depth) for s, depth in graph.state.items()}
        _demand(depths.get(node.attr("signal")) == (node.shape, 1), graph, n, "is carried by no state of one frame")


def _state_name(graph: Graph, n: int) -> str | None:
    return graph[n].name or graph[n].attr("name")


def _names(graph: Graph) -> None:
    seen: dict[str, int] = {}
    for n, node in enumerate(graph.nodes):
        if node.name is not None:
            _demand(node.name not in seen, graph, n, f"has the name of node {seen.get(node.name)}")
            seen[node.name] = n


def _initials(graph: Graph) -> None:
    for n, initial in graph.initials.items():
        _demand(0 <= n < len(graph) and graph[n].domain == FRAME, graph, n, "has initial values and is no signal")
        for m in initial.nodes():
            _demand(0 <= m < len(graph) and graph[m].domain != FRAME, graph, n, f"initial value {m} is a signal")
            fits = (graph[m].shape, graph[m].kind) == (graph[n].shape, graph[n].kind)
            _demand(fits, graph, n, f"initial value {m} has another shape or kind")
        offsets = [offset for offset, _ in initial.at]
        _demand(offsets == sorted(set(offsets)) and 0 not in offsets, graph, n, f"initial offsets {offsets}")


def _state(graph: Graph) -> None:
    """What is read from before the call is in the state. Adjoints are not: they are zero there."""
    joint = bool(graph.gradients or graph.input_gradients or graph.state_gradients)
    names = [_state_name(graph, n) for n in graph.state]
    for (n, depth), name in zip(graph.state.items(), names):
        _demand(0 <= n < len(graph) and graph[n].domain == FRAME, graph, n, "is held in the state and is no signal")
        _demand(depth >= 1, graph, n, f"is held in the state for {depth} frames")
        _demand(name is not None and names.count(name) == 1, graph, n, "is held in the state without a name of its own")
    for node in graph.nodes:
        for read in node.args:
            if read.delay > 0:
                depth = graph.state.get(read.node)
                if depth is None:
                    adjoint = joint and read.node not in graph.initials
                    _demand(adjoint, graph, read.node, "is read with delay and not held in the state")
                else:
                    _demand(depth >= read.delay, graph, read.node, f"is read {read.delay} back, held for {depth}")


def _results(graph: Graph) -> None:
    for n in graph.roots():
        _demand(0 <= n < len(graph), graph, n, "is a result and does not exist")
    for group in (graph.losses, graph.metrics, graph.scores):
        for name, n in group.items():
            _demand((graph[n].shape, graph[n].kind) == ((), REAL), graph, n, f"{name} is no real scalar")
    for name, n in graph.scores.items():
        _demand(graph[n].domain == CONSTANT, graph, n, f"score {name} is no constant")
    trained = {p.name: p.shape for p in graph.params if p.trainable}
    for name, n in graph.gradients.items():
        fits = trained.get(name) == graph[n].shape and graph[n].domain == CONSTANT
        _demand(fits, graph, n, f"is no gradient of parameter {name}")
    shapes = {i.name: (i.shape, i.per) for i in graph.inputs}
    for name, n in graph.input_gradients.items():
        fits = shapes.get(name) == (graph[n].shape, graph[n].domain)
        _demand(fits, graph, n, f"is no gradient of input {name}")
    for signal, reads in graph.state_gradients.items():
        _demand(signal in graph.state, graph, signal, "has a state gradient and is not in the state")
        for read in reads:
            fits = graph[read.node].shape == graph[signal].shape and read.delay <= 0
            _demand(fits, graph, read.node, f"is no part of the gradient of state signal {signal}")


def _no_instant_cycle(graph: Graph) -> None:
    """Nodes are taken away once everything they read at their own frame is gone; a cycle is what remains."""
    needs = []
    for node in graph.nodes:
        now = [r.node for r in node.args if r.delay == 0]
        for read in node.args:
            if read.delay and read.node in graph.initials:
                now += graph.initials[read.node].nodes()
        needs.append(now)
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for n, now in enumerate(needs):
        for m in now:
            readers[m].append(n)
    waiting = [len(now) for now in needs]
    free = [n for n, count in enumerate(waiting) if count == 0]
    gone = 0
    while free:
        n = free.pop()
        gone += 1
        for reader in readers[n]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                free.append(reader)
    if gone != len(graph):
        left = [n for n, count in enumerate(waiting) if count]
        _demand(False, graph, left[0], f"is in, or behind, a cycle without delay: {left[:10]}")
