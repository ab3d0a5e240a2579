"""Expressions: each becomes a static number, a layer, or a read of a draft.

`evaluate` looks at an expression at one spot (`At`), under one delay. `operand` does the same but never waits: where a
number it needs is still being worked out it leaves a gap that is filled later. Delays travel down to the names of
signals; parameters and constants ignore them.
"""

import numpy as np

from rnnc.errors import Note, Span
from rnnc.front import tree
from rnnc.front.show import show_expression
from rnnc.graph.elaborate import constants
from rnnc.graph.elaborate.constants import is_static
from rnnc.graph.elaborate.drafts import NotYet, Ref, Size, Stop
from rnnc.graph.elaborate.hints import near
from rnnc.graph.elaborate.operators import combine, lift, make
from rnnc.graph.elaborate.places import Store
from rnnc.graph.elaborate.scope import (
    Application,
    At,
    Constant,
    Layer,
    Parameter,
    Signal,
    Thunk,
    Value,
    wrong_name,
)


def evaluate(expr: tree.Expr, at: At) -> Value:
    return KINDS[type(expr)](expr, at)


def operand(expr: tree.Expr, at: At) -> Value:
    """The value, or a gap to be filled when the sizes it waits for are known."""
    try:
        return evaluate(expr, at)
    except NotYet as wait:
        if at.static:
            raise
        return at.scope.work.gap(expr, at, wait)


def signal(expr: tree.Expr, at: At) -> Ref:
    """An expression where a signal, a parameter or a number is meant."""
    return lift(operand(expr, at), at, expr.span)


def static(expr: tree.Expr, at: At) -> Value:
    """An expression whose value is needed now: a size, a delay, an index."""
    value = evaluate(expr, at.under(at.delay, True))
    if isinstance(value, Ref):
        raise Stop("E0501", "a number known when compiling is needed here", expr.span)
    return value


def whole(expr: tree.Expr, at: At, what: str = "a whole number") -> int:
    value = static(expr, at)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        refuse_remainder(expr, at)
        if value.is_integer() and not isinstance(expr, tree.Number):
            return int(value)
    raise Stop("E0309", f"{what} is needed here, not {told(value)}", expr.span, tuple(fractions(expr, at)))


def fractions(expr: tree.Expr, at: At) -> list[Note]:
    """Where the names in an expression that stand for fractions have got them."""
    match expr:
        case tree.Unary():
            return fractions(expr.operand, at)
        case tree.Binary():
            return [note for part in tree.operands(expr) for note in fractions(part, at)]
        case tree.Name():
            entry, value = at.scope.find(expr.id), static(expr, at)
            if not isinstance(value, float) or value.is_integer():
                return []
            if isinstance(entry, Constant):
                return [Note(entry.statement.name.span, f"{expr.id} is {value}")]
            if isinstance(entry, Thunk):
                return fractions(entry.expr, entry.at) or [Note(entry.expr.span, f"{expr.id} is {value}")]
    return []


MOST = 100_000                                 # turns, copies and frames that may be written out one by one


def count(expr: tree.Expr, at: At, what: str, least: int = 1) -> int:
    """How often something is written out."""
    value = whole(expr, at)
    if not least <= value <= MOST:
        raise Stop("E0309", f"{what}, not {value}" if value < least else f"{value} is too many here", expr.span)
    return value


def refuse_remainder(expr: tree.Expr, at: At) -> None:
    """Where a whole number is meant `/` must divide exactly, on the way to it too."""
    if isinstance(expr, tree.Unary):
        refuse_remainder(expr.operand, at)
    if isinstance(expr, tree.Binary):
        first, links = tree.chain(expr)
        refuse_remainder(first, at)
        for link in links:
            refuse_remainder(link.right, at)
            if link.op != "/":
                continue
            left, right = static(link.left, at), static(link.right, at)
            if isinstance(left, int) and isinstance(right, int) and left % right:
                raise Stop("E0504", f"{left} / {right} does not divide exactly", link.span, hint="// rounds down")


def told(value: Value) -> str:
    if isinstance(value, Layer):
        return f"the layer {value.word}"
    if isinstance(value, list):
        return "a list"
    return f"an array {constants.shape_of(value)}" if isinstance(value, np.ndarray) else str(value)


