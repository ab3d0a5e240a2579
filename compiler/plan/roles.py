"""What each node is to the planner: read from the caller, found by pointer, counted, multiplied, or computed.

In: a graph (regrouped). Out: `Roles`: one word per node, and the gates (sums of products that packed panels compute).

  early     constant before any frame: computed when weights are packed       late   constant that needs a fold
  leaf      the caller's array (inputs, weight, cotangents)                   fold   a sum over frames and streams
  index     an integer, written out where it is used                          view   part of another value, no copy
  gate      made by packed products                                           inner  inside a gate, never computed
  unit      elementwise on a vector: may live in a unit kernel                row    everything else
  span      made of all frames of a sequence

Values of a sequence have the same roles as those of a frame; they are computed for one sequence after another.
"""

from dataclasses import dataclass, field, replace

from rnnc.graph.loops import Loop
from rnnc.graph.nodes import CONSTANT, INT, Graph, Read
from rnnc.graph.ops import OPS, is_elementwise
from rnnc.plan.few import together
from rnnc.plan.guards import Found, Guards, guards, needs, zeros
from rnnc.plan.picked import picked
from rnnc.plan.regroup import is_product, read_once
from rnnc.plan.schedule import Gate, Term

LEAVES = ("input", "weight", "cotangent", "state_cotangent", "carried")


@dataclass(frozen=True)
class Roles:
    role: tuple[str, ...]
    gates: dict[int, Gate]
    guards: Guards                             # of the nodes of loops, and of products whose rows are picked
    picked: Found = field(default_factory=dict)        # without which a value outside loops is zero or never looked at
    small: frozenset[Loop] = frozenset()       # loops of few entries, whose products are rows' as all else is

    def __getitem__(self, node: int) -> str:
        return self.role[node]

    def reads(self, graph: Graph, node: int) -> list[Read]:
        """What has to be there before a node is made: a gate's operands, a node's arguments, the conditions of both."""
        if node in self.gates:
            return self.gates[node].reads()
        return [*graph[node].args, *self.conditions(node)]

    def conditions(self, node: int) -> list[Read]:
        """What a node is left out by."""
        if node in self.gates:
            return [guard.condition for term in self.gates[node].terms for guard in term.guards]
        return [guard.condition for guard in self.guards.of(node, product=True)]


def needs_own_memory(graph: Graph, number: int, roots: frozenset[int], before: frozenset[int]) -> bool:
    """Read at another frame, in place of another signal, or from outside: a view would not do."""
    return (number in roots or number in graph.initials or number in before
            or any(read.delay for reader, _ in graph.uses[number]
                   for read in graph[reader].args if read.node == number))


def spreads(graph: Graph, number: int) -> bool:
    """A matrix made of two vectors or of one, which only elementwise equations of its shape and frame read."""
    node = graph[number]
    return node.op in ("outer", "broadcast") and len(node.shape) == 2 and all(
        is_elementwise(graph[reader]) and graph[reader].shape == node.shape and not graph[reader].args[position].delay
        for reader, position in graph.uses[number])


def sums_of_products(graph: Graph, same_loop, roots: frozenset[int]) -> dict[int, tuple[list[Term], list[int]]]:
    """The products that a node is a sum of and of nothing else, and the nodes inside. Each sum is put together from
    those that it adds: chains are long."""
    found: dict[int, tuple[list[Term], list[int]]] = {}

    def goes_into(n: int, number: int) -> bool:
        node, whole = graph[n], graph[number]
        return (n in found and node.name is None and node.domain == whole.domain and same_loop(n, number)
                and (is_product(graph, n) or node.shape == whole.shape) and read_once(graph, n, roots))

    for number in graph.order:
        node = graph[number]
        if is_product(graph, number):
            found[number] = [_term(graph, number)], []
        elif node.op == "add" and len(node.shape) == 1 and all(
                read.delay == 0 and goes_into(read.node, number) for read in node.args):
            parts = [read.node for read in node.args]
            found[number] = ([term for n in parts for term in found[n][0]],
                             [m for n in parts for m in (n, *found[n][1])])
    return found


