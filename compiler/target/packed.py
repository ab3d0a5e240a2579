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
    if plain(b) and not ta:
        return [f"rn_rows_times({to}, {pointer(a)}, {rows}, {panel(b, columns, not tb)}, {inner}, {columns});"]
    if plain(a) and not tb:
        room = f"{to}_turned"
        return [f"RN_ALIGNED real {room}[{columns * (inner + rows)} + RN_VL];",
                f"rn_times_columns({to}, {pointer(b)}, {columns}, {panel(a, rows, ta)}, {inner}, {rows}, {room});"]
    return []
