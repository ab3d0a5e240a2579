"""The report of `rnnc explain`: stage by stage what runs and why, then costs, then what threads bring.

In: schedules, a call's shape, threads, a machine. Out: one text. Every number comes from the cost model, every reason
from an analysis; nothing is decided here.
"""

from collections.abc import Iterable

from rnnc.explain.loops import Question, described, members
from rnnc.explain.words import VERBS, amount, at, count, filled, many, matrix, shown, signal, size, time
from rnnc.graph.chunkwise import CHUNKED
from rnnc.graph.loops import Loop, loops
from rnnc.graph.nodes import FRAME
from rnnc.plan.choose import Choice, choose, expected
from rnnc.plan.cost import Cost, chunk_of, cost, least
from rnnc.plan.machine import Machine
from rnnc.plan.place import stage_nodes
from rnnc.plan.schedule import Fold, Map, Once, Schedule, Spans, Sweep, UnitKernel
from rnnc.plan.show import guarded
from rnnc.plan.storage import stored_as

THREADS = (1, 2, 4, 8, 16, 32, 64)
HOW = {"streams": "by streams", "crews": "in crews"}


def explain(schedules: Iterable[Schedule], frames: int, streams: int, threads: int, machine: Machine,
            number: int = 4) -> str:
    """`number`: bytes of a number (4 or 8)."""
    asked = Question(frames, streams, threads, machine, number)
    lines = [f"{count(frames, 'frame')} of {count(streams, 'stream')} on {count(threads, 'thread')}",
             f"machine: {machine.name}; {amount(machine.peak * 4 / number, 'flop/s')} a core in products, caches of "
             f"{size(machine.sizes[0])} and {size(machine.sizes[1])} a core and {size(machine.sizes[2])} for all"]
    for made in schedules:
        lines += ["", *program(made, asked)]
    return "\n".join(lines) + "\n"


def program(made: Schedule, asked: Question) -> list[str]:
    spent = cost(made, asked.frames, asked.streams, asked.threads, asked.machine, asked.number)
    title = VERBS.get(made.program, made.program)
    lines = [title, "-" * len(title)]
    found = loops(made.graph)
    for i in range(len(made.stages)):
        lines += stage(made, i, found, asked, spent)
    lines += together(made, asked.streams)
    way = choose(made, asked.frames, asked.streams, asked.threads, asked.machine, asked.number)
    seconds = expected(made, asked.frames, asked.streams, asked.threads, asked.machine, asked.number)
    return [*lines, *chosen(way), "", *table(spent, way, seconds), "", *scaling(made, asked), "",
            *path(made, asked, seconds)]


# ------------------------------------------------------------------------------------------------ stages

def stage(made: Schedule, number: int, found, asked: Question, spent: Cost) -> list[str]:
    one, graph = made.stages[number], made.graph
    here = spent.stages[number]
    match one:
        case Map(kernels=kernels):
            lines = [f"{number + 1}. all {one.per}s at once"]
            for kernel in kernels:
                lines += products(graph, kernel) or filled(
                    "equations: " + shown([graph[n].name or graph[n].op for n in kernel.body]), "   ")
            if one.per == FRAME and any(isinstance(k, UnitKernel) and k.panels for k in kernels):
                first = not any(products(graph, k) for s in made.stages[:number] if isinstance(s, Map)
                                for k in s.kernels)
                lines += filled("Waits for no loop: it left the loops, and rows of many frames share each panel of the "
                                "matrix while it is in the cache." if first else "Left the loops as well.", "   ")
        case Sweep():
            loop = loop_of(graph, one, found)
            way = "forwards" if one.direction > 0 else "backwards"
            lines = [f"{number + 1}. loop {way} in time, {count(one.frames, 'frame')} a step: "
                     f"{members(graph, loop) if loop else ''}".rstrip(": ")]
            for phase in one.phases:
                for kernel, _ in phase.kernels:
                    lines += products(graph, kernel)
            for sentence in described(made, number, loop, asked) if loop else []:
                lines += filled(sentence, "   ")
            lines += filled(steps(here), "   ")
        case Spans(nodes=nodes):
            lines = [f"{number + 1}. whole sequences, since every frame counts for each result"]
            lines += filled(shown([spanned(graph, n) for n in nodes]), "   ")
            if asked_in_chunks := matrices(graph, nodes):
                each = "each " * (len(asked_in_chunks) > 1)
                frames = " or ".join(map(str, sorted({chunk_of(graph, n) for n in nodes if graph[n].op in CHUNKED})))
                lines += filled(f"{shown(asked_in_chunks)}: {each}linear in itself and only asked, so that its loop "
                                f"has become products of matrices over {frames} frames, and steps from one such chunk "
                                "to the next.", "   ")
                if any(graph[n].op == "correct" for n in nodes):
                    lines += filled("It corrects itself by these answers (the delta rule): within a chunk they are "
                                    "solved for one after another.", "   ")
        case Fold(nodes=nodes, per=per):
            lines = [f"{number + 1}. sums over all {per}s"]
            lines += filled(sums(made, nodes), "   ")
        case Once(kernel=kernel):
            return [f"{number + 1}. once, by one thread: " + shown([graph[n].name or graph[n].op
                                                                   for n in kernel.body], 4)]
    return lines


