"""What kind of loop a loop is: diagonal, linear, both, chunkwise, or dense.

In: a graph and one of its loops. Out: a `Kind`. *Diagonal*: no unit depends on another one, so units and streams can
be dealt out and time runs without meeting. *Linear*: the state enters no product with itself and no nonlinear
function, so time itself can be cut. *Chunkwise*: linear with matrices for a state that only ever meet vectors, so a
stretch of time becomes a few products. Anything else is dense: a sweep.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rnnc.graph.blocks import mixes
from rnnc.graph.loops import Loop
from rnnc.graph.nodes import Graph, Node

# How the degree of a value in the loop's state follows from the degrees of its operands.
LARGER = frozenset(
    "add sub neg identity real stop_gradient reshape slice pad concat broadcast sum transpose".split())
ADDED = frozenset("mul matmul outer".split())
# Operands that must be free of the state, the others then keep their degree: divisor, condition, index.
FREE = {"div": (1,), "where": (0,), "take": (1,), "place": (1,), "column": (1,), "dropout": (1,)}
NONLINEAR = 1_000_000                          # above every sum of degrees
MOST = 4                                       # numbers handed on for which time is cut: RN_SCAN_MOST of runtime/scan.h


@dataclass(frozen=True)
class Kind:
    """`mixer` and `bend`: the first nodes, in the order of computing, that forbid the first two; None if none does."""

    diagonal: bool
    linear: bool
    chunkwise: bool
    mixer: int | None = None
    bend: int | None = None

    def __str__(self) -> str:
        said = [name for name in ("diagonal", "linear", "chunkwise") if getattr(self, name)]
        return " ".join(said) or "dense"


def kind(graph: Graph, loop: Loop) -> Kind:
    """The kind of one loop."""
    order = [n for n in graph.order if n in loop.members]
    mixer = next((n for n in order if mixes(graph[n])), None)
    found = degrees(graph, loop, order)
    bend = next((n for n in order if found[n] > 1), None)
    matrices = all(len(graph[u].shape) == 2 for u, _, d in loop.edges if d != 0)
    chunkwise = bend is None and matrices and not any(_multiplies_matrices(graph, loop, n) for n in order)
    return Kind(mixer is None, bend is None, chunkwise, mixer, bend)


def degrees(graph: Graph, loop: Loop, order: list[int]) -> dict[int, int]:
    """The degree of each value in what the loop reads of other frames: 0 outside the loop, 1 for a read of another
    frame; at most 1 everywhere iff the loop is linear in its state."""
    return _degrees(graph, loop.members, order)


def in_lanes(graph: Graph, order: Sequence[int]) -> int:
    """How many numbers a frame hands on to the next one, of a loop that makes these nodes, where time can be cut into
    lanes for one stream; 0 where it makes others than numbers, is not linear, or hands on too many."""
    if any(graph[n].shape for n in order):
        return 0
    furthest = dict.fromkeys(order, 0)
    for read in (read for n in order for read in graph[n].args if read.node in furthest):
        furthest[read.node] = max(furthest[read.node], abs(read.delay))
    wanted = leading(graph, furthest, [n for n, frames in furthest.items() if frames])
    bent = max(_degrees(graph, wanted, [n for n in order if n in wanted]).values(), default=0) > 1
    handed = sum(furthest.values())
    return handed if handed <= MOST and not bent else 0


def leading(graph: Graph, order: Collection[int], handed: Iterable[int]) -> set[int]:
    """What these are made of, of the nodes of a loop in their own frame."""
    found, stack = set(), list(handed)
    while stack:
        n = stack.pop()
        if n not in found:
            found.add(n)
            stack += [read.node for read in graph[n].args if read.node in order and not read.delay]
    return found


def _degrees(graph: Graph, members: Collection[int], order: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for number in order:
        node = graph[number]
        reads = [0 if read.node not in members else 1 if read.delay != 0 else found[read.node] for read in node.args]
        found[number] = min(_degree(node, reads), NONLINEAR)
    return found


def _degree(node: Node, reads: list[int]) -> int:
    if not any(reads):
        return 0
    if node.op in LARGER:
        return max(reads)
    if node.op in ADDED:
        return sum(reads)
    free = FREE.get(node.op)
    if free and not any(reads[position] for position in free):
        return max(reads)
    return NONLINEAR


def _multiplies_matrices(graph: Graph, loop: Loop, number: int) -> bool:
    """A product of the state with a whole matrix: its coefficient is dense, time cannot be cut into products."""
    node = graph[number]
    return node.op == "matmul" and all(len(graph[read.node].shape) == 2 for read in node.args)