def size(expr: tree.Expr, at: At, owner: str) -> Size:
    """A dimension: a positive integer. Its origin is its name, or the thing that it belongs to."""
    value = whole(expr, at, "a positive integer")
    if value < 1:
        raise Stop("E0309", f"a size must be at least 1, not {value}", expr.span)
    if value >= 2**31:
        raise Stop("E0309", f"a size of {value} is more than the C can count", expr.span)
    return Size(value, *origin(expr, at, owner))


def origin(expr: tree.Expr, at: At, owner: str) -> tuple[str, Span]:
    """Whose a size is, and where: followed back through the arguments of cells, and through `dim(x)` to x."""
    while isinstance(expr, tree.Name) and isinstance(entry := at.scope.find(expr.id), Thunk) and entry.result is None:
        if entry.at.scope is at.scope:         # a default
            break
        if not isinstance(entry.expr, tree.Name):
            owner = expr.id
        expr, at = entry.expr, entry.at
    if isinstance(expr, tree.Call) and isinstance(expr.function, tree.Name) and expr.function.id == "dim":
        value = operand(expr.arguments[0].value, at.under(at.delay, False))
        known = value.draft.known if isinstance(value, Ref) and len(expr.arguments) == 1 else None
        if known is not None and (known.classes or known.shape):
            found = known.classes or known.shape[0]
            if found.span is not None:
                return found.origin, found.span
    return expr.id if isinstance(expr, tree.Name) else owner, expr.span


# ------------------------------------------------------------------------------------------------------------ names

def _number(expr: tree.Number, at: At) -> Value:
    return expr.value


def _text(expr: tree.Text, at: At) -> Value:
    raise Stop("E0211", "a text in quotes has no meaning here", expr.span)


def _list(expr: tree.ListOf, at: At) -> Value:
    try:
        return [static(item, at) for item in expr.items]
    except Stop as stop:
        if stop.fault.code != "E0501":
            raise
        parts = ", ".join(show_expression(item) for item in expr.items)
        raise stop.advised(f"a list holds numbers; signals are put together by concat({parts})") from None


def _range(expr: tree.Range, at: At) -> Value:
    raise Stop("E0211", "a range belongs in the brackets of x[0:n]", expr.span)


def _name(expr: tree.Name, at: At) -> Value:
    if expr.id == "t":
        if at.static:
            raise Stop("E0501", "a number known when compiling is needed here, and t is the frame number", expr.span)
        return Ref(at.scope.work.time(expr.span), at.delay)
    found = at.scope.find(expr.id)
    if found is None:
        raise _unknown(expr, at)
    return value_of(found, expr, at)


def _unknown(expr: tree.Name, at: At) -> Stop:
    kind = at.scope.work.callable_kind(expr.id, at.scope)
    if kind:
        return Stop("E0211", f"{expr.id} is a {kind}: it needs arguments", expr.span)
    return wrong_name(expr.id, expr.span, at.scope)


def value_of(found, expr: tree.Expr, at: At) -> Value:
    """What a thing found in a scope stands for in an expression."""
    match found:
        case Signal():
            if at.static:
                raise Stop("E0501", f"a number known when compiling is needed here, and {found.name} is a signal",
                           expr.span)
            return Ref(found.draft, at.delay)
        case Parameter():
            if at.static:
                raise Stop("E0501", f"a number known when compiling is needed here, and {found.name} is a parameter",
                           expr.span, hint=f"make {found.name} a size of the {'cell' if at.scope.trail else 'model'}, "
                                           "or a const")
            return Ref(found.draft)
        case Thunk():
            return argument(found, at.delay, at.static)
        case Constant():
            return at.scope.work.constant(found, expr.span)
        case Store():
            raise Stop("E0211", "this is a layer: what it returns is read where it is applied", expr.span)
        case Application():
            return Ref(found.results[0].draft, found.results[0].delay + at.delay)
    return found


def argument(thunk: Thunk, delay: int, is_needed: bool) -> Value:
    """An argument under a delay. Numbers and layers are the same under every delay."""
    if thunk.result is not None:
        if is_needed:
            raise Stop("E0501", "a number known when compiling is needed here, not a signal", thunk.expr.span)
        return Ref(thunk.result.draft, thunk.result.delay + delay)
    known = thunk.known.get(delay, thunk.known.get(None))
    if known is not None and not (is_needed and isinstance(known, Ref)):
        return known
    if thunk.busy:
        raise Stop("E0206", "this value depends on itself", thunk.expr.span)
    thunk.busy = True
    try:
        look = evaluate if is_needed else operand
        value = look(thunk.expr, thunk.at.under(delay, is_needed))
    except Stop as stop:
        if stop.fault.code != "E0501" or stop.fault.hint or not thunk.hint:
            raise
        raise stop.advised(thunk.hint) from None
    finally:
        thunk.busy = False
    thunk.known[delay if isinstance(value, Ref) else None] = value
    return value