WORDS = {"span_sum": "sum", "span_max": "largest", "span_logsumexp": "logarithm of the sum of exp", "span_last": "last",
         "span_first": "first", "permute": "new order", "ctc": "ctc", "ctc_slope": "derivative of ctc",
         "attend": "answer", "correct": "answer", "attended": "last value",
         "pair": "derivative by the coefficient"}


def spanned(graph, n: int) -> str:
    """`pooled (sum of s)`."""
    node = graph[n]
    of = f"{WORDS[node.op]} of {signal(graph, node.args[0].node)}"
    if node.op in ("attend", "correct"):
        of = f"{WORDS[node.op]} of {node.attr('of') or 'a matrix'} to {signal(graph, node.args[0].node)}"
    if node.op == "pair":
        of = f"{WORDS[node.op]} of {node.attr('of') or 'a matrix'}"
    if node.op == "attended":
        return f"{node.name} ({WORDS[node.op]})"
    return f"{node.name} ({of})" if node.name else of


def matrices(graph, nodes) -> list[str]:
    """The matrices that are asked in chunks, by name."""
    found = [graph[n].name if graph[n].op == "attended" else graph[n].attr("of") or "a matrix"
             for n in nodes if graph[n].op in CHUNKED]
    return list(dict.fromkeys(found))


def loop_of(graph, sweep: Sweep, found) -> Loop | None:
    return next((loop for loop in found if loop.members & set(stage_nodes(sweep))), None)


def products(graph, kernel) -> list[str]:
    """The matrices of a kernel, one line for each vector they multiply."""
    if not isinstance(kernel, UnitKernel):
        return []
    lines = []
    for panel in kernel.panels:
        stored = stored_as(graph, panel)
        names = [matrix(graph, m) + ("'" if turned else "") for m, turned in panel.matrices]
        lines += filled(f"{shown(names)} @ {signal(graph, panel.operand.node)}{at(panel.operand.delay)}: "
                        f"{len(panel.gates)} x {kernel.width} by {panel.inner}"
                        f"{f', stored as {stored}' if stored else ''}"
                        f"{where(graph, ', only where ', panel)}{where(graph, ', of the rows alone where ', kernel)}",
                        "   ")
    return lines


def where(graph, word: str, what) -> str:
    """The guards of a panel or of a kernel."""
    return f"{word}{guarded(graph, what.guards)}" if what.guards else ""


def steps(here) -> str:
    meetings = f", {count(here.meetings, 'meeting')}" if here.meetings else ""
    matrices = f"; each step reads {size(here.weights)} of matrices, a thread's share from {here.level}" \
        if here.weights else ""
    return f"{count(here.steps, 'step')}, one after another{meetings}{matrices}."


def sums(made: Schedule, nodes) -> str:
    """Gradients of parameters by their names, other sums by what is summed."""
    graph = made.graph
    outer = sum(graph[n].op == "fold_outer" for n in nodes)
    names = [name for name, n in graph.gradients.items() if n in nodes]
    parts = []
    if names:
        parts.append(f"the gradients of {shown(names)}")
    other = len(nodes) - len(names)
    if other:
        parts.append(count(other, "other sum" if names else "sum"))
    text = " and ".join(parts)
    if outer:
        text += (f". {count(outer, 'of them is' if outer == 1 else 'of them are').removesuffix('s')} a product with "
                 "all frames for inner size: weight gradients have left the loop")
    held = [guarded(graph, found) for found in dict.fromkeys(made.role.guards.of(n, product=True) for n in nodes)
            if found]
    return f"{text}. Frames are passed over in which they add zero: they count where {', or '.join(held)}." if held \
        else f"{text}."


