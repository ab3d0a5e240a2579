"""Which nodes run together: loops become sweeps, everything else joins a neighbour or becomes a map.

In: a graph with roles and loops. Out: drafts of stages in an order that can run: each stage reads only what stands
before it (or itself). The rules, in order:

  * a loop is a stage; so are products of one operand and width that the same loop waits for, side by side (input
    products leave their loops here);
  * an elementwise value that a loop wants, and nothing before it, moves into that loop's step;
  * a cheap value of kept ones goes where it is read;
  * otherwise it joins the stage that makes its latest argument, if it can be computed in the same registers;
  * otherwise it goes to a map whose threads own rows, together with its neighbours;
  * what is made of all frames of a sequence waits for a stage of its own, and what is made of that keeps to maps whose
    rows are sequences;
  * sums over frames come behind the loop that they wait for.
"""

from dataclasses import dataclass, field

from rnnc.graph.loops import Loop, Loops
from rnnc.graph.nodes import CONSTANT, FRAME, SEQUENCE, Graph, Read
from rnnc.plan.few import few
from rnnc.plan.order import visits
from rnnc.plan.phases import sources
from rnnc.plan.recompute import costs
from rnnc.plan.roles import Roles, spreads
from rnnc.plan.schedule import Guard

SPREAD = 1024                                  # numbers of a matrix, at most, for whose rows a loop goes row by row


@dataclass
class Draft:
    """A stage being filled. `kind`: units, rows, sweep, spans, fold, once. `per`: what a row of it is, a frame or a
    sequence."""

    kind: str
    nodes: list[int] = field(default_factory=list)
    width: int = 0
    operand: Read | None = None
    guards: tuple[Guard, ...] = ()             # of products outside loops: without which a row is left out
    loop: Loop | None = None
    by_rows: bool = False                      # a sweep whose threads own streams
    per: str = FRAME


