"""What a stage waits for when its neighbours may be run by other threads.

In: a placed schedule. Out: for each stage, the stages that must have come far enough before it may do a chunk:

  chunk    of its own step, and makes what this stage reads: as far as this one is going
  room     of its own step, and reads what this stage writes over: so far that the rows are free again
  whole    of an earlier step, and makes what this stage reads, or still uses the memory that it writes: to the end

Where all threads run every stage together, in order, all of this holds by itself.
"""

from dataclasses import dataclass

from rnnc.plan.place import stage_nodes, touched
from rnnc.plan.reads import behind
from rnnc.plan.schedule import Schedule

STRENGTH = {"room": 0, "chunk": 1, "whole": 2}


@dataclass(frozen=True)
class Need:
    stage: int
    kind: str                                  # "chunk" | "room" | "whole"


def needs(made: Schedule) -> tuple[tuple[Need, ...], ...]:
    """Of every stage, in order of the stages waited for."""
    graph, role = made.graph, made.role
    where = {n: i for i, stage in enumerate(made.stages) for n in stage_nodes(stage)}
    step = {s: i for i, each in enumerate(made.steps) for s in each.stages}
    users: dict[int, set[int]] = {}            # buffer -> the stages that write or read it
    for n, stage in where.items():
        for m in touched(graph, role, n) | {n}:
            if m in made.buffers:
                users.setdefault(m, set()).add(stage)
    tenants: dict[int, list[int]] = {}
    for n, buffer in made.buffers.items():
        if buffer.slot is not None and n in where:
            tenants.setdefault(buffer.slot, []).append(n)

    found: list[dict[int, str]] = [{} for _ in made.stages]

    def wait(stage: int, other: int, kind: str) -> None:
        if other != stage and STRENGTH[kind] >= STRENGTH[found[stage].get(other, kind)]:
            found[stage][other] = kind

    for n, stage in where.items():
        for read in behind(graph, role, n):
            if read.node in where:
                maker = where[read.node]
                wait(stage, maker, "chunk" if step[maker] == step[stage] else "whole")
        buffer = made.buffers.get(n)
        if buffer is None:
            continue
        if buffer.near is not None:
            for user in users[n]:
                wait(stage, user, "room")
        for other in tenants.get(buffer.slot, ()):
            if step[where[other]] < step[stage]:
                for user in users[other]:
                    wait(stage, user, "whole")
    return tuple(tuple(Need(s, kind) for s, kind in sorted(each.items())) for each in found)
