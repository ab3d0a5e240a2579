"""Random syntax trees, for the round trip through text: every form of the grammar occurs, and nothing has a meaning."""

import random

from rnnc.errors import Source, Span
from rnnc.front import tree

NOWHERE = Span(Source("random", ""), 1, 1, 1, 1)
NAMES = ["x", "h", "c", "Wi", "t", "n", "labels", "flag", "sequence", "params", "sums", "_u2", "inputs", "e1"]
NUMBERS = [0, 1, 3, 128, 10**12, 0.5, 1e-3, 2.25e-08, 1e16, 3.0]


class Trees:
    """`Trees(seed).file()`: the same seed gives the same tree."""

    def __init__(self, seed: int):
        self.chance = random.Random(seed)

    def file(self) -> tree.File:
        makers = [self.use, self.constant, self.model, self.cell, self.function]
        return self.node(tree.File, tuple(self.chance.choice(makers)() for _ in range(self.chance.randrange(5))))

    # ------------------------------------------------------------------------------------------- definitions

    def use(self):
        return self.node(tree.Use, self.chance.choice(["cells.rnn", "../a b/c.rnn", ""]))

    def model(self):
        body = tuple(self.statement(model=True) for _ in range(self.chance.randrange(6)))
        return self.node(tree.Model, self.ident(), self.sizes(), body)

    def cell(self):
        body = tuple(self.statement(model=False) for _ in range(self.chance.randrange(5)))
        last = self.node(tree.Return, self.several(self.expression))
        signals = tuple(self.node(tree.Formal, self.ident(), None) for _ in range(self.chance.randrange(3)))
        return self.node(tree.Cell, self.ident(), self.sizes(), signals, (*body, last))

    def function(self):
        return self.node(tree.Function, self.ident(), self.sizes(), self.expression())

    def sizes(self):
        plain = [self.node(tree.Formal, self.ident(), None) for _ in range(self.chance.randrange(3))]
        given = [self.node(tree.Formal, self.ident(), self.expression()) for _ in range(self.chance.randrange(3))]
        return tuple(plain + given)

    # -------------------------------------------------------------------------------------------- statements

    def statement(self, model: bool):
        makers = [self.param, self.constant, self.equation, self.layer, self.init]
        if model:
            makers += [self.input, self.output, self.loss, self.metric]
        return self.chance.choice(makers)()

    def input(self):
        word = self.chance.choice(["real", "class", "labels", "flag"])
        dims = self.several(self.expression, 0) if word == "real" else ()
        if word in ("class", "labels"):
            dims = (self.expression(),)
        return self.node(tree.Input, self.idents(), self.node(tree.Kind, word, dims), self.coin(), self.coin())

    def param(self):
        start = None
        if self.coin():
            start = self.node(tree.Initialiser, "value", (self.expression(),))
        elif self.coin():
            start = self.node(tree.Initialiser, self.name_of(), self.several(self.expression, 0))
        sparse = self.expression() if self.coin() else None
        return self.node(tree.Param, self.idents(), self.several(self.expression, 0), start, sparse, self.coin())

    def constant(self):
        count = self.chance.randrange(3)
        indices = tuple(self.ident() for _ in range(count))
        dims = tuple(self.expression() for _ in range(count))
        return self.node(tree.Const, self.ident(), indices, dims, self.expression())

    def equation(self):
        return self.node(tree.Equation, self.idents(), self.expression())

    def layer(self):
        return self.node(tree.Layer, self.ident(), self.expression())

    def init(self):
        return self.node(tree.Init, self.ident(), self.expression() if self.coin() else None, self.expression())

    def output(self):
        def item():
            return self.node(tree.OutputItem, self.ident(), self.expression() if self.coin() else None)
        return self.node(tree.Output, self.several(item))

    def loss(self):
        return self.node(tree.Loss, self.expression())

    def metric(self):
        return self.node(tree.Metric, self.ident(), self.expression())

    # ------------------------------------------------------------------------------------------- expressions

    def expression(self, deep: int = 4):
        makers = [self.name, self.name, self.number]
        if deep > 0:
            makers += [self.binary] * 5 + [self.unary] * 2
            makers += [self.call, self.index, self.attribute, self.repeat, self.list]
        return self.chance.choice(makers)(deep - 1)

    def name(self, deep):
        return self.node(tree.Name, self.name_of())

    def number(self, deep):
        return self.node(tree.Number, self.chance.choice(NUMBERS))

    def binary(self, deep):
        op = self.chance.choice("+ - * / // ^ @ < <= > >= == != and or".split())
        return self.node(tree.Binary, op, self.expression(deep), self.expression(deep))

    def unary(self, deep):
        return self.node(tree.Unary, self.chance.choice(["-", "+", "not"]), self.expression(deep))

    def call(self, deep):
        placed = [self.node(tree.Argument, None, self.expression(deep)) for _ in range(self.chance.randrange(3))]
        named = [self.node(tree.Argument, key, self.expression(deep)) for key in ("axis", "per") if self.coin()]
        return self.node(tree.Call, self.expression(deep), tuple(placed + named))

    def index(self, deep):
        return self.node(tree.Index, self.expression(deep), self.several(lambda: self.place(deep)))

    def place(self, deep):
        if self.coin():
            return self.expression(deep)
        ends = [self.expression(deep) if self.coin() else None for _ in range(2)]
        return self.node(tree.Range, *ends)

    def attribute(self, deep):
        base = self.expression(deep)
        while isinstance(base, tree.Number):
            base = self.expression(deep)
        return self.node(tree.Attribute, base, self.chance.choice(["c", "0", "17", "Wi", "param"]))

    def repeat(self, deep):
        over = self.expression(deep)
        if self.coin():
            over = self.node(tree.Steps, over, self.expression(deep))
        op, index = self.chance.choice(["sum", "concat", "product", "max"]), self.chance.choice(["i", "j"])
        return self.node(tree.Repeat, op, index, over, self.expression(deep))

    def list(self, deep):
        return self.node(tree.ListOf, self.several(lambda: self.expression(deep), 0))

    # ------------------------------------------------------------------------------------------------ pieces

    def node(self, kind, *parts):
        return kind(*parts, span=NOWHERE)

    def ident(self):
        return self.node(tree.Ident, self.name_of(but="t"))

    def name_of(self, but: str = ""):
        return self.chance.choice([name for name in NAMES if name != but])

    def idents(self):
        return self.several(self.ident)

    def several(self, make, least: int = 1):
        return tuple(make() for _ in range(self.chance.randrange(least, 4)))

    def coin(self) -> bool:
        return self.chance.random() < 0.5
