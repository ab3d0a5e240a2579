"""Products and look-ups: the mixing operators that join two arguments.

matmul(a, b; ta, tb): a is a matrix (transposed first if `ta`), b a vector, or a matrix (transposed first if `tb`).
column(W, i) is W[:, i], take(v, i) is v[i]; an index out of range (a label before a start is -1) gives zeros.
"""

import numpy as np

from rnnc.graph.nodes import INT, REAL
from rnnc.graph.ops.op import MIXING, Op, need, need_kinds, row


def _flip(shape, turned):
    return shape[::-1] if turned else shape


def _matmul(args, attrs, shape):
    need_kinds("matmul", args, REAL, REAL)
    a, b = args[0].shape, args[1].shape
    need(len(a) == 2 and len(b) in (1, 2), f"matmul of {list(a)} and {list(b)}")
    need(len(b) == 2 or not attrs.get("tb"), "matmul with a vector transposed")
    a, b = _flip(a, attrs.get("ta")), _flip(b, attrs.get("tb"))
    need(a[1] == b[0], f"matmul of {list(a)} and {list(b)}")
    return (a[0], *b[1:]), REAL


def matmul(node, a, b):
    if node.attr("ta"):
        a = np.swapaxes(a, 1, 2)
    if node.attr("tb"):
        b = np.swapaxes(b, 1, 2)
    if b.ndim == 2:
        return np.einsum("tij,tj->ti", a, b) if len(a) == len(b) else np.matmul(a, b[..., None])[..., 0]
    return np.matmul(a, b)


def _matmul_a(c, up):
    ta, tb = bool(c.attr("ta")), bool(c.attr("tb"))
    if len(c.b.shape) == 1:
        return c.b("outer", up) if ta else up("outer", c.b)
    return c.b("matmul", up, ta=tb, tb=True) if ta else up("matmul", c.b, ta=False, tb=not tb)


def _matmul_b(c, up):
    ta, tb = bool(c.attr("ta")), bool(c.attr("tb"))
    if len(c.b.shape) == 1:
        return c.a("matmul", up, ta=not ta)
    return up("matmul", c.a, ta=True, tb=ta) if tb else c.a("matmul", up, ta=not ta, tb=False)


row(Op("matmul", MIXING, 2, _matmul, matmul, (_matmul_a, _matmul_b)))


def _outer(args, attrs, shape):
    need_kinds("outer", args, REAL, REAL)
    need(len(args[0].shape) == len(args[1].shape) == 1, "outer of other than vectors")
    return args[0].shape + args[1].shape, REAL


row(Op("outer", MIXING, 2, _outer, lambda node, a, b: a[:, :, None] * b[:, None, :],
       (lambda c, up: up("matmul", c.b), lambda c, up: up("matmul", c.a, ta=True))))


def _column(args, attrs, shape):
    need_kinds("column", args, REAL, INT)
    need(len(args[0].shape) == 2 and args[1].shape == (), "column of other than a matrix and a label")
    return args[0].shape[:1], REAL


def _take(args, attrs, shape):
    need_kinds("take", args, args[0].kind, INT)
    need(len(args[0].shape) >= 1 and args[1].shape == (), "take from a scalar, or at other than one index")
    return args[0].shape[1:], args[0].kind


def _place(args, attrs, shape):
    need_kinds("place", args, REAL, INT)
    need(args[1].shape == () and shape is not None and shape[1:] == args[0].shape, f"place into {shape}")
    return shape, REAL


def entry(v, i):
    """v[i] for each stream, zero where i is no index."""
    size = v.shape[1]
    v, i = (np.broadcast_to(x, (max(len(v), len(i)), *x.shape[1:])) for x in (v, i))
    found = v[np.arange(len(v)), np.clip(i, 0, size - 1)]
    legal = ((i >= 0) & (i < size)).reshape(-1, *[1] * (found.ndim - 1))
    return np.where(legal, found, np.zeros((), found.dtype))


def _placed(node, g, i):
    here = i[:, None] == np.arange(node.shape[0])
    return np.where(here.reshape(*here.shape, *[1] * (g.ndim - 1)), g[:, None], np.zeros((), g.dtype))


row(Op("column", MIXING, 2, _column, lambda node, w, i: entry(np.swapaxes(w, 1, 2), i),
       (lambda c, up: up("outer", c.b("one_hot", shape=c.a.shape[1:])), None)))
row(Op("take", MIXING, 2, _take, lambda node, v, i: entry(v, i),
       (lambda c, up: up("place", c.b, shape=c.a.shape), None)))
row(Op("place", MIXING, 2, _place, _placed, (lambda c, up: up("take", c.b), None)))
