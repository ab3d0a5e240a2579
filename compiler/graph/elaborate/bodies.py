"""Bodies of cells and models, statement by statement: first all names are declared, then each right side is looked at,
so that the order of a text means nothing. A statement that fails is reported and its names go on as `wrong`.
"""

from rnnc.errors import Broken
from rnnc.front import tree
from rnnc.front.show import show_expression
from rnnc.graph.elaborate import rules
from rnnc.graph.elaborate.brackets import shift
from rnnc.graph.elaborate.drafts import Draft, NotYet, Ref, Stop, describe
from rnnc.graph.elaborate.expressions import evaluate, operand, signal, size, static
from rnnc.graph.elaborate.hints import initialiser_meant
from rnnc.graph.elaborate.operators import lift
from rnnc.graph.elaborate.scope import Application, At, Constant, Layer, Parameter, Scope, Signal, wrong_name
from rnnc.graph.nodes import FRAME, SEQUENCE


def parameter_names(cell: tree.Cell) -> list[str]:
    return [n.id for s in cell.body if isinstance(s, tree.Param) for n in s.names]


def declared_names(cell: tree.Cell) -> list[str]:
    found = parameter_names(cell)
    for s in cell.body:
        if isinstance(s, tree.Equation):
            found += [n.id for n in s.targets]
        elif isinstance(s, (tree.Const, tree.Layer)):
            found.append(s.name.id)
    return found


def fill(scope: Scope, cell: tree.Cell) -> list[Ref]:
    """Elaborate a cell's body in its scope; the results that it returns."""
    declare(scope, cell.body)
    elaborate(scope, cell.body)
    for statement in cell.body:
        if isinstance(statement, tree.Return):
            return [_result(scope, value, i) for i, value in enumerate(statement.values)]
    raise Broken(f"the cell {cell.name.id} returns nothing")          # the front has refused it


def _result(scope: Scope, value: tree.Expr, index: int) -> Ref:
    """What a cell returns is a signal: an equation of its own, or an expression that gets the application's name."""
    if isinstance(value, tree.Name) and isinstance(scope.names.get(value.id), Signal):
        return Ref(scope.names[value.id].draft)
    label = "return" if index == 0 else f"return_{index + 1}"
    place = scope.place if index == 0 else scope.place.at(label)
    made = new_signal(scope, label, place, value.span, spare=True)
    at = At(scope, label, scope.place, scope.store.place)
    scope.work.attempt(lambda: settle(scope, made, signal(value, at)), made.draft)
    return Ref(made.draft)


def new_signal(scope: Scope, name: str, place, span, spare: bool = False) -> Signal:
    draft = Draft("signal", (), span, rules.signal, {})
    made = Signal(name, draft, place, span, spare=spare)
    draft.signal, draft.scope = made, scope
    scope.work.engine.add(draft)
    scope.work.signals.append(made)
    return made


# --------------------------------------------------------------------------------------------------------- declare

def declare(scope: Scope, body) -> None:
    """All names of a body; then the drafts whose sizes are written in it, since those may name any of them."""
    from rnnc.graph.elaborate.applications import instance
    late = []
    for statement in body:
        match statement:
            case tree.Param():
                for ident in statement.names:
                    parameter(scope, statement, ident, late)
            case tree.Const():
                scope.names[statement.name.id] = Constant(statement, scope)
                scope.work.constants.append(scope.names[statement.name.id])
            case tree.Equation():
                for ident in statement.targets:
                    scope.names[ident.id] = new_signal(scope, ident.id, scope.place.at(ident.id), ident.span)
            case tree.Layer():
                scope.names[statement.name.id] = instance(statement, scope)
                scope.work.instances.append(scope.names[statement.name.id])
            case tree.Input():
                for ident in statement.names:
                    scope.names[ident.id] = input_(scope, statement, ident, late)
            case tree.Output():
                for item in statement.items:
                    if item.value is not None:
                        name = item.name
                        scope.names[name.id] = new_signal(scope, name.id, scope.place.at(name.id), name.span)
    for work in late:
        work()


