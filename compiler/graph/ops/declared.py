"""Operators whose derivative is declared, not derived: their values jump, or are held back from what they say.

straight_through(a, b) is a, and what changes it is b. spike(v; surrogate, slope) is 1 where v > 0, with the derivative
of a smooth step. quantize(v, step, most) is the multiple of step next to v, of at most `most` steps either way; its
derivative is that of v where v lies in that range. In complex values (for derivatives by a complex step) the imaginary
part follows the declared derivative, so that a gradient check judges what was declared.
"""

import math

import numpy as np

from rnnc.graph.nodes import REAL
from rnnc.graph.ops.elementwise import real_part
from rnnc.graph.ops.op import ELEMENTWISE, Expr, Op, need, need_kinds, row

# Of each surrogate its derivative at v, in NumPy and as an expression; s is the slope. All have an area of 1, but for
# fast_sigmoid, whose height is 1, as in its source.
SURROGATES = {
    # Fang et al. 2021 (arXiv:2007.05785): the step is arctan(pi/2 s v) / pi + 1/2
    "atan": (lambda v, s: s / 2 / (1 + (math.pi / 2 * s * v) ** 2),
             lambda v, s: v.number(s / 2) / (1 + (math.pi / 2 * s) ** 2 * (v * v))),
    # Zenke & Ganguli 2018 (SuperSpike, arXiv:1705.11146)
    "fast_sigmoid": (lambda v, s: 1 / (1 + s * np.abs(v)) ** 2,
                     lambda v, s: v.number(1) / ((1 + s * v("abs")) * (1 + s * v("abs")))),
    "sigmoid": (lambda v, s: s / (2 + np.exp(s * v) + np.exp(-s * v)),
                lambda v, s: s * ((s * v)("sigmoid") * (1 - (s * v)("sigmoid")))),
    # Bellec et al. 2018 (arXiv:1803.09574), undamped
    "triangle": (lambda v, s: s * np.maximum(0, 1 - s * np.abs(v)), lambda v, s: s * (1 - s * v("abs"))("relu")),
    # Wu et al. 2018 (STBP, arXiv:1706.02609), a window of width 1 / s
    "box": (lambda v, s: s * (np.abs(s * v) < 0.5), lambda v, s: (s * v("abs"))("lt", 0.5) * s),
    "gaussian": (lambda v, s: s / math.sqrt(2 * math.pi) * np.exp(-(s * v) ** 2 / 2),
                 lambda v, s: s / math.sqrt(2 * math.pi) * (-(s * s / 2) * (v * v))("exp")),
}


def _same_shapes(name):
    def infer(args, attrs, shape):
        need_kinds(name, args, *[REAL] * len(args))
        shapes = {a.shape for a in args if a.shape != ()}
        need(len(shapes) <= 1, f"{name} of unequal shapes")
        return shapes.pop() if shapes else (), REAL
    return infer


def _spike_shape(args, attrs, shape):
    need_kinds("spike", args, REAL)
    need(attrs.get("surrogate") in SURROGATES, f"spike with the surrogate {attrs.get('surrogate')}")
    return args[0].shape, REAL


def _moved(value, *parts):
    """A value, with the imaginary part that its declared derivative makes of its arguments'."""
    change = sum(slope * np.imag(argument) for slope, argument in parts if np.iscomplexobj(argument))
    return value + 1j * change if any(np.iscomplexobj(argument) for _, argument in parts) else value


def _straight_through(node, a, b):
    value = np.broadcast_to(real_part(a), np.broadcast_shapes(np.shape(a), np.shape(b)))
    return _moved(value, (0.0, a), (1.0, b))


def _spike(node, v):
    at = real_part(v)
    return _moved((at > 0).astype(np.float64), (SURROGATES[node.attr("surrogate")][0](at, node.attr("slope")), v))


def _spike_pull(c, up):
    return up * SURROGATES[c.attr("surrogate")][1](c.a, c.attr("slope"))


def _quantize(node, v, step, most):
    at, size = real_part(v), real_part(step)
    steps = at / size
    taken = np.sign(steps) * np.minimum(np.floor(np.abs(steps) + 0.5), real_part(most))
    inside = np.abs(steps) < real_part(most) + 0.5
    return _moved(size * taken, (inside * 1.0, v), (np.where(inside, taken - steps, taken), step))


def _inside(c) -> Expr:
    return (c.a / c.b)("abs")("lt", c.c + 0.5)


def _quantize_step(c, up):
    """Esser et al. 2020 (learned step size, arXiv:1902.08153): (q - v) / step inside the range, q / step outside."""
    return up * ((c.out - _inside(c)("where", c.a, 0)) / c.b)


row(Op("straight_through", ELEMENTWISE, 2, _same_shapes("straight_through"),
       _straight_through, (None, lambda c, up: up)))
row(Op("spike", ELEMENTWISE, 1, _spike_shape, _spike, (_spike_pull,)))
row(Op("quantize", ELEMENTWISE, 3, _same_shapes("quantize"), _quantize,
       (lambda c, up: _inside(c)("where", up, 0), _quantize_step, None)))

