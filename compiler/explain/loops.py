"""One loop in words: how it runs, what forbids more, and what one delay more would free.

In: a sweep of a schedule. Out: lines of text. The cycle that limits the block size comes from the analysis; what a
longer delay would bring is not guessed: that read gets one frame more and the analysis is asked again.
"""

from dataclasses import dataclass, replace
from math import log2

from rnnc.explain.words import at, count, shown, signal, time
from rnnc.graph.blocks import Block, block, mixes, search
from rnnc.graph.kinds import Kind, in_lanes, kind
from rnnc.graph.loops import Cycle, Loop
from rnnc.graph.nodes import Graph
from rnnc.plan.cost import cost
from rnnc.plan.guards import share
from rnnc.plan.machine import Machine
from rnnc.plan.schedule import RowKernel, Schedule, Sweep, kernels_of
from rnnc.plan.show import guarded


@dataclass(frozen=True)
class Question:
    """The call that is asked about."""

    frames: int
    streams: int
    threads: int
    machine: Machine
    number: int = 4                            # bytes of a number

    def seconds(self, made: Schedule) -> float:
        return cost(made, self.frames, self.streams, self.threads, self.machine, self.number).seconds


def described(made: Schedule, number: int, loop: Loop, asked: Question) -> list[str]:
    """Sentences about stage `number`, the sweep of `loop`."""
    graph, stage = made.graph, made.stages[number]
    found, wanted = kind(graph, loop), block(graph, loop)
    lines = [of_kind(graph, found)]
    if not stage.meets:
        rows = all(isinstance(kernel, RowKernel) for kernel in kernels_of(stage))
        lines.append(f"Threads own {'streams' if rows else 'units or streams'} and run all of time without meeting.")
        return lines + of_lanes(made, number, asked) + of_entries(made, number) + [
            in_pieces(made, number, asked)] * found.linear
    lines.append(of_block(graph, loop, wanted, stage))
    phases = len(stage.phases)
    lines.append("Within a step threads own units and meet once, when all have written what the next step reads."
                 if phases == 1 else
                 f"A step has {phases} phases, since a product needs what another one of the same step makes; "
                 f"threads meet after each.")
    return lines + left_out(made, stage) + freed(made, number, loop, wanted, asked)


def of_lanes(made: Schedule, number: int, asked: Question) -> list[str]:
    """Whether one stream goes by vectors of frames."""
    handed = in_lanes(made.graph, kernels_of(made.stages[number])[0].body)
    if not handed or asked.streams > 1:
        return []
    return [f"Time is cut into lanes: a vector of frames at once, which needs {count(handed, 'number')} of the frame "
            "before."]


def of_entries(made: Schedule, number: int) -> list[str]:
    """Whether streams lie in lanes, and from how many on."""
    least = getattr(kernels_of(made.stages[number])[0], "least", 0)
    if not least:
        return []
    many = f"From {least} streams on each" if least > 1 else "Each"
    return [f"{many} number of a frame is a vector, with a stream in every lane: its values have few entries."]


def in_pieces(made: Schedule, number: int, asked: Question) -> str:
    """What cutting time would bring: every piece runs from zero, with the product of its coefficients; then what came
    before a piece is added to it. These two passes are divided by any number of threads, units and streams only by as
    many as there are vectors of them. (It is not done: h = f * h[t-1] + x of one unit, 65,536 frames, written by hand
    takes 71 us in one pass and 97 us in two passes on two threads. Zen 4.)"""
    seconds = lambda n: cost(made, asked.frames, asked.streams, n, asked.machine, asked.number).stages[number].seconds
    alone, told = seconds(1), []
    for n in sorted({max(2, asked.threads), 32}):
        pieces = 2 * alone / n + 2 * asked.machine.meeting * log2(n)
        told.append(f"{time(pieces)} on {n} threads instead of {time(seconds(n))}")
    return f"Cut into pieces of time, in two passes, it would take {shown(told)}."


def left_out(made: Schedule, stage: Sweep) -> list[str]:
    """What a clock saves."""
    guards = list(dict.fromkeys(panel.guards for kernel in kernels_of(stage) for panel in getattr(kernel, "panels", ())
                                if panel.guards))
    if not guards:
        return []
    taken = [f"{guarded(made.graph, g)} in {100 * share(made.graph, g):.3g} %" for g in guards]
    return [f"A product with a condition is left out in frames where that holds in no stream; taken to hold: "
            f"{shown(taken)} of the frames."]


