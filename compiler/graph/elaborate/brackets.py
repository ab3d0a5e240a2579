"""Brackets and repetitions: `v[t-1]`, `x[0:n]`, `U[i]`, `sum(i in 0..k : ...)`."""

import numpy as np

from rnnc.errors import Span
from rnnc.front import tree
from rnnc.front.show import show_expression
from rnnc.graph.elaborate import constants, picks
from rnnc.graph.elaborate.constants import is_static
from rnnc.graph.elaborate.drafts import Size, Stop
from rnnc.graph.elaborate.expressions import KINDS, MOST, operand, static, whole
from rnnc.graph.elaborate.operators import combine, lift, make, together
from rnnc.graph.elaborate.scope import At, Doubt, Value


def frame_shift(expr: tree.Expr, at: At) -> tuple[int, int | None] | None:
    """(how often t is added, the rest) for an expression in brackets that mentions t; None if it does not."""
    if not mentions_time(expr):
        return None
    if isinstance(expr, tree.Name):
        return 1, 0
    if isinstance(expr, tree.Unary) and expr.op in "+-":
        times, rest = frame_shift(expr.operand, at)
        return (-times, -rest) if expr.op == "-" else (times, rest)
    if isinstance(expr, tree.Binary) and expr.op in "+-":
        first, links = tree.chain(expr)
        if not mentions_time(first):           # the numbers in front are one number
            while not mentions_time(links[0].right):
                first = links.pop(0)
        times, rest = frame_shift(first, at) or (0, whole(first, at))
        for link in links:
            right = frame_shift(link.right, at) or (0, whole(link.right, at))
            sign = 1 if link.op == "+" else -1
            times, rest = times + sign * right[0], rest + sign * right[1]
        return times, rest
    raise Stop("E0403", "a delay is written t - k or t + k with a k known when compiling", expr.span)


def mentions_time(expr) -> bool:
    match expr:
        case tree.Name():
            return expr.id == "t"
        case tree.Unary():
            return mentions_time(expr.operand)
        case tree.Binary():
            return any(map(mentions_time, tree.operands(expr)))
        case tree.Call():
            return any(mentions_time(a.value) for a in expr.arguments)
        case tree.Index():
            return mentions_time(expr.base) or any(mentions_time(i) for i in expr.items)
        case tree.Repeat():
            return mentions_time(expr.body)
    return False


def shift(expr: tree.Expr, at: At) -> int | None:
    """`t-2` is -2, `t+1` is 1; None where t is not mentioned."""
    found = frame_shift(expr, at)
    if found is None:
        return None
    if found[0] != 1:
        raise Stop("E0403", "a delay is written t - k or t + k with a k known when compiling", expr.span)
    return found[1]


def doubt_delay(expr: tree.Index, frames: int, at: At) -> None:
    """`h[t-d]` is no delay where d is 0, and looks ahead where it is negative."""
    item = expr.items[0]
    if isinstance(item, tree.Binary) and (frames >= 0 if item.op == "-" else frames <= 0):
        for name in names_in(item.right):
            doubt(at, name.span, said=f"{name.id} is {static(name, at)} here")


def doubt_index(name: str, k: int, of, expr: tree.Index, at: At) -> None:
    """`h[-1]` is no delay."""
    said = f"{name}[-1] is the last unit, in the same frame; one frame" if k == 1 else \
        f"{name}[-{k}] counts units from the end, in the same frame; {k} frames"
    doubt(at, expr.span, hint=f"{said} ago is {name}[t-{k}]", of=of)


def names_in(expr: tree.Expr) -> list[tree.Name]:
    match expr:
        case tree.Name():
            return [expr]
        case tree.Unary():
            return names_in(expr.operand)
        case tree.Binary():
            return [name for part in tree.operands(expr) for name in names_in(part)]
    return []


def doubt(at: At, span: Span, **words) -> None:
    at.scope.work.doubts[Doubt(at.place, span, **words)] = None


