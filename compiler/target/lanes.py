"""Scalars of many rows as C: a row in every lane.

In: a row kernel that makes numbers only, one for each row. Out: statements for the rows r, r + 1, ..., `n` of them, at
most a vector. Rows that lie side by side are loaded and stored as vectors; what is found row by row (another frame's,
a part of a vector, an integer) is collected first.
"""

from rnnc.graph.nodes import CONSTANT, FRAME, INT, Read
from rnnc.graph.ops import OPS
from rnnc.graph.ops.random import RANDOM
from rnnc.plan.schedule import RowKernel
from rnnc.target.access import Access
from rnnc.target.expressions import COMPARE, bare, number, vector
from rnnc.target.names import remark, suffix

ROW = "(r + lane)"


def fit(access: Access, kernel: RowKernel) -> bool:
    """Whether all that a kernel makes are plain equations on numbers of a row."""
    graph = access.graph

    def plain(n: int) -> bool:
        node = graph[n]
        return node.domain == FRAME and not node.shape and node.kind != INT and OPS[node.op].family == "elementwise" \
            and node.op not in RANDOM and not access.role.guards.of(n) \
            and all(not graph[read.node].shape for read in node.args)

    return access.per == FRAME and all(map(plain, kernel.body))


class Lanes:
    def __init__(self, access: Access, kernel: RowKernel):
        self.access, self.kernel, self.graph, self.names = access, kernel, access.graph, access.names
        self.loaded: dict[Read, str] = {}
        self.constants: dict[str, str] = {}
        self.lines: list[str] = []

    def statements(self) -> list[str]:
        for n in self.kernel.body:
            node = self.graph[n]
            self.lines.append(f"const rn_v {self.names[n]} = {bare(self.value(n))};{remark(node, self.names[n])}")
        for n in self.kernel.stores:
            self.store(n)
        return self.lines

    def value(self, n: int) -> str:
        node = self.graph[n]
        integers = all(self.graph[read.node].kind == INT for read in node.args)
        if node.op == "real":
            return self.collected(f"{self.names[n]}_of", f"(real){self.access.integer(node.args[0], ROW)}")
        if node.op in COMPARE and integers:
            left, right = (self.access.integer(read, ROW) for read in node.args)
            return self.collected(f"{self.names[n]}_of", f"(real)({left} {COMPARE[node.op]} {right})")
        return vector(node.op, [self.operand(read) for read in node.args])

    def operand(self, read: Read) -> str:
        n, node = read.node, self.graph[read.node]
        if n in self.kernel.body and read.delay == 0:
            return self.names[n]
        if node.op == "number":
            return f"rn_all({number(node.attr('value'))})"
        if read not in self.loaded:
            name = self.loaded[read] = f"at_{self.names[n]}{suffix(read)}"
            if node.domain == CONSTANT:
                self.constants[name] = f"const rn_v {name} = rn_all(*({self.access.row(read)}));"
            elif self.side_by_side(n) and read.delay == 0:
                self.lines.append(f"const rn_v {name} = rn_load_part({self.access.at(n, 'r')}, n);")
            else:
                self.collected(name, f"*({self.access.row(read, ROW)})")
        return self.loaded[read]

    def side_by_side(self, n: int) -> bool:
        """Whether values of neighbouring rows are neighbours in memory."""
        return n in self.access.made.buffers and self.graph[n].domain == FRAME and self.access.straight(n)

    def collected(self, name: str, value: str) -> str:
        """A vector whose lanes are `value`."""
        self.lines.append(f"RN_EACH_LANE({name}, n, {value});")
        return name

    def store(self, n: int) -> None:
        name = self.names[n]
        if self.side_by_side(n):
            self.lines.append(f"rn_store_part({self.access.at(n, 'r')}, {name}, n);")
        else:
            self.lines.append(f"for (long lane = 0; lane < n; lane++) *({self.access.at(n, ROW)}) = {name}[lane];")
