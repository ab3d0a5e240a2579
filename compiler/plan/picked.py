"""What outside of loops is made of some rows alone: those in which a condition holds.

In: a graph, its loops and their guards. Out: of each value outside of loops the conditions without which it is looked
at by nobody, or is zero; and the guards of loops with those of dear values and of sums over frames beside them.

A slow module whose input comes from a faster one has its product W @ x outside of its loop; in the frames in which its
clock stands still nobody asks for it, and on the way back the adjoint of it, from which the fast module's is made, is
zero. The same holds of logits in frames that have no weight in the loss. Rows that are not picked are zero.

Of a condition is wanted that it is there beforehand (guards.py, plain), so that nothing waits for anything new.
"""

from collections.abc import Collection

from rnnc.graph.loops import Loops
from rnnc.graph.nodes import FRAME, Graph
from rnnc.graph.ops import FOLD, OPS, is_elementwise
from rnnc.plan.guards import FUNCTIONS, NONE, Found, Guards, plain


def picked(graph: Graph, found: Loops, needed: Found, zero: Found, held: Guards,
           gates: Collection[int]) -> tuple[Guards, Found]:
    """`needed`, `zero`: of all values, under any condition; `held`: the guards of loops; `gates`: what products
    make."""
    before = plain(graph, found)
    if not before:
        return held, {}
    kept = lambda those: frozenset(g for g in those if g.condition.node in before)
    outside = [n for n in range(len(graph)) if n not in found.loop and graph[n].domain == FRAME]
    rows = {n: those for n in outside if (those := kept(needed[n] | zero[n]))}
    dear = [n for n in rows if n in gates or _dear(graph, n)]
    more = Guards(held.needed | {n: kept(needed[n]) for n in dear}, held.zero | {n: kept(zero[n]) for n in dear})
    everywhere = Guards({}, {n: kept(those) for n, those in zero.items()})
    for n, node in enumerate(graph.nodes):     # a sum over frames may pass over those that add zero
        if OPS[node.op].family == FOLD and node.size > 1:
            apart = [read for read in node.args if read.node not in found.loop]
            those = NONE.union(*(everywhere.where_zero(graph, read) for read in apart))
            if those:
                more.zero[n] = held.zero.get(n, NONE) | those
    return more, rows


def _dear(graph: Graph, n: int) -> bool:
    """Whether a value takes longer than to ask whether it is wanted."""
    node = graph[n]
    cheap = is_elementwise(node) and node.op not in FUNCTIONS
    return not cheap and max([node.size, *(graph[read.node].size for read in node.args)]) > 1
