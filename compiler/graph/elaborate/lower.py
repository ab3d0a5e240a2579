"""Each operator of a draft spelled out in operators of the graph, now that shapes are known.

A function per operator: it gets the emitter and the draft and gives the last node; what goes before it is added.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rnnc.graph.elaborate.drafts import Draft
from rnnc.graph.elaborate.picks import bounds
from rnnc.graph.nodes import INT, REAL, SEQUENCE, Node, Read
from rnnc.graph.ops.random import site_number
from rnnc.graph.ops.sparse import Pattern

if TYPE_CHECKING:
    from rnnc.graph.elaborate.emit import Emitter

ORDERED = {"lt", "le", "gt", "ge", "eq", "ne"}
KEEP_WHOLE = {"add", "sub", "mul", "neg", "mod", "minimum", "maximum"}


def elementwise(e: Emitter, d: Draft) -> Node:
    """Arguments of one shape and kind; sizes of 1 are stretched explicitly."""
    refs, shape = e.reads[d], e.shape(d)
    if d.op in ORDERED:
        kinds = {e.kind_of[r.draft] for r in refs}
        kind = INT if INT in kinds and REAL not in kinds else REAL
    else:
        kind = e.final_kind(d) if d.op in KEEP_WHOLE else REAL
    args = tuple(e.stretch(e.read(r, kind), e.shape(r.draft), shape, kind) for r in refs)
    return e.node(d.op, args, shape, REAL if d.op in ORDERED else kind, d.span)


def where(e: Emitter, d: Draft) -> Node:
    kind, shape = e.final_kind(d), e.shape(d)
    args = [e.stretch(e.read(r, k), e.shape(r.draft), shape, k)
            for r, k in zip(e.reads[d], (REAL, kind, kind))]
    return e.node("where", args, shape, kind, d.span)


def array(e: Emitter, d: Draft) -> Node:
    """A constant: one number spread out where all entries are the same, else a table."""
    data = d.attrs["value"]
    if data.size and (data == data.flat[0]).all():
        return e.node("broadcast", (e.constant(float(data.flat[0]), REAL, d.span),), data.shape, REAL, d.span)
    return e.node("table", (), data.shape, REAL, d.span, index=e.builder.table(data))


def param(e: Emitter, d: Draft) -> Node:
    made = d.attrs["parameter"]
    path, pattern = made.place.path(), e.pattern(made)
    if pattern is None:
        return e.node("param", (), e.shape(d), REAL, d.span, name=path)
    stored = e.add("param", (), pattern.stored, REAL, d.span, name=path)
    if not pattern.family:
        return e.node("scatter", (stored,), e.shape(d), REAL, d.span, pattern=pattern)
    return family(e, d, stored, pattern)


def family(e: Emitter, d: Draft, stored: Read, pattern: Pattern) -> Node:
    """A sparse family, put together of its matrices: who picks one of them sees that one only."""
    count, matrix, matrices = math.prod(pattern.family), (pattern.rows, pattern.columns), []
    flat = e.add("reshape", (stored,), (count, pattern.rows, pattern.kept), REAL, d.span)
    for place, index in enumerate(np.ndindex(pattern.family)):
        one = e.add("slice", (flat,), (1, pattern.rows, pattern.kept), REAL, d.span, axis=0, low=place, high=place + 1)
        one = e.add("reshape", (one,), (pattern.rows, pattern.kept), REAL, d.span)
        one = e.add("scatter", (one,), matrix, REAL, d.span, pattern=pattern.member(index))
        matrices.append(e.add("reshape", (one,), (1, *matrix), REAL, d.span))
    together = e.add("concat", matrices, (count, *matrix), REAL, d.span, axis=0)
    return e.node("reshape", (together,), e.shape(d), REAL, d.span)


def input_(e: Emitter, d: Draft) -> Node:
    domain = SEQUENCE if d.attrs["per"] == SEQUENCE else None
    return e.node("input", (), e.shape(d), e.final_kind(d), d.span, name=d.attrs["name"], domain=domain)


def frame_index(e: Emitter, d: Draft) -> Node:
    return e.node("frame_index", (), (), INT, d.span)


def signal(e: Emitter, d: Draft) -> Node:
    (ref,) = e.reads[d]
    kind = e.final_kind(d)
    if ref.draft.op == "number":
        return e.node("number", (), (), kind, d.span, value=float(ref.draft.attrs["value"]) if kind == REAL
                      else int(ref.draft.attrs["value"]))
    return e.node("identity", (e.read(ref, kind),), e.shape(d), kind, d.span)


def vector(e: Emitter, read: Read, shape) -> tuple[Read, tuple[int, ...]]:
    """A scalar counts as a vector of one."""
    return (read, shape) if shape else (e.add("reshape", (read,), (1,), e.kinds[read.node]), (1,))


def product(e: Emitter, d: Draft) -> Node:
    left, right = e.reads[d]
    shape, a_shape = e.shape(d), e.shape(left.draft)
    a = e.read(left, REAL)
    if right.draft.type.classes is not None:
        return e.node("column", (a, e.read(right, INT)), shape, REAL, d.span)
    b, b_shape = vector(e, e.read(right, REAL), e.shape(right.draft))
    if len(a_shape) == 1:
        if len(b_shape) == 1:
            return e.node("sum", (e.add("mul", (a, b), a_shape),), (), REAL, d.span)
        return e.node("matmul", (b, a), shape, REAL, d.span, ta=True)
    return e.node("matmul", (a, b), shape, REAL, d.span)


def dot(e: Emitter, d: Draft) -> Node:
    pairs = [(e.read(r, REAL), e.shape(r.draft)) for r in e.reads[d]]
    shape = max(s for _, s in pairs)
    both = e.add("mul", tuple(r for r, _ in pairs), shape)
    return e.node("sum", (both,), (), REAL, d.span) if shape else e.node("identity", (both,), (), REAL, d.span)


def outer(e: Emitter, d: Draft) -> Node:
    args = [vector(e, e.read(r, REAL), e.shape(r.draft))[0] for r in e.reads[d]]
    return e.node("outer", args, e.shape(d), REAL, d.span)


def transpose(e: Emitter, d: Draft) -> Node:
    kind = e.final_kind(d)
    return e.node("transpose", (e.read(e.reads[d][0], kind),), e.shape(d), kind, d.span)


def reduce(e: Emitter, d: Draft) -> Node:
    """sum, mean, max, min, logsumexp, argmax: over all entries, or along one axis."""
    (ref,) = e.reads[d]
    given, shape = vector(e, e.read(ref, REAL), e.shape(ref.draft))
    axis = d.attrs.get("axis")
    axis = None if axis is None else axis % len(shape)
    if d.op == "mean":
        count = math.prod(shape) if axis is None else shape[axis]
        total = e.add("sum", (given,), e.shape(d), REAL, d.span, axis=axis)
        return e.node("mul", (total, e.constant(1 / count, REAL)), e.shape(d), REAL, d.span)
    return e.node(d.op, (given,), e.shape(d), e.final_kind(d), d.span, axis=axis)


def along(e: Emitter, d: Draft) -> Node:
    """softmax and logsoftmax; of a scalar they are taken as of a vector of one."""
    (ref,) = e.reads[d]
    have = e.shape(ref.draft)
    given, shape = vector(e, e.read(ref, REAL), have)
    axis = d.attrs.get("axis")
    axis = None if axis is None or len(shape) == 1 else axis % len(shape)
    node = e.node(d.op, (given,), shape, REAL, d.span, axis=axis)
    if have:
        return node
    e.domain.append(node.domain)
    e.kinds.append(REAL)
    return e.node("reshape", (Read(e.builder.add(node)),), (), REAL, d.span)


def concat(e: Emitter, d: Draft) -> Node:
    kind = e.final_kind(d)
    parts = [vector(e, e.read(r, kind), e.shape(r.draft)) for r in e.reads[d]]
    if len(parts) == 1:
        return e.node("identity", (parts[0][0],), e.shape(d), kind, d.span)
    axis = (d.attrs.get("axis") or 0) % len(parts[0][1])
    return e.node("concat", tuple(r for r, _ in parts), e.shape(d), kind, d.span, axis=axis)


def pick(e: Emitter, d: Draft) -> Node:
    """Ranges and indices: a slice for each axis that is cut, then the indexed axes are dropped."""
    (ref,) = e.reads[d]
    kind, shape = e.final_kind(d), list(e.shape(ref.draft))
    found = e.read(ref, kind)
    for axis, item in enumerate(d.attrs["items"]):
        low, high = bounds(item, ref.draft.type.shape[axis], d.span)
        if (low, high) != (0, shape[axis]):
            shape[axis] = high - low
            found = e.add("slice", (found,), tuple(shape), kind, d.span, axis=axis, low=low, high=high)
    if tuple(shape) == e.shape(d):
        return e.node("identity", (found,), tuple(shape), kind, d.span)
    return e.node("reshape", (found,), e.shape(d), kind, d.span)


def reshape(e: Emitter, d: Draft) -> Node:
    kind = e.final_kind(d)
    return e.node("reshape", (e.read(e.reads[d][0], kind),), e.shape(d), kind, d.span)


def one_hot(e: Emitter, d: Draft) -> Node:
    return e.node("one_hot", (e.read(e.reads[d][0], INT),), e.shape(d), REAL, d.span)


def take(e: Emitter, d: Draft) -> Node:
    values, index = e.reads[d]
    kind = e.final_kind(d)
    return e.node("take", (e.read(values, kind), e.read(index, INT)), e.shape(d), kind, d.span)


def spike(e: Emitter, d: Draft) -> Node:
    (ref,) = e.reads[d]
    return e.node("spike", (e.read(ref, REAL),), e.shape(d), REAL, d.span, surrogate=d.attrs["surrogate"],
                  slope=d.attrs["slope"])


def row_key(e: Emitter, d: Draft) -> Node:
    return e.node("row_key", (), (), INT, d.span, per=d.attrs["per"], ago=d.attrs["ago"])


def random(e: Emitter, d: Draft) -> Node:
    """dropout and noise: each spot of the text under its path, whose number no other has."""
    path = d.attrs["place"].path()
    while e.sites.setdefault(site_number(path), d.attrs["place"]) is not d.attrs["place"]:
        path += "'"
    value, key = e.read(e.reads[d][0], REAL), e.read(e.reads[d][1], INT)
    if e.domain_of[d] == SEQUENCE:
        key = e.add("row_key", (), (), INT, d.span, per=SEQUENCE, ago=0, domain=SEQUENCE)
    given = {"p": d.attrs["p"]} if d.op == "dropout" else {}
    return e.node(d.op, (value, key), e.shape(d), REAL, d.span, site=path, **given)


def stop_gradient(e: Emitter, d: Draft) -> Node:
    kind = e.final_kind(d)
    op = "stop_gradient" if kind == REAL else "identity"
    return e.node(op, (e.read(e.reads[d][0], kind),), e.shape(d), kind, d.span)


def if_labelled(e: Emitter, label: Read, value: Read, d: Draft) -> Node:
    """A frame whose label is none (read across a start) costs nothing."""
    none = e.add("lt", (label, e.constant(0, INT)), (), REAL, d.span)
    return e.node("where", (none, e.constant(0, REAL), value), (), REAL, d.span)


def cross_entropy(e: Emitter, d: Draft) -> Node:
    logits, label = (e.read(r, k) for r, k in zip(e.reads[d], (REAL, INT)))
    return if_labelled(e, label, e.add("surprisal", (logits, label), (), REAL, d.span), d)


def hinge(e: Emitter, d: Draft) -> Node:
    """sum of max(0, 1 - s z), s = 1 for the label and -1 else; squared_hinge of the squares."""
    logits, label = (e.read(r, k) for r, k in zip(e.reads[d], (REAL, INT)))
    shape = e.shape(e.reads[d][0].draft)
    hot = e.add("one_hot", (label,), shape, REAL, d.span)
    twice = e.add("mul", (hot, e.constant(2, REAL)), shape, REAL, d.span)
    sign = e.add("sub", (twice, e.constant(1, REAL)), shape, REAL, d.span)
    margin = e.add("sub", (e.constant(1, REAL), e.add("mul", (sign, logits), shape, REAL, d.span)), shape, REAL, d.span)
    loss = e.add("relu", (margin,), shape, REAL, d.span)
    if d.op == "squared_hinge":
        loss = e.add("mul", (loss, loss), shape, REAL, d.span)
    return if_labelled(e, label, e.add("sum", (loss,), (), REAL, d.span), d)


TABLE = {
    "where": where, "array": array, "param": param, "input": input_, "frame_index": frame_index, "signal": signal,
    "product": product, "dot": dot, "outer": outer, "transpose": transpose, "sum": reduce, "mean": reduce,
    "max": reduce, "min": reduce, "logsumexp": reduce, "argmax": reduce, "softmax": along, "logsoftmax": along,
    "concat": concat, "pick": pick, "reshape": reshape, "one_hot": one_hot, "take": take,
    "stop_gradient": stop_gradient, "spike": spike, "row_key": row_key,
    "dropout": random, "noise": random, "cross_entropy": cross_entropy, "hinge": hinge,
    "squared_hinge": hinge,
}
