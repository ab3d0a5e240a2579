"""Loops that are linear in what they keep, unit by unit, without a step per frame: `lax.associative_scan`.

Every member of such a loop is sum_j a_j * s_j[t-1] + b, of all frames at once; one or two states s_j.
"""

import jax.numpy as jnp
from jax import lax

from bench.peers.jax_ops import aligned, real, truth

STATES = 2


class Linear:
    """(a, b) of one member: a by state, arrays or numbers that broadcast."""

    def __init__(self, a: dict, b):
        self.a, self.b = a, b

    def scaled(self, by) -> "Linear":
        return Linear({n: by * v for n, v in self.a.items()}, by * self.b)

    def joined(self, other: "Linear", how) -> "Linear":
        """`how` of two numbers, which must keep 0 and 0 zero."""
        return Linear({n: how(self.a.get(n, 0.0), other.a.get(n, 0.0)) for n in {**self.a, **other.a}},
                      how(self.b, other.b))


class NotLinear(Exception):
    pass


def form(scan, n: int, known: dict) -> Linear:
    """How a member follows from the states, the forms of earlier members being known."""
    node, members = scan.graph[n], scan.loop.members
    args = [scan.graph[read.node] for read in node.args]

    def member(position: int) -> Linear | None:
        read = node.args[position]
        if read.node not in members:
            return None
        if args[position].shape != node.shape:
            raise NotLinear
        return Linear({read.node: 1.0}, 0.0) if read.delay else known[read.node]

    def outside(position: int):
        v = aligned(node, [args[position]], [scan.call.read(node.args[position])])[0]
        return v if node.op == "where" and position == 0 else real(v)
    forms = [member(i) for i in range(len(args))]
    whole = lambda i: forms[i] or Linear({}, outside(i))
    match node.op:
        case "identity":
            return forms[0]
        case "neg":
            return forms[0].scaled(-1.0)
        case "add":
            return whole(0).joined(whole(1), lambda a, b: a + b)
        case "sub":
            return whole(0).joined(whole(1), lambda a, b: a - b)
        case "mul" if (forms[0] is None) != (forms[1] is None):
            return forms[0].scaled(outside(1)) if forms[0] else forms[1].scaled(outside(0))
        case "div" if forms[1] is None:
            return forms[0].scaled(1 / outside(1))
        case "where" if forms[0] is None:
            condition = truth(outside(0))
            return whole(1).joined(whole(2), lambda a, b: jnp.where(condition, a, b))
    raise NotLinear


def values(scan) -> dict | None:
    """All members of a loop, or None if it is not linear."""
    states, call, way = sorted(n for n, depth in scan.depth.items() if depth), scan.call, scan.loop.direction
    if scan.phases != 1 or max(scan.depth.values()) != 1 or len(states) > STATES:
        return None
    forms: dict = {}
    try:
        for n in scan.order:
            forms[n] = form(scan, n, forms)
    except NotLinear:
        return None
    lead = (call.frames, call.streams)
    wide = lambda v, n: jnp.broadcast_to(v, (*lead, *scan.graph[n].shape))
    a = [[wide(forms[n].a.get(m, 0.0), n) for m in states] for n in states]
    b = [wide(forms[n].b, n) for n in states]
    start = [call.before(n, -way, call.streams) for n in states]
    first = 0 if way > 0 else call.frames - 1
    for i in range(len(states)):               # the first frame starts from what was before
        b[i] = b[i].at[first].add(sum(a[i][j][first] * start[j] for j in range(len(states))))
    every = range(len(states))

    def after(one, two):
        (a1, b1), (a2, b2) = one, two
        return ([[sum(a2[i][k] * a1[k][j] for k in every) for j in every] for i in every],
                [sum(a2[i][k] * b1[k] for k in every) + b2[i] for i in every])
    _, held = lax.associative_scan(after, (a, b), reverse=way < 0)
    past = {n: jnp.concatenate([s[None], v[:-1]] if way > 0 else [v[1:], s[None]])
            for n, s, v in zip(states, start, held)}
    done = dict(zip(states, held))
    return {n: done[n] if n in done else wide(forms[n].b, n) + sum(v * past[m] for m, v in forms[n].a.items())
            for n in scan.seen}