def holder(expr: tree.Expr, at: At):
    """What stands before a `.`: a signal that is an application's result, a layer, an inner part."""
    if isinstance(expr, tree.Name):
        found = at.scope.find(expr.id)
        if found is None:
            raise _unknown(expr, at)
        return found
    if isinstance(expr, tree.Attribute):
        return part(holder(expr.base, at), expr, at)
    raise Stop("E0210", "only named applications and layers have inner parts", expr.span,
               hint="give it a name first: v = ..., then v.c")


def part(owner, expr: tree.Attribute, at: At):
    """The thing that `owner.part` names."""
    wanted = expr.part
    if isinstance(owner, Thunk) and isinstance(owner.expr, (tree.Name, tree.Attribute)):
        owner = holder(owner.expr, owner.at)
    if isinstance(owner, Signal):
        if not owner.elaborated:
            raise NotYet(f"the parts of {owner.name}", expr.span)
        if owner.application is None:
            raise Stop("E0210", f"{owner.name} is not the application of a cell: it has no part {wanted}", expr.span)
        owner = owner.application
    if isinstance(owner, (Layer, Store)):
        from rnnc.graph.elaborate.applications import instance_part
        return instance_part(owner, expr)
    if not isinstance(owner, Application):
        raise Stop("E0210", f"there is no part {wanted} in this", expr.span)
    if wanted.isdigit():
        if int(wanted) < len(owner.parts):
            return owner.parts[int(wanted)]
        raise Stop("E0210", f"there is no copy {wanted}: a stack of {len(owner.parts)} counts from 0" if owner.parts
                   else f"{owner.word} is not a stack: it has no part {wanted}", expr.span)
    if owner.parts:
        raise Stop("E0210", f"a stack of {len(owner.parts)} has no part {wanted} of its own", expr.span,
                   hint=f"its copies have parts, as in v.0.{wanted}")
    names = owner.scope.names if owner.scope is not None else {}
    inner = {n: v for n, v in names.items() if isinstance(v, (Signal, Parameter, Layer))
             and not (isinstance(v, Layer) and v.kind != "instance")}
    if wanted not in inner:
        raise Stop("E0210", f"{owner.word} has no part called {wanted}", expr.span,
                   hint=near(wanted, inner) or f"its parts: {', '.join(inner) or 'none'}")
    return inner[wanted]


METHODS = {"T": "transpose", "shape": "dim", "size": "dim"}      # parts of arrays elsewhere -> functions here


def _attribute(expr: tree.Attribute, at: At) -> Value:
    try:
        return value_of(part(holder(expr.base, at), expr, at), expr, at)
    except Stop as stop:
        if stop.fault.code != "E0210" or expr.part not in METHODS:
            raise
        raise stop.advised(f"write {METHODS[expr.part]}({show_expression(expr.base)})") from None


# -------------------------------------------------------------------------------------------------------- operators

def _unary(expr: tree.Unary, at: At) -> Value:
    value = operand(expr.operand, at)
    if is_static(value):
        return constants.unary(expr.op, value, expr.span)
    ref = lift(value, at, expr.operand.span)
    if expr.op == "+":
        return ref
    return make(at, "neg" if expr.op == "-" else "not", [ref], expr.span)


def _binary(expr: tree.Binary, at: At) -> Value:
    first, links = tree.chain(expr)
    value = operand(first, at)
    for link in links:
        right = operand(link.right, at)
        if is_static(value) and is_static(right):
            value = constants.binary(link.op, value, right, link.span)
        else:
            value = combine(link.op, lift(value, at, link.left.span), lift(right, at, link.right.span), at, link.span)
    return value


KINDS = {
    tree.Number: _number, tree.Text: _text, tree.ListOf: _list, tree.Range: _range, tree.Name: _name,
    tree.Attribute: _attribute, tree.Unary: _unary, tree.Binary: _binary,
}
