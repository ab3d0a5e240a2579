"""A schedule as text: one paragraph per stage, one line per kernel; memory as a table."""

from rnnc.graph.nodes import SEQUENCE, Graph, Read
from rnnc.plan.place import stage_nodes
from rnnc.plan.schedule import Fold, Map, Once, RowKernel, Schedule, Spans, Sweep, nodes_of
from rnnc.plan.storage import BYTES, PARTS, stored_as


def label(graph: Graph, n: int) -> str:
    return graph[n].name or f"{graph[n].op}#{n}"


def listed(graph: Graph, nodes) -> str:
    return ", ".join(label(graph, n) for n in nodes)


def kernel_line(graph: Graph, kernel) -> list[str]:
    if isinstance(kernel, RowKernel):
        return [f"  rows  k{kernel.number}: {listed(graph, kernel.body)}",
                f"        writes {listed(graph, kernel.stores) or 'nothing'}"]
    lines = [f"  units k{kernel.number}: {kernel.width} units, {len(kernel.gates)} gates: "
             f"{listed(graph, nodes_of(kernel))}"]
    if kernel.guards:
        lines.append(f"        only the rows where {guarded(graph, kernel.guards)}")
    for panel in kernel.panels:
        stored = stored_as(graph, panel)
        delay = f"[t{-panel.operand.delay:+d}]" if panel.operand.delay else ""
        matrices = ", ".join(matrix(graph, m) + ("'" if t else "") for m, t in panel.matrices)
        lines.append(f"        {matrices} @ {label(graph, panel.operand.node)}{delay}: "
                     f"{len(panel.gates)} x {kernel.width} by {panel.inner}" + f", {stored}" * bool(stored)
                     + (f", where {guarded(graph, panel.guards)}" if panel.guards else ""))
    return lines + [f"        writes {listed(graph, kernel.stores) or 'nothing'}"]


def left_out(made: Schedule, number: int) -> list[str]:
    """The values of a loop that count only where some conditions hold, or sums to which only such frames add."""
    graph, stage, groups = made.graph, made.stages[number], {}
    sums = isinstance(stage, Fold)
    for n in stage_nodes(stage):
        if found := made.role.guards.of(n, product=sums):
            groups.setdefault(found, []).append(n)
    return [f"  only where {guarded(graph, found)}: {listed(graph, nodes)}" for found, nodes in groups.items()]


SIGNS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "and": "and", "or": "or", "add": "+",
         "sub": "-", "mul": "*", "div": "/"}


def guarded(graph: Graph, guards) -> str:
    """What must hold where a product counts: `mod(t, 4) == 0 and not slow[t+1]`."""
    return " and ".join(("" if guard.holds else "not ") + condition(graph, guard.condition, guard.holds)
                        for guard in guards)


def condition(graph: Graph, read: Read, whole: bool = False, deep: int = 4) -> str:
    """A number of each frame as it was written, as far as that is short. `whole`: without brackets round it."""
    node, delay = graph[read.node], f"[t{-read.delay:+d}]" if read.delay else ""
    if node.op == "number":
        return f"{node.attr('value'):g}"
    if node.name or not node.args:
        return {"frame_index": "t"}.get(node.op, str(node.name or node.attr("name") or node.op)) + delay
    if deep == 0:
        return "…"
    parts = [condition(graph, arg, deep=deep - 1) for arg in node.args]
    if node.op in SIGNS:
        text = f"{parts[0]} {SIGNS[node.op]} {parts[1]}"
        return text if whole and not delay else f"({text}){delay}"
    return parts[0] if node.op in ("real", "reshape") and not delay else f"{node.op}({', '.join(parts)}){delay}"


def matrix(graph: Graph, n: int) -> str:
    node = graph[n]
    if node.op in BYTES:                       # said once for a panel
        return matrix(graph, node.args[0].node)
    if node.op == "param":
        return str(node.attr("name"))
    if node.op == "scatter":
        return f"sparse {matrix(graph, node.args[0].node)}"
    part = graph[node.args[0].node] if node.op == "reshape" else None
    if part and part.op == "slice" and part.attr("axis") == 0 and part.shape == (1, *node.shape):
        return f"{matrix(graph, part.args[0].node)}[{part.attr('low')}]"           # one of a family
    if node.op in PARTS or node.op == "quantize" and not node.name:
        return f"{node.op} of {matrix(graph, node.args[0].node)}"
    return label(graph, n)


def show(made: Schedule) -> str:
    graph = made.graph
    lines = [f"program {made.program}: {len(made.stages)} stages"]
    for number, stage in enumerate(made.stages):
        match stage:
            case Map(kernels=kernels, why=why, per=per):
                over = " over sequences" if per == SEQUENCE else ""
                lines.append(f"stage {number}: map{over}" + (f": {why}" if why else ""))
                for kernel in kernels:
                    lines += kernel_line(graph, kernel)
            case Sweep(direction=direction, frames=frames, phases=phases, meets=meets, why=why):
                way = "forwards" if direction > 0 else "backwards"
                meetings = f"{len(phases)} meeting{'s' if len(phases) > 1 else ''} a step" if meets else "no meeting"
                lines.append(f"stage {number}: loop {way}, {frames} frame{'s' if frames > 1 else ''} a step, "
                             f"{meetings}: {why}")
                for p, phase in enumerate(phases):
                    if len(phases) > 1:
                        lines.append(f"  phase {p}")
                    for kernel, offset in phase.kernels:
                        lines += kernel_line(graph, kernel)
                        if offset:
                            lines.append(f"        {offset} frames behind")
                lines += left_out(made, number)
            case Spans(nodes=nodes):
                lines.append(f"stage {number}: whole sequences: {listed(graph, nodes)}")
            case Fold(nodes=nodes, per=per):
                lines.append(f"stage {number}: sums over {per}s: {listed(graph, nodes)}")
                lines += left_out(made, number)
            case Once(kernel=kernel):
                lines.append(f"stage {number}: once: {listed(graph, kernel.body)}")
    for step in made.steps:
        if step.rows:
            way = "forwards" if step.direction > 0 else "backwards"
            lines.append(f"together {way}, some {step.rows} rows at a time: stages {', '.join(map(str, step.stages))}")
    return "\n".join(lines) + "\n"


def show_memory(made: Schedule) -> str:
    graph = made.graph
    lines = [f"program {made.program}: {len(made.buffers)} values in {len(made.slots)} slots"]
    for n, buffer in sorted(made.buffers.items()):
        where = f"slot {buffer.slot}" if buffer.slot is not None else "the caller's array"
        ring = f", the last {buffer.ring} frames" if buffer.ring else ""
        if buffer.near is not None:
            ring = f", a chunk and {made.steps[buffer.near].margin} frames"
        lines.append(f"  {label(graph, n):24} {str(list(graph[n].shape)):12} {buffer.place}: {where}{ring}")
    for n, (base, start) in made.views.items():
        delay = f"[t{-base.delay:+d}]" if base.delay else ""
        lines.append(f"  {label(graph, n):24} {str(list(graph[n].shape)):12} part of {label(graph, base.node)}{delay} "
                     f"from {start}")
    return "\n".join(lines) + "\n"
