"""Loops in which threads do not meet, as C: a kernel goes through time by itself, frame by frame.

In: what a kernel's writer has made of a row. Out: an `AloneView`. With few streams of one vector each frame waits for
the one before: then what it hands on stays in registers, since a store that the next frame loads takes longer than
most equations. Numbers have a stream in every lane; those of one stream go by whole vectors of frames where they are
linear in themselves (across.py).
"""

from dataclasses import dataclass

from rnnc.graph.nodes import INT, Read
from rnnc.plan.schedule import RowKernel
from rnnc.target.access import Access, far_inside
from rnnc.target.across import Across
from rnnc.target.lanes import Lanes
from rnnc.target.names import suffix
from rnnc.target.view import AloneView

STREAMS = 8                                    # at most; with more, frames of several streams overlap
FRAMES = 4                                     # that are kept in registers


@dataclass(frozen=True)
class Past:
    """A read of a value that the loop has made some frames before."""

    read: Read
    name: str                                  # what a row calls it
    value: str                                 # what a row calls the value that later ones will read so
    load: str                                  # how it is loaded from {}, as C


def kept(way: int, read: Read, made) -> bool:
    """Whether a read is one of what is `made` here, not too many frames before."""
    return read.node in made and 0 < read.delay * way <= FRAMES


def furthest(pasts: list[Past]) -> dict[int, Past]:
    """Of each value the furthest read."""
    return {past.read.node: past for past in sorted(pasts, key=lambda past: abs(past.read.delay))}


def registers(access: Access):
    """What the register is called that holds value n of k frames before."""
    return lambda n, k: f"{access.names[n]}_kept{k}"


def alone(access: Access, way: int, width: int, pasts: list[Past], row: list[str]) -> AloneView:
    """`width`: numbers of a row; `row`: the statements of one, but for those that load `pasts`; [] if registers are
    out of the question."""
    found = lambda past, delay: past.load.format(access.found(past.read.node, delay, "r"))
    register = registers(access)
    declared, loads = [], []
    held = furthest(pasts)
    for n, past in held.items():
        declared += [f"rn_v {register(n, k)} = {found(past, k * way)};" for k in range(1, abs(past.read.delay) + 1)]
    for past in pasts:
        count = f"c->{'since' if way > 0 else 'left'}[r] < {abs(past.read.delay)}"
        loads += [f"rn_v {past.name} = {register(past.read.node, abs(past.read.delay))};",
                  f"if ({count}) {past.name} = {found(past, past.read.delay)};"]
    fits = f"RN_PAD({width}) == RN_VL && c->B <= {STREAMS} && part.p0 < part.p1" if pasts and row else ""
    return view(access, way, fits, declared, [*loads, *row, *handed_on(held, register)] if fits else [])


def numbers(access: Access, kernel: RowKernel, way: int) -> tuple[AloneView, dict[str, str]]:
    """Of a kernel whose rows lie in lanes; and the constants that its statements want."""
    graph, names, register = access.graph, access.names, registers(access)
    reads = dict.fromkeys(access.based(read)[0] for n in kernel.body for read in graph[n].args)
    pasts = [Past(read, f"at_{names[read.node]}{suffix(read)}", names[read.node], "") for read in reads
             if kept(way, read, kernel.body) and graph[read.node].kind != INT]
    if not pasts:
        return view(access, way, "", [], []), {}
    named, held = {past.read: past.name for past in pasts}, furthest(pasts)
    sizes = {n: graph[n].size * bool(graph[n].shape) for n in held}
    declared, loads, last = [], [], []

    def found(name: str, n: int, delay: int) -> str:
        row = access.found(n, delay, "(r + lane)")
        return f"RN_SET_ENTRIES({name}, {sizes[n]}, n, {row});" if sizes[n] else f"RN_SET_LANES({name}, n, *({row}));"

    for n, past in held.items():
        for k in range(1, abs(past.read.delay) + 1):
            name = register(n, k)
            declared += [f"rn_v {name}{f'[{sizes[n]}]' * bool(sizes[n])};", found(name, n, k * way)]
    side = "since" if way > 0 else "left"
    for past in pasts:
        n, reach = past.read.node, abs(past.read.delay)
        loads += [*taken(past.name, register(n, reach), sizes[n]),
                  f"if (RN_UNLIKELY(!{far_inside(side, reach)})) {found(past.name, n, past.read.delay)}"]
    row = Lanes(access, kernel, named, True)
    statements = row.statements()
    across = Across(access, kernel, way, named, {n: abs(past.read.delay) for n, past in held.items()}, register)
    whole = across.across()
    for n, past in held.items():
        for k in range(abs(past.read.delay), 0, -1):
            value = row.entries(Read(n))("u") if k == 1 else register(n, k - 1) + "[u]" * bool(sizes[n])
            last.append(f"RN_FOR(u, {sizes[n]}) {register(n, k)}[u] = {value};" if sizes[n] else
                        f"{register(n, k)} = {value};")
    # Not by how many streams a thread has, as each way has its roundings; but one without any must not touch those of
    # others.
    fits = "c->B <= RN_VL && part.p0 < part.p1 && part.b0 < part.b1"
    return view(access, way, fits, declared, [*whole, *loads, *statements, *last], streams=True), \
        row.constants | (across.constants if whole else {})


def taken(name: str, register: str, size: int) -> list[str]:
    """A value of earlier frames, as its register has it."""
    if not size:
        return [f"rn_v {name} = {register};"]
    return [f"rn_v {name}[{size}];", f"RN_FOR(u, {size}) {name}[u] = {register}[u];"]


def handed_on(held: dict[int, Past], register) -> list[str]:
    """What each register takes over as a frame is done."""
    return [f"{register(n, k)} = {register(n, k - 1) if k > 1 else past.value};"
            for n, past in held.items() for k in range(abs(past.read.delay), 0, -1)]


def view(access: Access, way: int, fits: str, declared: list[str], statements: list[str],
         streams: bool = False) -> AloneView:
    return AloneView(way < 0, tuple(access.moving.values()), tuple(access.moves.values()), fits,
                     tuple(declared), tuple(statements), streams)
