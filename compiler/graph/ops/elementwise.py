"""Elementwise operators: every unit by itself. Arguments have one shape, or rank 0 and go to every unit.

In complex values (for derivatives by a complex step) the real part decides every comparison. Where a derivative does
not exist the rule stands here: 0 for `abs`, `relu` and `sqrt` at 0; `minimum` and `maximum` of equals follow the first.
NaN passes through relu, minimum and maximum.
"""

import math

import numpy as np

from rnnc.graph.nodes import INT, REAL
from rnnc.graph.ops.op import ELEMENTWISE, Op, need, need_kinds, row

_erf = np.vectorize(math.erf, otypes=[float])


def real_part(x):
    return x.real if np.iscomplexobj(x) else x


def _shape(name, args):
    shapes = {a.shape for a in args if a.shape != ()}
    need(len(shapes) <= 1, f"{name} of unequal shapes {', '.join(str(list(a.shape)) for a in args)}")
    return shapes.pop() if shapes else ()


def _real(name):
    def infer(args, attrs, shape):
        need_kinds(name, args, *[REAL] * len(args))
        return _shape(name, args), REAL
    return infer


def _same(name):
    """Whole numbers stay whole."""
    def infer(args, attrs, shape):
        need_kinds(name, args, *[args[0].kind] * len(args))
        return _shape(name, args), args[0].kind
    return infer


def _compare(name):
    def infer(args, attrs, shape):
        need_kinds(name, args, *[args[0].kind] * len(args))
        return _shape(name, args), REAL
    return infer


def _where(args, attrs, shape):
    need_kinds("where", args, REAL, args[1].kind, args[1].kind)
    return _shape("where", args), args[1].kind


def _convert(args, attrs, shape):
    need_kinds("real", args, INT)
    return args[0].shape, REAL


def _op(name, infer, meaning, *pull):
    row(Op(name, ELEMENTWISE, meaning.__code__.co_argcount if hasattr(meaning, "__code__") else meaning.nin, infer,
           lambda node, *values: meaning(*values), pull if any(pull) else None))


# Meanings that NumPy does not have as one function, or not for complex values.

def _pow(a, b):
    value = np.power(real_part(a), real_part(b))
    if not (np.iscomplexobj(a) or np.iscomplexobj(b)):
        return value
    x, y = real_part(a), real_part(b)
    slope_a = np.where(y == 0, 0.0, y * np.power(x, y - 1))
    slope_b = np.where((x == 0) | (np.imag(b) == 0), 0.0, value * np.log(np.where(x == 0, 1.0, x)))
    return value + 1j * (slope_a * np.imag(a) + slope_b * np.imag(b))


def _sqrt(a):
    return np.where(real_part(a) == 0, 0, np.sqrt(a)) if np.iscomplexobj(a) else np.sqrt(a)


def _floor(a):
    return np.floor(real_part(a))


def _mod(a, b):
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        return a - b * np.floor(real_part(a) / real_part(b))
    return np.mod(a, b)


def _erf_of(a):
    if np.iscomplexobj(a):
        return _erf(a.real) + 2j / math.sqrt(math.pi) * np.exp(-a.real * a.real) * a.imag
    return _erf(a).astype(a.dtype)


def _sigmoid(a):
    small = np.exp(np.where(real_part(a) < 0, a, -a))
    return np.where(real_part(a) < 0, small, 1) / (1 + small)


def _softplus(a):
    positive = real_part(a) > 0
    return np.where(positive, a, 0) + np.log1p(np.exp(np.where(positive, -a, a)))


def _relu(a):
    return np.where(real_part(a) <= 0, 0, a)


def _minimum(a, b):
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        return np.where(real_part(a) <= real_part(b), a, b)
    return np.minimum(a, b)


def _maximum(a, b):
    if np.iscomplexobj(a) or np.iscomplexobj(b):
        return np.where(real_part(a) >= real_part(b), a, b)
    return np.maximum(a, b)


def _condition(test):
    """0 or 1, from real parts."""
    if test.__code__.co_argcount == 1:
        return lambda a: test(real_part(a)).astype(np.float64)
    return lambda a, b: test(real_part(a), real_part(b)).astype(np.float64)


