"""Questions to a matrix that is linear in itself, over all frames of a sequence: linear attention.

    S[t] = a[t] S[t-1] + outer(u[t], w[t])        in the order of frames that `direction` says (-1: backwards)

a is a scalar, or (`along`: 0 or 1) a vector along that axis of S, each of whose units fades at its own rate.
attend(q, u, w, a, before?; direction, turned, late, of) is S[t] @ q[t], attended(u, w, a, before?) S[t] itself; with
`products` it takes so many u and w, a pair each, and S is the sum of what they make. `before` is what S was before the
sequence's first frame in the call: only its value at that frame counts, and without it S begins as zero; `turned`: it
is the transpose of that; `late`: S as the frame before left it is asked; `of`: the name of S, for readers.
carried(signal), a leaf, is made for this: at the call's first frame the entry of the state, unless a sequence starts
there; zero at every other frame.

correct(k, d, w, a, c?, base?, before?; direction, along, turned, constant, based, of) is what a matrix answers that
corrects itself by it, as the delta rule does. It is y of

    y[t] = base[t] + S[t-1] @ k[t]        S[t] = a[t] S[t-1] + outer(c[t] + d[t] y[t], w[t])

d is a scalar or a vector; `constant`, `based`: whether c and base are given, of which one may be left out as zero.

pair(u, w, a, v, x, b, before?; direction, of) is what S meets of its adjoint R one frame later: the sum of all numbers
of S[t-1] * R[t], along the other axis only if `along` is given, where R[t] = b[t] R[t+1] + outer(v[t], x[t]) goes the
other way.

Only the planner makes such nodes, after the gradient (graph/chunkwise.py): they need no derivative.
"""

import numpy as np

from rnnc.graph.nodes import REAL
from rnnc.graph.ops.op import SPAN, Op, need, need_kinds, row


def _memory(name, args, attrs):
    """Of u, w, a the shape of S."""
    need_kinds(name, args, REAL, REAL, REAL)
    u, w, a = (arg.shape for arg in args)
    along = attrs.get("along")
    need(len(u) == len(w) == 1 and along in (None, 0, 1), f"{name} of other than vectors")
    need(a == (() if along is None else (u, w)[along]), f"{name} fades by {list(a)}")
    return u + w


def _carried(name, args, shape):
    fits = len(args) <= 1 and all((a.shape, a.kind) == (shape, REAL) for a in args)
    need(fits, f"{name} goes on from other than {list(shape)}")


def _attend(args, attrs, shape):
    u, w = whole = _memory("attend", args[1:4], attrs)
    _carried("attend", args[4:], (w, u) if attrs.get("turned") else whole)
    need(args[0].shape == (w,) and attrs.get("direction") in (1, -1), "attend without a question or a direction")
    return (u,), REAL


def _correct(args, attrs, shape):
    need_kinds("correct", args, *[REAL] * len(args))
    k, d, w, a, *more = args
    given = [more.pop(0) for name in ("constant", "based") if attrs.get(name)]
    need(bool(given), "correct of nothing")
    shape = given[0].shape
    whole = shape + w.shape
    along = attrs.get("along")
    need(k.shape == w.shape and d.shape in ((), shape) and all(g.shape == shape for g in given) and
         a.shape == (() if along is None else (shape, w.shape)[along]) and len(shape) == len(w.shape) == 1,
         "correct of shapes that do not fit")
    _carried("correct", more, whole[::-1] if attrs.get("turned") else whole)
    need(attrs.get("direction") in (1, -1), "correct without a direction")
    return shape, REAL


def _attended(args, attrs, shape):
    pairs = 2 * attrs.get("products", 1)
    whole = _memory("attended", (*args[:2], args[pairs]), attrs)
    need(all(_memory("attended", (*args[i:i + 2], args[pairs]), attrs) == whole for i in range(2, pairs, 2)),
         "attended of several shapes")
    _carried("attended", args[pairs + 1:], whole)
    return whole, REAL


def _pair(args, attrs, shape):
    whole = _memory("pair", args[:3], attrs)
    need(len(args) >= 6 and _memory("pair", args[3:6], attrs) == whole, "pair of two shapes")
    _carried("pair", args[6:], whole)
    need(attrs.get("direction") in (1, -1), "pair without a direction")
    return args[2].shape, REAL


def _last(node, *values):
    pairs = 2 * node.attr("products", 1)
    a, *before = values[pairs:]
    first = before[0][0] if before else None
    return np.sum([_matrices(node, *values[i:i + 2], a, None if i else first) for i in range(0, pairs, 2)], axis=0)


def _matrices(node, u, w, a, before=None):
    """S after each frame, in the order given."""
    now = np.zeros((u.shape[1], w.shape[1])) if before is None else before
    made, along = [], node.attr("along")
    for one in range(len(u)):
        fade = a[one] if along is None else np.expand_dims(a[one], 1 - along)
        now = fade * now + np.multiply.outer(u[one], w[one])
        made.append(now)
    return np.stack(made)


def _answers(node, q, u, w, a, before=None):
    way = node.attr("direction")
    first = None if before is None else before[::way][0].T if node.attr("turned") else before[::way][0]
    made = _matrices(node, u[::way], w[::way], a[::way], first)
    if node.attr("late"):
        made = np.concatenate([np.zeros_like(made[:1]) if first is None else first[None], made[:-1]])
    return np.einsum("tij,tj->ti", made, q[::way])[::way]


def _corrections(node, k, d, w, a, *more):
    """The answers, each of which the matrix is corrected by before the next question."""
    more, way = list(more), node.attr("direction")
    c, base = (more.pop(0) if node.attr(name) else np.zeros((len(k), *node.shape)) for name in ("constant", "based"))
    now = np.zeros((*node.shape, w.shape[1]))
    if more:
        now = more[0][::way][0].T if node.attr("turned") else more[0][::way][0]
    answers = [None] * len(k)
    for t in range(len(k))[::way]:
        answers[t] = base[t] + now @ k[t]
        fade = a[t] if node.attr("along") is None else np.expand_dims(a[t], 1 - node.attr("along"))
        now = fade * now + np.multiply.outer(c[t] + d[t] * answers[t], w[t])
    return np.stack(answers)


def _products(node, u, w, a, v, x, b, before=None):
    way, along = node.attr("direction"), node.attr("along")
    first = np.zeros((u.shape[1], w.shape[1])) if before is None else before[::way][0]
    s = np.concatenate([first[None], _matrices(node, u[::way], w[::way], a[::way], first)[:-1]])[::way]
    r = _matrices(node, v[::-way], x[::-way], b[::-way])[::-way]
    return np.sum(s * r, axis=(1, 2) if along is None else 2 - along)


row(Op("attend", SPAN, None, _attend, _answers))
row(Op("correct", SPAN, None, _correct, _corrections))
row(Op("pair", SPAN, None, _pair, _products))
row(Op("attended", SPAN, None, _attended, _last))
