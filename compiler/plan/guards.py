"""What a clock lets a loop skip: equations that count only where a condition holds which the loop does not change.

In: a graph. Out: `masked`, the same graph with whatever a clock makes zero written as a choice, and `guards`: of each
equation of a loop the conditions under which it is needed, and those without which it is zero. A slow module is
written h = where(t mod 4 == 0, tanh(U @ h[t-1]), h[t-1]): its product counts in the frames of the clock alone. On the
way back the adjoint of that product is zero in all other frames, so that its product with U' is zero, one frame before.
When a kernel runs it looks at the conditions of its rows, and leaves out what counts in none of them.

Left out means: zero. Of products with a zero that is their value; everything else that is left out is looked at by
nobody, since `where` chooses, and chooses the other branch (it is never multiplied by a mask: zero times the infinity
that a value left out may lead to would be NaN).

A condition is a number of each frame from outside the loop: `t mod 4 == 0`, an input, a gate of a faster loop. Sums
over frames pass over the rows in which one of their factors is zero. What stands outside of loops: picked.py.

One thread, thousand frames a second without and with guards:
                                          1 stream, run   training     16 streams, run   training
  clockwork 4 x 128, periods 1, 2, 4, 8      137  209      51   78          271  393      85  128
  512 units, clock in 1 frame of 8            86  425      34  184          189  808      59  265
"""

from dataclasses import dataclass, replace

from rnnc.graph.loops import Loops, loops
from rnnc.graph.nodes import FRAME, INT, REAL, SEQUENCE, Builder, Graph, Node, Read
from rnnc.graph.ops import FOLD, OPS, SPAN, make
from rnnc.plan.regroup import compact
from rnnc.plan.schedule import Guard

# Operators that cost as much as a tanh.
FUNCTIONS = frozenset(
    "exp log sigmoid tanh softplus erf sin cos pow softmax logsoftmax logsumexp surprisal dropout noise".split())
# Operators that are zero where their first, one, or all of their arguments are.
OF_FIRST = frozenset("neg identity div broadcast reshape slice pad transpose sum place".split())
OF_ONE = frozenset("mul matmul outer".split())
OF_ALL = frozenset("add sub concat".split())
UNBOUNDED = frozenset("div exp log pow".split())   # of finite numbers NaN or infinite
SUMS = ("fold_outer", "fold_sparse")           # over frames, of products of the two arguments
PARTS = ("slice", "reshape", "pad", "concat")  # of other values: nothing to leave out
NONE: frozenset[Guard] = frozenset()
Found = dict[int, frozenset[Guard]]            # by node, at the node's own frame


@dataclass(frozen=True)
class Guards:
    """Of each node of a loop: `needed`: only where all of these hold is its value looked at; `zero`: it is zero
    wherever one of these does not hold (of a sum over frames: what it adds there)."""

    needed: Found
    zero: Found

    def of(self, n: int, product: bool = False) -> tuple[Guard, ...]:
        """Without which a value may be left out: a product, which costs enough, also where it is zero."""
        return tuple(sorted(self.needed.get(n, NONE) | (self.zero.get(n, NONE) if product else NONE)))

    def where_zero(self, graph: Graph, read: Read) -> frozenset[Guard]:
        """Without which a read sees zero: beyond a start and the call it sees nothing else anyway."""
        zero = self.zero.get(read.node, NONE)
        if not read.delay:
            return zero
        if read.node in graph.initials or read.node in graph.state:
            return NONE
        return frozenset(Guard(Read(g.condition.node, g.condition.delay + read.delay), g.holds) for g in zero)


def guards(graph: Graph, found: Loops, needed: Found, zero: Found) -> Guards:
    """Guards of a loop are conditions that it chooses by, so they are there before it begins. `needed`, `zero`: of all
    values, under any condition."""
    own = _conditions(graph, found)
    if not own:
        return Guards({}, {})
    mine = lambda n, those: frozenset(g for g in those if g.condition.node in own.get(id(found.loop.get(n)), ()))
    inside = [n for n in range(len(graph)) if n in found.loop]
    held = Guards({n: mine(n, needed[n]) for n in inside}, {n: mine(n, zero[n]) for n in inside})
    for n, node in enumerate(graph.nodes):     # a sum over frames may pass over those that add zero
        if OPS[node.op].family == FOLD:
            held.zero[n] = NONE.union(*(held.where_zero(graph, read) for read in node.args))
    return held


def _conditions(graph: Graph, found: Loops) -> dict[int, set[int]]:
    """What each loop chooses by and does not change."""
    own: dict[int, set[int]] = {}
    for n, loop in found.loop.items():
        if _chooses(graph, n) and graph[n].args[0].node not in loop.members:
            own.setdefault(id(loop), set()).add(graph[n].args[0].node)
    return own


