"""Operators that see all frames of a sequence, as far as it lies inside the call: what makes one value of many frames,
and a fixed new order of frames. Values have the frames of one sequence as their leading axis.

permute(v, t, order): frame i of each block of len(order) frames, counted from the start, becomes frame order[i] of it;
zero (of `labels`, none) where that frame is not inside the call. Ties of span_max share the derivative equally.
"""

import numpy as np

from rnnc.graph.nodes import FRAME, INT, REAL, SEQUENCE, Read
from rnnc.graph.ops.elementwise import real_part
from rnnc.graph.ops.op import SPAN, Expr, Op, make, need, need_kinds, row


def _kept(args, attrs, shape):
    return args[0].shape, args[0].kind


def _real(name):
    def infer(args, attrs, shape):
        need_kinds(name, args, REAL)
        return args[0].shape, REAL
    return infer


def _largest(node, v):
    return np.take_along_axis(v, np.argmax(real_part(v), axis=0)[None], axis=0)


def _logsumexp(node, v):
    top = np.max(real_part(v), axis=0, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    return np.log(np.exp(v - top).sum(axis=0, keepdims=True)) + top


def counter(c, name: str) -> Expr:
    return Expr(c.builder, Read(make(c.builder, name, span=c.span)), c.span)


def whole(c, value: int) -> Expr:
    return Expr(c.builder, Read(make(c.builder, "number", kind=INT, value=value, span=c.span)), c.span)


def _at_end(name):
    """The adjoint of a value belongs to the frame that it was taken from."""
    return lambda c, up: counter(c, name)("eq", whole(c, 0))("where", up, 0)


def _share(c, up):
    chosen = c.a("eq", c.out)
    return chosen("where", up / chosen("span_sum"), 0)


row(Op("span_sum", SPAN, 1, _real("span_sum"), lambda node, v: v.sum(axis=0, keepdims=True), (lambda c, up: up,),
       SEQUENCE))
row(Op("span_last", SPAN, 1, _kept, lambda node, v: v[-1:], (_at_end("frames_left"),), SEQUENCE))
row(Op("span_first", SPAN, 1, _kept, lambda node, v: v[:1], (_at_end("frames_gone"),), SEQUENCE))
row(Op("span_max", SPAN, 1, _real("span_max"), _largest, (_share,), SEQUENCE))
row(Op("span_logsumexp", SPAN, 1, _real("span_logsumexp"), _logsumexp, (lambda c, up: (c.a - c.out)("exp") * up,),
       SEQUENCE))


def _permute(args, attrs, shape):
    need_kinds("permute", args, args[0].kind, INT, REAL)
    need(args[1].shape == () and len(args[2].shape) == 1 and args[2].op == "table", "permute by other than a table")
    return args[0].shape, args[0].kind


def permuted(node, v, t, order):
    """`t` [L]: frames since the start of the sequence, of which v [L, ...] is the part inside the call."""
    order = np.asarray(order[0]).real.astype(np.int64)
    here = t % len(order)
    source = np.arange(len(v)) + order[here] - here
    inside = (source >= 0) & (source < len(v))
    found = v[np.clip(source, 0, max(len(v) - 1, 0))]
    none = np.full((), -1 if node.attr("labels") else 0, v.dtype)
    return np.where(inside.reshape(-1, *[1] * (v.ndim - 1)), found, none)


def _permute_back(c, up):
    order = c.builder.tables[c.c.node.attr("index")]
    back = make(c.builder, "table", shape=order.shape, index=c.builder.table(np.argsort(order)), span=c.span)
    return up("permute", c.b, Expr(c.builder, Read(back), c.span))


row(Op("permute", SPAN, 3, _permute, permuted, (_permute_back, None, None), FRAME))
