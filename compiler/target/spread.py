"""Matrices that a loop over units makes as it goes, and that are nowhere in memory: the outer product of two vectors, a
row for every row, a column for every column. And products of a matrix with a vector, answered while the loop makes the
matrix.

In: a row kernel. Out: which of its nodes are made so, and their values at `row` and `column` of the loop. Runs of
a Hebbian matrix of 64 x 64, 16 streams: 1.7 us a frame instead of 2.2, with products answered 1.2; of a memory of
20 x 20, read in another step, 0.24 instead of 0.31 (Xeon, one thread).
"""

from collections.abc import Callable
from dataclasses import dataclass

from rnnc.graph.nodes import Graph, Read
from rnnc.plan.roles import spreads
from rnnc.plan.schedule import RowKernel

WHOLE = 16                                     # columns: a multiple of the lanes of any vector,
NARROW = (2, 4, 8)                             # a part of those of some,
RAGGED = 9                                     # or at least so many: the last vector of a row is not full


@dataclass(frozen=True)
class Answer:
    """A product formed in passing, as C: what a row wants before its numbers, what is done with a vector of them."""

    name: str
    turned: bool                               # a sum for each column
    of_row: tuple[str, ...]
    term: str


def ragged(columns: int) -> bool:
    return columns % WHOLE != 0 and columns not in NARROW


def load(at: str, part: bool) -> str:
    """A vector of a row, of which `wide` numbers count."""
    return f"rn_load_part({at}, wide)" if part else f"rn_load({at})"


def store(at: str, value: str, part: bool) -> str:
    return f"rn_store_part({at}, {value}, wide);" if part else f"rn_store({at}, {value});"


def answer(name: str, matrix: str, vector: str, turned: bool, part: bool) -> Answer:
    """`matrix`: the numbers at hand; `vector`: where it begins; `part`: of ragged rows. The order of every sum is
    rn_matvec's."""
    if turned:
        term = store(f"{name} + column", f"{load(f'{name} + column', part)} + {matrix} * {name}_q", part)
        return Answer(name, True, (f"const rn_v {name}_q = rn_all({vector}[row]);",), term)
    matrix = f"rn_only({matrix}, wide)" if part else matrix
    return Answer(name, False, (f"rn_v {name}_sum = {{0}};",),
                  f"{name}_sum += {matrix} * {load(f'{vector} + column', part)};")


class Spread:
    def __init__(self, graph: Graph, kernel: RowKernel, left_out: Callable[[int], bool], in_place: set[int]):
        """`left_out`: whether some rows go without a value, which then is zero and had better stand in memory.
        `in_place`: sizes of matrices that are written where the frame before is read: of ragged ones a row would wait
        for the end of the one before to reach memory (20 x 30: 0.6 instead of 0.3 us a frame)."""
        self.graph, self.in_place = graph, in_place
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
        if columns not in NARROW and not self.by_rows(n):
            return False
        return node.op == "outer" or self.graph[node.args[0].node].shape in ((columns,), (1, columns), (rows, 1))

    def by_rows(self, n: int) -> bool:
        """Whether a loop may go through matrix n row by row."""
        size, columns = self.graph[n].size, self.graph[n].shape[1]
        return columns >= RAGGED and not (ragged(columns) and size in self.in_place)

    def parts(self, n: int) -> tuple[Read | None, Read | None]:
        """What has a number for each row, and what has one for each column."""
        node = self.graph[n]
        if node.op == "outer":
            return node.args
        (read,) = node.args
        return (read, None) if self.graph[read.node].shape == (node.shape[0], 1) else (None, read)

    def answers(self, n: int) -> bool:
        """Whether a product of a matrix and a vector may be formed while its matrix is."""
        node = self.graph[n]
        if node.op != "matmul" or len(node.shape) != 1 or node.args[0].delay:
            return False
        matrix = self.graph[node.args[0].node]
        columns = matrix.shape[1]
        return self.by_rows(node.args[0].node) and self.columns.get(matrix.size, columns) == columns

    def take(self, n: int) -> None:
        """Product n is formed so: from now on loops over as many numbers have the columns of its matrix."""
        matrix = self.graph[self.graph[n].args[0].node]
        self.columns.setdefault(matrix.size, matrix.shape[1])

    def ragged(self, size: int) -> bool:
        """Whether a loop over so many numbers goes row by row, and vectors do not fill a row."""
        return ragged(self.columns.get(size, WHOLE))

    def loop(self, size: int, of_row: list[str], body: list[str], asked: list[Answer]) -> list[str]:
        """A loop over all units, row by row, around the statements of a vector of them; of narrow rows several lie in
        one vector."""
        columns = self.columns[size]
        inner = lambda lines, deep: [f"{'    ' * deep}{line}" for line in lines]
        if columns in NARROW:                  # then nothing is asked
            return [f"for (long u = 0; u < RN_PAD({size}); u += RN_VL) {{", *inner(of_row, 1), *body, "}"]
        body = [*body, *(f"    {a.term}" for a in asked)]
        of_row = [*of_row, *(line for a in asked for line in a.of_row)]
        at = lambda column: [f"    const long {column}u = row * {columns} + column;", *body, "}"]
        if ragged(columns):
            columned = [f"for (long column = 0; column + RN_VL <= {columns}; column += RN_VL) {{",
                        "    enum { wide = RN_VL };", *at(""), f"if ({columns} % RN_VL) {{",
                        f"    enum {{ wide = {columns} % RN_VL }};", *at(f"column = {columns} - wide, ")]
        else:
            columned = [f"for (long column = 0; column < {columns}; column += RN_VL) {{", *at("")]
        whole = [a for a in asked if not a.turned]
        if whole:                              # a sum for each row: the lanes of as many rows are added at once
            rows = size // columns
            high, blank = (f"RN_MIN(RN_VL, {rows} - high)", " = {{0}}") if rows % WHOLE else ("RN_VL", "")
            return [f"for (long high = 0; high < {rows}; high += RN_VL) {{",
                    *inner([f"rn_v {a.name}_sums[RN_VL]{blank};" for a in whole], 1),
                    f"    for (long lane = 0; lane < {high}; lane++) {{", "        const long row = high + lane;",
                    *inner(of_row, 2), *inner(columned, 2),
                    *inner([f"{a.name}_sums[lane] = {a.name}_sum;" for a in whole], 2), "    }",
                    *inner([f"rn_store({a.name} + high, rn_sums_of_lanes({a.name}_sums));" for a in whole], 1), "}"]
        return [f"for (long row = 0; row < {size // columns}; row++) {{", *inner([*of_row, *columned], 1), "}"]

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
            return [], load(f"{start} + column", ragged(columns))
        room = f"RN_MAX({columns}, RN_VL)"
        return [f"RN_ALIGNED real {name}[{room}];",
                f"for (long i = 0; i < {room}; i++) {name}[i] = ({start})[i % {columns}];"
                ], f"rn_load({name} + u % {room})"
