"""Where values live: the caller's arrays, views of other values, or a slot of the workspace shared by lifetime.

In: a schedule without memory. Out: the same with buffers, slots and views. A buffer's lifetime is the stretch of steps
from its first write to its last read; two buffers share a slot when their stretches do not touch.
"""

from dataclasses import replace

from rnnc.graph.nodes import CONSTANT, INT, Graph
from rnnc.graph.ops import is_elementwise
from rnnc.plan.reads import behind
from rnnc.plan.roles import Roles
from rnnc.plan.schedule import Buffer, Fold, RowKernel, Schedule, Spans, Stage, Sweep, kernels_of, nodes_of

LANES = 16                                     # widest vector a target has, in numbers: what padding is judged by


def place(made: Schedule, role: Roles, found) -> Schedule:
    graph = made.graph
    made = replace(made, views=_views(graph, role))
    stored = {n for kernel in made.kernels() for n in kernel.stores}
    stored |= {n for stage in made.stages if isinstance(stage, Spans) for n in stage.nodes}
    stored -= {n for n in stored if graph[n].domain == CONSTANT}
    first, last = _lifetimes(made, role, stored)
    wanted = {node: name for name, node in reversed(graph.outputs.items())}
    buffers: dict[int, Buffer] = {}
    slots: list[tuple[str, int, int]] = []                     # class, size, last step of the present tenant
    rings = _rings(made, role, stored, found)
    near, margins = _near(made, role, stored - set(rings))
    made = replace(made, steps=tuple(replace(s, margin=margins.get(i, 0)) for i, s in enumerate(made.steps)))
    for n in sorted(stored, key=lambda n: (first[n], n)):
        ring = rings.get(n)
        kind = "ring" if ring is not None else "near" if n in near else slot_class(graph, n)
        slot = None
        if kind not in ("ring", "near") and n not in wanted:
            for i, (k, size, until) in enumerate(slots):
                if k == kind and until < first[n]:
                    slot = i
                    slots[i] = (k, max(size, graph[n].size), last[n])
                    break
        if slot is None:
            slot = len(slots)
            until = len(made.steps) + 1 if kind in ("ring", "near") or n in wanted else last[n]
            slots.append((kind, graph[n].size, until))
        place_ = "output" if n in wanted else "work"
        buffers[n] = Buffer(n, graph[n].name or f"v{n}", place_, slot, ring, near.get(n))
    for n, node in enumerate(graph.nodes):
        if role[n] == "leaf":
            where = "state" if node.op == "carried" else "input"
            if _needs_import(graph, role, made.views, n):
                where = "import"
                slots.append((slot_class(graph, n), node.size, len(made.steps) + 1))
            buffers[n] = Buffer(n, node.name or str(node.attr("name", node.op)), where,
                                len(slots) - 1 if where == "import" else None)
    return replace(made, buffers=buffers, slots=tuple((k, s) for k, s, _ in slots))


def slot_class(graph: Graph, n: int) -> str:
    """What one row of a slot holds: padded vectors, single numbers, or integers."""
    if graph[n].kind == INT:
        return "int"
    return "rows" if graph[n].shape else "scalar"