def parameter(scope: Scope, statement: tree.Param, ident: tree.Ident, late: list) -> None:
    """A new parameter; or that of the store, when an application before this one shares it."""
    at, owner = At(scope), f"param {ident.id}"
    sizes = lambda: tuple(size(d, at, owner) for d in statement.dims)
    work = scope.work
    if scope.function is not None:
        raise Stop("E0607", f"a function has no parameters, and {scope.title} needs some", scope.trail[0][1],
                   hint=f"make {scope.function} a cell")
    known = scope.store.params.get(ident.id)
    if known is not None:
        again = Draft("agree", (Ref(known.draft),), ident.span, rules.agree, {"sizes": sizes})
        again.scope = scope
        late.append(lambda: work.engine.add(again))
        scope.names[ident.id] = known
        return
    draft = Draft("param", (), ident.span, rules.declared, {"sizes": sizes})
    made = Parameter(ident.id, draft, scope.store.place.at(ident.id), ident.span, not statement.frozen,
                     len(statement.dims))
    draft.attrs["parameter"], draft.scope = made, scope
    scope.names[ident.id] = scope.store.params[ident.id] = made
    work.parameters.append(made)
    late.append(lambda: work.engine.add(draft))
    late.append(lambda: work.attempt(lambda: initialiser(made, statement, at), scope=scope))
    if statement.sparse is not None:
        late.append(lambda: work.attempt(lambda: sparsity(made, statement, at), scope=scope))


# Name of an initialiser -> how many numbers it takes, and the default of the last one.
INITIALISERS = {"glorot": (), "he": (), "lecun": (), "orthogonal": (), "uniform": (None, None),
                "normal": (None, None), "identity": (1.0,), "spectral": (None,), "value": (None,)}
MATRICES_ONLY = ("orthogonal", "identity", "spectral")


def initialiser(made: Parameter, statement: tree.Param, at: At) -> None:
    """Check and compute `~ uniform(a, b)` or `= number`; matrices default to glorot, all else to 0."""
    given = statement.initialiser
    if given is None:
        made.initialiser = ("glorot",) if made.rank >= 2 else ("value", 0.0)
        return
    if given.name not in INITIALISERS:
        raise Stop("E0505", f"there is no initialiser called {given.name}", given.span,
                   hint=initialiser_meant(given.name, [name for name in INITIALISERS if name != "value"]))
    wanted = INITIALISERS[given.name]
    values = []
    for argument in given.arguments:
        value = static(argument, at)
        if not isinstance(value, (int, float)):
            raise Stop("E0505", "an initialiser takes plain numbers", argument.span)
        values.append(float(value))
    least = sum(w is None for w in wanted)
    if not least <= len(values) <= len(wanted):
        many = f"{least} to {len(wanted)}" if least < len(wanted) else str(least or "no")
        raise Stop("E0505", f"{given.name} takes {many} numbers, not {len(values)}", given.span)
    if given.name in MATRICES_ONLY and made.rank < 2:
        raise Stop("E0505", f"{given.name} is for matrices, and {made.name} is none", given.span)
    if given.name == "uniform" and values[0] > values[1]:
        raise Stop("E0505", f"uniform({values[0]:g}, {values[1]:g}) has its ends the wrong way round", given.span)
    if given.name == "normal" and values[1] < 0:
        raise Stop("E0505", "the deviation of normal(mean, std) is negative", given.span)
    if given.name == "spectral" and values[0] < 0:
        raise Stop("E0505", "the spectral radius is negative", given.span)
    if given.name == "spectral":
        _refuse_oblong(made, given.span)
    made.initialiser = (given.name, *values, *wanted[len(values):])


