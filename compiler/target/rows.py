"""Row kernels as C: any operators at all, one row after another.

In: a `RowKernel`. Out: its `RowView`. Elementwise equations of one size share a loop over units; every other operator
is one call of the fixed C (runtime/rows.h, axes.h). Scalars are vectors with all lanes alike; vectors made and used
here live in a small array, those that others read in their own rows.
"""

import re

from rnnc.errors import Broken
from rnnc.graph.nodes import CONSTANT, INT, Read
from rnnc.graph.ops import is_elementwise
from rnnc.graph.ops.random import RANDOM
from rnnc.plan.guards import FUNCTIONS
from rnnc.plan.schedule import Guard, RowKernel
from rnnc.target.access import Access, Guarded
from rnnc.target.alone import Past, alone, kept, numbers
from rnnc.target.expressions import COMPARE, alike, bare, random, vector
from rnnc.target.lanes import Lanes
from rnnc.target.mixing import mixing
from rnnc.target.names import remark, suffix
from rnnc.target.packed import packed
from rnnc.target.spread import Spread, answer, load, store
from rnnc.target.view import AloneView, ProductView, RowView

FEW = 2                                        # streams: rows of a map are not of one frame only


class RowWriter:
    def __init__(self, access: Access, kernel: RowKernel, kind: str = "", way: int = 0):
        """`kind`: that of its stage; `way`: the direction of a loop in which threads do not meet."""
        self.kind = kind
        self.access, self.kernel, self.graph, self.names = access, kernel, access.graph, access.names
        self.target = lambda n: access.constant(n) if self.graph[n].domain == CONSTANT else access.at(n, "r")
        self.stores = set(kernel.stores)
        self.constants: dict[str, str] = {}
        self.scalars: dict[Read, str] = {}
        self.rows: dict[Read, str] = {}                         # where rows begin that loops over units read
        self.guards = Guarded(access, kernel.body)
        in_place = {self.graph[n].size for n in self.stores if self.in_place(n)}
        self.spread = Spread(self.graph, kernel, lambda n: bool(self.held(n)), in_place)
        self.of_row: dict[str, str] = {}                        # numbers of a matrix's row that its loop wants
        self.part = False                                       # whether a vector of the loop may be part of a row
        self.local = {n for n in kernel.body if n not in self.spread.found}
        self.way = way
        self.pasts: dict[Read, str] = {}                        # of scalars made here some frames before: their loads
        access.begin("first", way)
        self.lines: list[str] = []

    def view(self, name: str, title: str, lines: str, stage: int = 0) -> RowView:
        least, lanes = self.kernel.least, None
        if least and self.kind in ("map", "alone"):
            if least <= (1 if self.kind == "alone" else FEW):
                return self.numbers(name, title, lines, stage)
            lanes = self.numbers(f"{name}_lanes", title, lines, stage)
            self.access.begin("first", self.way)
        for group in self.groups():
            if len(group) > 1 or self.graph[group[0]].shape and is_elementwise(self.graph[group[0]]):
                self.loop(group)
            else:
                self.single(group[0])
        text = "\n".join([*self.lines, *self.constants.values()])
        used = lambda line: not (m := re.match(r"const real (\w+_at)\[1\]", line)) or \
            len(re.findall(rf"\b{m[1]}\b", text)) > 1        # a scalar's address, if anything asked for it
        products = tuple(self.product(n, self.on(n)) for n in self.kernel.body if self.graph[n].op == "matmul")
        guards, statements = self.guards.views(), tuple(filter(used, self.lines))
        through = self.alone(statements) if self.way else None
        return RowView(name, title, lines, (*self.access.end(), *self.constants.values()), statements, stage, products,
                       guards, through, instead=lanes, least=least)

    def numbers(self, name: str, title: str, lines: str, stage: int) -> RowView:
        """Of a kernel whose values have few entries: a row in every lane."""
        many = Lanes(self.access, self.kernel, {}, bool(self.way))
        statements = many.statements()
        through, more = numbers(self.access, self.kernel, self.way) if self.way else (None, {})
        constants = many.constants | more
        products = tuple(self.product(n) for n in self.kernel.body if self.graph[n].op == "matmul")
        return RowView(name, title, lines, (*self.access.end(), *constants.values()), tuple(statements), stage,
                       products, alone=through, lanes=True)

    def alone(self, statements: tuple[str, ...]) -> AloneView:
        """How this kernel goes through time by itself."""
        pasts = [Past(read, self.scalars[read], self.names[read.node], "rn_all(*({}))") for read in self.pasts]
        loaded = set(self.pasts.values())
        plain = not self.guards.found and not any(self.graph[n].shape for n in self.kernel.body)
        return alone(self.access, self.way, 1, pasts, [s for s in statements if s not in loaded] if plain else [])

    def product(self, n: int, on: str = "") -> ProductView:
        """A product made row by row, for the counting build."""
        left = self.graph[self.graph[n].args[0].node]
        inner = left.size if len(left.shape) == 1 else left.shape[0 if self.graph[n].attr("ta") else 1]
        return ProductView(self.graph[n].size, inner, on)

    # -------------------------------------------------------------------------------------------- guards

    def held(self, n: int) -> tuple[Guard, ...]:
        """Without which a value is left out, that is, zero. Plain equations cost less than to ask."""
        node = self.graph[n]
        if node.kind == INT or is_elementwise(node) and node.op not in FUNCTIONS:
            return ()
        return self.access.role.guards.of(n, node.op in ("matmul", "outer"))

    def on(self, n: int) -> str:
        """The variable that says whether a value counts in this row; empty where it does in all."""
        return self.guards.on(self.held(n))

    # -------------------------------------------------------------------------------------------- order

    def groups(self) -> list[list[int]]:
        """The body in an order that can be computed, elementwise vectors of one size as long as possible together."""
        waiting = {n: self.inside(n) | self.before(n) for n in self.kernel.body if n in self.local}
        made: set[int] = set()
        out: list[list[int]] = []
        guards = self.looped()
        while waiting:
            ready = [n for n, needs in waiting.items() if needs <= made]
            if not ready:
                raise Broken("a row kernel waits for itself")
            vectors = [n for n in ready if is_elementwise(self.graph[n]) and self.graph[n].shape]
            others = [n for n in ready if n not in vectors]
            if others:
                group = others[:1]
            else:
                size = self.graph[vectors[0]].size
                group, inside = [], set()
                again = True
                while again:
                    again = False
                    for n in list(waiting):
                        node = self.graph[n]
                        if n not in inside and is_elementwise(node) and node.shape and node.size == size \
                                and guards[n] == guards[vectors[0]] \
                                and waiting[n] <= made | inside and self.direct(n, inside):
                            group.append(n)
                            inside.add(n)
                            again = True
                for n in waiting:
                    if self.passing(n, inside, made):
                        self.spread.take(n)
                        group.append(n)
            for n in group:
                made.add(n)
                del waiting[n]
            out.append(group)
        return out

    def passing(self, n: int, group: set[int], made: set[int]) -> bool:
        """Whether a product is formed while the loop of a group makes its matrix: all else is there."""
        if not self.spread.answers(n):
            return False
        matrix, vector = self.graph[n].args
        return matrix.node in group and not any(self.on(m) for m in (n, *group)) and self.through(vector) <= made

    def in_place(self, n: int) -> bool:
        """Whether it may be written where the frame before is read."""
        return n in self.stores and self.graph[n].domain != CONSTANT and self.access.made.buffers[n].ring == 1

    def before(self, n: int) -> set[int]:
        """What reads the frame before in the place that n is written to."""
        if not self.in_place(n):
            return set()
        late = {r for r, i in self.graph.uses[n] if self.graph[r].args[i].delay}
        for r in late & self.spread.found:                      # who reads that reads it
            late |= {reader for reader, _ in self.graph.uses[r]}
        return late & self.local - {n}

    def looped(self) -> dict[int, tuple[Guard, ...]]:
        """Of each vector the guards of the loop over units that it stands in: none, if nothing there is worth it."""
        held = self.access.role.guards
        costly = {self.held(n) for n in self.kernel.body if is_elementwise(self.graph[n])}
        return {n: held.of(n) if held.of(n) in costly else () for n in self.kernel.body}

    def direct(self, n: int, inside: set[int]) -> bool:
        """A loop's values reach its other equations in registers only: not through a view."""
        return all(read.node not in inside or read.delay == 0 for read in self.graph[n].args) and all(
            not (self.behind(read.node) & inside) for read in self.graph[n].args if read.node not in inside)

    def behind(self, n: int) -> set[int]:
        found: set[int] = set()
        stack = [n]
        while stack:
            m = stack.pop()
            if self.access.role[m] in ("view", "index"):
                for read in self.graph[m].args:
                    found.add(read.node)
                    stack.append(read.node)
        return found

    def inside(self, n: int) -> set[int]:
        """What of this kernel must be there before n (its own frame only)."""
        return self.through(*self.graph[n].args)

    def through(self, *reads: Read) -> set[int]:
        """What of this kernel these reads want of their own frame."""
        found: set[int] = set()
        stack = [(read.node, read.delay) for read in reads]
        while stack:
            m, delay = stack.pop()
            if delay:
                continue
            if m in self.local:
                found.add(m)
            elif m in self.spread.found or self.access.role[m] in ("view", "index"):
                stack += [(read.node, read.delay) for read in self.graph[m].args]
        return found

    # -------------------------------------------------------------------------------------------- statements

    def declare(self, n: int) -> None:
        """Memory for a vector made here: its own row if others read it, else an array of the row's."""
        name, node = self.names[n], self.graph[n]
        if n in self.stores:
            self.lines.append(f"real *const {name} = {self.target(n)};")
        else:
            self.lines.append(f"RN_ALIGNED real {name}[RN_PAD({node.size}) + RN_VL];")

    def loop(self, group: list[int]) -> None:
        """One pass over the units for elementwise equations of one size."""
        asked = [n for n in group if self.graph[n].op == "matmul"]
        inside = set(group)
        group = group[:len(group) - len(asked)]
        kept = [n for n in group if n in self.stores or self.read_later(n, inside)]
        for n in [*kept, *asked]:
            self.declare(n)
        size = self.graph[group[0]].size
        mixes = any(read.node in self.spread.found for n in group for read in self.graph[n].args)
        self.part = bool(mixes or asked) and self.spread.ragged(size)
        body = []
        self.of_row = {}
        for n in group:
            value = self.vector(n, "u", inside)
            body.append(f"    const rn_v v_{self.names[n]} = {bare(value)};{remark(self.graph[n], self.names[n])}")
            if n in kept:
                body.append(f"    {store(f'{self.names[n]} + u', f'v_{self.names[n]}', self.part)}")
        on = next((self.on(n) for n in group if self.held(n)), "")
        blank = [f"rn_zero({self.names[n]}, RN_PAD({size}));" for n in kept]
        answers = [answer(self.names[n], f"v_{self.names[self.graph[n].args[0].node]}",
                          self.begins(self.graph[n].args[1]), bool(self.graph[n].attr("ta")), self.part) for n in asked]
        self.lines += [f"rn_zero({a.name}, {self.graph[n].size});" for n, a in zip(asked, answers) if a.turned]
        loop = self.spread.loop(size, [*self.of_row.values()], body, answers) if mixes or asked else \
            [f"for (long u = 0; u < RN_PAD({size}); u += RN_VL) {{", *body, "}"]
        self.lines += self.guarded(on, loop, blank)

    def guarded(self, on: str, lines: list[str], blank: list[str]) -> list[str]:
        """Statements that run where something counts; elsewhere what they make is zero."""
        if not on:
            return lines
        inner = lambda block: [f"    {line}" for line in block]
        return [f"if ({on}) {{", *inner(lines), "} else {", *inner(blank), "}"]

    def vector(self, n: int, unit: str, inside: set[int] = frozenset()) -> str:
        """The value of an elementwise node, from `unit` on."""
        node = self.graph[n]
        if node.op in RANDOM:
            value, key = node.args
            return random(node, [self.operand(value, inside)], self.access.row_key(key.node), unit)
        return vector(node.op, [self.operand(read, inside) for read in node.args])

    def read_later(self, n: int, inside: set[int]) -> bool:
        return any(reader not in inside for reader, _ in self.graph.uses[n])

    def single(self, n: int) -> None:
        node, name = self.graph[n], self.names[n]
        said = remark(node, name)
        if node.kind == INT:
            value = (f"rn_row_argmax({self.pointer(node.args[0])}, {self.graph[node.args[0].node].size})"
                     if node.op == "argmax" and not node.shape else self.integer_value(n))
            self.lines.append(f"const int64_t {name} = {value};{said}")
            if n in self.stores:
                self.lines.append(f"*({self.target(n)}) = (int32_t){name};")
            return
        on = self.on(n)
        if not node.shape:
            value = bare(self.scalar(n))
            if on:
                self.lines += [f"rn_v {name} = {{0}};", f"if ({on}) {name} = {value};{said}", f"RN_PIN({name});"]
            else:
                self.lines.append(f"const rn_v {name} = {value};{said}")
            if n in self.stores:
                self.lines.append(f"*({self.target(n)}) = {name}[0];")
            self.lines.append(f"const real {name}_at[1] = {{{name}[0]}};")
            return
        self.declare(n)
        calls = packed(self.access, n, name, self.pointer)
        if not calls:
            at = [self.pointer(r) if self.graph[r.node].kind != INT else "" for r in node.args]
            calls = [mixing(self.graph, n, name, at, self.integer, self.access.pool.columns)]
        self.lines += self.guarded(on, [*calls[:-1], f"{calls[-1]}{said}"], [f"rn_zero({name}, {node.size});"])

    def integer_value(self, n: int) -> str:
        return self.access.counted(n, "r", self.integer, self.truth)

    # -------------------------------------------------------------------------------------------- operands

    def integer(self, read: Read, r: str = "r") -> str:
        n = read.node
        if n in self.local and read.delay == 0:
            return self.names[n]
        if self.access.role[n] == "index" and self.inside(n):
            return f"({self.integer_value(n)})"
        return self.access.integer(read)

    def truth(self, read: Read, r: str = "r") -> str:
        if read.node in self.local and read.delay == 0:
            return f"({self.names[read.node]}[0] != 0)"
        return self.access.truth(read, "r")

    def operand(self, read: Read, inside: set[int] = frozenset()) -> str:
        """A vector (or a scalar in all lanes) for an elementwise expression."""
        n, node = read.node, self.graph[read.node]
        if n in inside and read.delay == 0:
            return f"v_{self.names[n]}"
        if n in self.spread.found and read.delay == 0:
            return self.spread_value(n)
        if node.op == "number":
            return alike(node)
        if not node.shape or self.access.alone(n):
            if n in self.local and read.delay == 0:
                return self.names[n]
            if read not in self.scalars:
                self.scalars[read] = name = f"at_{self.names[n]}{suffix(read)}"
                text = f"const rn_v {name} = rn_all(*({self.pointer(read)}));"
                if node.domain == CONSTANT:
                    self.constants[name] = text
                else:
                    self.lines.append(text)
                    if kept(self.way, read, self.kernel.body):
                        self.pasts[read] = text
            return self.scalars[read]
        return load(f"{self.begins(read)} + u", self.part)

    def spread_value(self, n: int) -> str:
        """A vector of a matrix that stands nowhere."""
        down, across = self.spread.parts(n)
        name = f"{self.names[n]}_i"
        if down is not None:
            self.of_row[name] = self.spread.down(n, name, self.begins(down))
        along = ""
        if across is not None:
            before, along = self.spread.across(n, f"{self.names[n]}_j", self.begins(across))
            self.lines += [line for line in before if line not in self.lines]
        return f"({name} * {along})" if down is not None and along else along or name

    def begins(self, read: Read) -> str:
        """Where a row begins that a loop over units reads: found once, before it. Compilers must take it that what the
        loop writes moves the rows (256 units, `a + a[t-1] + a[t-2]`: 3 % faster so, `a * a[t-1]` 6 %)."""
        pointer = self.pointer(read)
        if self.graph[read.node].domain == CONSTANT or pointer == self.names[read.node]:
            return pointer
        if read not in self.rows:
            self.rows[read] = f"{self.names[read.node]}{suffix(read)}_row"
            self.lines.append(f"const real *const {self.rows[read]} = {pointer};")
        return self.rows[read]

    def pointer(self, read: Read) -> str:
        """The address of a value at this row."""
        n = read.node
        if n in self.local and read.delay == 0:
            return self.names[n] if self.graph[n].shape else f"{self.names[n]}_at"
        if self.access.role[n] == "view" and self.graph[n].op != "column":
            base, start = self.access.made.views[n]
            inner = self.pointer(Read(base.node, base.delay + read.delay))
            return inner if start == 0 else f"({inner} + {start})"
        return self.access.row(read)

    # -------------------------------------------------------------------------------------------- operators

    def scalar(self, n: int) -> str:
        """The value of a rank-0 real node, in all lanes."""
        node = self.graph[n]
        args = [self.graph[r.node] for r in node.args]
        if node.op == "real":
            return f"rn_all((real){self.integer(node.args[0])})"
        if node.op in COMPARE and all(a.kind == INT for a in args):
            left, right = (self.integer(r) for r in node.args)
            return f"rn_all((real)({left} {COMPARE[node.op]} {right}))"
        if is_elementwise(node):
            value = self.vector(n, "0")
            return f"rn_all({value}[0])" if node.op in RANDOM else value
        size = args[0].size
        first = self.pointer(node.args[0]) if args[0].shape else f"&{self.names[node.args[0].node]}"
        if node.op in ("sum", "max", "min", "logsumexp"):
            return f"rn_all(rn_row_{node.op}({first}, {size}))"
        if node.op in ("take", "surprisal"):
            return f"rn_all(rn_row_{node.op}({first}, {size}, {self.integer(node.args[1])}))"
        if node.op in ("reshape", "slice", "broadcast"):
            start = int(node.attr("low", 0)) if node.op == "slice" else 0
            return f"rn_all(({first})[{start}])"
        raise Broken(f"no C for a scalar {node.op}")