def _views(graph: Graph, role: Roles):
    """Views: their base and where in it they begin, in numbers. Lookups (`column`) have no base."""
    found = {}
    for n, node in enumerate(graph.nodes):
        if role[n] == "view" and node.op != "column":
            start = 0
            if node.op == "slice":
                base = graph[node.args[0].node]
                start = int(node.attr("low", 0)) * (base.size // base.shape[0])
            found[n] = (node.args[0], start)
    return found


def touched(graph: Graph, role: Roles, number: int) -> set[int]:
    """The values in memory that computing `number` reads, views and integers looked through."""
    found: set[int] = set()
    stack = [number]
    while stack:
        n = stack.pop()
        for read in role.reads(graph, n):
            for m in (read.node, *graph.before(read)):
                if role[m] in ("unit", "row", "gate", "span", "leaf"):
                    found.add(m)
                elif role[m] in ("view", "index", "inner"):
                    stack.append(m)
    return found


def stage_nodes(stage: Stage) -> list[int]:
    if isinstance(stage, (Fold, Spans)):
        return list(stage.nodes)
    return [n for kernel in kernels_of(stage) for n in nodes_of(kernel)]


def _lifetimes(made: Schedule, role: Roles, stored: set[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Of each stored value, the steps in which it is written first and read last. (Stages of one step take turns chunk
    by chunk: their values are all wanted until the step is over.)"""
    graph, end = made.graph, len(made.steps)
    first = dict.fromkeys(stored, end)
    last = dict.fromkeys(stored, -1)
    for number, n_stages in enumerate(step.stages for step in made.steps):
        for n in (n for s in n_stages for n in stage_nodes(made.stages[s])):
            for base in touched(graph, role, n) & stored:
                last[base] = max(last[base], number)
            if n in stored:
                first[n] = min(first[n], number)
                last[n] = max(last[n], number)
    forever = set(graph.state) | set(graph.outputs.values()) | set(graph.input_gradients.values())
    forever |= {read.node for reads in graph.state_gradients.values() for read in reads}
    for n in list(forever):
        forever |= touched(graph, role, n) if role[n] in ("view", "index") else set()
    for n in stored & forever:
        last[n] = end
    return first, last


def _rings(made: Schedule, role: Roles, stored: set[int], found) -> dict[int, int]:
    """Values that only their own loop reads, and never from far: a few frames are kept, a power of two."""
    graph = made.graph
    outside = _outside(graph, role)
    rings = {}
    for stage in made.stages:
        if isinstance(stage, Spans):                            # of a matrix asked in chunks, the last value alone
            rings |= {n: 1 for n in stage.nodes if graph[n].op == "attended"}
        if not isinstance(stage, Sweep):
            continue
        mine = set(stage_nodes(stage))
        spread = max((offset for phase in stage.phases for _, offset in phase.kernels), default=0)
        for n in mine & stored - outside:
            if stage.direction < 0 and n in graph.state:        # the state wants the call's last frames, made first
                continue
            readers = {r for r, _ in graph.uses[n]}
            for r in list(readers):                             # a gate's products, a view's readers
                if role[r] in ("inner", "view", "index"):
                    readers |= _behind(graph, role, r)
            if any(role[r] in ("unit", "row", "gate", "span", "fold") and r not in mine for r in readers):
                continue
            furthest = max([abs(read.delay) for r, _ in graph.uses[n] for read in graph[r].args if read.node == n]
                           + [graph.state.get(n, 0)])
            frames = stage.frames + furthest + spread
            rings[n] = 1 if in_place(graph, stage, role, n) else 1 << (frames - 1).bit_length()
    return rings


def in_place(graph: Graph, stage: Sweep, role: Roles, number: int) -> bool:
    """Whether a matrix may be written where the frame before it stands: made number by number, read a frame later by
    its own row kernel alone, and there by nothing that waits for the new one. Runs of memories of 64 x 64, 16
    streams, take half the memory and up to a quarter less time (Xeon, one thread)."""
    node, late = graph[number], [(r, i) for r, i in graph.uses[number] if graph[r].args[i].delay]
    kernel = next((set(k.body) for phase in stage.phases for k, _ in phase.kernels
                   if isinstance(k, RowKernel) and number in k.body), set())
    if stage.frames > 1 or graph.state.get(number, 1) > 1 or len(node.shape) != 2 or not is_elementwise(node) \
            or any(abs(graph[r].args[i].delay) > 1 or r not in kernel for r, i in late) \
            or any(graph[r].args[i].delay for v in _behind(graph, role, number) if role[v] == "view"
                   for r, i in graph.uses[v]):
        return False
    waits, stack = set(), [number]             # what waits for it in its frame
    while stack:
        n = stack.pop()
        for r, i in graph.uses[n]:
            if not graph[r].args[i].delay and r not in waits:
                waits.add(r)
                stack.append(r)
    return not any(r in waits for r, _ in late)


def _outside(graph: Graph, role: Roles) -> set[int]:
    """Values that are looked at after the last stage, every frame of them."""
    outside = set(graph.outputs.values()) | set(graph.input_gradients.values())
    outside |= {read.node for reads in graph.state_gradients.values() for read in reads}
    for n in list(outside):
        outside |= touched(graph, role, n) if role[n] in ("view", "index") else set()
    return outside


def _near(made: Schedule, role: Roles, stored: set[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Values that only their own step reads: a chunk of them is kept, and as many frames before it as reads look back
    (and the state takes). The step of each such value, and the frames to keep of each step."""
    graph = made.graph
    step_of = {n: i for i, step in enumerate(made.steps) if step.rows for s in step.stages
               for n in stage_nodes(made.stages[s])}
    backwards = {i for i, step in enumerate(made.steps) if step.direction < 0}
    near = {n: step_of[n] for n in stored - _outside(graph, role)       # backwards, the state's frames are made first
            if n in step_of and not (n in graph.state and step_of[n] in backwards)}
    margins: dict[int, int] = {}
    readers = [(n, i) for i, step in enumerate(made.steps) for s in step.stages for n in stage_nodes(made.stages[s])]
    back: dict[int, int] = {n: graph.state.get(n, 0) for n in near}
    for n, step in readers:
        for read in behind(graph, role, n):
            if read.node in near:
                if near[read.node] != step:
                    del near[read.node]
                else:
                    back[read.node] = max(back[read.node], abs(read.delay))
    for n, step in near.items():
        margins[step] = max(margins.get(step, 0), back[n])
    return near, margins


def _behind(graph: Graph, role: Roles, number: int) -> set[int]:
    """Everything that reads through a view, an integer or the inside of a gate."""
    found: set[int] = set()
    stack = [number]
    while stack:
        n = stack.pop()
        for r in _readers(graph, n):
            found.add(r)
            if role[r] in ("inner", "view", "index"):
                stack.append(r)
    return found


def _readers(graph: Graph, number: int) -> set[int]:
    """What may see this very memory: of an initial value also the readers of the signal that it stands for."""
    seen_as = [s for s, initial in graph.initials.items() if number in initial.nodes()]
    return {r for r, _ in graph.uses[number]} | {
        r for s in seen_as for r, position in graph.uses[s] if graph[r].args[position].delay}


def parts_in_vectors(graph: Graph, role: Roles, views: dict, number: int) -> list[tuple[int, int]]:
    """The parts of a value that are read vector by vector: where they begin, and their sizes."""
    found, stack = set(), [(number, 0)]
    while stack:
        n, start = stack.pop()
        for r in _readers(graph, n):
            if r in views:
                stack.append((r, start + views[r][1]))
            elif n != number and graph[n].size > 1 and role[r] in ("unit", "row") and is_elementwise(graph[r]):
                found.add((start, graph[n].size))
    return sorted(found)


def _needs_import(graph: Graph, role: Roles, views: dict, n: int) -> bool:
    """Vector loads want padded rows; flags come as bytes; a seed for the state is spread over the call."""
    node = graph[n]
    if node.op in ("cotangent", "state_cotangent"):
        return True
    info = next((i for i in graph.inputs if node.op == "input" and i.name == node.attr("name")), None)
    if info is not None and info.kind == "flag":
        return True
    if not node.shape or node.kind == INT:
        return False
    if node.size % LANES == 0:                                  # whole vectors, unless a part's last one ends behind it
        return any(start + -(-size // LANES) * LANES > node.size
                   for start, size in parts_in_vectors(graph, role, views, n))
    readers = _readers(graph, n)
    for r in list(readers):
        if role[r] == "view":
            readers |= _behind(graph, role, r)
    return any(role[r] in ("unit", "row") and is_elementwise(graph[r]) for r in readers)
