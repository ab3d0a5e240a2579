"""Where a value is found, as C: the row of a signal at a frame, now, before or ahead; integers as expressions.

A row r is a frame of a stream; in kernels that go through sequences (`Access.of_sequences`) it is a sequence.

A delayed read is a small C function per signal and delay: across a start it points at the initial value, before the
call at the state, otherwise into the signal's own rows. Kernels take row pointers, so starts need no branch inside
them.
"""

from copy import copy
from dataclasses import dataclass

from rnnc.errors import Broken
from rnnc.graph.nodes import CONSTANT, FRAME, INT, SEQUENCE, Graph, Initial, Read
from rnnc.plan.schedule import Guard, Schedule
from rnnc.target.expressions import COMPARE, integer
from rnnc.target.pool import Pool
from rnnc.target.view import GuardView


def stride(graph: Graph, n: int, padded: bool = True) -> str:
    """Numbers from one row to the next."""
    node = graph[n]
    if not node.shape or node.kind == INT:
        return "1"
    return f"RN_PAD({node.size})" if padded else str(node.size)


def times(count: int, what: str) -> str:
    return what if count == 1 else f"{count} * {what}"


def far_inside(side: str, least: int) -> str:
    """Whether each of the n rows from row r on has so many frames of its sequence before it ("since"), or behind it
    ("left"), as C. Where no stream starts anew inside a call the place of the rows tells: 256 streams of two equations
    of numbers run 2.5 times as fast as when their counters are read."""
    edge = f"r >= {times(least, 'c->B')}" if side == "since" else f"r + n <= (c->T - {least}) * c->B"
    return f"((c->unbroken && {edge}) || rn_all_{side}(c->{side} + r, n, c->B, {least}))"


@dataclass
class Needs:
    """What the addresses of a program take for granted: counters of frames, numbers of sequences."""

    ahead: bool = False                                        # whether anything looks ahead (then `left` is filled)
    spans: bool = False                                        # whether anything has one value per sequence
    widest: int = 1                                            # numbers of the largest row that may be all zeros


