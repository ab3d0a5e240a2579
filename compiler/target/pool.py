"""Constants of all programs of a model, each once: what `pack` computes and lays out in the packed weights.

In: constant nodes of any program's graph. Out: a graph of constants of its own (`graph`), and the entries of the packed
block: padded values, transposed tables for lookups, panels for products. Two programs that need the same constant
share it, because it is known by what it says, not by its number.
"""

from dataclasses import dataclass, replace

import numpy as np

from rnnc.errors import Broken
from rnnc.graph.nodes import Builder, Graph, Node, Read
from rnnc.graph.ops import is_elementwise
from rnnc.graph.ops.sparse import Pattern


@dataclass(frozen=True)
class View:
    """A matrix inside the caller's flat weights, or inside the packed block: base and strides in numbers."""

    base: str                                  # a C expression of type const real *
    row: int
    column: int


@dataclass(frozen=True)
class Entry:
    """A stretch of the packed block: its name (an enum constant, the offset in numbers) and its size as C."""

    name: str
    size: str
    why: str


@dataclass(frozen=True)
class Form:
    """How panels hold their numbers: what packs them, what multiplies one or some of them, and the room that `inner` of
    a column take, in plain numbers, as C."""

    pack: str
    tile: str
    some: str
    room: str

    def words(self, inner: int) -> str:
        return self.room.format(inner)


FORMS = {"": Form("rn_pack", "rn_tile", "rn_some", "{}"),
         "bfloat16": Form("rn_pack16", "rn_tile16", "rn_some16", "RN_WORDS({})"),
         "int8": Form("rn_pack8", "rn_tile8", "rn_some8", "RN_OCTETS({})")}


