"""Calls: what `f(...)` means, layers as values, and a layer applied to signals.

A call of a cell's name makes a layer, a call of a layer applies it. Every application gets a scope of its own, a place
for its signals and a store for its parameters; `layer`, `share` and repeated applications hand on a store that exists.
"""

from dataclasses import replace

from rnnc.errors import Note, Span
from rnnc.front import tree
from rnnc.front.show import show_expression
from rnnc.graph.elaborate import bodies, builtins, sequences, training  # noqa: F401  (they fill the table of builtins)
from rnnc.graph.elaborate.brackets import mentions_time
from rnnc.graph.elaborate.drafts import WRONG, NotYet, Silent, Stop
from rnnc.graph.elaborate.expressions import KINDS, argument, count, evaluate, told, whole
from rnnc.graph.elaborate.hints import function_meant, near
from rnnc.graph.elaborate.places import Place, Store
from rnnc.graph.elaborate.scope import Application, At, Layer, Scope, Signal, Thunk, Value

DEEPEST = 60                                   # cells inside cells: far more than anybody writes


def call(expr: tree.Call, at: At) -> Value:
    """A call inside an expression; an application stands for its first result."""
    found = called(expr, at)
    if isinstance(found, Application):
        result = found.results[0]
        return replace(result, delay=result.delay + at.delay)
    return found


def called(expr: tree.Call, at: At, whole_side: bool = False) -> Value | Application:
    """What a call gives. `whole_side`: it is all of an equation's right side, whose path it takes over."""
    function = expr.function
    if not isinstance(function, tree.Name):
        refuse_two_lists(expr, at)
        value = evaluate(function, at)
        if not isinstance(value, Layer):
            raise Stop("E0211", "only layers and functions can be applied", function.span)
        return application(value, expr, at, whole_side)
    name, scope = function.id, at.scope
    entry = scope.find(name)
    if isinstance(entry, Thunk):
        entry = argument(entry, 0, False)
    if isinstance(entry, Layer):
        return application(entry, expr, at, whole_side)
    definition, home = scope.definitions.find(name)
    if isinstance(definition, tree.Cell):
        sizes = bind(expr.arguments, definition.sizes, f"the sizes of {name}", at, expr, definition)
        form = ")(".join(", ".join(formal.name.id for formal in formals if formal.default is None)
                         for formals in (definition.sizes, definition.signals))
        for thunk in sizes.values():
            thunk.hint = f"sizes stand in the first list, signals in the second: {name}({form})"
        return Layer("cell", name, expr.span, definition, home, sizes)
    if isinstance(definition, tree.Function):
        return function_call(definition, home, expr, at)
    if name in MAKERS:
        return MAKERS[name](expr, at)
    if name in builtins.TABLE:
        return builtins.TABLE[name](expr, at)
    if entry is not None:
        if isinstance(entry, Signal) and entry.draft.type is WRONG:
            raise Silent
        kind = "signal" if isinstance(entry, Signal) else "value"
        raise Stop("E0211", f"{name} is a {kind} here: it cannot be applied", function.span,
                   hint=brackets_meant(expr, at))
    raise Stop("E0203", f"there is no cell or function called {name}", function.span,
               hint=function_meant(name, scope.work.callables(scope)))


def refuse_two_lists(expr: tree.Call, at: At) -> None:
    """`dropout(0.5)(x)`: a function has one list of arguments."""
    inner = expr.function
    if not isinstance(inner, tree.Call) or not isinstance(inner.function, tree.Name):
        return
    name = inner.function.id
    entry, (definition, _) = at.scope.find(name), at.scope.definitions.find(name)
    if entry is not None or not (isinstance(definition, tree.Function) or
                                 definition is None and name in builtins.TABLE):
        return
    given = sorted([*expr.arguments, *inner.arguments], key=lambda argument_: argument_.name is not None)
    shown = [f"{a.name} = {show_expression(a.value)}" if a.name else show_expression(a.value) for a in given]
    meant = f"{name}({', '.join(shown)})"
    if name == "noise" and expr.arguments:
        meant = f"{show_expression(expr.arguments[0].value)} + {show_expression(inner)}"
    raise Stop("E0211", f"{name} is a function, with one list of arguments", expr.function.span, hint=f"write {meant}")