def members(graph: Graph, loop: Loop) -> str:
    """The signals of a loop by name."""
    named = [graph[n].name for n in loop.nodes if graph[n].name]
    return shown(named) if named else shown([signal(graph, n) for n in loop.nodes], 4)


def of_kind(graph: Graph, found: Kind) -> str:
    if found.diagonal and found.linear:
        return "Diagonal and linear: no unit depends on another, and time itself could be cut."
    if found.diagonal:
        return "Diagonal: no unit depends on another one."
    why = f" ({signal(graph, found.mixer).removesuffix(' @')} mixes them)" if found.mixer is not None else ""
    if found.chunkwise:
        return f"Linear, with a matrix for a state{why}; it could go in chunks, and goes frame by frame."
    if found.linear:
        return f"Linear in its state, but each unit needs all the others{why}."
    return f"Dense: each unit needs all the others{why}."


def of_block(graph: Graph, loop: Loop, wanted: Block, stage: Sweep) -> str:
    limit = wanted.limit
    total = abs(sum(d for *_, d in limit))
    text = f"{count(stage.frames, 'frame')} a step"
    if limit:
        text += f": the cycle {path(graph, limit)} comes back after {count(total, 'frame')}"
    if wanted.frames is not None and stage.frames < wanted.frames:
        text += f"; {wanted.frames} could go together with kernels that lag behind one another"
    return text + "."


def path(graph: Graph, cycle: Cycle) -> str:
    """The cycle from its longest read on: what is read, what is multiplied, the signals with names."""
    first = max(range(len(cycle)), key=lambda i: abs(cycle[i][2]))
    turned = cycle[first:] + cycle[:first]
    start, _, delay = turned[0]
    words = [signal(graph, start) + at(delay)]
    for u, v, d in turned:
        later = turned[(turned.index((u, v, d)) + 1) % len(turned)][2]
        if graph[v].name or mixes(graph[v]) or later:
            words.append(signal(graph, v) + (at(later) if v != start else ""))
    return " -> ".join(words)


def edges_of(loop: Loop) -> dict[tuple[int, int], int]:
    """Of several reads of one value by another the nearest, counted along the loop."""
    nearest: dict[tuple[int, int], int] = {}
    for edge in loop.edges:
        nearest[edge[:2]] = min(nearest.get(edge[:2], loop.ago(edge)), loop.ago(edge))
    return nearest


def freed(made: Schedule, number: int, loop: Loop, wanted: Block, asked: Question) -> list[str]:
    """What one delay more would bring, for every read of that signal at that delay: as an edit of the text would."""
    graph, stage = made.graph, made.stages[number]
    read = longer(loop, wanted)
    if read is None or wanted.frames is None:
        return []
    u, _, d = read
    if graph[u].name is None or all((graph[n].name or "d_").startswith("d_") for n in loop.nodes):
        return ["It mirrors a loop of the forward pass: a longer delay there frees this one too."]
    edges = tuple((a, b, delay + (a == u and delay == loop.ago(read))) for (a, b), delay in edges_of(loop).items())
    after = search(loop.nodes, edges, frozenset(n for n in loop.nodes if mixes(graph[n])))
    way = 1 if d > 0 else -1
    change = f"One frame more there ({signal(graph, u)}{at(d + way)} for {signal(graph, u)}{at(d)}) would "
    if after.frames is None or after.frames <= stage.frames:
        return [change + f"free nothing by itself: {path(graph, after.limit)} still allows only {wanted.frames}."]
    other = replace(stage, frames=after.frames)
    stages = tuple(other if i == number else s for i, s in enumerate(made.stages))
    now, then = asked.seconds(made), asked.seconds(replace(made, stages=stages))
    return [change + f"let {after.frames} frames go together: {time(then)} instead of {time(now)} a call, "
                     f"{now / then:.2f} times as fast."]


def longer(loop: Loop, wanted: Block):
    """The read of the limiting cycle that reaches furthest along the loop, if one does."""
    reads = [edge for edge in wanted.limit if loop.ago(edge) > 0]
    return max(reads, key=loop.ago, default=None)
