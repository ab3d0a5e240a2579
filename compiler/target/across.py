"""Loops of numbers that are linear in themselves, as C: time cut into lanes (runtime/scan.h).

In: a kernel of a loop that makes numbers only. Out: statements that do a whole vector of frames of the one stream at
once, a frame in every lane. What a frame reads of earlier ones is found first, for all lanes: each value that is read
so is a linear form in what it was, `rest` and one coefficient for each of the numbers handed on. Then come the
equations as they stand. Vectors of frames in which a sequence begins or ends, or a value is not finite, are left to the
statements for one frame; so the rest of this file need not know of them.
"""

from collections.abc import Mapping

from rnnc.graph.kinds import in_lanes, leading
from rnnc.graph.nodes import Read
from rnnc.plan.schedule import RowKernel
from rnnc.target.access import Access
from rnnc.target.expressions import bare, vector
from rnnc.target.lanes import Lanes

ONE, ZERO = "rn_all(1)", "rn_all(0)"
Slot = tuple[int, int]                         # a value of the loop, so many frames before
Form = dict[Slot | None, str]                  # coefficients as C; None: the rest. What is zero has no entry


class Across(Lanes):
    """`held`: of each value that is handed on the number of frames; `register`: its name of that many frames before."""

    count = "RN_VL"

    def __init__(self, access: Access, kernel: RowKernel, way: int, reads: Mapping[Read, str], held: dict[int, int],
                 register):
        super().__init__(access, kernel, reads, False)
        self.way, self.held, self.register = way, held, register
        self.row = "(r + lane)" if way > 0 else "(r - lane)"
        self.low, self.high = ("r", "r + RN_VL - 1") if way > 0 else ("(r - RN_VL + 1)", "r")  # in memory
        self.slots = [(n, k) for n, frames in held.items() for k in range(1, frames + 1)]
        self.forms: dict[int, Form] = {}
        self.pasts = reads

    def across(self) -> list[str]:
        """[] where the loop is not linear, hands on too much, or reads what a ring parts."""
        reads = [read for n in self.kernel.body for read in self.graph[n].args]
        stored = {self.access.based(read)[0].node for read in reads} & {*self.access.made.buffers} - {*self.kernel.body}
        if not in_lanes(self.graph, self.kernel.body) or not all(map(self.access.straight, stored)):
            return []
        wanted, waiting = leading(self.graph, self.kernel.body, self.held), []
        for n in self.kernel.body:
            if not any(read in self.pasts or read.node in waiting and not read.delay for read in self.graph[n].args):
                self.equation(n)
                continue
            waiting.append(n)
            form = self.form(n) if n in wanted else {}
            if form is None:
                return []
            self.forms[n] = self.named(n, form)
        self.hand_on()
        for n in waiting:
            self.equation(n)
        return [f"if ({self.plain_frames()}) {{", *(f"    {line}" for line in self.lines),
                f"    if (rn_scan_finite({len(self.slots)}, handed)) {{",
                *(f"        {self.store_along(n)}" for n in self.kernel.stores),
                *(f"        {self.register(n, k)} = rn_spread({self.names[n]}, RN_VL - {k});" for n, k in self.slots),
                f"        frame {'+' if self.way > 0 else '-'}= RN_VL - 1;", "        continue;", "    }", "}"]

    def plain_frames(self) -> str:
        """When the next RN_VL frames are there, all of one sequence that reaches as far as they read, as C."""
        reach = max(abs(read.delay) for read in self.pasts)
        back, ahead = self.inside.get("since", 0), self.inside.get("left", 0)
        back, ahead = (max(back, reach), ahead) if self.way > 0 else (back, max(ahead, reach))
        enough = "first + rows - frame >= RN_VL" if self.way > 0 else "frame - first >= RN_VL - 1"
        return " && ".join(["RN_VL > 2", "c->B == 1", enough, f"c->since[{self.high}] >= RN_VL - 1 + {back}",
                            *[f"c->left[{self.high}] >= {ahead}"] * bool(ahead)])

    # -------------------------------------------------------------------------------------------- linear forms

    def form(self, n: int) -> Form | None:
        """A value as a linear form; None if it is not linear."""
        node = self.graph[n]
        args = [self.of(read) for read in node.args]
        free = [not any(arg) and bool(arg) for arg in args]
        of_all = lambda f: {slot: f(*(arg.get(slot) for arg in args)) for slot in {s: 0 for arg in args for s in arg}}
        match node.op:
            case "identity":
                return args[0]
            case "neg":
                return of_all(lambda a: f"(-{a})")
            case "add":
                return of_all(lambda a, b: f"({a} + {b})" if a and b else a or b)
            case "sub":
                return of_all(lambda a, b: f"({a} - {b})" if a and b else a or f"(-{b})")
            case "mul" if any(free):
                scale, other = args if free[0] else args[::-1]
                return {slot: scale[None] if a == ONE else f"({scale[None]} * {a})" for slot, a in other.items()}
            case "div" if free[1]:
                return {slot: f"({a} / {args[1][None]})" for slot, a in args[0].items()}
            case "where" if free[0]:
                chosen = args[0][None]
                slots = {s: 0 for arg in args[1:] for s in arg}
                return {s: vector("where", [chosen, args[1].get(s, ZERO), args[2].get(s, ZERO)]) for s in slots}
        return None

    def of(self, read: Read) -> Form:
        if read in self.pasts:
            return {(read.node, abs(read.delay)): ONE}
        if read.node in self.forms and not read.delay:
            return self.forms[read.node]
        return {None: self.operand(read)}

    def named(self, n: int, form: Form) -> Form:
        """The same with a variable for each coefficient."""
        made = {}
        for slot, value in form.items():
            if value.isidentifier() or value in (ONE, ZERO):
                made[slot] = value
                continue
            of = "rest" if slot is None else f"by_{self.register(*slot)}"
            made[slot] = f"{self.names[n]}_{of}"
            self.lines.append(f"const rn_v {made[slot]} = {bare(value)};")
        return made

    # -------------------------------------------------------------------------------------------- all lanes

    def hand_on(self) -> None:
        """What each lane finds of earlier frames. What was handed on k frames before, k > 1, was k - 1 frames before in
        the frame before."""
        count, rests, rows = len(self.slots), [], []
        for n, k in self.slots:
            form = self.forms[n] if k == 1 else {(n, k - 1): ONE}
            rests.append(form.get(None, ZERO))
            rows.append(", ".join(form.get(slot, ZERO) for slot in self.slots))
        last = ", ".join(f"rn_spread({self.register(*slot)}, 0)" for slot in self.slots)
        self.lines += [f"rn_v handed[{count}] = {{{', '.join(rests)}}};",
                       f"rn_v by[{count * count}] = {{{', '.join(rows)}}};",
                       f"const rn_v last[{count}] = {{{last}}};",
                       f"rn_scan({count}, handed, by, last);"]
        for read, name in self.pasts.items():
            at = self.slots.index((read.node, abs(read.delay)))
            self.lines.append(f"const rn_v {name} = rn_later(handed[{at}], last[{at}], 1);")

    # -------------------------------------------------------------------------------------------- memory

    def plain(self, delay: int) -> str:
        return "1" if delay < 0 else f"{self.low} >= {delay}"

    def load(self, n: int, delay: int) -> str:
        row = self.low if not delay else f"({self.low} {'-' if delay > 0 else '+'} {abs(delay)})"
        return self.along(f"rn_load({self.access.at(n, row)})")

    def along(self, value: str) -> str:
        return value if self.way > 0 else f"rn_back({value})"

    def store_along(self, n: int) -> str:
        """Of a ring of few frames the last ones only. Where a longer one comes round within these frames, each for
        itself."""
        name, access, ring = self.names[n], self.access, self.access.made.buffers[n].ring
        if ring is not None:
            return (f"for (long lane = RN_MAX(0, RN_VL - {ring}); lane < RN_VL; lane++) "
                    f"{access.field(n)}[{self.row} % {ring}] = {name}[lane];")
        store = f"rn_store({access.at(n, self.low)}, {self.along(name)});"
        if access.straight(n):
            return store
        return (f"if ({access.turned(n, self.low, access.turn(n, self.low))} + RN_VL <= {access.kept(n)[1]}) {store} "
                f"else for (long lane = 0; lane < RN_VL; lane++) *({access.at(n, self.row)}) = {name}[lane];")
