"""From graph to schedule: the passes of the planner in the order they run."""

from dataclasses import replace

from rnnc.graph.blocks import Block, block
from rnnc.graph.chunkwise import chunkwise
from rnnc.graph.loops import loops
from rnnc.graph.nodes import Graph
from rnnc.plan.advance import advance
from rnnc.plan.few import least_streams
from rnnc.plan.guards import masked
from rnnc.plan.phases import Conflict, Slot, in_time_order, needs_meeting, slots
from rnnc.plan.place import place, stage_nodes
from rnnc.plan.recompute import recompute
from rnnc.plan.regroup import compact, regroup
from rnnc.plan.roles import Roles, roles
from rnnc.plan.schedule import Fold, Map, Once, Panel, Phase, RowKernel, Schedule, Spans, Stage, Sweep, UnitKernel
from rnnc.plan.stages import Clusters, Draft, drafts
from rnnc.plan.storage import alike, shorten
from rnnc.plan.waves import steps

VECTORS = 4                                    # a panel is at most this many vectors wide (kernels.md, micro-kernels)
FEW = 112                                      # units that are too few to take several panels of at once
LARGE = 1 << 14                                # numbers of one value that are too many for the stack of a thread


def schedule(graph: Graph, program: str, checked=lambda graph: graph, weights: str = "float32",
             cut: bool = False) -> Schedule:
    """Before: a checked, simplified graph. After: every live frame node has one kernel, view, pointer or sum.
    `checked` is handed the graph after every pass, and hands it on. `weights`: how matrices of products are stored.
    `cut`: its calls may go in segments, which matrices in chunks of whole sequences cannot."""
    for rewrite in (compact, *[chunkwise] * (not cut), masked, advance, regroup, lambda g: recompute(g, loops(g))):
        graph = checked(rewrite(graph))
    if weights != "float32":
        graph = checked(shorten(graph, weights))
    found = loops(graph)
    role = roles(graph, found)
    clusters = drafts(graph, found, role)
    kernels = Kernels(graph, role, clusters)
    stages = tuple(kernels.stage(draft) for draft in clusters.drafts)
    made = Schedule(program, graph, stages, steps(graph, role, stages, stage_nodes), role=role)
    return place(made, role, found)


