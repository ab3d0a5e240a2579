"""Operators over a sequence: how they are called, which shapes they take, and what of the graph they are made of.

What has one value for a whole sequence is the same in each of its frames: delays pass over it, as over a constant. What
has a value for each frame, but is made of all of them, is a signal under delays, like what a cell returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rnnc.front import tree
from rnnc.graph.elaborate import constants
from rnnc.graph.elaborate.builtins import builtin, split
from rnnc.graph.elaborate.drafts import SCALAR, Draft, Ref, Size, Stop, Type, describe
from rnnc.graph.elaborate.expressions import operand, static
from rnnc.graph.elaborate.operators import lift, make
from rnnc.graph.elaborate.rules import differ, refuse_label, types
from rnnc.graph.elaborate.scope import At
from rnnc.graph.nodes import CONSTANT, FRAME, INT, REAL, SEQUENCE, Node, finest

if TYPE_CHECKING:
    from rnnc.graph.elaborate.emit import Emitter

# What an operator gives: one value per sequence, or one per frame.
GIVES = {"last": SEQUENCE, "sum_over": SEQUENCE, "mean_over": SEQUENCE, "max_over": SEQUENCE, "ctc": SEQUENCE,
         "permute_time": FRAME}


def domain(op: str, domains) -> str:
    """The domain of an operator of a draft, from those of its arguments."""
    return GIVES.get(op) or finest([*domains, SEQUENCE if op == "softmax_over" else CONSTANT])


def drawn_once(d: Draft, read: list[str]) -> bool:
    """Random numbers for a value per sequence are drawn once for each, unless `per = frame` is written out."""
    return d.op in ("dropout", "noise") and read[0] == SEQUENCE and \
        not (d.attrs["per"] and d.args[1].draft.attrs["per"] == FRAME)


# ---------------------------------------------------------------------------------------------------------- calls

def refuse_static(expr: tree.Call, at: At) -> None:
    if at.static:
        raise Stop("E0501", f"a number known when compiling is needed here, and {expr.function.id} makes a signal",
                   expr.span)


def over(expr: tree.Call) -> tree.Expr:
    """v of `sum_over(t, v)`."""
    name = expr.function.id
    (axis, inner), _ = split(expr, 2, 2)
    if not (isinstance(axis, tree.Name) and axis.id == "t"):
        raise Stop("E0204", f"the first argument of {name} is the time: {name}(t, v)", axis.span)
    return inner


def each_frame(expr: tree.Call, at: At, value: Callable[[At], Ref]) -> Ref:
    """A value per frame, at the frame that is asked for: under a delay it gets a name of its own, since only a signal
    has a past."""
    from rnnc.graph.elaborate.bodies import new_signal, settle
    now = at.under(0, False)
    if at.delay == 0:
        return value(now)
    key = ("signal", id(expr))
    made = at.scope.sites.get(key)
    if made is None:
        place = at.place.site((*at.key, expr.span.line, expr.span.column), expr.function.id)
        made = at.scope.sites[key] = new_signal(at.scope, expr.function.id, place, expr.span)
        settle(at.scope, made, value(now))
    return Ref(made.draft, at.delay)


@builtin("last", "sum_over", "mean_over", "max_over")
def _whole(expr: tree.Call, at: At) -> Ref:
    refuse_static(expr, at)
    name, now = expr.function.id, at.under(0, False)
    inner = split(expr, 1, 1)[0][0] if name == "last" else over(expr)
    x = lift(operand(inner, now), now, inner.span)
    return make(now, name, [x], expr.span, kept, turned=at.scope.direction < 0)


@builtin("softmax_over")
def _softmax_over(expr: tree.Call, at: At) -> Ref:
    refuse_static(expr, at)
    inner = over(expr)
    return each_frame(expr, at, lambda now: make(now, "softmax_over", [lift(operand(inner, now), now, inner.span)],
                                                 expr.span, kept))


@builtin("permute_time")
def _permute_time(expr: tree.Call, at: At) -> Ref:
    refuse_static(expr, at)
    (inner, order), _ = split(expr, 2, 2)
    places = np.asarray(constants.numbers(static(order, at), order.span), dtype=np.float64)
    if places.ndim != 1 or not places.size or not np.array_equal(np.sort(places), np.arange(len(places))):
        raise Stop("E0507", "a new order of n frames holds each of 0 to n - 1 once", order.span)
    return each_frame(expr, at, lambda now: make(now, "permute_time", [lift(operand(inner, now), now, inner.span)],
                                                 expr.span, kept, order=places))


@builtin("ctc")
def _ctc(expr: tree.Call, at: At) -> Ref:
    refuse_static(expr, at)
    exprs, _ = split(expr, 2, 2)
    now = at.under(0, False)
    return make(now, "ctc", [lift(operand(e, now), now, e.span) for e in exprs], expr.span, spelled)


# ---------------------------------------------------------------------------------------------------------- types

def kept(draft: Draft) -> Type | None:
    """Operators that keep the shape; labels have a last one, and an order, but no sum."""
    found = types(draft)
    if found is None:
        return None
    if draft.op not in ("last", "permute_time"):
        refuse_label(found[0], draft.span)
    return found[0]


def spelled(draft: Draft) -> Type | None:
    """ctc: a logit for each label and one for the blank."""
    found = types(draft)
    if found is None:
        return None
    logits, labels = found
    refuse_label(logits, draft.span)
    if logits.rank != 1:
        raise Stop("E0304", f"ctc takes a vector of logits, not {describe(logits)}", draft.span)
    if not labels.lists:
        raise Stop("E0308", f"ctc takes lists of labels, not {describe(labels)}", draft.span,
                   hint="declare them so: target y : labels(n)")
    wanted = Size(labels.classes.value + 1, f"{labels.classes.origin} and a blank", labels.classes.span)
    if logits.shape[0] != wanted:
        raise differ(logits.shape[0], wanted, draft.span, "logits and labels",
                     "one logit for each label, and the last one for the blank")
    return SCALAR


# ---------------------------------------------------------------------------------------------------------- the graph

def lower_whole(e: Emitter, d: Draft) -> Node:
    (ref,) = e.reads[d]
    if d.op == "last":
        op = "span_first" if d.attrs["turned"] else "span_last"
        return e.node(op, (e.read(ref),), e.shape(d), e.final_kind(d), d.span)
    given = e.read(ref, REAL)
    if d.op != "mean_over":
        return e.node({"sum_over": "span_sum", "max_over": "span_max"}[d.op], (given,), e.shape(d), REAL, d.span)
    total = e.add("span_sum", (given,), e.shape(d), REAL, d.span)
    frames = e.add("real", (e.add("span_frames", (), (), INT, d.span),), (), REAL, d.span)
    return e.node("div", (total, frames), e.shape(d), REAL, d.span)


def lower_softmax_over(e: Emitter, d: Draft) -> Node:
    given = e.read(e.reads[d][0], REAL)
    whole = e.add("span_logsumexp", (given,), e.shape(d), REAL, d.span)
    return e.node("exp", (e.add("sub", (given, whole), e.shape(d), REAL, d.span),), e.shape(d), REAL, d.span)


def lower_permute_time(e: Emitter, d: Draft) -> Node:
    places = d.attrs["order"]
    order = e.add("table", (), places.shape, REAL, d.span, index=e.builder.table(places))
    frame = e.add("frame_index", (), (), INT, d.span)
    labels = d.type.classes is not None or None
    return e.node("permute", (e.read(e.reads[d][0]), frame, order), e.shape(d), e.final_kind(d), d.span, labels=labels)


def lower_ctc(e: Emitter, d: Draft) -> Node:
    logits, labels = e.reads[d]
    return e.node("ctc", (e.read(logits, REAL), e.read(labels, INT)), (), REAL, d.span)


LOWER = {"last": lower_whole, "sum_over": lower_whole, "mean_over": lower_whole, "max_over": lower_whole,
         "softmax_over": lower_softmax_over, "permute_time": lower_permute_time, "ctc": lower_ctc}
