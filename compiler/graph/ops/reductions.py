"""Reductions over units, and the normalisations made of them. `axis`: None (all entries) or one axis.

surprisal(v, i) is -log(softmax(v)[i]), of which nothing cancels where v[i] is the largest by far, as it would in
logsumexp(v) - take(v, i); an i that is no index counts as an entry of 0.

Ties of `max` and `min` share the derivative equally. `argmax` gives the first of equals: of all entries a whole
number, along an axis of a matrix a vector, which like every vector holds reals.
"""

import numpy as np

from rnnc.graph.nodes import INT, REAL
from rnnc.graph.ops.elementwise import real_part
from rnnc.graph.ops.op import MIXING, Op, need, need_kinds, row
from rnnc.graph.ops.products import entry


def _axis(name, args, attrs):
    need_kinds(name, args, REAL)
    axis = attrs.get("axis")
    need(axis is None or 0 <= axis < len(args[0].shape), f"{name} along axis {axis} of {list(args[0].shape)}")
    return axis


def _reduced(name, one=REAL):
    """`one`: the kind of a result that is a single number."""
    def infer(args, attrs, shape):
        axis = _axis(name, args, attrs)
        left = () if axis is None else tuple(n for i, n in enumerate(args[0].shape) if i != axis)
        return left, REAL if left else one
    return infer


def _kept(name):
    def infer(args, attrs, shape):
        _axis(name, args, attrs)
        return args[0].shape, REAL
    return infer


def lined_up(node, v):
    """The value with the reduced entries on its last axis."""
    axis = node.attr("axis")
    return v.reshape(len(v), -1) if axis is None else np.moveaxis(v, axis + 1, -1)


def put_back(node, v, like):
    """Undoes `lined_up` after an operator that keeps the shape."""
    axis = node.attr("axis")
    return v.reshape(like.shape) if axis is None else np.moveaxis(v, -1, axis + 1)


def _extreme(choose):
    def meaning(node, v):
        v = lined_up(node, v)
        return np.take_along_axis(v, choose(real_part(v), axis=-1)[..., None], axis=-1)[..., 0]
    return meaning


def _place(node, v):
    places = np.argmax(real_part(lined_up(node, v)), axis=-1)
    return places.astype(v.dtype) if node.kind == REAL else places


def _pivot(v):
    """The largest entry of the last axis, which is kept; 0 where that is infinite."""
    top = np.max(real_part(v), axis=-1, keepdims=True)
    return np.where(np.isfinite(top), top, 0)


def _log_sum(v):
    """log(sum(exp(v))) along the last axis, which is kept; -inf everywhere is -inf."""
    top = _pivot(v)
    return np.log(np.exp(v - top).sum(axis=-1, keepdims=True)) + top


def _logsumexp(node, v):
    return _log_sum(lined_up(node, v))[..., 0]


def _label(args, attrs, shape):
    need_kinds("surprisal", args, REAL, INT)
    need(len(args[0].shape) == 1 and args[1].shape == (), "surprisal of other than a vector and a label")
    return (), REAL


def _surprisal(node, v, i):
    top = _pivot(v)
    return np.log(np.exp(v - top).sum(axis=-1)) + (top[..., 0] - entry(v, i))


def _softmax(node, v):
    lines = lined_up(node, v)
    powers = np.exp(lines - np.max(real_part(lines), axis=-1, keepdims=True))
    return put_back(node, powers / powers.sum(axis=-1, keepdims=True), v)


def _logsoftmax(node, v):
    lines = lined_up(node, v)
    lines = lines - np.max(real_part(lines), axis=-1, keepdims=True)
    return put_back(node, lines - np.log(np.exp(lines).sum(axis=-1, keepdims=True)), v)


def _share(c, up):
    axis, shape = c.attr("axis"), c.a.shape
    chosen = c.a("eq", c.out.spread(shape, axis))
    return chosen("where", (up / chosen.sum(axis)).spread(shape, axis), 0)


def _softmax_pull(c, up):
    axis = c.attr("axis")
    return c.out * (up - (up * c.out).sum(axis).spread(c.a.shape, axis))


def _logsoftmax_pull(c, up):
    axis = c.attr("axis")
    return up - c.out("exp") * up.sum(axis).spread(c.a.shape, axis)


def _op(name, infer, meaning, pull=None):
    row(Op(name, MIXING, 1, infer, meaning, pull and (pull,)))


_op("sum", _reduced("sum"), lambda node, v: lined_up(node, v).sum(axis=-1),
    lambda c, up: up.spread(c.a.shape, c.attr("axis")))
_op("max", _reduced("max"), _extreme(np.argmax), _share)
_op("min", _reduced("min"), _extreme(np.argmin), _share)
_op("argmax", _reduced("argmax", INT), _place)
_op("logsumexp", _reduced("logsumexp"), _logsumexp,
    lambda c, up: c.a("softmax", axis=c.attr("axis")) * up.spread(c.a.shape, c.attr("axis")))
row(Op("surprisal", MIXING, 2, _label, _surprisal, (
    lambda c, up: c.a("softmax", axis=None) * up.spread(c.a.shape, None) - up("place", c.b, shape=c.a.shape), None)))
_op("softmax", _kept("softmax"), _softmax, _softmax_pull)
_op("logsoftmax", _kept("logsoftmax"), _logsoftmax, _logsoftmax_pull)
