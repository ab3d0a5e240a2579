"""Names and scopes, looked at before anything is elaborated: every definition of a file, used or not.

In: a file's tree and what it may name. Out: diagnostics for names that are unknown, given twice, or belong to the
language, and for cells and functions inside themselves. What a known name is good for is found out later.
"""

from collections.abc import Iterable

from rnnc.errors import Faults, Note, Span
from rnnc.front import tree
from rnnc.graph.elaborate.applications import MAKERS
from rnnc.graph.elaborate.builtins import TABLE
from rnnc.graph.elaborate.hints import function_meant, value_meant
from rnnc.graph.elaborate.library import Definitions
from rnnc.graph.elaborate.training import PLACES, WORDS

BUILT_IN = {**TABLE, **MAKERS}


def check(file: tree.File, definitions: Definitions, faults: Faults) -> None:
    seen: dict[str, Span] = {}
    of_models = {ident.id: model.name.id for model in file.items if isinstance(model, tree.Model)
                 for ident in (*(f.name for f in model.sizes), *(i for s in model.body for i in declared(s)))}
    for item in file.items:
        if isinstance(item, tree.Use):
            continue
        declare(item.name, seen, faults)
        if isinstance(item, (tree.Cell, tree.Function)) and item.name.id in BUILT_IN:
            faults.add("E0202", f"{item.name.id} is a function of the language", item.name.span,
                       hint="choose another name; only standard cells may be hidden")
        of_others = of_models if isinstance(item, (tree.Cell, tree.Function)) else {}
        Body(definitions, faults, of_others).definition(item)
    recursion(file, faults)


def declare(ident: tree.Ident, seen: dict[str, Span], faults: Faults) -> None:
    """One more name of a scope: each may be given once."""
    if ident.id in seen:
        faults.add("E0202", f"{ident.id} is defined twice", ident.span,
                   [Note(seen[ident.id], f"{ident.id} is first defined here")])
    else:
        seen[ident.id] = ident.span


class Body:
    """The names of one definition, and the expressions in it."""

    def __init__(self, definitions: Definitions, faults: Faults, of_others: dict[str, str]):
        """`of_others`: names that are not seen, with the models they belong to."""
        self.definitions, self.faults, self.of_others = definitions, faults, of_others
        self.names: dict[str, Span] = {}

    def definition(self, item) -> None:
        match item:
            case tree.Const():
                self.formula(item)
            case tree.Function():
                self.formals(item.arguments)
                self.look(item.value)
            case tree.Model():
                self.formals(item.sizes)
                self.body(item.body)
            case tree.Cell():
                self.formals(item.sizes)
                self.formals(item.signals)
                self.body(item.body)

    def formals(self, formals: Iterable[tree.Formal]) -> None:
        for formal in formals:
            declare(formal.name, self.names, self.faults)
        for formal in formals:
            if formal.default is not None:
                self.look(formal.default)

    def body(self, body) -> None:
        for statement in body:
            for ident in declared(statement):
                declare(ident, self.names, self.faults)
        for statement in body:
            self.statement(statement)

    def statement(self, statement) -> None:
        match statement:
            case tree.Input():
                self.all(statement.kind.dims)
            case tree.Param():
                self.all(statement.dims)
                self.all(statement.initialiser.arguments if statement.initialiser else ())
                self.all([statement.sparse])
            case tree.Const():
                self.formula(statement)
            case tree.Init():
                self.known(statement.name.id, statement.name.span)
                self.all([statement.delay, statement.value])
            case tree.Output():
                for item in statement.items:
                    if item.value is None:
                        self.known(item.name.id, item.name.span)
                    else:
                        self.look(item.value)
            case tree.Return():
                self.all(statement.values)
            case tree.Equation() | tree.Layer() | tree.Loss() | tree.Metric():
                self.look(statement.value)

    def formula(self, const: tree.Const) -> None:
        """`A[i, j : n, m] = ...`: its indices are names of the formula only."""
        self.all(const.dims)
        indices: dict[str, Span] = {}
        for index in const.indices:
            declare(index, indices, self.faults)
        outside, self.names = self.names, {**self.names, **indices}
        self.look(const.value)
        self.names = outside

    def all(self, exprs) -> None:
        for expr in exprs:
            if expr is not None:
                self.look(expr)

    def known(self, name: str, span: Span, of: str | None = None) -> None:
        """`of`: the cell that it is handed to."""
        if name == "t" or name in self.names or name in self.definitions.values:
            return
        if name in BUILT_IN or self.definitions.has(name):
            cell = isinstance(self.definitions.find(name)[0], tree.Cell)
            self.faults.add("E0211", f"{name} is a {'cell' if cell else 'function'}: it needs arguments", span,
                            hint=None if cell else f"it is applied, not handed on: {name}({of}(...)(x))" if of else
                            f"it is applied, not handed on: {name}(x)")
            return
        hint = value_meant(name, [*self.names, *self.definitions.values])
        if name in self.of_others:
            hint = f"{name} of {self.of_others[name]} is not seen here: it has to be handed in as an argument"
        self.faults.add("E0201", f"nothing here is called {name}", span, hint=hint)

    def look(self, expr: tree.Expr) -> None:
        match expr:
            case tree.Name():
                self.known(expr.id, expr.span)
            case tree.ListOf():
                self.all(expr.items)
            case tree.Attribute():
                self.look(expr.base)
            case tree.Range():
                self.all([expr.low, expr.high])
            case tree.Index():
                self.look(expr.base)
                self.all(expr.items)
            case tree.Unary():
                self.look(expr.operand)
            case tree.Binary():
                self.all(tree.operands(expr))
            case tree.Call():
                self.call(expr)
            case tree.Repeat():
                self.repeat(expr)

    def call(self, expr: tree.Call) -> None:
        function = expr.function
        if not isinstance(function, tree.Name):
            self.look(function)
        elif function.id not in self.names and function.id not in BUILT_IN and not self.definitions.has(function.id):
            if function.id in self.definitions.values:
                self.faults.add("E0211", f"{function.id} is a constant: it cannot be applied", function.span)
            else:
                names = [*self.definitions.callables(), *BUILT_IN, *self.names]
                self.faults.add("E0203", f"there is no cell or function called {function.id}", function.span,
                                hint=function_meant(function.id, names))
        called = function.id if isinstance(function, tree.Name) else None
        words, places = WORDS.get(called, {}), dict(enumerate(PLACES.get(called, ())))
        cell = called if called and isinstance(self.definitions.find(called)[0], tree.Cell) else None
        for place, argument in enumerate(expr.arguments):
            if (argument.name or places.get(place)) in words:
                continue
            if isinstance(argument.value, tree.Name):
                self.known(argument.value.id, argument.value.span, cell)
            else:
                self.look(argument.value)

    def repeat(self, expr: tree.Repeat) -> None:
        if isinstance(expr.over, tree.Steps):
            self.all([expr.over.low, expr.over.high])
        else:
            self.look(expr.over)
        outside, self.names = self.names, {**self.names, expr.index: expr.span}
        self.look(expr.body)
        self.names = outside


