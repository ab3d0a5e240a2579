"""Every loop must run one way in time; the nodes in the order of the data.

A cycle whose delays add up to zero depends on itself within a frame; cycles that touch each other and point different
ways in time have no order at all; and what sees all frames of a sequence cannot be needed in one of them. Each is told
signal by signal, along the cycle.
"""

from collections.abc import Iterable
from dataclasses import replace

from rnnc.errors import Faults, Note, Span
from rnnc.graph.elaborate.library import is_standard
from rnnc.graph.elaborate.scope import Doubt
from rnnc.graph.elaborate.work import within
from rnnc.graph.loops import Cycle, Edge, Fault, components, direction
from rnnc.graph.nodes import Graph, Node, Read, renumber
from rnnc.graph.ops import OPS, SPAN


def check(graph: Graph, faults: Faults, doubts: Iterable[Doubt]) -> None:
    edges = [(r.node, v, r.delay) for v, node in enumerate(graph.nodes) for r in node.args]
    starts = [(m, v, 0) for v, node in enumerate(graph.nodes) for r in node.args if r.delay
              for m in (graph.initials[r.node].nodes() if r.node in graph.initials else ())]
    inside = {}
    for group in components(len(graph), [*edges, *starts]):
        inside.update(dict.fromkeys(group, group))
    groups: dict[tuple, list] = {}
    for u, v, d in edges:
        if inside[u] is inside[v]:
            groups.setdefault(inside[u], []).append((u, v, d))
    for group, own in groups.items():
        wholes = [edge for edge in own if OPS[graph[edge[1]].op].family == SPAN]
        if wholes:
            inner = [(u, v, d) for u, v, d in starts if u in group and v in group]
            report_whole(graph, closed(wholes[0], [*own, *inner]), faults)
            continue
        found = direction(group, own)
        if isinstance(found, Fault):
            report(graph, found, faults, doubts)


def closed(edge: Edge, edges: list[Edge]) -> Cycle:
    """A shortest cycle that begins with an edge."""
    came, queue = {edge[1]: edge}, [edge[1]]
    for node in queue:
        for other in edges:
            if other[0] == node and other[1] not in came:
                came[other[1]] = other
                queue.append(other[1])
    back = [came[edge[0]]] if edge[0] != edge[1] else []
    while back and back[-1] is not edge and back[-1][0] != edge[1]:
        back.append(came[back[-1][0]])
    return (edge, *(e for e in reversed(back) if e is not edge))


def report_whole(graph: Graph, cycle: Cycle, faults: Faults) -> None:
    """A value of a whole sequence that is needed before the sequence is there."""
    path, notes = walk(graph, cycle)
    first = own_place(graph, path.split(" ")[0], notes[0].span)
    faults.add("E0406", f"a value of a whole sequence is needed while that sequence is made: {path}", first, notes,
               "inside a loop only other frames can be read, as in h[t-1]")


def report(graph: Graph, fault: Fault, faults: Faults, doubts: Iterable[Doubt]) -> None:
    notes, words = [], []
    for cycle in fault.cycles:
        path, steps = walk(graph, cycle)
        words.append(path)
        notes += steps
    first = own_place(graph, words[0].split(" ")[0], notes[0].span)
    nodes = [graph[v] for cycle in fault.cycles for _, v, _ in cycle]
    doubts = [doubt for doubt in doubts if concerns(doubt, nodes)]
    notes += [Note(doubt.span, doubt.said) for doubt in doubts if doubt.said]
    if fault.kind == "mixed":
        faults.add("E0402", f"this loop runs forwards and backwards in time at once: {words[0]}, and {words[-1]}",
                   first, notes)
    elif fault.kind == "instant":
        faults.add("E0401", f"{words[0].split(' ')[0]} depends on itself within one frame: {words[0]}", first, notes,
                   next((doubt.hint for doubt in doubts if doubt.hint),
                        "a delay somewhere on the way, as in h[t-1], makes it a recurrence"))
    else:
        faults.add("E0401", f"{words[0].split(' ')[0]} depends on itself within one frame: the delays on the way "
                            f"add up to 0: {words[0]}", first, notes)


def concerns(doubt: Doubt, nodes: list[Node]) -> bool:
    """Whether brackets stand on a cycle: in the equation or the expression of a node; and what they read does, too."""
    names = {node.name for node in nodes}
    if doubt.of is not None and doubt.of.path() not in names:
        return False
    return doubt.place is not None and doubt.place.path() in names or any(
        node.span is not None and within(doubt.span, node.span) for node in nodes)


def own_place(graph: Graph, name: str, span: Span) -> Span:
    """A place in the program itself: of a signal inside a standard cell, that of the equation it is part of."""
    named = graph.named()
    while is_standard(span.source) and "." in name:
        name = name.rpartition(".")[0]
        if name in named:
            span = graph[named[name]].span
    return span


def walk(graph: Graph, cycle) -> tuple[str, list[Note]]:
    """A cycle told by its named signals, each followed by what it reads: `a <- b[t-1] <- a`, and a note at each. It
    begins at a name of the model itself, if there is one."""
    start = min(range(len(cycle)), key=lambda i: (graph[cycle[i][0]].name is None, "." in
                                                  (graph[cycle[i][0]].name or ""), i))
    cycle = cycle[start:] + cycle[:start]
    u0, delay, whole = cycle[0][0], 0, False
    names, notes, steps = [graph[u0].name or "this"], [], []
    for u, v, d in reversed(cycle):
        delay, whole = delay + d, whole or OPS[graph[v].op].family == SPAN
        if graph[u].name or u == u0:
            steps.append((u, delay, whole))
            delay, whole = 0, False
    reader = u0
    for u, d, whole in steps:
        when = "in all frames" if whole else "in the same frame" if d == 0 else \
            f"{d} frame{'s' * (d != 1)} ago" if d > 0 else f"{-d} frame{'s' * (d != -1)} ahead"
        if not (whole or any(read.node == u for read in graph[reader].args)) and reads_before(graph, reader, u):
            when = "as the value before its start"
        name = graph[u].name or "this"
        notes.append(Note(graph[reader].span, f"{graph[reader].name or 'this'} reads {name} {when}"))
        names.append(name + ("" if d == 0 else f"[t{-d:+d}]"))
        reader = u
    return " <- ".join(names), notes


def reads_before(graph: Graph, reader: int, value: int) -> bool:
    return any(value in graph.before(read) for read in graph[reader].args)


def sorted_graph(graph: Graph) -> Graph:
    """The same graph with every node after those that it reads in the same frame."""
    where = {old: new for new, old in enumerate(graph.order)}
    nodes = [replace(graph[old], args=tuple(Read(where[r.node], r.delay) for r in graph[old].args))
             for old in graph.order]
    return renumber(graph, nodes, where)
