"""Loops as text: what `rnnc show --after loops` prints, one paragraph per loop, in the order of the data.

In: a graph. Out: text. Every claim comes with its reason: the cycle that limits how many frames go at once, the
equation that makes a loop dense. `path` writes a cycle by the names of its signals.
"""

from collections.abc import Sequence

from rnnc.graph.blocks import Block, block
from rnnc.graph.kinds import Kind, kind
from rnnc.graph.loops import Edge, Loop, loops
from rnnc.graph.nodes import FRAME, Graph

WIDTH = 110


def show(graph: Graph) -> str:
    """Every loop of a graph, and what is in none."""
    found = loops(graph)
    outside = [n for n, node in enumerate(graph.nodes) if node.domain == FRAME and n not in found.loop]
    parts = [f"{_count(len(found), 'loop')}, {_count(len(outside), 'equation')} outside (free in time)"]
    parts += [paragraph(graph, loop, number) for number, loop in enumerate(found)]
    return "\n\n".join(parts) + "\n"


def paragraph(graph: Graph, loop: Loop, number: int) -> str:
    """One loop: members, direction, frames at once, kind, and why."""
    plain, best, sort = block(graph, loop, offsets=False), block(graph, loop), kind(graph, loop)
    named = [graph[n].name for n in loop.nodes if graph[n].name]
    unnamed = len(loop.nodes) - len(named)
    members = ", ".join(named) + (" and " if named and unnamed else "") + (f"{unnamed} unnamed" if unnamed else "")
    lines = [f"loop {number}: {title(loop, plain, sort)}"]
    lines += _wrapped("members  ", members)
    lines.append("frames   " + _frames(graph, plain, best))
    lines.append("kind     " + _kind(graph, sort))
    return "\n  ".join(lines)


def title(loop: Loop, found: Block, sort: Kind) -> str:
    """`forwards, D = 1, dense`: what a picture writes on a loop's box."""
    way = "forwards" if loop.direction > 0 else "backwards"
    return f"{way}, D = {'any' if found.frames is None else found.frames}, {sort}"


def path(graph: Graph, cycle: Sequence[Edge]) -> str:
    """A cycle as `h[t-1] -> i -> c -> h`: each name is read, at that delay, by the next one. Unnamed nodes are passed
    over, their delays added to the next read; if none has a name, all are shown by operator."""
    if not cycle:
        return ""
    named = any(graph[u].name for u, *_ in cycle)
    start = max(range(len(cycle)), key=lambda i: (graph[cycle[i][0]].name is not None, abs(cycle[i][2])))
    cycle = [*cycle[start:], *cycle[:start]]
    words, delay = [], 0
    for u, _, d in cycle:
        if graph[u].name or not named:
            if words:
                words[-1] += time(delay)
            words.append(label(graph, u))
            delay = 0
        delay += d
    words[-1] += time(delay)
    return " -> ".join([*words, label(graph, cycle[0][0])])


def label(graph: Graph, node: int) -> str:
    """A node's name, or its operator and number."""
    return graph[node].name or f"%{node} {graph[node].op}"


def time(delay: int) -> str:
    """`[t-2]`, `[t+1]`, nothing for the same frame."""
    return f"[t{-delay:+d}]" if delay else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _frames(graph: Graph, plain: Block, best: Block) -> str:
    if plain.frames is None:
        return "any number at once: no product or reduction on a cycle"
    text = f"{plain.frames} at once, limited by {path(graph, plain.limit)}"
    if plain.needs_offsets:
        text = "1 at once, and only with offsets: it reads ahead inside"
    if best.frames > plain.frames:
        text += f"; {best.frames} with offsets"
    if best.frames < best.bound:
        text += f" (delays would allow {best.bound}{'' if best.exact else '; the search was cut short'})"
    return text


def _kind(graph: Graph, sort: Kind) -> str:
    if sort.diagonal and sort.linear:
        return f"{sort}: no unit depends on another, and the state enters linearly"
    if sort.diagonal:
        return f"{sort}: no unit depends on another; not linear at {_place(graph, sort.bend)}"
    if sort.linear:
        return f"{sort}: the state enters linearly; units meet in {_place(graph, sort.mixer)}"
    return f"{sort}: units meet in {_place(graph, sort.mixer)}; not linear at {_place(graph, sort.bend)}"


def _place(graph: Graph, node: int) -> str:
    """A node said so that a person finds it: its operator, its name or its line."""
    span = graph[node].span
    words = graph[node].op + (f" {graph[node].name}" if graph[node].name else "")
    return words + (f" ({span.source.name}:{span.line})" if span else "")


def _wrapped(head: str, text: str) -> list[str]:
    lines, line = [], head
    for word in text.split(" "):
        if len(line) + len(word) > WIDTH:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += word + " "
    return [*lines, line.rstrip()]