def _chooses(graph: Graph, n: int, domain: str = FRAME) -> bool:
    """Whether one condition decides for all units of a frame."""
    if graph[n].op != "where":
        return False
    condition = graph[graph[n].args[0].node]
    return condition.shape == () and condition.domain == domain and condition.kind == REAL


def zeros(graph: Graph, domain: str = FRAME) -> Found:
    """Where values are zero for certain. A product with a zero is, whatever the other factor."""
    zero: Found = {}
    for n in graph.order:
        node = graph[n]
        of = [NONE if read.delay else zero[read.node] for read in node.args]
        if node.op == "where":
            branches = [inner for read, inner in zip(node.args[1:], of[1:]) if not _is_zero(graph, read)]
            zero[n] = frozenset.intersection(*branches) | _own(graph, n, domain) if branches else NONE
        elif node.op in OF_FIRST:
            zero[n] = of[0]
        elif node.op in OF_ONE:
            zero[n] = of[0] | of[1]
        elif node.op in OF_ALL:
            zero[n] = frozenset.intersection(*of)
        else:
            zero[n] = NONE
    return zero


def _is_zero(graph: Graph, read: Read) -> bool:
    node = graph[read.node]
    return node.op == "number" and node.attr("value") == 0 or node.op == "broadcast" and _is_zero(graph, node.args[0])


def needs(graph: Graph) -> Found:
    """Where values are looked at: where some reader's are, if that does not choose another branch there."""
    needed: Found = {}
    always = _always(graph)
    for n in reversed(graph.order):
        seen = [NONE] if n in always else [guards for _, guards in _seen(graph, needed, n)]
        needed[n] = frozenset.intersection(*seen) if seen else NONE
    return needed


def _always(graph: Graph) -> set[int]:
    """What is seen from outside, or where other signals begin."""
    return {*graph.roots(), *graph.initials, *(n for i in graph.initials.values() for n in i.nodes())}


def _seen(graph: Graph, needed: Found, n: int) -> list[tuple[int, frozenset[Guard]]]:
    """The readers of a value, and where each looks at it: always, if it reads another frame, or many."""
    found = []
    for reader, position in graph.uses[n]:
        here = graph[reader].domain == FRAME and not graph[reader].args[position].delay
        chosen = {Guard(graph[reader].args[0], position == 1)} if position and _chooses(graph, reader) else NONE
        found.append((reader, needed[reader] | chosen if here else NONE))
    return found


def share(graph: Graph, guards: tuple[Guard, ...]) -> float:
    """The share of frames in which all of these hold, as far as the clocks of `mod(t, k)` tell; of others: all."""
    return min([1.0, *(_share(graph, guard) for guard in guards)])


def _share(graph: Graph, guard: Guard) -> float:
    node = graph[guard.condition.node]
    if node.op not in ("eq", "ne"):
        return 1.0
    count, other = (graph[read.node] for read in node.args)
    if count.op != "mod" or other.op != "number" or graph[count.args[0].node].op != "frame_index":
        return 1.0
    period = graph[count.args[1].node]
    each = 1 / max(1, period.attr("value")) if period.op == "number" else 1.0
    return each if (node.op == "eq") == guard.holds else 1 - each


def masked(graph: Graph) -> Graph:
    """Before: any checked graph. After: what is combined with something that a clock makes zero is needed under that
    clock alone: where(c, a, 0) * b is where(c, a * b, 0), and in the sum over frames of outer products of
    where(c, a, 0) and b that b is where(c, b, 0)."""
    for domain in (SEQUENCE, FRAME):
        if any(_chooses(graph, n, domain) for n in range(len(graph))):
            graph = _masked_products(graph, domain)
    return _masked_sums(graph) if any(_chooses(graph, n) for n in range(len(graph))) else graph


def _masked_products(graph: Graph, domain: str) -> Graph:
    needed, zero, near = needs(graph), zeros(graph, domain), (_near if domain == FRAME else _near_sequences)(graph)
    builder, inner = Builder(graph), {}
    for n in graph.order:
        node = graph[n]
        if node.op not in ("mul", "div", "where") or node.domain != domain:
            continue
        worth = lambda g, node=node: any(not read.delay and g.condition.node in near[read.node] and
                                         g not in zero[read.node] for read in node.args)
        more = sorted(filter(worth, zero[n] - needed[n] - _own(graph, n, domain)))
        if more:
            inner[n] = builder.add(replace(node, args=tuple(_there(graph, read, more, inner) for read in node.args),
                                           name=None))
            builder.nodes[n] = _chosen(builder, more, inner[n], node)
    return compact(replace(graph, nodes=tuple(builder.nodes))) if inner else graph