def brackets_meant(expr: tree.Call, at: At) -> str | None:
    """What `x(...)` stands for where x is no function: a delay, units, or a product."""
    given, name = [argument_.value for argument_ in expr.arguments], expr.function.id
    if len(given) == 1 and mentions_time(given[0]):
        return f"a delay stands in brackets: {name}[{show_expression(given[0]).replace(' ', '')}]"
    try:
        for each in given:
            whole(each, at)
    except (Stop, NotYet, Silent):
        return f"a product is written {show_expression(tree.Binary('*', expr.function, given[0], span=expr.span))}" \
            if len(given) == 1 else None
    return f"a unit is picked by {name}[{', '.join(map(show_expression, given))}]" if given else None


def bind(arguments, formals, what: str, at: At, expr: tree.Call, definition) -> dict[str, Thunk]:
    """Arguments by the names of the formals: by place first, then by name. Defaults are left out."""
    names = [formal.name.id for formal in formals]
    spot, given = at.under(0, False), {}
    notes = (Note(definition.name.span, f"{definition.name.id} is defined here"),)
    for position, argument_ in enumerate(arguments):
        name = argument_.name
        if name is None:
            if position >= len(names):
                hint = None
                if not names and isinstance(definition, tree.Cell) and not isinstance(expr.function, tree.Call):
                    hint = f"a cell takes two lists: {definition.name.id}()(x)"
                many = f"at most {len(names)}" if names else "none"
                raise Stop("E0204", f"too many arguments: {what} are {many}", argument_.span, notes, hint)
            name = names[position]
        elif name not in names:
            raise Stop("E0204", f"{what} have none called {name}", argument_.span, notes, near(name, names))
        if name in given:
            raise Stop("E0204", f"{name} is given twice", argument_.span, notes)
        given[name] = Thunk(argument_.value, spot)
    missing = [f.name.id for f in formals if f.default is None and f.name.id not in given]
    if missing:
        raise Stop("E0204", f"{' and '.join(missing)} missing: {what} are ({', '.join(names)})", expr.span, notes)
    return given


def function_call(definition: tree.Function, home, expr: tree.Call, at: At) -> Value:
    """A helper: its expression, with arguments that are looked at again under every delay."""
    scope = at.scope.sites.get(id(expr))
    if scope is None:
        name = definition.name.id
        given = bind(expr.arguments, definition.arguments, f"the arguments of {name}", at, expr, definition)
        scope = Scope(at.scope.work, home, None, dict(given), at.scope.direction, at.scope.place, at.scope.store,
                      name, name, deeper(at.scope, name, expr.span))
        for formal in definition.arguments:
            if formal.name.id not in given:
                scope.names[formal.name.id] = Thunk(formal.default, At(scope))
        at.scope.sites[id(expr)] = scope
    try:
        return evaluate(definition.value, at.inside(scope, expr.span.line, expr.span.column))
    except Stop as stop:
        raise stop.inside(definition.name.id, expr.span) from None


def deeper(scope: Scope, name: str, span: Span) -> tuple:
    """The trail of a new scope: where it was applied, and where the scope of that was."""
    if len(scope.trail) >= DEEPEST:
        raise Stop("E0206", f"cells and functions are nested more than {DEEPEST} deep here", span)
    return ((name, span), *scope.trail)


# ------------------------------------------------------------------------------------------------- layers as values

def _layer_argument(expr: tree.Call, at: At, counted: bool) -> tuple[int, Layer]:
    name, wanted = expr.function.id, 2 if counted else 1
    form = f"{name}(k, layer)" if counted else f"{name}(layer)"
    if len(expr.arguments) != wanted or any(a.name for a in expr.arguments):
        raise Stop("E0204", f"{name} is written {form}", expr.span)
    if counted and isinstance(evaluate_early(expr.arguments[0].value, at), Layer):
        layer, number = (show_expression(a.value) for a in expr.arguments)
        raise Stop("E0204", f"{name} is written {form}: the number comes first", expr.span,
                   hint=f"write {name}({number}, {layer})")
    copies = count(expr.arguments[0].value, at, f"{name} needs at least one copy") if counted else 1
    value = evaluate(expr.arguments[-1].value, at)
    if not isinstance(value, Layer):
        raise Stop("E0211", f"{name} takes a layer such as lstm(64)", expr.arguments[-1].span,
                   hint=f"the signal goes into a second list: {form}(x)")
    return copies, value


