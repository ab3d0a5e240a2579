"""Every loop must run one way in time; the nodes in the order of the data.

A cycle whose delays add up to zero depends on itself within a frame; cycles that touch each other and point different
ways in time have no order at all. Either is told signal by signal, along the cycle.
"""

from dataclasses import replace

from rnnc.errors import Faults, Note, Span
from rnnc.graph.elaborate.library import is_standard
from rnnc.graph.loops import Fault, components, direction
from rnnc.graph.nodes import Graph, Read, renumber


def check(graph: Graph, faults: Faults) -> None:
    edges = [(r.node, v, r.delay) for v, node in enumerate(graph.nodes) for r in node.args]
    inside = {}
    for group in components(len(graph), edges):
        if len(group) > 1:
            inside.update(dict.fromkeys(group, group))
    groups: dict[tuple, list] = {}
    for u, v, d in edges:
        if u == v:
            groups.setdefault(inside.get(u, (u,)), []).append((u, v, d))
        elif inside.get(u) is not None and inside.get(u) is inside.get(v):
            groups.setdefault(inside[u], []).append((u, v, d))
    for group, own in groups.items():
        found = direction(group, own)
        if isinstance(found, Fault):
            report(graph, found, faults)


def report(graph: Graph, fault: Fault, faults: Faults) -> None:
    notes, words = [], []
    for cycle in fault.cycles:
        path, steps = walk(graph, cycle)
        words.append(path)
        notes += steps
    first = own_place(graph, words[0].split(" ")[0], notes[0].span)
    if fault.kind == "mixed":
        faults.add("E0402", f"this loop runs forwards and backwards in time at once: {words[0]}, and {words[-1]}",
                   first, notes)
    elif fault.kind == "instant":
        faults.add("E0401", f"{words[0].split(' ')[0]} depends on itself within one frame: {words[0]}", first, notes,
                   "a delay somewhere on the way, as in h[t-1], makes it a recurrence")
    else:
        faults.add("E0401", f"{words[0].split(' ')[0]} depends on itself within one frame: the delays on the way "
                            f"add up to 0: {words[0]}", first, notes)


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
    u0, delay = cycle[0][0], 0
    names, notes, steps = [graph[u0].name or "this"], [], []
    for u, _, d in reversed(cycle):
        delay += d
        if graph[u].name or u == u0:
            steps.append((u, delay))
            delay = 0
    reader = u0
    for u, d in steps:
        when = "in the same frame" if d == 0 else f"{d} frame{'s' * (d != 1)} ago" if d > 0 else \
            f"{-d} frame{'s' * (d != -1)} ahead"
        name = graph[u].name or "this"
        notes.append(Note(graph[reader].span, f"{graph[reader].name or 'this'} reads {name} {when}"))
        names.append(name + ("" if d == 0 else f"[t{-d:+d}]"))
        reader = u
    return " <- ".join(names), notes


def sorted_graph(graph: Graph) -> Graph:
    """The same graph with every node after those that it reads in the same frame."""
    where = {old: new for new, old in enumerate(graph.order)}
    nodes = [replace(graph[old], args=tuple(Read(where[r.node], r.delay) for r in graph[old].args))
             for old in graph.order]
    return renumber(graph, nodes, where)
