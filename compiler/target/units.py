"""Unit kernels as C: products into registers, then the equations on vectors of units.

In: a `UnitKernel`. Out: its `UnitView`. A value made in the kernel is a local vector with the signal's name; anything
else is loaded from a row pointer at unit u.
"""

import re

from rnnc.graph.nodes import CONSTANT, Read
from rnnc.graph.ops.random import RANDOM
from rnnc.plan.guards import FUNCTIONS
from rnnc.plan.schedule import Guard, UnitKernel, nodes_of
from rnnc.plan.storage import bytes_of, stored_as
from rnnc.target.access import Access, Guarded
from rnnc.target.alone import Past, alone, kept
from rnnc.target.expressions import alike, bare, random, vector
from rnnc.target.names import remark, suffix
from rnnc.target.pool import FORMS
from rnnc.target.view import AloneView, PanelView, ProductView, RowPointer, UnitView

CACHE = 384 * 1024                             # bytes of panels that share the second-level cache (kernels.md, 1)
NEAR = 32 * 1024                               # bytes of panels behind which the first-level cache holds nothing else
FAR = 1 << 20                                  # bytes of all panels that may come from the third-level cache


def vectors_of(kernel: UnitKernel, gates: int) -> str:
    """Vectors that a product of so many gates makes of a row, as C."""
    return "RN_AT_ONCE" if kernel.spread > 1 else str(gates)


def numbered(lines: list[str]) -> bool:
    """Whether some statement finds its row by its number r; a remark may name a signal r."""
    return any(re.search(r"\br\b", re.sub(r"/\*.*?\*/", "", line)) for line in lines)


