"""Matrices that a loop over units makes as it goes, and that are nowhere in memory: the outer product of two vectors, a
row for every row, a column for every column.

In: a row kernel. Out: which of its nodes are made so, and their values at `row` and `column` of the loop. Runs of
a Hebbian matrix of 64 x 64, 16 streams: 1.7 us a frame instead of 2.2 (Xeon, one thread).
"""

from collections.abc import Callable

from rnnc.graph.nodes import Graph, Read
from rnnc.plan.roles import spreads
from rnnc.plan.schedule import RowKernel

WHOLE = 16                                     # columns: a multiple of the lanes of any vector,
NARROW = (2, 4, 8)                             # or a part of those of some


class Spread:
    def __init__(self, graph: Graph, kernel: RowKernel, left_out: Callable[[int], bool]):
        """`left_out`: whether some rows go without a value, which then is zero and had better stand in memory."""
        self.graph = graph
        self.columns: dict[int, int] = {}                       # of loops over so many numbers
        self.found: set[int] = set()
        mine = set(kernel.body)
        for n in kernel.body:
            if n not in kernel.stores and not left_out(n) and self.fits(n) and {r for r, _ in graph.uses[n]} <= mine:
                size, columns = graph[n].size, graph[n].shape[1]
                if self.columns.setdefault(size, columns) == columns:
                    self.found.add(n)

    def fits(self, n: int) -> bool:
        """Whether a vector of units is one number times a vector, one number, or a vector."""
        node = self.graph[n]
        if not spreads(self.graph, n) or node.shape[0] < 2:
            return False
        rows, columns = node.shape
        if columns % WHOLE and columns not in NARROW:
            return False
        return node.op == "outer" or self.graph[node.args[0].node].shape in ((columns,), (1, columns), (rows, 1))

    def parts(self, n: int) -> tuple[Read | None, Read | None]:
        """What has a number for each row, and what has one for each column."""
        node = self.graph[n]
        if node.op == "outer":
            return node.args
        (read,) = node.args
        return (read, None) if self.graph[read.node].shape == (node.shape[0], 1) else (None, read)

    def loop(self, size: int, of_row: list[str], body: list[str]) -> list[str]:
        """A loop over all units, row by row, around the statements of a vector of them; of narrow rows several lie in
        one vector."""
        columns = self.columns[size]
        if columns in NARROW:
            return [f"for (long u = 0; u < RN_PAD({size}); u += RN_VL) {{",
                    *(f"    {line}" for line in of_row), *body, "}"]
        return [f"for (long row = 0; row < {size // columns}; row++) {{", *(f"    {line}" for line in of_row),
                f"    for (long column = 0; column < {columns}; column += RN_VL) {{",
                f"        const long u = row * {columns} + column;", *(f"    {line}" for line in body), "    }", "}"]

    def down(self, n: int, name: str, start: str) -> str:
        """The statement for the numbers of rows, which begin at `start`."""
        rows, columns = self.graph[n].shape
        value = f"rn_each({start} + u / {columns}, {columns}, {rows} - u / {columns})" if columns in NARROW else \
            f"rn_all({start}[row])"
        return f"const rn_v {name} = {value};"

    def across(self, n: int, name: str, start: str) -> tuple[list[str], str]:
        """Statements before the loop, and the vector of a number for each column."""
        columns = self.graph[n].shape[1]
        if columns not in NARROW:
            return [], f"rn_load({start} + column)"
        room = f"RN_MAX({columns}, RN_VL)"
        return [f"RN_ALIGNED real {name}[{room}];",
                f"for (long i = 0; i < {room}; i++) {name}[i] = ({start})[i % {columns}];"
                ], f"rn_load({name} + u % {room})"