def evaluate_early(expr: tree.Expr, at: At) -> Value | None:
    """What an expression is, if that can be told; a fault in it is told where it is used."""
    try:
        return evaluate(expr, at)
    except (Stop, NotYet, Silent):
        return None


def _maker(kind: str, counted: bool):
    def make(expr: tree.Call, at: At) -> Layer:
        copies, inner = _layer_argument(expr, at, counted)
        return Layer(kind, inner.word, expr.span, inner=inner, count=copies)
    return make


MAKERS = {"stack": _maker("stack", True), "share": _maker("share", True), "reversed": _maker("reversed", False)}


def instance(statement: tree.Layer, scope: Scope) -> Layer:
    """`layer L = lstm(n)`: what it is an instance of may become known later."""
    name = statement.name.id
    place = scope.store.place.at(name)
    at = At(scope, name, scope.place.at(name), place)
    return Layer("instance", name, statement.span, store=scope.store.inside(("layer", name), place),
                 later=Thunk(statement.value, at))


def settled(layer: Layer) -> Layer:
    """The layer behind an instance."""
    if layer.kind == "instance" and layer.inner is None:
        if layer.busy:
            raise Stop("E0206", f"the layer {layer.word} is made of itself", layer.span)
        layer.busy = True
        try:
            value = evaluate(layer.later.expr, layer.later.at)
            if not isinstance(value, Layer):
                raise Stop("E0211", f"{layer.word} is declared as a layer, but this is none", layer.later.expr.span)
            part = value
            while part is not None:            # down to what is applied in the end
                settled(part)
                part = part.inner
        finally:
            layer.busy = False
        layer.inner, layer.word = value, value.base().word
    return layer


def cell_of(layer: Layer) -> tree.Cell:
    """What is applied in the end."""
    while layer.cell is None:
        layer = settled(layer).inner
    return layer.cell


def instance_part(owner: Layer | Store, expr: tree.Attribute):
    """`L.Wi`, `L.0.Wi`: parameters of an instance, which exist once it has been applied."""
    wanted = expr.part
    if isinstance(owner, Layer):
        if owner.kind != "instance":
            raise Stop("E0210", "only a named layer has parameters to read", expr.span,
                       hint="name an instance first: layer L = ...")
        base = settled(owner).inner
        if base.kind == "cell":
            names = bodies.declared_names(base.cell)
            if wanted not in names:
                raise Stop("E0210", f"{base.word} has no parameter called {wanted}", expr.span,
                           hint=near(wanted, names) or
                           f"its parameters: {', '.join(bodies.parameter_names(base.cell)) or 'none'}")
            if wanted not in bodies.parameter_names(base.cell):
                raise Stop("E0210", f"{wanted} is no parameter: a layer is no application", expr.span,
                           hint="name what it returns, v = L(x), and read v." + wanted)
        if base.kind == "stack" and not wanted.isdigit():
            raise Stop("E0210", f"a stack of {base.count} has no parameter {wanted} of its own", expr.span,
                       hint=f"its copies have parameters, as in L.0.{wanted}")
        if base.kind == "stack" and int(wanted) >= base.count:
            raise Stop("E0210", f"there is no copy {wanted}: a stack of {base.count} counts from 0", expr.span)
        owner = owner.store
    for found in (owner.params.get(wanted), owner.below.get((wanted,)),
                  owner.below.get(("stack", int(wanted))) if wanted.isdigit() else None):
        if found is not None:
            return found
    name = expr.base.id if isinstance(expr.base, tree.Name) else "the layer"
    hint = f"its parameters: {', '.join(owner.params)}" if owner.params else \
        f"the parameters of {name} are there once it is applied"
    raise NotYet(f"{name}.{wanted}", expr.span, hint=near(wanted, owner.params) or hint)