class Clusters:
    """The state of one run of `drafts`: who is where so far."""

    def __init__(self, graph: Graph, found: Loops, role: Roles):
        self.graph, self.found, self.role = graph, found, role
        self.drafts: list[Draft] = []
        self.stage: dict[int, int] = {}
        self.loop = -1                                          # the stage of the loop that was placed last
        self.roots = frozenset(graph.roots())
        self.feeds = _feeds_a_frame(graph)
        self.follows = self._followers()
        self.sunk = self._sinks()
        self.lazy = self._lazy()

    # -------------------------------------------------------------------------------------------- questions

    def by_rows(self, loop: Loop) -> bool:
        """Threads own streams, unless products or plain elementwise vectors make it better that they own units; or
        matrices that nothing is asked."""
        if loop in self.role.small:
            return True
        if any(self.role[n] in ("gate", "inner") for n in loop.nodes):
            return False
        sizes = {self.graph[n].size for n in loop.nodes}
        plain = len(sizes) == 1 and all(self.role[n] == "unit" for n in loop.nodes)
        return not plain or any(self._asked(n) for n in loop.nodes) or self._spread_over(loop)

    def _asked(self, n: int) -> bool:
        """A matrix that a product reads in its frame: answered in the loop's step, it need not be stored."""
        return len(self.graph[n].shape) == 2 and any(
            self.graph[reader].op == "matmul" and not self.graph[reader].args[position].delay
            for reader, position in self.graph.uses[n])

    def _spread_over(self, loop: Loop) -> bool:
        """Small matrices of which each row or column is driven by one number, where no gradient wants them afterwards:
        row by row nothing passes through memory, neither what is spread nor what is summed up behind. A run of 32 x 16
        complex states (S4D), one stream, takes 0.74 of the time; but with its gradient 1.15."""
        graph = self.graph
        sizes = {graph[n].size for n in loop.nodes}
        if graph.gradients or graph.input_gradients or max(sizes) > SPREAD:
            return False
        near = {read.node for n in loop.nodes for read in graph[n].args}
        near |= {read.node for n in near for read in graph[n].args}
        return any(spreads(graph, n) and graph[n].size in sizes for n in near - loop.members)

    def reads(self, number: int) -> list[Read]:
        """What has to be there before `number`, and what that is before a start."""
        found = self.role.reads(self.graph, number)
        return found + [Read(m) for read in found for m in self.graph.before(read)]

    def ready(self, number: int) -> int:
        """The stage after which a value can be read; -1: from the start."""
        seen: dict[int, int] = {}
        stack = [number]
        while stack:
            n = stack[-1]
            if n in seen:
                stack.pop()
            elif n in self.stage:
                seen[n] = self.stage[n]
            elif self.role[n] in ("leaf", "early"):
                seen[n] = -1
            else:
                missing = [r.node for r in self.reads(n) if r.node not in seen]
                if missing:
                    stack += missing
                else:
                    seen[n] = max((seen[r.node] for r in self.reads(n)), default=-1)
        return seen[number]

    def after(self, number: int) -> int:
        return max((self.ready(r.node) for r in self.reads(number)), default=-1)

    def _sinks(self) -> dict[int, Loop]:
        """Elementwise values outside loops that a loop reads at its own frame and width, if everybody else who reads
        them comes later (sums over frames, later loops): they are computed in its step, where what they are made of
        is read anyway."""
        sunk: dict[int, Loop] = {}
        graph, found, role = self.graph, self.found, self.role
        place = {loop.nodes: i for i, loop in enumerate(found.loops)}
        for n in reversed(graph.order):
            if n in found.loop or n in self.roots or n in graph.initials or not graph.uses[n] \
                    or graph[n].domain != FRAME:
                continue
            if loop := self._spread_in(n, sunk):
                sunk[n] = loop
            if role[n] != "unit":
                continue
            direct, others = {}, []
            for reader, position in graph.uses[n]:
                loop = found.loop.get(reader, sunk.get(reader))
                if loop is None:
                    others.append(reader)
                elif graph[reader].args[position].delay or role[reader] != "unit" \
                        or self.by_rows(loop) and not self._spread_over(loop) or graph[reader].size != graph[n].size:
                    direct = {}
                    break
                else:
                    direct[place[loop.nodes]] = loop
            if direct and all(role[r] == "fold" and not self.feeds[r] or self.follows[r] for r in others):
                sunk[n] = direct[min(direct)]
        return sunk

    def _spread_in(self, n: int, sunk: dict[int, Loop]) -> Loop | None:
        """The loop that alone reads a matrix made of two vectors or of one, if its threads own streams: there it needs
        no memory, and outside one matrix for every frame."""
        loops = {self.found.loop.get(reader, sunk.get(reader)) for reader, _ in self.graph.uses[n]}
        loop = loops.pop() if len(loops) == 1 and spreads(self.graph, n) else None
        return loop if loop is not None and self.by_rows(loop) else None

    def _followers(self) -> list[bool]:
        """Values outside loops that nothing but the last sums over frames waits for."""
        graph, role = self.graph, self.role
        follows = [False] * len(graph)
        for n in reversed(graph.order):
            follows[n] = (role[n] in ("unit", "row") and n not in self.found.loop and n not in self.roots
                          and n not in graph.initials and bool(graph.uses[n])
                          and all(role[r] == "fold" and not self.feeds[r] or follows[r] for r, _ in graph.uses[n]))
        return follows

    def _lazy(self) -> set[int]:
        """Cheap values of kept ones with one reader: they are made where they are read."""
        graph, role = self.graph, self.role
        cost = costs(graph, self.found)
        found = set()
        for n, uses in enumerate(graph.uses):
            if cost[n] is None or role[n] != "unit" or n in self.found.loop or n in self.sunk or len(uses) != 1:
                continue
            reader, position = uses[0]
            near = graph[reader].args[position].delay == 0 and reader not in self.found.loop
            if near and (role[reader] == "row" or role[reader] == "unit" and graph[reader].size == graph[n].size):
                found.add(n)
        return found

    # -------------------------------------------------------------------------------------------- placing

    def put(self, number: int, stage: int) -> None:
        self.drafts[stage].nodes.append(number)
        self.stage[number] = stage

    def new(self, draft: Draft) -> int:
        self.drafts.append(draft)
        return len(self.drafts) - 1

    def can_join(self, number: int, stage: int) -> bool:
        """May an elementwise vector or a row node be computed where its latest argument is?"""
        draft, graph = self.drafts[stage], self.graph
        if draft.per != graph[number].domain or not self.role.picked.get(number, frozenset()) >= {*draft.guards}:
            return False
        here = [s for s in sources(graph, self.role, number) if self.stage.get(s.node) == stage]
        if draft.kind == "rows":
            return all(s.delay == 0 for s in here)
        if draft.kind == "sweep" and draft.by_rows:
            if draft.loop in self.role.small and not few(graph, [*draft.nodes, number]):
                return False
            return all(s.delay * draft.loop.direction >= 0 for s in here)
        if self.role[number] != "unit":
            return False
        same = all(self.role[s.node] in ("unit", "gate") and not s.moved and graph[s.node].size == graph[number].size
                   for s in here)
        if draft.kind == "units":
            return same and draft.width == graph[number].size and all(s.delay == 0 for s in here)
        if draft.kind == "sweep":
            return same and all(s.delay * draft.loop.direction >= 0 for s in here)
        return False

    def place(self, number: int, eager: bool = False) -> None:
        """A node outside every loop; one that waits for its reader or for a loop only if `eager`."""
        if number in self.stage or not eager and (number in self.lazy or number in self.sunk):
            if number in self.sunk:
                self.beside_products(number)
            return
        self.place_conditions(number)
        stage = self.target(number)
        waiting = [r.node for r in self.reads(number) if r.node in self.lazy and r.node not in self.stage]
        for n in waiting:
            if stage is not None and not self.can_pull(n, stage):
                self.place(n, eager=True)
                return self.place(number, eager)
        if stage is None:
            stage = self.new(self.fresh(number))
        self.pull(number, stage)

    def place_conditions(self, number: int) -> None:
        """What rows are left out by, and all that it is made of: outside of loops, and it may stand behind `number` in
        the order of the data."""
        waiting, stack = set(), [r.node for r in self.role.conditions(number)]
        while stack:
            n = stack.pop()
            if n not in waiting and n not in self.stage:
                waiting.add(n)
                stack += [r.node for r in self.reads(n)]
        for n in self.graph.order if waiting else ():
            if n in waiting and self.role[n] in ("unit", "row", "gate"):
                self.place(n, eager=True)

    def target(self, number: int) -> int | None:
        """The stage that a value joins; None: a new one."""
        role, graph, after = self.role[number], self.graph, self.after(number)
        last = len(self.drafts) - 1
        match role:
            case "gate":
                fresh = self.fresh(number)
                same = lambda d: (d.kind, d.operand, d.width, d.guards) == ("units", fresh.operand, fresh.width,
                                                                            fresh.guards)
                return next((i for i in range(max(after, self.loop) + 1, last + 1) if same(self.drafts[i])), None)
            case "span":
                return next((i for i in range(after + 1, last + 1) if self.drafts[i].kind == "spans"), None)
            case "fold":
                kin = lambda draft: draft.kind == "fold" and draft.per == rows_of(graph, number)
                return last if last > after and kin(self.drafts[last]) else None
            case "late":
                return last if last >= after and last >= 0 and self.drafts[last].kind == "once" else None
        if after >= 0 and self.can_join(number, after):
            return after
        if graph[number].domain == SEQUENCE:
            rows = (i for i in range(max(after, 0), last + 1) if self.drafts[i].kind == "rows")
            return next((i for i in rows if self.can_join(number, i)), None)
        joins = last >= max(after, 0) and self.drafts[last].kind == "rows" and self.can_join(number, last)
        return last if joins else None

    def fresh(self, number: int) -> Draft:
        """The stage that a value begins when it can join none."""
        role, graph = self.role[number], self.graph
        if role == "gate":
            term = self.role.gates[number].terms[0]
            return Draft("units", width=graph[number].size, operand=term.operand, guards=term.guards,
                         per=graph[number].domain)
        if role == "fold":
            return Draft("fold", per=rows_of(graph, number))
        return Draft({"late": "once", "span": "spans"}.get(role, "rows"), per=graph[number].domain)

    def beside_products(self, number: int) -> None:
        """A value that waits for a loop stays with the products that make it, if nobody else reads these: then it is
        stored in their place."""
        stage = self.after(number)
        if stage < 0 or self.drafts[stage].kind != "units" or not self.can_pull(number, stage):
            return
        here = [r.node for r in self.reads(number) if self.ready(r.node) == stage]
        if all(len(self.graph.uses[n]) == 1 for n in here):
            self.pull(number, stage)

    def can_pull(self, number: int, stage: int) -> bool:
        """As `can_join`, for a value and those of its arguments that were waiting for it."""
        return self.can_join(number, stage) and all(
            self.can_pull(r.node, stage) for r in self.reads(number) if self.waits(r.node))

    def pull(self, number: int, stage: int) -> None:
        """Put a value into a stage with those of its arguments that were waiting for it."""
        for read in self.reads(number):
            if self.waits(read.node):
                self.pull(read.node, stage)
        self.put(number, stage)

    def waits(self, number: int) -> bool:
        return number not in self.stage and (number in self.sunk or number in self.lazy)

    def place_loop(self, loop: Loop) -> None:
        spread = [n for n in self.graph.order if self.sunk.get(n) is loop and self.role[n] == "row"]
        for read in (read for n in spread for read in self.reads(n) if self.waits(read.node)):
            self.place(read.node, eager=True)
        stage = self.loop = self.new(Draft("sweep", loop=loop, by_rows=self.by_rows(loop)))
        mine = [n for n in self.graph.order if n in loop.members or self.sunk.get(n) is loop and n not in self.stage]
        for n in mine:
            self.stage[n] = stage
            if self.role[n] in ("unit", "row", "gate"):
                self.drafts[stage].nodes.append(n)


