"""Connectionist temporal classification (Graves et al. 2006): the loss of a list of labels that is shorter than the
sequence, over all ways to spread it out with blanks and repeats.

ctc(logits, labels) is -log P, one number per sequence; logits have a unit for each label and, last, one for the blank.
ctc_slope(logits, labels) is its derivative by the logits, per frame: softmax minus the share of the paths that are
in that unit. A list that no path can spell in so few frames has loss infinity and slope zero. Lists are arrays [L, U],
the same in every frame, ended by -1.
"""

import numpy as np

from rnnc.graph.nodes import FRAME, INT, REAL, SEQUENCE
from rnnc.graph.ops.elementwise import real_part
from rnnc.graph.ops.op import SPAN, Op, need, need_kinds, row

NEVER = -1e30                                  # the logarithm of a path that does not exist; safe in complex numbers


def _sum(a, b, c):
    """log(exp(a) + exp(b) + exp(c))."""
    top = np.maximum(np.maximum(real_part(a), real_part(b)), real_part(c))
    return top + np.log(np.exp(a - top) + np.exp(b - top) + np.exp(c - top))


def _shifted(v, by: int):
    out = np.full_like(v, NEVER)
    if by >= 0:
        out[by:] = v[:len(v) - by]
    else:
        out[:by] = v[-by:]
    return out


def log_softmax(v):
    v = v - np.max(real_part(v), axis=-1, keepdims=True)
    return v - np.log(np.exp(v).sum(axis=-1, keepdims=True))


def paths(logits, labels):
    """(units, before, after, total): the unit of each state (blanks between the labels), the logarithms of all paths
    that end in a state [L, states], and that go on from it, and of all paths."""
    blank = logits.shape[1] - 1
    labels = labels[labels >= 0]
    units = np.full(2 * len(labels) + 1, blank)
    units[1::2] = labels
    may_skip = np.zeros(len(units), bool)      # over the blank between two different labels
    may_skip[2:] = (units[2:] != blank) & (units[2:] != units[:-2])
    y = log_softmax(logits)[:, units]
    before, after = np.full_like(y, NEVER), np.full_like(y, NEVER)
    before[0, :2] = y[0, :2]
    for t in range(1, len(y)):
        last = before[t - 1]
        before[t] = y[t] + _sum(last, _shifted(last, 1), np.where(may_skip, _shifted(last, 2), NEVER))
    after[-1, -2:] = 0
    for t in reversed(range(len(y) - 1)):
        to = after[t + 1] + y[t + 1]
        after[t] = _sum(to, _shifted(to, -1), _shifted(np.where(may_skip, to, NEVER), -2))
    ends = before[-1, -2:]
    top = np.max(real_part(ends))
    return units, before, after, top + np.log(np.exp(ends - top).sum())


def _loss(node, logits, labels):
    total = paths(logits, labels[0])[3]
    return np.array([-total if real_part(total) > NEVER / 2 else np.inf])


def occupancy(logits, labels):
    """Of each frame the share of the paths that are in each unit, [L, units], and the logarithm of all paths; (None,
    -infinity) if there are none."""
    units, before, after, total = paths(logits, labels)
    if real_part(total) <= NEVER / 2:
        return None, -np.inf
    share = np.zeros_like(logits)
    for state, unit in enumerate(units):
        share[:, unit] += np.exp(before[:, state] + after[:, state] - total)
    return share, total


def _slope(node, logits, labels):
    share, _ = occupancy(logits, labels[0])
    return np.zeros_like(logits) if share is None else np.exp(log_softmax(logits)) - share


def _shape(name):
    def infer(args, attrs, shape):
        need_kinds(name, args, REAL, INT)
        lists = args[1].op == "input" and args[1].domain == SEQUENCE
        need(len(args[0].shape) == 1 and lists, f"{name} of other than logits and lists of labels")
        return (() if name == "ctc" else args[0].shape), REAL
    return infer


row(Op("ctc", SPAN, 2, _shape("ctc"), _loss, (lambda c, up: c.a("ctc_slope", c.b) * up, None), SEQUENCE))
row(Op("ctc_slope", SPAN, 2, _shape("ctc_slope"), _slope, None, FRAME))
