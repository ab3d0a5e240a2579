"""Lark's tree -> the syntax tree of tree.py: one method per rule of the grammar, each with the span of its text.

Works from the leaves up without recursion, so deep expressions need no stack.
"""

import lark

from rnnc.errors import Faults, Source, Span
from rnnc.front import tree

LARGEST = 1e300                                # far below where a float64 overflows


def grow(parsed: lark.Tree, source: Source, faults: Faults) -> tree.File:
    return Grower(source, faults).transform(parsed)


@lark.v_args(meta=True, inline=True)
class Grower(lark.visitors.Transformer_NonRecursive):
    """A method gets the place of its rule and the rule's parts; a part left out is None."""

    def __init__(self, source: Source, faults: Faults):
        super().__init__()
        self.source, self.faults = source, faults

    def at(self, meta) -> Span:
        if meta.empty:                         # an empty file
            return Span(self.source, 1, 1, 1, 1)
        return Span(self.source, meta.line, meta.column, meta.end_line, meta.end_column)

    # ------------------------------------------------------------------------------------------- definitions

    def file(self, meta, *items):
        return tree.File(items, span=self.at(meta))

    def use(self, meta, path):
        return tree.Use(path[1:-1], span=self.at(meta))

    def model(self, meta, name, sizes, body):
        return tree.Model(name, sizes or (), body, span=self.at(meta))

    def cell(self, meta, name, sizes, signals, body):
        return tree.Cell(name, sizes, signals, body, span=self.at(meta))

    def function(self, meta, name, arguments, value):
        return tree.Function(name, arguments, value, span=self.at(meta))

    def formals(self, meta, *formals):
        return tuple(f for f in formals if f is not None)

    def formal(self, meta, name, default):
        return tree.Formal(name, default, span=self.at(meta))

    def block(self, meta, *statements):
        return statements

    # -------------------------------------------------------------------------------------------- statements

    def input(self, meta, names, kind, per, target=False):
        kind = kind or tree.Kind("real", span=self.at(meta))
        return tree.Input(names, kind, per is not None, target, span=self.at(meta))

    def target(self, meta, names, kind, per):
        return self.input(meta, names, kind, per, target=True)

    def real(self, meta, dims):
        return tree.Kind("real", dims.items, span=self.at(meta))

    def kind(self, meta, word, size):
        return tree.Kind(word.id, () if size is None else (size,), span=self.at(meta))

    def per(self, meta, word):
        if word.id != "sequence":
            self.faults.add("E0117", f"`per {word.id}` is unknown", word.span, hint="write `per sequence`")
        return word

    def param(self, meta, names, dims, initialiser, sparse, frozen=False):
        dims = dims.items if dims else ()
        return tree.Param(names, dims, initialiser, sparse, frozen, span=self.at(meta))

    def frozen(self, meta, *parts):
        return self.param(meta, *parts, frozen=True)

    def drawn(self, meta, name, arguments):
        for argument in arguments or ():
            if argument.name is not None:
                self.faults.add("E0118", f"`{argument.name} = ` cannot stand here", argument.span,
                                hint="the arguments after `~` go by their place: `~ uniform(-1, 1)`")
        return tree.Initialiser(name.id, tuple(a.value for a in arguments or ()), span=self.at(meta))

    def value(self, meta, number):
        return tree.Initialiser("value", (number,), span=self.at(meta))

    def sparse(self, meta, share):
        return share

    def const(self, meta, name, grid, value):
        indices, dims = grid or ((), ())
        return tree.Const(name, indices, dims, value, span=self.at(meta))

    def grid(self, meta, indices, *dims):
        if len(indices) != len(dims):
            named, sized = _many(len(indices), "index", "indices"), _many(len(dims), "size", "sizes")
            self.faults.add("E0119", f"{named} for {sized}", self.at(meta),
                            hint="write one size for each index: `const A[i, j : n, m] = ...`")
        return indices, dims

    def equation(self, meta, targets, value):
        return tree.Equation(targets, value, span=self.at(meta))

    def layer(self, meta, name, value):
        return tree.Layer(name, value, span=self.at(meta))

    def init(self, meta, name, delay, value):
        return tree.Init(name, delay, value, span=self.at(meta))

    def output(self, meta, *items):
        return tree.Output(items, span=self.at(meta))

    def output_item(self, meta, name, value):
        return tree.OutputItem(name, value, span=self.at(meta))

    def loss(self, meta, value):
        return tree.Loss(value, span=self.at(meta))

    def metric(self, meta, name, value):
        return tree.Metric(name, value, span=self.at(meta))

    def return_(self, meta, *values):
        return tree.Return(values, span=self.at(meta))

    def names(self, meta, *names):
        return names

    def ident(self, meta, name):
        return tree.Ident(str(name), span=self.at(meta))

    # ------------------------------------------------------------------------------------------- expressions

    def binary(self, meta, left, op, right):
        return tree.Binary(str(op), left, right, span=self.at(meta))

    def unary(self, meta, op, operand):
        return tree.Unary(str(op), operand, span=self.at(meta))

    def call(self, meta, function, arguments):
        return tree.Call(function, arguments, span=self.at(meta))

    def arguments(self, meta, *arguments):
        return tuple(a for a in arguments if a is not None)

    def argument(self, meta, key, value):
        name = key.id if isinstance(key, tree.Ident) else key and str(key)
        return tree.Argument(name, value, span=self.at(meta))

    def repeat(self, meta, op, index, over, body):
        if not isinstance(op, tree.Name) or op.id not in ("sum", "concat", "product", "max"):
            self.faults.add("E0120", "this cannot be repeated", op.span,
                            hint="a repetition is `sum(i in 0..k : ...)`, or `concat`, `product`, `max`")
            op = tree.Name("sum", span=op.span)
        return tree.Repeat(op.id, index.id, over, body, span=self.at(meta))

    def steps(self, meta, low, high):
        return tree.Steps(low, high, span=self.at(meta))

    def index(self, meta, base, *places):
        return tree.Index(base, places, span=self.at(meta))

    def range(self, meta, low, high):
        return tree.Range(low, high, span=self.at(meta))

    def attribute(self, meta, base, part):
        return tree.Attribute(base, part[1:], span=self.at(meta))

    def number(self, meta, digits):
        value = float(digits)
        if not value < LARGEST:
            self.faults.add("E0107", "this number is too large", self.at(meta))
        elif digits.isdigit():
            value = int(digits)
        return tree.Number(value, span=self.at(meta))

    def name(self, meta, name):
        return tree.Name(str(name), span=self.at(meta))

    def text(self, meta, quoted):
        return tree.Text(quoted[1:-1], span=self.at(meta))

    def list_of(self, meta, *items):
        return tree.ListOf(tuple(i for i in items if i is not None), span=self.at(meta))


def _many(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
