"""Where values enter a graph (numbers, tables, parameters, inputs, the frame's place in its sequence, seeds of the
gradient), and where frames leave it: folds, sums over all frames and streams (over all sequences, of what has one value
for each).

A leaf's value is found by the interpreter, so the rows have no meaning of their own. Attributes: number(value),
table(index), param(name), input(name), cotangent(name of an output), state_cotangent(signal: the state signal's
path), carried(signal; see attend.py); input and cotangent also domain = "sequence". Counters: frame_index, since the
start, be it before the call; frames_gone and frames_left, before and after this frame in the part of its sequence
inside the call; span_frames, all of that part.
"""

import numpy as np

from rnnc.graph.nodes import CONSTANT, FRAME, INT, REAL, SEQUENCE
from rnnc.graph.ops.op import FOLD, LEAF, MIXING, Op, need, need_kinds, row


def _leaf(name, domain, attribute=None, fixed=None):
    """`fixed`: the (shape, kind) of a leaf that has no choice."""
    def infer(args, attrs, shape):
        need(attribute is None or attribute in attrs, f"{name} without {attribute}")
        need(fixed is not None or shape is not None, f"{name} without a shape")
        return fixed or (shape, REAL)
    row(Op(name, LEAF, 0, infer, domain=domain))


_leaf("number", CONSTANT, "value", fixed=((), REAL))
_leaf("table", CONSTANT, "index")
_leaf("param", CONSTANT, "name")
_leaf("input", None, "name")
_leaf("frame_index", FRAME, fixed=((), INT))
_leaf("frames_gone", FRAME, fixed=((), INT))
_leaf("frames_left", FRAME, fixed=((), INT))
_leaf("span_frames", SEQUENCE, fixed=((), INT))
_leaf("weight", FRAME, fixed=((), REAL))
_leaf("cotangent", None, "name")
_leaf("state_cotangent", FRAME, "signal")
_leaf("carried", FRAME, "signal")


def _one_hot(args, attrs, shape):
    need_kinds("one_hot", args, INT)
    need(args[0].shape == () and shape is not None and len(shape) == 1, f"one_hot to {shape}")
    return shape, REAL


row(Op("one_hot", MIXING, 1, _one_hot,
       lambda node, i: (i[:, None] == np.arange(node.shape[0])).astype(np.float64)))


def _fold_sum(args, attrs, shape):
    need_kinds("fold_sum", args, REAL)
    return args[0].shape, REAL


def _fold_outer(args, attrs, shape):
    need_kinds("fold_outer", args, REAL, REAL)
    a, b = (arg.shape for arg in args)
    need(len(a) == len(b) <= 2 and a[:-1] == b[:-1], "fold_outer of other than vectors, or of matrices of one height")
    return a[-1:] + b[-1:], REAL


def _sum_of_outer(node, a, b):
    return np.einsum("ti,tj->ij" if a.ndim == 2 else "tki,tkj->ij", a, b)[None]


def _fold_outer_a(c, up):
    return up("matmul", c.b) if len(c.b.shape) == 1 else c.b("matmul", up, tb=True)


def _fold_outer_b(c, up):
    return up("matmul", c.a, ta=True) if len(c.a.shape) == 1 else c.a("matmul", up)


def _fold_column(args, attrs, shape):
    need_kinds("fold_column", args, REAL, INT)
    need(len(args[0].shape) == 1 and args[1].shape == (), "fold_column of other than a vector and a label")
    need(shape is not None and len(shape) == 2 and shape[:1] == args[0].shape, f"fold_column to {shape}")
    return shape, REAL


def _columns(node, g, i):
    total = np.zeros((node.shape[1], node.shape[0]), dtype=g.dtype)
    legal = (i >= 0) & (i < node.shape[1])
    np.add.at(total, i[legal], g[legal])
    return total.T[None]


row(Op("fold_sum", FOLD, 1, _fold_sum, lambda node, v: v.sum(axis=0, keepdims=True), (lambda c, up: up,)))
row(Op("fold_outer", FOLD, 2, _fold_outer, _sum_of_outer, (_fold_outer_a, _fold_outer_b)))
row(Op("fold_column", FOLD, 2, _fold_column, _columns, (lambda c, up: up("column", c.b), None)))
