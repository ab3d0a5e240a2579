"""Which nodes run together: loops become sweeps, everything else joins a neighbour or becomes a map.

In: a graph with roles and loops. Out: drafts of stages in an order that can run: each stage reads only what stands
before it (or itself). The rules, in order:

  * a loop is a stage; so are products of one operand and width, side by side (input products leave their loops here);
  * an elementwise value that only one loop wants moves into that loop's step: it is never written to memory;
  * otherwise it joins the stage that makes its latest argument, if it can be computed in the same registers;
  * otherwise it goes to a map whose threads own rows, together with its neighbours;
  * sums over frames come last, unless a frame waits for them (the sum of the weights does).
"""

from dataclasses import dataclass, field

from rnnc.graph.loops import Loop, Loops
from rnnc.graph.nodes import FRAME, Graph, Read
from rnnc.plan.phases import sources
from rnnc.plan.roles import Roles


@dataclass
class Draft:
    """A stage being filled. `kind`: units, rows, sweep, fold, once."""

    kind: str
    nodes: list[int] = field(default_factory=list)
    width: int = 0
    operand: Read | None = None
    loop: Loop | None = None
    by_rows: bool = False                      # a sweep whose threads own streams


class Clusters:
    """The state of one run of `drafts`: who is where so far."""

    def __init__(self, graph: Graph, found: Loops, role: Roles):
        self.graph, self.found, self.role = graph, found, role
        self.drafts: list[Draft] = []
        self.stage: dict[int, int] = {}
        self.roots = frozenset(graph.roots())
        self.sunk = self._sinks()

    # -------------------------------------------------------------------------------------------- questions

    def by_rows(self, loop: Loop) -> bool:
        """Threads own streams, unless products or plain elementwise vectors make it better that they own units."""
        if any(self.role[n] in ("gate", "inner") for n in loop.nodes):
            return False
        sizes = {self.graph[n].size for n in loop.nodes}
        return not (len(sizes) == 1 and all(self.role[n] == "unit" for n in loop.nodes))

    def reads(self, number: int) -> list[Read]:
        """What has to be there before `number`: a gate's operands; a node's arguments."""
        if number in self.role.gates:
            return [term.operand for term in self.role.gates[number].terms]
        return list(self.graph[number].args)

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
        """Elementwise values outside loops that exactly one loop reads, at its own frame and width."""
        sunk: dict[int, Loop] = {}
        graph, found, role = self.graph, self.found, self.role
        for n in reversed(graph.order):
            if role[n] != "unit" or n in found.loop or n in self.roots or n in graph.initials or not graph.uses[n]:
                continue
            wanted = set()
            for reader, position in graph.uses[n]:
                read = graph[reader].args[position]
                loop = found.loop.get(reader, sunk.get(reader))
                if loop is None or read.delay or role[reader] != "unit" or graph[reader].size != graph[n].size:
                    wanted = set()
                    break
                wanted.add(loop.nodes)
            if len(wanted) == 1:
                loop = found.loop[next(iter(wanted))[0]]
                if not self.by_rows(loop):
                    sunk[n] = loop
        return sunk

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
        here = [s for s in sources(graph, self.role, number) if self.stage.get(s.node) == stage]
        if draft.kind == "rows":
            return all(s.delay == 0 for s in here)
        if draft.kind == "sweep" and draft.by_rows:
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

    def place(self, number: int) -> None:
        """A node outside every loop."""
        role, graph = self.role[number], self.graph
        stage = self.after(number)
        if role == "gate":
            gate = self.role.gates[number]
            operand, width = gate.terms[0].operand, graph[number].size
            for candidate in range(stage + 1, len(self.drafts)):
                draft = self.drafts[candidate]
                if draft.kind == "units" and draft.operand == operand and draft.width == width:
                    return self.put(number, candidate)
            return self.put(number, self.new(Draft("units", width=width, operand=operand)))
        if role == "fold":
            last = len(self.drafts) - 1
            if last <= stage or self.drafts[last].kind != "fold":
                last = self.new(Draft("fold"))
            return self.put(number, last)
        if role == "late":
            last = len(self.drafts) - 1
            if last < stage or self.drafts[last].kind != "once":
                last = self.new(Draft("once"))
            return self.put(number, last)
        if number in self.sunk:
            here = [r.node for r in self.reads(number) if self.ready(r.node) == stage]
            product = stage >= 0 and self.drafts[stage].kind == "units" and self.can_pull(number, stage)
            if product and all(len(graph.uses[n]) == 1 for n in here):
                self.pull(number, stage)
            return None                                       # otherwise placed with its loop
        if stage >= 0 and self.can_join(number, stage):
            return self.put(number, stage)
        last = len(self.drafts) - 1
        if last < 0 or last < stage or self.drafts[last].kind != "rows" or not self.can_join(number, last):
            last = self.new(Draft("rows"))
        return self.put(number, last)

    def can_pull(self, number: int, stage: int) -> bool:
        """As `can_join`, for a value and those of its arguments that were waiting for a loop."""
        return self.can_join(number, stage) and all(
            self.can_pull(r.node, stage) for r in self.reads(number)
            if r.node in self.sunk and r.node not in self.stage and self.ready(r.node) == stage)

    def pull(self, number: int, stage: int) -> None:
        """Put a value into a stage with those of its arguments that were waiting for a loop."""
        for read in self.reads(number):
            if read.node in self.sunk and read.node not in self.stage:
                self.pull(read.node, stage)
        self.put(number, stage)

    def place_loop(self, loop: Loop) -> None:
        stage = self.new(Draft("sweep", loop=loop, by_rows=self.by_rows(loop)))
        mine = [n for n in self.graph.order if n in loop.members or self.sunk.get(n) is loop and n not in self.stage]
        for n in mine:
            self.stage[n] = stage
            if self.role[n] in ("unit", "row", "gate"):
                self.drafts[stage].nodes.append(n)


def drafts(graph: Graph, found: Loops, role: Roles) -> Clusters:
    """Before: roles are set. After: every computed node is in exactly one draft."""
    feeds = _feeds_a_frame(graph)
    clusters = Clusters(graph, found, role)
    late: list[int] = []
    for members in found.components:
        first = members[0]
        if first in found.loop:
            clusters.place_loop(found.loop[first])
        elif role[first] in ("fold", "late") and not feeds[first]:
            late.append(first)
        elif role[first] in ("unit", "row", "gate", "fold", "late"):
            clusters.place(first)
    for wanted in ("fold", "late"):
        for number in late:
            if role[number] == wanted:
                clusters.place(number)
    return clusters


def _feeds_a_frame(graph: Graph) -> list[bool]:
    """Whether some frame waits for this value."""
    feeds = [False] * len(graph)
    for n in reversed(graph.order):
        feeds[n] = any(graph[reader].domain == FRAME or feeds[reader] for reader, _ in graph.uses[n])
    return feeds