# ------------------------------------------------------------------------------------------------------ applications

def application(layer: Layer, expr: tree.Call, at: At, whole_side: bool = False) -> Application:
    """The application at one spot of the text, made when first met."""
    if at.static:
        raise Stop("E0501", "a number known when compiling is needed here, not a signal", expr.span)
    made = at.scope.sites.get(id(expr))
    if made is None:
        site = () if whole_side else at.key + (expr.span.line, expr.span.column)
        layer = settled(layer)
        place, home = at.place, at.home
        if not whole_side:
            place = at.place.site(site, layer.word)
            home = place if at.home is at.place else at.home.site(site, layer.word)
        store = at.scope.store.inside((at.label, site) if site else (at.label,), home)
        spot = at.under(0, False)
        given = [(a.name, Thunk(a.value, spot), a.span) for a in expr.arguments]
        made = apply(layer, given, place, store, at.scope, expr)
        at.scope.sites[id(expr)] = made
    return made


def apply(layer: Layer, given: list, place: Place, store: Store, scope: Scope, expr: tree.Call, sign: int = 1,
          owned: bool = False) -> Application:
    """`given`: (name or None, thunk, span) per argument. `owned`: the parameters belong to an instance."""
    match layer.kind:
        case "instance":
            settled(layer)
            return apply(layer.inner, given, place, layer.store, scope, expr, sign, True)
        case "reversed":
            return apply(layer.inner, given, place, store, scope, expr, -sign, owned)
        case "stack" | "share":
            parts, formals = [], cell_of(layer).signals
            names = (None, formals[0].name.id if formals else None)
            first = next((j for j, (name, _, _) in enumerate(given) if name in names), 0)
            for i in range(layer.count):
                below = store if layer.kind == "share" else store.inside(("stack", i), store.place.at(str(i)))
                parts.append(apply(layer.inner, given, place.at(str(i)), below, scope, expr, sign, owned))
                if given:                      # its first result is the next one's first signal; the others go to all
                    passed = (given[first][0], Thunk(expr, given[first][1].at, parts[-1].results[0]), expr.span)
                    given = [*given[:first], passed, *given[first + 1:]]
            return Application(layer.word, expr.span, None, parts, parts[-1].results)
    return _apply_cell(layer, given, place, store, scope, expr, sign, owned)


def _apply_cell(layer: Layer, given: list, place: Place, store: Store, scope: Scope, expr: tree.Call, sign: int,
                owned: bool) -> Application:
    cell = layer.cell
    inside = Scope(scope.work, layer.definitions, None, {}, scope.direction * sign, place, store,
                   None if owned else scope.function, cell.name.id, deeper(scope, cell.name.id, expr.span))
    arguments = tuple(tree.Argument(name, thunk.expr, span=span) for name, thunk, span in given)
    names = bind(arguments, cell.signals, f"the signals of {cell.name.id}", At(scope), expr, cell)
    thunks = iter(thunk for _, thunk, _ in given)
    for name in names:                         # in the order given, so each name meets its own argument
        names[name] = next(thunks)
    for formals, bound in ((cell.sizes, layer.sizes), (cell.signals, names)):
        for formal in formals:
            inside.names[formal.name.id] = bound.get(formal.name.id) or Thunk(formal.default, At(inside))
    for formal in cell.signals:                # cells inside an argument exist whether or not it is read at t
        value = argument(inside.names[formal.name.id], 0, False)
        if isinstance(value, (Layer, list)):
            raise Stop("E0211", f"{formal.name.id} of {cell.name.id} is a signal, and this is {told(value)}",
                       inside.names[formal.name.id].expr.span)
    made = Application(cell.name.id, expr.span, inside)
    made.results = bodies.fill(inside, cell)
    for result in made.results:
        if result.draft.signal.spare:          # what has no name in the cell stands where the cell is applied
            result.draft.signal.span = expr.span
    return made


KINDS[tree.Call] = call
