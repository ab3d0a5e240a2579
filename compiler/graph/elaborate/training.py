"""Functions of the language that matter when training: gradients held back, replaced, or let through a jump; numbers
drawn at random."""

from rnnc.front import tree
from rnnc.graph.elaborate import rules
from rnnc.graph.elaborate.builtins import builtin, lifted, split
from rnnc.graph.elaborate.constants import is_static
from rnnc.graph.elaborate.drafts import Ref, Stop
from rnnc.graph.elaborate.expressions import operand, static, told, whole
from rnnc.graph.elaborate.hints import near
from rnnc.graph.elaborate.operators import lift, make, number
from rnnc.graph.elaborate.places import Place
from rnnc.graph.elaborate.scope import At, Value
from rnnc.graph.ops.declared import SURROGATES

# Arguments that are words of the language, not expressions: function -> argument -> the words.
WORDS = {"spike": {"surrogate": tuple(SURROGATES)}, "dropout": {"per": ("frame", "sequence")},
         "noise": {"per": ("frame", "sequence")}}
# The names of arguments that are given by place or by name.
PLACES = {"dropout": ("x", "p"), "noise": ("std",), "quantize": ("v", "bits", "step"),
          "spike": ("v", "surrogate", "slope"), "straight_through": ("forward", "backward")}
MOST_BITS = 24                                 # so many are exact in every number type


def word(expr: tree.Call, named: dict, key: str, default: str) -> str:
    """An argument that is one of a few words."""
    if key not in named:
        return default
    value, words = named[key], WORDS[expr.function.id][key]
    if not isinstance(value, tree.Name):
        raise Stop("E0204", f"{key} is one of the words {', '.join(words)}", value.span)
    if value.id not in words:
        raise Stop("E0204", f"{key} is one of {', '.join(words)}, not {value.id}", value.span,
                   hint=near(value.id, words))
    return value.id


def plain_number(expr: tree.Expr, at: At, what: str) -> float:
    value = static(expr, at)
    if not isinstance(value, (int, float)):
        raise Stop("E0501", f"{what} is a number known when compiling, not {told(value)}", expr.span)
    return float(value)


@builtin("stop_gradient")
def _stop_gradient(expr: tree.Call, at: At) -> Value:
    (inner,), _ = split(expr, 1, 1)
    value = operand(inner, at)
    return value if is_static(value) else make(at, "stop_gradient", [lift(value, at, inner.span)], expr.span,
                                               rules.same)


@builtin("straight_through")
def _straight_through(expr: tree.Call, at: At) -> Ref:
    """The value of the first, with the gradient of the second."""
    exprs, _ = split(expr, 2, 2, places=PLACES["straight_through"])
    return make(at, "straight_through", lifted(exprs, at), expr.span)


@builtin("spike")
def _spike(expr: tree.Call, at: At) -> Ref:
    (inner, *more), named = split(expr, 1, 3, places=PLACES["spike"])
    named |= dict(zip(PLACES["spike"][1:], more))
    surrogate = word(expr, named, "surrogate", "atan")
    slope = plain_number(named["slope"], at, "slope") if "slope" in named else 2.0
    if not slope > 0:
        raise Stop("E0503", f"the slope of a surrogate is above 0, not {slope:g}", named["slope"].span)
    return make(at, "spike", lifted([inner], at), expr.span, surrogate=surrogate, slope=slope)


@builtin("quantize")
def _quantize(expr: tree.Call, at: At) -> Ref:
    """quantize(v, bits, step): the multiple of `step` next to v, of those that `bits` bits can count."""
    (inner, bits, step), _ = split(expr, 3, 3, places=PLACES["quantize"])
    many = whole(bits, at, "a whole number of bits")
    if not 2 <= many <= MOST_BITS:
        raise Stop("E0309", f"quantize takes 2 to {MOST_BITS} bits, not {many}", bits.span,
                   hint="for one bit: straight_through(sign(v), v)" if many == 1 else None)
    size = operand(step, at)
    if isinstance(size, (int, float)) and not size > 0:
        raise Stop("E0503", f"the step of quantize is above 0, not {size:g}", step.span)
    refs = [*lifted([inner], at), lift(size, at, step.span), number(at, 2 ** (many - 1) - 1, bits.span)]
    return make(at, "quantize", refs, expr.span)


@builtin("dropout")
def _dropout(expr: tree.Call, at: At) -> Value:
    (inner, share), named = split(expr, 2, 2, ("per",), PLACES["dropout"])
    p = plain_number(share, at, "the share that dropout drops")
    if not 0 <= p < 1:
        raise Stop("E0503", f"dropout drops a share from 0 to below 1, not {p:g}", share.span)
    key = row_key(expr, named, at)
    return make(at, "dropout", [*lifted([inner], at), key], expr.span, p=p, place=site(expr, at), per="per" in named)


@builtin("noise")
def _noise(expr: tree.Call, at: At) -> Ref:
    (inner,), named = split(expr, 1, 1, ("per",), PLACES["noise"])
    std = operand(inner, at)
    if isinstance(std, (int, float)) and std < 0:
        raise Stop("E0503", f"a standard deviation is not below 0: {std:g}", inner.span)
    refs = [lift(std, at, inner.span), row_key(expr, named, at)]
    return make(at, "noise", refs, expr.span, rules.noise, place=site(expr, at), per="per" in named)


def row_key(expr: tree.Call, named: dict, at: At) -> Ref:
    """Which numbers are drawn: those of the frame that the delays lead to, or those of the sequence."""
    per = word(expr, named, "per", "frame")
    return Ref(at.scope.work.row_key(per, at.delay if per == "frame" else 0, expr.span))


def site(expr: tree.Call, at: At) -> Place:
    """The operator's path: one spot of the text draws the same numbers under every delay."""
    return (at.place or at.scope.place).site((*at.key, expr.span.line, expr.span.column), expr.function.id)
