"""What holds of every guard, checked the dull way; shares nothing with the pass that found them.

For one guard after another it supposes a frame in which that does not hold, and spoils whatever may be left out there.
Then it follows the spoilt values: `where` drops them with the branch that it does not take, everything else passes them
on, and none may come to another frame, a sum over frames, or the outside. A product that is left out because it is
zero must be of something that is zero.
"""

from rnnc.errors import Broken
from rnnc.graph.nodes import FRAME, Graph, Read
from rnnc.graph.ops import FOLD, OPS
from rnnc.plan.schedule import Guard, Schedule, nodes_of

TRUE, ZERO, SPOILT = "true", "zero", "spoilt"
ALONE = ("neg", "identity", "broadcast", "reshape", "slice", "pad", "transpose", "sum")       # zero of zero
FACTORS = ("mul", "matmul", "outer")           # zero if one of them is
SUMS = ("add", "sub", "concat")                # zero if all of them are


def guards_hold(made: Schedule) -> None:
    graph, role = made.graph, made.role
    held = role.guards
    rows = {n: kernel.guards for kernel in made.kernels() for n in nodes_of(kernel) if getattr(kernel, "guards", ())}
    for guard in sorted({g for group in (held.needed, held.zero, rows) for found in group.values() for g in found}):
        for n, what in enumerate(supposed(made, guard, rows)):
            if what == SPOILT:
                unseen(graph, n, guard)
            if what == TRUE and guard in held.zero.get(n, ()) and OPS[graph[n].op].family != FOLD:
                raise Broken(f"node {n} ({graph[n].op}) may be other than zero without its guard {guard}")
    for n, found in held.zero.items():
        for guard in found if OPS[graph[n].op].family == FOLD else ():
            if not any(is_zero(made, read, guard) for read in graph[n].args):
                raise Broken(f"the sum {n} passes over frames without {guard}, which may add something")
    for n, gate in role.gates.items():
        for term in gate.terms:
            for guard in set(term.guards) - held.needed.get(n, frozenset()):
                if not is_zero(made, term.operand, guard):
                    raise Broken(f"a product of node {n} is left out without {guard}, and may be other than zero")


def is_zero(made: Schedule, read: Read, guard: Guard) -> bool:
    """Whether a read sees zero, whenever the guard does not hold at the reader's frame."""
    then = Guard(Read(guard.condition.node, guard.condition.delay - read.delay), guard.holds)
    plain = read.node not in made.graph.initials and read.node not in made.graph.state
    return (plain or not read.delay) and supposed(made, then)[read.node] == ZERO


def supposed(made: Schedule, guard: Guard, rows: dict[int, tuple[Guard, ...]] | None = None) -> list[str]:
    """What is known of every value in a frame in which the guard does not hold. `rows`: of each value the guards
    without which its kernel sets the row to zero, whatever it is."""
    graph, needed = made.graph, made.role.guards.needed
    state = [TRUE] * len(graph)
    for n in graph.order:
        node = graph[n]
        of = [TRUE if read.delay else state[read.node] for read in node.args]
        if node.op == "number":
            state[n] = ZERO if node.attr("value") == 0 else TRUE
        elif node.op == "where" and node.args[0] == guard.condition:
            state[n] = of[2 if guard.holds else 1]
        elif SPOILT in of:
            state[n] = SPOILT
        elif node.op == "where" and of[1:] == [ZERO, ZERO] or node.op in ALONE and of[0] == ZERO \
                or node.op in ("div", "place") and of[0] == ZERO or node.op in FACTORS and ZERO in of \
                or node.op in SUMS and set(of) == {ZERO}:
            state[n] = ZERO
        if guard in needed.get(n, ()) or guard in (rows or {}).get(n, ()) and state[n] != ZERO:
            state[n] = SPOILT
    return state


def unseen(graph: Graph, n: int, guard: Guard) -> None:
    """A spoilt value stays in its frame."""
    begins = {m for initial in graph.initials.values() for m in initial.nodes()}
    if n in graph.roots() or n in graph.initials or n in begins:
        raise Broken(f"node {n} ({graph[n].op}) is left out without {guard}, and seen from outside or at a start")
    for reader, position in graph.uses[n]:
        if graph[reader].domain != FRAME or graph[reader].args[position].delay:
            raise Broken(f"node {n} ({graph[n].op}) is left out without {guard}, and node {reader} reads other frames")