def declared(statement) -> tuple[tree.Ident, ...]:
    """The names that a statement gives. A metric's counts: it is known outside beside the others."""
    match statement:
        case tree.Input() | tree.Param():
            return statement.names
        case tree.Const() | tree.Layer() | tree.Metric():
            return (statement.name,)
        case tree.Equation():
            return statement.targets
        case tree.Output():
            return tuple(item.name for item in statement.items if item.value is not None)
    return ()


# ------------------------------------------------------------------------------------------- cells inside themselves

def recursion(file: tree.File, faults: Faults) -> None:
    """A cell or function that contains itself would never end: the chain is named."""
    own = {d.name.id: d for d in file.items if isinstance(d, (tree.Cell, tree.Function))}
    calls = {name: [c for c in called(d) if c.id in own] for name, d in own.items()}
    trail: list[tuple[str, tree.Name | None]] = []     # definitions on the way, each with the call that led to it
    done: set[str] = set()

    def visit(name: str, via: tree.Name | None) -> None:
        on_way = [n for n, _ in trail]
        if name in on_way:
            cycle = trail[on_way.index(name):] + [(name, via)]
            notes = [Note(link.span, f"{there} is used in {here}")
                     for (here, _), (there, link) in zip(cycle, cycle[1:])]
            path = " -> ".join(n for n, _ in cycle)
            faults.add("E0206", f"{name} contains itself: {path}", own[name].name.span, notes)
        elif name not in done:
            trail.append((name, via))
            for call in calls[name]:
                visit(call.id, call)
            trail.pop()
            done.add(name)

    for name in own:
        visit(name, None)


def called(definition) -> list[tree.Name]:
    """Names in the place of a function, anywhere in a definition, but for names of its own."""
    own = {f.name.id for f in getattr(definition, "sizes", ())} | {f.name.id for f in
                                                                   getattr(definition, "arguments", ())}
    own |= {i.id for s in getattr(definition, "body", ()) for i in declared(s)}
    found, waiting = [], [definition]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tree.Call) and isinstance(node.function, tree.Name) and node.function.id not in own:
            found.append(node.function)
        for value in vars(node).values():
            for part in value if isinstance(value, tuple) else (value,):
                if type(part).__module__ == tree.__name__:
                    waiting.append(part)
    return sorted(found, key=lambda n: (n.span.line, n.span.column))