def rows_of(graph: Graph, fold: int) -> str:
    """What a sum runs over: all frames, or all sequences where none of its arguments changes from frame to frame."""
    per_frame = any(graph[read.node].domain == FRAME for read in graph[fold].args)
    return FRAME if per_frame else SEQUENCE


def drafts(graph: Graph, found: Loops, role: Roles) -> Clusters:
    """Before: roles are set. After: every computed node is in exactly one draft."""
    clusters = Clusters(graph, found, role)
    last = lambda n: clusters.follows[n] or role[n] in ("fold", "late") and not clusters.feeds[n]
    ranks = {"late": None, "fold": 1}
    rank = lambda n: 2 if role[n] == "fold" and rows_of(graph, n) == SEQUENCE else ranks.get(role[n], 0)
    for component in visits(graph, found, clusters.sunk, last, rank):
        first = found.components[component][0]
        if first in found.loop:
            clusters.place_loop(found.loop[first])
        elif role[first] in ("unit", "row", "gate", "span", "fold", "late"):
            clusters.place(first)
    return clusters


def _feeds_a_frame(graph: Graph) -> list[bool]:
    """Whether some frame or sequence waits for this value."""
    feeds = [False] * len(graph)
    for n in reversed(graph.order):
        feeds[n] = any(graph[reader].domain != CONSTANT or feeds[reader] for reader, _ in graph.uses[n])
    return feeds