def together(made: Schedule, streams: int) -> list[str]:
    lines = []
    for step in made.steps:
        if step.rows and len(step.stages) > 1:
            lines += filled(f"Stages {', '.join(str(s + 1) for s in step.stages)} go through time together, some "
                            f"{step.chunk(streams)} rows at a time, so that what passes between them stays in the "
                            "cache.", "")
    return lines


def chosen(way: Choice) -> list[str]:
    """Who runs what, where that is not all threads together."""
    match way.kind:
        case "crews":
            crews = max(way.crews)
            of = lambda crew: shown([str(s + 1) for s, mine in enumerate(way.crews) if mine == crew], 12)
            parts = [f"stages {of(crew)} by crew {crew}" for crew in range(1, crews + 1)]
            rest = f"; {of(0)} by all" * bool(of(0))
            text = f"The threads go in {crews} crews that overlap: {', '.join(parts)}{rest}."
        case "streams":
            text = ("The threads take streams, each its own over all of time, without meeting, in "
                    + shown([f"stage {s + 1}" for s, mine in enumerate(way.streams) if mine], 12) + ".")
        case _:
            return []
    return filled(text, "")


# ------------------------------------------------------------------------------------------------ numbers

def table(spent: Cost, way: Choice, seconds: float) -> list[str]:
    """Where the time goes."""
    head = ("stage", "products", "equations", "signals", "meetings", "time", "share", "limited by")
    total = spent.seconds
    rows = [(str(s.stage + 1), amount(s.products, "flop"), many(s.equations), size(s.values), f"{s.meetings:,}",
             time(s.seconds), f"{100 * s.seconds / total:.0f} %", s.limit) for s in spent.stages]
    rows.append(("all", amount(spent.total("products"), "flop"), many(spent.total("equations")),
                 size(spent.total("values")), f"{spent.total('meetings'):,}", time(total), "",
                 f"{amount(spent.frames * spent.streams / total)} frames/s, "
                 f"{amount(spent.total('products') / total, 'flop/s')}"))
    lines = aligned([head, *rows])
    if way.kind != "together":
        lines.append(f"These are times of all threads together; {HOW[way.kind]} the call takes {time(seconds)}, "
                     f"{amount(spent.frames * spent.streams / seconds)} frames/s.")
    return lines


def scaling(made: Schedule, asked: Question) -> list[str]:
    """What other numbers of threads would bring."""
    found = {n: expected(made, asked.frames, asked.streams, n, asked.machine, asked.number)
             for n in sorted({*THREADS, asked.threads})}
    best = min(found, key=found.get)
    head = ("threads", "time", "frames/s", "speed-up", "of ideal")
    rows = [(str(n), time(s), amount(asked.frames * asked.streams / s), f"{found[1] / s:.2f}",
             f"{100 * found[1] / s / n:.0f} %") for n, s in found.items()]
    return [*aligned([head, *rows]), f"Fastest: {count(best, 'thread')}."]


def path(made: Schedule, asked: Question, seconds: float) -> list[str]:
    shortest = least(made, asked.frames, asked.streams, asked.machine, asked.number)
    serial = sum(s.steps for s, one in zip(shortest.stages, made.stages)
                 if isinstance(one, Sweep) or isinstance(one, Spans) and s.steps > 1)
    text = f"Critical path: {count(serial, 'step')} of loops must follow one another" if serial \
        else "Critical path: no loop, nothing need wait for another frame"
    return filled(f"{text}. With any number of threads that meet for free and hold their matrices in L1 the call takes "
                  f"{time(shortest.seconds)}, {seconds / shortest.seconds:.1f} times less than here.", "")


def aligned(rows) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join([*(cell.rjust(w) for cell, w in zip(row[:-1], widths)),
                       row[-1].ljust(widths[-1])]).rstrip() for row in rows]
