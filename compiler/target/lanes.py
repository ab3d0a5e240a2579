"""Scalars of many rows as C: a row in every lane.

In: a row kernel that makes numbers only, one for each row. Out: statements for the rows r, r + 1, ..., `n` of them, at
most a vector. Rows that lie side by side are loaded and stored as vectors, those of other frames too where no sequence
begins or ends in between; what is found row by row (a part of a vector, an integer) is collected first.
"""

from rnnc.graph.nodes import CONSTANT, FRAME, INT, Read
from rnnc.graph.ops import is_elementwise
from rnnc.graph.ops.random import RANDOM
from rnnc.plan.schedule import RowKernel
from rnnc.target.access import Access, times
from rnnc.target.expressions import COMPARE, alike, bare, vector
from rnnc.target.names import remark, suffix


def fit(access: Access, kernel: RowKernel) -> bool:
    """Whether all that a kernel makes are plain equations on numbers of a row. Where one does not count it is computed
    all the same, as other lanes may want it."""
    graph = access.graph

    def plain(n: int) -> bool:
        node = graph[n]
        return node.domain == FRAME and not node.shape and node.kind != INT and is_elementwise(node) \
            and node.op not in RANDOM and all(not graph[read.node].shape for read in node.args)

    parts = {access.base(read.node) for n in kernel.body for read in graph[n].args if read.node not in kernel.body}
    return access.per == FRAME and all(map(plain, kernel.body)) and not parts & {*kernel.body}


class Lanes:
    """The statements of a kernel. `pasts`: variables of values that it made itself, some frames before; `one_frame`:
    the rows are streams of one frame, which no ring parts."""

    count, row = "n", "(r + lane)"             # how many rows; the row of a lane

    def __init__(self, access: Access, kernel: RowKernel, pasts: dict[Read, str], one_frame: bool):
        self.access, self.kernel, self.graph, self.names = access, kernel, access.graph, access.names
        self.one_frame = one_frame
        self.loaded = dict(pasts)
        self.constants: dict[str, str] = {}
        self.lines: list[str] = []
        self.inside: dict[str, int] = {}                        # frames on either side that some read asks for

    def statements(self) -> list[str]:
        for n in self.kernel.body:
            self.equation(n)
        for n in self.kernel.stores:
            self.store(n)
        tests = [f"rn_all_{side}(c->{side} + r, n, c->B, {least})" for side, least in self.inside.items()]
        return [f"const int inside = {' && '.join(tests)};"] * bool(tests) + self.lines

    def equation(self, n: int) -> None:
        node = self.graph[n]
        self.lines.append(f"const rn_v {self.names[n]} = {bare(self.value(n))};{remark(node, self.names[n])}")

    def value(self, n: int) -> str:
        node = self.graph[n]
        integers = all(self.graph[read.node].kind == INT for read in node.args)
        if node.op == "real":
            return self.collected(f"{self.names[n]}_of", f"(real){self.access.integer(node.args[0], self.row)}")
        if node.op in COMPARE and integers:
            left, right = (self.access.integer(read, self.row) for read in node.args)
            return self.collected(f"{self.names[n]}_of", f"(real)({left} {COMPARE[node.op]} {right})")
        return vector(node.op, [self.operand(read) for read in node.args])

    def operand(self, read: Read) -> str:
        n, node = read.node, self.graph[read.node]
        if n in self.kernel.body and read.delay == 0:
            return self.names[n]
        if node.op == "number":
            return alike(node)
        if read not in self.loaded:
            name = self.loaded[read] = f"at_{self.names[n]}{suffix(read)}"
            if node.domain == CONSTANT:
                self.constants[name] = f"const rn_v {name} = rn_all(*({self.access.row(read)}));"
            elif not self.side_by_side(n):
                self.collected(name, f"*({self.access.row(read, self.row)})")
            elif read.delay == 0:
                self.lines.append(f"const rn_v {name} = {self.load(n, 0)};")
            else:
                self.reach(read.delay)
                self.lines += [f"rn_v {name};", f"if ({self.plain(read.delay)}) {name} = {self.load(n, read.delay)};",
                               f"else {self.set(name, f'*({self.access.row(read, self.row)})')}"]
        return self.loaded[read]

    def side_by_side(self, n: int) -> bool:
        """Whether values of neighbouring rows are neighbours in memory; those of one frame always are."""
        stored = n in self.access.made.buffers and self.graph[n].domain == FRAME
        return stored if self.one_frame else self.access.side_by_side(n)

    def reach(self, delay: int) -> None:
        """The frame `delay` before has to be of the same sequence."""
        side = "since" if delay > 0 else "left"
        self.access.needs.ahead |= delay < 0
        self.inside[side] = max(self.inside.get(side, 0), abs(delay))

    def plain(self, delay: int) -> str:
        """When the rows `delay` frames before lie in memory like these, as C."""
        return "inside" if delay < 0 else f"inside && r >= {times(delay, 'c->B')}"

    def load(self, n: int, delay: int) -> str:
        """The values of these rows, or those of the frame `delay` before."""
        return f"rn_load_part({self.access.at(n, moved('r', delay))}, n)"

    def collected(self, name: str, value: str) -> str:
        """A vector whose lanes are `value`."""
        self.lines += [f"rn_v {name};", self.set(name, value)]
        return name

    def set(self, name: str, value: str) -> str:
        return f"RN_SET_LANES({name}, {self.count}, {value});"

    def store(self, n: int) -> None:
        name = self.names[n]
        if self.side_by_side(n):
            self.lines.append(f"rn_store_part({self.access.at(n, 'r')}, {name}, n);")
        else:
            self.lines.append(f"for (long lane = 0; lane < n; lane++) *({self.access.at(n, self.row)}) = {name}[lane];")


def moved(row: str, delay: int) -> str:
    """The row `delay` frames before, as C."""
    return row if not delay else f"({row} {'-' if delay > 0 else '+'} {times(abs(delay), 'c->B')})"