def _masked_sums(graph: Graph) -> Graph:
    """Of values in loops that but for such sums are needed under a clock only."""
    needed, zero, near, found = needs(graph), zeros(graph), _near(graph), loops(graph)
    builder, made, always = Builder(graph), {}, _always(graph)
    for n, node in enumerate(graph.nodes):
        if node.op not in SUMS or any(read.delay for read in node.args):
            continue
        for position, read in enumerate(node.args):
            rest = [guards for reader, guards in _seen(graph, needed, read.node) if graph[reader].op not in SUMS]
            if read.node not in found.loop or graph[read.node].op in PARTS or not rest or read.node in always:
                continue
            masks = zero[node.args[1 - position].node] & frozenset.intersection(*rest) - zero[read.node]
            masks = tuple(sorted(g for g in masks if g.condition.node in near[read.node]))
            if masks:
                key = read.node, masks
                if key not in made:
                    made[key] = builder.add(_chosen(builder, masks, read.node, replace(graph[read.node], name=None)))
                args = list(builder.nodes[n].args)
                args[position] = Read(made[key])
                builder.nodes[n] = replace(node, args=tuple(args))
    return compact(replace(graph, nodes=tuple(builder.nodes))) if made else graph


def _near(graph: Graph) -> list[frozenset[int]]:
    """Of each value the conditions of the loops that it is made in, or made of at its own frame; outside of loops those
    that are there beforehand, if it is made of a product, or of what may be NaN or infinite where it does not count."""
    found, wild = loops(graph), _wild(graph)
    own, near, before = _conditions(graph, found), [frozenset()] * len(graph), plain(graph, found)
    for n in graph.order:
        if n in found.loop:
            near[n] = frozenset(own.get(id(found.loop[n]), ()))
        elif graph[n].domain == FRAME:
            near[n] = frozenset().union(*(near[read.node] for read in graph[n].args if not read.delay))
            if graph[n].op == "matmul" or n in wild:
                near[n] |= before
    return near


def _near_sequences(graph: Graph) -> list[frozenset[int]]:
    """The same of values of sequences: all conditions, if it is made of what may be NaN or infinite."""
    conditions = frozenset(graph[n].args[0].node for n in range(len(graph)) if _chooses(graph, n, SEQUENCE))
    wild, near = _wild(graph), [NONE] * len(graph)
    for n in graph.order:
        if n in wild or any(near[read.node] for read in graph[n].args if not read.delay):
            near[n] = conditions
    return near


def _wild(graph: Graph) -> set[int]:
    """What may be NaN or infinite where it does not count: a target that nobody knows, what is beyond all numbers."""
    targets = {i.name for i in graph.inputs if i.target and i.kind == REAL}
    return {n for n, node in enumerate(graph.nodes) if node.op in UNBOUNDED or node.attr("name") in targets}


def plain(graph: Graph, found: Loops) -> frozenset[int]:
    """Conditions made of inputs, the time and constants alone: no loop, no product and no sum over frames stands before
    them, so whatever asks for them waits for nothing new. Whether an input is a label at all need not be asked."""
    late: set[int] = set()
    for members in found.components:           # each behind what it reads, in whatever frame
        for n in members:
            node = graph[n]
            if n in found.loop or node.op in ("matmul", "column") or OPS[node.op].family in (FOLD, SPAN) or any(
                    m in late for read in node.args for m in (read.node, *graph.before(read))):
                late.add(n)
    label = lambda read: graph[read.node].op == "input" and graph[read.node].kind == INT and not read.delay
    always = lambda c: graph[c].op == "lt" and label(graph[c].args[0])
    conditions = {graph[n].args[0].node for n in range(len(graph)) if _chooses(graph, n)}
    return frozenset(c for c in conditions - late if not always(c))


def _own(graph: Graph, n: int, domain: str = FRAME) -> frozenset[Guard]:
    """The guard that a choice between a value and zero is."""
    if not _chooses(graph, n, domain):
        return NONE
    when, yes, no = graph[n].args
    return frozenset({Guard(when, holds) for holds, other in ((True, no), (False, yes)) if _is_zero(graph, other)})


def _there(graph: Graph, read: Read, guards: list[Guard], inner: dict[int, int]) -> Read:
    """What a read sees where the guards hold: of a choice by one of them, the branch that is taken."""
    if read.node in inner and not read.delay:
        return read                            # which chooses by itself
    while not read.delay and graph[read.node].op == "where" and _own(graph, read.node) & set(guards):
        when, yes, no = graph[read.node].args
        read = yes if Guard(when, True) in guards and _is_zero(graph, no) else no
    return read


def _chosen(builder: Builder, guards: list[Guard] | tuple[Guard, ...], value: int, like: Node) -> Node:
    """The value where all guards hold, elsewhere zero."""
    for guard in reversed(guards):
        zero = Read(make(builder, "number", value=0.0))
        branches = (Read(value), zero) if guard.holds else (zero, Read(value))
        made = replace(like, op="where", args=(guard.condition, *branches), attrs=())
        value = builder.add(replace(made, name=None)) if guard is not guards[0] else value
    return made
