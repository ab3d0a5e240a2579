"""The functions that the language brings: one entry each, on static numbers and on signals."""

import math

import numpy as np

from rnnc.front import tree
from rnnc.front.show import show_expression
from rnnc.graph.elaborate import constants, picks, rules
from rnnc.graph.elaborate.constants import is_static
from rnnc.graph.elaborate.drafts import NotYet, Ref, Silent, Stop
from rnnc.graph.elaborate.expressions import count, operand, size, static, whole
from rnnc.graph.elaborate.hints import argument_meant
from rnnc.graph.elaborate.operators import combine, lift, make, number, together
from rnnc.graph.elaborate.scope import At, Layer, Value

TABLE = {}
LARGEST = 2 ** 28                              # numbers of an array that is written out when compiling


def builtin(*names: str):
    def enter(function):
        for name in names:
            TABLE[name] = function
        return function
    return enter


def split(expr: tree.Call, least: int, most: int | None, keys: tuple[str, ...] = (),
          places: tuple[str, ...] = ()) -> tuple[list, dict]:
    """Arguments by place and by name; faults of number and name are told here, with what the function takes. `places`:
    the names of those by place, where they may be given by name as well; the rest of them may be left out."""
    name = expr.function.id
    placed = [a for a in expr.arguments if a.name is None]
    named = {}
    for argument in expr.arguments:
        if argument.name is None:
            continue
        if argument.name not in keys + places:
            raise Stop("E0204", f"{name} takes no argument called {argument.name}", argument.span,
                       hint=argument_meant(argument.name, keys + places))
        if argument.name in named or argument.name in places[:len(placed)]:
            raise Stop("E0204", f"{argument.name} is given twice", argument.span)
        named[argument.name] = argument.value
    for key in places[len(placed):most]:       # as far as they follow one another
        if key not in named:
            break
        placed.append(next(a for a in expr.arguments if a.name == key))
        del named[key]
    if len(placed) < least or most is not None and len(placed) > most:
        want = f"{least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
        hint = None
        if most == 1 and len(placed) == 2 and "axis" in keys and not named:        # `sum(x, 0)`
            hint = "write {}({}, axis = {})".format(name, *(show_expression(a.value) for a in placed))
        raise Stop("E0204", f"{name} takes {want} argument{'' if want == '1' else 's'}, not {len(placed)}", expr.span,
                   hint=hint)
    return [a.value for a in placed], named


def operands(exprs: list, at: At) -> list[Value]:
    return [operand(e, at) for e in exprs]


def lifted(exprs: list, at: At) -> list[Ref]:
    return [lift(operand(e, at), at, e.span) for e in exprs]


# ---------------------------------------------------------------------------------------------------------- elementwise

@builtin("sigmoid", "tanh", "relu", "exp", "log", "sqrt", "abs", "sign", "floor", "sin", "cos", "erf", "softplus",
         "silu", "gelu")
def _elementwise(expr: tree.Call, at: At) -> Value:
    name = expr.function.id
    (inner,), _ = split(expr, 1, 1)
    value = operand(inner, at)
    if is_static(value):
        return constants.elementwise(name, value, expr.span)
    x = lift(value, at, inner.span)
    if name == "silu":
        return make(at, "mul", [x, make(at, "sigmoid", [x], expr.span)], expr.span)
    if name == "gelu":
        inner = make(at, "erf", [make(at, "mul", [x, number(at, 0.5 ** 0.5, expr.span)], expr.span)], expr.span)
        bell = make(at, "add", [inner, number(at, 1, expr.span)], expr.span)
        half = make(at, "mul", [x, number(at, 0.5, expr.span)], expr.span)
        return make(at, "mul", [half, bell], expr.span)
    return make(at, name, [x], expr.span)


@builtin("mod")
def _mod(expr: tree.Call, at: At) -> Value:
    exprs, _ = split(expr, 2, 2)
    a, b = operands(exprs, at)
    if is_static(a) and is_static(b):
        return constants.binary("mod", a, b, expr.span)
    return make(at, "mod", [lift(a, at, exprs[0].span), lift(b, at, exprs[1].span)], expr.span)


@builtin("where")
def _where(expr: tree.Call, at: At) -> Value:
    exprs, _ = split(expr, 3, 3)
    values = operands(exprs, at)
    if all(is_static(v) for v in values):
        c, a, b = (constants.numbers(v, expr.span) for v in values)
        return constants.plain(np.where(c != 0, a, b)) if any(isinstance(v, np.ndarray) for v in (c, a, b)) \
            else (a if c else b)
    return make(at, "where", [lift(v, at, e.span) for v, e in zip(values, exprs)], expr.span, rules.choose)