class Access:
    """The addresses of one program. Collects the row functions that were asked for."""

    def __init__(self, made: Schedule, names: dict[int, str], pool: Pool):
        self.made, self.graph, self.role, self.names, self.pool = made, made.graph, made.role, names, pool
        self.functions: dict[str, str] = {}
        self.state_entry = {n: i for i, n in enumerate(made.graph.state)}
        self.needs = Needs()
        self.per = FRAME
        self.origin: str | None = None                          # near the rows that the current function works on, as C
        self.way = 0                                            # of one that goes through time itself: its direction
        self.turns: dict[str, str] = {}                         # what it has to know of rings: name -> declaration
        self.moving: dict[str, str] = {}                        # of those that go round with it
        self.moves: dict[str, str] = {}                         # what becomes of these as row `frame` begins a frame

    def begin(self, origin: str, way: int = 0) -> None:
        """From here on addresses are those of one C function, whose rows lie around row `origin`; it goes through time
        in direction `way`, or (0) works on as many rows only as rings hold."""
        self.origin, self.way, self.turns, self.moving, self.moves = origin, way, {}, {}, {}

    def end(self) -> list[str]:
        """The declarations that the addresses since `begin` want at its head."""
        self.origin = None
        return list(self.turns.values())

    def of_sequences(self) -> "Access":
        """The same addresses where a row is a sequence."""
        other = copy(self)
        other.per = SEQUENCE
        self.needs.spans = True
        return other

    # -------------------------------------------------------------------------------------------- addresses

    def field(self, n: int) -> str:
        """The pointer to a signal's first row."""
        return f"c->{self.names[n]}"

    def stride(self, n: int) -> str:
        return stride(self.graph, n, self.made.buffers[n].place != "input")

    def at(self, n: int, row: str) -> str:
        """The address of a stored value at a row of the call."""
        row = self.seat(n, row)
        if self.rings(n):
            row = self.turned(n, row, self.turn(n, row))
        return self.place(n, row)

    def place(self, n: int, row: str) -> str:
        """The address of a row of a buffer. A sum stands in brackets."""
        step = self.stride(n)
        if step == "1":
            return f"{self.field(n)} + {row}" if row != "0" else self.field(n)
        return f"{self.field(n)} + {row} * {step}"

    # -------------------------------------------------------------------------------------------- rings

    def rings(self, n: int) -> bool:
        """Whether only the last frames of a value are in memory."""
        buffer = self.made.buffers[n]
        return buffer.ring is not None or buffer.near is not None

    def kept(self, n: int) -> tuple[str, str]:
        """Of such a value: a name for rings of its length, and that length in rows, as C."""
        buffer = self.made.buffers[n]
        if buffer.ring is not None:
            return f"ring_{buffer.ring}", f"{buffer.ring} * c->B"
        return f"near_{buffer.near}", f"c->near_{buffer.near} * c->B"

    def turn(self, n: int, row: str) -> str:
        """The row at which the ring around `row` begins. One division serves a whole function: a ring holds all rows
        that it works on, and those that these look back or ahead to."""
        name, rows = self.kept(n)
        if self.origin is None:
            return f"rn_ring_begin({row}, {rows})"
        if self.way and self.made.buffers[n].ring is not None:
            start = self.origin if self.way > 0 else f"{self.origin} + rows - c->B"
            self.moving[name] = f"long {name} = rn_ring_begin({start}, {rows});"
            self.moves[name] = f"while (frame >= {name} + {rows}) {name} += {rows};" if self.way > 0 else \
                f"while (frame < {name}) {name} -= {rows};"
        else:
            self.turns[name] = f"const long {name} = rn_ring_begin({self.origin}, {rows});"
        return name

    def straight(self, n: int) -> bool:
        """Whether the rows that a function works on lie in memory one behind the other: no ring comes round in between,
        for it has all rows of the call, or of one chunk, which begins where the ring does."""
        near = self.made.buffers[n].near
        step = self.made.steps[near] if near is not None else None
        return not self.rings(n) or step is not None and not step.margin

    def side_by_side(self, n: int) -> bool:
        """Whether numbers of neighbouring rows are neighbours in memory."""
        return n in self.made.buffers and self.graph[n].domain == FRAME and self.stride(n) == "1" and self.straight(n)

    def turned(self, n: int, row: str, turn: str) -> str:
        """Where in its ring a row is."""
        if self.straight(n):
            return f"({row} - {turn})"
        return f"rn_ring({row} - {turn}, {self.kept(n)[1]})"

    def based(self, read: Read) -> tuple[Read, int]:
        """The value that a view is a part of, and where in it that begins."""
        start = 0
        while read.node in self.made.views:
            base, low = self.made.views[read.node]
            read, start = Read(base.node, base.delay + read.delay), start + low
        return read, start

    def seat(self, n: int, row: str) -> str:
        """The row of a value that row `row` reads: a frame reads that of its sequence."""
        if self.graph[n].domain != SEQUENCE or self.per == SEQUENCE:
            return row
        self.needs.spans = True
        return f"c->sequence[{row}]"

    def alone(self, n: int) -> bool:
        """A part of one number: nothing may be read behind it, where a whole vector would be."""
        return self.role[n] == "view" and self.graph[n].size == 1

    def row(self, read: Read, r: str = "r") -> str:
        """A pointer to the value that `read` sees at row r."""
        n = read.node
        node, what = self.graph[n], self.role[n]
        if node.domain == CONSTANT:
            return self.constant(n)
        if what == "view":
            if node.op == "column":
                return self.column(n, self.integer(node.args[1], r))
            base, start = self.made.views[n]
            inner = self.row(Read(base.node, base.delay + read.delay), r)
            return inner if start == 0 else f"{inner} + {start}"
        if n not in self.made.buffers:
            raise Broken(f"{self.names[n]} ({node.op}) is read from memory but has none")
        if read.delay == 0:
            return self.at(n, r)
        return self.found(n, read.delay, r)

    def column(self, n: int, index: str) -> str:
        """A pointer to the column of a table that a look-up finds."""
        table, (rows, classes) = self.graph[n].args[0].node, self.graph[self.graph[n].args[0].node].shape
        self.needs.widest = max(self.needs.widest, rows)
        at = f"c->packed + {self.pool.lookup(self.graph, table)}"
        return f"rn_lookup({at}, RN_PAD({rows}), {classes}, {index}, c->zeros)"

    def holds(self, guards: tuple[Guard, ...], r: str = "r") -> str:
        """Whether all guards hold at row r, as C."""
        return " && ".join(f"*({self.row(g.condition, r)}) {'!=' if g.holds else '=='} 0" for g in guards)

    def constant(self, n: int) -> str:
        if self.role[n] == "early":
            return f"(c->packed + {self.pool.value(self.graph, n)})"
        return f"c->{self.names[n]}"

    # -------------------------------------------------------------------------------------------- integers

    def integer(self, read: Read, r: str = "r") -> str:
        """An integer value at row r, as an expression of type int64_t."""
        n = read.node
        node, what = self.graph[n], self.role[n]
        if node.op == "number":
            return str(int(node.attr("value")))
        if node.domain == CONSTANT:
            return f"(int64_t)*{self.constant(n)}"              # kept as a number like every constant
        if what == "index":
            if read.delay:
                raise Broken("a delayed integer has no memory")
            return self.counted(n, r, self.integer, self.truth)
        if read.delay == 0:
            return f"(int64_t)*({self.at(n, r)})"
        return f"(int64_t)*{self.found(n, read.delay, r)}"

    def counted(self, n: int, r: str, integer_of, truth_of) -> str:
        """An integer operator written out; `integer_of` and `truth_of` give its arguments."""
        node = self.graph[n]
        if node.op == "frame_index":
            return f"c->since[{r}]"
        if node.op == "frames_left":
            self.needs.ahead = True
            return f"c->left[{r}]"
        if node.op == "row_key":
            return self.row_key(n, r)
        if node.op in ("frames_gone", "span_frames"):
            self.needs.spans = True
            span = f"c->spans[{r if self.per == SEQUENCE else f'c->sequence[{r}]'}]"
            return f"{span}.frames" if node.op == "span_frames" else f"(({r} - {span}.first) / c->B)"
        if node.op == "where":
            choice = [integer_of(arg, r) for arg in node.args[1:]]
            return f"({truth_of(node.args[0], r)} ? {choice[0]} : {choice[1]})"
        return integer(node.op, [integer_of(arg, r) for arg in node.args])

    def row_key(self, n: int, r: str = "r") -> str:
        """The key of a row's random numbers."""
        node = self.graph[n]
        if node.domain == SEQUENCE:                             # that of its first row
            self.needs.spans = True
            return f"c->sequence_keys[c->spans[{self.seat(n, r)}].first]"
        if node.attr("per") == "sequence":
            return f"c->sequence_keys[{r}]"
        ago = node.attr("ago")
        return f"c->frame_keys[{r}]" if not ago else f"c->frame_keys[{r} {'-' if ago > 0 else '+'} {abs(ago)} * c->B]"

    def truth(self, read: Read, r: str) -> str:
        """A condition, for choosing between integers: a stored 0/1, or comparisons of integers."""
        node = self.graph[read.node]
        if read.node in self.made.buffers:
            return f"(*({self.row(read, r)}) != 0)"
        if node.op in COMPARE and all(self.graph[a.node].kind == INT for a in node.args):
            return f"({self.integer(node.args[0], r)} {COMPARE[node.op]} {self.integer(node.args[1], r)})"
        if node.op in ("and", "or"):
            sign = "&&" if node.op == "and" else "||"
            return f"({self.truth(node.args[0], r)} {sign} {self.truth(node.args[1], r)})"
        if node.op == "not":
            return f"!{self.truth(node.args[0], r)}"
        return f"(*({self.row(read, r)}) != 0)"

    # -------------------------------------------------------------------------------------------- delayed rows

    def found(self, n: int, delay: int, r: str) -> str:
        """A pointer to v[t - delay] as row r sees it."""
        more = f", {self.turn(n, r)}" if self.rings(n) else ""
        return f"{self.function(n, delay)}(c, {r}{more})"

    def function(self, n: int, delay: int) -> str:
        """The name of the function that finds v[t - delay]; its text is kept the first time."""
        side = f"before_{delay}" if delay > 0 else f"after_{-delay}"
        name = f"{self.made.program}_{self.names[n]}_{side}"
        self.needs.widest = max(self.needs.widest, self.graph[n].size)
        if name not in self.functions:
            origin, self.origin = self.origin, None             # an initial value is found by itself
            self.functions[name] = self._before(name, n, delay) if delay > 0 else self._after(name, n, -delay)
            self.origin = origin
        return name

    def _initial(self, n: int, counter: str, reach: int, side: int) -> list[str]:
        """Statements returning the initial value of a read `reach` frames away on one side (-1 back, 1 ahead), which
        lies `reach - counter` frames beyond the end: one test for each depth with a value of its own, however long the
        delay."""
        none = "&rn_no_label" if self.graph[n].kind == INT else "c->zeros"
        initial = self.graph.initials.get(n, Initial())
        row = lambda value: none if value is None else self._initial_value(n, value)
        own = {abs(offset): row(value) for offset, value in initial.at if 0 < side * offset <= reach}
        others = row(initial.every) if len(own) < reach else own[1]
        tests = [f"if ({counter} == {reach - depth}) return {value};"
                 for depth, value in sorted(own.items(), reverse=True) if value != others]
        return [*tests, f"return {others};"]

    def _initial_value(self, n: int, value: int) -> str:
        if self.graph[n].kind == INT and self.graph[value].domain == CONSTANT:
            return self.pool.integer_row(int(self.graph[value].attr("value")))
        return self.row(Read(value))

    def _begin(self, name: str, n: int, what: str, count: str, delay: int) -> list[str]:
        """How such a function begins: with the initial value, where too few frames lie on that side. `count`: since
        the first one, or left to the last one."""
        side, reach = (-1 if delay > 0 else 1), abs(delay)
        initial = self._initial(n, count, reach, side)
        turn = ", long turn" if self.rings(n) else ""
        lines = [f"/* {self.graph[n].name or self.names[n]}[t{-delay:+d}]: {what} */",
                 f"RN_INLINE const {self._kind(n)} *{name}(const rn_call *c, long r{turn})", "{"]
        if len(initial) == 1:
            return [*lines, f"    if (c->{count}[r] < {reach}) {initial[0]}"]
        return [*lines, f"    const int64_t {count} = c->{count}[r];", f"    if ({count} < {reach}) {{",
                *(f"        {line}" for line in initial), "    }"]

    def _before(self, name: str, n: int, delay: int) -> str:
        what = "its initial value across a start, the state before the call"
        lines = self._begin(name, n, what, "since", delay)
        shift = times(delay, "c->B")
        if n in self.state_entry:
            depth = self.graph.state[n]
            step = stride(self.graph, n)
            back = times(depth - delay, "c->B")
            place = "r" if depth == delay else f"(r + {back})"
            old = f"c->old_{self.names[n]} + {place}" + ("" if step == "1" else f" * {step}")
            lines.append(f"    if (r < {shift}) return {old};")
        else:
            zero = "&rn_no_label" if self._kind(n) == "int32_t" else "c->zeros"
            lines.append(f"    if (r < {shift}) return {zero};")
        return "\n".join([*lines, f"    return {self._elsewhere(n, f'r - {shift}')};", "}"])

    def _elsewhere(self, n: int, row: str) -> str:
        """The address of a row in a function that is told the turn."""
        return self.place(n, self.turned(n, row, "turn") if self.rings(n) else self.seat(n, f"({row})"))

    def _after(self, name: str, n: int, ahead: int) -> str:
        self.needs.ahead = True
        lines = self._begin(name, n, "its initial value after the last frame", "left", -ahead)
        return "\n".join([*lines, f"    return {self._elsewhere(n, 'r + ' + times(ahead, 'c->B'))};", "}"])

    def _kind(self, n: int) -> str:
        return "int32_t" if self.graph[n].kind == INT else "real"


class Guarded:
    """The guards of one kernel, as variables of its C: one for each set of guards, made when it is first asked for. A
    condition that the kernel itself makes comes too late to be asked."""

    def __init__(self, access: Access, body: tuple[int, ...]):
        self.access, self.body = access, frozenset(body)
        self.found: dict[tuple[Guard, ...], GuardView] = {}

    def on(self, guards: tuple[Guard, ...]) -> str:
        """The variable that says whether what has these guards counts; empty for what has none."""
        guards = tuple(g for g in guards if g.condition.node not in self.body)
        if guards and guards not in self.found:
            self.found[guards] = GuardView(f"on_{len(self.found)}", self.access.holds(guards))
        return self.found[guards].name if guards else ""

    def views(self) -> tuple[GuardView, ...]:
        return tuple(self.found.values())