def sparsity(made: Parameter, statement: tree.Param, at: At) -> None:
    """Check and compute `sparse(0.9)`."""
    span = statement.sparse.span
    share = static(statement.sparse, at)
    if not isinstance(share, (int, float)) or not 0 <= share < 1:
        said = f"{share:g}" if isinstance(share, (int, float)) else "this"
        raise Stop("E0505", f"sparse takes the share of entries that are zero, from 0 to below 1, not {said}", span)
    if made.rank < 2:
        raise Stop("E0505", f"only a matrix is sparse, and {made.name} is none", span)
    if statement.initialiser is not None and statement.initialiser.name in ("orthogonal", "identity"):
        raise Stop("E0505", f"a sparse matrix cannot start as {statement.initialiser.name}", span)
    made.share = float(share)


def _refuse_oblong(made: Parameter, span) -> None:
    known = made.draft.known
    if known is None:
        raise NotYet(f"the size of {made.name}", span, made.draft)
    if not known.wrong and known.shape[-1] != known.shape[-2]:
        raise Stop("E0505", f"only a square matrix has a spectral radius, and {made.name} is {describe(known)}", span)


def input_(scope: Scope, statement: tree.Input, ident: tree.Ident, late: list) -> Signal:
    work, at, kind = scope.work, At(scope), statement.kind
    word = f"{'target' if statement.target else 'input'} {ident.id}"
    sizes = lambda: tuple(size(d, at, word) for d in kind.dims)
    per = SEQUENCE if statement.per_sequence or kind.kind == "labels" else FRAME
    draft = Draft("input", (), ident.span, rules.labels if kind.kind in ("class", "labels") else rules.declared,
                  {"sizes": sizes, "name": ident.id, "kind": kind.kind, "target": statement.target, "per": per})
    made = Signal(ident.id, draft, scope.place.at(ident.id), ident.span, elaborated=True)
    draft.signal = made
    late.append(lambda: work.engine.add(draft))
    work.signals.append(made)
    work.inputs.append(made)
    return made


# -------------------------------------------------------------------------------------------------------- elaborate

def settle(scope: Scope, made: Signal, value: Ref | None = None) -> None:
    """Tell a signal's draft its value, or one more value before the start, in whichever order they come."""
    if value is not None:
        made.value, made.elaborated = value, True
    if made.value is not None and made.draft.op == "signal":
        scope.work.engine.give(made.draft, (made.value, *(ref for ref, _ in made.starts.values())))


def elaborate(scope: Scope, body) -> None:
    work = scope.work
    for statement in body:
        match statement:
            case tree.Equation():
                equation(scope, statement.targets, statement.value)
            case tree.Init():
                work.attempt(lambda s=statement: init(scope, s), scope=scope)
            case tree.Output():
                for item in statement.items:
                    if item.value is not None:
                        equation(scope, (item.name,), item.value)
                    work.attempt(lambda i=item: output(scope, i), scope=scope)
            case tree.Loss():
                label = "loss" if not work.losses else f"loss_{len(work.losses) + 1}"
                work.losses[label] = measured(scope, label, statement.value, statement.value.span)
            case tree.Metric():
                work.metrics[statement.name.id] = measured(scope, statement.name.id, statement.value,
                                                            statement.name.span)


def inner_parts(found: Application, names: list[str], value: tree.Expr) -> str | None:
    """How the inner signals of an application are read: those that were named, if it has them."""
    inner = [] if found.scope is None else [name for name, entry in found.scope.names.items()
                                            if isinstance(entry, Signal)]
    parts = lambda found: ", ".join(f"{names[0]}.{part}" for part in found)
    write = f"write {names[0]} = {show_expression(value)}"
    if set(names[1:]) <= set(inner):
        return f"{write}, then {parts(names[1:])}"
    return f"{write}; its inner signals are then {parts(inner)}" if inner else None