@builtin("clip")
def _clip(expr: tree.Call, at: At) -> Value:
    exprs, _ = split(expr, 3, 3)
    x, low, high = operands(exprs, at)
    spans = [e.span for e in exprs]
    return together("min", [together("max", [x, low], spans, at, expr.span), high], spans[1:], at, expr.span)


# ---------------------------------------------------------------------------------------------------------- reductions

@builtin("sum", "mean", "max", "min", "logsumexp", "softmax", "logsoftmax", "argmax", "norm")
def _reduction(expr: tree.Call, at: At) -> Value:
    name = expr.function.id
    exprs, named = split(expr, 1, None if name in ("max", "min") else 1, ("axis",))
    if len(exprs) > 1:
        if named:
            raise Stop("E0204", f"{name} of several values takes no axis", expr.span)
        return together(name, operands(exprs, at), [e.span for e in exprs], at, expr.span)
    axis = whole(named["axis"], at) if "axis" in named else None
    value = operand(exprs[0], at)
    if is_static(value):
        return constants.reduction(name, value, axis, expr.span)
    x = lift(value, at, exprs[0].span)
    if name == "norm":
        square = make(at, "mul", [x, x], expr.span)
        return make(at, "sqrt", [make(at, "sum", [square], expr.span, rules.reduce, axis=axis)], expr.span)
    rule = rules.along if name in ("softmax", "logsoftmax") else rules.argmax if name == "argmax" else rules.reduce
    return make(at, name, [x], expr.span, rule, axis=axis)


# ---------------------------------------------------------------------------------------------------------- matrices

@builtin("dot", "outer")
def _pair(expr: tree.Call, at: At) -> Value:
    name = expr.function.id
    exprs, _ = split(expr, 2, 2)
    values = operands(exprs, at)
    if all(is_static(v) for v in values):
        a, b = (np.atleast_1d(np.asarray(constants.numbers(v, expr.span), dtype=np.float64)) for v in values)
        if a.ndim > 1 or b.ndim > 1 or name == "dot" and a.shape != b.shape:
            raise Stop("E0304", f"{name} takes two vectors that fit", expr.span)
        return constants.plain(np.outer(a, b) if name == "outer" else np.dot(a, b))
    refs = [lift(v, at, e.span) for v, e in zip(values, exprs)]
    return make(at, name, refs, expr.span, rules.outer if name == "outer" else rules.dot)


@builtin("transpose")
def _transpose(expr: tree.Call, at: At) -> Value:
    (inner,), _ = split(expr, 1, 1)
    value = operand(inner, at)
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return value.T.copy()
    return make(at, "transpose", [lift(value, at, inner.span)], expr.span, rules.transpose)


@builtin("expm", "inv", "solve")
def _linear_algebra(expr: tree.Call, at: At) -> Value:
    name = expr.function.id
    exprs, _ = split(expr, *((2, 2) if name == "solve" else (1, 1)))
    try:
        values = [static(e, at) for e in exprs]
    except Stop as stop:
        if stop.fault.code != "E0501":
            raise
        raise Stop("E0502", f"{name} works on constants, when compiling", stop.fault.span) from None
    a = constants.square(values[0], name, exprs[0].span)
    if name == "expm":
        return constants.expm(a)
    b = np.asarray(constants.numbers(values[1], exprs[1].span), dtype=np.float64) if name == "solve" else None
    return constants.inverse(a, b, name, expr.span)


@builtin("concat")
def _concat(expr: tree.Call, at: At) -> Value:
    exprs, named = split(expr, 1, None, ("axis",))
    values, spans = operands(exprs, at), [e.span for e in exprs]
    if "axis" not in named:
        return together("concat", values, spans, at, expr.span)
    axis = whole(named["axis"], at)
    refs = [lift(v, at, s) for v, s in zip(values, spans)]
    return make(at, "concat", refs, expr.span, rules.concat, axis=axis)


@builtin("reshape")
def _reshape(expr: tree.Call, at: At) -> Value:
    (inner, shape), _ = split(expr, 2, 2)
    sizes = sizes_of(shape, at, "reshape")
    x = lift(operand(inner, at), at, inner.span)
    return make(at, "reshape", [x], expr.span, rules.reshape, sizes=sizes)


def sizes_of(expr: tree.Expr, at: At, owner: str):
    """A shape written as a list, or as one size: a function that gives it when it is known."""
    items = expr.items if isinstance(expr, tree.ListOf) else (expr,)
    return lambda: tuple(size(item, at, owner) for item in items)