class UnitWriter:
    """Writes one kernel; the dictionaries hold what has been declared so far."""

    def __init__(self, access: Access, kernel: UnitKernel, stage: int, backwards: bool, way: int = 0,
                 meets: bool = False):
        """`way`: the direction of a loop in which threads do not meet. `meets`: it is of a loop in which they do."""
        self.access, self.kernel, self.graph = access, kernel, access.graph
        self.names, self.stage, self.backwards = access.names, stage, backwards
        self.width = self.graph[nodes_of(kernel)[0]].size
        self.local = {g.node: self.names[g.node] for g in kernel.gates}      # node -> its value here, as C
        self.made: dict[str, str] = {}                          # expression -> the vector that holds it
        self.loads: dict[str, str] = {}                         # vector read from memory -> its declaration
        self.pointers: dict[Read, RowPointer] = {}
        self.targets: dict[int, RowPointer] = {}
        self.fetched: list[str] = []                            # statements that ask for what is read and written
        self.constants: dict[str, str] = {}
        self.scalars: dict[Read, str] = {}
        self.scalar_lines: list[str] = []
        self.operands: dict[Read, RowPointer] = {}
        self.guards = Guarded(access, kernel.body)
        self.way, self.meets = way, meets
        self.pasts: dict[Read, str] = {}                        # what was made here some frames before: its vector
        access.begin("first", way)
        self.wide = "wide" if kernel.spread > 1 else "1"        # blocks of units that a product takes at once, as C
        self.vectors = sum(p.inner * len(p.gates) for p in kernel.panels if self.plain(p))     # of a block of units
        self.far = not kernel.guards and self.vectors * self.width * 4 >= FAR
        # Several such products, inlined, are most of a kernel: the backward one of an LSTM has 18 KB, with calls 4, and
        # is as fast. Of a run a step may be inlined as a whole.
        self.called = kernel.spread > 1 and len(kernel.panels) > 1 and access.made.program not in ("run", "evaluate")

    def view(self, name: str, title: str, lines: str) -> UnitView:
        kernel = self.kernel
        panels, sums = self.panels()
        sums_of = [self.gate(gate, panels) for gate in range(len(kernel.gates))]
        stores = [gate.node for gate in kernel.gates if gate.node in kernel.stores]
        stores += [n for n in kernel.body if n in kernel.stores]
        values = [line for guards, nodes in self.blocks() for line in self.block(guards, nodes)]
        statements = [*sums_of, *self.loads.values(), *values, *map(self.store, stores)]
        at_once = "" if kernel.spread == 1 else "RN_AT_ONCE" + (f" / {kernel.widest}" if kernel.widest > 1 else "")
        vectors = vectors_of(kernel, kernel.widest)
        bytes_ = max(sum(p.size for p in panels), 1)
        fetched = self.fetched if bytes_ >= NEAR else []
        by_number = numbered([*self.scalar_lines, *statements])
        guards, holds = self.guards.views(), self.access.holds(kernel.guards)
        left = tuple(self.access.at(n, "r") for n in stores) if kernel.guards else ()
        through = self.alone(statements) if self.way else None
        constants = (*self.access.end(), *self.constants.values())
        return UnitView(name, title, lines, self.width, vectors, at_once,
                        max(1, CACHE // bytes_), self.backwards, tuple(panels), tuple(self.operands.values()),
                        tuple(self.pointers.values()), tuple(self.targets.values()), by_number, sums,
                        constants, tuple(self.scalar_lines), tuple(statements), self.stage, self.products(panels),
                        guards, holds, left, tuple(fetched), numbered(fetched), self.asked(panels),
                        self.next(at_once), through)

    def asked(self, panels) -> tuple[str, ...]:
        """Statements that ask for the rows of products where other threads may have made parts of them."""
        inner = {p.rows: p.inner for p in panels}
        return tuple(f"rn_fetch_rows({rows}, to - from, {n});" for rows, n in inner.items() if self.meets)

    def alone(self, statements: list[str]) -> AloneView:
        """How this kernel goes through time by itself."""
        pasts = [Past(read, name, self.local[read.node], "rn_load({})") for read, name in self.pasts.items()]
        pointed = {self.pointers[read] for read in self.pasts}
        loaded = {self.loads[name] for name in self.pasts.values()}
        row = [*(f"const {o.kind} *const {o.name} = {o.address};" for o in self.pointers.values() if o not in pointed),
               *(f"{o.kind} *const {o.name} = {o.address};" for o in self.targets.values()),
               *self.scalar_lines, "const long u = 0;", *(line for line in statements if line not in loaded)]
        plain = not (self.kernel.guards or self.kernel.panels or self.guards.found)
        return alone(self.access, self.way, self.width, pasts, row if plain else [])

    # -------------------------------------------------------------------------------------------- products

    def plain(self, panel) -> bool:
        return panel.pattern is None and not stored_as(self.graph, panel)

    def next(self, at_once: str) -> str:
        """Which panel comes into the second-level cache meanwhile, as C; empty where all are near."""
        size = f"{self.vectors} * RN_BYTES" + (f" * {at_once}" if at_once else "")
        return f"rn_next(part, {'n' if at_once else 'n + q'}, together, products, {size})" if self.far else ""

    def panels(self):
        """Panels with the same gates add into the same buffer of sums."""
        made: list[PanelView] = []
        buffers: dict[tuple[int, ...], str] = {}
        sizes: list[tuple[str, str]] = []
        for panel in self.kernel.panels:
            vectors = vectors_of(self.kernel, len(panel.gates))
            add = int(panel.gates in buffers)
            if not add:
                buffers[panel.gates] = f"sums_{len(buffers)}" if buffers else "sums"
                sizes.append((buffers[panel.gates], vectors))
            if panel.operand not in self.operands:
                rows = f"x_{len(self.operands)}"
                self.operands[panel.operand] = RowPointer(rows, "real", self.access.row(panel.operand))
            call = self.dense(panel) if panel.pattern is None else self.sparse(panel)
            size = panel.inner * len(panel.gates) * self.kernel.spread * 16 * bytes_of(self.graph, panel, 4)
            made.append(PanelView(call, size, panel.inner, vectors, self.operands[panel.operand].name,
                                  buffers[panel.gates], add, self.guards.on(panel.guards)))
        self.buffers = buffers
        return made, tuple(sizes)

    def dense(self, panel) -> str:
        """The call of a product with a packed matrix, up to its rows."""
        at = self.access.pool.panel(self.graph, self.width, panel.inner, panel.matrices)
        form = FORMS[stored_as(self.graph, panel)]
        gates = len(panel.gates)
        function, wide = (form.some, ", wide") if self.kernel.spread > 1 else (form.tile, "")
        asks, further = ("_next", ", next, block - part.b0") if self.far and self.plain(panel) else ("", "")
        if self.called and self.plain(panel):
            asks += "_called"
        size = form.words(panel.inner) if gates == 1 else f"{form.words(panel.inner)} * {gates}"
        return f"{function}{asks}({gates}{wide}{further}, c->packed + {at} + p * ({size} * RN_VL), {panel.inner}"

    def sparse(self, panel) -> str:
        """The call of a sparse product for the units of panel p, up to its rows."""
        (matrix, transposed), = panel.matrices
        at, tables = self.access.pool.sparse(self.graph, matrix, transposed, panel.pattern)
        rows, kept = panel.pattern.stored
        if transposed:
            return f"rn_sparse_turned(c->packed + {at}, {tables}, p * RN_VL, {self.width}, {rows}"
        return f"rn_sparse(c->packed + {at} + p * ({kept} * RN_VL), {tables} + p * RN_VL / RN_BLOCK * {kept}, {kept}"

    def products(self, panels) -> tuple[ProductView, ...]:
        """What the counting build logs: panels that add into one buffer are one product, of a longer inner index."""
        found: dict[tuple[int, str, str], int] = {}
        for gates, buffer in self.buffers.items():
            for panel in panels:
                if panel.sums == buffer:
                    key = len(gates) * self.width, buffer, panel.on
                    found[key] = found.get(key, 0) + panel.inner
        return tuple(ProductView(columns, inner, on) for (columns, _, on), inner in found.items())

    def gate(self, position: int, panels) -> str:
        """A gate's products: its vector of each buffer that holds a part of it."""
        parts = []
        for gates, buffer in self.buffers.items():
            if position in gates:
                inside = place = str(gates.index(position))
                if self.kernel.spread > 1:
                    inside = "q" if len(gates) == 1 else f"q * {len(gates)} + {place}"
                parts.append(f"rn_load({buffer} + (j * {vectors_of(self.kernel, len(gates))} + {inside}) * RN_VL)")
        n = self.kernel.gates[position].node
        return f"const rn_v {self.names[n]} = {' + '.join(parts)};{remark(self.graph[n], self.names[n])}"

    # -------------------------------------------------------------------------------------------- values

    def blocks(self) -> list[tuple[tuple[Guard, ...], list[int]]]:
        """The equations in an order that can be computed, those with the same guards as long as possible together."""
        held = lambda n: tuple(g for g in self.access.role.guards.of(n) if g not in self.kernel.guards)
        costly = {held(n) for n in self.kernel.body if self.graph[n].op in FUNCTIONS}
        if not any(costly):                    # as in most kernels; the body is in such an order already
            return [((), list(self.kernel.body))]
        key = {n: held(n) if held(n) in costly else () for n in self.kernel.body}
        waiting, found = dict.fromkeys(self.kernel.body), []
        while waiting:
            ready = lambda n: all(r.delay or r.node not in waiting for r in self.graph[n].args)
            guards = min((key[n] for n in waiting if ready(n)), key=len)
            found.append((guards, []))
            while more := [n for n in waiting if key[n] == guards and ready(n)]:
                found[-1][1].append(more[0])
                del waiting[more[0]]
        return found

    def block(self, guards: tuple[Guard, ...], nodes: list[int]) -> list[str]:
        """Statements of equations with the same guards: if nothing counts in these rows, their values are zero. The
        compiler sees no more of these than that, or it might fuse an addition behind with a multiplication here where
        it does not elsewhere."""
        lines: list[str] = []
        made = dict(self.made) if guards else self.made
        outside = lambda n: n in self.kernel.stores or self.readers(n, set(nodes)) < self.readers(n)
        shown = [n for n in nodes if guards and outside(n)]
        for n in nodes:
            text = self.value(n)
            if n not in self.kernel.stores and n not in shown and self.graph[n].name is None and self.readers(n) == 1 \
                    and len(text) < 60:
                self.local[n] = text                            # read once: written where it is read
            elif text in made and n not in shown:
                self.local[n] = made[text]                      # the same value stands there already
            else:
                self.local[n] = made[text] = self.names[n]
                kind = "" if n in shown else "const rn_v "
                lines.append(f"{kind}{self.names[n]} = {bare(text)};{remark(self.graph[n], self.names[n])}")
        if not guards:
            return lines
        names = [self.names[n] for n in shown]
        return [*(f"rn_v {name} = {{0}};" for name in names), f"if ({self.guards.on(guards)}) {{",
                *(f"    {line}" for line in lines), "}", *(f"RN_PIN({name});" for name in names)]

    def value(self, n: int) -> str:
        node = self.graph[n]
        if node.op in RANDOM:
            return random(node, [self.operand(node.args[0])], self.key(node.args[1].node), "u")
        return vector(node.op, [self.operand(read) for read in node.args])

    def key(self, n: int) -> str:
        """The key of the row's random numbers, looked up once."""
        node = self.graph[n]
        name = f"{node.attr('per')}_key{suffix(Read(n, node.attr('ago')))}"
        line = f"const uint64_t {name} = {self.access.row_key(n)};"
        if line not in self.scalar_lines:
            self.scalar_lines.append(line)
        return name

    def operand(self, read: Read) -> str:
        n, node = read.node, self.graph[read.node]
        if n in self.local and read.delay == 0:
            return self.local[n]
        if node.op == "number":
            return alike(node)
        if node.domain == CONSTANT:
            address = self.access.constant(n)
            if node.shape:
                return self.load(f"k_{self.names[n]}", f"{address} + u")
            name = f"k_{self.names[n]}"
            self.constants.setdefault(name, f"const rn_v {name} = rn_all(*{address});")
            return name
        if not node.shape or self.access.alone(n):
            if read not in self.scalars:
                self.scalars[read] = name = f"at_{self.names[n]}{suffix(read)}"
                self.scalar_lines.append(f"const rn_v {name} = rn_all(*({self.access.row(read)}));")
            return self.scalars[read]
        if read.delay == 0 and self.access.role[n] != "view" and not self.kept(n):
            return self.load(f"{self.names[n]}_u", f"{self.access.at(n, 'r')} + u", far=True)
        if read not in self.pointers:
            name = f"{self.names[n]}{suffix(read)}"
            if read.delay == 0:
                name = f"{name}_row"
            self.pointers[read] = RowPointer(name, "real", self.access.row(read))
        name = self.pointers[read].name
        if kept(self.way, read, self.kernel.body):
            self.pasts[read] = f"{name}_u"
        return self.load(f"{name}_u", f"{name}[j] + u" if self.kernel.panels else f"{name} + u", far=True)

    def load(self, name: str, address: str, far: bool = False) -> str:
        """A vector from memory, read once however often it is used. `far`: of a row, not of a constant."""
        if far and name not in self.loads:
            self.fetched.append(f"rn_fetch({address}, {self.wide});")
        self.loads.setdefault(name, f"const rn_v {name} = rn_load({address});")
        return name

    def readers(self, n: int, mine: set[int] | None = None) -> int:
        """How often the equations of this kernel, or some of them, read a value."""
        mine = set(self.kernel.body) if mine is None else mine
        return sum(reader in mine for reader, _ in self.graph.uses[n])

    def store(self, n: int) -> str:
        address = self.access.at(n, "r")
        if self.kept(n):
            name = f"{self.names[n]}_row"
            self.targets.setdefault(n, RowPointer(name, "real", address))
            address = f"{name}{'[j]' if self.kernel.panels else ''}"
        self.fetched.append(f"rn_fetch_to({address} + u, {self.wide});")
        return f"rn_store({address} + u, {self.local[n]});"

    def kept(self, n: int) -> bool:
        """Whether only the last frames are in memory: then a row is looked for once, not for every vector of it."""
        return n in self.access.made.buffers and self.access.rings(n)