def equation(scope: Scope, targets, value: tree.Expr) -> None:
    """`y = expr`, `a, b = cell(n)(x)`: an application that is the whole right side lends its path to the equation."""
    from rnnc.graph.elaborate.applications import called
    signals = [scope.names[t.id] for t in targets]
    label = targets[0].id
    at = At(scope, label, scope.place.at(label), scope.store.place.at(label))

    def run():
        found = called(value, at, True) if isinstance(value, tree.Call) else operand(value, at)
        if isinstance(found, Application):
            given = found.results
            if len(targets) not in (1, len(given)):
                many = "one value" if len(given) == 1 else f"{len(given)} values"
                raise Stop("E0605", f"{found.word} returns {many}, not {len(targets)}", value.span,
                           hint=inner_parts(found, [target.id for target in targets], value))
        elif len(targets) > 1:
            raise Stop("E0605", "several names on the left need the application of a cell on the right", value.span)
        else:
            if isinstance(found, Layer):
                swapped = next((thunk.hint for thunk in (found.sizes or {}).values()
                                if isinstance(operand(thunk.expr, thunk.at), Ref)), None)
                raise Stop("E0211", f"{found.word} is a layer here, and {label} a signal", value.span, hint=swapped or
                           f"write layer {label} = {show_expression(value)}, or apply it to a signal")
            given = [lift(found, at, value.span)]
        for made, ref in zip(signals, given):
            if isinstance(found, Application):
                made.application, made.alias = found, ref
                if ref.draft.signal.spare and len(targets) > 1:    # what follows the first has no path yet
                    ref.draft.signal.place = made.place
                if ref.draft.signal.place is made.place:
                    ref.draft.signal.span = made.span
            settle(scope, made, ref)

    work = scope.work
    work.attempt(run, *[s.draft for s in signals])


def init(scope: Scope, statement: tree.Init) -> None:
    """`init h = ...`, `init h[t-2] = ...`: a value made of parameters, constants and values per sequence."""
    name = statement.name
    made = scope.names.get(name.id)
    if made is None:
        raise wrong_name(name.id, name.span, scope)
    if not isinstance(made, Signal):
        raise Stop("E0606", f"{name.id} is not a signal of this body: it has no value before the start", name.span)
    offset = None
    if statement.delay is not None:
        frames = shift(statement.delay, At(scope))
        if not frames:
            raise Stop("E0404", f"init names a frame before the first or after the last: {name.id}[t-1], "
                                f"{name.id}[t+1]", statement.delay.span)
        offset = frames * scope.direction
    if offset in made.starts:
        raise Stop("E0606", f"this value before the start is given twice for {name.id}", statement.span)
    place = scope.place.at(name.id).at("init")
    at = At(scope, f"{name.id}.init", place, scope.store.place.at(name.id).at("init"))
    value = signal(statement.value, at)
    made.starts[offset] = (value, statement.value.span)
    settle(scope, made)


def output(scope: Scope, item: tree.OutputItem) -> None:
    work, name = scope.work, item.name.id
    if name in work.outputs:
        raise Stop("E0202", f"there are two outputs called {name}", item.name.span)
    value = evaluate(tree.Name(name, span=item.name.span), At(scope))
    work.outputs[name] = (lift(value, At(scope), item.name.span), item.name.span)


def measured(scope: Scope, label: str, value: tree.Expr, span):
    """A loss or a metric: one number per frame. Its draft is made now and filled when its value is known."""
    draft = Draft("gap", (), value.span, rules.measured, {"label": label})
    scope.work.engine.add(draft)
    place = scope.place.at(label)
    at = At(scope, label, place, scope.store.place.at(label))

    def run():
        from rnnc.graph.elaborate.applications import called
        found = called(value, at, True) if isinstance(value, tree.Call) else operand(value, at)
        ref = found.results[0] if isinstance(found, Application) else lift(found, at, value.span)
        scope.work.engine.give(draft, (ref,))

    scope.work.attempt(run, draft)
    return Ref(draft), span