def _pow_base(c, up):
    """The usual static exponents without a power of 0 in them."""
    if c.b.node.op == "number":
        power = c.b.node.attr("value")
        if power in (0, 1):
            return up if power == 1 else None
        return up * (power * (c.a if power == 2 else c.a("pow", power - 1)))
    return (c.b("eq", 0))("where", 0, up * (c.b * c.a("pow", c.b - 1)))


def _pow_exponent(c, up):
    return (c.a("eq", 0))("where", 0, up * (c.out * c.a("log")))


_op("add", _same("add"), lambda a, b: a + b, lambda c, up: up, lambda c, up: up)
_op("sub", _same("sub"), lambda a, b: a - b, lambda c, up: up, lambda c, up: -up)
_op("mul", _same("mul"), lambda a, b: a * b, lambda c, up: up * c.b, lambda c, up: up * c.a)
_op("div", _real("div"), lambda a, b: a / b, lambda c, up: up / c.b, lambda c, up: -(up * c.out / c.b))
_op("pow", _real("pow"), _pow, _pow_base, _pow_exponent)
_op("neg", _same("neg"), lambda a: -a, lambda c, up: -up)
_op("mod", _same("mod"), _mod, lambda c, up: up, lambda c, up: -(up * (c.a / c.b)("floor")))
_op("minimum", _same("minimum"), _minimum,
    lambda c, up: c.a("le", c.b)("where", up, 0), lambda c, up: c.a("le", c.b)("where", 0, up))
_op("maximum", _same("maximum"), _maximum,
    lambda c, up: c.a("ge", c.b)("where", up, 0), lambda c, up: c.a("ge", c.b)("where", 0, up))

_op("exp", _real("exp"), np.exp, lambda c, up: up * c.out)
_op("log", _real("log"), np.log, lambda c, up: up / c.a)
_op("sqrt", _real("sqrt"), _sqrt, lambda c, up: c.out("eq", 0)("where", 0, up / (2 * c.out)))
_op("abs", _real("abs"), lambda a: np.where(real_part(a) < 0, -a, a), lambda c, up: up * c.a("sign"))
_op("sign", _real("sign"), lambda a: np.sign(real_part(a)))
_op("floor", _real("floor"), _floor)
_op("sin", _real("sin"), np.sin, lambda c, up: up * c.a("cos"))
_op("cos", _real("cos"), np.cos, lambda c, up: -(up * c.a("sin")))
_op("erf", _real("erf"), _erf_of, lambda c, up: up * (2 / math.sqrt(math.pi) * (-(c.a * c.a))("exp")))
_op("sigmoid", _real("sigmoid"), _sigmoid, lambda c, up: up * (c.out * (1 - c.out)))
_op("tanh", _real("tanh"), np.tanh, lambda c, up: up * (1 - c.out * c.out))
_op("relu", _real("relu"), _relu, lambda c, up: c.out("gt", 0)("where", up, 0))
_op("softplus", _real("softplus"), _softplus, lambda c, up: up * c.a("sigmoid"))

_op("lt", _compare("lt"), _condition(lambda a, b: a < b))
_op("le", _compare("le"), _condition(lambda a, b: a <= b))
_op("gt", _compare("gt"), _condition(lambda a, b: a > b))
_op("ge", _compare("ge"), _condition(lambda a, b: a >= b))
_op("eq", _compare("eq"), _condition(lambda a, b: a == b))
_op("ne", _compare("ne"), _condition(lambda a, b: a != b))
_op("and", _real("and"), _condition(lambda a, b: (a != 0) & (b != 0)))
_op("or", _real("or"), _condition(lambda a, b: (a != 0) | (b != 0)))
_op("not", _real("not"), _condition(lambda a: a == 0))
_op("where", _where, lambda c, a, b: np.where(real_part(c) != 0, a, b),
    None, lambda c, up: c.a("where", up, 0), lambda c, up: c.a("where", 0, up))

_op("identity", _same("identity"), lambda a: a, lambda c, up: up)
_op("stop_gradient", _same("stop_gradient"), lambda a: np.array(real_part(a)))
_op("real", _convert, lambda a: a.astype(np.float64))