class Pool:
    def __init__(self, offsets: dict[str, int]):
        self.builder = Builder()
        self.offsets = offsets                                 # parameter -> place in the flat weights
        self.key: dict[object, int] = {}                       # structure -> pool node
        self.entries: list[Entry] = []
        self.values: dict[int, str] = {}                       # pool node -> entry that holds its padded value
        self.order: list[int] = []                             # pool nodes with values, arguments first
        self.lookups: dict[int, str] = {}
        self.panels: dict[object, str] = {}
        self.packing: list[str] = []                           # C statements that fill panels and lookups
        self.integers: list[int] = []
        self.indices: dict[str, np.ndarray] = {}               # tables of indices by name: where sparse matrices stand
        self.patterns: dict[Pattern, int] = {}
        self.stored: set[str] = set()                          # what else than plain numbers panels hold
        self._known: dict[int, tuple[Graph, dict[int, int]]] = {}

    # -------------------------------------------------------------------------------------------- nodes

    def node(self, graph: Graph, number: int) -> int:
        """The pool's own node for a constant of a program."""
        known = self._known.setdefault(id(graph), (graph, {}))[1]
        stack = [number]
        while stack:
            n = stack[-1]
            if n in known:
                stack.pop()
                continue
            missing = [read.node for read in graph[n].args if read.node not in known]
            if missing:
                stack += missing
                continue
            node = graph[n]
            args = tuple(Read(known[read.node]) for read in node.args)
            data = graph.tables[node.attr("index")].tobytes() if node.op == "table" else None
            key = (node.op, args, node.shape, node.kind, node.attrs if data is None else data)
            if key not in self.key:
                if node.op == "table":
                    attrs = (("index", self.builder.table(graph.tables[node.attr("index")])),)
                    node = replace(node, attrs=attrs)
                self.key[key] = self.builder.add(replace(node, args=args, name=None))
            known[n] = self.key[key]
            stack.pop()
        return known[number]

    def __getitem__(self, n: int) -> Node:
        return self.builder.nodes[n]

    # -------------------------------------------------------------------------------------------- entries

    def value(self, graph: Graph, number: int) -> str:
        """The entry that holds the padded value of a constant."""
        return self.own_value(self.node(graph, number))

    def own_value(self, n: int) -> str:
        stack = [n]
        while stack:
            m = stack[-1]
            literal = is_elementwise(self[m])      # there a number is written into the expression
            missing = [read.node for read in self[m].args if read.node not in self.values
                       and not (literal and self[read.node].op == "number")]
            if m in self.values:
                stack.pop()
            elif missing:
                stack += missing
            else:
                name = f"AT_{self._title(m)}"
                self.entries.append(Entry(name, f"RN_PAD({self[m].size})", self[m].op))
                self.values[m] = name
                self.order.append(m)
                stack.pop()
        return self.values[n]

    def _title(self, n: int) -> str:
        node = self[n]
        if node.op == "bfloat16":
            return self._title(node.args[0].node)
        if node.op == "int8":
            return self._title(self[node.args[0].node].args[0].node)
        if node.op == "param":
            return str(node.attr("name")).replace(".", "_")
        return f"{node.op}_{n}"

    def view(self, n: int) -> View:
        """A constant matrix [rows, columns] as strides over the flat weights; computed ones over the packed block."""
        node = self[n]
        if node.op == "bfloat16":              # rounded on the way into its panel
            return self.view(node.args[0].node)
        if node.op == "int8":                  # so is what is quantised
            return self.view(self[node.args[0].node].args[0].node)
        if node.op == "param":
            offset = self.offsets[node.attr("name")]
            return View(f"w + {offset}", node.shape[-1] if len(node.shape) > 1 else 1, 1)
        if node.op == "transpose":
            inner = self.view(node.args[0].node)
            return View(inner.base, inner.column, inner.row)
        if node.op == "slice" and len(node.shape) == 2:
            inner = self.view(node.args[0].node)
            step = inner.row if node.attr("axis", 0) == 0 else inner.column
            return View(f"{inner.base} + {int(node.attr('low', 0)) * step}", inner.row, inner.column)
        if node.op == "reshape" and len(node.shape) == 2:
            base = self[node.args[0].node]
            if base.op == "slice" and base.attr("axis", 0) == 0 and self[base.args[0].node].op == "param":
                whole = self[base.args[0].node]
                member = whole.size // whole.shape[0]
                start = self.offsets[whole.attr("name")] + int(base.attr("low", 0)) * member
                return View(f"w + {start}", node.shape[1], 1)
            if base.op == "param":
                return View(f"w + {self.offsets[base.attr('name')]}", node.shape[1], 1)
        return View(f"packed + {self.own_value(n)}", node.shape[-1] if len(node.shape) > 1 else 1, 1)

    def lookup(self, graph: Graph, number: int) -> str:
        """The entry of a matrix [n, classes] stored column by column, padded, for `column` reads."""
        n = self.node(graph, number)
        if n not in self.lookups:
            rows, classes = self[n].shape
            name = f"TABLE_{self._title(n)}"
            view = self.view(n)
            self.entries.append(Entry(name, f"{classes} * RN_PAD({rows})", f"columns of {self._title(n)}"))
            self.lookups[n] = name
            self.packing.append(f"rn_pack(packed + {name}, {view.base}, {view.row}, {view.column}, {rows}, {classes}, "
                                f"0, 1, RN_PANELS({rows}), thread, team->threads);")
        return self.lookups[n]

    def panel(self, graph: Graph, width: int, inner: int, matrices) -> str:
        """The entry of one packed matrix: `matrices` [(constant, transposed)] side by side, interleaved by unit."""
        nodes = tuple((self.node(graph, matrix), transposed) for matrix, transposed in matrices)
        key = (width, inner, nodes)
        if key not in self.panels:
            name = f"PANEL_{len(self.panels)}"
            gates, stored = len(nodes), self[nodes[0][0]].op
            form = FORMS.get(stored, FORMS[""])
            self.stored |= {stored} & FORMS.keys()
            size = f"RN_PANELS({width}) * {form.words(inner)} * {gates} * RN_VL"
            titles = ", ".join(self._title(n) + ("'" if transposed else "") for n, transposed in nodes)
            lines = []
            for gate, (n, transposed) in enumerate(nodes):
                view = self.view(n)
                row, column = (view.column, view.row) if transposed else (view.row, view.column)
                lines.append(f"{form.pack}(packed + {name}, {view.base}, {row}, {column}, {width}, {inner}, {gate}, "
                             f"{gates}, 1, thread, team->threads{self.steps(n) if stored == 'int8' else ''});")
            self.entries.append(Entry(name, size, titles + f"; {stored}" * (stored in FORMS)))
            self.packing += lines
            self.panels[key] = name
        return self.panels[key]

    def steps(self, n: int) -> str:
        """The step of a quantised matrix, and how many there may be either way, as further C arguments."""
        _, step, most = (read.node for read in self[self[n].args[0].node].args)
        number = self[step].op == "number"
        size = f"(real){float(self[step].attr('value'))!r}" if number else f"packed[{self.own_value(step)}]"
        return f", {size}, {int(self[most].attr('value'))}"

    def columns(self, pattern: Pattern) -> str:
        """The table of the columns that a pattern keeps, [rows of blocks][kept]."""
        name = f"COLUMNS_{self.patterns.setdefault(pattern, len(self.patterns))}"
        self.indices.setdefault(name, pattern.table.ravel())
        return name

    def sparse(self, graph: Graph, matrix: int, transposed: bool, pattern: Pattern) -> tuple[str, str]:
        """The entry of a packed sparse matrix, and the tables that its kernel reads beside it, as C arguments."""
        stored = self[self.node(graph, matrix)].args[0].node
        columns, title = self.columns(pattern), self._title(stored)
        tables = columns
        if transposed:                                          # blocks in the order of their columns
            at = self.patterns[pattern]
            row, place = np.divmod(np.argsort(pattern.table, axis=None, kind="stable"), pattern.kept)
            begin = np.searchsorted(np.sort(pattern.table, axis=None), np.arange(pattern.columns + 1))
            self.indices |= {f"BEGIN_{at}": begin, f"BLOCKS_{at}": row, f"PLACES_{at}": place}
            tables = f"BEGIN_{at}, BLOCKS_{at}"
        key = (stored, transposed, pattern)
        if key not in self.panels:
            name, view, (rows, kept) = f"PANEL_{len(self.panels)}", self.view(stored), pattern.stored
            count = pattern.blocks * kept
            if transposed:
                size = f"{count} * RN_BLOCK"
                line = (f"if (thread == 0) rn_pack_turned(packed + {name}, {view.base}, {view.row}, {view.column}, "
                        f"{rows}, BLOCKS_{at}, PLACES_{at}, {count});")
            else:
                size = f"RN_PANELS({rows}) * {kept} * RN_VL"
                line = f"rn_pack(packed + {name}, {view.base}, {view.row}, {view.column}, {rows}, {kept}, 0, 1, 1, "
                line += "thread, team->threads);"
            self.entries.append(Entry(name, size, f"{title}{chr(39) * transposed}, {pattern}"))
            self.packing.append(line)
            self.panels[key] = name
        return self.panels[key], tables

    def integer_row(self, value: int) -> str:
        """The address of a constant integer."""
        if value not in self.integers:
            self.integers.append(value)
        return f"&rn_integers[{self.integers.index(value)}]"

    def graph(self) -> Graph:
        if any(node is None for node in self.builder.nodes):
            raise Broken("the constants' graph has holes")
        return self.builder.finish()