@builtin("zeros", "ones", "eye")
def _filled(expr: tree.Call, at: At) -> Value:
    name = expr.function.id
    exprs, _ = split(expr, 1, 1 if name == "eye" else None)
    if len(exprs) == 1 and isinstance(exprs[0], tree.ListOf) and name != "eye":
        exprs = list(exprs[0].items)
    shape = tuple(size(e, at, name).value for e in (exprs * 2 if name == "eye" else exprs))
    if math.prod(shape) > LARGEST:
        raise Stop("E0309", f"{name} of {math.prod(shape)} numbers is too large", expr.span)
    return np.eye(shape[0]) if name == "eye" else np.full(shape, float(name == "ones"))


@builtin("dim")
def _dim(expr: tree.Call, at: At) -> Value:
    exprs, named = split(expr, 1, 2, ("axis",))
    axis_expr = named.get("axis", exprs[1] if len(exprs) > 1 else None)
    axis = whole(axis_expr, at) if axis_expr is not None else 0
    key = ("dim", id(expr), at.delay)
    value = at.scope.sites.get(key)
    if value is None:
        value = operand(exprs[0], at.under(at.delay, False))
        at.scope.sites[key] = value
    if isinstance(value, Layer):
        raise Stop("E0211", f"dim takes a signal, and {value.word} is a layer here", exprs[0].span)
    if is_static(value):
        shape = np.shape(constants.numbers(value, expr.span)) or (1,)
    else:
        type_ = value.draft.known
        if type_ is None:
            raise NotYet("the size of this", exprs[0].span, value.draft)
        if type_.wrong:
            raise Silent
        shape = (type_.classes.value,) if type_.classes is not None else tuple(s.value for s in type_.shape) or (1,)
    if not -len(shape) <= axis < len(shape):
        raise Stop("E0305", f"there is no axis {axis}: the value has rank {len(shape)}", expr.span)
    return int(shape[axis])


@builtin("one_hot")
def _one_hot(expr: tree.Call, at: At) -> Value:
    exprs, _ = split(expr, 1, 2)
    label = lift(operand(exprs[0], at), at, exprs[0].span)
    extra = {"sizes": sizes_of(exprs[1], at, "one_hot")} if len(exprs) > 1 else {}
    return make(at, "one_hot", [label], expr.span, rules.one_hot, spot=exprs[0].span, **extra)


@builtin("take")
def _take(expr: tree.Call, at: At) -> Value:
    exprs, _ = split(expr, 2, 2)
    return make(at, "take", lifted(exprs, at), expr.span, picks.take, spot=exprs[1].span)


@builtin("window")
def _window(expr: tree.Call, at: At) -> Value:
    """The last k frames, newest first."""
    (inner, length), _ = split(expr, 2, 2)
    frames = count(length, at, "a window is at least 1 frame long")
    parts = [operand(inner, at.later(k * at.scope.direction)) for k in range(frames)]
    return together("concat", parts, [inner.span] * frames, at, expr.span)


# ---------------------------------------------------------------------------------------------------------- losses

@builtin("mse", "mae", "huber", "binary_cross_entropy")
def _paired(expr: tree.Call, at: At) -> Value:
    """The mean over units of a function of prediction and target."""
    name, given = expr.function.id, [argument.value for argument in expr.arguments]
    if len(given) == 1 and isinstance(given[0], tree.Binary) and given[0].op == "-":
        sides = f"{show_expression(given[0].left)}, {show_expression(given[0].right)}"
        raise Stop("E0204", f"{name} takes 2 arguments, not 1", expr.span, hint=f"write {name}({sides})")
    exprs, _ = split(expr, 2, 2)
    a, b = lifted(exprs, at)
    span = expr.span
    if name == "binary_cross_entropy":         # softplus(z) - z y, the stable form of -y log s(z) - (1-y) log(1-s(z))
        each = combine("-", make(at, "softplus", [a], span), combine("*", a, b, at, span), at, span)
    else:
        d = combine("-", a, b, at, span)
        size_ = d if name == "mse" else make(at, "abs", [d], span)
        if name == "mse":
            each = combine("*", d, d, at, span)
        elif name == "mae":
            each = size_
        else:                                  # with m = min(|d|, 1): d^2/2 within 1, |d| - 1/2 beyond, in one formula
            m = make(at, "minimum", [size_, number(at, 1, span)], span)
            half = combine("*", number(at, 0.5, span), m, at, span)
            each = combine("*", m, combine("-", size_, half, at, span), at, span)
    return make(at, "mean", [each], span, rules.reduce, axis=None)


@builtin("cross_entropy", "hinge", "squared_hinge")
def _labelled(expr: tree.Call, at: At) -> Value:
    exprs, _ = split(expr, 2, 2)
    name = expr.function.id
    turned = f"{name}({show_expression(exprs[1])}, {show_expression(exprs[0])})"
    return make(at, name, lifted(exprs, at), expr.span, rules.labelled, name=name, spot=exprs[1].span, turned=turned)
