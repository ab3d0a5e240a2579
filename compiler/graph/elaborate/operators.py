"""Operators on values: numbers among themselves are computed, anything else becomes drafts."""

import numpy as np

from rnnc.errors import Span
from rnnc.graph.elaborate import constants, rules
from rnnc.graph.elaborate.constants import is_static
from rnnc.graph.elaborate.drafts import SCALAR, Draft, Ref, Size, Stop, Type
from rnnc.graph.elaborate.scope import At, Layer, Value

ELEMENTWISE = {"+": "add", "-": "sub", "*": "mul", "/": "div", "and": "and", "or": "or"}
COMPARE = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}


def make(at: At, op: str, args: list[Ref], span: Span, rule=rules.elementwise, **attrs) -> Ref:
    draft = Draft(op, tuple(args), span, rule, attrs)
    draft.scope = at.scope
    return Ref(at.scope.work.engine.add(draft))


def number(at: At, value: int | float, span: Span) -> Ref:
    return make(at, "number", [], span, rules.fixed, value=value, type=SCALAR)


def lift(value: Value, at: At, span: Span) -> Ref:
    """A value as an operand of the graph: numbers and arrays become leaves."""
    if isinstance(value, Ref):
        return value
    if isinstance(value, (int, float)):
        return number(at, value, span)
    if isinstance(value, Layer):
        hint = f"a cell takes two lists: {value.word}(...)(x)" if value.kind == "cell" else None
        raise Stop("E0211", f"{value.word} is a layer here: apply it to a signal", span, hint=hint)
    array = constants.numbers(value, span)
    sizes = tuple(Size(n, "a constant", span) for n in array.shape)
    return make(at, "array", [], span, rules.fixed, value=array, type=Type(sizes))


def combine(op: str, a: Ref, b: Ref, at: At, span: Span) -> Ref:
    """One operator on operands of which at least one is not static."""
    if op in ELEMENTWISE:
        return make(at, ELEMENTWISE[op], [a, b], span)
    if op in COMPARE:
        return make(at, COMPARE[op], [a, b], span, rules.compare)
    if op == "@":
        return make(at, "product", [a, b], span, rules.product)
    if op == "^":
        return power(a, b, at, span)
    raise Stop("E0501", "// works on sizes only", span, hint="floor(a / b) rounds a signal down, to "
               "a real number, which is no index of take")


def power(a: Ref, b: Ref, at: At, span: Span) -> Ref:
    """Small whole exponents are products: cheaper, and right for negative bases."""
    exponent = b.draft.attrs["value"] if b.draft.op == "number" else None
    if exponent == 1:
        return a
    if exponent == 2:
        return make(at, "mul", [a, a], span)
    return make(at, "pow", [a, b], span)


def together(op: str, values: list[Value], spans: list[Span], at: At, span: Span) -> Value:
    """max, min and concat of several values."""
    if all(is_static(v) for v in values):
        arrays = [constants.numbers(v, s) for v, s in zip(values, spans)]
        if op == "concat":
            try:
                return np.concatenate([np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in arrays])
            except ValueError:
                raise Stop("E0302", "the parts of concat do not fit together", span) from None
        total = arrays[0]
        for value in arrays[1:]:
            if isinstance(total, np.ndarray) or isinstance(value, np.ndarray):
                constants.binary("+", total, value, span)
                total = (np.maximum if op == "max" else np.minimum)(total, value)
            else:
                total = max(total, value) if op == "max" else min(total, value)
        return constants.plain(total)
    refs = [lift(v, at, s) for v, s in zip(values, spans)]
    if op == "concat":
        return make(at, "concat", refs, span, rules.concat, axis=0)
    total = refs[0]
    for ref in refs[1:]:
        total = make(at, "maximum" if op == "max" else "minimum", [total, ref], span)
    return total