class Kernels:
    """Turns drafts into stages; numbers the kernels and knows which node is in which."""

    def __init__(self, graph: Graph, role: Roles, clusters: Clusters):
        self.graph, self.role = graph, role
        self.count = 0
        self.ordered: set[Slot] = set()
        self.roots = frozenset(graph.roots())
        self.before = frozenset(n for initial in graph.initials.values() for n in initial.nodes())
        self.asked: dict[int, set[int]] = {}                    # condition -> who is left out by it
        for n in range(len(graph)):
            for read in role.conditions(n):
                self.asked.setdefault(read.node, set()).add(n)
        self.draft_of = {n: i for i, d in enumerate(clusters.drafts) for n in d.nodes}

    def stage(self, draft: Draft) -> Stage:
        order = {n: i for i, n in enumerate(self.graph.order)}
        nodes = sorted(draft.nodes, key=order.__getitem__)
        match draft.kind:
            case "fold":
                return Fold(tuple(nodes), draft.per)
            case "spans":
                return Spans(tuple(nodes))
            case "once":
                made = self.row_kernel(nodes, {n: Slot(0, False, 0, 0) for n in nodes})
                large = [n for n in nodes if self.graph[n].size > LARGE]
                return Once(replace(made, stores=tuple(n for n in nodes if n in {*made.stores, *large})))
            case "rows":
                return Map((self.row_kernel(nodes, {n: Slot(0, False, 0, 0) for n in nodes}),), "", draft.per)
            case "units":
                self.ordered = set()
                placed = {n: Slot(0, True, self.graph[n].size, 0) for n in nodes}
                made = self.unit_kernel(nodes, placed)          # its panels have the guards of the whole kernel
                panels = tuple(replace(panel, guards=()) for panel in made.panels)
                return Map((replace(made, panels=panels, guards=draft.guards),), self._why_map(draft), draft.per)
        return self.sweep(draft, nodes)

    def sweep(self, draft: Draft, nodes: list[int]) -> Sweep:
        loop, graph, role = draft.loop, self.graph, self.role
        wanted = block(graph, loop, offsets=False)
        if wanted.needs_offsets:
            wanted = block(graph, loop)
        single = replace(wanted, frames=1, offsets=wanted.offsets if wanted.needs_offsets else
                         dict.fromkeys(loop.nodes, 0))
        if draft.by_rows or wanted.frames is None:
            wanted = replace(wanted, frames=1)
        try:
            placed = slots(graph, role, nodes, loop.direction, wanted, draft.by_rows)
        except Conflict:
            wanted = single
            placed = slots(graph, role, nodes, loop.direction, wanted, draft.by_rows)
        meets = needs_meeting(graph, role, nodes, placed)
        self.ordered = in_time_order(graph, role, nodes, placed, wanted.frames)
        phases = []
        for number in range(1 + max(s.phase for s in placed.values())):
            groups: dict[Slot, list[int]] = {}
            for n in nodes:
                if placed[n].phase == number:
                    groups.setdefault(placed[n], []).append(n)
            made = [(self.unit_kernel(group, placed) if slot.units else self.row_kernel(group, placed), slot.offset)
                    for slot, group in sorted(groups.items(), key=lambda item: (item[0].offset, not item[0].units,
                                                                                item[0].width))]
            phases.append(Phase(tuple(made)))
        return Sweep(loop.direction, wanted.frames, tuple(phases), meets, self._why_sweep(draft, wanted, meets))

    # -------------------------------------------------------------------------------------------- kernels

    def number(self) -> int:
        self.count += 1
        return self.count - 1

    def row_kernel(self, nodes: list[int], placed: dict[int, Slot]) -> RowKernel:
        stores = tuple(n for n in nodes if self.stored(n, nodes, False))
        return RowKernel(self.number(), tuple(nodes), stores, least_streams(self.graph, nodes, stores, self.role.small))

    def unit_kernel(self, nodes: list[int], placed: dict[int, Slot]) -> UnitKernel:
        gates = tuple(self.role.gates[n] for n in nodes if n in self.role.gates)
        body = tuple(n for n in nodes if n not in self.role.gates)
        width = self.graph[nodes[0]].size
        panels = self.panels(gates)
        widest = max((len(p.gates) for p in panels), default=VECTORS)
        several = width > FEW and widest <= VECTORS // 2 and not any(p.pattern for p in panels)
        spread = VECTORS // widest if several else 1
        stores = tuple(n for n in nodes if self.stored(n, nodes, True))
        return UnitKernel(self.number(), width, gates, panels, spread, body, stores, placed[nodes[0]] in self.ordered)

    def panels(self, gates) -> tuple[Panel, ...]:
        """Products with a common operand and common guards side by side, in groups of at most four."""
        by_operand: dict[tuple, list[tuple[int, object]]] = {}
        made: list[Panel] = []
        for position, gate in enumerate(gates):
            for term in gate.terms:
                if term.pattern is not None:   # has places of its own
                    made.append(Panel(term.operand, term.inner, (position,), ((term.matrix, term.transposed),),
                                      term.pattern, term.guards))
                else:
                    by_operand.setdefault((term.operand, term.guards), []).append((position, term))
        for (operand, guards), pairs in by_operand.items():
            while pairs:                                        # a gate may use one operand twice: next round
                now, later, seen = [], [], set()
                for position, term in pairs:
                    (later if position in seen else now).append((position, term))
                    seen.add(position)
                groups = -(-len(now) // VECTORS)
                for g in range(groups):
                    part = now[len(now) * g // groups: len(now) * (g + 1) // groups]
                    matrices = alike(self.graph, tuple((t.matrix, t.transposed) for _, t in part))
                    made.append(Panel(operand, part[0][1].inner, tuple(p for p, _ in part), matrices, None, guards))
                pairs = later
        return tuple(made)

    def stored(self, number: int, kernel: list[int], units: bool) -> bool:
        """Whether somebody needs this value in memory."""
        if number in self.roots or number in self.graph.state or number in self.before:
            return True
        mine = set(kernel)
        if self.asked.get(number, set()) - mine:
            return True
        pending = [(number, u) for u in self.graph.uses[number]]
        while pending:
            base, (reader, position) = pending.pop()
            if self.graph[reader].args[position].delay:
                return True
            what = self.role[reader]
            if what in ("inner", "fold", "gate", "span") or what == "view" and self.graph[reader].op == "column":
                return True                    # the column of a label is found by what memory has of that
            if what in ("view", "index"):
                if units or self.asked.get(reader, set()) - mine:
                    return True
                pending += [(reader, u) for u in self.graph.uses[reader]]
            elif reader not in mine:
                return True
        return False

    # -------------------------------------------------------------------------------------------- reasons

    def _why_map(self, draft: Draft) -> str:
        return f"products that wait for no loop: all {draft.per}s at once"

    def _why_sweep(self, draft: Draft, wanted: Block, meets: bool) -> str:
        if draft.by_rows:
            return "threads own streams and run all of time without meeting"
        if not meets:
            return "no unit depends on another: threads own units and run all of time without meeting"
        if wanted.frames > 1:
            return f"every cycle through a product spans {wanted.frames} frames or more: that many go together"
        return "each frame needs the one before it"
