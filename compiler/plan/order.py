"""In which order the stages of a program are filled: loop after loop.

In: a graph and its loops. Out: the components in an order that can be computed, where each loop stands right behind
what only it waits for, and right before the sums that only wait for it. So the products that feed a loop and the
weight gradients that it feeds run beside it, chunk by chunk; and two loops that do not wait for one another, such as
the two directions of a layer, share nothing but what is outside. What a loop's matrix is asked stands before the loop
as well: then the answer can be made in the step that makes the matrix, of which no more frames need be kept.
"""

from rnnc.graph.loops import Loop, Loops
from rnnc.graph.nodes import Graph


def visits(graph: Graph, found: Loops, sunk: dict[int, Loop], last, rank) -> list[int]:
    """Components by number. `sunk`: values that are computed in a loop they are not part of; `last(node)`: nothing
    but the last sums waits for it; `rank(node)`: of these, who goes first once a loop is done; None: not before all
    loops are."""
    place = {n: i for i, members in enumerate(found.components) for n in members}
    head = [members[0] for members in found.components]
    made: list[int] = []
    seen: set[int] = set()

    def reach(component: int) -> None:
        """The component, behind everything it waits for that is not there yet, in the order of the data."""
        needed, stack = {component}, [component]
        while stack:
            for n in found.components[stack.pop()]:
                for before in {place[m] for m in _waits_for(graph, n)} - seen - needed:
                    needed.add(before)
                    stack.append(before)
        made.extend(sorted(needed))
        seen.update(needed)

    waiting = [n for n in head if n not in found.loop and last(n)]
    held = {place[n] for n in waiting}
    latest = _latest_loops(graph, found, sunk)
    asked = _asked(graph, found)
    for number, loop in enumerate(found.loops):
        for n in asked.get(loop.nodes[0], ()):
            if latest[n] < number and place[n] not in seen and place[n] not in held:
                reach(place[n])
        reach(place[loop.nodes[0]])
        ready = [n for n in waiting if latest[n] == number and rank(n) is not None]
        for n in sorted(ready, key=rank):
            if place[n] not in seen:
                reach(place[n])
    held -= seen
    for component in range(len(found.components)):
        if component not in seen and component not in held:
            reach(component)
    return made + sorted(held - seen, key=lambda c: (rank(head[c]) is None, rank(head[c]) or 0, c))


def _waits_for(graph: Graph, number: int) -> list[int]:
    """What a node reads, and what its reads may see before a start."""
    return [m for read in graph[number].args for m in (read.node, *graph.before(read))]


def _asked(graph: Graph, found: Loops) -> dict[int, list[int]]:
    """By the first node of a loop: vectors outside that one of its matrices multiplies in its own frame."""
    asked: dict[int, list[int]] = {}
    for number, node in enumerate(graph.nodes):
        if node.op != "matmul" or number in found.loop or len(node.shape) != 1:
            continue
        matrix, vector = node.args
        loop = found.loop.get(matrix.node)
        if loop is not None and not matrix.delay and len(graph[matrix.node].shape) == 2:
            asked.setdefault(loop.nodes[0], []).append(vector.node)
    return asked


def _latest_loops(graph: Graph, found: Loops, sunk: dict[int, Loop]) -> list[int]:
    """The last loop, by number, that each node waits for or is computed in; -1: none."""
    latest = [-1] * len(graph)
    number = {n: i for i, loop in enumerate(found.loops) for n in loop.nodes}
    number |= {n: number[loop.nodes[0]] for n, loop in sunk.items()}
    for members in found.components:
        most = max([number.get(members[0], -1), *(latest[m] for n in members for m in _waits_for(graph, n))])
        for n in members:
            latest[n] = most
    return latest
