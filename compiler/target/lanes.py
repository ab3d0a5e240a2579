"""Numbers and small vectors of many rows as C: a row in every lane.

In: a row kernel whose values have few entries. Out: statements for the rows r, r + 1, ..., `n` of them, at most a
vector; entries.py has those of operators that mix entries. Rows that lie side by side are loaded and stored as vectors,
those of other frames too where no sequence begins or ends in between; what is found row by row (a part of a vector, an
integer) is collected first.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import reduce

from rnnc.graph.nodes import CONSTANT, FRAME, INT, Read
from rnnc.graph.ops import is_elementwise
from rnnc.plan.few import ENTRIES
from rnnc.plan.schedule import RowKernel
from rnnc.target.access import Access, far_inside, times
from rnnc.target.entries import Entries, Maker, declared, renamed
from rnnc.target.expressions import COMPARE, alike, bare, vector
from rnnc.target.names import remark, suffix

SHARED = 8                                     # entries, from which on equations share a loop over them


class Lanes:
    """The statements of a kernel. `pasts`: variables of values that it made itself, some frames before; `one_frame`:
    the rows are streams of one frame, which no ring parts."""

    count, row = "n", "(r + lane)"             # how many rows; the row of a lane

    def __init__(self, access: Access, kernel: RowKernel, pasts: Mapping[Read, str], one_frame: bool):
        self.access, self.kernel, self.graph, self.names = access, kernel, access.graph, access.names
        self.one_frame = one_frame
        self.loaded = dict(pasts)
        self.views: dict[int, Entries] = {}                     # values that only rename entries
        self.constants: dict[str, str] = {}
        self.lines: list[str] = []
        self.wanted: Counter[Read] = Counter()                  # numbers that all views of a value ask for
        for read in {read for n in kernel.body for read in self.graph[n].args}:
            self.wanted[access.based(read)[0]] += self.graph[read.node].size
        self.inside: dict[str, int] = {}                        # frames on either side that some read asks for
        self.whole: dict[str, str] = {}                         # whether no ring comes round within these rows
        self.loops: dict[int, dict[int, str]] = {}              # by entries: equations that wait for others to join
        self.made: set[int] = set()                             # equations that are written, or wait so

    def statements(self) -> list[str]:
        for n in self.kernel.body:
            if n not in self.made:
                self.equation(n)
        for size in [*self.loops]:
            self.loop(size)
        for n in self.kernel.stores:
            self.store(n)
        tests = [far_inside(side, least) for side, least in self.inside.items()]
        rings = [f"const int {name} = {test};" for name, test in self.whole.items()]
        return [f"const int inside = {' && '.join(tests)};"] * bool(tests) + rings + self.lines

    # -------------------------------------------------------------------------------------------- equations

    def equation(self, n: int) -> None:
        node, name = self.graph[n], self.names[n]
        shared = self.shared(n)
        for read in node.args:
            self.settle(read, node.size if shared else 0)
        self.made.add(n)
        if shared:
            value = bare(self.value(n))
            self.loops.setdefault(node.size, {})[n] = value
            return
        if node.kind == INT:
            self.lines += self.integers(n)
        elif is_elementwise(node):
            value = bare(self.value(n))
            self.lines += declared(name, node, lambda u: value)
        elif entries := self.moved(n):
            if n not in self.kernel.stores:
                self.views[n] = entries
                return
            self.lines += declared(name, node, entries)
        else:
            on = self.on(n)
            self.lines += self.mixed(n, f"{name}_all" if on else name)
            if on:
                value = self.vector_of(f"{name}_all", node.shape)
                self.lines += declared(name, node, lambda u: f"rn_where({on}, {value(u)}, rn_all(0))")
        self.lines[-1] += remark(node, name)

    def shared(self, n: int) -> bool:
        node = self.graph[n]
        return is_elementwise(node) and node.kind != INT and bool(node.shape) and node.size >= SHARED

    def waits(self, read: Read) -> list[tuple[int, bool]]:
        """Loops, by entries, that are not written yet and make what a read wants of its own frame: a value itself, or
        what it is part of."""
        wanted = [(r, same) for r, same in ((read, True), (self.access.based(read)[0], False)) if not r.delay]
        return [(size, same) for r, same in wanted for size, group in self.loops.items() if r.node in group]

    def settle(self, read: Read, size: int) -> None:
        """The loop that makes a value comes before what reads it, unless this joins the loop, of so many entries."""
        for other, same in self.waits(read):
            if other in self.loops and not (other == size and same):
                self.loop(other)

    def joins(self, read: Read, size: int) -> bool:
        """Whether a loop of so many entries that is written next may read this: it is in the loop, or there before."""
        there = all(r.delay or r.node not in self.kernel.body or r.node in self.made
                    for r in (read, self.access.based(read)[0]))
        return self.graph[read.node].kind != INT and there and all(
            other == size and same for other, same in self.waits(read))

    def loop(self, size: int) -> None:
        """Equations of as many entries, all that can be made by now: what nothing else reads needs no memory. Of eight
        bodies that attract one another (64 entries, 16 streams) a run takes half the time."""
        group = self.loops[size]
        for n in self.kernel.body:
            if n not in self.made and self.shared(n) and self.graph[n].size == size and all(
                    self.joins(read, size) for read in self.graph[n].args):
                self.equation(n)
        del self.loops[size]
        late = lambda n: n in self.kernel.stores or any(
            reader not in group or self.graph[reader].args[position].delay for reader, position in self.graph.uses[n])
        body = []
        for n, value in group.items():
            name = self.names[n]
            body.append(f"    const rn_v {name}_u = {value};{remark(self.graph[n], name)}")
            if late(n):
                self.lines.append(f"rn_v {name}[{size}];")
                body.append(f"    {name}[u] = {name}_u;")
        self.lines += [f"RN_FOR(u, {size}) {{", *body, "}"]

    def on(self, n: int) -> str:
        """The condition without which a value that mixes entries is zero: what is left out might not be finite, and
        zero times it no zero. Plain equations are so already (plan/guards.py)."""
        held = self.access.role.guards.of(n, self.graph[n].op in ("matmul", "outer"))
        truths = [bare(self.operand(g.condition)) if g.holds else f"rn_not({self.operand(g.condition)})" for g in held
                  if g.condition.node not in self.kernel.body]
        return reduce(lambda a, b: f"rn_and({a}, {b})", truths) if truths else ""

    def value(self, n: int) -> str:
        """Of an equation: its number, or entry u."""
        node = self.graph[n]
        if node.op == "real":
            return self.collected(f"{self.names[n]}_of", f"(real){self.integer(node.args[0], self.row)}")
        if node.op in COMPARE and all(self.graph[read.node].kind == INT for read in node.args):
            left, right = (self.integer(read, self.row) for read in node.args)
            return self.collected(f"{self.names[n]}_of", f"(real)({left} {COMPARE[node.op]} {right})")
        return vector(node.op, [self.entries(read)("u") for read in node.args])

    def moved(self, n: int) -> Entries | None:
        args = self.graph[n].args
        return renamed(self.graph, n, self.entries(args[0])) if args and self.graph[args[0].node].kind != INT else None

    def mixed(self, n: int, name: str) -> list[str]:
        """An operator that mixes entries."""
        node, place = self.graph[n], ""
        reals = [read for read in node.args if self.graph[read.node].kind != INT]
        for read in node.args:
            if self.graph[read.node].kind == INT:
                place = self.collected(f"{name}_of", f"(real){self.integer(read, self.row)}")
        args = [self.entries(read) for read in reals]
        return Maker(self.graph, n, name, args, [self.array(read) for read in reals], place).statements()

    def array(self, read: Read) -> str | None:
        """The array of vectors that a value is, if it is one."""
        node = self.graph[read.node]
        if not node.shape or read.node in self.views or node.domain == CONSTANT:
            return None
        if read.node in self.kernel.body and read.delay == 0:
            return self.names[read.node]
        return self.loaded.get(read)

    # -------------------------------------------------------------------------------------------- whole numbers

    def integers(self, n: int) -> list[str]:
        """A whole number of each row."""
        node, name = self.graph[n], self.names[n]
        if node.op == "argmax":
            first = f"{name}_first"
            return [*Maker(self.graph, n, first, [self.entries(node.args[0])], [self.array(node.args[0])]).statements(),
                    f"RN_SET_INTEGERS({name}, n, (int64_t){first}[lane]);"]
        value = self.access.counted(n, self.row, self.integer, self.truth)
        return [f"RN_SET_INTEGERS({name}, n, {value});"]

    def integer(self, read: Read, row: str) -> str:
        n = read.node
        if n in self.kernel.body and read.delay == 0:
            return f"{self.names[n]}[lane]"
        if self.access.role[n] == "index" and read.delay == 0:
            return self.access.counted(n, row, self.integer, self.truth)
        return self.access.integer(read, row)

    def truth(self, read: Read, row: str) -> str:
        if read.node in self.kernel.body and read.delay == 0:
            return f"({self.names[read.node]}[lane] != 0)"
        return f"(*({self.access.row(read, row)}) != 0)"

    # -------------------------------------------------------------------------------------------- operands

    def entries(self, read: Read) -> Entries:
        """Those of a value, as C of an index; a number is the same for all."""
        n, node = read.node, self.graph[read.node]
        if n in self.kernel.body and read.delay == 0:
            if n in self.views:
                return self.views[n]
            if any(n in group for group in self.loops.values()):
                return lambda u: f"{self.names[n]}_{u}"
            return self.vector_of(self.names[n], node.shape)
        base, start = self.access.based(read)
        if base != read and self.at_hand(base):
            of = self.entries(base)
            if node.size == 1:
                return lambda u: of(str(start))
            return (lambda u: of(f"{start} + {u}")) if start else of
        if not node.shape:
            name = self.operand(read)
            return lambda u: name
        if read not in self.loaded:
            self.load_entries(read)
        name = self.loaded[read]
        if node.domain == CONSTANT:
            return lambda u: f"rn_all({name}[{u}])"
        return self.vector_of(name, node.shape)

    def at_hand(self, base: Read) -> bool:
        """Whether a view is taken of a value made here, or of one that is loaded as a whole: it is there already, or
        views together want most of it."""
        if base.node in self.kernel.body and base.delay == 0 or base in self.loaded:
            return True
        node = self.graph[base.node]
        return node.kind != INT and node.domain != CONSTANT and node.size <= min(ENTRIES, 2 * self.wanted[base])

    def vector_of(self, name: str, shape) -> Entries:
        return (lambda u: f"{name}[{u}]") if shape else lambda u: name

    def operand(self, read: Read) -> str:
        """A number of each row."""
        n, node = read.node, self.graph[read.node]
        if n in self.kernel.body and read.delay == 0:
            return self.names[n]
        if node.op == "number":
            return alike(node)
        if read not in self.loaded:
            name = self.loaded[read] = f"at_{self.names[n]}{suffix(read)}"
            when = self.together(read)
            if node.domain == CONSTANT:
                self.constants[name] = f"const rn_v {name} = rn_all(*({self.access.row(read)}));"
            elif when == "":
                self.lines.append(f"const rn_v {name} = {self.load(n, 0)};")
            else:
                self.lines.append(f"rn_v {name};")
                self.lines += either(when, lambda: f"{name} = {self.load(n, read.delay)};",
                                     self.set(name, f"*({self.access.row(read, self.row)})"))
        return self.loaded[read]

    def load_entries(self, read: Read) -> None:
        """All entries of a vector made elsewhere."""
        n, node = read.node, self.graph[read.node]
        name = self.loaded[read] = f"at_{self.names[n]}{suffix(read)}"
        if node.domain == CONSTANT:
            self.constants[name] = f"const real *const {name} = {self.access.row(read)};"
            return
        base, start = self.access.based(read)
        column = node.op == "column" and self.access.role[n] == "view"
        row = self.access.column(n, self.integer(node.args[1], self.row)) if column else self.access.row(read, self.row)

        def load() -> str:
            place = self.access.at(base.node, moved("r", base.delay)) + f" + {start}" * bool(start)
            return f"rn_load_entries({name}, {node.size}, {place}, {self.access.stride(base.node)}, n);"
        self.lines.append(f"rn_v {name}[{node.size}];")
        self.lines += either(self.together(base), load, f"RN_SET_ENTRIES({name}, {node.size}, n, {row});")

    def together(self, read: Read) -> str | None:
        """When neighbouring rows of a value, as a read sees them, are neighbours in memory, as C. Empty: always; None:
        never. Those of one frame always are; of others the frame has to be of the same sequence, and no ring come round
        between them."""
        n, delay = read.node, read.delay
        if n not in self.access.made.buffers or self.graph[n].domain != FRAME:
            return None
        when = []
        if delay:
            side = "since" if delay > 0 else "left"
            self.access.needs.ahead |= delay < 0
            self.inside[side] = max(self.inside.get(side, 0), abs(delay))
            when.append(self.plain(delay))
        if not (self.one_frame or self.access.straight(n)):
            row, (ring, rows) = moved("r", delay), self.access.kept(n)
            name = f"whole_{ring}{suffix(read)}"
            self.whole[name] = f"{self.access.turned(n, row, self.access.turn(n, row))} + n <= {rows}"
            when.append(name)
        return " && ".join(when)

    def plain(self, delay: int) -> str:
        """When the rows `delay` frames before are all of the same sequence and of this call, as C."""
        return "inside" if delay < 0 else f"inside && r >= {times(delay, 'c->B')}"

    def load(self, n: int, delay: int) -> str:
        """The values of these rows, or those of the frame `delay` before."""
        return f"rn_load_lanes({self.access.at(n, moved('r', delay))}, n)"

    def collected(self, name: str, value: str) -> str:
        """A vector whose lanes are `value`."""
        self.lines += [f"rn_v {name};", self.set(name, value)]
        return name

    def set(self, name: str, value: str) -> str:
        return f"RN_SET_LANES({name}, {self.count}, {value});"

    # -------------------------------------------------------------------------------------------- results

    def store(self, n: int) -> None:
        name, node, size = self.names[n], self.graph[n], self.graph[n].size
        place, at = self.access.at(n, self.row), self.access.at(n, "r")
        if node.kind == INT:
            self.lines.append(f"for (long lane = 0; lane < n; lane++) *({place}) = (int32_t){name}[lane];")
            return
        together = f"rn_store_lanes({at}, {name}, n);"
        apart = f"*({place}) = {name}[lane];"
        if node.shape:
            together = f"rn_store_entries({at}, {size}, {name}, {self.access.stride(n)}, n);"
            apart = f"RN_FOR(u, {size}) ({place})[u] = {name}[u][lane];"
        self.lines += either(self.together(Read(n)), lambda: together, f"for (long lane = 0; lane < n; lane++) {apart}")


def either(when: str | None, then: Callable[[], str], otherwise: str) -> list[str]:
    if not when:
        return [otherwise] if when is None else [then()]
    return [f"if (rn_forget({when})) {then()}", f"else {otherwise}"]


def moved(row: str, delay: int) -> str:
    """The row `delay` frames before, as C."""
    return row if not delay else f"({row} {'-' if delay > 0 else '+'} {times(abs(delay), 'c->B')})"
