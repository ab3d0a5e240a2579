"""Operators that move numbers and compute none: transpose, reshape, concat(axis), slice(axis, low, high),
pad(axis, low, size) with zeros, broadcast to the wanted shape by NumPy's rules.

Each is the other's derivative: concat and slice, slice and pad, broadcast and sum.
"""

import math

import numpy as np

from rnnc.graph.nodes import REAL
from rnnc.graph.ops.op import MIXING, Op, need, need_kinds, row


def _transpose(args, attrs, shape):
    need(len(args[0].shape) == 2, f"transpose of {list(args[0].shape)}")
    return args[0].shape[::-1], args[0].kind


def _reshape(args, attrs, shape):
    need(shape is not None and math.prod(shape) == math.prod(args[0].shape), f"reshape {args[0].shape} to {shape}")
    return shape, args[0].kind


def _broadcast(args, attrs, shape):
    have = args[0].shape
    need(shape is not None and len(have) <= len(shape), f"broadcast of {have} to {shape}")
    need(all(n in (1, m) for n, m in zip(have[::-1], shape[::-1])), f"broadcast of {have} to {shape}")
    return shape, args[0].kind


def _concat(args, attrs, shape):
    need(len(args) > 0, "concat of nothing")
    need_kinds("concat", args, *[args[0].kind] * len(args))
    axis, first = attrs.get("axis"), args[0].shape
    need(axis is not None and 0 <= axis < len(first), f"concat along axis {axis} of {list(first)}")
    others = {a.shape[:axis] + a.shape[axis + 1:] for a in args}
    need(len(others) == 1 and all(len(a.shape) == len(first) for a in args), "concat of shapes that do not fit")
    return (*first[:axis], sum(a.shape[axis] for a in args), *first[axis + 1:]), args[0].kind


def _slice(args, attrs, shape):
    have, axis, low, high = args[0].shape, attrs.get("axis"), attrs.get("low"), attrs.get("high")
    need(axis is not None and 0 <= axis < len(have) and 0 <= low <= high <= have[axis],
         f"slice {low}:{high} along axis {axis} of {list(have)}")
    return (*have[:axis], high - low, *have[axis + 1:]), args[0].kind


def _pad(args, attrs, shape):
    need_kinds("pad", args, REAL)
    have, axis, low, size = args[0].shape, attrs.get("axis"), attrs.get("low"), attrs.get("size")
    need(axis is not None and 0 <= axis < len(have) and 0 <= low and low + have[axis] <= size,
         f"pad {list(have)} at {low} to {size} along axis {axis}")
    return (*have[:axis], size, *have[axis + 1:]), REAL


def _padded(node, v):
    axis, low, size = (node.attr(k) for k in ("axis", "low", "size"))
    after = size - low - v.shape[axis + 1]
    return np.pad(v, [(low, after) if i == axis + 1 else (0, 0) for i in range(v.ndim)])


def _sliced(node, v):
    axis = node.attr("axis")
    return v[(slice(None),) * (axis + 1) + (slice(node.attr("low"), node.attr("high")),)]


def _spread(node, v):
    missing = len(node.shape) + 1 - v.ndim
    return np.broadcast_to(v.reshape(len(v), *[1] * missing, *v.shape[1:]), (len(v), *node.shape))


def _concat_pull(c, up, position):
    axis = c.attr("axis")
    low = sum(c.arg(i).shape[axis] for i in range(position))
    return up("slice", axis=axis, low=low, high=low + c.arg(position).shape[axis])


def _broadcast_pull(c, up):
    have, want = c.a.shape, c.node.shape
    for _ in range(len(want) - len(have)):
        up = up.sum(0)
    for axis in reversed(range(len(have))):
        if have[axis] != up.shape[axis]:
            up = up.sum(axis)("reshape", shape=(*up.shape[:axis], 1, *up.shape[axis + 1:]))
    return up


def _joined(node, *values):
    streams = max(len(v) for v in values)
    return np.concatenate([np.broadcast_to(v, (streams, *v.shape[1:])) for v in values], axis=node.attr("axis") + 1)


row(Op("transpose", MIXING, 1, _transpose, lambda node, v: np.swapaxes(v, 1, 2), (lambda c, up: up("transpose"),)))
row(Op("reshape", MIXING, 1, _reshape, lambda node, v: v.reshape(len(v), *node.shape),
       (lambda c, up: up("reshape", shape=c.a.shape),)))
row(Op("broadcast", MIXING, 1, _broadcast, _spread, (_broadcast_pull,)))
row(Op("concat", MIXING, None, _concat, _joined, _concat_pull))
row(Op("slice", MIXING, 1, _slice, _sliced,
       (lambda c, up: up("pad", axis=c.attr("axis"), low=c.attr("low"), size=c.a.shape[c.attr("axis")]),)))
row(Op("pad", MIXING, 1, _pad, _padded,
       (lambda c, up: up("slice", axis=c.attr("axis"), low=c.attr("low"),
                         high=c.attr("low") + c.a.shape[c.attr("axis")]),)))
