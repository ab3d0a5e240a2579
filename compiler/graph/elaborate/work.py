"""One elaboration: its drafts, its faults, and the statements that wait for a size.

`attempt` runs a piece of work; where that needs a number not known yet it is tried again later. `complete` goes round
until nothing moves: types flow, waiting work is tried, and at last the loops that wait only on themselves are settled.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rnnc.errors import Faults, Note, Span
from rnnc.front import tree
from rnnc.graph.elaborate import builtins, rules, sketches
from rnnc.graph.elaborate.applications import MAKERS, settled
from rnnc.graph.elaborate.builtins import LARGEST
from rnnc.graph.elaborate.drafts import SCALAR, WRONG, Draft, Engine, NotYet, Ref, Silent, Stop
from rnnc.graph.elaborate.expressions import evaluate, size, static
from rnnc.graph.elaborate.library import is_standard
from rnnc.graph.elaborate.operators import lift
from rnnc.graph.elaborate.scope import At, Constant, Doubt, Layer, Parameter, Scope, Signal

TRAIL = 3                                      # applications told of a fault inside cells inside cells


def within(inner: Span, outer: Span) -> bool:
    return inner.source is outer.source and (outer.line, outer.column) <= (inner.line, inner.column) and \
        (inner.end_line, inner.end_column) <= (outer.end_line, outer.end_column)


class Work:
    def __init__(self, faults: Faults):
        self.faults = faults
        self.engine = Engine(faults, self.report)
        self.signals: list[Signal] = []
        self.inputs: list[Signal] = []
        self.parameters: list[Parameter] = []
        self.constants: list[Constant] = []
        self.instances: list[Layer] = []
        self.outputs: dict[str, tuple[Ref, Span]] = {}
        self.losses: dict[str, tuple[Ref, Span]] = {}
        self.metrics: dict[str, tuple[Ref, Span]] = {}
        self.doubts: dict[Doubt, None] = {}    # each once, in the order met
        self.waiting: list[tuple[Callable, tuple[Draft, ...], NotYet, Scope | None]] = []
        self._time: Signal | None = None
        self._keys: dict[tuple[str, int], Draft] = {}

    # ------------------------------------------------------------------------------------------------ pieces of work

    def report(self, stop: Stop, scope: Scope | None = None) -> None:
        """A fault in the body of a cell says where that cell is applied; inside a standard cell, which is nobody's to
        mend, it is told at the application."""
        fault = stop.fault
        trail = (*stop.trail, *(scope.trail if scope is not None else ()))
        if is_standard(fault.span.source):
            outer = next(((n, s) for n, s in trail if not is_standard(s.source)), None)
            if outer is not None:
                notes = (Note(fault.span, f"inside {outer[0]}"), *fault.notes)
                fault = replace(fault, span=outer[1], notes=notes)
        else:
            outside = [(name, span) for name, span in trail if not within(fault.span, span)]
            notes = tuple(Note(span, f"{name} is applied here") for name, span in outside[:TRAIL])
            fault = replace(fault, notes=fault.notes + notes)
        if stop.tell is not None:
            fault = replace(fault, message=stop.tell(fault.span))
        if not any((f.code, f.message, f.span) == (fault.code, fault.message, fault.span) for f in self.faults.found):
            self.faults.found.append(fault)

    def attempt(self, work: Callable, *drafts: Draft, scope: Scope | None = None) -> bool:
        """Run `work`. Where it fails, what it was to define goes on as wrong; where it must wait, it waits."""
        scope = scope or (drafts[0].scope if drafts else None)
        try:
            work()
        except NotYet as wait:
            if wait.draft is not None and wait.draft.type is WRONG:
                self.spoil(drafts)
                return True
            self.wait(work, drafts, wait, scope)
            return False
        except Stop as stop:
            self.report(stop, scope)
            self.spoil(drafts)
        except Silent:
            self.spoil(drafts)
        return True

    def wait(self, work: Callable, drafts: tuple[Draft, ...], wait: NotYet, scope: Scope | None) -> None:
        for draft in drafts:
            draft.attrs["waits"] = wait.draft
        self.waiting.append((work, drafts, wait, scope))

    def spoil(self, drafts) -> None:
        for draft in drafts:
            draft.type, draft.final = WRONG, True
            if draft.signal is not None:
                draft.signal.elaborated = True
            self.engine.moved.extend(draft.users)
        self.engine.run()

    def gap(self, expr: tree.Expr, at: At, wait: NotYet) -> Ref:
        """A draft in place of a part of an expression that has to wait."""
        draft = self.engine.add(Draft("gap", (), expr.span, rules.gap, {}))
        draft.scope = at.scope
        work = lambda: self.engine.give(draft, (lift(evaluate(expr, at), at, expr.span),))
        self.wait(work, (draft,), wait, at.scope)
        return Ref(draft)

    def complete(self) -> None:
        """Go round until every size is known or nothing moves."""
        engine = self.engine
        settle = (lambda: sketches.fit_in(engine), engine.commit, engine.fit, lambda: sketches.settle(engine),
                  lambda: sketches.axes(engine), engine.guess, engine.assume,
                  lambda: sketches.settle(engine, ones=True), engine.lone)
        while True:
            engine.run()
            waiting, self.waiting = self.waiting, []
            moved = [self.attempt(work, *drafts, scope=scope) for work, drafts, _, scope in waiting]
            if any(moved) or self._ask_again():
                continue
            if not any(attempt() for attempt in settle):
                break
        for constant in self.constants:
            self.attempt(lambda c=constant: self.constant(c, c.statement.span))
        for layer in self.instances:
            self.attempt(lambda x=layer: settled(x))

    def _ask_again(self) -> bool:
        """Declared sizes may wait for a size that has become known since."""
        moved = False
        for draft in self.engine.drafts:
            if draft.type is None and "sizes" in draft.attrs:
                self.engine.update(draft)
                moved = moved or draft.type is not None
        return moved

    # ---------------------------------------------------------------------------------------------------- shared parts

    def time(self, span: Span) -> Draft:
        """`t`, one draft for all of a program."""
        if self._time is None:
            draft = self.engine.add(Draft("frame_index", (), span, rules.fixed, {"type": SCALAR}))
            self._time = draft.signal = Signal("t", draft, None, span, elaborated=True)
        return self._time.draft

    def row_key(self, per: str, ago: int, span: Span) -> Draft:
        """What random numbers go by, one draft for all that go by the same."""
        if (per, ago) not in self._keys:
            leaf = Draft("row_key", (), span, rules.fixed, {"type": SCALAR, "per": per, "ago": ago})
            self._keys[per, ago] = self.engine.add(leaf)
        return self._keys[per, ago]

    def constant(self, const: Constant, span: Span):
        """The value of a `const`, computed once."""
        if const.value is None:
            if const.busy:
                raise Stop("E0206", f"the constant {const.statement.name.id} depends on itself",
                           const.statement.name.span)
            const.busy = True
            try:
                const.value = self._compute(const)
            finally:
                const.busy = False
        if isinstance(const.value, Exception):
            raise Silent
        return const.value

    def _compute(self, const: Constant):
        statement, at = const.statement, At(const.scope, static=True)
        name = statement.name.id
        try:
            if not statement.indices:
                value = evaluate(statement.value, at)
                if isinstance(value, (Ref, Layer)):
                    raise Stop("E0502", f"{name} is no number, array or list", statement.value.span)
            else:
                value = self._formula(const, at)
        except Stop as stop:
            if stop.fault.code == "E0501":
                stop = Stop("E0502", f"the constant {name} depends on signals or parameters", stop.fault.span)
            self.report(stop, const.scope)
            return Silent()
        except Silent:
            return Silent()
        if isinstance(value, (float, np.ndarray)) and not np.isfinite(value).all():
            self.report(Stop("E0503", f"the constant {name} has entries that are not finite",
                                    statement.value.span))
            return Silent()
        return value

    def _formula(self, const: Constant, at: At) -> np.ndarray:
        """`A[i, j : n, m] = ...`: all entries at once, one by one where the formula needs its indices as sizes."""
        statement = const.statement
        if len(statement.indices) != len(statement.dims):
            raise Stop("E0204", f"{len(statement.indices)} indices for {len(statement.dims)} sizes", statement.span)
        shape = tuple(size(d, at, statement.name.id).value for d in statement.dims)
        if math.prod(shape) > LARGEST:
            raise Stop("E0309", f"{statement.name.id} of {math.prod(shape)} numbers is too large", statement.span)
        names = [ident.id for ident in statement.indices]

        def entry(values):
            scope = const.scope.child()
            scope.names.update(zip(names, values))
            return static(statement.value, At(scope, static=True))

        try:
            grid = np.indices(shape, dtype=np.float64, sparse=False)
            value = entry([np.ascontiguousarray(g) for g in grid])
            return np.broadcast_to(np.asarray(value, dtype=np.float64), shape).copy()
        except (Stop, ValueError):
            result = np.zeros(shape)
            for place in np.ndindex(*shape):
                value = entry(place)
                if not isinstance(value, (int, float)):
                    raise Stop("E0502", "an entry of a constant is one number", statement.value.span) from None
                result[place] = value
            return result

    # ------------------------------------------------------------------------------------------------------ for hints

    def callables(self, scope: Scope) -> list[str]:
        return scope.definitions.callables() + list(builtins.TABLE) + list(MAKERS)

    def callable_kind(self, name: str, scope: Scope) -> str | None:
        definition, _ = scope.definitions.find(name)
        if definition is not None:
            return "cell" if isinstance(definition, tree.Cell) else "function"
        return "function" if name in builtins.TABLE or name in MAKERS else None
