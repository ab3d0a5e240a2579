"""Products of a stream's matrix with a constant one, which is packed as those are that vectors are multiplied by.

In: a product of a row kernel. Out: its statements, or none where it is of another kind.
"""

from rnnc.graph.nodes import FRAME, SEQUENCE
from rnnc.target.access import Access
from rnnc.target.pool import FORMS

COPIES = {"scatter", *FORMS}                   # matrices that are stored in another way


def packed(access: Access, n: int, to: str, pointer) -> list[str]:
    """`to`: where the product goes; `pointer(read)`: where an argument begins, as C."""
    graph, node = access.graph, access.graph[n]
    if node.op != "matmul" or len(node.shape) != 2 or node.domain not in (FRAME, SEQUENCE):
        return []
    (a, b), (ta, tb) = node.args, (bool(node.attr("ta")), bool(node.attr("tb")))
    rows, columns = node.shape
    inner = graph[a.node].shape[0 if ta else 1]
    plain = lambda read: access.role[read.node] == "early" and graph[read.node].op not in COPIES
    panel = lambda read, width, turned: "c->packed + " + access.pool.panel(graph, width, inner, ((read.node, turned),))
    turned = lambda name, m, n: f"RN_ALIGNED real {name}[{m * n} + RN_VL];"
    if plain(b):                               # the rows of A; of A', which is turned over first
        first = [turned(f"{to}_rows", inner, rows),
                 f"rn_turn({to}_rows, {pointer(a)}, {inner}, {rows});"] if ta else []
        return [*first, f"rn_rows_times({to}, {f'{to}_rows' if ta else pointer(a)}, {rows}, "
                        f"{panel(b, columns, not tb)}, {inner}, {columns});"]
    if plain(a):                               # the columns of B as rows: those of B' are; the product is turned over
        first = [turned(f"{to}_columns", inner, columns),
                 f"rn_turn({to}_columns, {pointer(b)}, {inner}, {columns});"] if not tb else []
        return [*first, turned(f"{to}_turned", rows, columns),
                f"rn_rows_times({to}_turned, {pointer(b) if tb else f'{to}_columns'}, {columns}, "
                f"{panel(a, rows, ta)}, {inner}, {rows});",
                f"rn_turn({to}, {to}_turned, {columns}, {rows});"]
    return []
