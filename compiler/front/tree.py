"""The syntax tree: what a `.rnn` text says, before anything is known about sizes or meaning.

Frozen nodes, each with the span of the text it came from. Spans do not take part in equality, so
`parse(show(tree)) == tree`. `parse.py` makes trees, `show.py` prints them.
"""

from dataclasses import dataclass, field

from rnnc.errors import Span


def _span() -> Span:
    return field(compare=False, repr=False, kw_only=True)


# ---------------------------------------------------------------------------------------------- expressions

@dataclass(frozen=True)
class Number:
    """`3` (int) or `0.5`, `1e-3` (float)."""
    value: int | float
    span: Span = _span()


@dataclass(frozen=True)
class Name:
    """`x`, also `t`: what a name means is decided later."""
    id: str
    span: Span = _span()


@dataclass(frozen=True)
class Text:
    """A quoted string; legal only in `use`. Kept as a node so that misuse gets a good message."""
    value: str
    span: Span = _span()


@dataclass(frozen=True)
class ListOf:
    """`[1, 2, 4]`, `[n, m]`: a list of sizes, or a shape."""
    items: tuple["Expr", ...]
    span: Span = _span()


@dataclass(frozen=True)
class Attribute:
    """`v.c`, `L.Wi`: an inner signal of an application or a parameter of a layer. `part` may be digits: `h.0`."""
    base: "Expr"
    part: str
    span: Span = _span()


@dataclass(frozen=True)
class Range:
    """`lo:hi` inside brackets; either end may be absent."""
    low: "Expr | None"
    high: "Expr | None"
    span: Span = _span()


@dataclass(frozen=True)
class Index:
    """`v[t-1]`, `x[0:n]`, `U[i]`, `A[i, j]`: delay, unit range or member of a family; decided later."""
    base: "Expr"
    items: tuple["Expr | Range", ...]
    span: Span = _span()


@dataclass(frozen=True)
class Unary:
    """op: `-`, `+`, `not`."""
    op: str
    operand: "Expr"
    span: Span = _span()


@dataclass(frozen=True)
class Binary:
    """op: `+ - * / // ^ @ < <= > >= == != and or`. (`//` is legal among sizes only.)"""
    op: str
    left: "Expr"
    right: "Expr"
    span: Span = _span()


@dataclass(frozen=True)
class Argument:
    """A call's argument; `name` for `key = value`."""
    name: str | None
    value: "Expr"
    span: Span = _span()


@dataclass(frozen=True)
class Call:
    """`f(a, b)`; `lstm(512)(x)` is a call of a call."""
    function: "Expr"
    arguments: tuple[Argument, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Repeat:
    """`sum(i in 0..k : body)`: static repetition. op: sum concat product max. `over` is a Steps or a list of sizes."""
    op: str
    index: str
    over: "Steps | Expr"
    body: "Expr"
    span: Span = _span()


@dataclass(frozen=True)
class Steps:
    """`0..k`: the integers from low to high - 1."""
    low: "Expr"
    high: "Expr"
    span: Span = _span()


Expr = Number | Name | Text | ListOf | Attribute | Range | Index | Unary | Binary | Call | Repeat

CHAINS = {op: group for group in (("+", "-"), ("*", "/", "//"), ("and",), ("or",)) for op in group}


def chain(expr: Binary) -> tuple[Expr, list[Binary]]:
    """Operators that bind alike and group to the left, as in `a + b - c`: the first operand, and the operators from the
    left. A chain may be of any length and is one level: what follows a tree by recursion goes along it in a loop."""
    links = [expr]
    while isinstance(left := links[-1].left, Binary) and left.op in CHAINS.get(expr.op, ()):
        links.append(left)
    return left, links[::-1]


def operands(expr: Binary) -> list[Expr]:
    """Of a chain, from the left."""
    first, links = chain(expr)
    return [first, *(link.right for link in links)]


# ---------------------------------------------------------------------------------------------- statements

@dataclass(frozen=True)
class Ident:
    """A name being declared, with its own place."""
    id: str
    span: Span = _span()


@dataclass(frozen=True)
class Kind:
    """What an input carries: `vector` with dims (none: a scalar), `class` or `labels` with one size, `flag`."""
    kind: str                                  # "real" | "class" | "flag" | "labels"
    dims: tuple[Expr, ...] = ()
    span: Span = _span()


@dataclass(frozen=True)
class Input:
    """`input x, z : [n]`, `target y : class(n) per sequence`."""
    names: tuple[Ident, ...]
    kind: Kind
    per_sequence: bool
    target: bool
    span: Span = _span()


@dataclass(frozen=True)
class Initialiser:
    """`~ glorot`, `~ uniform(-1, 1)`: name and arguments; `= 0.5`: name "value" and one argument."""
    name: str
    arguments: tuple[Expr, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Param:
    """`param W, V : [n, m] ~ glorot sparse(0.9)`; `frozen` likewise. No dims at all: a scalar."""
    names: tuple[Ident, ...]
    dims: tuple[Expr, ...]
    initialiser: Initialiser | None
    sparse: Expr | None
    frozen: bool
    span: Span = _span()


@dataclass(frozen=True)
class Const:
    """`const A[i, j : n, m] = expr`, or `const dt = 0.1` / `const A = expm(B)` without indices."""
    name: Ident
    indices: tuple[Ident, ...]
    dims: tuple[Expr, ...]
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Equation:
    """`h = expr`; `a, b = cell(n)(x)`."""
    targets: tuple[Ident, ...]
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Layer:
    """`layer L = lstm(n)`."""
    name: Ident
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Init:
    """`init h = expr` (offset None), `init h[t-2] = expr` (offset -2), `init h[t+1] = expr` (offset 1).

    `delay` is the bracketed expression as written (`t-2`); `name` may be dotted only by mistake."""
    name: Ident
    delay: Expr | None
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class OutputItem:
    """`p` or `p = expr`."""
    name: Ident
    value: Expr | None
    span: Span = _span()


@dataclass(frozen=True)
class Output:
    """`output p = expr`, `output a, b`."""
    items: tuple[OutputItem, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Loss:
    """`loss expr`."""
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Metric:
    """`metric name = expr`."""
    name: Ident
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Return:
    """`return h, c`: the last statement of a cell; any expressions."""
    values: tuple[Expr, ...]
    span: Span = _span()


Statement = Input | Param | Const | Equation | Layer | Init | Output | Loss | Metric | Return


# ---------------------------------------------------------------------------------------------- definitions

@dataclass(frozen=True)
class Formal:
    """A name in an argument list, with its default if one is written."""
    name: Ident
    default: Expr | None
    span: Span = _span()


@dataclass(frozen=True)
class Use:
    """`use "cells.rnn"`."""
    path: str
    span: Span = _span()


@dataclass(frozen=True)
class Model:
    """`model charlm(vocab = 128) { … }`."""
    name: Ident
    sizes: tuple[Formal, ...]
    body: tuple[Statement, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Cell:
    """`cell lstm(n, forget_bias = 1)(x) { … }`."""
    name: Ident
    sizes: tuple[Formal, ...]
    signals: tuple[Formal, ...]
    body: tuple[Statement, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Function:
    """`fn swish(x) = x * sigmoid(x)`."""
    name: Ident
    arguments: tuple[Formal, ...]
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class File:
    """A whole text: uses, constants, models, cells and functions in the order written."""
    items: tuple[Use | Const | Model | Cell | Function, ...]
    span: Span = _span()