def _term(graph: Graph, number: int) -> Term:
    matrix, operand = graph[number].args
    shape = graph[matrix.node].shape
    transposed = bool(graph[number].attr("ta", False))
    pattern = graph[matrix.node].attr("pattern") if graph[matrix.node].op == "scatter" else None
    inner = shape[0] if transposed else shape[1]
    if pattern is not None:                    # in the mean
        inner = max(1, round(inner * pattern.kept / pattern.columns))
    return Term(matrix.node, transposed, operand, inner, pattern)


def roles(graph: Graph, found) -> Roles:
    """`found`: the loops of `graph`."""
    roots = frozenset(graph.roots())
    before = frozenset(n for initial in graph.initials.values() for n in initial.nodes())
    same_loop = lambda a, b: found.loop.get(a) is found.loop.get(b)
    role: list[str] = [""] * len(graph)
    gates: dict[int, Gate] = {}
    late: set[int] = set()
    for number in graph.order:
        node = graph[number]
        if node.domain == CONSTANT:
            if OPS[node.op].family == "fold":
                role[number] = "fold"
                late.add(number)
            elif any(read.node in late for read in node.args):
                role[number] = "late"
                late.add(number)
            else:
                role[number] = "early"
    for number, node in enumerate(graph.nodes):
        if role[number] in ("early", "late", "fold") or role[number] == "inner":
            continue
        if node.op in LEAVES:
            role[number] = "leaf"
        elif OPS[node.op].family == "span":
            role[number] = "span"
        elif node.kind == INT and node.op != "argmax" and not needs_own_memory(graph, number, roots, before):
            role[number] = "index"
        elif node.kind == INT:
            role[number] = "row"
        elif _is_view(graph, number, role) and not needs_own_memory(graph, number, roots, before):
            role[number] = "view"
        elif is_elementwise(node) and len(node.shape) >= 1:
            role[number] = "unit"
        else:
            role[number] = "row"
    small = frozenset(loop for loop in found if together(graph, loop, role))
    sums = sums_of_products(graph, same_loop, roots)
    for number, node in enumerate(graph.nodes):
        if node.domain == CONSTANT or role[number] == "inner":
            continue
        if found.loop.get(number) in small:
            continue
        if number in sums:
            terms, inside = sums[number]
            if any(role[term.matrix] != "early" for term in terms):
                continue
            gates[number] = Gate(number, tuple(terms), tuple(inside))
            role[number] = "gate"
    for gate in list(gates.values()):
        for n in gate.absorbed:
            role[n] = "inner"
            gates.pop(n, None)
    needed, zero = needs(graph), zeros(graph)
    held = guards(graph, found, needed, zero)
    all_held, rows = picked(graph, found, needed, zero, held, gates)
    made = {n: _guarded(graph, gate, held) if n in found.loop else _picked(gate, rows.get(n, frozenset()))
            for n, gate in gates.items()}
    return Roles(tuple(role), made, all_held, rows, small)


def _guarded(graph: Graph, gate: Gate, held: Guards) -> Gate:
    """A product counts where its gate does, and where what it multiplies is not zero."""
    needed = held.needed.get(gate.node, frozenset())
    terms = (replace(t, guards=tuple(sorted(needed | held.where_zero(graph, t.operand)))) for t in gate.terms)
    return replace(gate, terms=tuple(terms))


def _picked(gate: Gate, guards) -> Gate:
    return replace(gate, terms=tuple(replace(t, guards=tuple(sorted(guards))) for t in gate.terms))


def _is_view(graph: Graph, number: int, role: list[str]) -> bool:
    node = graph[number]
    if node.op == "reshape":
        return graph[node.args[0].node].domain != CONSTANT
    if node.op == "slice":
        base = graph[node.args[0].node]
        return base.domain != CONSTANT and node.attr("axis", 0) == 0
    if node.op == "column":
        return role[node.args[0].node] == "early"
    return False
