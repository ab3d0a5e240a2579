"""Loops in which threads do not meet, as C: a kernel goes through time by itself, frame by frame.

In: what a kernel's writer has made of a row. Out: an `AloneView`. With few streams of one vector each frame waits for
the one before: then what it hands on stays in registers, since a store that the next frame loads takes longer than
most equations.
"""

from dataclasses import dataclass

from rnnc.graph.nodes import Read
from rnnc.target.access import Access
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


def alone(access: Access, way: int, width: int, pasts: list[Past], row: list[str]) -> AloneView:
    """`width`: numbers of a row; `row`: the statements of one, but for those that load `pasts`; [] if registers are
    out of the question."""
    found = lambda past, delay: past.load.format(access.found(past.read.node, delay, "r"))
    held: dict[int, Past] = {}                 # of each value the furthest read
    for past in sorted(pasts, key=lambda past: abs(past.read.delay)):
        held[past.read.node] = past
    register = lambda n, k: f"{access.names[n]}_kept{k}"
    declared, moved, loads = [], [], []
    for n, past in held.items():
        depth = abs(past.read.delay)
        declared += [f"rn_v {register(n, k)} = {found(past, k * way)};" for k in range(1, depth + 1)]
        moved += [f"{register(n, k)} = {register(n, k - 1) if k > 1 else past.value};" for k in range(depth, 0, -1)]
    for past in pasts:
        n, delay = past.read.node, past.read.delay
        count = f"c->{'since' if way > 0 else 'left'}[r] < {abs(delay)}"
        loads += [f"rn_v {past.name} = {register(n, abs(delay))};",
                  f"if ({count}) {past.name} = {found(past, delay)};"]
    fits = f"RN_PAD({width}) == RN_VL && c->B <= {STREAMS} && part.p0 < part.p1" if pasts and row else ""
    return AloneView(way < 0, tuple(access.moving.values()), tuple(access.moves.values()), fits,
                     tuple(declared), (*loads, *row, *moved) if fits else ())
