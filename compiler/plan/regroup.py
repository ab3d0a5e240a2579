"""Sums of products are put in the order in which they can be computed: what waits for no loop first.

In: a graph. Out: the same sums with their terms regrouped, so that `W @ x + U @ h[t-1] + b` becomes
`(W @ x + b) + U @ h[t-1]`: the first bracket leaves the loop with its products side by side, the second is one
product of the step. Only unnamed sums that are read once are opened; the order of the other terms is kept.
"""

from dataclasses import replace

from rnnc.graph.loops import loops
from rnnc.graph.nodes import CONSTANT, FRAME, Graph, Node, Read, finest, only


def is_product(graph: Graph, number: int) -> bool:
    """A constant matrix times the vector of a frame or a sequence: the kind of product that packed panels compute."""
    node = graph[number]
    return (node.op == "matmul" and node.domain != CONSTANT and len(node.shape) == 1
            and graph[node.args[0].node].domain == CONSTANT)


def read_once(graph: Graph, number: int, roots: frozenset[int]) -> bool:
    """Nothing but one reader, at its own frame, wants this value."""
    return (len(graph.uses[number]) == 1 and number not in roots and number not in graph.initials
            and all(read.delay == 0 for reader, _ in graph.uses[number]
                    for read in graph[reader].args if read.node == number))


def summands(graph: Graph, number: int, roots: frozenset[int]) -> list[int]:
    """The terms of a sum, unnamed inner sums opened."""
    found: list[int] = []
    stack = [read.node for read in reversed(graph[number].args)]
    while stack:
        n = stack.pop()
        node = graph[n]
        if node.op == "add" and node.name is None and node.domain == FRAME and node.shape == graph[number].shape \
                and read_once(graph, n, roots) and all(read.delay == 0 for read in node.args):
            stack += [read.node for read in reversed(node.args)]
        else:
            found.append(n)
    return found


def to_front(terms: list[int], first: int) -> list[int]:
    """The same terms with one of them moved to the front. A sum may hold a term twice."""
    at = terms.index(first)
    return [first, *terms[:at], *terms[at + 1:]]


def regroup(graph: Graph) -> Graph:
    """Before: any checked graph. After: every sum that holds products has them side by side, outside ones first."""
    found = loops(graph)
    roots = frozenset(graph.roots())
    nodes: list[Node] = list(graph.nodes)

    def total(terms: list[int], like: Node) -> int:
        """A left-to-right sum of terms, made of new unnamed nodes."""
        so_far = terms[0]
        for term in terms[1:]:
            domain = finest((nodes[so_far].domain, nodes[term].domain))
            nodes.append(replace(like, args=(Read(so_far), Read(term)), name=None, domain=domain))
            so_far = len(nodes) - 1
        return so_far

    def own_product(term: int) -> bool:
        """Of each frame; one of a sequence is not made here."""
        return is_product(graph, term) and graph[term].domain == FRAME

    for number, node in enumerate(graph.nodes):
        if node.op != "add" or node.domain != FRAME or len(node.shape) != 1:
            continue
        if any(read.delay != 0 for read in node.args):
            continue
        reader = graph.uses[number]
        if node.name is None and len(reader) == 1 and graph[reader[0][0]].op == "add" \
                and graph[reader[0][0]].shape == node.shape and read_once(graph, number, roots):
            continue                                          # part of a larger sum
        terms = summands(graph, number, roots)
        if not any(own_product(t) for t in terms) or len(terms) < 3:
            continue
        mine = found.loop.get(number)
        inside = [t for t in terms if mine is not None and t in mine.members]
        outside = [t for t in terms if t not in inside]
        groups = []
        for part in (outside, inside):
            products = [t for t in part if own_product(t) and read_once(graph, t, roots)]
            rest = [t for t in part if t not in products]
            if products:
                part = [total(products, node), *rest]
            if part:
                # A sum of scalars and constants alone keeps its shape only beside a full term.
                full = [t for t in part if nodes[t].shape == node.shape]
                groups.append(to_front(part, full[0]) if full else part)
        order = [t for group in groups for t in group]
        full = next((t for t in order if nodes[t].shape == node.shape), None)
        if full is None:
            continue
        if len(groups) == 2 and any(nodes[t].shape == node.shape for t in groups[0]) and mine is not None:
            order = [total(groups[0], node), *groups[1]]
        elif order[0] != full:
            order = to_front(order, full)
        if len(order) == 1:
            last = nodes[order[0]]
            nodes[number] = replace(last, name=node.name, span=node.span)
        else:
            nodes[number] = replace(node, args=(Read(total(order[:-1], node)), Read(order[-1])))
    return compact(replace(graph, nodes=tuple(nodes)))


def compact(graph: Graph) -> Graph:
    """Only what the outside sees and what that needs, in the old order."""
    live = graph.live()
    return graph if len(live) == len(graph) else only(graph, sorted(live))