def _index(expr: tree.Index, at: At) -> Value:
    if len(expr.items) == 1 and not isinstance(expr.items[0], tree.Range):
        frames = shift(expr.items[0], at)
        if frames is not None:
            if at.static:
                raise Stop("E0501", "a number known when compiling is needed here, not a signal", expr.span)
            doubt_delay(expr, frames, at)
            return operand(expr.base, at.later(-frames * at.scope.direction))
    items = []
    for item in expr.items:
        if isinstance(item, tree.Range):
            if any(end is not None and mentions_time(end) for end in (item.low, item.high)):
                raise Stop("E0403", "a range picks units, and no frames", item.span,
                           hint=f"the last k frames, newest first, are window({show_expression(expr.base)}, k)")
            ends = [None if end is None else whole(end, at) for end in (item.low, item.high)]
            items.append(tuple(ends))
        elif mentions_time(item):
            raise Stop("E0403", "a delay stands alone in its brackets", item.span, hint="write x[0:n][t-1]")
        else:
            items.append(_one(item, expr, at))
    base = operand(expr.base, at)
    if is_static(base):
        return _pick_static(base, items, expr)
    if any(isinstance(item, np.ndarray) for item in items):
        raise Stop("E0309", "an index is a whole number", expr.span)
    ref = lift(base, at, expr.base.span)
    if ref.draft.signal is not None and len(items) == 1 and isinstance(items[0], int) and items[0] < 0:
        doubt_index(show_expression(expr.base), -items[0], ref.draft.signal.place, expr, at)
    return make(at, "pick", [ref], expr.span, picks.pick, items=tuple(items))


def _one(item: tree.Expr, expr: tree.Index, at: At) -> int | np.ndarray:
    """One index, or an array of them."""
    try:
        value = static(item, at)
    except Stop as stop:
        if stop.fault.code != "E0501" or stop.fault.hint or len(expr.items) > 1:
            raise
        signal = f"take({show_expression(expr.base)}, {show_expression(item)})"
        raise stop.advised(f"a signal picks by {signal}") from None
    return value if isinstance(value, np.ndarray) else whole(item, at)


def _pick_static(base, items: list, expr: tree.Index) -> Value:
    if isinstance(base, list) and len(items) == 1:
        if isinstance(items[0], int):
            picks.bounds(items[0], Size(len(base), "a list", expr.base.span), expr.span)
            return base[items[0]]
        if isinstance(items[0], tuple):
            low, high = picks.bounds(items[0], Size(len(base), "a list", expr.base.span), expr.span)
            return base[low:high]
    array = constants.numbers(base, expr.base.span)
    if not isinstance(array, np.ndarray) or len(items) > array.ndim:
        raise Stop("E0304", f"{len(items)} indices for {constants.shape_of(base)}", expr.span)
    chosen = []
    for n, item in zip(array.shape, items):
        if isinstance(item, np.ndarray):
            index = np.asarray(item)
            if (index != np.floor(index)).any() or (index < -n).any() or (index >= n).any():
                raise Stop("E0306", f"an index is out of range: the size is {n}", expr.span)
            chosen.append(index.astype(np.int64))
        else:
            low, high = picks.bounds(item, Size(n, "a constant", expr.base.span), expr.span)
            chosen.append(low if isinstance(item, int) else slice(low, high))
    return constants.plain(array[tuple(chosen)])


REPEATS = {"sum": "+", "product": "*", "max": "max", "concat": "concat"}


def _repeat(expr: tree.Repeat, at: At) -> Value:
    over = expr.over
    if isinstance(over, tree.Steps):
        low = whole(over.low, at)
        high = whole(over.high, at)
        if high - low > MOST:
            raise Stop("E0309", f"{high - low} turns are too many", over.span)
        turns = list(range(low, high))
    else:
        turns = static(over, at)
        if not isinstance(turns, list):
            raise Stop("E0501", "a repetition runs over a range 0..k or a list of sizes", over.span)
    if not turns and expr.op in ("max", "concat"):
        raise Stop("E0506", f"{expr.op} of nothing: the repetition has no turn", over.span)
    scopes = at.scope.sites.setdefault((id(expr), tuple(map(str, turns))), [])
    values = []
    for turn, value in enumerate(turns):
        if turn == len(scopes):
            scopes.append(at.scope.child())
            scopes[turn].names[expr.index] = value
        inner = at.inside(scopes[turn], expr.span.line, expr.span.column, turn)
        values.append((operand(expr.body, inner), inner))
    return gather(expr, values, at)


def gather(expr: tree.Repeat, values: list, at: At) -> Value:
    span = expr.body.span
    if not values:
        return 0 if expr.op == "sum" else 1
    if expr.op == "concat":
        return together("concat", [v for v, _ in values], [span] * len(values), at, expr.span)
    total = values[0][0]
    for value, _ in values[1:]:
        if expr.op == "max":
            total = together("max", [total, value], [span, span], at, expr.span)
        elif is_static(total) and is_static(value):
            total = constants.binary(REPEATS[expr.op], total, value, expr.span)
        else:
            total = combine(REPEATS[expr.op], lift(total, at, span), lift(value, at, span), at, expr.span)
    return total


KINDS[tree.Index] = _index
KINDS[tree.Repeat] = _repeat
